"""Where bytes go: standard output, or a file that is replaced atomically.

Knows no format. A reader that does not read never blocks the event loop.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class Output:
    """An open file descriptor. Its errors are OSErrors that show *name*."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        mode = os.fstat(descriptor).st_mode
        self._waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)

    async def write(self, data: bytes) -> None:
        """Write all of *data*. Raises BrokenPipeError if the reader closed the pipe."""
        remaining = memoryview(data)
        with _named(self._name):
            while remaining:
                remaining = remaining[await self._write_some(remaining) :]

    async def _write_some(self, data: memoryview) -> int:
        if not self._waits:
            return os.write(self._descriptor, data)
        # A descriptor that polls as writable takes PIPE_BUF bytes without blocking. O_NONBLOCK is
        # not set: other processes share that flag of the terminal or pipe.
        await self._writable()
        return os.write(self._descriptor, data[: select.PIPE_BUF])

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._descriptor)


def standard_output() -> Output:
    """This process's standard output as bytes, so that it is UTF-8 in any locale."""
    sys.stdout.flush()
    return Output(sys.stdout.fileno(), "standard output")


@contextmanager
def opened(path: Path | None) -> Generator[Output]:
    """Standard output, or the file at *path*, replaced when the block ends without error.

    Until then the bytes are in a hidden file beside it, which is deleted if the block raises. A
    device or a named pipe is written to directly; a symbolic link is kept and its target replaced.
    """
    if path is None:
        yield standard_output()
        return
    with _named(str(path)):
        target = path.resolve()
        whole = not target.exists() or target.is_file()
        part = target.with_name(f".{target.name}.{os.getpid()}.part") if whole else target
        flags = os.O_CREAT | os.O_EXCL if whole else 0
        descriptor = os.open(part, os.O_WRONLY | flags, 0o666)
    try:
        try:
            yield Output(descriptor, str(path))
        finally:
            os.close(descriptor)
        if whole:
            with _named(str(path)):
                _replace(target, part)
    except BaseException:
        if whole:
            part.unlink(missing_ok=True)
        raise


def _replace(target: Path, part: Path) -> None:
    if target.exists():
        shutil.copymode(target, part)
    part.replace(target)


@contextmanager
def _named(name: str) -> Generator[None]:
    """Gives an OSError raised in the block *name* as its file name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
