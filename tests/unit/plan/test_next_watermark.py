"""Which rows the next watermark remembers, and for which it has no place."""

from __future__ import annotations

import pytest

from dp_async import Watermark
from dp_async._plan.known import CAPACITY, Crowd
from dp_async._plan.next_watermark import mark_after, mark_at
from dp_async._plan.order import Order, Row

SCOPE = "0123456789abcdef01234567"
BY_UPDATE = Order(by_update=True, by_create=False)


def at(
    *shown: tuple[int, int | None], order: Order = BY_UPDATE, compared: int = 90, before: int = 0
) -> Watermark:
    """At 100, of rows with these times whose digests are 1, 2, …; *before*: digests from 50 on."""
    rows = [Row(place, *times, place) for place, times in enumerate(shown, 1)]
    return mark_at(SCOPE, 100, rows, order, 98, compared, range(50, 50 + before))


@pytest.mark.parametrize(
    ("order", "digests", "recent"),
    [
        (BY_UPDATE, [1, 2, 3], 2),  # the row at 80 is not compared
        (Order(by_update=True, by_create=True), [1, 2, 3], 2),
        (Order(by_update=False, by_create=True), [1, 2, 3, 50, 51], 2),  # the second by its time
    ],
)
def test_rows_from_the_floor_on_are_wanted_again(
    order: Order, digests: list[int], recent: int
) -> None:
    mark = at((100, 100), (99, 70), (95, 95), (80, 80), order=order, before=2)
    assert (mark.updated, mark.compared, mark.recent) == (100, 90, recent)
    assert sorted(mark.digests) == digests
    assert mark.by_create is (order.by_create is True)


def test_rows_below_the_floor_are_compared_as_far_as_there_is_room() -> None:
    mark = at((100, None), *((97 - place // 40, None) for place in range(300)), compared=0)
    assert (mark.recent, len(mark.digests)) == (1, 1 + 200)
    assert mark.compared == 97 - 200 // 40 + 1


def test_a_crowd_takes_the_place_of_rows_that_are_compared() -> None:
    mark = at(*((99, None) for _ in range(400)), *((96, None) for _ in range(300)))
    assert [crowd.count for crowd in mark.crowds] == [400]
    assert (mark.digests, mark.compared) == ([], 97)
    assert len(mark.to_json()) <= 2_000


AFTER = Watermark.at(SCOPE, 100, [1, 2, 3], [Crowd(99, 99, 40, 7)], compared=90, recent=42)


@pytest.mark.parametrize(
    ("number", "by_update", "digests", "crowds", "compared"),
    [
        (0, True, [1, 2, 3], [40], 90),
        (5, True, [*range(1000, 1005), 1, 2, 3], [40], 90),
        (CAPACITY - 10, True, [*range(1000, 990 + CAPACITY), 1, 2], [40], 98),
        (500, True, [1, 2], [40, 500], 98),
        (500, False, [*range(1000, 990 + CAPACITY), 1, 2], [40], 98),
    ],
)
def test_rows_delivered_over_a_gap_make_room_by_those_not_wanted_again(
    number: int, by_update: bool, digests: list[int], crowds: list[int], compared: int
) -> None:
    delivered = [(120, 1000 + place) for place in range(number)]
    mark = mark_after(AFTER, delivered, 98, by_update=by_update)
    assert sorted(mark.digests) == sorted(digests)
    assert [crowd.count for crowd in mark.crowds] == crowds
    assert (mark.updated, mark.compared, mark.recent) == (100, compared, 42 + number)
    assert len(mark.to_json()) <= 2_000
