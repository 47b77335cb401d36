"""Places of rows, by the orders in which a list may be sorted."""

from __future__ import annotations

import pytest

from dp_async._plan.order import LOWEST, Order, Row, timed
from dp_async._proof.reads import Read

from .test_changes import rows


def read(updated: list[int], created: list[int]) -> Read:
    count = len(updated)
    return Read.of(
        sent=0,
        answered=1,
        offset=0,
        size=9,
        count=count,
        total=9,
        ids=range(count),
        updated=updated,
        created=created,
    )


@pytest.mark.parametrize(
    ("updated", "created", "order", "places"),
    [
        ([5, 4], [3, 2], Order(by_update=True, by_create=True), [9, 7]),
        ([5, 4], [2, 3], Order(by_update=True, by_create=False), [9]),
        ([4, 5], [3, 2], Order(by_update=False, by_create=True), [7]),
        ([4, 5], [2, 3], Order(by_update=False, by_create=False), []),
        ([5, 4], [], Order(by_update=True, by_create=None), [9]),
        ([], [], Order(by_update=True, by_create=None), [9]),
    ],
)
def test_a_row_has_a_place_by_each_order_that_no_answer_contradicts(
    updated: list[int], created: list[int], order: Order, places: list[int]
) -> None:
    found = Order().after(read(updated, created))
    assert found == order
    assert found.places(9, 7) == places
    assert found.is_newest_first is bool(places)


def test_a_row_without_a_create_time_may_stand_below_all() -> None:
    assert Order(by_update=True, by_create=True).places(9, None) == [9, LOWEST]


def test_what_was_contradicted_once_stays_so() -> None:
    assert Order(by_update=False, by_create=False).after(read([5, 4], [3, 2])) == (False, False)


def test_rows_without_a_time_are_left_out() -> None:
    answer = rows((1, 100, "a"), (2, None, "b"), (3, 98, "c"))
    assert list(timed(answer)) == [Row(1, 100, None, "a"), Row(3, 98, None, "c")]
