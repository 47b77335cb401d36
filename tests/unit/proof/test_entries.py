"""Rows that enter elsewhere than at the newest end: what totals and places show of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from dp_async._proof.assumptions import Assumptions
from dp_async._proof.certificate import HIDDEN, decide
from dp_async._proof.decision import Broken, Complete
from dp_async._proof.entries import Entries, Push, gained, pushed
from dp_async._proof.reads import horizons
from dp_async._proof.steps import finished

from .lists import ALLOWED_LATENESS, listed, page, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def hidden(reads: Sequence[Read], bounds: Sequence[float] = (), *, linked: bool = True) -> bool:
    entries = Entries()
    for place, one in enumerate(reads):
        for other in reads[:place]:
            entries.compare(other, one, 1000 - ALLOWED_LATENESS)
    bounds = bounds or horizons(reads, ALLOWED_LATENESS)
    return finished(entries.hidden(reads, bounds, linked=linked))


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
    turns = turns if by == "totals" else [replace(one, total=40) for one in turns]
    assert hidden([*before, *turns, page(6, new, 0, 10)])
    assert not hidden([*before, *turns[:2], page(6, new, 0, 10)])


def test_what_entered_after_a_read_is_as_new_as_its_horizon() -> None:
    """The server's clock went on, so the row that is shown had entered before; another did not."""
    new = entered(NEW)
    older = entered((98, OLD[1]), new)
    reads = [page(0, ROWS, 0, 10), page(1, new, 0, 10), page(2, new, 10, 10)]
    reads += [page(3, older, 20, 10), page(4, older, 0, 10)]
    assert not hidden([*reads[:3], reads[4]], [998, 999, 1004, 1004])
    assert hidden(reads, [998, 999, 1004, 1004, 1004])
    assert not hidden(reads[:-1], [998, 999, 1004, 1004])  # the newest end was not read since


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
    reads = [page(0, rows, 0, 10), replace(page(1, busy, 0, 16), total=60), page(2, busy, 0, 16)]
    assert hidden(reads) is is_hidden


def test_a_list_sorted_oldest_first_pushes_no_row_down() -> None:
    rows, old = ROWS[::-1], entered(OLD)[::-1]
    reads = [page(0, rows, 0, 10), page(1, rows, 10, 15)]
    assert not hidden([*reads, page(2, left(3, rows), 10, 15)])
    assert not hidden([*reads, page(2, rows, 10, 15)])
    assert hidden([*reads, page(2, entered((5, 894))[::-1], 10, 15)])
    assert hidden([*reads, page(2, old, 10, 15)])


def test_places_are_compared_where_the_time_changes() -> None:
    first, second = page(0, ROWS, 5, 10), page(1, entered(NEW), 5, 10)
    assert pushed(first, second, 1000) == 1
    assert pushed(first, second, 925) == 0  # too young
    assert pushed(first, replace(second, size=11), 1000) == 0  # maybe cut
    assert pushed(first, page(1, [*[NEW] * 10, *ROWS], 5, 10), 1000) == 0  # another page
    same = [(row, 500) for row, _ in ROWS]
    assert pushed(page(0, same, 5, 10), page(1, same, 4, 10), 1000) == 0


@pytest.mark.parametrize("rising", [False, True])
def test_rows_of_one_time_may_change_places(rising: bool) -> None:
    ties = [(row, time + -time % 10) for row, time in ROWS]
    swapped = [ties[place ^ 1] for place in range(40)]
    new = (99, 800) if rising else NEW
    lists = [ties, swapped, entered(new, ties), entered(new, swapped)]
    first, *others = [
        page(tick, rows[::-1] if rising else rows, 5, 10) for tick, rows in enumerate(lists)
    ]
    assert [pushed(first, second, 1000) for second in others] == [0, 1, 1]


def test_before_page_1_no_row_stands() -> None:
    """A row that enters at the oldest end of an ascending list is seen on page 1."""
    rows = ROWS[::-1]
    first, second = page(0, rows, 0, 10), page(1, entered((99, 3))[::-1], 0, 10)
    assert pushed(first, second, 1000) == 1
    assert pushed(page(0, rows, 0, 1), page(1, entered((99, 3))[::-1], 0, 3), 1000) == 1


