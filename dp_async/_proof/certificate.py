"""Is this set of reads provably the whole list, although the list changed under it?

No I/O, no clock, no asyncio: reads go in, a decision comes out.

**Promise.** ``decide`` never says ``Complete`` when a row that was in the list from the first read
to the last is in none of them.

A *read* is one answer: the rows of one page, taken at one moment between request and answer. A is
*before* B only if A was answered before B was sent; reads that overlap have no order.

Assumed of the server:

1. An answer shows the list of one moment between its request and its arrival: no stale replica.
2. *Stamp*: a row that enters the list or is updated carries an update time no older than any the
   list has shown until then, less ``allowed_lateness``, the time a row may take from its stamp to be visible.
3. A page holds all rows there are, up to its size or to a number that the server need not echo. So
   a page with fewer rows than its size, and than the fullest answer, is the last one; page 1, where
   no offset can be wrong, if its own total says that it is all.
4. For the link rule, the list is sorted by update time or by create time, either way up. What no
   answer contradicts may be the order, so the rule has to hold for each of those. A create time
   never changes.
5. For the count rule, a row that leaves and returns does not come back with the same update time.

The *horizon* of a read is the newest update time in it or in any read before it, less ``allowed_lateness``.
By 2, **what enters or is updated after a read carries a time no older than the read's horizon.**

**Single page.** Page 1 that is also the last page holds the whole list of its moment.

**Link rule**, for a list that moves. *Above* is nearer the newest row. A read P links down to Q if

a. P's oldest time is older than Q's horizon, and
b. Q's first row stands at or above P's last: it is newer; or, where ties are seen to be sorted by
   id, it has the same time and an id that is not past the last one's.

The list was read if links lead from the newest end, F, sent after all other reads on the way were
answered, to the oldest end.

*Proof.* Let Y be in the list all the time and in no read on the way. Y is below P when P is taken
and was updated after Q, before P: its time is then at least Q's horizon, but being below P at most
P's oldest. That is against (a). So, for each link, *a row below P was not updated from Q to P* (*).
And a row that was not updated between the two cannot be below P and above Q: that is against (b).
Now Y is below F and above the oldest end, so on the way there is a first link P to Q with Y below P
and above Q. Y was updated between them, by (*) after P and before Q. F was taken after this update
and P before, so between F and P there is a link with the upper read taken after the update and the
lower one before it; and Y is below the upper read. That is against (*). So there is no such Y.

If the order is by create time, no row that stays ever moves: every horizon is infinite.

**Count rule**, for a list that rests or only grows; it needs no order. The last page B says that
the list held at most ``C = offset + rows`` rows when it was taken. Counted are the rows that were
surely in the list at that moment: those of B; those read after B with a time older than B's
horizon, since they did not enter later (2); those read before B and again after it with the same
time, since they did not leave between (5). If these are C distinct ids, they are all there was at
that moment, and so each row that was there all the time is among them.

Where only the rows down to a time are wanted, of a list that is sorted newest first, and B goes on
below that time, C is the number of rows above the first older one, and wanted rows are counted,
as they were at that moment. A row that is known from before all reads counts as read before B.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from math import ceil, inf
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

ENOUGH_TIES = 16
"""Neighbours of one second on one page, all in id order, until this is taken for the rule of the
list: by chance, one page in 2**16 or fewer."""


@dataclass
class Column:
    """What one time column of one page shows, in the order of the answer."""

    newest: int
    oldest: int
    falling: bool
    rising: bool
    times: Sequence[int] = field(compare=False, repr=False)
    ids: Sequence[int] = field(compare=False, repr=False)

    @classmethod
    def of(cls, times: Sequence[int], ids: Sequence[int]) -> Column | None:
        """The column of *times*, or None if some row lacks one."""
        if not times or len(times) != len(ids):
            return None
        shown = list(times)
        ordered = sorted(shown, reverse=True)  # in one go where they fall already, as usual
        falling = shown == ordered
        newest, oldest = ordered[0], ordered[-1]
        rising = newest == oldest if falling else shown == ordered[::-1]
        return cls(newest, oldest, falling, rising, times, ids)

    @cached_property
    def ties(self) -> tuple[int, int]:
        """Neighbours with the same time: whose ids ascend, and whose do not."""
        ascending = [
            lower < upper
            for (lower, time), (upper, other) in pairwise(zip(self.ids, self.times, strict=True))
            if time == other
        ]
        return sum(ascending), len(ascending) - sum(ascending)


@dataclass(slots=True)
class Read:
    """One answer: the rows of one page, taken by the server at one moment from sent to answered.

    *sent* and *answered* are ticks of the crawl's own counter of events, not of a clock.
    Build it with ``Read.of``.
    """

    sent: int
    answered: int
    offset: int
    size: int
    count: int
    total: int
    ids: Sequence[int]
    updated: Sequence[int]
    by_update: Column | None
    by_create: Column | None

    @classmethod
    def of(
        cls,
        *,
        sent: int,
        answered: int,
        offset: int,
        size: int,
        count: int,
        total: int,
        ids: Sequence[int],
        updated: Sequence[int],
        created: Sequence[int],
    ) -> Read:
        """A read of *count* raw rows; *ids* and *updated* are those of its good rows, in order.

        A good row has an id and an update time. Times are whole seconds. *created* is parallel to
        *ids*, or empty if a good row has no create time; of it only a summary is kept.
        """
        by_update = Column.of(updated, ids)
        by_create = by_update if created == updated else Column.of(created, ids)
        return cls(sent, answered, offset, size, count, total, ids, updated, by_update, by_create)


@dataclass(frozen=True, slots=True)
class Complete:
    """Every row that was in the list all the time is in the reads."""

    rule: Literal["single page", "link", "count"]
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Two reads with no link between them: *above* is nearer the newest row.

    A read that links to both closes it.
    """

    above: Read
    below: Read


