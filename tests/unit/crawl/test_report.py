"""Counts add up, here and in the parent; the error of an incomplete crawl carries its report."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from dp_async import Attempt, ClientStats, CrawlReport, DpError, IncompleteCrawl
from dp_async._call.stats import Tally


def test_what_is_under_way_is_counted_and_its_peak_kept() -> None:
    tally = Tally()
    for _ in range(3):
        tally.began()
    tally.ended()
    tally.ended()
    tally.began()
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (4, 2, 3)


def test_repeats_and_refusals_are_counted() -> None:
    tally = Tally()
    tally.throttled()
    tally.throttled()
    tally.retried()
    assert (tally.throttles, tally.retries) == (2, 1)
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (0, 0, 0)


def test_a_parent_counts_what_its_children_count() -> None:
    parent = Tally()
    one, two = Tally(parent), Tally(Tally(parent))
    one.began()
    two.began()
    one.throttled()
    two.retried()
    two.ended()
    assert (one.requests, one.retries, one.throttles, one.in_flight) == (1, 0, 1, 1)
    assert (two.requests, two.retries, two.throttles, two.in_flight) == (1, 1, 0, 0)
    assert (parent.requests, parent.retries, parent.throttles, parent.in_flight) == (2, 1, 1, 1)
    assert (one.max_in_flight, two.max_in_flight, parent.max_in_flight) == (1, 1, 2)


REPORT = CrawlReport(
    complete=False,
    reason="the list moved",
    items=3,
    pages=1,
    requests=2,
    retries=1,
    passes=1,
    duplicates=0,
    bad_items=0,
    total_elements=4,
    drifted=True,
    max_in_flight=1,
    elapsed=0.5,
)


def test_an_incomplete_crawl_says_why_and_carries_its_report() -> None:
    error = IncompleteCrawl(REPORT)
    assert isinstance(error, DpError)
    assert str(error) == "the crawl is not complete: the list moved"
    assert error.report is REPORT


def test_an_incomplete_crawl_survives_the_way_to_another_process() -> None:
    again: IncompleteCrawl = pickle.loads(pickle.dumps(IncompleteCrawl(REPORT)))
    assert again.report == REPORT
    assert str(again) == "the crawl is not complete: the list moved"


ATTEMPT = Attempt(endpoint="work_list", number=1, seconds=0.5)
STATS = ClientStats(requests=1, retries=0, throttles=0, in_flight=0)


def test_an_attempt_without_an_answer_has_nothing_of_one() -> None:
    assert (ATTEMPT.status, ATTEMPT.code) == (None, None)
    assert (ATTEMPT.request_id, ATTEMPT.error) == ("", "")


@pytest.mark.parametrize("value", [REPORT, STATS, ATTEMPT])
def test_reports_cannot_be_changed_but_can_be_pickled(
    value: CrawlReport | ClientStats | Attempt,
) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, 2)
    assert pickle.loads(pickle.dumps(value)) == value
