"""Rows that enter elsewhere than at the newest end: what totals and places show of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dp_async._proof.assumptions import Assumptions
from dp_async._proof.certificate import HIDDEN, decide
from dp_async._proof.decision import Broken, Complete
from dp_async._proof.entries import Entries, Peaks, pushed

from .lists import ALLOWED_LATENESS, listed, page, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dp_async._proof.reads import Read

ROWS = listed(40, apart=5)
NEW = (99, 1001)
OLD = (99, ROWS[20][1] + 1)  # the row 20 gets the place 21


def entered(row: tuple[int, int], rows: Sequence[tuple[int, int]] = ROWS) -> list[tuple[int, int]]:
    """The list after *row* entered, or moved to where its time belongs."""
    kept = [old for old in rows if old[0] != row[0]]
    return sorted([*kept, row], key=lambda old: -old[1])


def left(place: int, rows: Sequence[tuple[int, int]] = ROWS) -> list[tuple[int, int]]:
    return [*rows[:place], *rows[place + 1 :]]


def hidden(reads: Sequence[Read], order: Sequence[int] = ()) -> bool:
    entries = Entries(ALLOWED_LATENESS)
    found: list[Read] = []
    for one in [reads[place] for place in order] or reads:
        for other in found:
            if other.answered < one.sent:
                entries.compare(other, one, 1000)
        entries.add(one)
        found.append(one)
    return entries.are_hidden


LISTS: dict[str, tuple[list[list[tuple[int, int]]], bool]] = {
    "nothing": ([ROWS, ROWS, ROWS], False),
    "an insert": ([ROWS, entered(NEW), entered(NEW)], False),
    "an insert with an old time": ([ROWS, entered(OLD), entered(OLD)], True),
    "an update": ([ROWS, entered((35, 1001)), entered((35, 1001))], False),
    "an update with an old time": ([ROWS, entered((35, 899)), entered((35, 899))], True),
    "a deletion": ([ROWS, left(3), left(3)], False),
    "an old time, then a deletion": ([ROWS, entered(OLD), left(3, entered(OLD))], True),
    "a new row that is shown and deleted again": ([ROWS, entered(NEW), ROWS], False),
    "an update of a row that was new": (
        [ROWS, entered(NEW), entered((99, 1003), entered(NEW))],
        False,
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_more_entered_than_the_newest_end_shows(name: str) -> None:
    lists, is_hidden = LISTS[name]
    reads: list[Read] = []
    for rows in lists:
        tick = 3 * len(reads)
        reads += [page(tick + number, rows, offset, 15) for number, offset in enumerate((0, 15))]
        reads.append(page(tick + 2, rows, 0, 15))
    assert hidden(reads) is is_hidden


@pytest.mark.parametrize("by", ["totals", "places"])
def test_answers_that_lag_in_turns_gain_each_time(by: str) -> None:
    """Each of two servers shows the row of a later second: one row cannot enter twice."""
    new = entered(NEW)
    before = [page(0, ROWS, 0, 10), page(1, ROWS, 10, 10)]
    turns = [page(tick, (ROWS, new)[tick % 2], 15, 10) for tick in range(2, 6)]
    entries = Entries(ALLOWED_LATENESS)
    for place, one in enumerate([*before, *turns]):
        if by == "places" and place > 2:
            entries.compare(turns[place - 3], one, 1000)
        entries.add(one if by == "totals" else replace(one, total=40))
        if place == 3:
            entries.add(page(3, new, 0, 10))
            assert not entries.are_hidden
    entries.add(page(6, new, 0, 10))
    assert entries.are_hidden


def test_places_count_alone_if_the_total_stays() -> None:
    old = entered((36, 899))  # from below the rows that are read
    reads = [page(0, ROWS, 0, 10), page(1, ROWS, 18, 10), page(2, old, 18, 10)]
    assert hidden([*reads, page(3, old, 0, 10)])
    assert not hidden(reads)  # what entered since the newest end was read may be there
    before = [page(0, ROWS, 18, 10), page(1, old, 0, 10), page(2, old, 18, 10)]
    assert not hidden([*before, page(3, old, 0, 10)])  # nor what entered before it was read


@pytest.mark.parametrize(("length", "is_hidden"), [(10, False), (40, True)])
def test_numbers_say_nothing_if_half_of_the_list_entered(length: int, is_hidden: bool) -> None:
    rows = ROWS[:length]
    busy = [*[(99 - place, 1012 - place) for place in range(12)], *rows]
    reads = [page(0, rows, 0, 10), replace(page(1, busy, 0, 16), total=90), page(2, busy, 0, 16)]
    assert hidden(reads) is is_hidden


def test_a_list_sorted_oldest_first_pushes_no_row_down() -> None:
    rows, old = ROWS[::-1], entered(OLD)[::-1]
    reads = [page(0, rows, 0, 10), page(1, rows, 10, 15)]
    assert not hidden([*reads, page(2, left(3, rows), 10, 15)])
    assert not hidden([*reads, page(2, rows, 10, 15)])
    assert hidden([*reads, page(2, entered((5, 894))[::-1], 10, 15)])
    assert hidden([*reads, page(2, old, 10, 15)])


def test_rows_that_share_a_second_and_cut_pages_show_no_places() -> None:
    ties = [(row, time - time % 10) for row, time in ROWS]
    first, second = page(0, ROWS, 5, 10), page(1, entered(NEW), 5, 10)
    assert pushed(first, second, 1000) == 1
    assert pushed(first, second, 930) == 0  # too young
    assert pushed(first, replace(second, size=11), 1000) == 0
    assert pushed(page(0, ties, 5, 10), page(1, entered(NEW, ties), 5, 10), 1000) == 0


def test_peaks_are_those_of_the_answers_before() -> None:
    peaks = Peaks()
    reads = [page(tick, ROWS, 0, 3) for tick in range(4)]
    for place, value in ((0, 1.0), (2, 3.0), (1, 2.0)):
        peaks.add(reads[place], value)
    assert [peaks.before(one) for one in reads] == [float("-inf"), 1, 2, 3]
    assert [peaks.until(one) for one in reads] == [1, 2, 3, 3]


@pytest.mark.parametrize("by_create", [False, True])
def test_a_list_that_hides_entries_is_not_complete(by_create: bool) -> None:
    """By create time, a row may enter a filter anywhere."""
    grown = entered((99, ROWS[24][1] + 1))  # where no page was read before
    places = [(ROWS, 0), (ROWS, 8), (grown, 17), (grown, 25), (grown, 33), (grown, 0)]
    reads = [
        read(
            tick,
            offset,
            12,
            part,
            total=len(rows),
            created=None if by_create else [row % 3 for row, _ in part],
        )
        for tick, (rows, offset) in enumerate(places)
        for part in [rows[offset : offset + 12]]
    ]
    assumptions = Assumptions(ALLOWED_LATENESS)
    for one in reads:
        assumptions.add(one)
    decision = decide(reads, ALLOWED_LATENESS, None, seen=assumptions)
    assert isinstance(decision, Complete) if by_create else decision == Broken(HIDDEN)
    assert isinstance(
        decide(reads, ALLOWED_LATENESS, None, seen=Assumptions(ALLOWED_LATENESS)), Complete
    )


def test_a_list_in_no_order_by_time_shows_no_entries() -> None:
    mixed = [(1, 5), (2, 9), (3, 1)]
    assumptions = Assumptions(ALLOWED_LATENESS)
    for tick in range(3):
        assumptions.add(read(tick, 0, 3, mixed, total=3 + tick))
    assert not assumptions.entries_hidden
