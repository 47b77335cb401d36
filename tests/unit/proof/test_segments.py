"""Which orders of a list no answer contradicts, and where a chain enters a page."""

from __future__ import annotations

from math import inf

import pytest

from dp_async._proof.segments import Order, downward, possible_orders, segments, wanted_orders
from dp_async._proof.steps import finished

from .lists import listed, page, read

FALLING = Order(by_create=False, descending=True)
RISING = Order(by_create=False, descending=False)


def test_every_order_that_no_answer_contradicts_is_possible() -> None:
    alone = read(0, 0, 1, [(1, 5)], created=[])
    assert possible_orders([alone]) == [FALLING, RISING]
    assert possible_orders([alone, read(1, 1, 2, [(2, 4), (3, 3)], created=[])]) == [FALLING]
    both = possible_orders([read(0, 0, 2, [(2, 4), (3, 3)], created=[8, 9])])
    assert both == [FALLING, Order(True, descending=False)]
    created = possible_orders([read(0, 0, 3, [(1, 5), (2, 7), (3, 6)], created=[9, 8, 7])])
    assert created == [Order(True, descending=True, keeps_ties=False)]
    assert possible_orders([]) == []


def test_with_a_bound_only_lists_that_are_newest_first_are_wanted() -> None:
    alone = read(0, 0, 1, [(1, 5)], created=[])
    assert wanted_orders([alone], -inf) == [FALLING, RISING]
    assert wanted_orders([alone], 3) == [FALLING._replace(down_to=3)]


@pytest.mark.parametrize("order", [FALLING, RISING])
def test_pages_are_sorted_by_where_a_chain_enters_them(order: Order) -> None:
    rows = [(1, 9), *((i, 5) for i in range(2, 8)), (8, 1)]
    rows.sort(key=lambda row: row[1], reverse=order.descending)
    starts = (4, 0, 2, 6)
    young = 6 if order.descending else 0
    reads = [page(tick, rows, start, 2) for tick, start in enumerate(starts)]
    bounds = [3 if start == young else 20 for start in starts]
    found = finished(downward(finished(segments(reads, bounds, order)), order))
    offsets = [segment.read.offset for segment in found]
    assert offsets == ([0, 2, 4, 6] if order.descending else [6, 4, 2, 0])


def test_where_no_row_moves_no_horizon_counts() -> None:
    reads = [page(0, listed(4), 0, 4)]
    by_update, by_create = possible_orders(reads)
    assert [segment.entry for segment in finished(segments(reads, [998], by_update))] == [998]
    assert [segment.entry for segment in finished(segments(reads, [998], by_create))] == [1000]