@dataclass(frozen=True, slots=True)
class Missing:
    """What the link rule lacks: links at *gaps*, newest first; reads of the list's ends.

    *head* is a read of the newest end after all others were answered, *tail* one of the oldest end
    linked to the rest. Where *descending* these are page 1 and the short last page, else the other
    way round.
    """

    gaps: tuple[Gap, ...]
    head: bool
    tail: bool
    descending: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Unprovable:
    """No further read of this kind will help; *reason* says why."""

    reason: str


Decision: TypeAlias = Complete | Missing | Unprovable


def decide(
    reads: Sequence[Read],
    allowed_lateness: float,
    distinct: int | None = None,
    down_to: float = -inf,
    known: Set[tuple[int, int]] = frozenset(),
) -> Decision:
    """Whether *reads* are provably the whole list, else what to read.

    Of a list that is sorted newest first, only the rows *down_to* a time may be wanted, that one
    included: then a page that goes on below it is as good as the oldest end.
    *known* are ids and times of rows that were there before the first read.

    *allowed_lateness* is how many seconds after its time stamp a row may become visible. *distinct* is how
    many different ids the reads hold, if the caller has counted them: at rest, that spares another
    count. Near-linear in the reads; the count rule, tried last, is linear in the rows for each end
    page read.
    """
    if not reads:
        return Unprovable("nothing was read")
    reads = with_true_sizes(reads)
    if any(is_first(read) and is_last(read) for read in reads):
        return Complete("single page", "the whole list came in one answer")
    if down_to > -inf and one_reaches_down(reads, down_to):
        return Complete("single page", "one answer holds all that is newer than what was known")
    bounds = horizons(reads, allowed_lateness)
    counted = Complete("count", "as many rows were read as the list held at one moment")
    if distinct is not None and count_rule_at_rest(reads, bounds, distinct):
        return counted
    orders = wanted_orders(reads, down_to)
    linked = link_rule(reads, bounds, orders)
    if isinstance(linked, Complete):
        return linked
    if count_rule(reads, bounds):
        return counted
    if down_to > -inf and count_rule_down(reads, bounds, orders, known):
        return Complete("count", "as many rows were read as were newer than what was known")
    return linked


# Both rules


def is_first(read: Read) -> bool:
    return read.offset == 0


def is_last(read: Read) -> bool:
    """Whether nothing followed this page. A full page never says so: its total is another query."""
    return is_short(read) and not more_follow(read)


def is_short(read: Read) -> bool:
    return read.count < read.size


def more_follow(read: Read) -> bool:
    return read.total > read.offset + read.count


def with_true_sizes(reads: Sequence[Read]) -> Sequence[Read]:
    """The reads with sizes that the server is seen to give.

    If it cuts sizes without echoing that, the offsets made of them are too large as well: a full
    page in the middle seems to end at the total, and must not pass for a short one.
    """
    fullest = max(read.count for read in reads)
    return [
        read if is_first(read) or read.size <= fullest else replace(read, size=fullest)
        for read in reads
    ]


def is_before(first: Read, second: Read) -> bool:
    return first.answered < second.sent


