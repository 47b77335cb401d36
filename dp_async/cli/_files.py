"""Files and folders of one run: named uniquely, locked while in use, removed at the end.

A killed run leaves them behind. They are locked with ``flock``, which ends with the process, so the
next run removes what it can lock. Knows no format and no command.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ._signals import signals

#: The lock of a working folder; only a folder with this file in it is ever removed.
LOCK = ".dp-async.lock"
FOLDER = "dp-async-"
#: Characters of a target's name in the name of its part file: a name has at most 255 bytes.
KEPT = 40


@contextmanager
def part_file(target: Path) -> Generator[tuple[int, Path]]:
    """A new hidden file beside *target*: its descriptor and path; it replaces *target* at the end.

    It gets the mode of *target*, or that of a new file. It is removed if the block raises; part
    files that killed runs left of the same target are removed first.
    """
    start = f".{target.name[:KEPT]}."
    _remove_left(target.parent, re.compile(re.escape(start) + r"[0-9a-f]{8}\.part"))
    with ExitStack() as stack:
        while True:
            part = target.with_name(f"{start}{secrets.token_hex(4)}.part")
            stack.enter_context(signals().removing(part))  # first: a signal may come at any moment
            descriptor = _create_locked(part)
            if descriptor is not None:
                break
        try:
            yield descriptor, part
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


@contextmanager
def working_folder() -> Generator[Path]:
    """A new temporary folder, removed at the end, as are those that killed runs left."""
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{FOLDER}*/{LOCK}"):
        with _locked_if_left(left) as removable:
            if removable:
                shutil.rmtree(left.parent, ignore_errors=True)
    with ExitStack() as stack:
        while True:
            folder = place / f"{FOLDER}{secrets.token_hex(8)}"
            stack.enter_context(signals().removing(folder))
            folder.mkdir(mode=0o700)
            descriptor = _create_locked(folder / LOCK)
            if descriptor is not None:
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _create_locked(path: Path) -> int | None:
    """A new file at *path*, locked; None if another run took it for a left one before the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with suppress(OSError):  # a file system without locks: then no run can lock what is left
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _remove_left(folder: Path, name: re.Pattern[str]) -> None:
    """Remove the files in *folder* with such a *name* that no process holds, where possible."""
    with suppress(OSError):
        for path in folder.iterdir():
            if name.fullmatch(path.name):
                with _locked_if_left(path) as removable:
                    if removable:
                        path.unlink(missing_ok=True)


@contextmanager
def _locked_if_left(path: Path) -> Generator[bool]:
    """Locks *path* for the block; False if a process holds it or it is not this user's file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if ours:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        ours = False
    try:
        yield ours
    finally:
        os.close(descriptor)
