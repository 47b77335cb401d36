"""No list that changes while it is crawled is wrongly called complete; ``walkmodel`` plays them.

``python -m tests.property.test_walk FIRST LAST`` plays the seeds from FIRST up to LAST.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dp_async import CrawlOptions
from tests.property.listmodel import Moment, Row, Server
from tests.property.walkmodel import (
    FLAWS,
    KINDS,
    Case,
    Event,
    Flaw,
    Outcome,
    draw_case,
    play,
)

FEW, MANY = 100, int(os.environ.get("WALK_TRIALS", "1500"))
TRIALS = pytest.mark.parametrize("trials", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)

# Cases that Hypothesis can shrink


@st.composite
def lists(draw: st.DrawFn) -> Moment:
    """Up to 40 rows, newest first, with ids in any order; a filter keeps 3 more out at first."""
    gaps = draw(st.lists(st.integers(0, 4), max_size=40))
    length = len(gaps)
    ids = list(range(1, length + 4))
    order = draw(st.integers(0, 3))
    if order:
        ids = ids[::-1] if order == 1 else Random(order).sample(ids, len(ids))
    times = [sum(gaps[place:]) for place in range(length)]
    older = draw(st.integers(0, 3))
    rows = tuple(
        Row(number, time, time - older * (number % 2), -time)
        for number, time in zip(ids, times, strict=False)
    )
    return Moment.start(rows, tuple(Row(number, -1, -1) for number in ids[length:]))


@st.composite
def servers(draw: st.DrawFn) -> Server:
    order: Literal["update", "create", "id"] = draw(st.sampled_from(("update", "create", "id")))
    ties: Literal["id", "hidden", "random"] = draw(st.sampled_from(("id", "hidden", "random")))
    return Server(
        allowed_lateness=draw(st.integers(0, 2)),
        order=order,
        descending=not draw(st.booleans()),
        ties=ties,
        clamp=draw(st.sampled_from((None, None, None, 2))),
        ahead=draw(st.sampled_from((0, 3, 400))),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    server, start = draw(servers()), draw(lists())
    size = draw(st.integers(2, 6))
    flaws: Mapping[int, Flaw] = draw(
        st.dictionaries(st.integers(1, 43), st.sampled_from(FLAWS), max_size=2)
    )
    events = st.builds(
        Event, st.sampled_from(("go",) * 6 + KINDS), st.integers(0, 40), st.integers(0, 7)
    )
    return Case(
        server=server,
        start=start,
        options=CrawlOptions(
            page_size=size,
            allowed_lateness=server.allowed_lateness,
            max_passes=draw(st.integers(1, 3)),
            overlap=draw(st.sampled_from(("auto", 0, 1, size // 2))),
            limit=draw(st.one_of(st.none(), st.none(), st.integers(1, 45))),
        ),
        concurrency=draw(st.integers(1, 6)),
        eager=not draw(st.booleans()),
        largest=draw(st.sampled_from((None, size, 2 * size, size - 1))),
        flaws=flaws,
        script=tuple(draw(st.lists(events, max_size=100))),
    )


# What must hold


def certificate(case: Case, outcome: Outcome) -> str | None:
    """The rule by which the crawl is complete; None where the rule's assumptions do not hold."""
    if outcome.rule == "link" and case.server.order == "id":
        return None  # a few rows may look sorted by time, which the link rule takes for the order
    if (
        case.server.ties == "random"
        and outcome.decision
        and "their order" in outcome.decision.reason
    ):
        return None  # nor do few rows show that ties change places
    return outcome.rule


def judge(case: Case) -> Outcome:
    """Plays *case* and checks what holds for any list and any writes."""
    outcome = play(case)
    if outcome.error is not None and case.server.clamp is None:
        # Two inserts of a whole page each can show the same rows under three page numbers.
        assert "same rows" in str(outcome.error)
        assert outcome.moment.writes >= 6
    assert not outcome.repeated
    if certificate(case, outcome):
        assert not outcome.lost - set(case.flaws)
    assert not outcome.beyond_limit
    return outcome


@TRIALS
def test_a_complete_crawl_lost_no_row(trials: int) -> None:
    examples = min(trials, 500)  # slower than seeds
    rules: Counter[tuple[str | None, bool]] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(cases())
    def trial(case: Case) -> None:
        outcome = judge(case)
        rules[certificate(case, outcome), outcome.moment.writes > 0] += 1

    trial()
    assert rules["count", True] >= examples // 100
    assert rules["single page", True] >= examples // 100


