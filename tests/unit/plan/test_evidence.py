"""What follows from the answers of one crawl: size, totals, drift, the newest end, the decision."""

from __future__ import annotations

from array import array

import pytest
from msgspec import structs

from dp_async import PaginationError, Watermark
from dp_async._page.reader import Rows
from dp_async._plan.evidence import WIDER, WIDEST, Evidence
from dp_async._plan.page_ref import PageRef, at_end
from dp_async._plan.stage import Stage, each
from dp_async._proof.decision import Complete, Missing
from tests.unit.plan.scripted_list import (
    PLAIN,
    SCOPE,
    List,
    evidence_of,
    page,
    rows,
    rows_at,
    take,
)

MARK = Watermark.at(SCOPE, 99_995, [], compared=99_993, recent=0)
ASCENDING = Missing((), head=False, tail=False, descending=False, reason="")
DESCENDING = structs.replace(ASCENDING, descending=True)

FIRST, SECOND = PageRef(1, 5), PageRef(2, 5)


def fed(evidence: Evidence, served: List, *refs: tuple[int, int]) -> Evidence:
    """*evidence* once *served* has answered the requests *refs*."""
    for ref in refs:
        take(evidence, PageRef(*ref), served(PageRef(*ref)))
    return evidence


# Taking answers in


@pytest.mark.parametrize(
    ("limit", "after", "size"),
    [
        (None, None, 5),
        (0, None, 1),
        (3, None, 3),
        (9, None, 5),
        (3, MARK, 5),  # known rows may come first
        (3, Watermark.start(SCOPE), 3),  # all rows are new
    ],
)
def test_pages_are_no_larger_than_the_limit(
    limit: int | None, after: Watermark | None, size: int
) -> None:
    assert evidence_of(5, after, limit=limit).size == size


def test_a_read_has_the_place_its_answer_names() -> None:
    read = evidence_of().read(PageRef(3, 5), 7, 8, page(rows(4), 3, 5, 14))
    assert (read.sent, read.answered) == (7, 8)
    assert (read.offset, read.size, read.count, read.total) == (10, 5, 4, 14)
    assert list(read.ids) == [1, 2, 3, 4]


def test_a_read_has_the_clocks_counted_as_the_times_of_rows_are() -> None:
    answer, eight_hours = page(rows(4), 1, 5, 14), 8 * 3600
    read = evidence_of().read(FIRST, 0, 1, answer, 1000.0, 1000.0)
    assert (read.date, read.now) == (1000.0 + eight_hours, 1000.0 + eight_hours)
    read = evidence_of().read(FIRST, 0, 1, answer, None, 1000.5)
    assert (read.date, read.now) == (None, 1000.5 + eight_hours)


def test_without_an_echoed_size_the_requested_one_counts() -> None:
    answer = page(rows(5), 3, 5, 30)
    answer = structs.replace(answer, page=structs.replace(answer.page, size=0))
    evidence = evidence_of()
    read = take(evidence, PageRef(3, 5), answer, each((), sets_size=True))
    assert (read.offset, read.size) == (10, 5)
    assert evidence.size == 5


def test_a_list_that_is_not_newest_first_is_refused_after_a_watermark() -> None:
    answer = page(rows_at(99_990, 99_996), 1, 5, 30)
    evidence_of().read(FIRST, 0, 1, answer)
    with pytest.raises(PaginationError, match="not sorted newest first"):
        evidence_of(5, MARK).read(FIRST, 0, 1, answer)


def test_totals() -> None:
    evidence = evidence_of()
    assert (evidence.total, evidence.first_total, evidence.most, evidence.passes) == (0, 0, 0, 0)
    for total, most, times in ((30, 30, 0), (30, 30, 0), (28, 30, 1), (33, 33, 2)):
        take(evidence, FIRST, page([], 1, 5, total))
        assert (evidence.total, evidence.most) == (total, most)
        assert evidence.drift.times == times
    assert evidence.first_total == 30
    assert evidence.passes == 1


@pytest.mark.parametrize(
    ("passes", "stage", "drift"),
    [
        (1, PLAIN, 1),
        (2, PLAIN, 0),
        (1, each((), after_pass=True), 0),
        (1, each((), shares_rows=True), 0),
        (1, each((), deferred=True, sets_size=True), 1),
    ],
)
def test_a_row_that_comes_again_is_drift_where_pages_share_none(
    passes: int, stage: Stage, drift: int
) -> None:
    evidence = fed(evidence_of(), List(rows(30)), (1, 5))
    evidence.passes = passes
    take(evidence, SECOND, page(rows(5), 2, 5, 30), stage)
    assert evidence.drift.times == drift


