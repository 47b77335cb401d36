"""The link rule on lists one can read: what it proves, and which reads it still needs."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from dp_async._proof import ties
from dp_async._proof.decision import Complete, Decision, Gap, Missing, Unprovable
from dp_async._proof.links import covers, link_rule, one_reaches_down
from dp_async._proof.reads import Read, horizons
from dp_async._proof.segments import Order, possible_orders, wanted_orders
from dp_async._proof.steps import finished

from .lists import ALLOWED_LATENESS, listed, page, read

if TYPE_CHECKING:
    from collections.abc import Sequence

FALLING = Order(by_create=False, descending=True)
RISING = Order(by_create=False, descending=False)


def link(
    reads: Sequence[Read], allowed_lateness: float = ALLOWED_LATENESS, down_to: float = -inf
) -> Decision:
    orders = wanted_orders(reads, down_to)
    bounds = horizons(reads, allowed_lateness)
    return finished(link_rule(reads, bounds, orders, ceil(allowed_lateness)))


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


@pytest.mark.parametrize("at_once", [1, 400])
@pytest.mark.parametrize("descending", [True, False])
def test_links_lead_through_a_list_that_changes(
    descending: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async._proof.descent.AT_ONCE", at_once)
    before = listed(20)
    after = [(30, 1030), *(row for row in before if row[0] != 7)]
    if not descending:
        before.reverse()
        after.reverse()
    reads = [page(0, before, 8, 8), page(1, before, 12, 12), page(2, before, 4, 8)]
    reads += [page(3, after, 10, 10), page(4, before, 0, 8), page(5, after, 10, 12)]
    reads.append(page(6, after, 0, 10) if descending else page(6, after, 12, 12))
    decision = link(reads)
    assert isinstance(decision, Complete)
    assert decision.reason == "linked pages lead from one end of the list to the other"


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


def import_of(ids: Sequence[int], *, apart: int = 20) -> list[tuple[int, int]]:
    """Rows of one second between newer and older ones."""
    return [(900, 5000), *((i, 1000) for i in ids), (901, 10)]


def one_second(
    rows: Sequence[tuple[int, int]], starts: Sequence[int], size: int, *, descending: bool = True
) -> list[Read]:
    """Pages of *size* rows of *rows* from each of *starts* on, and the newest end again."""
    if descending:
        return [page(tick, rows, start, size) for tick, start in enumerate((*starts, 0))]
    places = [len(rows) - start - size + (not start) for start in (*starts, 0)]
    return [page(tick, rows[::-1], max(place, 0), size) for tick, place in enumerate(places)]


@pytest.mark.parametrize("ids", [range(100, 140), [*range(139, 119, -1), *range(100, 120)]])
@pytest.mark.parametrize("descending", [True, False])
def test_shared_rows_join_pages_within_one_second(ids: Sequence[int], descending: bool) -> None:
    rows = import_of(ids)
    for shared, joined in ((7, True), (1, False)):
        starts = range(0, len(rows), 21 - shared)
        decision = link(one_second(rows, starts, 21, descending=descending))
        assert isinstance(decision, Complete) is joined
        if isinstance(decision, Complete):
            assert "keep their order" in decision.reason
            assert decision.margin == 5000 - 1000 - 1


def test_a_few_rows_do_not_tell_whether_they_keep_their_order() -> None:
    rows = import_of(range(100, 140))
    decision = missing(link(one_second(rows, range(0, 42, 19), 21)))
    assert "too few rows" in decision.reason
    assert [(gap.above.offset, gap.below.offset) for gap in decision.gaps] == [(0, 19), (19, 38)]


def test_rows_that_swap_places_join_no_pages() -> None:
    rows = import_of(range(100, 140))
    reads = one_second(rows, range(0, 42, 14), 21)
    swapped = [*rows[:10], rows[12], rows[11], rows[10], *rows[13:]]
    reads.insert(1, page(0, swapped, 2, 15))
    decision = link(reads)
    assert isinstance(decision, Unprovable)
    assert "another order on each page" in decision.reason


def test_rows_that_swap_places_elsewhere_join_no_pages_either() -> None:
    newest, *others = import_of(range(100, 140))
    rows = [newest, *((row, 2000) for row in range(9)), *others]
    reads = one_second(rows, range(0, 51, 19), 21)
    assert isinstance(link(reads), Missing)
    swapped = [newest, rows[2], rows[1], *rows[3:]]
    decision = link([page(0, swapped, 0, 9), *reads])
    assert isinstance(decision, Unprovable)
    assert "another order on each page" in decision.reason


def test_rows_that_may_have_been_updated_join_no_pages() -> None:
    """Those of the last seconds: an update may leave their second as it is."""
    rows = import_of(range(100, 140))[1:]
    decision = link(one_second(rows, range(0, 41, 14), 21))
    assert isinstance(decision, Unprovable)
    assert "one of the last seconds" in decision.reason
    dated = [replace(one, date=1002) for one in one_second(rows, range(0, 41, 14), 21)]
    assert isinstance(link(dated, 1.0), Complete)


def test_every_gap_within_one_second_is_found_once_from_the_top_down() -> None:
    rows = import_of(range(100, 140))
    reads = one_second(rows, range(0, 42, 10), 10)
    top, first, second, third, last, closing = reads
    decision = missing(link(reads))
    assert decision.gaps == (
        Gap(closing, first),
        Gap(first, second),
        Gap(second, third),
        Gap(third, last),
    )
    assert top.ids == closing.ids
    bridged = [*reads[:-1], page(8, rows, 8, 12), page(9, rows, 18, 12), page(10, rows, 0, 10)]
    assert [gap.below for gap in missing(link(bridged)).gaps] == [third, last]


@pytest.mark.parametrize(("updated", "is_complete"), [(1000, True), (1001, False)])
def test_by_create_time_ties_join_only_while_no_row_is_seen_to_be_updated(
    updated: int, is_complete: bool
) -> None:
    """An update may move a row among them and leaves the time that sorts the list."""
    rows = import_of(range(100, 140))
    reads: list[Read] = []
    for tick, start in enumerate((*range(0, 42, 14), 0)):
        part = rows[start : start + 21]
        shown = [*part[:-1], (part[-1][0], updated)] if tick == 1 else part
        created = [time for _, time in part]
        reads.append(read(tick, start, 21, shown, total=len(rows), created=created))
    decision = link(reads)
    assert isinstance(decision, Complete) is is_complete
    if isinstance(decision, Unprovable):
        assert "one second of the create time" in decision.reason


def test_ties_that_fill_no_page_can_be_bridged() -> None:
    rows = [(1, 50), (3, 20), (2, 20), (4, 20), (5, 9), (6, 8)]
    reads = [page(0, rows, 2, 2), page(1, rows, 4, 3), page(2, rows, 0, 3)]
    assert missing(link(reads, 0)).gaps


def test_a_row_dated_later_by_an_update_is_not_lost_where_ids_seem_to_sort_ties() -> None:
    """Times are stored finely, so ids ascend within a second by chance of birth alone.

    Row 3 is updated in the second of all the others, and lands between the pages.
    """
    before = [(i, 1000) for i in range(100, 140)]
    after = [*before[:20], (3, 1000), *before[20:]]
    reads = [page(0, [(900, 5000), *before, (901, 10)], 21, 21)]
    reads += [page(1, [(900, 5000), *after, (901, 10)], 0, 21)]
    reads += [page(2, [(900, 5000), *after, (901, 10)], 0, 21)]
    assert missing(link(reads)).gaps


# Margin


@pytest.mark.parametrize(("apart", "margin"), [(1, 2), (10, 29), (60, 179)])
def test_the_margin_is_that_of_the_weakest_link_of_the_best_chain(apart: int, margin: int) -> None:
    rows = listed(20, apart=apart)
    reads = [page(tick, rows, start, 8) for tick, start in enumerate((12, 14, 8, 4, 6, 0))]
    decision = link(reads, 0.0)
    assert isinstance(decision, Complete)
    weakest = reads[3].updated[0] - reads[5].updated[-1] - 1
    assert decision.margin == margin == weakest
    for lateness in (margin, margin + 1):
        assert isinstance(link(reads, float(lateness)), Complete) is (lateness == margin)


# Orders


def test_a_chain_has_to_hold_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ties, "SHARED", 3)
    rows = listed(5)
    for created, linked in (([9, 8, 7, 6, 5], True), ([9, 8, 7, 7, 6], False)):
        reads = [
            read(tick, offset, size, rows[offset : offset + size], total=5, created=times)
            for tick, offset, size in ((0, 0, 4), (1, 2, 4), (2, 0, 4))
            if (times := created[offset : offset + size])
        ]
        assert [order.by_create for order in possible_orders(reads)] == [False, True]
        assert isinstance(link(reads, 0), Complete) is linked
        assert covers(reads, ALLOWED_LATENESS) is linked


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
        assert covers([head], ALLOWED_LATENESS, down_to) is reached
    middle = page(0, listed(20), 5, 5)
    assert one_reaches_down([middle, head], 998)
    assert not one_reaches_down([middle], 998)
    assert not covers([middle], ALLOWED_LATENESS, 998)
    both = read(0, 0, 2, [(2, 4), (3, 3)], created=[8, 7])
    assert one_reaches_down([both], 9)
    assert not one_reaches_down([both], 6)  # by create time, rows down to 6 may follow
    assert not one_reaches_down([read(0, 0, 1, [], total=9)], 9)


def test_links_need_lead_no_further_down_than_wanted() -> None:
    rows = listed(40)
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6, 9))]
    closing = page(9, rows, 0, 5)
    assert link([*reads, closing], down_to=988) == Complete(
        "link", "linked pages lead from the newest row to what was known before", 3
    )
    assert missing(link([*reads, closing], down_to=987)).tail
    assert covers(reads, ALLOWED_LATENESS, 988)
    assert not covers(reads, ALLOWED_LATENESS, 987)
    assert not covers(reads, ALLOWED_LATENESS)


def test_pages_newer_than_the_horizon_may_cover() -> None:
    rows = [(place + 1, 1000 - place // 3) for place in range(40)]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 2, 5, 8))]
    assert missing(link([*reads, page(9, rows, 0, 5)], down_to=997)).gaps
    assert not covers(reads[:2], ALLOWED_LATENESS, 998)
    assert covers(reads, ALLOWED_LATENESS, 997)


def test_covering_starts_at_the_newest_end_and_has_no_gap() -> None:
    rows = listed(40)
    first, second, third = (page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6)))
    assert covers([first, third, second], ALLOWED_LATENESS, 991)
    assert not covers([first, third], ALLOWED_LATENESS, 991)
    assert not covers([second, first, third], ALLOWED_LATENESS, 991)
    assert not covers([read(0, 0, 5, [], total=40), second, third], ALLOWED_LATENESS, 991)


def test_a_whole_list_is_covered_down_to_its_end() -> None:
    rows = listed(12)
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 9, 3, 6))]
    assert covers(reads, ALLOWED_LATENESS)
    assert not covers(reads[:3], ALLOWED_LATENESS)


def test_a_page_cut_without_echo_is_no_end_of_a_covered_list() -> None:
    rows = listed(6)
    cut = [read(tick, 0, 3, rows[:2], total=6) for tick in range(2)]
    assert not covers([*cut, read(2, 1, 9, rows[1:3], total=3)], ALLOWED_LATENESS)


def test_only_lists_that_are_newest_first_are_covered() -> None:
    rows = listed(12)[::-1]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 9, 3, 6))]
    assert not covers(reads, ALLOWED_LATENESS)
    assert not covers(reads, ALLOWED_LATENESS, 990)
    upwards = [page(tick, rows, offset, 5) for tick, offset in enumerate((9, 6, 3, 0))]
    assert not covers(upwards, ALLOWED_LATENESS)
    assert isinstance(link([reads[2]], down_to=990), Unprovable)


def test_a_first_page_of_rows_dated_in_the_future_covers_nothing_of_its_own() -> None:
    rows = listed(12)
    reads = [replace(page(0, rows, 0, 5), newest_past=-inf), page(1, rows, 3, 5)]
    assert not covers(reads, ALLOWED_LATENESS)
