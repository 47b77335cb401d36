"""How a command ends: exit codes, one line per error, a signal, a closed pipe.

Knows no command and no flag. Tracebacks are shown only with --debug, and never with locals.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import TypeVar

from dp_async import ConfigError, DpError

from ._signals import signals
from ._streams import forget
from ._text import visible

T = TypeVar("T")


class Exit(IntEnum):
    """The exit codes of the process; the help lists them. A signal has 128 + its number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    BAD_ROWS = 4
    CLOSED_PIPE = 141


def execute(work: Coroutine[object, object, int], *, debug: bool) -> int:
    """Run *work* and return its exit code; print an error and return its code.

    A signal cancels *work*. Raises CancelledError then, BrokenPipeError, and errors that are
    neither a DpError nor an OSError: those are bugs.
    """
    return attempt(lambda: run_async(work), debug=debug)


def run_async(work: Coroutine[object, object, T]) -> T:
    """The result of *work*, in an event loop of its own. A signal cancels it."""
    running = _cancelled_by_signals(work)
    try:
        return asyncio.run(running)
    finally:  # a signal may have come before the loop ran
        running.close()
        work.close()


async def _cancelled_by_signals(work: Coroutine[object, object, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with signals().interrupting(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await work


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
        return _code(error)


def _code(error: Exception) -> Exit:
    """The exit code of a command that ended in *error*."""
    if isinstance(error, ConfigError):
        return Exit.USAGE
    from dp_async import IncompleteCrawl  # with all that a crawl needs, which help does not

    return Exit.INCOMPLETE if isinstance(error, IncompleteCrawl) else Exit.FAILED


def guarded(command: Callable[[], int]) -> int:
    """The exit code of *command*; a closed pipe has its own code and is silent.

    Raises KeyboardInterrupt if a signal ended it.
    """
    code: int = Exit.OK
    try:
        code = command()
        sys.stdout.flush()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except (BrokenPipeError, SystemExit):  # rich, which prints the help, exits for a closed pipe
        forget(sys.stdout)
        forget(sys.stderr)
        return Exit.CLOSED_PIPE
    except OSError as error:  # commands handle their own: this is of the help or the last flush
        forget(sys.stdout)
        if code == Exit.OK:
            code = Exit.FAILED
            say(f"standard output: {error.strerror}")
    return code


def say(line: str) -> None:
    """Write one line to stderr, with control characters escaped: parts may come from a server."""
    try:
        sys.stderr.write(f"dp-async: {visible(line)}\n")
        sys.stderr.flush()
    except OSError:  # nobody can be told
        forget(sys.stderr)


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