def horizons(reads: Sequence[Read], allowed_lateness: float) -> list[float]:
    """For each read: what enters or is updated after it carries this time or a newer one."""
    answered = sorted((read.answered, newest(read)) for read in reads)
    ticks = [tick for tick, _ in answered]
    peaks = [-inf, *accumulate((time for _, time in answered), max)]
    return [
        max(newest(read), peaks[bisect_left(ticks, read.sent)]) - in_seconds(allowed_lateness)
        for read in reads
    ]


def newest(read: Read) -> float:
    return read.by_update.newest if read.by_update else -inf


def in_seconds(allowed_lateness: float) -> int:
    """Times are cut to whole seconds: half a second late can show as a whole one."""
    return ceil(allowed_lateness)


# The link rule

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


# The count rule


def count_rule(reads: Sequence[Read], bounds: Sequence[float]) -> bool:
    return any(
        len(surely_there(reads, end, horizon)) == end.offset + end.count
        for end, horizon in zip(reads, bounds, strict=True)
        if is_last(end) and has_enough_rows(reads, end)
    )


def count_rule_at_rest(reads: Sequence[Read], bounds: Sequence[float], distinct: int) -> bool:
    """The count rule where every id read was surely there, so that they need not be gathered."""
    return any(
        distinct == end.offset + end.count and none_in_doubt(reads, end, horizon)
        for end, horizon in zip(reads, bounds, strict=True)
        if is_last(end)
    )


def none_in_doubt(reads: Sequence[Read], end: Read, horizon: float) -> bool:
    """Whether all ids read were in the list when *end* was taken.

    Those read after *end* on pages that are old all over were: only the others are looked at.
    """
    doubtful = [
        read for read in reads if not (is_before(end, read) and is_old(newest(read), horizon))
    ]
    there = surely_there(doubtful, end, horizon)
    return all(there.issuperset(read.ids) for read in doubtful)


def has_enough_rows(reads: Sequence[Read], end: Read) -> bool:
    """The cheap half of the test, so that most ends cost nothing per row."""
    rows = sum(len(read.ids) for read in reads if is_before(end, read))
    return len(end.ids) + rows >= end.offset + end.count


def count_rule_down(
    reads: Sequence[Read],
    bounds: Sequence[float],
    orders: Sequence[Order],
    known: Set[tuple[int, int]],
) -> bool:
    """The count rule for the rows that are wanted, in each of *orders*."""
    return bool(orders) and all(
        any(
            counts_down(reads, read, horizon, order, known)
            for read, horizon in zip(reads, bounds, strict=True)
        )
        for order in orders
    )


def counts_down(
    reads: Sequence[Read], end: Read, horizon: float, order: Order, known: Set[tuple[int, int]]
) -> bool:
    """Whether all that was above the first row of *end* that is not wanted was surely read.

    A row counts as wanted by what it was when *end* was taken, not by what it became.
    """
    column = order.column(end)
    if not column or column.oldest >= order.down_to or len(end.ids) < end.count:
        return False
    before = known | seen_young((read for read in reads if is_before(read, end)), horizon)
    wanted = {
        row for row, time in zip(column.ids, column.times, strict=True) if time >= order.down_to
    }
    number = end.offset + len(wanted)
    for read in reads:
        column = order.column(read)
        if column and is_before(end, read):
            wanted.update(
                row
                for row, updated, time in zip(read.ids, read.updated, column.times, strict=True)
                if time >= order.down_to and (is_old(updated, horizon) or (row, updated) in before)
            )
    return len(wanted) == number


def surely_there(reads: Sequence[Read], end: Read, horizon: float) -> set[int]:
    """Ids of rows that were in the list when *end* was taken."""
    known = seen_young((read for read in reads if is_before(read, end)), horizon)
    there = set(end.ids)
    for read in reads:
        if not is_before(end, read):
            continue
        if is_old(newest(read), horizon):
            there.update(read.ids)
        else:
            there.update(
                row
                for row, time in zip(read.ids, read.updated, strict=True)
                if is_old(time, horizon) or (row, time) in known
            )
    return there


def is_old(time: float, horizon: float) -> bool:
    """Whether a row with this time entered before the read that has this horizon."""
    return time < horizon


def seen_young(reads: Iterable[Read], horizon: float) -> set[tuple[int, int]]:
    """Rows, as id and time, whose time alone does not tell whether they came later."""
    return {
        (row, time)
        for read in reads
        if not is_old(newest(read), horizon)
        for row, time in zip(read.ids, read.updated, strict=True)
        if not is_old(time, horizon)
    }
