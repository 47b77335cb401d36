"""What is fresh of a page: each id is delivered once, in the order of the pages."""

from __future__ import annotations

from dp_async import Watermark
from dp_async._plan.changes import Changes
from dp_async._plan.known import digest
from dp_async._plan.seen import Seen
from tests.unit.plan.scripted_list import SCOPE, page, rows_at

MARK = Watermark.at(SCOPE, 100, [digest(1, 100, 1)], compared=98, recent=1)


def seen_of(after: Watermark | None = None, *, verify: bool = True) -> Seen:
    return Seen(Changes(after, 2.0), verify=verify)


def test_an_id_is_fresh_once() -> None:
    seen = seen_of()
    first = page([(1, 9), (2, 8), (3, 7)], 1, 3, 9)
    assert seen.sift(first) == ([1, 2, 3], (), 0)
    assert seen.sift(first) == ([], (), 3)
    assert seen.sift(page([(3, 7), (4, 6), (2, 8), (5, 5)], 2, 4, 9)) == ([4, 5], (), 2)
    assert set(seen.ids) == {1, 2, 3, 4, 5}
    assert seen.unique == 5


def test_an_id_that_stands_twice_on_a_page_is_fresh_once() -> None:
    seen = seen_of()
    assert seen.sift(page([(1, 9), (2, 8), (1, 9)], 1, 3, 3)) == ([1, 2], (), 1)
    assert seen.sift(page([(3, 7), (2, 8), (3, 7)], 2, 3, 6)) == ([3], (), 2)
    assert seen.unique == 3


def test_an_empty_page_brings_nothing() -> None:
    assert seen_of().sift(page([], 1, 5, 0)) == ([], (), 0)


def test_without_verification_no_id_is_remembered() -> None:
    seen = seen_of(verify=False)
    for _ in range(2):
        assert seen.sift(page(rows_at(9, 8), 1, 2, 2)) == ([1, 2], (), 0)
    assert not seen.ids
    assert seen.unique == 4


def test_after_a_watermark_only_what_it_does_not_know_is_fresh() -> None:
    seen = seen_of(MARK)
    fresh = page([(2, 101), (1, 100), (3, 97)], 1, 3, 9)
    assert seen.sift(fresh) == ([2], [(2, 101, digest(2, 101, 2))], 0)
    assert seen.sift(fresh) == ([], [], 1)
    assert set(seen.ids) == {2}
    assert seen.unique == 1
