"""What a command's end looks like: exit codes, one line for an error, Ctrl-C, a closed pipe.

Knows no command and no flag. No traceback is shown unless asked for, and never one with locals.
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
    """What the process says to its caller; the help lists the same."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERRUPTED = 130
    CLOSED_PIPE = 141


#: The first that fits, by the error's class.
CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (IncompleteCrawl, Exit.INCOMPLETE),
    (DpError, Exit.FAILED),
    (OSError, Exit.FAILED),
)


def execute(work: Coroutine[object, object, int], *, debug: bool) -> int:
    """Run *work* to its end and return its exit code, or the one of its error, which is shown.

    An error that is neither the library's nor the system's is a bug and is raised, as are Ctrl-C
    (asyncio.run cancels *work* first) and a closed pipe.
    """
    return attempt(lambda: asyncio.run(work), debug=debug)


def attempt(work: Callable[[], int], *, debug: bool) -> int:
    """The same, for *work* that is called, and runs a loop of its own if it needs one."""
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
    """*command*'s exit code, with Ctrl-C and a reader that has left made into theirs, quietly."""
    try:
        code = command()
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError):
        # asyncio.run makes the one of the other, but not if the task was cancelled more than once.
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return Exit.CLOSED_PIPE
    return code


@contextmanager
def interrupts() -> Generator[Callable[[], None]]:
    """A call that raises KeyboardInterrupt, if Ctrl-C was pressed since the block began.

    For work that may lose one: dlt takes the signal for itself, DuckDB looks for it now and then.
    The main thread's alone.
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
    """Write one line to stderr; nothing a server put into it can move the terminal's cursor."""
    sys.stderr.write(f"dp-async: {visible(line)}\n")


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _forget_output() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes it at exit, and would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