def test_intervals_that_do_not_overlap_add_up() -> None:
    reads = [page(tick, ROWS, 0, 3) for tick in range(5)]
    totals = [
        replace(one, total=total) for one, total in zip(reads, (40, 42, 41, 43, 42), strict=True)
    ]
    assert list(finished(gained(totals, ())).values()) == [0, 0, 2, 2, 4]
    pushes = [Push(reads[0], reads[2], 3), Push(reads[1], reads[2], 1), Push(reads[2], reads[4], 2)]
    assert list(finished(gained(reads, pushes)).values()) == [0, 0, 2, 3, 5]
    wrong = [replace(one, total=2) if one is totals[3] else one for one in totals]
    assert list(finished(gained(wrong, ())).values()) == [0, 0, 1, 1, 3]
    late = [replace(one, sent=0) for one in totals]  # all were under way at once
    assert list(finished(gained(late, ())).values()) == [0, 0, 0, 0, 0]


SHOWN: dict[str, tuple[Callable[[int, int], int] | None, bool]] = {
    "no row was updated": (None, False),
    "not sorted by create time": (lambda row, time: row % 3, False),
    "maybe sorted by create time": (lambda row, time: time - 1, True),  # it may enter anywhere
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_list_that_hides_entries_is_not_complete(name: str) -> None:
    created, is_complete = SHOWN[name]
    grown = entered((99, ROWS[24][1] + 1))  # where no page was read before
    places = [(ROWS, 0), (ROWS, 8), (grown, 17), (grown, 25), (grown, 33), (grown, 0)]
    reads = [
        read(
            tick,
            offset,
            12,
            part,
            total=len(rows),
            created=created and [created(*row) for row in part],
        )
        for tick, (rows, offset) in enumerate(places)
        for part in [rows[offset : offset + 12]]
    ]
    assumptions = Assumptions(ALLOWED_LATENESS)
    for one in reads:
        finished(assumptions.add(one))
    decision = decide(reads, ALLOWED_LATENESS, None, seen=assumptions)
    assert isinstance(decision, Complete) if is_complete else decision == Broken(HIDDEN)
    assert isinstance(
        decide(reads, ALLOWED_LATENESS, None, seen=Assumptions(ALLOWED_LATENESS)), Complete
    )


@pytest.mark.parametrize(
    ("offset", "size", "total", "is_hidden"),
    [
        (8, 8, 0, False),  # the rows go on after its total
        (35, 8, 10_000, False),  # they end before it
        (8, 8, 25, True),
    ],
)
def test_a_total_that_the_rows_of_its_answer_contradict_tells_nothing(
    offset: int, size: int, total: int, is_hidden: bool
) -> None:
    odd = replace(page(1, ROWS, offset, size), total=total)
    reads = [page(0, ROWS, 0, 8), odd, page(2, ROWS, 8, 8), page(3, ROWS, 0, 8)]
    assert hidden(reads) is is_hidden


@pytest.mark.parametrize(("size", "is_hidden"), [(4, False), (12, True)])
def test_what_the_newest_end_does_not_reach_hides_nothing_of_reads_that_are_not_linked(
    size: int, *, is_hidden: bool
) -> None:
    imported = [(100 + number, 1002 - (number > 0)) for number in range(15)]
    short, grown = [*imported[:5], *ROWS], [*imported, *ROWS]
    reads = [page(0, ROWS, 0, 12), page(1, grown, 30, 12), page(2, short, 0, size)]
    assert hidden(reads, linked=True)
    assert hidden(reads, linked=False) is is_hidden


def test_a_list_in_no_order_by_time_shows_no_entries() -> None:
    mixed = [(1, 5), (2, 9), (3, 1)]
    assumptions = Assumptions(ALLOWED_LATENESS)
    for tick in range(3):
        finished(assumptions.add(read(tick, 0, 3, mixed, total=3 + tick)))
    assert not finished(assumptions.hides_entries([], [], linked=True))
