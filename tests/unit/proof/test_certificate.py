"""What the certificate decides on lists one can read, and what it asks for.

No I/O. That it is never wrong is tried in ``tests/property/test_certificate_exhaustive.py``.
"""

from __future__ import annotations

import timeit
from array import array
from math import inf
from typing import TYPE_CHECKING

import pytest

from dp_async._proof.certificate import decide
from dp_async._proof.decision import Complete, Gap, Missing, Unprovable
from dp_async._proof.links import ENOUGH_TIES, Order, covers, possible_orders
from dp_async._proof.reads import Column, Read, horizons

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOWED_LATENESS = 2.0


def read(
    tick: int,
    offset: int,
    size: int,
    rows: Sequence[tuple[int, int]],
    *,
    total: int = 0,
    bad: int = 0,
    created: Sequence[int] | None = None,
) -> Read:
    """A read at *tick* of *rows* as (id, update time), and *bad* rows without one of the two."""
    ids = array("q", (row for row, _ in rows))
    updated = array("q", (time for _, time in rows))
    return Read.of(
        sent=2 * tick,
        answered=2 * tick + 1,
        offset=offset,
        size=size,
        count=len(rows) + bad,
        total=total,
        ids=ids,
        updated=updated,
        created=updated if created is None else array("q", created),
    )


def listed(length: int, *, step: int = 1) -> list[tuple[int, int]]:
    """Rows newest first, each *step* seconds older than the one above."""
    return [(place + 1, 1000 - place * step) for place in range(length)]


def page(tick: int, rows: Sequence[tuple[int, int]], offset: int, size: int) -> Read:
    return read(tick, offset, size, rows[offset : offset + size], total=len(rows))


def missing(decision: object) -> Missing:
    assert isinstance(decision, Missing)
    return decision


def test_column_of_falling_times() -> None:
    column = Column.of([9, 8, 8, 7], [4, 1, 2, 3])
    assert column is not None
    assert column == Column(9, 7, falling=True, rising=False, times=[], ids=[])
    assert column.ties == (1, 0)


def test_column_of_rising_times_with_ids_that_descend() -> None:
    column = Column.of([7, 7, 8], [2, 1, 3])
    assert column is not None
    assert column == Column(8, 7, falling=False, rising=True, times=[], ids=[])
    assert column.ties == (0, 1)


def test_no_column_without_a_time_for_every_row() -> None:
    assert Column.of([], []) is None
    assert Column.of([1], [1, 2]) is None


def test_equal_columns_are_kept_once() -> None:
    same = read(0, 0, 5, listed(3))
    assert same.by_create is same.by_update
    other = read(0, 0, 5, listed(3), created=[3, 2, 1])
    assert other.by_create == Column(3, 1, True, False, [], [])


def test_nothing_read_proves_nothing() -> None:
    assert decide([], ALLOWED_LATENESS) == Unprovable("nothing was read")


@pytest.mark.parametrize("rows", [0, 3])
def test_a_list_on_one_page(rows: int) -> None:
    decision = decide([page(0, listed(rows), 0, 5)], ALLOWED_LATENESS)
    assert isinstance(decision, Complete)
    assert decision.rule == "single page"


def test_a_short_page_is_an_end_only_if_the_server_gave_more_elsewhere() -> None:
    rows = listed(6)
    reads = [page(0, rows, 0, 2), page(1, rows, 1, 2), page(2, rows, 2, 2), page(3, rows, 4, 4)]
    assert missing(decide([*reads, page(4, rows, 0, 2)], 0)).tail


def test_a_short_page_that_says_more_follow_is_not_the_list() -> None:
    assert not isinstance(decide([read(0, 0, 200, listed(3), total=4)], ALLOWED_LATENESS), Complete)


def test_only_bad_rows() -> None:
    decision = decide(
        [read(0, 0, 2, [], total=3, bad=2), read(1, 2, 2, [], bad=1)], ALLOWED_LATENESS
    )
    assert isinstance(decision, Unprovable)
    assert "id and an update time" in decision.reason


def test_a_list_at_rest_needs_its_last_page_early_and_page_1_again() -> None:
    rows = listed(7)
    reads = [page(0, rows, 0, 3), page(1, rows, 6, 3), page(2, rows, 3, 3)]
    assert not isinstance(decide(reads, ALLOWED_LATENESS), Complete)
    decision = decide([*reads, page(3, rows, 0, 3)], ALLOWED_LATENESS)
    assert isinstance(decision, Complete)
    assert decision.rule == "count"


def test_a_full_last_page_needs_the_empty_one_after_it() -> None:
    rows = listed(6)
    reads = [page(0, rows, 0, 3), page(1, rows, 6, 3), page(2, rows, 3, 3), page(3, rows, 0, 3)]
    assert isinstance(decide(reads, ALLOWED_LATENESS), Complete)
    assert not isinstance(decide([reads[0], *reads[2:]], ALLOWED_LATENESS), Complete)


