"""Client-wide limiter: concurrency, request rate, and a shared pause after a refusal.

Two things are learned apart: how many requests the server works on at once (``places``) and how
many it accepts a second (``pace``). A refusal counts against the one that explains it.

- The first refusal begins a doubt: nothing is sent until most of what is in flight is answered.
- Others let through, and more in flight than were let through lately: a matter of number. So many
  as were let through are in flight from then on; one more is tried from time to time (AIMD).
- A refusal of one beyond that number explains itself, and the number is kept; one far beyond it
  contradicts it. With ``Retry-After``, so does one of less than three quarters of what was proven,
  and it is a matter of rate for a while: a pause refills a burst, which passes for a number.
- If there was one refusal among many good answers, for the first time in a while: chance.
- Else a matter of rate: requests are spaced (GCRA) at about the rate of the good answers, which
  grows along a cubic (CUBIC, RFC 9438; as the adaptive retry mode of the AWS SDKs).
- A number contradicted by fewer let through is undone; so is a lower pace that is refused as soon
  as before: another client uses up the limit (``contested``), and trials decide on the pace.
- ``Retry-After`` pauses all calls until it ends, plus jitter. Without one there is a pause only if
  nothing in flight is let through: exponential, with full jitter, then one request as a probe.

Knows no request and no answer, only their number, the time and the refusals. All waiting is here:
an admitted caller sends at once.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

from .backoff import Backoff
from .doubt import Doubt
from .pace import Pace
from .places import START, Permit, Places
from .queue import Queue, Waiter

#: The result of a waiter's future when it is not admitted and has to check why.
_RECHECK = -1
#: A refusal with no other in so many seconds may be chance.
_ALONE = 2.0
#: Good answers in the last part of a refused request's flight came with it.
_WITH_IT = 0.1


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
        self.places = Places(ceiling)
        self.pace = Pace(math.inf if rate is None else rate)
        self.backoff = Backoff(base, cap, jitter)
        self.limit: float = min(START, ceiling)  # requests that may be in flight now
        self.in_flight = 0
        self._last_good = -math.inf  # when a good answer came
        self.generation = 0  # goes up with each refusal
        self._doubt: Doubt | None = None
        self._last_doubt = -math.inf
        self._probing = False
        self._good_since = False  # whether there were good answers since the last refusal
        self._queue = Queue()
        self._admitting = False  # an admitted caller has yet to resume and take its slot
        self._timer: tuple[float, asyncio.Handle] | None = None  # when it is due

    async def acquire(
        self,
        endpoint: str = "",
        *,
        first: bool = False,
        bulk: bool = False,
        cap: float | None = None,
    ) -> Permit:
        """Wait until the caller may send. Returns the permit, for the methods below.

        *first*: before the other waiters of its kind. *bulk*: for a crawl's page, which lets single
        calls go first. *cap*: the longest pause the caller waits for, by default the limiter's.
        Raises RateLimited, with nothing sent, as soon as the pause is longer than that, and
        ClientClosed when the limiter is closed.
        """
        cap = self.backoff.cap if cap is None else cap
        ticket: int | None = None
        while True:
            now = self.clock()
            if now < self.backoff.ends:
                self.backoff.check(endpoint, cap, now)
            if not self._queue.waiting and self._wait(now) <= 0:
                self.in_flight += 1
                self.pace.take_slot(now)
                return Permit(self.generation, now, self.in_flight)
            if ticket is None:  # kept for all rounds, and with it the place in the queue
                ticket = self._queue.ticket()
            future: asyncio.Future[int] = self._loop.create_future()
            self._queue.push(Waiter(not first, ticket, cap, future), bulk=bulk)
            self.wake()
            try:
                admitted = await future
            except asyncio.CancelledError:
                if not future.cancelled():  # admitted and cancelled in the same loop iteration
                    self._give_back(future)
                raise
            if admitted == self.generation:
                self._admitting = False
                now = self.clock()
                self.pace.take_slot(now)
                self.wake()
                return Permit(admitted, now, self.in_flight)
            if admitted != _RECHECK:  # a refusal or close came before the caller resumed
                self._admitting = False
                self._free()

    def served_within(self, seconds: float) -> bool:
        """Whether the server gave a good answer to any call in the last *seconds*."""
        return self.clock() - self._last_good <= seconds

    @property
    def cap(self) -> float:
        """The longest pause, in seconds."""
        return self.backoff.cap

    @property
    def is_refused(self) -> bool:
        """Whether the server refuses all calls, so that one at a time probes."""
        return self._probing

    @property
    def learned(self) -> tuple[int | None, float | None]:
        """How many requests the server takes at once, and a second; None where that is unknown."""
        learned = self.pace.learned
        return self.places.learned or None, None if learned is None else learned.rate

    @property
    def pause(self) -> float:
        """The seconds until calls are sent again."""
        return max(0.0, self.backoff.ends - self.clock())

    def release(self) -> None:
        """Give back what ``acquire`` took, however the call ended."""
        self._free()
        self.wake()

    def _free(self) -> None:
        self.in_flight -= 1
        if self._doubt is not None:
            self._conclude(self._doubt)

    def passed(self, permit: Permit, *, good: bool) -> None:
        """The call was not refused; *good*: its answer was good."""
        current = permit.generation == self.generation
        if good:
            now = self._last_good = self.clock()
            self._good_since = True
            self.pace.accepted(now)
            if self._doubt is not None:
                self._doubt.good += 1
            elif current and not self._probing:
                self.places.passed(permit, now)
                self.limit = self.places.limit
        if current and self._probing:
            self._probing = False
            self.backoff.reset()
            self.limit = self.places.limit

    def refused(self, permit: Permit, retry_after: float | None) -> bool:
        """The call was refused; *retry_after*: the wait the server asked for.

        Returns True for the first refusal of a generation. Later ones are of calls that were in
        flight by then.
        """
        now = self.clock()
        first = permit.generation == self.generation
        self.pace.rejected(permit.sent, now)
        if first:
            self.generation += 1
            wait = retry_after or 0.0
            expected, self._good_since = self.pace.expects(good=self._good_since), False
            if expected:
                self.pace.refused(now, now + wait)
            elif not self.places.refused(permit.nth, now, wait) or self._probing:
                just_before = self.pace.accepted_since(now - _WITH_IT * (now - permit.sent))
                self._doubt = Doubt(self.in_flight, just_before, wait, now)
            self.limit = self.places.limit if self._doubt is None else 0
        if self._doubt is not None:
            self._doubt.refused += 1
        if retry_after:
            self.backoff.obey(retry_after, now)
            self._recheck(self.backoff.least_cap(now))
        return first

    def _conclude(self, doubt: Doubt) -> None:
        """Decide what explains the refusals, if enough answers came or time is over."""
        now, pause_ends = self.clock(), self.backoff.ends
        if doubt.is_over(self.in_flight, now, pause_ends):
            self._resolve(doubt)
        else:
            self._wake_at(pause_ends if now < pause_ends else doubt.ends)

    def _resolve(self, doubt: Doubt) -> None:
        """Decide what explains the refusals."""
        now, places = self.clock(), self.places
        alone, self._last_doubt, self._doubt = now > self._last_doubt + _ALONE, now, None
        if not doubt.good and places.explain(
            doubt.just_before, doubt.in_flight + doubt.just_before, now
        ):
            doubt.add_just_before()
        if not doubt.good:
            self._probing = True
            if not doubt.retry_after:
                self.backoff.grow(now)
                self._recheck(self.backoff.least_cap(now))
        if not self.pace.binds(now) and places.explain(doubt.at_once, doubt.in_flight, now):
            places.estimate(doubt.at_once, now, doubt.retry_after)
        elif (
            not (doubt.may_be_chance and alone)
            or places.is_contradicted(now)
            or self.pace.is_beyond(now)
        ):
            self.pace.refused(now, max(now, self.backoff.ends))
            if self.pace.is_contested:
                places.proven = 0  # slower does not help, so that it may be the number after all
            few = START if self.pace.learned is not None else max(1, doubt.in_flight // 2)
            places.forget(max(few, places.proven))
        self.limit = 1 if self._probing else places.limit

    def wake(self) -> None:
        """Admit as many waiters as may be; call it after raising ``limit``."""
        queue = self._queue
        while queue.waiting:
            queue.drop_cancelled()
            if not queue.waiting:
                return
            now = self.clock()
            wait = self._wait(now)
            if wait > 0:
                self._wake_at(now + wait)
                return
            self.in_flight += 1
            self._admitting = self.pace.is_limited
            queue.pop().set_result(self.generation)

    def close(self) -> None:
        """Raise ClientClosed in all waiters and in every later ``acquire``."""
        self.backoff.close()
        self.generation += 1
        self._recheck()
        if self._timer is not None:
            self._timer[1].cancel()

    def _wait(self, now: float) -> float:
        """The seconds until the next caller may be admitted; infinite if one must release first."""
        if self.in_flight >= int(self.limit) or self._admitting:
            return math.inf
        return max(self.backoff.ends, self.pace.next_slot) - now

    def _wake_at(self, when: float) -> None:
        # Less than half a millisecond ahead, uvloop returns a handle that does not know its time.
        if when == math.inf or (self._timer is not None and self._timer[0] <= when):
            return
        if self._timer is not None:
            self._timer[1].cancel()
        self._timer = when, self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._doubt is not None:
            self._conclude(self._doubt)
        self.wake()

    def _give_back(self, future: asyncio.Future[int]) -> None:
        """The caller, if it was admitted, will not send: free its permit, it took no slot."""
        if future.exception() is None and future.result() != _RECHECK:
            self._admitting = False
            self.release()

    def _recheck(self, least: float | None = None) -> None:
        """Take the waiters with a cap below *least*, or all, out of the queue.

        Each finds out why, and raises.
        """
        for future in self._queue.remove(least):
            future.set_result(_RECHECK)