def test_the_size_is_echoed_by_the_pages_that_set_it() -> None:
    sets_size = each((), sets_size=True)
    evidence = evidence_of(10)
    for ref, stage in ((PageRef(1, 10), PLAIN), (PageRef(1, 9), sets_size)):
        take(evidence, ref, page(rows(4), 1, 4, 30), stage)
        assert evidence.size == 10
    take(evidence, PageRef(1, 10), page(rows(4), 1, 4, 30), sets_size)
    assert evidence.size == 4


@pytest.mark.parametrize(
    ("shown", "total", "last", "most"),
    [
        (5, 30, False, 30),
        (5, 4, True, 10),
        (5, 4, False, 11),  # full, and not the last
        (4, 4, False, 9),
        (0, 4, True, 5),
    ],
)
def test_the_rows_seen_count_more_than_a_total(
    shown: int, total: int, last: bool, most: int
) -> None:
    answer = page(rows(shown), 2, 5, total)
    evidence = evidence_of()
    take(evidence, SECOND, structs.replace(answer, page=structs.replace(answer.page, last=last)))
    assert evidence.most == most


def test_the_largest_page_is_what_the_server_gave_for_a_larger_one() -> None:
    for largest, gave, is_largest in ((100, 20, False), (12, 12, True), (5, 5, True)):
        served = List(rows(90), largest=largest)
        evidence = fed(evidence_of(), served, (1, 5), (2, 5))
        assert (evidence.largest, evidence.is_largest) == (0, False)
        fed(evidence, served, (1, 20))
        assert (evidence.largest, evidence.is_largest) == (gave, is_largest)
        fed(evidence, served, (1, 5))
        assert (evidence.largest, evidence.is_largest) == (gave, is_largest)
    served.largest = 100
    fed(evidence, served, (1, 20))
    assert (evidence.largest, evidence.is_largest) == (20, True)


def created(answer: Rows[int], *times: int) -> Rows[int]:
    return structs.replace(answer, created=array("q", times))


@pytest.mark.parametrize(
    ("times", "wanted"),
    [((3, 2, 2, 1), True), ((1, 2, 2, 3), True), ((2, 3, 1, 1), False), ((), True)],
)
def test_create_times_are_wanted_until_the_list_is_not_sorted_by_them(
    times: tuple[int, ...], wanted: bool
) -> None:
    evidence = evidence_of()
    take(evidence, FIRST, created(page(rows(4), 1, 5, 30), *times))
    assert evidence.wants_created is wanted
    take(evidence, SECOND, created(page(rows(3), 2, 5, 30), 3, 2, 1))
    assert evidence.wants_created is wanted


def test_an_answer_that_is_not_verified_leaves_no_read() -> None:
    evidence = evidence_of(verify=False)
    evidence.learn(FIRST, page(rows(5), 1, 5, 30), None, 0, PLAIN)
    assert evidence.reads == []
    assert (evidence.total, evidence.passes) == (30, 1)


# What follows


def test_the_certificate_decides_over_all_reads() -> None:
    served = List(rows(12))
    evidence = fed(evidence_of(), served, (1, 5), (3, 5), (2, 5))
    assert evidence.decision is None
    assert not evidence.decide()
    assert isinstance(evidence.decision, Missing)
    fed(evidence, served, (1, 5))
    assert evidence.decide()
    assert isinstance(evidence.decision, Complete)


def test_rows_are_not_counted_where_one_has_no_key() -> None:
    served = List(rows(12), total=12)

    def answer(ref: PageRef) -> Rows[int]:
        shown = served(ref)
        if ref.num != 2:
            return shown
        keyed, times = shown.keyed[:], array("q", shown.updated)
        del keyed[2], times[2]
        return structs.replace(shown, keyed=keyed, updated=times, created=times)

    evidence = evidence_of()
    for num in (1, 3, 2, 1):
        take(evidence, PageRef(num, 5), answer(PageRef(num, 5)))
    assert not evidence.decide()


@pytest.mark.parametrize(
    ("limit", "under_way", "wanted"),
    [(None, 9, True), (11, 1, True), (10, 1, False), (10, 0, True), (5, 0, False), (6, 0, True)],
)
def test_no_more_is_wanted_than_the_limit(limit: int | None, under_way: int, wanted: bool) -> None:
    evidence = fed(evidence_of(limit=limit), List(rows(30)), (1, 5))
    evidence.under_way = under_way
    assert evidence.wants_more is wanted


def test_the_head_is_the_first_row_of_the_first_answer() -> None:
    assert evidence_of().head is None
    assert fed(evidence_of(), List([]), (1, 5)).head is None
    served = List(rows(12, first=77))
    evidence = fed(evidence_of(), served, (1, 5))
    served.insert()
    assert fed(evidence, served, (1, 5)).head == (1, 77)


