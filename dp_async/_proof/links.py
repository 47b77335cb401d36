"""The link rule: overlapping pages lead from one end of the list to the other.

The docstring of ``certificate`` states the rule and proves it. What counts rows is in ``counts``;
which pages join within one second is in ``ties``.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import compress, islice, takewhile
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .decision import Complete, Decision, Gap, Missing, Unprovable
from .reads import Read, horizons, is_before, is_first, with_true_sizes
from .segments import Order, Segment, downward, entry_of, segments, wanted_orders
from .steps import AT_ONCE, finished, mapped
from .ties import Second

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .steps import Steps

NEAR = 64
"""How many of the pages above a second are searched for rows of it."""

UNSORTED = (
    "the rows are not sorted by their times: such a list needs one whole pass before its last page "
    "is read and one after it, with no change between"
)
SWAPPED = (
    "rows with one and the same time come in another order on each page: the server sorts by that "
    "time alone, so that rows are missed even while nothing changes"
)
CROWDED = (
    "more rows than a page holds carry one of the last seconds, "
    "in which any of them may have changed unseen"
)


def link_rule(
    reads: Sequence[Read], bounds: Sequence[float], orders: Sequence[Order], lateness: float = 0
) -> Steps[Decision]:
    """Complete if a chain holds for each of *orders*, else what the first one without it lacks.

    *bounds* are the horizons of *reads* at this *lateness*, in whole seconds: the margin adds to
    it.
    """
    if not any(read.by_update for read in reads):
        return Unprovable("no row with an id and an update time was read")
    if not orders:
        return Unprovable(UNSORTED)
    margin, joined = inf, False
    for order in orders:
        found = yield from find_chain((yield from segments(reads, bounds, order)), order)
        if not isinstance(found, Descent):
            return found
        margin = min(margin, (yield from found.margin()))
        joined |= found.joined
    down = orders[0].down_to > -inf
    where = (
        "the newest row to what was known before" if down else "one end of the list to the other"
    )
    leaning = "; rows with one time keep their order where pages overlap" if joined else ""
    return Complete("link", f"linked pages lead from {where}{leaning}", lateness + margin)


def one_reaches_down(reads: Sequence[Read], down_to: float) -> bool:
    """Whether one page 1 shows a row older than *down_to*, whatever the order of the list."""
    orders = wanted_orders(reads, down_to)
    return any(is_first(read) and reaches_down(read, orders) for read in reads)


def reaches_down(read: Read, orders: Sequence[Order]) -> bool:
    """Whether there are *orders*, and *read* shows a row older than ``down_to`` in each of them."""
    return bool(orders) and all(
        (column := order.column(read)) is not None and column.oldest < order.down_to
        for order in orders
    )


def covers(reads: Sequence[Read], allowed_lateness: float, down_to: float = -inf) -> bool:
    """Whether *reads* hold every row that was in the list at the first read and has not changed.

    The first of *reads* was taken before all others. Rows older than *down_to* need not be held. A
    list that is not sorted newest first is never covered.

    This needs less than a certificate: unchanged rows keep their order, so each page only has to
    begin no lower than the page above it ended, whenever the two were taken. Rows of the last
    *allowed_lateness* seconds of the first read need not be held either: they are read again later.
    """
    reads = with_true_sizes(reads)
    orders = [order for order in wanted_orders(reads, down_to) if order.descending]
    bounds = horizons(reads, allowed_lateness)
    return bool(orders) and all(leads_down(reads, bounds, order) for order in orders)


def leads_down(reads: Sequence[Read], bounds: Sequence[float], order: Order) -> bool:
    """Whether pages that meet lead from the first read to the oldest wanted row."""
    found = [segment._replace(horizon=inf) for segment in finished(segments(reads, bounds, order))]
    start = next((segment for segment in found if segment.read is reads[0]), None)
    if start is None or not order.is_head(start.read):
        return False
    again = bounds[0]  # by create time as well, since no row is updated before it is created
    if start.oldest >= again > -inf:
        start = start._replace(column=replace(start.column, oldest=int(again) - 1))
    return finished(descended(start, found, order)).holds


def find_chain(found: Sequence[Segment], order: Order) -> Steps[Missing | Unprovable | Descent]:
    """A chain from the newest end to the oldest, or what it lacks."""
    are_heads = yield from mapped(order.is_head, [segment.read for segment in found])
    heads = list(compress(found, are_heads))
    closing = max(heads, key=lambda head: head.read.sent, default=None)
    earlier = usable(found, closing.read) if closing else []
    yield
    chain = (yield from descended(closing, earlier, order)) if closing else None
    if chain and chain.holds and not chain.joined:
        return chain
    descent = yield from descended(closing, found, order)
    if descent.swapped and (descent.gaps or descent.joined):
        return Unprovable(SWAPPED)
    if chain and chain.holds:
        return chain
    if is_crowded(descent.gaps, found, order):
        return Unprovable(CROWDED)
    head = not closing or len(earlier) < len(found) - 1
    tail = not descent.arrived
    reason = explain(len(descent.gaps), head, tail)
    return Missing(tuple(descent.gaps), head, tail, order.descending, reason)


def usable(segments: Sequence[Segment], closing: Read) -> list[Segment]:
    """The segments answered before *closing* was sent: it shows what moved to the head since."""
    return [segment for segment in segments if is_before(segment.read, closing)]


def is_crowded(gaps: Sequence[Gap], found: Sequence[Segment], order: Order) -> bool:
    """Whether a young second at one of *gaps* fills a page, so that no page bridges the gap."""
    youngest = max((segment.age for segment in found), default=-inf)
    seconds = {column.oldest for gap in gaps if (column := order.column(gap.above))}
    largest = max((segment.read.size for segment in found), default=0)
    return any(
        segment.column.newest == segment.oldest >= youngest and segment.oldest in seconds
        for segment in found
        if segment.read.count == largest
    )


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
    - *joined*: pages were joined within a second. *swapped*: rows of one were seen to swap places.
    """

    def __init__(self, start: Segment | None, found: list[Segment], order: Order) -> None:
        self.gaps: list[Gap] = []
        self.arrived = self.joined = self.swapped = False
        self._order = order
        self._sorted = found
        self._seconds: dict[int, Second] = {}
        self._ends: list[Segment] = []  # the lowest reached, all of which end in one second
        self._expanded = 0  # how many of them were searched for what they join
        self._start = start or next(iter(self._sorted), None)

    @property
    def holds(self) -> bool:
        return self.arrived and not self.gaps and not (self.joined and self.swapped)

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
        joins = self._seconds.get(second)
        if joins is None:
            joins = self._seconds[second] = self._second(place, second)
        while self._expanded < len(self._ends):
            self._expanded += 1
            for segment, _ in joins.below(self._ends[self._expanded - 1]):
                if joins.first_reach(segment):
                    self.joined = True
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


def explain(gaps: int, head: bool, tail: bool) -> str:
    lacking = [
        *([f"pages that should meet do not ({gaps} times)"] if gaps else []),
        *(["the newest end was not read again after the rest"] if head else []),
        *(["the oldest end was not reached"] if tail else []),
    ]
    return "the list may have changed while it was read: " + ", ".join(lacking)