def test_a_list_that_only_grows_is_counted() -> None:
    before = listed(7)
    after = [(10, 1010), *before]
    reads = [page(0, before, 0, 3), page(1, before, 6, 3), page(2, after, 3, 3)]
    reads += [page(3, after, 6, 3), page(4, after, 0, 3)]
    assert isinstance(decide(reads, ALLOWED_LATENESS), Complete)


def test_a_list_in_no_order_takes_two_passes() -> None:
    rows = [(1, 9), (2, 5), (3, 1), (4, 8), (5, 2)]
    first = [page(tick, rows, offset, 2) for tick, offset in enumerate((0, 2, 4))]
    decision = decide(first, ALLOWED_LATENESS)
    assert isinstance(decision, Unprovable)
    assert "not sorted" in decision.reason
    second = [page(tick, rows, offset, 2) for tick, offset in enumerate((0, 2, 4), start=3)]
    assert not isinstance(decide(first + second[:1], ALLOWED_LATENESS), Complete)
    decision = decide(first + second, ALLOWED_LATENESS)
    assert isinstance(decision, Complete)
    assert decision.rule == "count"


def test_a_bad_row_is_not_counted() -> None:
    rows = listed(5)
    reads = [page(0, rows, 0, 3), read(1, 3, 3, rows[3:4], total=5, bad=1), page(2, rows, 0, 3)]
    assert not isinstance(decide(reads, ALLOWED_LATENESS), Complete)


@pytest.mark.parametrize("descending", [True, False])
def test_links_lead_through_a_list_that_moves(descending: bool) -> None:
    before = listed(20)
    after = [(30, 1030), *(row for row in before if row[0] != 7)]
    if not descending:
        before.reverse()
        after.reverse()
    reads = [page(0, before, 8, 8), page(1, before, 12, 12), page(2, before, 4, 8)]
    reads += [page(3, after, 10, 10), page(4, before, 0, 8), page(5, after, 10, 12)]
    reads.append(page(6, after, 0, 10) if descending else page(6, after, 12, 12))
    decision = decide(reads, ALLOWED_LATENESS)
    assert isinstance(decision, Complete)
    assert decision.rule == "link"


def test_each_break_is_a_seam_between_its_two_reads() -> None:
    rows = listed(17, step=5)
    low, middle, old_head = page(0, rows, 12, 6), page(1, rows, 6, 6), page(2, rows, 0, 6)
    decision = missing(decide([low, middle, old_head], 1.0))
    assert decision.gaps == (Gap(old_head, middle), Gap(middle, low))
    assert (decision.head, decision.tail, decision.descending) == (False, False, True)
    assert "2 times" in decision.reason

    bridges = [page(3, rows, 4, 4), page(4, rows, 10, 5)]
    decision = missing(decide([low, middle, old_head, *bridges], 1.0))
    assert decision.gaps == ()
    assert decision.head
    assert "newest end" in decision.reason
    closing = page(5, rows, 0, 6)
    assert isinstance(decide([low, middle, old_head, *bridges, closing], 1.0), Complete)


def test_the_newest_end_without_any_read() -> None:
    rows = listed(6, step=5)
    decision = missing(decide([page(0, rows, 2, 3), page(1, rows, 3, 3)], ALLOWED_LATENESS))
    assert decision.head
    assert decision.tail
    assert decision.gaps == ()
    assert "oldest end" in decision.reason


def test_rows_that_had_not_settled_are_a_seam_until_read_again() -> None:
    rows = listed(9)
    low, head = page(0, rows, 4, 6), page(1, rows, 0, 6)
    assert missing(decide([low, head], ALLOWED_LATENESS)).gaps == (Gap(head, low),)
    again = page(2, rows, 4, 6)
    assert isinstance(decide([head, again, page(3, rows, 0, 6)], ALLOWED_LATENESS), Complete)


def test_a_read_that_reaches_nothing_is_no_seam() -> None:
    rows = listed(12)
    low = page(0, rows, 8, 8)
    inside = page(1, rows, 10, 1)
    head = page(2, rows, 0, 10)
    decision = missing(decide([low, inside, head], 9.0))
    assert Gap(head, inside) not in decision.gaps


def one_second(ids: Sequence[int]) -> list[Read]:
    """Forty rows of one second between newer and older ones, on pages that share one row."""
    rows = [(900, 5000), *((i, 1000) for i in ids), (901, 10)]
    reads = [page(0, rows, 0, 21), page(1, rows, 20, 21), page(2, rows, 40, 21)]
    return [*reads, page(3, rows, 0, 21)]


@pytest.mark.parametrize("ids", [range(100, 140), range(140, 100, -1)])
def test_inside_one_second_ids_lead_on_where_they_are_seen_in_order(ids: range) -> None:
    decision = decide(one_second(ids), ALLOWED_LATENESS)
    assert isinstance(decision, Complete)
    assert decision.rule == "link"


