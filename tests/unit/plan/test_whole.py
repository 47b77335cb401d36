"""The crawl of a whole list: the pages it reads, what it proves, what a limit ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dp_async._page.reader import Rows
from dp_async._plan.checkpoint import Checkpoint
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import Walk
from dp_async._proof.decision import Broken, Missing, Unprovable
from tests.unit.plan.scripted_list import (
    Crawl,
    List,
    Row,
    crawl,
    inserting,
    options,
    page,
    rows,
    rows_at,
    touching,
)

# Lists that do not change


@pytest.mark.parametrize(
    ("length", "refs"),
    [
        (0, [(1, 5)]),
        (4, [(1, 5)]),
        (5, [(1, 5), (2, 5), (1, 5)]),
        (7, [(1, 5), (2, 5), (1, 5)]),
        (10, [(1, 5), (3, 5), (2, 5), (1, 5)]),
        (14, [(1, 5), (3, 5), (2, 5), (1, 5)]),
    ],
)
def test_an_unchanged_list_costs_its_pages_and_one_more(
    length: int, refs: list[tuple[int, int]]
) -> None:
    done = crawl(List(rows(length)))
    assert done.refs == refs
    assert done.rule == ("count" if length >= 5 else "single page")
    assert sorted(done.items) == list(range(1, length + 1))
    assert done.walk.evidence.passes == 1
    assert done.walk.progress.finished
    assert not done.walk.evidence.drifted


def test_the_echoed_size_plans_all_further_pages() -> None:
    done = crawl(List(rows(12), largest=5), 100)
    assert done.refs == [(1, 100), (3, 5), (2, 5), (1, 5)]
    assert done.rule == "count"


def test_a_size_that_is_not_echoed_is_the_requested_one() -> None:
    done = crawl(List(rows(12), size=0))
    assert done.refs == [(1, 5), (3, 5), (2, 5), (1, 5)]
    assert done.rule == "count"


@pytest.mark.parametrize(
    "content",
    [
        [*reversed(rows(12))],
        rows_at(50, 90, 10, 70, 30, 20, 40, 35, 80, 15, 45, 60),
    ],
    ids=["ascending", "in no order"],
)
def test_an_unchanged_list_in_any_order_gets_complete(content: list[Row]) -> None:
    done = crawl(List(content), allowed_lateness=0.0)
    assert done.rule == "count"
    assert len(done.items) == 12
    assert len(done.refs) <= 8


@pytest.mark.parametrize("overlap", ["auto", 1])
def test_rows_without_times_prove_nothing(overlap: object) -> None:
    done = crawl(List(rows(30), timed=False), overlap=overlap)
    assert isinstance(done.decision, Unprovable)
    assert len(done.items) == 30
    assert done.walk.evidence.passes == 3
    assert len(done.refs) < 90


def test_more_rows_of_one_second_than_a_page_holds_are_read_in_two_passes() -> None:
    done = crawl(List(rows_at(*[100] * 30)))
    assert done.rule == "count"
    assert done.walk.evidence.passes == 2
    assert len(done.refs) <= 2 * 8


# Not verified, limited


def test_without_verification_each_page_is_read_once() -> None:
    done = crawl(List(rows(12)), verify=False)
    assert done.refs == [(1, 5), (2, 5), (3, 5)]
    assert done.decision is None
    assert not done.walk.progress.finished
    assert crawl(List(rows(10)), verify=False).refs == [(1, 5), (2, 5)]
    done = crawl(List(rows_at(9) * 12), verify=False)  # the same id twelve times
    assert len(done.items) == 12


def test_without_verification_the_plan_grows_with_the_total() -> None:
    def grow(served: List, answers: int) -> None:
        if answers == 2:
            served.rows += [(99 + place, 1) for place in range(6)]

    done = crawl(List(rows(12), before=grow), verify=False)
    assert len(done.refs) == 4
    assert done.walk.evidence.drifted


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 12, 17, 18])
def test_a_limit_requests_no_page_it_does_not_need(limit: int) -> None:
    done = crawl(List(rows(18)), limit=limit)
    size = min(5, limit)
    assert done.refs == [(num + 1, size) for num in range(-(-limit // size))]
    assert done.items[:limit] == list(range(1, limit + 1))
    assert done.decision is None
    assert not done.walk.progress.finished


def test_a_limit_requests_one_more_page_after_repeated_rows() -> None:
    done = crawl(List(rows(18), before=inserting(2, 1)), limit=10)
    assert done.refs == [(1, 5), (2, 5), (3, 5)]
    assert len(done.items) == 13


@pytest.mark.parametrize(("length", "rule"), [(3, "single page"), (12, "count")])
def test_a_limit_beyond_the_list_makes_a_whole_crawl(length: int, rule: str) -> None:
    done = crawl(List(rows(length)), limit=13)
    assert done.rule == rule
    assert done.walk.progress.finished


def test_a_list_that_shrinks_below_its_limit_is_read_whole() -> None:
    def shrink(served: List, answers: int) -> None:
        if answers == 2:
            served.drop(12, 99)

    done = crawl(List(rows(22), before=shrink), limit=20)
    assert done.refs[:3] == [(1, 5), (2, 5), (3, 5)]
    assert done.rule is not None
    assert sorted(done.items) == list(range(1, 13))
    assert done.walk.progress.finished
    assert done.walk.evidence.drifted


@pytest.mark.parametrize("answers", [2, 3, 8])
@pytest.mark.parametrize("at_the_head", [True, False])
def test_a_list_that_grows_over_its_limit_ends_the_crawl(answers: int, at_the_head: bool) -> None:
    def grow(served: List, number: int) -> None:
        if number != answers:
            return
        if at_the_head:
            served.insert(12)
        else:
            served.rows += [(1000 + place, 5) for place in range(12)]

    done = crawl(List(rows(42), before=grow), limit=45)
    fresh = [len(result.fresh) for result in done.results]
    assert sum(fresh) >= 45 or done.rule is not None
    assert sum(fresh[:-1]) < 45 or done.rule is not None  # nothing was requested after that
    assert not done.walk.progress.finished or len(done.items) <= 45


# Lists that change


@pytest.mark.parametrize("kept", [0, 3])
def test_a_list_that_shrinks_below_a_page(kept: int) -> None:
    def shrink(served: List, answers: int) -> None:
        if answers == 2:
            served.drop(kept, 99)

    done = crawl(List(rows(22), before=shrink))
    assert done.rule == "single page"
    assert set(done.items) >= set(range(1, kept + 1))
    assert len(done.refs) < 12


@pytest.mark.parametrize("answers", [1, 2, 3, 5])
@pytest.mark.parametrize("overlap", ["auto", 0, 2])
def test_a_list_that_grows_by_pages_gets_complete(answers: int, overlap: object) -> None:
    size = 10 if overlap == 2 else 5  # a page across a gap shares two rows with both sides
    done = crawl(List(rows(42), before=inserting(12, answers)), size, overlap=overlap)
    assert done.rule is not None
    assert len(done.items) == len(set(done.items))
    assert set(done.items) >= set(range(1, 43))
    assert done.walk.evidence.drifted


@pytest.mark.parametrize("overlap", ["auto", 0, 1, 2])
@pytest.mark.parametrize("place", [0, 7, 23, 40])
def test_a_row_that_moves_up_is_not_lost(place: int, overlap: object) -> None:
    done = crawl(List(rows(41), before=touching(place, 3, 5)), overlap=overlap)
    assert done.rule is not None
    assert set(done.items) == set(range(1, 42))


@pytest.mark.parametrize("overlap", ["auto", 2])
def test_an_ascending_list_that_grows_gets_complete(overlap: object) -> None:
    def grow(served: List, answers: int) -> None:
        if answers in (2, 4):
            served.rows.append((len(served.rows) + 1, served.rows[-1][1] + 5))

    done = crawl(List(reversed(rows(33)), before=grow), overlap=overlap, max_passes=5)
    assert done.rule is not None
    assert set(done.items) >= set(range(1, 34))


def test_a_burst_of_rows_is_not_searched_for_beyond_the_end() -> None:
    """Its rows are much newer than all others: that says little of how far the list shifted."""

    def grow(served: List, answers: int) -> None:
        if answers == 3:
            newest = served.rows[0][1] + 86_400
            served.rows[:0] = [(1000 + place, newest - place) for place in range(25)]

    done = crawl(List(rows(42), largest=10, before=grow), size=10, max_passes=5)
    assert done.rule is not None
    assert max(ref.start for ref in done.refs) <= 70
    assert len(done.refs) < 60


def test_a_list_that_shifts_by_pages_at_each_answer_is_not_called_complete() -> None:
    def shift(served: List, answers: int) -> None:
        served.insert(12)
        served.drop(-12, len(served.rows))

    done = crawl(List(rows(33), before=shift))
    assert isinstance(done.decision, Missing)
    assert done.walk.evidence.passes == 3
    assert done.walk.progress.finished
    assert len(done.refs) < 150


def test_after_a_broken_assumption_no_further_pass_is_made() -> None:
    gone: list[Row] = []

    def hide(served: List, answers: int) -> None:
        if answers == 3:
            gone.append(served.rows.pop(7))
        elif answers == 6:
            served.rows.insert(7, gone.pop())

    done = crawl(List(rows(23), before=hide), max_passes=3)
    assert isinstance(done.decision, Broken)
    assert done.walk.evidence.passes == 1
    assert done.walk.progress.finished


def test_one_pass_alone_repairs_nothing() -> None:
    done = crawl(List(rows(33), before=inserting(7, 3)), max_passes=1, overlap=0)
    assert done.walk.evidence.passes == 1
    assert done.rule is None
    assert done.walk.progress.finished


@pytest.mark.parametrize("largest", [5, 7, 12, 20, 1000])
def test_a_wide_page_1_may_be_answered_with_fewer_rows(largest: int) -> None:
    done = crawl(List(rows(42), largest=largest, before=inserting(1, 2, 4, 6)))
    assert done.rule is not None
    assert set(done.items) >= set(range(1, 43))
    assert max(ref.size for ref in done.refs if ref.num == 1) == 20
    assert all(result.after_pass for result in done.results if result.ref == (1, 20))
    assert all(ref.size <= largest for ref in done.refs if ref.num > 1)


@pytest.mark.parametrize("total", [0, 5, 12, 40])
def test_a_wrong_total_proves_nothing_against_the_rows(total: int) -> None:
    done = crawl(List(rows(22), total=total, total_pages=1))
    if done.rule is not None:
        assert len(done.items) == 22
    assert len(done.refs) < 200


def test_a_first_page_without_times_in_a_list_that_grows() -> None:
    """Nothing tells how new the list was when the crawl began."""
    content = rows(42)

    def served(ref: PageRef) -> Rows[int]:
        if ref.num == 3:
            content.insert(0, (len(content) + 1, content[0][1] + 1))
        shown = content[ref.start : ref.end]
        return page(shown, ref.num, ref.size, len(content), timed=ref != (1, 5))

    done = crawl(served, overlap=0)
    assert set(done.items) >= set(range(1, 43))
    assert len(done.refs) < 100


# Resuming


def stopped(content: Sequence[Row], **changes: Any) -> Checkpoint:
    """The checkpoint after 3 pages of 5 rows."""
    fields: dict[str, Any] = {
        "scope": "",
        "size": 5,
        "pages": 3,
        "total": len(content),
        "head": content[0],
        "unique": 15,
    }
    return Checkpoint(**(fields | changes))


def test_only_the_pages_after_a_checkpoint_are_read() -> None:
    content = rows(32)
    done = Crawl(Walk(options(), stopped(content)), List(content))
    assert done.refs == [(1, 5), (7, 5), (4, 5), (5, 5), (6, 5), (1, 5)]
    assert done.walk.progress.resumed
    assert done.walk.progress.skipped == 3
    assert not done.walk.progress.started_over
    assert not done.walk.progress.finished
    assert set(done.items) >= set(range(16, 33))


@pytest.mark.parametrize(
    "changes", [{"total": 31}, {"head": (7, 1)}, {"size": 4}, {"pages": 0}, {"head": None}]
)
def test_a_list_that_differs_from_its_checkpoint_is_read_whole(changes: dict[str, Any]) -> None:
    content = rows(32)
    done = Crawl(Walk(options(), stopped(content, **changes)), List(content))
    assert done.walk.progress.started_over
    assert done.walk.progress.skipped == 0
    assert not done.walk.progress.resumed
    assert done.rule == "count"
    assert done.walk.evidence.passes == 1
    assert sorted(done.items) == list(range(1, 33))


@pytest.mark.parametrize(("future", "pages"), [(1, 3), (5, 3), (5, 0)])
def test_a_row_dated_in_the_future_hides_no_change_since_a_checkpoint(
    future: int, pages: int
) -> None:
    content = [*((900 + number, 500_000) for number in range(future)), *rows(32)]
    before = stopped(content, head=content[1] if future == 1 else None, pages=pages)
    served = List(content)
    updated, _ = served.rows.pop(20)
    served.rows.insert(future, (updated, 100_001))  # below them: the first row stays the first
    done = Crawl(Walk(options(), before), served, 100_001)
    assert done.walk.progress.started_over
    assert not done.walk.progress.resumed
    assert len(done.items) == 32 + future


@pytest.mark.parametrize("answers", [1, 2, 4, 5])
def test_a_list_that_changes_after_a_checkpoint_is_read_whole(answers: int) -> None:
    content = rows(32)
    served = List(content, before=touching(4, answers))
    done = Crawl(Walk(options(max_passes=5), stopped(content)), served)
    assert done.walk.progress.started_over
    assert done.walk.progress.skipped == 0
    assert not done.walk.progress.resumed
    assert done.rule is not None
    assert done.walk.evidence.passes >= 2
    assert sorted(done.items) == list(range(1, 33))


def test_a_list_of_one_page_needs_no_checkpoint() -> None:
    content = rows(4)
    done = Crawl(Walk(options(), stopped(content, pages=1, unique=4)), List(content))
    assert done.rule == "single page"
    assert not done.walk.progress.resumed
    assert not done.walk.progress.started_over
