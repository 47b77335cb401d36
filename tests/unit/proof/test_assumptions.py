"""What a few reads show of late rows, of the server's clock, and of rows that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from dp_async._proof.assumptions import Assumptions, Peaks
from dp_async._proof.certificate import decide
from dp_async._proof.decision import Broken, Complete, Missing
from dp_async._proof.steps import finished

from .lists import listed, page, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dp_async._proof.reads import Read

ROWS = listed(20, apart=5)


def seen(*reads: Read) -> Assumptions:
    assumptions = Assumptions(2.0)
    for one in reads:
        finished(assumptions.add(one))
    return assumptions


def with_row(row: int, time: int, rows: Sequence[tuple[int, int]] = ROWS) -> list[tuple[int, int]]:
    """The list after *row* was inserted or updated."""
    kept = [old for old in rows if old[0] != row]
    return sorted([*kept, (row, time)], key=lambda old: -old[1])


@pytest.mark.parametrize(
    ("row", "time", "lateness"),
    [
        (99, 1001, 0),  # at the head
        (99, 978, 22),  # where an earlier read has no such row
        (3, 978, 22),  # a time that goes back
        (99, 970, 0),  # as old as the last row there: it may have been on the next page
        (99, 930, 0),  # below all that was read
    ],
)
def test_a_row_came_after_its_time_where_an_earlier_read_lacks_it(
    row: int, time: int, lateness: int
) -> None:
    first, again = page(0, ROWS, 0, 7), page(1, with_row(row, time), 0, 12)
    assert seen(first, again).lateness == lateness
    assert seen(again, first).lateness == lateness  # answers may be taken in in any order
    assert seen(again, replace(first, sent=3, answered=4)).lateness == 0  # no order: no sign


def test_a_read_below_the_head_shows_what_came_between_its_rows() -> None:
    first, second = page(0, ROWS, 5, 6), page(1, with_row(99, 966), 5, 6)
    assert seen(first, second).lateness == 975 - 966
    assert (
        seen(
            page(0, ROWS, 0, 3),
            replace(first, sent=2, answered=3),
            page(2, with_row(99, 966), 5, 6),
        ).lateness
        == 1000 - 966
    )


def test_a_row_came_after_its_time_if_an_answer_before_has_a_newer_date() -> None:
    first = replace(page(0, ROWS, 0, 5), date=1005)
    head = replace(page(1, ROWS, 0, 5), date=1010)
    later = replace(page(2, with_row(99, 1001), 0, 5), date=1020)
    assert seen(first, head, later).lateness == 1005 - 1001
    assert seen(first, head).lateness == 0


def test_a_date_that_goes_back_is_a_clock_set_back() -> None:
    first = replace(page(0, ROWS, 0, 5), date=1010)
    assert seen(first, replace(page(1, ROWS, 5, 5), date=1004)).lateness == 6
    assert seen(first, replace(page(1, ROWS, 5, 5), date=1011)).lateness == 0


def test_a_date_hours_off_is_of_another_clock() -> None:
    first = replace(page(0, ROWS, 0, 5), date=1010 + 8 * 3600)
    head = replace(page(1, ROWS, 0, 5), date=1011 + 8 * 3600)
    found = seen(first, head, page(2, with_row(99, 1001), 0, 5))
    assert not found.dated
    assert found.lateness == 0


def test_twice_the_lateness_seen_is_needed_if_it_is_more_than_allowed() -> None:
    delayed = seen(page(0, ROWS, 0, 7), page(1, with_row(99, 978), 0, 12))
    assert [delayed.needed(allowed) for allowed in (22.0, 21.0, 30.0)] == [22.0, 44.0, 30.0]


def test_a_row_that_comes_back_as_it_was_is_noticed() -> None:
    without = [row for row in ROWS if row[0] != 3]
    gone = [page(0, ROWS, 0, 7), page(1, without, 0, 7)]
    assert not seen(*gone).returned
    assert not seen(*gone, page(2, with_row(3, 1001), 0, 7)).returned
    assert seen(*gone, page(2, ROWS, 0, 7)).returned
    assert not seen(*gone, replace(page(2, ROWS, 0, 7), sent=2)).returned


def test_reads_that_tell_nothing() -> None:
    """Rows without times, rows in no order, and pages with bad rows, which may be the ones."""
    unsorted = read(0, 0, 3, [(1, 5), (2, 9), (3, 7)])
    bad = read(1, 0, 8, ROWS[:7], bad=1)
    none = read(2, 0, 3, [], bad=3)
    found = seen(bad, none, page(3, with_row(99, 978), 0, 12))
    assert (found.lateness, found.returned) == (0, False)
    delayed = [page(0, ROWS, 0, 7), page(3, with_row(99, 978), 0, 12), page(4, ROWS, 0, 7)]
    delayed.append(page(5, with_row(99, 978), 0, 12))
    assert (seen(*delayed).lateness, seen(*delayed).returned) == (22, True)
    assert (seen(*delayed, unsorted).lateness, seen(*delayed, unsorted).returned) == (0, False)


# What the certificate makes of it


def crawl(rows: Sequence[tuple[int, int]]) -> list[Read]:
    return [page(tick, rows, offset, 8) for tick, offset in enumerate((0, 14, 10, 5, 0))]


def test_a_proof_has_to_bear_the_lateness_that_was_seen() -> None:
    reads = crawl(ROWS)
    found = seen(*reads)
    decision = decide(reads, 2.0, seen=found)
    assert isinstance(decision, Complete)
    delayed = page(5, with_row(99, 968), 0, 8)
    finished(found.add(delayed))
    assert found.lateness == 32
    decision = decide(reads, 2.0, seen=found)
    assert isinstance(decision, Missing)
    assert "32 s after the time that they carry" in decision.reason
    wide = listed(20, apart=50)
    assert isinstance(decide(crawl(wide), 2.0, seen=found), Complete)


def test_nothing_is_proven_once_a_row_came_back() -> None:
    reads = crawl(ROWS)
    found = seen(*reads, page(5, [row for row in ROWS if row[0] != 3], 0, 8), page(6, ROWS, 0, 8))
    decision = decide(reads, 2.0, seen=found)
    assert isinstance(decision, Broken)
    assert "replica" in decision.reason
    # By create time, update times say nothing of the places of rows.
    by_create = [replace(one, by_create=replace(one.by_create)) for one in reads if one.by_create]
    assert isinstance(decide(by_create, 2.0, seen=found), Complete)
    assert isinstance(decide([page(0, ROWS, 0, 30)], 2.0, seen=found), Complete)


def test_peaks_are_those_of_the_answers_before() -> None:
    peaks = Peaks()
    reads = [page(tick, listed(3), 0, 3) for tick in range(5)]
    for place, value in ((0, 1.0), (2, 3.0), (3, 0.0), (1, 2.0)):
        peaks.add(reads[place], value)
    assert [peaks.before(one) for one in reads] == [float("-inf"), 1, 2, 3, 3]
    peaks = Peaks()
    for place, value in ((1, 1.0), (2, 2.0), (0, 1.5)):
        peaks.add(reads[place], value)
    assert [peaks.before(one) for one in reads[:4]] == [float("-inf"), 1.5, 1.5, 2]


def test_a_wide_page_is_compared_in_several_steps() -> None:
    rows = listed(4000)
    assumptions = Assumptions(2.0)
    for tick in range(4):
        finished(assumptions.add(page(tick, rows, 0, 100)))
    narrow, wide = page(8, rows, 0, 100), page(9, rows, 0, 1900)
    assert len(list(assumptions.add(narrow))) == 0
    assert len(list(assumptions.add(wide))) == 5  # one for each of the others
