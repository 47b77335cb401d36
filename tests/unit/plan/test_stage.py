"""Stages and progress: plain values, and what they are by default."""

from __future__ import annotations

import pytest

from dp_async._plan.page_ref import PageRef
from dp_async._plan.stage import Progress, Stage, each, ignore
from tests.unit.plan.scripted_list import evidence_of, page, rows, take

FIRST, SECOND = PageRef(1, 5), PageRef(2, 5)


def test_each_page_is_requested_once_and_in_order() -> None:
    stage = each(PageRef(num, 5) for num in (3, 1, 2))
    assert [stage.next() for _ in range(5)] == [(3, 5), (1, 5), (2, 5), None, None]


def test_nothing_is_special_about_a_stage_unless_said() -> None:
    for stage in (each([FIRST]), Stage(lambda: None)):
        assert (stage.after_pass, stage.shares_rows, stage.sets_size) == (False, False, False)
        assert FIRST not in stage.deferred
        assert stage.learned is ignore


def test_each_passes_its_flags_on() -> None:
    stage = each([FIRST], after_pass=True)
    assert (stage.after_pass, stage.shares_rows, stage.sets_size) == (True, False, False)
    stage = each([FIRST], shares_rows=True)
    assert (stage.after_pass, stage.shares_rows, stage.sets_size) == (False, True, False)
    stage = each([FIRST], sets_size=True)
    assert (stage.after_pass, stage.shares_rows, stage.sets_size) == (False, False, True)


def test_deferred_holds_for_all_pages_of_a_stage_even_once_they_are_requested() -> None:
    stage = each((ref for ref in (FIRST, SECOND)), deferred=True)
    assert stage.next() == FIRST
    assert FIRST in stage.deferred
    assert SECOND in stage.deferred
    assert PageRef(3, 5) not in stage.deferred


def test_a_stage_is_frozen() -> None:
    with pytest.raises(AttributeError):
        each([FIRST]).after_pass = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_stage_hears_of_its_answers() -> None:
    learned: list[tuple[PageRef, int]] = []
    stage = Stage(lambda: None, lambda ref, read: learned.append((ref, read.count)))
    take(evidence_of(), FIRST, page(rows(3), 1, 5, 3), stage)
    assert learned == [(FIRST, 3)]


def test_no_progress_is_made_before_the_first_answer() -> None:
    assert Progress() == Progress(finished=False, resumed=False, started_over="", skipped=0)
