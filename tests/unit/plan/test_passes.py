"""One pass over a list: the last page, all between, page 1 again; nothing of it outlives it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from dp_async._plan.evidence import Evidence
from dp_async._plan.page_ref import PageRef, around
from dp_async._plan.passes import LAST_PAGE_TRIES, Pass
from dp_async._plan.stage import Stage
from tests.unit.plan.scripted_list import (
    List,
    crawl,
    drive,
    evidence_of,
    inserting,
    rows,
    rows_at,
    take,
    touching,
)

FIRST = PageRef(1, 5)


def begun(served: List, **changes: Any) -> Evidence:
    """The evidence once page 1 was read."""
    evidence = evidence_of(**changes)
    take(evidence, FIRST, served(FIRST))
    return evidence


def one_pass(served: List, **changes: Any) -> tuple[list[PageRef], Pass, Evidence]:
    """The pages of one pass after page 1 was read."""
    evidence = begun(served, **changes)
    current = Pass(evidence, 5)
    return drive(evidence, current.stages(), served), current, evidence


def planned(stage: Stage) -> PageRef:
    """The next page of *stage*, which has one."""
    ref = stage.next()
    assert ref is not None
    return ref


@pytest.mark.parametrize(
    ("length", "refs"),
    [
        (5, [(2, 5), (1, 5)]),
        (7, [(2, 5), (1, 5)]),
        (12, [(3, 5), (2, 5), (1, 5)]),
        (15, [(4, 5), (2, 5), (3, 5), (1, 5)]),
    ],
)
def test_the_last_page_then_all_between_then_page_1_again(
    length: int, refs: list[tuple[int, int]]
) -> None:
    requested, current, evidence = one_pass(List(rows(length)))
    assert requested == refs
    assert not current.drifted()
    assert not current.overlapping
    assert evidence.drift.times == 0


def test_the_last_page_is_deferred_and_page_1_again_comes_after_the_pass() -> None:
    served = List(rows(12))
    evidence = begun(served)
    flags: list[tuple[PageRef, bool, bool]] = []
    for stage in Pass(evidence, 5).stages():
        refs = drive(evidence, [stage], served)
        flags += [(ref, ref in stage.deferred, stage.after_pass) for ref in refs]
    assert flags == [
        ((3, 5), True, False),
        ((2, 5), False, False),
        ((1, 5), False, True),
    ]


def test_the_pages_before_a_pass_are_not_read_again() -> None:
    served = List(rows(32))
    evidence = begun(served)
    refs = drive(evidence, Pass(evidence, 20).stages(), served)
    assert refs == [(7, 5), (5, 5), (6, 5), (1, 5)]


def test_a_total_that_is_too_small_costs_a_few_tries_for_the_last_page() -> None:
    refs, _, _ = one_pass(List(rows(37), total=12, last=False), overlap=0)
    assert refs[:LAST_PAGE_TRIES] == [(3, 5), (4, 5), (5, 5)]
    assert refs[LAST_PAGE_TRIES:-1] == [(num, 5) for num in range(2, 9)]
    refs, _, _ = one_pass(List(rows(17), total=7, last=False), overlap=0)
    assert refs[:-1] == [(num, 5) for num in (2, 3, 4, 2, 3)]


def test_a_limit_ends_a_pass_without_page_1() -> None:
    refs, _, _ = one_pass(List(rows(32)), limit=12)
    assert refs == [(7, 5), (2, 5)]  # 12 rows


def test_from_the_first_drift_on_pages_overlap_and_boundaries_are_read_once_more() -> None:
    served = List(rows(40), before=touching(39, 4))
    refs, current, evidence = one_pass(served)
    assert current.drifted()
    assert current.overlapping
    plain, overlapping = refs[:3], refs[3:]
    assert plain == [(9, 5), (2, 5), (3, 5)]
    assert overlapping[-1] == (1, 20)
    covered = sorted(overlapping[:-1])
    for boundary in (5, 10, 15):
        assert any(ref.start < boundary < ref.end for ref in covered)
    assert {row for ref in refs for row in range(ref.start, ref.end)} >= set(range(5, 40))
    assert set(range(1, 41)) == set(evidence.seen.ids)


def test_repairs_are_deferred_and_other_pages_are_not() -> None:
    served = List(rows(32))
    evidence = begun(served)
    stages = Pass(evidence, 5).stages()
    drive(evidence, [next(stages)], served)
    between = next(stages)
    plain = [planned(between), planned(between)]
    evidence.drift.times += 1
    repairs = [planned(between), planned(between)]
    following = [planned(between), planned(between)]
    assert plain == [(2, 5), (3, 5)]
    assert repairs == [around(10, 5), around(5, 5)]
    assert following == [(4, 4), (4, 5)]
    assert all(ref in between.deferred for ref in repairs)
    assert not any(ref in between.deferred for ref in plain + following)


def test_many_boundaries_are_read_once_more_by_wide_pages() -> None:
    """A wide page 1 tells how wide; the pass goes on while its answer is awaited."""
    served = List(rows(300), largest=40, before=touching(280, 25))
    evidence = evidence_of(10)
    take(evidence, PageRef(1, 10), served(PageRef(1, 10)))
    stages = Pass(evidence, 10).stages()
    drive(evidence, [next(stages)], served)  # the last page
    stage = next(stages)
    for _ in range(24):
        take(evidence, ref := planned(stage), served(ref), stage)
    probe, below = planned(stage), planned(stage)
    assert (probe, probe in stage.deferred) == ((1, 40), True)
    assert below.start < 250 < below.end
    take(evidence, probe, served(probe), stage)
    joining = planned(stage)
    assert joining in stage.deferred
    assert 20 < joining.size <= 40
    assert joining.start < 230 < 240 < joining.end
    take(evidence, joining, served(joining), stage)
    drive(evidence, [stage, *stages], served)
    assert len(evidence.reads) < 30 + 20


def test_with_a_limit_no_boundary_is_read_by_a_wide_page() -> None:
    served = List(rows(300), largest=40, before=touching(280, 25))
    evidence = evidence_of(10, limit=280)
    take(evidence, PageRef(1, 10), served(PageRef(1, 10)))
    refs = drive(evidence, Pass(evidence, 10).stages(), served)
    assert evidence.drifted
    assert len(refs) > 30
    assert max(ref.size for ref in refs) == 10


def test_drift_before_a_pass_does_not_count_for_it() -> None:
    served = List(rows(12))
    evidence = begun(served)
    evidence.drift.times = 3
    assert not Pass(evidence, 5, drifts=3).drifted()
    assert Pass(evidence, 5, drifts=2).drifted()
    refs = drive(evidence, Pass(evidence, 5, drifts=3).stages(), served)
    assert refs == [(3, 5), (2, 5), (1, 5)]
    refs = drive(evidence, Pass(evidence, 5, drifts=2).stages(), served)
    assert refs == [(2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (1, 20)]


def test_page_1_that_changed_is_drift() -> None:
    served = List(rows(12))
    served.begin(lambda served, answer: served.touch(4) if answer == 3 else None)
    refs, current, evidence = one_pass(served)
    assert refs == [(3, 5), (2, 5), (1, 5)]
    assert current.drifted()
    assert evidence.drift.times == 1


def test_an_overlap_of_0_stays_0() -> None:
    refs, current, _ = one_pass(List(rows(22), before=inserting(1, 2)), overlap=0)
    assert current.drifted()
    assert not current.overlapping
    assert refs == [(5, 5), (2, 5), (3, 5), (4, 5), (1, 20)]


@pytest.mark.parametrize(
    ("apart", "ascending", "again"),
    [
        (600, False, [around(7, 5)]),  # page 2 shows the time, and a row was inserted above it
        (600, True, [around(15, 5)]),
        (1, False, []),  # below all rows: the last page is read last
        (1, True, [FIRST]),
    ],
)
def test_the_page_an_hour_below_the_newest_row_is_read_again(
    apart: int, ascending: bool, again: list[PageRef]
) -> None:
    newest_first = [(22 - place, 100_000 - apart * place) for place in range(22)]
    served = List(newest_first[::-1] if ascending else newest_first)

    def write(served: List, answer: int) -> None:
        if answer == 2:
            served.rows.insert(len(served.rows) if ascending else 0, (99, 100_001))

    served.before = write
    evidence = begun(served, overlap=0)
    evidence.decide()
    refs = drive(evidence, Pass(evidence, 5).stages(), served)
    assert refs[:4] == [(5, 5), (2, 5), (3, 5), (4, 5)]
    # Where the newest end is the last page, page 1 tells how wide it may be read.
    assert refs[4:-1] == [PageRef(1, 20)] * ascending + again


def test_rows_without_times_show_no_hour() -> None:
    served = List(rows(22), timed=False, before=inserting(1, 2))
    refs, _, _ = one_pass(served, overlap=0)
    assert refs == [(5, 5), (2, 5), (3, 5), (4, 5), (1, 20)]


def test_a_chosen_overlap_holds_from_the_start() -> None:
    served = List(rows(22))
    refs, current, _ = one_pass(served, overlap=2)
    assert refs[-1] == FIRST
    for above, below in pairwise([FIRST, *refs[:-1]]):
        assert above.end - below.start >= 1
    assert current.overlapping
    assert not current.drifted()  # rows that come again are meant to


def test_a_short_page_ends_a_pass_that_found_no_last_page() -> None:
    def shrink(served: List, answer: int) -> None:
        if answer == 5:
            served.drop(17, 99)

    served = List(rows(60), total=12, last=False, before=shrink)
    refs, _, _ = one_pass(served, overlap=0)
    assert refs[:-1] == [(num, 5) for num in (3, 4, 5, 2, 3, 4)]


# What a pass knows does not reach the next one


def test_a_pass_begins_without_what_the_one_before_knew() -> None:
    served = List(rows(32))
    evidence = begun(served)
    first = Pass(evidence, 20)
    stages = first.stages()
    drive(evidence, [next(stages)], served)
    between = next(stages)
    evidence.drift.times += 1
    assert planned(between) in between.deferred  # and two more boundaries wait to be read
    assert first.overlapping

    evidence.passes += 1
    second = Pass(evidence, 5, evidence.drift.times)
    assert not second.overlapping
    assert not second.drifted()
    stages = second.stages()
    drive(evidence, [next(stages)], served)
    between = next(stages)
    assert drive(evidence, [between], served) == [(num, 5) for num in (2, 3, 4, 5, 6)]
    assert not between.deferred


def test_links_of_one_pass_cause_no_repairs_in_the_next() -> None:
    """The last pass reads pages that overlapped in an earlier one and now show other rows."""

    def change(served: List, answer: int) -> None:
        if answer == 2:
            served.touch(18)
        elif answer == 10:
            served.insert(6)

    done = crawl(List(rows_at(*[100_000, 99_000] * 11), before=change), max_passes=5)
    assert done.walk.evidence.passes == 2
    assert done.refs.count(PageRef(7, 3)) == 1
    last = done.results[-7:]
    assert [result.ref for result in last] == [(num, 5) for num in (1, 6, 2, 3, 4, 5, 1)]
    assert [result.ref.num for result in last if result.deferred] == [6]
