"""Servers as they set limits: what each does with a request that arrives at a time.

Pure: no clock, no waiting, no HTTP, and no code of the simulator's. Requests must arrive in the
order of time; what becomes of one is known when it arrives.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from random import Random
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """The server answers *after* so many seconds; *wait*: None, or the refusal's own wait.

    That wait is how long the server would refuse the next one, as far as it can say.
    """

    after: float
    wait: float | None = None


class Server(Protocol):
    """*allows*: requests a second in the long run, if each takes *seconds* of work."""

    def arrives(self, now: float, seconds: float) -> Verdict:
        """A request arrives that takes *seconds* of work."""
        ...

    def allows(self, seconds: float) -> float: ...


class Free:
    """A server without a limit."""

    def arrives(self, now: float, seconds: float) -> Verdict:
        return Verdict(seconds)

    def allows(self, seconds: float) -> float:
        return math.inf


class Once:
    """Refuses one request: the one of this *number*, or the first after *at* seconds."""

    def __init__(self, number: int, at: float) -> None:
        self._number, self._at = number, at
        self._count, self._done = 0, False

    def arrives(self, now: float, seconds: float) -> Verdict:
        self._count += 1
        if self._done or now < self._at or self._count < self._number:
            return Verdict(seconds)
        self._done = True
        return Verdict(0.0, 0.0)

    def allows(self, seconds: float) -> float:
        return math.inf


class Hole:
    """Never answers the requests that arrive between *start* and *end*."""

    def __init__(self, start: float, end: float) -> None:
        self._start, self._end = start, end

    def arrives(self, now: float, seconds: float) -> Verdict:
        return Verdict(math.inf if self._start <= now < self._end else seconds)

    def allows(self, seconds: float) -> float:
        return math.inf


class Window:
    """At most *most* requests in each whole *period* of the clock."""

    def __init__(self, most: int, period: float = 1.0) -> None:
        self._most, self._period = most, period
        self._current, self._count = 0, 0

    def arrives(self, now: float, seconds: float) -> Verdict:
        current = int(now // self._period)
        if current != self._current:
            self._current, self._count = current, 0
        self._count += 1
        if self._count <= self._most:
            return Verdict(seconds)
        return Verdict(0.0, (current + 1) * self._period - now)

    def allows(self, seconds: float) -> float:
        return self._most / self._period


class Sliding:
    """At most *most* requests in any *period*; refused ones are not counted."""

    def __init__(self, most: int, period: float) -> None:
        self._most, self._period = most, period
        self._let_in: deque[float] = deque()

    def arrives(self, now: float, seconds: float) -> Verdict:
        while self._let_in and self._let_in[0] <= now - self._period:
            self._let_in.popleft()
        if len(self._let_in) >= self._most:
            return Verdict(0.0, self._let_in[0] + self._period - now)
        self._let_in.append(now)
        return Verdict(seconds)

    def allows(self, seconds: float) -> float:
        return self._most / self._period


class Bucket:
    """A token bucket: *rate* tokens a second, at most *burst* in store; full at first."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens, self._at = float(burst), 0.0

    def arrives(self, now: float, seconds: float) -> Verdict:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1 - 1e-9:  # less what rounding took
            return Verdict(0.0, (1 - self._tokens) / self.rate)
        self._tokens -= 1
        return Verdict(seconds)

    def allows(self, seconds: float) -> float:
        return self.rate


class Slots:
    """At most *most* requests at once; all others are refused."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._ends: list[float] = []  # of those that are worked on, a heap

    def arrives(self, now: float, seconds: float) -> Verdict:
        while self._ends and self._ends[0] <= now:
            heappop(self._ends)
        if len(self._ends) >= self.most:
            return Verdict(0.0, self._ends[0] - now)
        heappush(self._ends, now + seconds)
        return Verdict(seconds)

    def allows(self, seconds: float) -> float:
        return self.most / seconds


class Queue:
    """*workers*, first come first served; one that waits *patience* seconds is refused then."""

    def __init__(self, workers: int, patience: float = math.inf) -> None:
        self._free = [0.0] * workers  # when each worker is free, a heap
        self._patience = patience

    def arrives(self, now: float, seconds: float) -> Verdict:
        wait = max(0.0, self._free[0] - now)
        if wait > self._patience:
            return Verdict(self._patience, wait)
        heapreplace(self._free, now + wait + seconds)
        return Verdict(wait + seconds)

    def allows(self, seconds: float) -> float:
        return len(self._free) / seconds


class Shared:
    """*server*, a part of which another client takes, whatever it is answered.

    It sends a fifth of what the server allows: evenly, or twice that in every other 5 seconds.
    """

    def __init__(self, server: Server, random: Random, seconds: float, *, bursts: bool) -> None:
        self._server = server
        self._seconds = seconds
        self._times = self._arrivals(random, bursts)
        self._next = next(self._times)

    def arrives(self, now: float, seconds: float) -> Verdict:
        while self._next <= now:
            self._server.arrives(self._next, self._seconds)
            self._next = next(self._times)
        return self._server.arrives(now, seconds)

    def allows(self, seconds: float) -> float:
        return 0.8 * self._server.allows(seconds)

    def _arrivals(self, random: Random, bursts: bool) -> Iterator[float]:
        gap = 5 / self._server.allows(self._seconds)
        time = 0.0
        while True:
            if bursts and time % 10 >= 5:
                time = (time // 10 + 1) * 10
            time += gap * random.uniform(0.5, 1.5) / (2 if bursts else 1)
            yield time


class Changing:
    """*before* until the time *at*, then *after*."""

    def __init__(self, before: Server, after: Server, at: float) -> None:
        self._before, self._after, self._at = before, after, at

    def arrives(self, now: float, seconds: float) -> Verdict:
        return (self._before if now < self._at else self._after).arrives(now, seconds)

    def allows(self, seconds: float) -> float:
        return self._after.allows(seconds)