def test_changes_are_covered_by_a_chain_of_pages_or_a_complete_list() -> None:
    served = List(rows(30))
    evidence = fed(evidence_of(), served, (1, 5), (3, 5))
    assert not evidence.covers_changes
    evidence.decision = Complete("count", "", 0)
    assert evidence.covers_changes
    served = List(rows(30, first=100_010))
    evidence = fed(evidence_of(5, MARK), served, (1, 5))
    assert evidence.decision is None
    assert evidence.covers_changes


def test_a_page_shows_again_what_it_showed() -> None:
    served = List(rows(12))
    evidence = fed(evidence_of(), served, (1, 5))
    first = evidence.reads[0]
    assert fed(evidence, served, (1, 5)).shows_again(first)
    assert not fed(evidence, served, (2, 5)).shows_again(first)
    served.rows[0] = (1, 100_001)  # the same ids
    assert not fed(evidence, served, (1, 5)).shows_again(first)
    served.rows[0] = (99, 100_000)  # the same times
    assert not fed(evidence, served, (1, 5)).shows_again(first)


def test_the_newest_end_of_an_unchanged_list_is_page_1() -> None:
    evidence = fed(evidence_of(), List(rows(90)), (1, 5))
    assert evidence.newest_end(drifted=False) == FIRST
    evidence.decision = DESCENDING
    assert evidence.newest_end(drifted=False) == FIRST


def test_the_newest_end_of_a_list_that_changes_is_a_wide_page() -> None:
    served = List(rows(90), largest=12)
    evidence = fed(evidence_of(), served, (1, 5))
    assert evidence.newest_end(drifted=True) == (1, 5 * WIDER)
    fed(evidence, served, (1, 5 * WIDER))
    assert evidence.newest_end(drifted=True) == (1, 12)
    assert evidence.newest_end(drifted=False) == FIRST


def test_the_newest_end_of_an_ascending_list_is_its_last_page() -> None:
    evidence = fed(evidence_of(), List(reversed(rows(33))), (1, 5))
    assert not evidence.is_ascending
    evidence.note_order()
    for drifted in (True, False):
        assert evidence.newest_end(drifted=drifted) == at_end(33, 5, 0)
    assert evidence.widest() == (1, 5 * WIDER)
    fed(evidence, List(reversed(rows(33)), largest=12), evidence.widest())
    assert evidence.newest_end(drifted=True) == at_end(33, 12, 2)
    assert evidence.newest_end(drifted=False) == at_end(33, 5, 0)


def test_where_only_the_newest_end_is_wanted_it_is_read_wider_and_wider() -> None:
    served = List(rows(900))
    evidence = fed(evidence_of(5, MARK), served, (1, 5))
    for size in (20, 40, 80, 80):
        ref = evidence.newest_end(drifted=False)
        assert ref == (1, size)
        fed(evidence, served, ref)
    assert size == 5 * WIDEST


@pytest.mark.parametrize(("size", "most"), [(50, 800), (100, 800), (150, 750), (300, 1200)])
def test_no_page_has_so_many_rows_that_it_holds_the_event_loop_for_long(
    size: int, most: int
) -> None:
    served = List(rows(9000))
    evidence = fed(evidence_of(size, MARK), served, (1, size))
    while not evidence.is_widest:
        fed(evidence, served, evidence.newest_end(drifted=False))
    assert evidence.newest_end(drifted=False) == (1, most)


def test_the_newest_end_is_as_wide_as_wanted_where_the_whole_list_is() -> None:
    served = List(rows(900), largest=30)
    evidence = fed(evidence_of(5), served, (1, 5))
    assert evidence.width == 5
    assert evidence.newest_end(drifted=True, wider=True) == (1, 20)
    fed(evidence, served, (1, 20))
    assert evidence.newest_end(drifted=True) == (1, 20)
    assert (evidence.newest_end(drifted=True, wider=True), evidence.width) == ((1, 40), 20)
    fed(evidence, served, (1, 40))
    assert (evidence.newest_end(drifted=True, wider=True), evidence.width) == ((1, 30), 20)


def test_the_last_read_of_the_newest_end_is_found_among_others() -> None:
    evidence = fed(evidence_of(), List(rows(33)), (1, 5), (1, 5), (7, 5), (2, 5))
    assert evidence.last_head is evidence.reads[1]
    evidence.is_ascending = True
    assert evidence.last_head is evidence.reads[2]
    evidence = fed(evidence_of(), List(rows(33)), (2, 5), (3, 5))
    assert evidence.last_head is evidence.reads[-1]


def test_it_is_read_no_wider_than_the_server_allows() -> None:
    served = List(rows(900), largest=30)
    evidence = fed(evidence_of(5, MARK), served, (1, 5), (1, 20))
    assert evidence.newest_end(drifted=False) == (1, 40)
    fed(evidence, served, (1, 40))
    assert evidence.newest_end(drifted=False) == (1, 30)
