"""The count rule on lists short enough to count by eye."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from dp_async._proof.counts import count_rule, count_rule_down, count_rule_static, unread
from dp_async._proof.reads import Read, horizons
from dp_async._proof.segments import Order
from dp_async._proof.steps import finished

from .lists import ALLOWED_LATENESS, listed, page, read

if TYPE_CHECKING:
    from collections.abc import Sequence, Set


def counted(reads: Sequence[Read], allowed_lateness: float = ALLOWED_LATENESS) -> bool:
    """What both forms of the rule say, if the second may say no where it is not cheap."""
    bounds = horizons(reads, allowed_lateness)
    whole = finished(count_rule(reads, bounds))
    distinct = len({row for one in reads for row in one.ids})
    static = finished(count_rule_static(reads, bounds, distinct))
    assert static is None or static == whole
    return whole is not None


def static(reads: Sequence[Read], distinct: int) -> bool:
    bounds = horizons(reads, ALLOWED_LATENESS)
    return finished(count_rule_static(reads, bounds, distinct)) is not None


def test_a_static_list_needs_its_last_page_early_and_page_1_again() -> None:
    rows = listed(7)
    reads = [page(0, rows, 0, 3), page(1, rows, 6, 3), page(2, rows, 3, 3)]
    assert not counted(reads)
    assert not static(reads, 7)
    reads.append(page(3, rows, 0, 3))
    assert counted(reads)
    assert [static(reads, distinct) for distinct in (6, 7, 8)] == [False, True, False]


def test_a_full_last_page_needs_the_empty_one_after_it() -> None:
    rows = listed(6)
    reads = [page(0, rows, 0, 3), page(1, rows, 6, 3), page(2, rows, 3, 3), page(3, rows, 0, 3)]
    assert counted(reads)
    assert static(reads, 6)
    assert not counted([reads[0], *reads[2:]])


def test_a_list_that_only_grows_is_counted() -> None:
    before = listed(7)
    after = [(10, 1010), *before]
    reads = [page(0, before, 0, 3), page(1, before, 6, 3), page(2, after, 3, 3)]
    reads += [page(3, after, 6, 3), page(4, after, 0, 3)]
    assert counted(reads)
    assert not static(reads, 8)


def test_a_bad_row_is_not_counted() -> None:
    rows = listed(5)
    reads = [page(0, rows, 0, 3), read(1, 3, 3, rows[3:4], total=5, bad=1), page(2, rows, 0, 3)]
    assert not counted(reads)
    assert not static(reads, 4)


def test_a_row_counts_by_its_time_or_because_it_was_seen_before() -> None:
    end = read(1, 1, 2, [(2, 10)], total=2)
    for time, seen, there in ((9, [], True), (10, [], False), (10, [(1, 10)], True)):
        reads = [read(0, 0, 1, seen, total=2), end, read(2, 0, 1, [(1, time)])]
        assert counted(reads, 0) is there
    assert not counted([read(0, 0, 1, [(1, 11)]), end, read(2, 0, 1, [(1, 12)])], 0)


def test_a_row_read_only_before_the_last_page_is_not_counted() -> None:
    end = read(1, 1, 2, [(2, 10)], total=2)
    assert not counted([read(0, 0, 1, [(1, 9)]), end], 0)


# Only the rows down to a time

NEWEST_FIRST = Order(by_create=False, descending=True, down_to=8)


def down(
    reads: Sequence[Read],
    orders: Sequence[Order] = (NEWEST_FIRST,),
    known: Set[tuple[int, int]] = frozenset(),
) -> bool:
    return count_rule_down(reads, horizons(reads, 0), orders, known) is not None


END = read(1, 2, 3, [(3, 8), (4, 7), (5, 6)], total=9)
"""A page that shows a row older than 8, below two rows."""


@pytest.mark.parametrize(
    ("before", "after", "known", "holds"),
    [
        ([(1, 9)], [(1, 9), (2, 7)], [], False),  # older: not wanted
        ([(1, 9)], [(1, 9), (2, 9)], [], False),  # may have entered later
        ([(1, 9)], [(1, 9), (2, 8)], [], True),
        ([(1, 9), (2, 9)], [(1, 9), (2, 9)], [], True),
        ([], [(1, 9), (2, 8)], [(1, 9), (2, 8)], True),
        ([(1, 8)], [(1, 9), (2, 8)], [(2, 8)], False),  # updated in between
    ],
)
def test_wanted_rows_are_counted_above_the_first_older_one(
    before: list[tuple[int, int]],
    after: list[tuple[int, int]],
    known: list[tuple[int, int]],
    holds: bool,
) -> None:
    reads = [read(0, 0, 2, before), END, read(2, 1, 2, after)]
    assert down(reads, known=frozenset(known)) is holds


def test_wanted_rows_may_be_older_than_the_horizon() -> None:
    first = read(0, 0, 2, [(1, 20), (9, 20)])  # makes the horizon 20
    assert down([first, END, read(2, 0, 2, [(1, 19), (2, 8)])])
    assert not down([first, read(2, 0, 2, [(1, 19), (2, 8)])])


def test_a_row_of_the_end_counts_once_and_a_page_without_rows_not_at_all() -> None:
    above = read(2, 0, 3, [(1, 9), (2, 8), (3, 8)])
    empty = read(3, 9, 3, [], total=9)
    assert down([END, above, empty], known=frozenset({(1, 9), (2, 8), (3, 8)}))


def test_wanted_rows_are_counted_in_every_order() -> None:
    first = read(0, 0, 2, [(1, 20), (9, 20)])
    reads = [first, END, read(2, 0, 2, [(1, 19), (2, 8)])]
    by_create = NEWEST_FIRST._replace(by_create=True)
    assert down(reads, [NEWEST_FIRST, by_create])
    assert not down(reads, [NEWEST_FIRST, by_create._replace(down_to=-inf)])
    assert not down(reads, [])


def test_an_end_with_a_bad_row_or_without_times_counts_nothing() -> None:
    above = read(2, 0, 2, [(1, 9), (2, 8)])
    known = frozenset({(1, 9), (2, 8)})
    assert down([END, above], known=known)
    bad = read(1, 2, 4, [(3, 8), (4, 7), (5, 6)], total=9, bad=1)
    assert not down([bad, above], known=known)
    assert not down([read(1, 2, 3, [], total=9, bad=3), above], known=known)
    assert not down([read(1, 2, 1, [(3, 8)], total=9), above], known=known)


def test_rows_are_unread_by_the_total_of_the_newest_end_as_it_was_last_read() -> None:
    rows = listed(5)
    first, last = page(0, rows, 0, 4), page(1, [(9, 1001), *rows], 0, 5)
    order = Order(by_create=False, descending=True)
    for reads in ([first, last], [last, first]):
        bounds = [998.0, 998.0]
        assert finished(unread(reads, bounds, [order], 5)) == 1
        assert finished(unread(reads, bounds, [order], 6)) == 0
