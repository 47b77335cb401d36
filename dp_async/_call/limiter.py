"""Client-wide limiter: concurrency, request rate, and a shared pause after a 429.

Knows no request and no answer, only their number, the time and the refusals. All waiting is here:
an admitted caller sends at once.

- Concurrency: a semaphore, first come first served, retries first.
- Rate: GCRA at the configured or the learned rate, see ``pace``.
- A refusal (429, or any ``Retry-After``) pauses every call until the wait that the server asked
  for ends, plus jitter; if it asked for none, exponential backoff with full jitter.
- Reopening is AIMD: one request probes; if it is not refused, half of what was in flight at the
  refusal may be, and from there one more each round.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from .._errors import ClientClosed, RateLimited
from .pace import Pace

#: Jitter lengthens a wait that the server asked for by up to this share.
_JITTER = 0.1
#: Differences between times up to this are rounding.
_ROUNDING = 0.001
#: The result of a waiter's future when it is not admitted and has to check why.
_RECHECK = -1


class _Waiter(NamedTuple):
    """A caller in the queue, a heap: those with ``last`` False come first, then by ticket."""

    last: bool
    ticket: int
    cap: float
    future: asyncio.Future[int]


class _Backoff:
    """The pause that all calls share after a refusal, and how long the next one is."""

    def __init__(self, base: float, cap: float, jitter: Callable[[], float]) -> None:
        self.cap = cap
        self.ends = 0.0  # no call is sent before
        self._base = base
        self._jitter = jitter
        self._ends_unjittered = 0.0  # the same, less the jitter on top of the server's own wait
        self._refusals = 0  # in a row

    def refused(self, retry_after: float | None, now: float, *, first: bool) -> float:
        """Pause from *now* on for the returned seconds, unless the pause is longer already.

        Only the *first* refusal of a generation counts and adds jitter; jitter does not lengthen
        a wait beyond the cap.
        """
        wait = retry_after or 0.0
        if first:
            # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
            most = min(self.cap, self._base * 2.0 ** min(self._refusals, 64))
            jitter = self._jitter() * (min(most, _JITTER * retry_after) if retry_after else most)
            wait = max(wait, min(wait + jitter, self.cap))
            self._refusals += 1
        self.ends = max(self.ends, now + wait)
        self._ends_unjittered = max(self._ends_unjittered, now + (retry_after or wait))
        return wait

    def passed(self) -> None:
        """A call was not refused: the next backoff starts at the base again."""
        self._refusals = 0

    def least_cap(self, now: float) -> float:
        """The least cap of a caller that still waits: without jitter, which is chance."""
        return self._ends_unjittered - now - _ROUNDING


class Limiter:
    """At most *ceiling* requests in flight, at most *rate* + 1 sent in any second.

    *base* and *cap* bound the backoff after a refusal without a ``Retry-After``; a pause longer
    than *cap* is not waited for. *jitter* is uniform over [0, 1). Create it in a running loop.

    A caller that is cancelled while it waits takes no permit and no slot.
    """

    def __init__(
        self,
        ceiling: int,
        *,
        rate: float | None = None,
        base: float = 0.5,
        cap: float = math.inf,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        self.ceiling = ceiling
        self.limit: float = ceiling  # requests that may be in flight now
        self.in_flight = 0
        self.generation = 0  # goes up with each refusal
        self._pace = Pace(math.inf if rate is None else rate)
        self._backoff = _Backoff(base, cap, jitter)
        self._limit_after_probe: int | None = None  # None: no probe is due
        self._tickets = count()
        self._waiting: list[_Waiter] = []  # a heap
        self._admitting = False  # an admitted caller has yet to resume and take its slot
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def acquire(
        self, endpoint: str = "", *, first: bool = False, cap: float | None = None
    ) -> int:
        """Wait until the caller may send. Returns the generation, for ``passed`` and ``refused``.

        *first*: before all other waiters. *cap*: the longest pause the caller waits for, by default
        the limiter's. Raises RateLimited, with nothing sent, as soon as the pause is longer than
        that, and ClientClosed when the limiter is closed.
        """
        cap = self._backoff.cap if cap is None else cap
        ticket: int | None = None
        while True:
            now = self.clock()
            if self._closed or now < self._backoff.ends:
                self._check(endpoint, cap, now)
            if not self._waiting and self._wait(now) <= 0:
                self.in_flight += 1
                self._pace.take_slot(now)
                return self.generation
            if ticket is None:  # kept for all rounds, and with it the place in the queue
                ticket = next(self._tickets)
            future: asyncio.Future[int] = self._loop.create_future()
            heappush(self._waiting, _Waiter(not first, ticket, cap, future))
            self.wake()
            try:
                admitted = await future
            except asyncio.CancelledError:
                if not future.cancelled():  # admitted and cancelled in the same loop iteration
                    self._give_back(future.result())
                raise
            if admitted == self.generation and not self._closed:
                self._admitting = False
                self._pace.take_slot(self.clock())
                self.wake()
                return admitted
            if admitted != _RECHECK:  # a refusal or close came before the caller resumed
                self.in_flight -= 1
                self._admitting = False

    def release(self) -> None:
        """Give back what ``acquire`` took, however the call ended."""
        self.in_flight -= 1
        self.wake()

    def passed(self, generation: int, *, good: bool) -> None:
        """A call sent in *generation* was not refused; *good*: its answer was good."""
        current = generation == self.generation
        if good:
            self._pace.accepted(self.clock(), before_refusal=not current)
        if not current:
            return
        if self._limit_after_probe is not None:  # the first to pass after a refusal
            self._pace.resumed()
            self._backoff.passed()
            self.limit, self._limit_after_probe = self._limit_after_probe, None
        elif good and self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit + 1 / self.limit)

    def refused(self, generation: int, retry_after: float | None) -> bool:
        """A call sent in *generation* was refused; *retry_after*: the wait the server asked for.

        Returns True for the first refusal of a generation. Later ones are of calls that were in
        flight by then: they may lengthen the pause, and count no more than that.
        """
        now = self.clock()
        first = generation == self.generation
        wait = self._backoff.refused(retry_after, now, first=first)
        if first:
            self.generation += 1
            self._limit_after_probe = max(1, self.in_flight // 2)
            self.limit = 1
            if retry_after != 0:  # 0 invites to send again at once, and says nothing of a pace
                self._pace.refused(now, now + wait)
        least = self._backoff.least_cap(now)
        self._recheck([waiter for waiter in self._waiting if waiter.cap < least])
        return first

    def wake(self) -> None:
        """Admit as many waiters as may be; call it after raising ``limit``."""
        while self._waiting:
            future = self._waiting[0].future
            if future.done():  # cancelled while it waited
                heappop(self._waiting)
                continue
            now = self.clock()
            wait = self._wait(now)
            if wait > 0:
                self._wake_at(now + wait)
                return
            heappop(self._waiting)
            self.in_flight += 1
            self._admitting = self._pace.is_limited
            future.set_result(self.generation)

    def close(self) -> None:
        """Raise ClientClosed in all waiters and in every later ``acquire``."""
        self._closed = True
        self._recheck(self._waiting)
        if self._timer is not None:
            self._timer.cancel()

    def _check(self, endpoint: str, cap: float, now: float) -> None:
        if self._closed:
            raise ClientClosed("the client is closed")
        if cap < self._backoff.least_cap(now):
            wait = self._backoff.ends - now
            raise RateLimited(
                f"{endpoint}: not sent: the server refused a request, so that all calls pause for "
                f"another {wait:.0f} s, and RetryPolicy.cap is {cap:g} s",
                endpoint=endpoint,
                retry_after=wait,
            )

    def _wait(self, now: float) -> float:
        """The seconds until the next caller may be admitted; infinite if one must release first."""
        if self.in_flight >= int(self.limit) or self._admitting:
            return math.inf
        return max(self._backoff.ends, self._pace.next_slot) - now

    def _wake_at(self, when: float) -> None:
        # A timer that is set is early enough: the next admission is only ever put off.
        if self._timer is None and when < math.inf:
            self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.wake()

    def _give_back(self, admitted: int) -> None:
        """The caller was cancelled after it was admitted: free its permit, it took no slot."""
        if admitted != _RECHECK:
            self._admitting = False
            self.release()

    def _recheck(self, leaving: list[_Waiter]) -> None:
        """Take these out of the queue: each finds out why by itself, and raises."""
        if not leaving:
            return
        tickets = {waiter.ticket for waiter in leaving}
        self._waiting = [waiter for waiter in self._waiting if waiter.ticket not in tickets]
        heapify(self._waiting)
        for waiter in leaving:
            if not waiter.future.done():
                waiter.future.set_result(_RECHECK)
