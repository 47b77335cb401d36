"""The link rule: overlapping pages lead from one end of the list to the other.

The docstring of ``certificate`` states the rule and proves it. What counts rows is in ``counts``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .decision import Complete, Decision, Gap, Missing, Unprovable
from .reads import Column, Read, is_before, is_first, is_last, with_true_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENOUGH_TIES = 16
"""How many pairs of neighbours with the same time one page must show, all in id order, before ties
count as sorted by id. By chance, at most one page in 2**16 shows that."""

Place: TypeAlias = tuple[float, float]
"""Where a row stands, ascending from the newest end: minus its time, then its rank within ties."""


class Order(NamedTuple):
    """A way in which the list may be sorted."""

    by_create: bool
    descending: bool
    ties: int = 0
    """Whether ids ascend (1) or descend (-1) among ties, from the newest row down; 0 if unknown."""
    down_to: float = -inf
    """Rows older than this are not wanted."""

    def column(self, read: Read) -> Column | None:
        return read.by_create if self.by_create else read.by_update

    def is_head(self, read: Read) -> bool:
        """Whether the read reaches the newest row of the list."""
        return is_first(read) if self.descending else is_last(read)

    def is_tail(self, read: Read) -> bool:
        """Whether the read reaches the oldest row of the list, or shows one that is not wanted."""
        column = self.column(read)
        if column and column.oldest < self.down_to:
            return True
        return is_last(read) if self.descending else is_first(read)


class Segment(NamedTuple):
    """A read as a part of a chain: P links down to Q if ``Q.entry <= P.bottom``."""

    read: Read
    entry: Place
    bottom: Place


def link_rule(reads: Sequence[Read], bounds: Sequence[float], orders: Sequence[Order]) -> Decision:
    """Complete if a chain holds for each of *orders*, else what the first one without it lacks.

    *bounds* are the horizons of *reads*.
    """
    if not any(read.by_update for read in reads):
        return Unprovable("no row with an id and an update time was read")
    if not orders:
        return Unprovable(
            "the rows are not sorted by their times: such a list needs one whole pass before its "
            "last page is read and one after it, with no change between"
        )
    for order in orders:
        lacking = find_lacking(segments(reads, bounds, order), order)
        if lacking:
            return lacking
    if orders[0].down_to > -inf:
        return Complete("link", "linked pages lead from the newest row to what was known before")
    return Complete("link", "linked pages lead from one end of the list to the other")


def wanted_orders(reads: Sequence[Read], down_to: float) -> list[Order]:
    """The possible orders; with a *down_to*, only those that are newest first."""
    orders = possible_orders(reads)
    if down_to == -inf:
        return orders
    return [order._replace(down_to=down_to) for order in orders if order.descending]


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


def covers(reads: Sequence[Read], down_to: float = -inf) -> bool:
    """Whether *reads* hold every row that was in the list at the first read and has not changed.

    The first of *reads* was taken before all others. Rows older than *down_to* need not be held. A
    list that is not sorted newest first is never covered.

    This needs less than a certificate: unchanged rows keep their order, so each page only has to
    begin no lower than the page above it ended, whenever the two were taken.
    """
    reads = with_true_sizes(reads)
    orders = [order for order in wanted_orders(reads, down_to) if order.descending]
    return bool(orders) and all(leads_down(reads, order) for order in orders)


def leads_down(reads: Sequence[Read], order: Order) -> bool:
    """Whether pages that meet lead from the first read to the oldest wanted row."""
    found = segments(reads, [inf] * len(reads), order)
    start = next((segment for segment in found if segment.read is reads[0]), None)
    if start is None or not order.is_head(start.read):
        return False
    gaps, arrived = descend(start, found, order)
    return arrived and not gaps


def possible_orders(reads: Iterable[Read]) -> list[Order]:
    """The orders that no answer contradicts: a chain has to hold for each of them."""
    orders: list[Order] = []
    for by_create in (False, True):
        columns = [
            column for read in reads if (column := read.by_create if by_create else read.by_update)
        ]
        if columns and all(column.falling for column in columns):
            orders.append(Order(by_create, descending=True, ties=tie_order(columns)))
        if columns and all(column.rising for column in columns):
            orders.append(Order(by_create, descending=False, ties=-tie_order(columns)))
    return orders


def tie_order(columns: Sequence[Column]) -> int:
    """Whether ids ascend (1) or descend (-1) among ties, in the order of the answers; else 0.

    One page alone has to show enough ties: several pages may show the same few rows again.
    """
    up = max(column.ties[0] for column in columns)
    down = max(column.ties[1] for column in columns)
    if up and down:
        return 0
    return (up >= ENOUGH_TIES) - (down >= ENOUGH_TIES)


def segments(reads: Sequence[Read], bounds: Sequence[float], order: Order) -> list[Segment]:
    """The reads that show times as segments, in the order in which a chain can reach them."""
    found: list[Segment] = []
    for read, horizon in zip(reads, bounds, strict=True):
        column = order.column(read)
        if column:
            entry = max(top(read, column, order), horizon_place(horizon, order))
            found.append(Segment(read, entry, bottom(read, column, order)))
    found.sort(key=lambda segment: segment.entry)
    return found


def top(read: Read, column: Column, order: Order) -> Place:
    """The place of the first row, counted from the newest end."""
    first = read.ids[0 if order.descending else -1]
    return -column.newest, order.ties * first


def bottom(read: Read, column: Column, order: Order) -> Place:
    """The place of the last row: by clause (b), the ``top`` of a lower read is at or above it."""
    if not order.ties:  # a row with the last row's time may stand on either side of it
        return -column.oldest, -inf
    last = read.ids[-1 if order.descending else 0]
    return -column.oldest, order.ties * last


def horizon_place(horizon: float, order: Order) -> Place:
    """The lowest place of a row as new as the horizon: by clause (a), a chain comes from below it.

    In a list by create time no row moves, so a chain may come from anywhere.
    """
    return (-inf, inf) if order.by_create else (-horizon, inf)


def find_lacking(segments: Sequence[Segment], order: Order) -> Missing | Unprovable | None:
    """What a chain from the newest end to the oldest lacks, or None if there is such a chain."""
    heads = [segment for segment in segments if order.is_head(segment.read)]
    closing = max(heads, key=lambda head: head.read.sent, default=None)
    if closing:
        gaps, arrived = descend(closing, usable(segments, closing.read), order)
        if arrived and not gaps:
            return None
    gaps, arrived = descend(closing, segments, order)
    if is_crowded(gaps, segments, order):
        return Unprovable(
            "more rows than a page holds have the same second, "
            "and they are not seen to be sorted by id within it"
        )
    head = not closing or len(usable(segments, closing.read)) < len(segments) - 1
    return Missing(
        tuple(gaps), head, not arrived, order.descending, explain(len(gaps), head, not arrived)
    )


def usable(segments: Sequence[Segment], closing: Read) -> list[Segment]:
    """The segments answered before *closing* was sent: it shows what moved to the head since."""
    return [segment for segment in segments if is_before(segment.read, closing)]


def descend(
    start: Segment | None, segments: Sequence[Segment], order: Order
) -> tuple[list[Gap], bool]:
    """The gaps on the way down from *start*, and whether the way ends at the oldest wanted row.

    One pass suffices: the lowest bottom so far links to every segment that a higher one links to.
    """
    gaps: list[Gap] = []
    if start and order.is_tail(start.read):
        return gaps, True
    lowest = start
    for segment in segments:
        if lowest is None:
            lowest = segment
        elif segment.bottom > lowest.bottom:
            if segment.entry > lowest.bottom:
                gaps.append(Gap(lowest.read, segment.read))
            lowest = segment
        elif segment.entry > lowest.bottom:
            continue
        if order.is_tail(segment.read):
            return gaps, True
    return gaps, False


def is_crowded(gaps: Sequence[Gap], segments: Sequence[Segment], order: Order) -> bool:
    """Whether the second at one of *gaps* fills a page, so that no page can bridge the gap."""
    if order.ties:
        return False
    seconds = {column.oldest for gap in gaps if (column := order.column(gap.above))}
    largest = max(segment.read.size for segment in segments)
    return any(
        column.newest == column.oldest and column.oldest in seconds
        for segment in segments
        if segment.read.count == largest and (column := order.column(segment.read))
    )


def explain(gaps: int, head: bool, tail: bool) -> str:
    lacking = [
        *([f"pages that should meet do not ({gaps} times)"] if gaps else []),
        *(["the newest end was not read again after the rest"] if head else []),
        *(["the oldest end was not reached"] if tail else []),
    ]
    return "the list may have changed while it was read: " + ", ".join(lacking)
