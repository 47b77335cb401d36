"""The count rule: as many rows were read as the list held at one moment.

The docstring of ``certificate`` states the rule and proves it. What needs an order of the list
takes it from ``segments``.

Each function returns by how much older the horizons might be while the rule still holds, at least;
None if it does not hold.
"""

from __future__ import annotations

from math import inf, isqrt
from typing import TYPE_CHECKING

from .reads import Read, is_before, is_last, is_old, newest
from .steps import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from .segments import Order
    from .steps import Steps

ROWS_AT_ONCE = 4
"""Reads whose rows are looked at in one step."""


class _Rows:
    """A set of ids that grows and is freed in steps: one set of millions would take long.

    Shards of different sizes: those of one size would all be resized at once. Each is a dict: the
    garbage collector visits sets of numbers, and not dicts of them.
    """

    SHARDS = 61  # a prime: ids may all end in the same bits
    SHARD = bytes(map(isqrt, range(SHARDS**2)))  # one more has two more of the remainders

    def __init__(self) -> None:
        self._shards: list[dict[int, None]] = [{} for _ in range(self.SHARDS)]

    def _of(self, row: int) -> dict[int, None]:
        return self._shards[self.SHARD[row % len(self.SHARD)]]

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def __contains__(self, row: int) -> bool:
        return row in self._of(row)

    def add(self, row: int) -> None:
        self._of(row)[row] = None

    def extend(self, rows: Iterable[int]) -> bool:
        """Add *rows*; whether one of them was not there."""
        shards, shard, number = self._shards, self.SHARD, len(self.SHARD)
        new = [row for row in rows if row not in shards[shard[row % number]]]
        for row in new:
            shards[shard[row % number]][row] = None
        return bool(new)

    def has_all(self, rows: Iterable[int]) -> bool:
        shards, shard, number = self._shards, self.SHARD, len(self.SHARD)
        return all(row in shards[shard[row % number]] for row in rows)

    def free(self) -> Steps[None]:
        """Forget all of them."""
        while self._shards:
            self._shards.pop()
            yield


def count_rule(reads: Sequence[Read], bounds: Sequence[float]) -> Steps[float | None]:
    """For one last page read, the rows surely there then are as many as it says.

    *bounds* are the horizons of *reads*. Linear in the rows for each last page.
    """
    margins: list[float] = []
    for number, (end, horizon) in enumerate(zip(reads, bounds, strict=True)):
        if not number % AT_ONCE:
            yield
        if is_last(end) and (yield from has_enough_rows(reads, end)):
            there, margin = yield from surely_there(reads, end, horizon)
            if len(there) == end.offset + end.count:
                margins.append(margin)
            yield from there.free()
    return best(margins)


def best(margins: Iterable[float]) -> float | None:
    return max(margins, default=None)


def count_rule_static(
    reads: Sequence[Read], bounds: Sequence[float], distinct: int
) -> Steps[float | None]:
    """The count rule for a list in which nothing changed: no set of all ids has to be built.

    *distinct* is the number of different ids in *reads*. The rule holds if every id read was surely
    there when one last page was taken.
    """
    margins: list[float] = []
    for number, (end, horizon) in enumerate(zip(reads, bounds, strict=True)):
        if not number % AT_ONCE:
            yield
        if is_last(end) and distinct == end.offset + end.count:
            margin = yield from none_in_doubt(reads, end, horizon)
            if margin is not None:
                margins.append(margin)
    return best(margins)


def none_in_doubt(reads: Sequence[Read], end: Read, horizon: float) -> Steps[float | None]:
    """All ids read were in the list when *end* was taken.

    Pages read after *end* that show only old rows need no check per row.
    """
    doubtful: list[Read] = []
    latest = -inf
    for number, read in enumerate(reads):
        if not number % AT_ONCE:
            yield
        if is_before(end, read) and is_old(time := newest(read), horizon):
            latest = time if time > latest else latest
        else:
            doubtful.append(read)
    there, spare = yield from surely_there(doubtful, end, horizon)
    margin = min(to_spare(latest, horizon), spare)
    certain = all(there.has_all(read.ids) for read in doubtful)
    yield from there.free()
    return margin if certain else None


