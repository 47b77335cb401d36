"""Which pages show only rows that entered since the crawl began."""

from __future__ import annotations

from dp_async._plan.entered import is_new, seconds_above_start
from dp_async._plan.page_ref import PageRef
from tests.unit.plan.scripted_list import List, evidence_of, page, rows, rows_at, take

FIRST = PageRef(1, 5)


def test_a_page_is_new_if_it_ends_above_what_was_there_at_first() -> None:
    served = List(rows_at(100, 90, 80), total=3)
    evidence = evidence_of(allowed_lateness=2.0)
    take(evidence, FIRST, served(FIRST))
    for oldest, seconds in ((97, -1), (98, 0), (101, 3)):
        take(evidence, FIRST, page(rows_at(200, oldest), 1, 5, 3))
        read = evidence.reads[-1]
        assert seconds_above_start(evidence, read) == seconds
        assert is_new(evidence, read) is (seconds >= 0)


def test_without_times_or_newest_last_no_page_is_known_to_be_new() -> None:
    evidence = evidence_of()
    take(evidence, FIRST, List(rows_at(100))(FIRST))
    take(evidence, FIRST, page(rows_at(200, 190), 1, 5, 3))
    timed = evidence.reads[-1]
    assert is_new(evidence, timed)
    take(evidence, FIRST, page(rows(2), 1, 5, 3, timed=False))
    assert not is_new(evidence, evidence.reads[-1])
    evidence.is_ascending = True
    assert is_new(evidence, timed)  # newer than the last page
    evidence.reads = [read for read in evidence.reads if read is timed]
    assert not is_new(evidence, timed)  # before the last page was read
    evidence = evidence_of()
    take(evidence, FIRST, List(rows(3), timed=False)(FIRST))
    assert not is_new(evidence, timed)
