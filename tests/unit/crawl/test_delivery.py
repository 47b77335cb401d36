"""Between pager and consumer: deferred results, the limit, counts, full pages in order."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from dp_async import CrawlOptions, Page
from dp_async._crawl.delivery import Delivery
from dp_async._page.reader import BadItem, Rows
from dp_async._plan.known import Key
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import PageResult, Walk

NONE: array[int] = array("q")
KEYS: list[Key] = [(1, 10, 100), (2, 10, 200)]


class RecordingWalk(Walk[str]):
    """Keeps what is reported as delivered."""

    def __init__(self, options: CrawlOptions) -> None:
        super().__init__(options)
        self.calls: list[tuple[PageResult[str], int]] = []

    def delivered(self, result: PageResult[str], number: int) -> None:
        self.calls.append((result, number))


def delivery(**options: Any) -> tuple[Delivery[str], RecordingWalk]:
    given = CrawlOptions(page_size=2, **options)
    walk = RecordingWalk(given)
    return Delivery(walk, given), walk


def result(
    fresh: str,
    num: int = 1,
    size: int = 2,
    *,
    content: str | None = None,
    keys: Sequence[Key] = (),
    bad: Sequence[BadItem] = (),
    repeated: int = 0,
    deferred: bool = False,
    after_pass: bool = False,
) -> PageResult[str]:
    """The result of a page of one-letter items, by default all *fresh*."""
    items = list(fresh)
    sent = items if content is None else list(content)
    page = Page(
        content=sent,
        number=num - 1,
        size=size,
        total_elements=9,
        total_pages=5,
        number_of_elements=len(sent),
        first=num == 1,
        last=False,
        empty=not sent,
    )
    rows = Rows(page, len(sent), [], NONE, NONE, NONE, bad)
    return PageResult(rows, items, keys, repeated, PageRef(num, size), deferred, after_pass)


def delivered(to: Delivery[str]) -> list[str]:
    """The pages that are ready, each as a text."""
    pages: list[str] = []
    while to.ready:
        page = to.pop()
        if page is not None:
            pages.append("".join(page.content))
    return pages


def test_a_page_without_repeated_items_is_delivered_as_it_came() -> None:
    to, _ = delivery()
    came = result("ab")
    came.fresh = came.rows.page.content
    to.add(came)
    assert to.pop() is came.rows.page
    assert (to.items, to.pages) == (2, 1)


def test_only_fresh_items_are_delivered_and_pages_without_any_are_skipped() -> None:
    to, _ = delivery()
    to.add(result("ab", 1))
    to.add(result("", 2, content="ab", repeated=2))
    to.add(result("c", 3, content="bc", repeated=1))
    assert delivered(to) == ["ab", "c"]
    assert (to.items, to.pages, to.duplicates) == (3, 2, 3)


def test_the_first_page_is_delivered_even_if_it_is_empty() -> None:
    to, _ = delivery()
    to.add(result("", 1))
    to.add(result("", 2))
    assert delivered(to) == [""]


def test_deferred_results_come_with_the_first_result_after_the_pass() -> None:
    to, _ = delivery()
    to.add(result("yz", 5, deferred=True))
    to.add(result("ab", 1))
    to.add(result("", 4, deferred=True))  # nothing new: it need not be kept
    to.add(result("x", 4, content="xy", repeated=1, deferred=True))
    assert delivered(to) == ["ab"]
    to.add(result("n", 1, content="na", repeated=1, after_pass=True))
    assert delivered(to) == ["yz", "x", "n"]
    assert to.duplicates == 1  # repeats after the pass are expected, and do not count


def test_results_deferred_to_the_end_are_released_once() -> None:
    to, _ = delivery()
    to.add(result("yz", 5, deferred=True))
    assert to.release()
    assert delivered(to) == ["yz"]
    assert not to.release()
    assert not to.ready


def test_a_deferred_result_after_the_pass_waits_for_the_next_one() -> None:
    to, _ = delivery()
    to.add(result("a", 1))
    to.add(result("y", 5, deferred=True, after_pass=True))
    assert delivered(to) == ["a"]
    to.add(result("b", 1, after_pass=True))
    assert delivered(to) == ["y", "b"]


def test_unordered_delivery_defers_nothing() -> None:
    to, _ = delivery(ordered=False)
    to.add(result("yz", 5, deferred=True))
    assert delivered(to) == ["yz"]
    assert not to.release()


@pytest.mark.parametrize(
    ("limit", "pages"),
    [(None, ["ab", "cd"]), (0, []), (1, ["a"]), (2, ["ab"]), (3, ["ab", "c"]), (5, ["ab", "cd"])],
)
def test_pages_are_cut_to_the_limit(limit: int | None, pages: list[str]) -> None:
    to, walk = delivery(limit=limit)
    found: list[str] = []
    for came in (result("ab", 1, keys=KEYS), result("cd", 2, keys=KEYS)):
        if not to.limit_reached:
            to.add(came)
            found += delivered(to)
    assert found == pages
    assert to.limit_reached is (limit is not None and limit < 5)
    assert [number for _, number in walk.calls] == [len(page) for page in pages]
    assert to.items == sum(map(len, pages))


def test_only_results_with_keys_are_reported_to_the_walk() -> None:
    to, walk = delivery()
    first, second = result("ab", 1), result("c", 2, keys=KEYS[:1])
    to.add(first)
    to.add(second)
    delivered(to)
    assert walk.calls == [(second, 1)]


@pytest.mark.parametrize(
    ("refs", "skipped", "prefix"),
    [
        ([(1, 2), (2, 2), (3, 2)], 0, 3),
        ([(1, 2), (3, 2), (2, 2)], 0, 2),
        ([(1, 2), (2, 3), (3, 2)], 0, 1),  # another size
        ([(1, 2), (5, 2), (6, 2)], 4, 6),  # resumed after page 4
        ([(1, 2), (6, 2)], 4, 0),
    ],
)
def test_full_pages_count_while_they_come_in_order(
    refs: list[tuple[int, int]], skipped: int, prefix: int
) -> None:
    to, walk = delivery()
    walk.progress.skipped = skipped
    for num, size in refs:
        to.add(result("ab", num, size))
    to.add(result("", 99))
    delivered(to)
    assert to.prefix == prefix


def test_a_page_that_brings_nothing_new_counts_as_delivered() -> None:
    to, _ = delivery()
    to.add(result("ab", 1))
    to.add(result("", 2, content="ab"))
    delivered(to)
    assert (to.pages, to.prefix) == (1, 2)


def test_bad_items_count_once_by_id_or_by_their_bytes() -> None:
    to, _ = delivery()

    def bad(num: int, raw: bytes, number: int | None) -> BadItem:
        return BadItem(num, "$", "no", raw, number)

    to.add(result("a", 1, bad=[bad(1, b"{1}", 7), bad(1, b"{2}", None)]))
    to.add(result("b", 2, bad=[bad(2, b"{3}", 7), bad(2, b"{2}", None), bad(2, b"{4}", None)]))
    assert {key: item.page_num for key, item in to.bad.items()} == {7: 2, b"{2}": 2, b"{4}": 2}