@TRIALS
def test_a_complete_crawl_lost_no_row_in_longer_scripts(trials: int) -> None:
    rules = tally(range(trials))
    assert rules["error", True] <= trials // 500
    assert rules["link", True] >= trials // 60
    assert rules["count", True] >= trials // 20
    assert rules["single page", True] >= trials // 40


def tally(seeds: Iterable[int]) -> Counter[tuple[str | None, bool]]:
    """How many crawls ended by each rule, and whether their list was written to."""
    rules: Counter[tuple[str | None, bool]] = Counter()
    for seed in seeds:
        case = draw_case(Random(seed))
        try:
            outcome = judge(case)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {case}")
            raise
        rule = certificate(case, outcome) if outcome.error is None else "error"
        rules[rule, outcome.moment.writes > 0] += 1
    return rules


# Lists that do not change


def unchanged(length: int, size: int, concurrency: int, server: Server) -> Case:
    """*length* rows; a few share a second, far from the newest end."""
    times = [1000 - 5 * (place - place % 2 * (8 < place < length)) for place in range(length)]
    rows = tuple(Row(number + 1, time, time) for number, time in enumerate(times))
    options = CrawlOptions(page_size=size, allowed_lateness=server.allowed_lateness)
    return Case(server, Moment.start(rows), options, concurrency=concurrency)


SERVERS = {
    "by update time": Server(allowed_lateness=2),
    "by create time": Server(allowed_lateness=2, order="create"),
    "ascending": Server(allowed_lateness=2, descending=False),
    "hidden seconds": Server(allowed_lateness=2, ties="hidden"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_an_unchanged_list_costs_its_pages_and_one_more(name: str) -> None:
    for size in range(2, 7):
        for length in range(41):
            case = unchanged(length, size, (1, 3, 10)[length % 3], SERVERS[name])
            outcome = judge(case)
            last_is_full = length > 0 and length % size == 0
            single = length < size
            assert outcome.rule == ("single page" if single else "count"), (size, length)
            assert sorted(outcome.delivered) == list(range(1, length + 1))
            if last_is_full and not case.server.descending:
                continue  # an empty last page shows no time, so the page before it is read again
            assert outcome.passes == 1, (size, length)
            assert len(outcome.refs) == (1 if single else case.pages + 1 + last_is_full)


def test_an_unchanged_list_in_no_order_gets_complete() -> None:
    """A few rows of page 1 may look sorted; no two rows share a second."""
    for size in range(3, 7):
        for length in range(41):
            case = unchanged(length, size, 3, Server(allowed_lateness=2, order="id"))
            times = Random(length).sample(range(0, 5 * length, 5), length)
            rows = (Row(number + 1, time, time) for number, time in enumerate(times))
            outcome = judge(replace(case, start=Moment.start(tuple(rows))))
            assert outcome.rule is not None, (size, length)
            assert not outcome.lost


@pytest.mark.parametrize("concurrency", [1, 3, 10])
def test_a_limit_requests_no_page_it_cannot_need(concurrency: int) -> None:
    for length in (0, 1, 5, 6, 7, 23, 24):
        for limit in range(1, length + 1):
            case = unchanged(length, 6, concurrency, Server(allowed_lateness=2))
            case = replace(case, options=replace(case.options, limit=limit))
            outcome = judge(case)
            assert len(outcome.refs) == -(-limit // case.size), (length, limit)
            assert len(outcome.delivered) >= limit


@TRIALS
def test_a_crawl_gets_complete_once_nothing_changes(trials: int) -> None:
    """Writes happen in the first pass only, and rows of one second keep their order."""
    rules: Counter[str | None] = Counter()
    unproven: list[
        int
    ] = []  # where the reads of the first pass look as if an assumption was broken
    for seed in range(trials // 3):
        case = draw_case(Random(seed))
        if case.server.ties == "random" or case.server.clamp is not None:
            continue
        options = replace(case.options, limit=None, max_passes=5)
        outcome = judge(replace(case, options=options, flaws={}, calm_after=1))
        if outcome.rule is None and outcome.error is None:
            unproven.append(seed)
        rules[outcome.rule] += 1
    assert len(unproven) <= trials // 300, unproven
    assert rules["link"] >= trials // 300
    assert rules["count"] >= trials // 20
    assert rules["single page"] >= trials // 60


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    sys.stdout.write(f"{dict(tally(range(first, last)))}\n")
