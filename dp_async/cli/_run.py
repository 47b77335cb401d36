"""How a command ends: exit codes, one line per error, Ctrl-C, a closed pipe.

Knows no command and no flag. Tracebacks are shown only with --debug, and never with locals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from enum import IntEnum

from dp_async import ConfigError, DpError, IncompleteCrawl

from ._text import visible


class Exit(IntEnum):
    """The exit codes of the process; the help lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERRUPTED = 130
    CLOSED_PIPE = 141


#: The exit code by the class of the error; the first match counts.
CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (IncompleteCrawl, Exit.INCOMPLETE),
    (DpError, Exit.FAILED),
    (OSError, Exit.FAILED),
)


def execute(work: Coroutine[object, object, int], *, debug: bool) -> int:
    """Run *work* and return its exit code; print an error and return its code.

    Raises Ctrl-C (asyncio.run cancels *work* first), a closed pipe, and errors that are neither a
    DpError nor an OSError: those are bugs.
    """
    return attempt(lambda: asyncio.run(work), debug=debug)


def attempt(work: Callable[[], int], *, debug: bool) -> int:
    """As ``execute``, for a synchronous *work*."""
    try:
        return work()
    except BrokenPipeError:
        raise
    except (DpError, OSError) as error:
        if debug:
            sys.stderr.write("".join(traceback.format_exception(error)))
        say(_line(error))
        return next(code for kind, code in CODES if isinstance(error, kind))


def guarded(command: Callable[[], int]) -> int:
    """The exit code of *command*; Ctrl-C and a closed pipe become their own codes, silently."""
    try:
        code = command()
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError):
        # asyncio.run raises KeyboardInterrupt for it, unless the task was cancelled twice.
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return Exit.CLOSED_PIPE
    return code


@contextmanager
def interrupts() -> Generator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if Ctrl-C was pressed since the block began.

    For work that may swallow it: dlt installs its own handler, and DuckDB polls for the signal.
    Only for the main thread.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def check() -> None:
            with suppress(BlockingIOError):
                if signal.SIGINT in ours.recv(4096):
                    raise KeyboardInterrupt

        try:
            yield check
        finally:
            signal.set_wakeup_fd(before)


def say(line: str) -> None:
    """Write one line to stderr, with control characters escaped: parts may come from a server."""
    sys.stderr.write(f"dp-async: {visible(line)}\n")


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _forget_output() -> None:
    """Send buffered output to /dev/null: the interpreter flushes it at exit, which would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