def test_inside_one_second_with_ids_in_order_a_bridge_will_do() -> None:
    head, _, low, closing = one_second(range(100, 140))
    assert missing(decide([head, low, closing], ALLOWED_LATENESS)).gaps == (Gap(closing, low),)


def test_inside_one_second_nothing_leads_on_where_ids_are_in_no_order() -> None:
    ids = [*range(100, 120), *range(140, 120, -1)]
    decision = decide(one_second(ids), ALLOWED_LATENESS)
    assert isinstance(decision, Unprovable)
    assert "the same second" in decision.reason


def test_a_few_ties_in_order_are_no_rule() -> None:
    def ties(length: int) -> int:
        reads = [read(0, 0, length, [(i, 5) for i in range(length)] + [(99, 4)])]
        return possible_orders(reads)[0].ties

    assert ties(ENOUGH_TIES) == 0
    assert ties(ENOUGH_TIES + 1) == 1


def test_what_no_answer_contradicts_may_be_the_order() -> None:
    falling, rising = Order(False, descending=True), Order(False, descending=False)
    alone = read(0, 0, 1, [(1, 5)], created=[])
    assert possible_orders([alone]) == [falling, rising]
    assert possible_orders([alone, read(1, 1, 2, [(2, 4), (3, 3)], created=[])]) == [falling]
    both = possible_orders([read(0, 0, 2, [(2, 4), (3, 3)], created=[8, 9])])
    assert both == [falling, Order(True, descending=False)]


def test_by_create_time_nothing_has_to_settle() -> None:
    rows = [(1, 10, 9), (2, 50, 8), (3, 10, 7), (4, 60, 6), (5, 20, 5)]

    def taken(tick: int, offset: int, size: int) -> Read:
        some = rows[offset : offset + size]
        pairs = [(i, updated) for i, updated, _ in some]
        return read(tick, offset, size, pairs, total=5, created=[time for _, _, time in some])

    decision = decide(
        [taken(0, 3, 3), taken(1, 2, 3), taken(2, 1, 3), taken(3, 0, 4)], ALLOWED_LATENESS
    )
    assert isinstance(decision, Complete)
    assert decision.rule == "link"


def test_horizons_look_back_only() -> None:
    rows = listed(4)
    early, head = page(0, rows, 2, 2), page(1, rows, 0, 2)
    late, empty = page(2, rows, 2, 2), page(0, rows, 4, 2)
    assert horizons([late, early, head, empty], 1.5) == [998, 996, 998, -inf]


def test_a_million_rows_decide_in_near_linear_time() -> None:
    """Ten thousand reads; a quadratic walk would take minutes."""
    some = [
        read(tick, 3 * tick, 4, [(3 * tick + i, -3 * tick - i) for i in range(4)])
        for tick in range(10_000)
    ]
    assert timeit.timeit(lambda: decide(some, ALLOWED_LATENESS), number=1) < 5


# Only what is newer than a time


def test_one_answer_that_goes_on_below_is_all_that_is_wanted() -> None:
    head = page(0, listed(20), 0, 5)  # from 1000 down to 996
    for down_to, rule in ((998, "single page"), (997, "single page"), (996, None)):
        decision = decide([head], ALLOWED_LATENESS, down_to=down_to)
        assert (decision.rule if isinstance(decision, Complete) else None) == rule
        assert covers([head], down_to) is (rule is not None)
    middle = page(0, listed(20), 5, 5)
    assert not isinstance(decide([middle], ALLOWED_LATENESS, down_to=998), Complete)
    assert not covers([middle], 998)


def test_links_need_lead_no_further_down_than_wanted() -> None:
    rows = listed(40)
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6, 9))]
    closing = page(9, rows, 0, 5)
    decision = decide([*reads, closing], ALLOWED_LATENESS, down_to=988)
    assert isinstance(decision, Complete)
    assert decision.rule == "link"
    assert missing(decide([*reads, closing], ALLOWED_LATENESS, down_to=987)).tail
    assert covers(reads, 988)
    assert not covers(reads, 987)
    assert not covers(reads)


def test_what_covers_need_not_have_settled() -> None:
    rows = [(place + 1, 1000 - place // 3) for place in range(40)]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 2, 5, 8))]
    assert missing(decide([*reads, page(9, rows, 0, 5)], ALLOWED_LATENESS, down_to=997)).gaps
    assert not covers(reads[:2], 998)
    assert covers(reads, 997)


def test_what_covers_begins_with_the_newest_end_and_has_no_gap() -> None:
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


def test_only_lists_that_are_newest_first_are_covered() -> None:
    rows = listed(12)[::-1]
    reads = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 9, 3, 6))]
    assert not covers(reads)
    assert not covers(reads, 990)
    assert isinstance(decide([reads[2]], ALLOWED_LATENESS, down_to=990), Unprovable)
