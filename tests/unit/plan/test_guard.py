"""Answers that contradict the request, or each other, are refused; whatever else passes."""

from __future__ import annotations

import pytest
from msgspec import structs

from dp_async import PaginationError
from dp_async._page.reader import Rows
from dp_async._plan.evidence import Evidence
from dp_async._plan.guard import EMPTY_PAGES, MANY, Guard
from dp_async._plan.page_ref import PageRef, pages
from tests.unit.plan.scripted_list import evidence_of, page, rows, take

FIRST, SECOND = PageRef(1, 5), PageRef(2, 5)


def check(
    guard: Guard, ref: PageRef, answer: Rows[int], evidence: Evidence | None = None, number: int = 1
) -> None:
    guard.check(ref, answer, evidence or evidence_of(), number)


def unechoed(answer: Rows[int]) -> Rows[int]:
    """*answer* without the size of its page."""
    return structs.replace(answer, page=structs.replace(answer.page, size=0))


@pytest.mark.parametrize(
    ("ref", "answer"),
    [
        (FIRST, page(rows(5), 1, 5, 30)),
        (SECOND, page(rows(5), 2, 5, 30)),
        (FIRST, page(rows(3), 1, 3, 30)),  # page 1 may be smaller: its size is then the list's
        (FIRST, unechoed(page(rows(5), 1, 5, 30))),
        (SECOND, unechoed(page(rows(5), 2, 5, 30))),
        (SECOND, page(rows(2), 2, 5, 7)),
        (SECOND, page([], 2, 5, 3)),
    ],
)
def test_an_answer_to_the_request_passes(ref: PageRef, answer: Rows[int]) -> None:
    check(Guard(3), ref, answer)


@pytest.mark.parametrize(
    ("ref", "answer", "problem"),
    [
        (FIRST, page(rows(5), 2, 5, 30), "page 1 was .* answered with page 2"),
        (SECOND, page(rows(5), 1, 5, 30), "page 2 was .* answered with page 1"),
        (FIRST, page(rows(5), 1, 7, 30), "pages of 5 rows .* page 1 came with a size of 7"),
        (SECOND, page(rows(4), 2, 4, 30), "size of 4: its place in the list is not known"),
        (SECOND, page(rows(5), 2, 6, 30), "size of 6: its place in the list is not known"),
        (FIRST, page(rows(6), 1, 5, 30), "page 1 came with more rows than"),
        (SECOND, page(rows(6), 2, 5, 30), "page 2 came with more rows than"),
        (FIRST, page(rows(5), 1, 4, 30), "more rows than"),
        (FIRST, unechoed(page(rows(6), 1, 6, 30)), "more rows than"),
    ],
)
def test_an_answer_to_another_request_is_refused(
    ref: PageRef, answer: Rows[int], problem: str
) -> None:
    with pytest.raises(PaginationError, match=problem):
        check(Guard(3), ref, answer)


def test_the_same_rows_under_three_page_numbers_are_refused() -> None:
    guard = Guard(3)
    for num in (4, 2, 4, 2):
        check(guard, PageRef(num, 5), page(rows(5), num, 5, 30))
    with pytest.raises(PaginationError, match=r"the same rows under .* \[2, 3, 4\]$"):
        check(guard, PageRef(3, 5), page(rows(5), 3, 5, 30))


def test_the_same_rows_may_come_under_other_totals_in_other_passes_and_on_tiny_pages() -> None:
    guard, evidence = Guard(3), evidence_of()
    for num in range(1, 9):  # the list grows by a page from answer to answer
        check(guard, PageRef(num, 5), page(rows(5), num, 5, 30 + 5 * num))
    for num in range(1, 9):
        evidence.passes = num
        check(guard, PageRef(num, 5), page(rows(5), num, 5, 30), evidence)
    for num in range(1, 9):  # two rows may well be all that a page of changed rows shows
        check(guard, PageRef(num, 5), page(rows(2), num, 5, 30), evidence)
    for num in range(1, 9):  # pages of another size are read to overlap
        check(guard, PageRef(num, 4), page(rows(4), num, 4, 30), evidence)


def test_three_rows_are_enough_to_tell_pages_apart() -> None:
    guard = Guard(3)
    with pytest.raises(PaginationError, match="the same rows"):
        for num in (1, 2, 3):
            check(guard, PageRef(num, 5), page(rows(3), num, 5, 30))


def test_many_empty_pages_that_should_hold_rows_are_refused() -> None:
    guard = Guard(3)
    for num in range(1, EMPTY_PAGES + 1):
        check(guard, PageRef(num, 5), page([], num, 5, 1000))
        check(guard, PageRef(num + 1, 5), page([], num + 1, 5, 5 * num))  # after the last row
        check(guard, PageRef(num, 5), page([(num, 9)], num, 5, 1000))
    with pytest.raises(PaginationError, match="41 pages came empty that hold rows"):
        check(guard, FIRST, page([], 1, 5, 1))


def test_a_list_that_grows_without_end_is_refused() -> None:
    guard, evidence = Guard(3), evidence_of()
    most = MANY + 4 * 3 * pages(33, 5)
    check(guard, FIRST, page(rows(5), 1, 5, 33), evidence, most + 1)  # no total is known yet
    take(evidence, FIRST, page(rows(5), 1, 5, 33))
    check(guard, FIRST, page(rows(5), 1, 5, 999), evidence, most)
    with pytest.raises(PaginationError, match="grows as fast as its pages are read"):
        check(guard, FIRST, page(rows(5), 1, 5, 999), evidence, most + 1)
