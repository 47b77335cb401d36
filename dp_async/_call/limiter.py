"""The one door of a client: how many requests are inside, how evenly they enter, when none may.

Knows no request and no answer, only their number, the time, and what it is told of refusals. All
waiting is here: who has entered sends at once.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

from .._errors import ClientClosed, RateLimited

#: A pace is learned from no fewer requests than this, let through in the second before a refusal.
_LEAST = 5
#: Seconds until a learned pace is back at what was let through, and then goes beyond: these at
#: first, later twice as long as the last one was kept, within bounds.
_PLATEAU, _LONGEST = 10.0, 30.0
#: The most by which random waiting makes a wait longer that the server asked for, in parts of it.
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class _Learned:
    """A pace that the server was seen to allow: *rate* a second.

    Refused at *refused*, kept from *time* on, and about *plateau* seconds long.
    """

    rate: float
    refused: float
    time: float
    plateau: float = _PLATEAU

    def at(self, now: float) -> float:
        """The rate to try now: a little less, then the same, then ever more; a cubic, as TCP's.

        0.95 of it at first, all of it after one plateau, 1.05 after two, 1.4 after three.
        """
        return self.rate * (1 + 0.05 * ((now - self.time) / self.plateau - 1) ** 3)

    def more(self) -> _Learned:
        """Of a request that was on its way at the refusal, and was let through.

        It may belong to the second that was counted or to the next: it counts half.
        """
        return replace(self, rate=self.rate + 0.5)

    def again(self, rate: float, now: float, time: float) -> _Learned:
        """What is learned from a refusal of this pace, *rate* having been let through.

        A pace that was refused soon is far too much, because the pauses count as well: what is
        let through on the average, pause included, is less than what the server allows.
        """
        kept, pause = now - self.time, self.time - self.refused
        rate = min(rate, self.at(now)) * (1 - 0.3 * pause / (kept + pause))
        return _Learned(rate, now, time, min(_LONGEST, max(_PLATEAU, 2 * kept)))


class Limiter:
    """At most *ceiling* inside, at most *rate* + 1 entries in any second, first come first served.

    A refusal (429, or a ``Retry-After``) closes it for all. It opens again with one; when that one
    was not refused, for half of what was inside; from there on for one more each round. Where the
    server was seen to let so many a second through, it keeps about that pace for a while.

    Who is cancelled while waiting takes no place and no turn. A turn taken late is caught up as far
    as the rate + 1 allows, so that a loop's coarse timers do not slow the rate.
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
        loop = asyncio.get_running_loop()
        self.ceiling = ceiling
        self.limit: float = ceiling  # how many may be inside now
        self.in_flight = 0
        self.generation = 0  # goes up with each refusal
        self.clock = loop.time
        self._call_at = loop.call_at
        self._future = loop.create_future
        self._rate = math.inf if rate is None else rate
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self._next = 0.0  # when the next turn is
        self._opens = 0.0  # closed until then
        self._half: int | None = None  # the room to come once one has passed after a refusal
        self._refusals = 0  # in a row
        self._let_through: deque[float] = deque()  # when, in the last second
        self._learned: _Learned | None = None
        self._rough = False  # what is learned was counted while requests were on their way
        self._tickets = count()
        self._waiting: list[tuple[bool, int, asyncio.Future[int]]] = []  # a heap
        self._going = False  # one was let in whose turn counts from when it goes
        self._timer: asyncio.Handle | None = None
        self._closed = False

    async def acquire(self, endpoint: str = "", *, first: bool = False) -> int:
        """Return when the caller may send; what it returns is for ``passed`` and ``refused``.

        *first*: before all who wait. Raises RateLimited, with nothing sent, where the server asked
        for a longer wait than the cap; ClientClosed when closed meanwhile.
        """
        ticket: int | None = None
        while True:
            now = self.clock()
            self._refuse(endpoint, now)
            if not self._waiting and self._wait(now) <= 0:
                self.in_flight += 1
                self._take_turn(now)
                return self.generation
            if ticket is None:  # kept: who is turned back keeps its place in the queue
                ticket = next(self._tickets)
            future: asyncio.Future[int] = self._future()
            heappush(self._waiting, (not first, ticket, future))
            self.wake()
            try:
                admitted = await future
            except asyncio.CancelledError:
                if not future.cancelled():  # let in and cancelled in the same turn of the loop
                    self._give_back(future.result())
                raise
            if admitted == self.generation and not self._closed:
                self._going = False
                self._take_turn(self.clock())
                self.wake()
                return admitted
            if admitted >= 0:  # shut between being let in and going: back to its place, unnoticed
                self.in_flight -= 1
                self._going = False

    def release(self) -> None:
        """Who entered is done, however it ended."""
        self.in_flight -= 1
        self.wake()

    def passed(self, generation: int, *, good: bool) -> None:
        """Who entered in *generation* was not refused; *good*: it was answered well."""
        if good:
            now = self.clock()
            self._let_through.append(now)
            self._forget(now)
        if generation != self.generation:
            if good and self._rough and self._learned is not None:
                self._learned = self._learned.more()
            return
        self._refusals, self._rough = 0, False
        if self._half is not None:
            self.limit, self._half = self._half, None
        elif good and self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit + 1 / self.limit)

    def refused(self, generation: int, asked: float | None) -> bool:
        """Who entered in *generation* was told to come back, after *asked* seconds if it was said.

        True for the first of an era: what was sent before it was heard of shares its fate.
        """
        now = self.clock()
        first = generation == self.generation
        wait = asked or 0.0
        if first:
            most = min(self._cap, self._base * 2.0 ** min(self._refusals, 64))
            jitter = self._jitter() * (min(most, _JITTER * asked) if asked else most)
            wait = max(wait, min(wait + jitter, self._cap))
            self.generation += 1
            self._refusals += 1
            self._half = max(1, self.in_flight // 2)
            self.limit = 1
            self._forget(now)
            if asked != 0 and len(self._let_through) >= _LEAST:
                rate, learned = len(self._let_through), self._learned
                self._rough = learned is None
                self._learned = (
                    _Learned(rate, now, now + wait)
                    if learned is None
                    else learned.again(rate, now, now + wait)
                )
        self._opens = max(self._opens, now + wait)
        if wait > self._cap:
            self._rouse()  # nobody waits that long
        return first

    def wake(self) -> None:
        """Let in who can be: to be called when the room has grown."""
        while self._waiting:
            future = self._waiting[0][-1]
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
            self._going = self._is_paced
            future.set_result(self.generation)

    def close(self) -> None:
        """Whoever waits, or comes yet, gets ClientClosed."""
        self._closed = True
        self._rouse()
        if self._timer is not None:
            self._timer.cancel()

    def _refuse(self, endpoint: str, now: float) -> None:
        if self._closed:
            raise ClientClosed("the client is closed")
        longer = self._opens - now
        if longer > self._cap + 0.001:  # more than rounding
            raise RateLimited(
                f"{endpoint}: not sent: the server asked all to wait, for another {longer:.0f} s, "
                f"and RetryPolicy.cap is {self._cap:g} s",
                endpoint=endpoint,
                retry_after=longer,
            )

    def _wait(self, now: float) -> float:
        """The seconds until the next may enter; infinity where somebody must leave first."""
        if self.in_flight >= int(self.limit) or self._going:
            return math.inf
        return max(self._opens, self._next) - now

    def _wake_at(self, when: float) -> None:
        # A timer that is set is never too late: what is waited for is only ever put off.
        if self._timer is None and when < math.inf:
            self._timer = self._call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.wake()

    @property
    def _is_paced(self) -> bool:
        return self._rate < math.inf or self._learned is not None

    def _take_turn(self, now: float) -> None:
        if self._is_paced:
            rate = self._pace(now)
            # With so much to catch up, floor(rate) + 1 turns at most fall into a second.
            slack = (math.floor(rate) + 1 - rate) / rate
            self._next = max(self._next, now - slack) + 1 / rate

    def _pace(self, now: float) -> float:
        """The entries a second, by now."""
        if self._learned is None:
            return self._rate
        rate = self._learned.at(now)
        if rate > 10 * self._learned.rate:  # long ago: what the server allows is not known
            self._learned = None
        return min(self._rate, rate)

    def _give_back(self, generation: int) -> None:
        """Who was let in does not come: its place is free again, and it has taken no turn."""
        if generation >= 0:
            self._going = False
            self.release()

    def _rouse(self) -> None:
        """Let all who wait look again."""
        waiting, self._waiting = self._waiting, []
        for *_, future in waiting:
            if not future.done():
                future.set_result(-1)

    def _forget(self, now: float) -> None:
        while self._let_through and self._let_through[0] < now - 1:
            self._let_through.popleft()
