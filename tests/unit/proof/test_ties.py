"""Which pages join within one second, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from dp_async._proof.segments import Order, Segment, segments
from dp_async._proof.steps import finished
from dp_async._proof.ties import AGREEING, SHARED, Second, are_swapped, keep_order

from .lists import page

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDER = Order(by_create=False, descending=True)
ROWS = [(i, 5) for i in range(10)]


def pages(*places: tuple[int, int], rows: Sequence[tuple[int, int]] = ROWS) -> list[Segment]:
    reads = [page(tick, rows, start, size) for tick, (start, size) in enumerate(places)]
    return finished(segments(reads, [8] * len(reads), ORDER))


@pytest.mark.parametrize(
    ("places", "joins"),
    [
        (((0, 5), (3, 5)), True),
        (((0, 5), (5 - SHARED, 5)), True),
        (((0, 5), (6 - SHARED, 5)), False),
        (((0, 5), (5, 5)), False),
    ],
)
def test_the_last_rows_of_one_page_are_the_first_of_the_other(
    places: tuple[tuple[int, int], ...], joins: bool
) -> None:
    above, below = pages(*places)
    second = Second(5, [below], [above], descending=True)
    assert [found for found, _ in second.below(above)] == [below] * joins


@pytest.mark.parametrize(
    ("again", "joins"),
    [
        ([2, 3, 4, 5], True),
        ([2, 4, 5, 6], True),  # one left
        ([2, 9, 4, 5], True),  # one came
        ([1, 4, 5, 6], True),  # half are there
        ([0, 4, 5, 6], False),
        ([2, 5, 6, 7], False),
        ([2, 4, 3, 5], False),
    ],
)
def test_enough_rows_are_shared_in_one_order(again: list[int], joins: bool) -> None:
    above = pages((0, 5))[0]
    (below,) = pages((0, 4), rows=[(row, 5) for row in again])
    assert bool(Second(5, [below], [], descending=True).below(above)) is joins


def test_the_rows_that_join_are_older_than_the_horizon_of_the_first_read() -> None:
    above, below = pages((0, 5), (3, 5))
    for age, joins in ((6, True), (5, False)):
        young = replace(above, age=age)
        second = Second(5, [below], [], descending=True)
        assert second.below(young) == [(below, age)] * joins
    above, below = below, above
    low, high = pages((3, 5), (0, 5))  # the lower page was read first
    young = replace(high, age=5)
    assert Second(5, [low], [], descending=True).below(young) == [(low, 8)]


def test_pages_that_end_below_the_second_lead_further_without_it() -> None:
    rows = [*ROWS, (11, 4)]
    above, below = pages((0, 11), (8, 2), rows=rows)
    assert Second(5, [below], [above], descending=True).below(above) == []


@pytest.mark.parametrize(
    ("orders", "swapped"),
    [
        ([[1, 2, 3, 4], [3, 4, 5, 6]], False),
        ([[1, 2, 3, 4], [4, 3, 5, 6]], True),
        ([[1, 2, 3, 4], [9, 2, 8, 4, 7]], False),
        ([[1, 2, 3, 4], [4, 9, 1]], True),
        ([[1, 2], [3, 4], [4, 1]], False),
    ],
)
def test_two_rows_in_opposite_orders_are_swapped(orders: list[list[int]], swapped: bool) -> None:
    assert are_swapped(orders) is swapped


def test_where_rows_are_swapped_nothing_joins_but_young_rows_do_not_tell() -> None:
    above, below = pages((0, 5), (3, 5))
    (other,) = pages((0, 5), rows=[*reversed(ROWS[:5])])
    assert Second(5, [below], [above, other], descending=True).swapped
    assert Second(5, [below], [above, other], descending=True).below(above) == []
    young = replace(other, age=5)
    assert not Second(5, [below], [above, young], descending=True).swapped


def test_a_page_is_entered_once() -> None:
    (below,) = pages((3, 5))
    second = Second(5, [below], [], descending=True)
    assert [second.first_reach(below), second.first_reach(below)] == [True, False]


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        (((0, 9), (0, AGREEING + 1)), True),
        (((0, AGREEING), (0, 9)), None),  # one pair too few
        (((0, 9), (0, 9)), None),  # the same request
        (((0, 4), (2, 4), (3, 5), (5, 5)), True),  # one, two and two pairs
        (((0, 2), (4, 2), (6, 2)), None),  # no row twice
    ],
)
def test_enough_pairs_of_rows_must_be_seen_in_one_order(
    places: Sequence[tuple[int, int]], kept: bool | None
) -> None:
    assert finished(keep_order(pages(*places))) is kept


def test_a_pair_in_opposite_orders_is_enough_to_tell() -> None:
    first, second = pages((0, 3)) + pages((0, 4), rows=[ROWS[1], ROWS[0], *ROWS[2:]])
    assert finished(keep_order([first, second])) is False
    assert finished(keep_order([first, replace(second, age=5)])) is None  # young rows do not tell
