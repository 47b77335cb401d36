"""Where bytes go: standard output, or a file that is replaced atomically.

Knows no format. A reader that does not read never blocks the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from io import UnsupportedOperation
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from ._files import part_file


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
        with naming(self._name):
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


class StreamOutput:
    """A stream without a descriptor, as in a notebook. Its errors are OSErrors that show *name*."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._buffer = cast("BinaryIO | None", getattr(stream, "buffer", None))
        self._name = name

    async def write(self, data: bytes) -> None:
        """Write all of *data*, as text where the stream takes only text."""
        with naming(self._name):
            if self._buffer is not None:
                self._buffer.write(data)
                return
            try:
                text = data.decode()
            except UnicodeDecodeError:
                problem = "it takes text alone, use --output FILE"
                raise OSError(errno.EINVAL, problem) from None
            self._stream.write(text)


def standard_output() -> Output | StreamOutput:
    """This process's standard output as bytes, so that it is UTF-8 in any locale."""
    name = "standard output"
    sys.stdout.flush()
    try:
        return Output(sys.stdout.fileno(), name)
    except UnsupportedOperation:
        return StreamOutput(sys.stdout, name)


def replaceable(path: Path) -> bool:
    """Whether *path* is a file or nothing yet; a device or a named pipe is written to directly."""
    return not path.exists() or path.is_file()


@contextmanager
def opened(path: Path | None) -> Generator[Output | StreamOutput]:
    """Standard output, or the file at *path*, replaced when the block ends without error.

    Until then the bytes are in a part file beside it. A symbolic link is kept and its target
    replaced.
    """
    if path is None:
        yield standard_output()
        return
    name = str(path)
    with ExitStack() as stack:
        with naming(name):
            target = path.resolve()
            if replaceable(target):
                descriptor, _ = stack.enter_context(part_file(target))
            else:
                descriptor = os.open(target, os.O_WRONLY)
                stack.callback(os.close, descriptor)
        yield Output(descriptor, name)
        with naming(name):
            stack.close()


@contextmanager
def naming(name: str) -> Generator[None]:
    """Gives an OSError raised in the block *name* as its file name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
