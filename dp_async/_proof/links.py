"""The link rule: overlapping pages lead from one end of the list to the other.

The docstring of ``certificate`` states the rule and proves it. How the way down is found is in
``descent``; what counts rows is in ``counts``.
"""

from __future__ import annotations

from itertools import compress
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .decision import Complete, Decision, Gap, Missing, Unprovable
from .descent import Descent, descended
from .reads import Read, horizons, is_before, is_first, with_true_sizes
from .segments import Order, Segment, segments, wanted_orders
from .steps import finished, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .steps import Steps

UNSORTED = (
    "the rows are not sorted by their times: such a list needs one whole pass before its last page "
    "is read and one after it, with no change between"
)
SWAPPED = (
    "rows with one and the same time come in another order on each page: the server sorts by that "
    "time alone, so that rows are missed even while nothing changes"
)
UNSEEN = (
    "pages meet within a second, and too few rows with one time were seen twice to tell whether "
    "they keep their order"
)
CROWDED = (
    "more rows than a page holds carry one of the last seconds, "
    "in which any of them may have changed unseen"
)
BUSY = (
    "a page of the newest end spans no more than the allowed lateness, so that rows may move unseen"
)
TIED = (
    "more rows than a page holds carry one second of the create time that sorts the list, "
    "and a row that is updated may change its place among them"
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
        joined |= bool(found.joins)
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
    orders = [
        order._replace(keeps_ties=True)  # of rows that do not change
        for order in wanted_orders(reads, down_to)
        if order.descending
    ]
    bounds = horizons(reads, allowed_lateness)
    return bool(orders) and all(leads_down(reads, bounds, order) for order in orders)


def leads_down(reads: Sequence[Read], bounds: Sequence[float], order: Order) -> bool:
    """Whether pages that meet lead from the first read to the oldest wanted row."""
    found = [replace(segment, horizon=inf) for segment in finished(segments(reads, bounds, order))]
    start = next((segment for segment in found if segment.read is reads[0]), None)
    if start is None or not order.is_head(start.read):
        return False
    again = bounds[0]  # by create time as well, since no row is updated before it is created
    if start.oldest >= again > -inf:
        start = replace(start, column=replace(start.column, oldest=int(again) - 1))
    return finished(descended(start, found, order)).holds


def find_chain(found: Sequence[Segment], order: Order) -> Steps[Missing | Unprovable | Descent]:
    """A chain from the newest end to the oldest, or what it lacks."""
    are_heads = yield from mapped(order.is_head, [segment.read for segment in found])
    heads = list(compress(found, are_heads))
    closing = max(heads, key=lambda head: head.read.sent, default=None)
    earlier = usable(found, closing.read) if closing else []
    yield
    chain = (yield from descended(closing, earlier, order)) if closing else None
    if chain and chain.holds and not chain.joins:
        return chain
    descent = yield from descended(closing, found, order)
    if descent.swapped and (descent.gaps or descent.joins):
        return Unprovable(SWAPPED)
    if chain and chain.holds:
        keeps_order = yield from descent.keeps_order()
        if keeps_order:
            return chain
        if keeps_order is False:
            return Unprovable(SWAPPED)
        return Missing(tuple(chain.joins), False, False, order.descending, UNSEEN)
    if is_crowded(descent.gaps, found, order):
        return Unprovable(CROWDED if order.keeps_ties else TIED)
    head = not closing or len(earlier) < len(found) - 1
    tail = not descent.arrived
    busy = closing is not None and closing.oldest >= closing.horizon
    reason = explain(len(descent.gaps), head, tail, busy)
    return Missing(tuple(descent.gaps), head, tail, order.descending, reason)


def usable(segments: Sequence[Segment], closing: Read) -> list[Segment]:
    """The segments answered before *closing* was sent: it shows what moved to the head since."""
    return [segment for segment in segments if is_before(segment.read, closing)]


def is_crowded(gaps: Sequence[Gap], found: Sequence[Segment], order: Order) -> bool:
    """Whether a second at one of *gaps*, whose rows may move, fills a page that would bridge it."""
    youngest = max((segment.age for segment in found), default=-inf) if order.keeps_ties else -inf
    seconds = {column.oldest for gap in gaps if (column := order.column(gap.above))}
    largest = max((segment.read.size for segment in found), default=0)
    return any(
        segment.column.newest == segment.oldest >= youngest and segment.oldest in seconds
        for segment in found
        if segment.read.count == largest
    )


def explain(gaps: int, head: bool, tail: bool, busy: bool) -> str:
    lacking = [
        *([f"pages that should meet do not ({gaps} times)"] if gaps else []),
        *([BUSY] if gaps and busy else []),
        *(["the newest end was not read again after the rest"] if head else []),
        *(["the oldest end was not reached"] if tail else []),
    ]
    return "the list may have changed while it was read: " + ", ".join(lacking)
