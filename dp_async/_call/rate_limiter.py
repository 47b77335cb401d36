"""A request rate that several clients share: the protocol, and one for the clients of one process.

No HTTP and no waiting: a rate limiter says when requests may be sent, the client's limiter waits.
The rate is GCRA without a tolerance: slots (send times) evenly apart, and no burst to catch up.

A rate that the server refuses is lowered for all, and recovers along a cubic (AIMD, and CUBIC's
convex region, RFC 9438, section 4.4). One place learns it: several learners that share a limit
each take the refusals of the others for their own.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

from .._checks import DAY, number, whole
from .._errors import ConfigError

#: A reservation spans at most so many seconds, unless it is of one slot: what is reserved is not
#: stopped by a pause, and others wait for it.
SPAN = 0.05
#: The rate after a client's refusal, as a share; the least share after those of a second, which
#: are of requests that were under way together; and after one that comes so many seconds after the
#: last pause: the rate was still far off.
LOWERED, LEAST, SOON = 0.96, 0.85, 2.0
#: A lowered rate has grown by so much after so many seconds.
GROWTH, PERIOD = 0.15, 40.0
#: The slowest rate and the fastest, a second.
SLOWEST, FASTEST = 0.001, 100_000.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """*count* slots: the first in *wait* seconds, each *step* seconds after the one before.

    A time to wait, not a time of day: the clocks of several machines need not agree. *paused*: for
    how many of the *wait* seconds all clients pause, as one of them was told to. With a *count* of
    0, ask again after *wait*.
    """

    wait: float
    step: float
    count: int
    paused: float = 0.0


class RateLimiter(Protocol):
    """A request rate that several clients share, as in ``Client(settings, rate_limiter=...)``.

    The client asks it before a request is signed, outside ``Settings.timeout``. Its answer must be
    prompt: after 10 seconds, or an exception, the calls that wait for it end in a TransportError.
    A ConfigError is raised in these calls as it is.
    """

    async def reserve(self, want: int, /) -> Reservation:
        """Reserve up to *want* slots, which nobody else gets. Slots that are not used are lost."""
        ...

    async def pause(self, seconds: float, /) -> None:
        """The server refused a request: nobody may send for so many seconds.

        They are those of its ``Retry-After``, or a few hundredths where it sent none.
        """
        ...


def check_rate_limiter(given: object) -> None:
    """Raise ConfigError unless *given* has the methods of a RateLimiter, and is no class."""
    methods = [getattr(given, name, None) for name in ("reserve", "pause")]
    if isinstance(given, type) or not all(map(callable, methods)):
        kind = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise ConfigError(
            f"rate_limiter must be an object with the async methods reserve and pause, not {kind}"
        )


class Schedule:
    """Slots at *rate* a second, lowered after refusals. Every method is given the time."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next = -math.inf  # the next slot
        self._paused_until = -math.inf
        self._lowered = math.inf  # the rate that refusals left, at the end of their pause
        self._resumed = 0.0  # when that was
        self._refused = -math.inf  # when it was last lowered, but for refusals of the same second
        self._least = 0.0  # what refusals of the same second leave

    def reserve(self, want: int, now: float) -> Reservation:
        """Up to *want* slots, within ``SPAN``; at least one."""
        rate = self.rate(now)
        step, count = 1 / rate, max(1, min(want, int(SPAN * rate)))
        start = max(self._next, self._paused_until, now)
        self._next = start + count * step
        return Reservation(start - now, step, count, max(0.0, self._paused_until - now))

    def pause(self, seconds: float, now: float) -> None:
        """Nothing for so many seconds, then slower, if it is the rate that holds requests back."""
        rate, ends = self.rate(now), max(self._paused_until, now + seconds)
        if now < self._refused + 1:
            self._lowered = max(self._least, LOWERED * self._lowered)
            self._resumed = ends
        elif self._paused_until <= now < self._next:
            is_soon = self._lowered < math.inf and now < self._resumed + SOON
            self._least = max(SLOWEST, LEAST * rate)
            self._lowered = self._least if is_soon else max(SLOWEST, LOWERED * rate)
            self._refused, self._resumed = now, ends
        self._paused_until = ends

    def rate(self, now: float) -> float:
        """The rate at *now*, a second."""
        grown = max(0.0, now - self._resumed) / PERIOD
        rate = self._lowered * (1 + GROWTH * grown**3)
        if rate < self._rate:
            return rate
        self._lowered = math.inf
        return self._rate


class InProcessRateLimiter:
    """A ``RateLimiter`` for several clients of one event loop: at most *rate* + 1 in any second.

    ::

        shared = InProcessRateLimiter(50)
        first, second = (Client(each, rate_limiter=shared) for each in settings)

    When the server refuses requests at that rate, all pause together and go on a little slower,
    until the rate has recovered. Raises ConfigError for a rate that is not a number above 0.
    """

    def __init__(self, rate: float) -> None:
        number("rate", rate, SLOWEST, FASTEST)
        self._rate = rate
        self._schedule = Schedule(rate)

    async def reserve(self, want: int, /) -> Reservation:
        """Up to *want* slots, at least one. Raises ConfigError for a number below 1."""
        whole("want", want, 1, 2**31)
        return self._schedule.reserve(want, asyncio.get_running_loop().time())

    async def pause(self, seconds: float, /) -> None:
        """Nobody sends for so many seconds. Raises ConfigError unless they are 0 to a day."""
        number("seconds", seconds, 0, DAY)
        self._schedule.pause(seconds, asyncio.get_running_loop().time())

    def __repr__(self) -> str:
        return f"InProcessRateLimiter(rate={self._rate!r})"
