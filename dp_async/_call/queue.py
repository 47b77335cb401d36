"""Who is admitted next: single calls before the pages of crawls, retries first, in order.

No clock, no limit; it knows callers by their futures. Of the callers that are admitted while a
crawl's page waits, every fourth is a crawl's: a single call has three quarters of the server at
least, and crawls never starve (weighted round robin).
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

#: Single calls admitted in a row while a crawl's page waits, at most.
IN_A_ROW = 3


class Waiter(NamedTuple):
    """A caller in the queue, a heap: those with ``last`` False come first, then by ticket."""

    last: bool
    ticket: int
    cap: float
    future: asyncio.Future[int]


class Queue:
    """Callers that wait; ``waiting`` may be above their number while cancelled ones are among them.

    *ticket*: a place in the order of arrival, kept by a caller that has to wait again.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._tickets = count()
        self._single: list[Waiter] = []  # heaps
        self._bulk: list[Waiter] = []
        self._in_a_row = 0

    def ticket(self) -> int:
        """The next place in the order of arrival."""
        return next(self._tickets)

    def push(self, waiter: Waiter, *, bulk: bool) -> None:
        """Add a caller; *bulk*: for a page of a crawl."""
        heappush(self._bulk if bulk else self._single, waiter)
        self.waiting += 1

    def pop(self) -> asyncio.Future[int]:
        """Remove the caller that is next, and return its future. There must be one."""
        heap = self._next()
        if heap is self._bulk:
            self._in_a_row = 0
        elif self._bulk:
            self._in_a_row += 1
        self.waiting -= 1
        return heappop(heap).future

    def drop_cancelled(self) -> None:
        """Forget the callers that were cancelled, up to the first that still waits."""
        while self.waiting and self._next()[0].future.done():
            heappop(self._next())
            self.waiting -= 1

    def remove(self, least: float | None) -> list[asyncio.Future[int]]:
        """Remove the callers with a cap below *least*, or all if None; returns their futures."""
        leaving: list[asyncio.Future[int]] = []
        for heap in (self._single, self._bulk):
            staying = [] if least is None else [waiter for waiter in heap if waiter.cap >= least]
            if len(staying) < len(heap):
                leaving += [waiter.future for waiter in heap if least is None or waiter.cap < least]
                heap[:] = staying
                heapify(heap)
        self.waiting -= len(leaving)
        return [future for future in leaving if not future.done()]

    def _next(self) -> list[Waiter]:
        if not self._single or (self._bulk and self._in_a_row >= IN_A_ROW):
            return self._bulk
        return self._single
