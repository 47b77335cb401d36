"""Calls a ``RateLimiter``, which is the application's code: it may raise, hang or answer nonsense.

Each of these ends in an error of the callers that wait, or for a pause in a warning; none of them
hangs. It decides neither when nor how many slots are reserved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, TypeVar, cast

from .._checks import number, whole
from .._errors import ConfigError, DpError, TransportError
from .rate_limiter import RateLimiter, Reservation

T = TypeVar("T")

#: Seconds within which a rate limiter has to answer.
PATIENCE = 10.0
#: The longest time in a reservation, in seconds: more is a mistake of the unit.
_LONGEST = 1e9

_log = logging.getLogger("dp_async")


class Spawn(Protocol):
    """Starts a task that ends with the client."""

    def __call__(self, work: Coroutine[object, object, None], /) -> object: ...


class Reserving:
    """Calls *rate_limiter*, one method after the other, in a task that lives while there is need.

    It reserves as many slots as are *wanted* at the time, and passes them to *granted*, or what
    went wrong to *failed*.
    """

    def __init__(
        self,
        rate_limiter: RateLimiter,
        spawn: Spawn,
        *,
        wanted: Callable[[], int],
        granted: Callable[[Reservation], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._rate_limiter = rate_limiter
        self._spawn = spawn
        self._wanted = wanted
        self._granted = granted
        self._failed = failed
        self._pause = 0.0  # seconds, not yet passed on to the rate limiter
        self._is_running = False
        self._is_closed = False

    def reserve(self) -> None:
        """Reserve what is wanted."""
        if not self._is_running and not self._is_closed:
            self._is_running = True
            self._spawn(self._run())

    def pause(self, seconds: float) -> None:
        """Tell of a refusal, before anything else."""
        self._pause = max(self._pause, seconds)
        self.reserve()

    def close(self) -> None:
        """Start nothing any more."""
        self._is_closed = True

    async def _run(self) -> None:
        try:
            while True:
                if self._pause:
                    seconds, self._pause = self._pause, 0.0
                    await self._tell(seconds)
                elif want := self._wanted():
                    self._granted(_checked(await _prompt(self._rate_limiter.reserve(want)), want))
                else:
                    break
        except Exception as error:  # whatever the application's code raises
            self._failed(error)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self._failed(error)
        finally:
            self._is_running = False

    async def _tell(self, seconds: float) -> None:
        """This client pauses by itself, so that a failure is no error of its callers."""
        try:
            await _prompt(self._rate_limiter.pause(seconds))
        except (Exception, asyncio.CancelledError) as error:  # whatever it raises
            if _is_cancelled():
                raise
            _log.warning(
                "the rate_limiter was not told to pause for %.3g s, so that other clients go on: "
                "its pause() failed with %s",
                seconds,
                type(error).__name__,
            )


def failure(error: BaseException) -> DpError:
    """What a caller raises that waits for a slot. New for each: raising adds to an error."""
    if isinstance(error, ConfigError):
        return ConfigError(*error.args)
    how = type(error).__name__
    if isinstance(error, TimeoutError):
        how = f"no answer within {PATIENCE:g} s ({how})"
    failed = TransportError(f"not sent: the rate_limiter could not reserve a slot: {how}")
    failed.__cause__ = error
    return failed


async def _prompt(answer: object) -> object:
    """What the rate limiter answers. Raises TimeoutError if that takes too long."""
    if not isinstance(answer, Awaitable):
        raise ConfigError(
            "the methods of a rate_limiter must be async functions: one returned "
            f"{type(answer).__name__}"
        )
    async with asyncio.timeout(PATIENCE):
        return await cast("Awaitable[object]", answer)


def _checked(given: object, want: int) -> Reservation:
    """*given*, if it is a reservation that makes sense."""
    if not isinstance(given, Reservation):
        raise ConfigError(
            f"rate_limiter: reserve() must return a Reservation, not {type(given).__name__}"
        )
    for name in ("wait", "step", "paused"):
        number(f"rate_limiter: {name} of a Reservation", getattr(given, name), 0, _LONGEST)
    whole("rate_limiter: count of a Reservation", given.count, 0, want)
    return given


def _is_cancelled() -> bool:
    """Whether this task is cancelled; else the rate limiter raised CancelledError by itself."""
    task = asyncio.current_task()
    assert task is not None
    return bool(task.cancelling())
