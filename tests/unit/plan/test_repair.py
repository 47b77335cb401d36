"""Rounds of repair: bridges across gaps, then the newest end, until the list holds together."""

from __future__ import annotations

from typing import Any

import pytest

from dp_async._plan.evidence import Evidence
from dp_async._plan.page_ref import PageRef, around
from dp_async._plan.repair import BRIDGING, DESCENT, Repair
from dp_async._proof.decision import Complete, Missing
from tests.unit.plan.scripted_list import List, drive, evidence_of, rows, take


def read_pages(served: List, *refs: tuple[int, int], **changes: Any) -> Evidence:
    """The evidence once *served* has answered the requests *refs*."""
    evidence = evidence_of(**changes)
    for ref in refs:
        take(evidence, PageRef(*ref), served(PageRef(*ref)))
    return evidence


def one_round(evidence: Evidence, served: List, *, drifted: bool = False) -> list[list[PageRef]]:
    """The pages that a round requests, stage by stage."""
    stages = Repair(evidence).round(lambda: drifted)
    return [drive(evidence, [stage], served) for stage in stages]


# Bridges


def test_nothing_is_read_if_the_list_is_proven_complete() -> None:
    served = List(rows(12))
    assert one_round(read_pages(served, (1, 5), (3, 5), (2, 5), (1, 5)), served) == []


def test_a_gap_is_bridged_around_its_boundary() -> None:
    served = List(rows(12))
    evidence = read_pages(served, (1, 5), (3, 5), (1, 5))
    assert one_round(evidence, served) == [[(2, 4)], [(2, 4), (2, 5)]]
    assert isinstance(evidence.decision, Complete)


def test_a_bridge_that_missed_is_tried_below_and_above() -> None:
    """No row is found again, so the gap stays what it was."""
    served = List(rows(88))
    evidence = read_pages(served, (1, 6), (15, 6), (1, 6), size=6)
    evidence.decide()
    repair = Repair(evidence)
    places: list[PageRef] = []
    for _ in range(3):
        stage = next(repair.round(lambda: False))
        ref = stage.next()
        assert ref is not None
        assert stage.next() is None
        places.append(ref)
    assert places == [around(6, 6), around(9, 6), around(3, 6)]


def test_a_round_ends_with_the_newest_end_after_a_few_bridges() -> None:
    served = List(rows(42))
    evidence = read_pages(served, (1, 5), (9, 5), (1, 5))
    stages = one_round(evidence, served)
    assert len(stages) == BRIDGING + 1
    assert stages[0] == [(2, 4)]
    assert stages[-1] == [(1, 5)]
    assert isinstance(evidence.decision, Missing)


def test_several_gaps_are_bridged_at_once() -> None:
    served = List(rows(42))
    evidence = read_pages(served, (1, 5), (9, 5), (3, 5), (6, 5), (1, 5))
    stages = one_round(evidence, served)
    assert stages[0] == [(2, 4), (4, 4), (8, 4)]
    assert isinstance(evidence.decision, Complete)


def test_bridges_of_an_ascending_list_are_counted_from_its_first_page() -> None:
    served = List(reversed(rows(22)))
    evidence = read_pages(served, (1, 5), (5, 5), (3, 5), (1, 5))
    assert one_round(evidence, served)[0] == [(2, 4), (4, 4)]
    assert isinstance(evidence.decision, Complete)


def test_an_oldest_end_that_was_not_reached_is_read() -> None:
    served = List(rows(12))
    evidence = read_pages(served, (1, 5), (2, 3), (2, 4), (2, 5), (1, 5))
    assert one_round(evidence, served)[0] == [around(12, 5)]
    assert isinstance(evidence.decision, Complete)
    served = List(reversed(rows(22)))
    evidence = read_pages(served, (2, 5), (3, 5), (5, 5))
    assert one_round(evidence, served)[0][-1] == (1, 5)


