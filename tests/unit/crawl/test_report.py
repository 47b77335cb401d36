"""The verdict of a crawl and its reason, the report's numbers, the error that carries a report."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields
from math import inf

import pytest

from dp_async import CrawlOptions, CrawlReport, DpError, IncompleteCrawl, Work
from dp_async._call.stats import Tally
from dp_async._crawl.delivery import Delivery
from dp_async._crawl.report import Phase, make_report, verdict
from dp_async._page.reader import BadItem
from dp_async._plan.walk import Walk
from dp_async._proof.decision import Complete, Decision, Unprovable

PROVEN = Complete("count", "as many as there were", 37.0)
GAP = Unprovable("the list moved")
NAMELESS = BadItem(1, "$", "no", b"{}", None)
NAMED = BadItem(1, "$", "no", b"{}", 7)
RESUMED = "resumed: the pages before the checkpoint were not read again"
CHANGED = "the list had changed since the checkpoint"
STARTED_OVER = f"as many as there were (started over: {CHANGED})"
LIMIT = "stopped at the limit of 5 items"


def ended(decision: Decision | None = PROVEN, **state: bool | str) -> Walk[Work]:
    walk: Walk[Work] = Walk(CrawlOptions())
    walk.evidence.decision = decision
    walk.progress.finished = True
    for name, value in state.items():
        assert hasattr(walk.progress, name)
        setattr(walk.progress, name, value)
    return walk


@pytest.mark.parametrize("phase", ["not started", "not finished", "stopped early"])
def test_a_crawl_that_has_not_ended_has_no_verdict(phase: Phase) -> None:
    assert verdict(phase, ended(), [NAMELESS], CrawlOptions()) == (None, phase)


# From the condition that decides first to the one that decides last: each line also meets those
# of the lines below it.
@pytest.mark.parametrize(
    ("walk", "bad", "verify", "expected"),
    [
        (ended(resumed=True), [NAMELESS], False, (None, "not verified")),
        (ended(resumed=True, finished=False), [NAMELESS], True, (None, RESUMED)),
        (ended(None), [NAMELESS], True, (None, LIMIT)),
        (ended(finished=False, started_over=CHANGED), [NAMELESS], True, (None, LIMIT)),
        (
            ended(started_over=CHANGED),
            [NAMELESS, NAMED, NAMELESS],
            True,
            (False, "2 rows have no id that can be read: see bad_items"),
        ),
        (ended(started_over=CHANGED), [NAMED], True, (True, STARTED_OVER)),
        (ended(), [NAMED], True, (True, "as many as there were")),
        (ended(GAP), [], True, (False, "the list moved")),
    ],
)
def test_the_verdict_and_its_reason(
    walk: Walk[Work], bad: list[BadItem], verify: bool, expected: tuple[bool | None, str]
) -> None:
    options = CrawlOptions(limit=5, verify=verify)
    assert verdict("ended", walk, bad, options) == expected


@pytest.mark.parametrize(("margin", "complete"), [(37.0, None), (inf, True)])
def test_rows_that_enter_a_filter_unstamped_leave_no_proof_that_needs_stamps(
    margin: float, complete: bool | None
) -> None:
    walk = ended(Complete("count", "counted", margin))
    found, reason = verdict("ended", walk, [], CrawlOptions(), "read_status=READ")
    assert found is complete
    assert ("read_status=READ without a new update time" in reason) is (complete is None)
    assert verdict("ended", ended(GAP), [], CrawlOptions(), "read_status=READ")[0] is False


def test_a_report_takes_each_number_from_its_owner() -> None:
    options = CrawlOptions()
    walk = ended()
    walk.evidence.drift.times = 1
    walk.evidence.passes, walk.evidence.total = 3, 40
    delivery: Delivery[Work] = Delivery(walk, options)
    delivery.items, delivery.pages, delivery.duplicates = 30, 4, 5
    delivery.bad = {7: NAMED}
    tally = Tally()
    tally.requests, tally.retries, tally.max_in_flight = 8, 2, 6
    report = make_report("ended", walk, delivery, tally, options, waiting=1, elapsed=0.5)
    assert report == CrawlReport(
        complete=True,
        reason="as many as there were",
        margin=37.0,
        items=29,
        pages=4,
        requests=8,
        retries=2,
        passes=3,
        duplicates=5,
        bad_items=1,
        total_elements=40,
        drifted=True,
        max_in_flight=6,
        elapsed=0.5,
    )


REPORT = CrawlReport(
    complete=False,
    reason="the list moved",
    margin=None,
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


def test_a_report_is_frozen_and_can_be_pickled() -> None:
    for field in fields(REPORT):
        with pytest.raises(FrozenInstanceError):
            setattr(REPORT, field.name, 2)
    assert pickle.loads(pickle.dumps(REPORT)) == REPORT


def test_an_incomplete_crawl_says_why_and_carries_its_report_even_to_another_process() -> None:
    error = IncompleteCrawl(REPORT)
    again: IncompleteCrawl = pickle.loads(pickle.dumps(error))
    for each in (error, again):
        assert isinstance(each, DpError)
        assert str(each) == "the crawl is not complete: the list moved"
        assert each.report == REPORT