def has_enough_rows(reads: Sequence[Read], end: Read) -> Steps[bool]:
    """Whether enough rows were read for the rule to hold: spares most last pages the count."""
    rows = len(end.ids)
    for number, read in enumerate(reads):
        if not number % AT_ONCE:
            yield
        if is_before(end, read):
            rows += len(read.ids)
    return rows >= end.offset + end.count


def count_rule_down(
    reads: Sequence[Read],
    bounds: Sequence[float],
    orders: Sequence[Order],
    known: Set[tuple[int, int]],
) -> float | None:
    """The count rule for the rows from ``down_to`` on, in each of *orders*.

    *known* are ids and times of rows that were there before the first read.
    """
    margins: list[float] = []
    for order in orders:
        margin = best(
            margin
            for read, horizon in zip(reads, bounds, strict=True)
            for margin in [counts_down(reads, read, horizon, order, known)]
            if margin is not None
        )
        if margin is None:
            return None
        margins.append(margin)
    return min(margins, default=None)


def counts_down(
    reads: Sequence[Read], end: Read, horizon: float, order: Order, known: Set[tuple[int, int]]
) -> float | None:
    """As many wanted rows were surely there as stood above the first older row of *end*.

    A row is wanted by the time that it had when *end* was taken, whatever it has now.
    """
    column = order.column(end)
    if not column or column.oldest >= order.down_to or len(end.ids) < end.count:
        return None
    before = known | seen_young((read for read in reads if is_before(read, end)), horizon)
    wanted = {
        row for row, time in zip(column.ids, column.times, strict=True) if time >= order.down_to
    }
    number, margin = end.offset + len(wanted), inf
    for read in reads:
        column = order.column(read)
        if column and is_before(end, read):
            for row, updated, time in zip(read.ids, read.updated, column.times, strict=True):
                if time < order.down_to or row in wanted:
                    continue
                if is_old(updated, horizon):
                    margin = min(margin, to_spare(updated, horizon))
                    wanted.add(row)
                elif (row, updated) in before:
                    wanted.add(row)
    return margin if len(wanted) == number else None


def surely_there(reads: Sequence[Read], end: Read, horizon: float) -> Steps[tuple[_Rows, float]]:
    """Ids of rows that were in the list when *end* was taken, and the margin of that."""
    known: set[tuple[int, int]] = set()
    for place in range(0, len(reads), AT_ONCE):
        part = reads[place : place + AT_ONCE]
        known |= seen_young((read for read in part if is_before(read, end)), horizon)
        yield
    there = _Rows()
    there.extend(end.ids)
    margin = inf
    for number, read in enumerate(reads):
        if not number % ROWS_AT_ONCE:
            yield
        if not is_before(end, read):
            continue
        if is_old(newest(read), horizon):
            if there.extend(read.ids):
                margin = min(margin, to_spare(newest(read), horizon))
            continue
        for row, time in zip(read.ids, read.updated, strict=True):
            if row in there:
                continue
            if is_old(time, horizon):
                margin = min(margin, to_spare(time, horizon))
                there.add(row)
            elif (row, time) in known:
                there.add(row)
    return there, margin


def unread(
    reads: Sequence[Read], bounds: Sequence[float], orders: Sequence[Order], distinct: int
) -> Steps[int]:
    """How many rows the list held, as the newest end was last read, that are not among *distinct*.

    If the newest end shows all that entered since the first read, every row of its moment must have
    been read, since the others were there all the time. 0 if that cannot be told.
    """
    if not orders or any(order.by_create for order in orders):
        return 0  # by create time, a row may enter a filter anywhere
    order = orders[0]
    end: Read | None = None
    for number, read in enumerate(reads):
        if not number % AT_ONCE:
            yield
        if order.is_head(read) and (end is None or end.sent < read.sent):
            end = read
    column = order.column(end) if end else None
    if end is None or column is None or column.oldest >= bounds[0]:
        return 0
    return max(end.total - distinct, 0)


def to_spare(time: float, horizon: float) -> float:
    """By how many whole seconds the horizon might be older, and *time* would still be old."""
    return horizon - time - 1


def seen_young(reads: Iterable[Read], horizon: float) -> set[tuple[int, int]]:
    """Ids and times of the rows read whose time does not exclude that they entered later."""
    return {
        (row, time)
        for read in reads
        if not is_old(newest(read), horizon)
        for row, time in zip(read.ids, read.updated, strict=True)
        if not is_old(time, horizon)
    }