def test_a_page_that_did_not_help_is_not_requested_again_in_the_round() -> None:
    served = List(rows(12), total=60)  # the page at its end is empty, and more rows are claimed
    evidence = read_pages(served, (1, 5), (2, 3), (2, 4), (2, 5), (1, 5))
    assert one_round(evidence, served) == [[around(60, 5)], [(1, 5)]]


def test_a_page_is_requested_once_in_a_stage() -> None:
    served = List(rows(12))
    evidence = read_pages(served, (1, 5), (2, 4), (3, 4), (1, 5))
    for stage in one_round(evidence, served):
        assert len(stage) == len(set(stage))


@pytest.mark.parametrize(("drifted", "newest_end"), [(False, (1, 5)), (True, (1, 20))])
def test_the_newest_end_is_wide_if_the_list_drifts(
    drifted: bool, newest_end: tuple[int, int]
) -> None:
    served = List(rows(42))
    evidence = read_pages(served, (1, 5), (9, 5), (1, 5))
    assert one_round(evidence, served, drifted=drifted)[-1] == [newest_end]


def test_without_times_only_the_newest_end_is_read() -> None:
    served = List(rows(12), timed=False)
    evidence = read_pages(served, (1, 5), (3, 5), (2, 5), (1, 5))
    assert one_round(evidence, served) == [[(1, 5)]]


# Where the rows of a gap are by now


def test_a_bridge_is_placed_where_the_row_above_was_seen_lately() -> None:
    served = List(rows(42))
    evidence = read_pages(served, (1, 10), (5, 5))
    served.insert(7)
    for ref in (PageRef(17, 1), PageRef(1, 5)):  # row 10 is the 17th by now
        take(evidence, ref, served(ref))
    assert around(17, 5) in one_round(evidence, served)[0]


def test_a_bridge_is_placed_as_far_down_as_rows_entered_meanwhile() -> None:
    served = List(rows(400))
    evidence = read_pages(served, (1, 5), (21, 5), (41, 5))
    served.insert(10)
    take(evidence, PageRef(1, 20), served(PageRef(1, 20)))
    # Page 21 was read a third of the way through the crawl, in which 10 rows entered.
    assert around(105 + 7, 5) in one_round(evidence, served)[0]


def test_a_bridge_is_placed_no_further_than_the_end() -> None:
    served = List(rows(42))
    evidence = read_pages(served, (1, 5), (8, 5), (9, 5))
    served.drop(20, 42)
    take(evidence, PageRef(1, 5), served(PageRef(1, 5)))
    first, *_ = one_round(evidence, served)
    assert around(20, 5) in first
    assert all(ref.start <= 20 for ref in first)


# The newest end moved on


@pytest.mark.parametrize(("number", "pages"), [(12, 3), (100, DESCENT)])
def test_the_pages_below_the_newest_end_are_read_down_to_where_the_crawl_began(
    number: int, pages: int
) -> None:
    served = List(rows(300, apart=1))
    evidence = read_pages(served, (1, 5), (2, 4), (2, 5))
    served.insert(number)
    take(evidence, PageRef(1, 5), served(PageRef(1, 5)))
    first, second, *_ = one_round(evidence, served)
    *descent, tail = first
    assert len(descent) == pages
    assert descent[:3] == [(2, 3), (2, 4), (2, 5)]
    end = 5
    for ref in descent:
        assert ref.start < end < ref.end
        end = ref.end
    assert tail == around(300 + number, 5)
    # Those pages are new themselves: the next stage goes down from the lowest.
    assert max(ref.end for ref in second) > end


def test_a_descent_takes_as_many_stages_as_it_needs() -> None:
    served = List(rows(300, apart=1))
    evidence = read_pages(served, (1, 5), (61, 5), *((num, 4) for num in range(2, 76)))
    served.insert(400)
    stages = one_round(evidence, served)
    assert len(stages) > 2 * BRIDGING
    assert isinstance(evidence.decision, Complete)
