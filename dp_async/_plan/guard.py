"""Refuses answers that contradict the request or each other: paging over them would prove nothing.

Raises errors, changes nothing else, requests nothing.
"""

from __future__ import annotations

from typing import TypeVar

from .._errors import PaginationError
from .._page.reader import Rows
from .evidence import Evidence
from .page_ref import PageRef, pages

T = TypeVar("T")

EMPTY_PAGES = 40
"""How many empty pages are accepted although their own totals say that they hold rows."""
MANY = 1000
"""Pages that any crawl may request, on top of 4 times what its passes need by its first total."""


class Guard:
    """The checks of one crawl of at most *max_passes* passes."""

    def __init__(self, max_passes: int) -> None:
        self._max_passes = max_passes
        self._empty_pages = 0
        # By a hash, since a crawl keeps one for each page: the first page with these rows ...
        self._first: dict[int, int] = {}
        self._again: dict[int, set[int]] = {}  # ... and all of them, if several

    def check(self, ref: PageRef, rows: Rows[T], evidence: Evidence, requested: int) -> None:
        """Raises PaginationError if the answer is not the page *ref*, or if the list has no end.

        *requested* is how many pages the crawl has requested.
        """
        page = rows.page
        if page.number != ref.num - 1:
            raise PaginationError(
                f"page {ref.num} was requested, and the server answered with page {page.page_num}"
            )
        if page.size != ref.size and page.size and (ref.num > 1 or page.size > ref.size):
            raise PaginationError(
                f"pages of {ref.size} rows were requested, and page {ref.num} came with a size of "
                f"{page.size}: its place in the list is not known"
            )
        if rows.count > (page.size or ref.size):
            raise PaginationError(f"page {ref.num} came with more rows than were requested")
        if len(rows.ids) > 2 and ref.size == evidence.size:
            self._refuse_same_rows(ref, rows, evidence.passes)
        self._empty_pages += not rows.count and page.total_elements > page.number * ref.size
        if self._empty_pages > EMPTY_PAGES:
            raise PaginationError(
                f"{self._empty_pages} pages came empty that hold rows by their own totals"
            )
        if requested > MANY and evidence.passes:
            usual = self._max_passes * pages(evidence.first_total, evidence.size)
            if requested > MANY + 4 * usual:
                raise PaginationError("the list grows as fast as its pages are read")

    def _refuse_same_rows(self, ref: PageRef, rows: Rows[T], passes: int) -> None:
        # Only within one pass and one total: a list that shifts by whole pages is no error.
        key = hash((*rows.ids, rows.page.total_elements, passes))
        first = self._first.setdefault(key, ref.num)
        if first != ref.num:
            nums = self._again.setdefault(key, {first})
            nums.add(ref.num)
            if len(nums) > 2:
                raise PaginationError(
                    f"the server answers with the same rows under the page numbers {sorted(nums)}"
                )
