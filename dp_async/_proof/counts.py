"""The count rule: as many rows were read as the list held at one moment.

The docstring of ``certificate`` states the rule and proves it. What needs an order of the list
takes it from ``links``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .reads import Read, is_before, is_last, is_old, newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from .links import Order


def count_rule(reads: Sequence[Read], bounds: Sequence[float]) -> bool:
    """Whether, for one last page read, the rows surely there then are as many as it says.

    *bounds* are the horizons of *reads*. Linear in the rows for each last page.
    """
    return any(
        len(surely_there(reads, end, horizon)) == end.offset + end.count
        for end, horizon in zip(reads, bounds, strict=True)
        if is_last(end) and has_enough_rows(reads, end)
    )


def count_rule_static(reads: Sequence[Read], bounds: Sequence[float], distinct: int) -> bool:
    """The count rule for a list in which nothing changed: no set of all ids has to be built.

    *distinct* is the number of different ids in *reads*. The rule holds if every id read was surely
    there when one last page was taken.
    """
    return any(
        distinct == end.offset + end.count and none_in_doubt(reads, end, horizon)
        for end, horizon in zip(reads, bounds, strict=True)
        if is_last(end)
    )


def none_in_doubt(reads: Sequence[Read], end: Read, horizon: float) -> bool:
    """Whether all ids read were in the list when *end* was taken.

    Pages read after *end* that show only old rows need no check per row.
    """
    doubtful = [
        read for read in reads if not (is_before(end, read) and is_old(newest(read), horizon))
    ]
    there = surely_there(doubtful, end, horizon)
    return all(there.issuperset(read.ids) for read in doubtful)


def has_enough_rows(reads: Sequence[Read], end: Read) -> bool:
    """Whether enough rows were read for the rule to hold: spares most last pages the count."""
    rows = sum(len(read.ids) for read in reads if is_before(end, read))
    return len(end.ids) + rows >= end.offset + end.count


def count_rule_down(
    reads: Sequence[Read],
    bounds: Sequence[float],
    orders: Sequence[Order],
    known: Set[tuple[int, int]],
) -> bool:
    """The count rule for the rows from ``down_to`` on, in each of *orders*.

    *known* are ids and times of rows that were there before the first read.
    """
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
    """Whether as many wanted rows were surely there as stood above the first older row of *end*.

    A row is wanted by the time that it had when *end* was taken, whatever it has now.
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


def seen_young(reads: Iterable[Read], horizon: float) -> set[tuple[int, int]]:
    """Ids and times of the rows read whose time does not exclude that they entered later."""
    return {
        (row, time)
        for read in reads
        if not is_old(newest(read), horizon)
        for row, time in zip(read.ids, read.updated, strict=True)
        if not is_old(time, horizon)
    }
