"""What a read says of its page, and when it was taken."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from dp_async._proof.reads import (
    Column,
    horizons,
    in_seconds,
    is_before,
    is_last,
    is_old,
    newest,
    with_true_sizes,
)

from .lists import listed, page, read


@pytest.mark.parametrize(
    ("times", "ids", "column"),
    [
        ([9, 8, 8, 7], [4, 1, 2, 3], (9, 7, True, False)),
        ([7, 7, 8], [2, 1, 3], (8, 7, False, True)),
        ([7, 9, 8], [1, 2, 3], (9, 7, False, False)),
        ([7, 7, 7], [1, 3, 3], (7, 7, True, True)),
        ([7], [1], (7, 7, True, True)),
    ],
)
def test_a_column(times: list[int], ids: list[int], column: tuple[int, int, bool, bool]) -> None:
    found = Column.of(times, ids)
    assert found is not None
    assert (found.newest, found.oldest, found.falling, found.rising) == column
    assert (list(found.times), found.ids) == (times, ids)


def test_no_column_without_a_time_for_every_row() -> None:
    assert Column.of([], []) is None
    assert Column.of([1], [1, 2]) is None


def test_equal_columns_are_kept_once() -> None:
    same = read(0, 0, 5, listed(3))
    assert same.by_create is same.by_update
    other = read(0, 0, 5, listed(3), created=[3, 2, 1])
    assert other.by_create == Column.of([3, 2, 1], same.ids)
    assert other.by_update == same.by_update


@pytest.mark.parametrize(
    ("offset", "rows", "total", "last"),
    [(4, 2, 6, True), (4, 2, 5, True), (4, 2, 7, False), (4, 3, 7, False), (6, 0, 6, True)],
)
def test_the_last_page_is_short_and_no_more_follow(
    offset: int, rows: int, total: int, last: bool
) -> None:
    assert is_last(read(0, offset, 3, listed(rows), total=total)) is last


def test_sizes_are_cut_to_the_fullest_answer_except_on_page_1() -> None:
    rows = listed(9)
    reads = [page(0, rows, 0, 5), page(1, rows, 5, 5), page(2, rows, 5, 3)]
    assert [one.size for one in with_true_sizes(reads)] == [5, 5, 3]
    cut = [read(0, 0, 5, rows[:2]), read(1, 5, 5, rows[2:4]), read(2, 4, 2, rows[4:5])]
    assert with_true_sizes(cut) == [cut[0], replace(cut[1], size=2), cut[2]]


def test_reads_that_overlap_in_time_have_no_order() -> None:
    first = read(0, 0, 1, listed(1))  # sent at 0, answered at 1
    for sent, before in ((2, True), (1, False), (0, False)):
        assert is_before(first, replace(first, sent=sent, answered=sent + 1)) is before


def test_a_horizon_comes_from_the_read_itself_and_those_before_it() -> None:
    rows = listed(4)
    early, head = page(0, rows, 2, 2), page(1, rows, 0, 2)
    low, empty = page(2, rows, 2, 2), page(0, rows, 4, 2)
    assert horizons([low, early, head, empty], 1.5) == [998, 996, 998, -inf]
    overlapping = replace(low, sent=head.answered)
    assert horizons([head, overlapping], 0) == [1000, 998]


def test_a_row_dated_in_the_future_is_no_horizon() -> None:
    rows = [(9, 5000), (8, 1001), *listed(2)]
    ahead = read(0, 0, 4, rows, now=1000)
    assert (newest(ahead), ahead.newest_past) == (5000, 1000)
    assert read(0, 0, 4, rows, now=1001).newest_past == 1001
    assert read(0, 0, 2, rows[:2], now=1000).newest_past == -inf
    later = read(1, 2, 2, [(7, 990)], now=1002)
    assert horizons([ahead, later], 0) == [1000, 1000]


def test_a_page_without_times_is_older_than_all() -> None:
    assert newest(read(0, 0, 2, [])) == -inf


def test_lateness_is_rounded_up_to_whole_seconds() -> None:
    assert [in_seconds(lateness) for lateness in (0, 0.5, 1, 1.5)] == [0, 1, 1, 2]


def test_a_row_as_new_as_the_horizon_may_have_entered_later() -> None:
    assert [is_old(time, 9) for time in (8, 9, 10)] == [True, False, False]
