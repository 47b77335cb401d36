"""Counts: of requests in flight and their most, totals, and the same in the parent."""

from __future__ import annotations

import pytest

from dp_async import ClientStats
from dp_async._call.stats import Tally


def counts(tally: Tally) -> tuple[int, int, int, int, int]:
    return (
        tally.requests,
        tally.retries,
        tally.throttles,
        tally.in_flight,
        tally.max_in_flight,
    )


def test_a_tally_counts_and_remembers_the_most_in_flight() -> None:
    tally = Tally()
    assert counts(tally) == (0, 0, 0, 0, 0)
    tally.began()
    tally.began()
    tally.ended()
    tally.began()
    tally.ended()
    tally.ended()
    tally.throttled()
    tally.retried()
    tally.retried()
    assert counts(tally) == (3, 2, 1, 0, 2)


def test_a_parent_counts_for_all_its_tallies() -> None:
    parent = Tally()
    one, two = Tally(parent), Tally(parent)
    for tally in (one, two, two):
        tally.began()
    two.ended()
    one.retried()
    two.throttled()
    assert counts(one) == (1, 1, 0, 1, 1)
    assert counts(two) == (2, 0, 1, 1, 2)
    assert counts(parent) == (3, 1, 1, 2, 3)


def test_client_stats_are_frozen_values() -> None:
    stats = ClientStats(requests=3, retries=2, throttles=1, in_flight=0)
    assert stats == ClientStats(requests=3, retries=2, throttles=1, in_flight=0)
    assert (stats.limit, stats.pace, stats.pause) == (None, None, 0.0)
    with pytest.raises(AttributeError):
        setattr(stats, "requests", 4)  # noqa: B010  # frozen for type checkers too
