"""The link rule on lists one can read: what it proves, and which reads it still needs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from dp_async._proof.decision import Complete, Decision, Gap, Missing, Unprovable
from dp_async._proof.links import (
    ENOUGH_TIES,
    Order,
    covers,
    link_rule,
    one_reaches_down,
    possible_orders,
    wanted_orders,
)
from dp_async._proof.reads import Read, horizons

from .lists import ALLOWED_LATENESS, listed, page, read

if TYPE_CHECKING:
    from collections.abc import Sequence

FALLING = Order(by_create=False, descending=True)
RISING = Order(by_create=False, descending=False)


def link(
    reads: Sequence[Read], allowed_lateness: float = ALLOWED_LATENESS, down_to: float = -inf
) -> Decision:
    orders = wanted_orders(reads, down_to)
    return link_rule(reads, horizons(reads, allowed_lateness), orders)


def missing(decision: object) -> Missing:
    assert isinstance(decision, Missing)
    return decision


def test_only_bad_rows_prove_nothing() -> None:
    decision = link([read(0, 0, 2, [], total=3, bad=2), read(1, 2, 2, [], bad=1)])
    assert decision == Unprovable("no row with an id and an update time was read")


def test_rows_in_no_order_prove_nothing() -> None:
    decision = link([read(0, 0, 3, [(1, 9), (2, 5), (3, 7)])])
    assert isinstance(decision, Unprovable)
    assert "not sorted" in decision.reason


@pytest.mark.parametrize("descending", [True, False])
def test_links_lead_through_a_list_that_changes(descending: bool) -> None:
    before = listed(20)
    after = [(30, 1030), *(row for row in before if row[0] != 7)]
    if not descending:
        before.reverse()
        after.reverse()
    reads = [page(0, before, 8, 8), page(1, before, 12, 12), page(2, before, 4, 8)]
    reads += [page(3, after, 10, 10), page(4, before, 0, 8), page(5, after, 10, 12)]
    reads.append(page(6, after, 0, 10) if descending else page(6, after, 12, 12))
    decision = link(reads)
    assert decision == Complete("link", "linked pages lead from one end of the list to the other")


def test_a_gap_lies_between_two_reads_that_do_not_link() -> None:
    rows = listed(17, apart=5)
    low, middle, old_head = page(0, rows, 12, 6), page(1, rows, 6, 6), page(2, rows, 0, 6)
    decision = missing(link([low, middle, old_head], 1.0))
    assert decision.gaps == (Gap(old_head, middle), Gap(middle, low))
    assert (decision.head, decision.tail, decision.descending) == (False, False, True)
    assert decision.reason == (
        "the list may have changed while it was read: pages that should meet do not (2 times)"
    )

    bridges = [page(3, rows, 4, 4), page(4, rows, 10, 5)]
    decision = missing(link([low, middle, old_head, *bridges], 1.0))
    assert decision.gaps == ()
    assert (decision.head, decision.tail) == (True, False)
    assert "newest end" in decision.reason
    closing = page(5, rows, 0, 6)
    assert isinstance(link([low, middle, old_head, *bridges, closing], 1.0), Complete)


def test_the_gaps_of_an_ascending_list_are_sorted_newest_first_as_well() -> None:
    rows = listed(17, apart=5)[::-1]
    low, middle, head = page(0, rows, 0, 6), page(1, rows, 6, 5), page(2, rows, 11, 7)
    decision = missing(link([low, middle, head], 1.0))
    assert decision.gaps == (Gap(head, middle), Gap(middle, low))
    assert (decision.head, decision.tail, decision.descending) == (False, False, False)


def test_neither_end_was_read() -> None:
    rows = listed(6, apart=5)
    decision = missing(link([page(0, rows, 2, 3), page(1, rows, 3, 3)]))
    assert (decision.gaps, decision.head, decision.tail) == ((), True, True)
    assert "oldest end" in decision.reason


def test_pages_newer_than_the_horizon_do_not_link_until_read_again() -> None:
    rows = listed(9)
    low, head = page(0, rows, 4, 6), page(1, rows, 0, 6)
    assert missing(link([low, head])).gaps == (Gap(head, low),)
    again = page(2, rows, 4, 6)
    assert isinstance(link([head, again, page(3, rows, 0, 6)]), Complete)


def test_a_read_within_another_makes_no_gap() -> None:
    rows = listed(12)
    low, short, head = page(0, rows, 8, 8), page(1, rows, 10, 1), page(2, rows, 0, 10)
    assert Gap(head, short) not in missing(link([low, short, head], 9.0)).gaps


def test_the_newest_end_may_be_the_oldest_as_well() -> None:
    rows = listed(3)
    assert isinstance(link([page(0, rows, 0, 3), page(1, rows, 0, 5)]), Complete)


# Ties


def one_second(ids: Sequence[int], *, descending: bool = True) -> list[Read]:
    """Forty rows of one second between newer and older ones, on pages that share one row."""
    rows = [(900, 5000), *((i, 1000) for i in ids), (901, 10)]
    offsets = (0, 20, 40, 0)
    if not descending:
        rows.reverse()
        offsets = (40, 20, 0, 40)
    return [page(tick, rows, offset, 21) for tick, offset in enumerate(offsets)]


@pytest.mark.parametrize("ids", [range(100, 140), range(140, 100, -1)])
@pytest.mark.parametrize("descending", [True, False])
def test_ids_link_ties_where_they_are_seen_in_order(ids: range, descending: bool) -> None:
    assert isinstance(link(one_second(ids, descending=descending)), Complete)


def test_a_gap_among_ties_in_id_order_can_be_bridged() -> None:
    rows = [(900, 5000), *((i, 1000) for i in range(100, 140)), (901, 10)]
    reads = [page(tick, rows, offset, 18) for tick, offset in enumerate((0, 20, 36, 0))]
    _, full_of_ties, _, closing = reads
    assert missing(link(reads)).gaps == (Gap(closing, full_of_ties),)


def test_a_full_page_of_ties_in_no_id_order_cannot_be_bridged() -> None:
    ids = [*range(100, 120), *range(140, 120, -1)]
    decision = link(one_second(ids))
    assert isinstance(decision, Unprovable)
    assert "the same second" in decision.reason


def test_ties_that_fill_no_page_can_be_bridged() -> None:
    rows = [(1, 50), (3, 20), (2, 20), (4, 20), (5, 9), (6, 8)]
    reads = [page(0, rows, 2, 2), page(1, rows, 4, 3), page(2, rows, 0, 3)]
    assert missing(link(reads, 0)).gaps


def test_a_full_page_of_ties_matters_only_at_a_gap() -> None:
    rows = [(1, 50), (2, 49), (3, 20), (4, 20), (5, 9)]
    reads = [page(tick, rows, offset, 2) for tick, offset in enumerate((0, 3, 2, 5, 0))]
    assert missing(link(reads, 0)).gaps == (Gap(reads[4], reads[1]),)


@pytest.mark.parametrize(
    ("ids", "ties"),
    [
        (range(ENOUGH_TIES), 0),
        (range(ENOUGH_TIES + 1), 1),
        (range(ENOUGH_TIES, 0, -1), 0),
        (range(ENOUGH_TIES, -1, -1), -1),
        ((*range(ENOUGH_TIES + 1), 5), 0),
    ],
)
def test_enough_ties_in_order_on_one_page_show_that_ids_sort_them(ids: range, ties: int) -> None:
    newest_first = read(0, 0, 20, [(i, 5) for i in ids] + [(99, 4)])
    assert possible_orders([newest_first]) == [
        order._replace(ties=ties) for order in (FALLING, FALLING._replace(by_create=True))
    ]
    oldest_first = read(0, 0, 20, [(i, 5) for i in ids] + [(99, 6)])
    assert possible_orders([oldest_first])[0] == RISING._replace(ties=-ties)


def test_few_ties_on_many_pages_show_nothing() -> None:
    some = [read(tick, 0, 10, [(i, 5) for i in range(9)] + [(99, 4)]) for tick in range(3)]
    assert possible_orders(some)[0].ties == 0


# Orders


def test_every_order_that_no_answer_contradicts_is_possible() -> None:
    alone = read(0, 0, 1, [(1, 5)], created=[])
    assert possible_orders([alone]) == [FALLING, RISING]
    assert possible_orders([alone, read(1, 1, 2, [(2, 4), (3, 3)], created=[])]) == [FALLING]
    both = possible_orders([read(0, 0, 2, [(2, 4), (3, 3)], created=[8, 9])])
    assert both == [FALLING, Order(True, descending=False)]
    assert possible_orders([]) == []


def test_a_chain_has_to_hold_in_every_order() -> None:
    rows = listed(5)
    for created, linked in (([9, 8, 7, 6, 5], True), ([9, 8, 7, 7, 6], False)):
        reads = [
            read(tick, offset, size, rows[offset : offset + size], total=5, created=times)
            for tick, offset, size in ((0, 0, 4), (1, 2, 4), (2, 0, 4))
            if (times := created[offset : offset + size])
        ]
        assert [order.by_create for order in possible_orders(reads)] == [False, True]
        assert isinstance(link(reads, 0), Complete) is linked
        assert covers(reads) is linked


def test_by_create_time_no_row_moves_so_the_horizon_does_not_matter() -> None:
    rows, created = [(1, 10), (2, 9), (3, 10), (4, 7), (5, 6)], [10, 9, 8, 7, 6]
    low = read(0, 1, 5, rows[1:], total=5, created=created[1:])
    head = read(1, 0, 3, rows[:3], total=5, created=created[:3])
    assert isinstance(link([low, head]), Complete)
    assert missing(link([low, read(1, 0, 2, rows[:2], total=5, created=created[:2])])).gaps


# Only the rows down to a time


def test_page_1_may_reach_below_all_that_is_wanted() -> None:
    head = page(0, listed(20), 0, 5)  # from 1000 down to 996
    for down_to, reached in ((998, True), (997, True), (996, False)):
        assert one_reaches_down([head], down_to) is reached
        assert covers([head], down_to) is reached
    middle = page(0, listed(20), 5, 5)
    assert one_reaches_down([middle, head], 998)
    assert not one_reaches_down([middle], 998)
    assert not covers([middle], 998)
    both = read(0, 0, 2, [(2, 4), (3, 3)], created=[8, 7])
    assert one_reaches_down([both], 9)
    assert not one_reaches_down([both], 6)  # by create time, rows down to 6 may follow
    assert not one_reaches_down([read(0, 0, 1, [], total=9)], 9)


def test_links_need_lead_no_further_down_than_wanted() -> None:
    rows = listed(40)
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6, 9))]
    closing = page(9, rows, 0, 5)
    assert link([*reads, closing], down_to=988) == Complete(
        "link", "linked pages lead from the newest row to what was known before"
    )
    assert missing(link([*reads, closing], down_to=987)).tail
    assert covers(reads, 988)
    assert not covers(reads, 987)
    assert not covers(reads)


def test_pages_newer_than_the_horizon_may_cover() -> None:
    rows = [(place + 1, 1000 - place // 3) for place in range(40)]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 2, 5, 8))]
    assert missing(link([*reads, page(9, rows, 0, 5)], down_to=997)).gaps
    assert not covers(reads[:2], 998)
    assert covers(reads, 997)


def test_covering_starts_at_the_newest_end_and_has_no_gap() -> None:
    rows = listed(40)
    first, second, third = (page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6)))
    assert covers([first, third, second], 991)
    assert not covers([first, third], 991)
    assert not covers([second, first, third], 991)
    assert not covers([read(0, 0, 5, [], total=40), second, third], 991)


def test_a_whole_list_is_covered_down_to_its_end() -> None:
    rows = listed(12)
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 9, 3, 6))]
    assert covers(reads)
    assert not covers(reads[:3])


def test_a_page_cut_without_echo_is_no_end_of_a_covered_list() -> None:
    rows = listed(6)
    cut = [read(tick, 0, 3, rows[:2], total=6) for tick in range(2)]
    assert not covers([*cut, read(2, 1, 9, rows[1:3], total=3)])


def test_only_lists_that_are_newest_first_are_covered() -> None:
    rows = listed(12)[::-1]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 9, 3, 6))]
    assert not covers(reads)
    assert not covers(reads, 990)
    upwards = [page(tick, rows, offset, 5) for tick, offset in enumerate((9, 6, 3, 0))]
    assert not covers(upwards)
    assert isinstance(link([reads[2]], down_to=990), Unprovable)
