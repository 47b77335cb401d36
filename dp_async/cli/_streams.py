"""Standard streams that every command can use, however the process was started.

Imports nothing heavy: it runs before the command is imported.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import TextIOWrapper, UnsupportedOperation
from typing import NoReturn, TextIO, cast


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
    """In the block stdout and stderr exist, have the methods of a stream, and write any character.

    A character that their encoding does not have is escaped.
    """
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = (_or(stream, nowhere) for stream in before)
        try:
            with _escaping(sys.stdout), _escaping(sys.stderr):
                yield
        finally:
            sys.stdout, sys.stderr = before


class Adapter:
    """A text stream over any object with a ``write``: notebooks and captures replace streams so.

    It has no descriptor, so that all that is written passes through the object, and is a terminal
    only if the object says so. Writing raises OSError, whatever the object raises.
    """

    closed = False

    def __init__(self, stream: object) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The object's encoding, or UTF-8."""
        found = _attribute(self._stream, "encoding")
        return found if isinstance(found, str) else "utf-8"

    def isatty(self) -> bool:
        """Whether the object says that it is a terminal."""
        try:
            return cast("TextIO", self._stream).isatty() is True
        except Exception:
            return False

    def fileno(self) -> NoReturn:
        """Raises UnsupportedOperation."""
        raise UnsupportedOperation("fileno")

    def write(self, text: str) -> int:
        """Write *text* to the object; what it cannot encode is escaped."""
        write = _attribute(self._stream, "write")
        if not callable(write):
            raise OSError(errno.EIO, "it cannot be written to")
        try:
            _as_os_error(write, text)
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            _as_os_error(write, known)
        return len(text)

    def flush(self) -> None:
        """Flush the object, if it can be."""
        flush = _attribute(self._stream, "flush")
        if callable(flush):
            _as_os_error(flush)


def _as_os_error(call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except (OSError, UnicodeEncodeError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, str(error) or type(error).__name__) from error


def _attribute(stream: object, name: str) -> object:
    """The attribute *name* of whatever stands for a stream; None where it cannot be had."""
    try:
        return getattr(stream, name)
    except Exception:
        return None


def _or(stream: TextIO | None, nowhere: TextIO) -> TextIO:
    """*stream* if it is open and complete; else a stream that writes to it, or *nowhere*."""
    if stream is None or _attribute(stream, "closed") is True:
        return nowhere
    return stream if _is_complete(stream) else cast("TextIO", Adapter(stream))


def _is_complete(stream: TextIO) -> bool:
    """Whether it is one of Python's own streams, and works: one may be replaced in part."""
    named = isinstance(_attribute(stream, "encoding"), str)
    if not named or not isinstance(stream, TextIOWrapper):
        return False
    try:
        stream.isatty()
        stream.fileno()
    except UnsupportedOperation:  # a stream in memory, with a buffer for bytes
        return True
    except Exception:
        return False
    return True


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
    with suppress(Exception):  # a stream without a descriptor, or what stands for one
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
