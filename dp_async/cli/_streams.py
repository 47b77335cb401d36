"""Standard streams that every command can use, however the process was started.

Imports nothing heavy: it runs before the command is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO


def open_descriptors() -> None:
    """Open each standard descriptor that is closed, on /dev/null.

    Otherwise the next file or socket would get its number, and receive what is written to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


@contextmanager
def usable_streams() -> Generator[None]:
    """In the block stdout and stderr exist, and escape what their encoding does not have."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = (_or(stream, nowhere) for stream in before)
        try:
            with _escaping(sys.stdout), _escaping(sys.stderr):
                yield
        finally:
            sys.stdout, sys.stderr = before


def _or(stream: TextIO | None, nowhere: TextIO) -> TextIO:
    return nowhere if stream is None or stream.closed else stream


@contextmanager
def _escaping(stream: TextIO) -> Generator[None]:
    if not isinstance(stream, TextIOWrapper):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError):  # it flushes
            stream.reconfigure(errors=before)


def forget(stream: TextIO) -> None:
    """Send what *stream* still holds to /dev/null: the interpreter's flush at exit would fail."""
    with suppress(OSError, ValueError):  # a stream without a descriptor
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
