"""The link rule: pages that overlap lead from one end of the list to the other.

Why it is right stands in ``certificate``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .decision import Complete, Decision, Gap, Missing, Unprovable
from .reads import Column, Read, is_before, is_first, is_last, with_true_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENOUGH_TIES = 16
"""Neighbours of one second on one page, all in id order, until this is taken for the rule of the
list: by chance, one page in 2**16 or fewer."""


Place: TypeAlias = tuple[float, float]
"""Where a row stands, counted from the newest end: minus its time, then its place in its second."""


class Order(NamedTuple):
    """One way in which the list may be sorted."""

    by_create: bool
    descending: bool
    ties: int = 0
    """How ids run within one second, from the newest row on: 1 up, -1 down, 0 unknown."""
    down_to: float = -inf
    """Rows older than this are not wanted."""

    def column(self, read: Read) -> Column | None:
        return read.by_create if self.by_create else read.by_update

    def is_head(self, read: Read) -> bool:
        """Whether the read ends at the newest row of the list."""
        return is_first(read) if self.descending else is_last(read)

    def is_tail(self, read: Read) -> bool:
        """Whether the read ends at the oldest row that is wanted, or goes on below it."""
        column = self.column(read)
        if column and column.oldest < self.down_to:
            return True
        return is_last(read) if self.descending else is_first(read)


class Segment(NamedTuple):
    """What a read does for a chain: P links down to Q if ``Q.entry <= P.bottom``."""

    read: Read
    entry: Place
    bottom: Place


def link_rule(reads: Sequence[Read], bounds: Sequence[float], orders: Sequence[Order]) -> Decision:
    if not any(read.by_update for read in reads):
        return Unprovable("no row with an id and an update time was read")
    if not orders:
        return Unprovable(
            "the rows are not sorted by their times, and the list was not seen at rest: "
            "it takes a pass before the last page is read and one after it, with no change between"
        )
    for order in orders:
        lacking = find_lacking(segments(reads, bounds, order), order)
        if lacking:
            return lacking
    if orders[0].down_to > -inf:
        return Complete("link", "linked pages lead from the newest row to what was known before")
    return Complete("link", "linked pages lead from one end of the list to the other")


def wanted_orders(reads: Sequence[Read], down_to: float) -> list[Order]:
    """The possible orders; where not all rows are wanted, those newest first."""
    orders = possible_orders(reads)
    if down_to == -inf:
        return orders
    return [order._replace(down_to=down_to) for order in orders if order.descending]


def one_reaches_down(reads: Sequence[Read], down_to: float) -> bool:
    """Whether one page 1 goes on below what is wanted, whatever the order of the list."""
    orders = wanted_orders(reads, down_to)
    return any(is_first(read) and reaches_down(read, orders) for read in reads)


def reaches_down(read: Read, orders: Sequence[Order]) -> bool:
    """Whether *read* goes on below what is wanted, which is not all, in each of *orders*."""
    return bool(orders) and all(
        (column := order.column(read)) is not None and column.oldest < order.down_to
        for order in orders
    )


def covers(reads: Sequence[Read], down_to: float = -inf) -> bool:
    """Whether *reads*, the first of them taken before all others, hold each row of then that has
    not changed since; of a list that is sorted newest first, and *down_to* a time.

    That asks for less than completeness: rows that stay as they are keep their places among each
    other, so a page has to begin no lower than the one above it ended, whenever they were taken.
    """
    reads = with_true_sizes(reads)
    orders = [order for order in wanted_orders(reads, down_to) if order.descending]
    return bool(orders) and all(leads_down(reads, order) for order in orders)


def leads_down(reads: Sequence[Read], order: Order) -> bool:
    """Whether pages that meet lead from the first read to the oldest row that is wanted."""
    found = segments(reads, [inf] * len(reads), order)
    start = next((segment for segment in found if segment.read is reads[0]), None)
    if start is None or not order.is_head(start.read):
        return False
    gaps, arrived = walk(start, found, order)
    return arrived and not gaps


def possible_orders(reads: Iterable[Read]) -> list[Order]:
    """The orders that no single answer contradicts: a chain has to hold for each of them."""
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
    """How ids run within one second, in the order of the answers; 0 if that is not seen.

    One page has to show enough: the same few rows read again would add nothing.
    """
    up = max(column.ties[0] for column in columns)
    down = max(column.ties[1] for column in columns)
    if up and down:
        return 0
    return (up >= ENOUGH_TIES) - (down >= ENOUGH_TIES)


def segments(reads: Sequence[Read], bounds: Sequence[float], order: Order) -> list[Segment]:
    """What each read with times covers, in the order in which a chain going down can enter them."""
    found: list[Segment] = []
    for read, horizon in zip(reads, bounds, strict=True):
        column = order.column(read)
        if column:
            entry = max(top(read, column, order), settled(horizon, order))
            found.append(Segment(read, entry, bottom(read, column, order)))
    found.sort(key=lambda segment: segment.entry)
    return found


def top(read: Read, column: Column, order: Order) -> Place:
    first = read.ids[0 if order.descending else -1]
    return -column.newest, order.ties * first


def bottom(read: Read, column: Column, order: Order) -> Place:
    if not order.ties:  # a row of the last one's second may stand on either side of it
        return -column.oldest, -inf
    last = read.ids[-1 if order.descending else 0]
    return -column.oldest, order.ties * last


def settled(horizon: float, order: Order) -> Place:
    """The end of what may still have moved after the read: a chain comes from older than that."""
    return (-inf, inf) if order.by_create else (-horizon, inf)


def find_lacking(segments: Sequence[Segment], order: Order) -> Missing | Unprovable | None:
    """What lacks for a chain from the newest end to the oldest, or None if there is one."""
    heads = [segment for segment in segments if order.is_head(segment.read)]
    closing = max(heads, key=lambda head: head.read.sent, default=None)
    if closing:
        gaps, arrived = walk(closing, usable(segments, closing.read), order)
        if arrived and not gaps:
            return None
    gaps, arrived = walk(closing, segments, order)
    if is_crowded(gaps, segments, order):
        return Unprovable(
            "more rows than a page holds carry one and the same second, "
            "and their order within it is not seen to be by id"
        )
    head = not closing or len(usable(segments, closing.read)) < len(segments) - 1
    return Missing(
        tuple(gaps), head, not arrived, order.descending, explain(len(gaps), head, not arrived)
    )


def usable(segments: Sequence[Segment], closing: Read) -> list[Segment]:
    """What was answered before the closing read was sent: what moved up since then is in it."""
    return [segment for segment in segments if is_before(segment.read, closing)]


def walk(
    start: Segment | None, segments: Sequence[Segment], order: Order
) -> tuple[list[Gap], bool]:
    """The breaks on the way down, and whether the way then ends at the oldest row.

    The lowest bottom so far links to whatever any bottom so far links to: no need to look back.
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
    """Whether a full page is all of the second at a seam, so that no page can reach across it."""
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
