"""The walk: which page may be requested when, and what it makes of an answer."""

from __future__ import annotations

import pytest

from dp_async import CrawlOptions, PaginationError, Watermark
from dp_async._plan.known import SHORT
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import Walk
from dp_async._proof.decision import Complete
from tests.unit.plan.scripted_list import (
    SCOPE,
    List,
    answer,
    crawl,
    marked,
    options,
    page,
    rows,
    since,
)


def test_nothing_is_planned_before_the_first_answer() -> None:
    walk: Walk[int] = Walk(options())
    assert walk.plan() == (1, 5)
    assert walk.plan() is None
    assert not walk.over


def test_pages_are_planned_ahead_of_their_answers() -> None:
    walk: Walk[int] = Walk(options())
    served = List(rows(22))

    def take(ref: PageRef | None) -> None:
        assert ref is not None
        answer(walk, ref, served(ref))

    take(walk.plan())
    last = walk.plan()
    assert last == (5, 5)
    assert walk.plan() is None  # the pages between wait for the last page
    take(last)
    between = [walk.plan(), walk.plan(), walk.plan()]
    assert between == [(2, 5), (3, 5), (4, 5)]
    assert walk.plan() is None  # page 1 again waits for all of them
    for ref in reversed(between):
        take(ref)
    take(walk.plan())
    assert not walk.over
    assert walk.plan() is None
    assert walk.over
    assert isinstance(walk.evidence.decision, Complete)


def test_the_clock_of_a_walk_counts() -> None:
    walk: Walk[int] = Walk(options())
    assert [walk.tick() for _ in range(3)] == [0, 1, 2]


def test_a_result_says_where_its_items_belong() -> None:
    done = crawl(List(rows(12)))
    assert [
        (result.ref.num, result.fresh, result.repeated, result.deferred, result.after_pass)
        for result in done.results
    ] == [
        (1, [1, 2, 3, 4, 5], 0, False, False),
        (3, [11, 12], 0, True, False),
        (2, [6, 7, 8, 9, 10], 0, False, False),
        (1, [], 5, False, True),
    ]


def test_a_walk_tells_how_it_stands() -> None:
    walk: Walk[int] = Walk(options())
    assert (
        walk.evidence.size,
        walk.evidence.total,
        walk.evidence.first_total,
        walk.evidence.passes,
        walk.evidence.seen.unique,
    ) == (5, 0, 0, 0, 0)
    assert walk.evidence.head is None
    assert walk.evidence.wants_created
    assert not walk.evidence.drifted
    for total in (30, 31):
        walk.plan()
        answer(walk, PageRef(1, 5), page(rows(4), 1, 4, total))
    assert (
        walk.evidence.size,
        walk.evidence.total,
        walk.evidence.first_total,
        walk.evidence.passes,
        walk.evidence.seen.unique,
    ) == (4, 31, 30, 1, 4)
    assert walk.evidence.head == (1, 100_000)
    assert walk.evidence.drifted


def test_a_limit_of_0_requests_nothing() -> None:
    served = List(rows(12))
    for done in (crawl(served, limit=0), since(marked(served), served, limit=0)):
        assert done.refs == []
        assert done.walk.over
        assert not done.walk.progress.finished


def test_a_refused_answer_may_be_requested_again() -> None:
    walk: Walk[int] = Walk(options())
    ref = walk.plan()
    with pytest.raises(PaginationError):
        answer(walk, ref, page(rows(5), 2, 5, 30))
    assert walk.plan() is None  # the page is still under way
    answer(walk, ref, page(rows(5), 1, 5, 30))
    assert walk.plan() is not None


@pytest.mark.parametrize("verify", [True, False])
def test_a_list_that_grows_without_end_is_refused(verify: bool) -> None:
    def grow(served: List, answers: int) -> None:
        last = served.rows[-1]
        served.rows += [(last[0] + place, last[1]) for place in range(1, 8)]

    with pytest.raises(PaginationError, match="grows"):
        crawl(List(rows(5), before=grow), verify=verify, max_passes=1)


# Watermarks


def test_a_whole_crawl_has_a_watermark_of_its_own() -> None:
    served = List(rows(40))
    assert crawl(served).mark == marked(served)
    for unproven in (crawl(served, limit=10), crawl(served, verify=False)):
        assert unproven.walk.watermark(SCOPE) is None
    served.rows.reverse()
    assert crawl(served).walk.watermark(SCOPE) is None


def test_only_delivered_items_reach_the_watermark() -> None:
    served = List(rows(40))
    mark = marked(served)
    served.insert(8)
    walk: Walk[int] = Walk(options(limit=5), after=mark)
    result = answer(walk, walk.plan(), served(PageRef(1, 5)))
    assert result.fresh == [48, 47, 46, 45, 44]
    walk.delivered(result, 2)
    assert walk.plan() is None
    after = walk.watermark(SCOPE)
    assert after is not None
    assert (after.updated, after.compared) == (mark.updated, mark.compared)
    new = [key[2] & SHORT for key in result.keys[:2]]
    assert after.digests == [*new, *mark.digests]


def test_with_a_replica_lag_the_requests_of_a_stage_have_no_order() -> None:
    walk: Walk[str] = Walk(CrawlOptions(replica_lag=1.5))
    assert walk.stages == 0
    assert walk.plan() is not None
    sent = walk.sent()
    answered = walk.tick()
    assert walk.stages == 1
    assert sent == walk.sent() < answered
    plain: Walk[str] = Walk(CrawlOptions(replica_lag=1.5, verify=False))
    assert plain.sent() < plain.sent()


def test_a_replica_lag_counts_as_lateness_since_a_watermark() -> None:
    options = CrawlOptions(allowed_lateness=10, replica_lag=1.5)
    walk: Walk[str] = Walk(options, after=Watermark.at("0" * 24, 100, [], compared=90, recent=0))
    assert walk.evidence.changes.floor == 100 - 12
