"""The way down from the newest end of a list to the oldest, over pages that link.

The docstring of ``certificate`` states when two pages link. What follows from a way is in
``links``; which pages join within one second is in ``ties``.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice, takewhile
from math import inf
from typing import TYPE_CHECKING

from .decision import Gap
from .segments import Order, Segment, downward, entry_of
from .steps import AT_ONCE, mapped
from .ties import Second, enough, keep_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .steps import Steps

NEAR = 64
"""How many of the pages above a second are searched for rows of it."""


def descended(start: Segment | None, found: Sequence[Segment], order: Order) -> Steps[Descent]:
    """The way down from *start* through *found*."""
    descent = Descent(start, (yield from downward(found, order)), order)
    yield from descent.descend()
    return descent


class Descent:
    """The way down from *start* through *found*, which is sorted, once ``descend`` is done.

    One pass suffices: the lowest read so far links to every segment that a higher one links to.
    Only within one second it matters which of the pages that end there were reached.

    - *gaps*: pairs of reads with no link between; the way goes on below each.
    - *arrived*: the last read is one of the oldest wanted row.
    - *joins*: pages that were joined within a second. *swapped*: rows of one were seen to swap
      places.
    """

    def __init__(self, start: Segment | None, found: list[Segment], order: Order) -> None:
        self.gaps: list[Gap] = []
        self.joins: list[Gap] = []
        self.arrived = self.swapped = False
        self._order = order
        self._sorted = found
        self._seconds: dict[int, Second] = {}
        self._ends: list[Segment] = []  # the lowest reached, all of which end in one second
        self._expanded = 0  # how many of them were searched for what they join
        self._start = start or next(iter(self._sorted), None)

    def keeps_order(self) -> Steps[bool | None]:
        """Whether rows with one time are seen to keep their order; None if too few are seen."""
        if enough(sum(second.agreed for second in self._seconds.values())):
            return True
        return (yield from keep_order(self._sorted))

    @property
    def holds(self) -> bool:
        return self.arrived and not self.gaps and not (self.joins and self.swapped)

    def _reach(self, segment: Segment) -> None:
        """*segment* ends no higher than the lowest reached."""
        if not self._ends or segment.oldest < self._ends[0].oldest:
            self._ends, self._expanded = [segment], 0
        else:
            self._ends.append(segment)
        self.arrived |= self._order.is_tail(segment.read)

    def descend(self) -> Steps[None]:
        """Go down, in steps."""
        if self._start is None:
            return
        self._reach(self._start)
        place = number = 0
        while place < len(self._sorted) and not self.arrived:
            number += 1
            if not number % AT_ONCE:
                yield
            segment, second = self._sorted[place], self._ends[0].oldest
            if segment.oldest > second:
                place += 1
            elif segment.entry > second:
                self._reach(segment)
                place += 1
            elif not self._join(place, second):
                below = self._next(place)
                if below is None:
                    return
                self.gaps.append(Gap(self._ends[-1].read, below.read))
                self._reach(below)

    def _join(self, place: int, second: int) -> bool:
        """Reach what joins the pages that end in *second*; whether that leads below it."""
        if not self._order.keeps_ties:
            return False
        joins = self._seconds.get(second)
        if joins is None:
            joins = self._seconds[second] = self._second(place, second)
        while self._expanded < len(self._ends):
            self._expanded += 1
            above = self._ends[self._expanded - 1]
            for segment, _ in joins.below(above):
                if joins.first_reach(segment):
                    self.joins.append(Gap(above.read, segment.read))
                    self._reach(segment)
                if self.arrived or segment.oldest < second:
                    return True
        return False

    def _second(self, place: int, second: int) -> Second:
        """The pages of *second*; those that it enters begin at *place*."""
        entries = [
            segment
            for segment in takewhile(
                lambda segment: segment.entry == second, islice(self._sorted, place, None)
            )
            if segment.column.newest == second < segment.horizon
        ]
        near = [*self._sorted[max(place - NEAR, 0) : place], *self._ends]
        others = [one for one in near if one.oldest <= second <= one.column.newest]
        found = Second(second, entries, others, descending=self._order.descending)
        self.swapped |= found.swapped
        return found

    def _next(self, place: int) -> Segment | None:
        """The page below the lowest gap: the next that leads further down."""
        last, sign = self._ends[-1], 1 if self._order.descending else -1
        second = last.oldest
        for segment in islice(self._sorted, place, None):
            further = sign * (segment.read.offset - last.read.offset) > 0
            within = segment.column.newest == second == segment.oldest < segment.horizon
            if segment.oldest < second or (within and further):
                return segment
        return None

    def margin(self) -> Steps[float]:
        """By how much older every horizon might be while some chain still holds.

        The best chain is the one whose weakest link is the strongest. What can be reached is taken
        strongest link first (Dijkstra's algorithm for the widest path): no read links as strongly
        to another as the lowest one so far does.
        """
        assert self._start is not None
        margin, lowest, number, taken = inf, self._start, 0, 0
        newest = yield from mapped(_newest, self._sorted)
        places = sorted(range(len(newest)), key=newest.__getitem__)
        above = list(map(self._sorted.__getitem__, places))
        least = min(segment.horizon for segment in self._sorted)  # of the links further down
        yield
        heap: list[tuple[float, int, Segment]] = []
        joined: set[int] = set()
        reached = self._start
        while not self._order.is_tail(reached.read):
            if least - lowest.oldest - 1 >= margin:
                break  # no link further down is weaker
            taken += 1
            if not taken % AT_ONCE:
                yield
            offers: list[tuple[float, Segment]] = []
            while above and entry_of(above[-1].column, inf) > lowest.oldest:
                offers.append((above[-1].horizon, above[-1]))
                above.pop()
            joins = self._seconds.get(reached.oldest)
            if joins and id(reached) not in joined:
                joined.add(id(reached))
                offers += [(horizon, one) for one, horizon in joins.below(reached)]
            for horizon, segment in offers:
                heappush(heap, (-horizon, number, segment))
                number += 1
            horizon, _, reached = heappop(heap)
            margin = min(margin, -horizon - lowest.oldest - 1)
            if reached.oldest < lowest.oldest:
                lowest = reached
        return margin


def _newest(segment: Segment) -> int:
    return segment.column.newest
