"""A limiter whose slots come from a ``RateLimiter``, which other clients and processes share.

As ``Limiter`` it learns how many requests the server takes at once, but no pace: of several
clients that each learn one, every client takes the refusals of the others for its own. It reserves
slots for callers that wait and could be in flight, a few at a time, and passes refusals on.

Knows nothing of what a rate limiter does when it is called: ``reserving`` calls it.
"""

from __future__ import annotations

import math
from collections import deque

from .limiter import Limiter
from .pace import Pace
from .places import Permit
from .rate_limiter import SPAN, RateLimiter, Reservation
from .reserving import Reserving, Spawn, failure

#: Slots held, at most.
MOST = 16
#: The next slots are reserved so many seconds before the last one that is held: the time that the
#: answer may take without a slot being lost.
AHEAD = 0.02
#: A reservation that begins late shows that other clients hold the slots before it. Then the next
#: one waits until the callers in flight are back, so that it is for them too: for this share of the
#: time that the others hold, which loses no slot, but at most for so many seconds: a caller may
#: stay in flight for long.
PATIENCE, LONGEST = 0.5, 2 * SPAN
#: A slot may be used so many seconds late, or half the time to the next; then it is dropped, so
#: that no burst follows when the event loop was held up.
LATE = 0.025
#: The pause to tell others of after a refusal that named none: time to lower the rate in.
BRIEF = 0.02


class Slots(Pace):
    """The slots that are *held*, in order, each with the last moment to use it.

    The process's own *rate* bounds them besides. Refusals teach nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.held: deque[tuple[float, float]] = deque()
        self.next_reservation = -math.inf  # with callers still in flight, not before
        self.most = MOST if rate == math.inf else max(1, min(MOST, int(SPAN * rate)))
        self._has_rate = self.is_limited
        self.is_limited = True  # the next caller is admitted when this one has taken its slot

    def hold(self, given: Reservation, now: float) -> None:
        """Add the slots that were reserved."""
        first, late = now + given.wait, max(LATE, given.step / 2)
        slots = (first + index * given.step for index in range(given.count))
        self.held.extend((slot, slot + late) for slot in slots)
        if given.count:
            patience = min(PATIENCE * (given.wait - given.paused), LONGEST)
            self.next_reservation = self.held[-1][0] - AHEAD + patience
        else:
            self.next_slot = max(self.next_slot, now + max(given.wait, 2 * AHEAD))

    def drop_late(self, now: float) -> None:
        """Drop the slots that it is too late for."""
        while self.held and self.held[0][1] < now:
            self.held.popleft()

    def take_slot(self, now: float) -> None:
        """A request is sent at *now*."""
        if self.held:  # else the caller was resumed too late for it
            self.held.popleft()
        if self._has_rate:
            super().take_slot(now)

    def refused(self, now: float, resumed: float) -> None:
        """The server refused: the rate limiter learns from that."""


class SharedLimiter(Limiter):
    """A ``Limiter`` that sends in slots of *rate_limiter*, and at *rate* a second at most."""

    def __init__(
        self,
        ceiling: int,
        *,
        rate_limiter: RateLimiter,
        spawn: Spawn,
        rate: float | None = None,
        base: float = 0.5,
        cap: float = math.inf,
    ) -> None:
        super().__init__(ceiling, base=base, cap=cap)
        self.pace = self._slots = Slots(math.inf if rate is None else rate)
        self._announced = 0.0  # the end of the last pause passed on to the rate limiter
        self._reserving = Reserving(
            rate_limiter, spawn, wanted=self._wanted, granted=self._granted, failed=self._failed
        )

    def refused(self, permit: Permit, retry_after: float | None) -> bool:
        first = super().refused(permit, retry_after)
        seconds = retry_after or BRIEF
        ends = self.clock() + seconds
        # Any other was sent with the first.
        if first or ends > self._announced + seconds / 2:
            self._announced = max(self._announced, ends)
            self._reserving.pause(seconds)
        return first

    def close(self) -> None:
        self._reserving.close()
        super().close()

    def _wait(self, now: float) -> float:
        self._slots.drop_late(now)
        wait = super()._wait(now)  # as if there were a slot
        if wait > AHEAD:
            return wait
        if self._wanted():
            self._reserving.reserve()
        held = self._slots.held
        if held:
            return max(wait, held[0][0] - now)
        due = self._slots.next_reservation
        return due - now if due > now else math.inf

    def _wanted(self) -> int:
        """How many slots to reserve now: for callers that wait and could be in flight."""
        now, slots = self.clock(), self._slots
        if max(self.backoff.ends, self.pace.next_slot) > now + AHEAD:
            return 0
        if now < slots.next_reservation and (slots.held or self.in_flight):
            return 0
        could = min(self._queue.waiting, int(self.limit) - self.in_flight, slots.most)
        return max(0, could - len(slots.held))

    def _granted(self, given: Reservation) -> None:
        now = self.clock()
        self._slots.hold(given, now)
        if given.paused:
            self.backoff.follow(given.paused, now)
            self._recheck(self.backoff.least_cap(now))
        self.wake()

    def _failed(self, error: BaseException) -> None:
        """No slot can be had: the callers that wait raise an error each."""
        for future in self._queue.remove(None):
            future.set_exception(failure(error))
