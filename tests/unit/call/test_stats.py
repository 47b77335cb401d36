"""Counts add up, here and in the parent; what a client says of itself cannot be changed."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from dp_async import Attempt, ClientStats
from dp_async._call.stats import Tally


def test_requests_in_flight_are_counted_and_their_peak_is_kept() -> None:
    tally = Tally()
    for _ in range(3):
        tally.began()
    tally.ended()
    tally.ended()
    tally.began()
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (4, 2, 3)


def test_retries_and_throttles_are_counted() -> None:
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


ATTEMPT = Attempt(endpoint="work_list", number=1, seconds=0.5)
STATS = ClientStats(requests=1, retries=0, throttles=0, in_flight=0)


def test_an_attempt_without_an_answer_has_nothing_of_one() -> None:
    assert (ATTEMPT.status, ATTEMPT.code) == (None, None)
    assert (ATTEMPT.request_id, ATTEMPT.error) == ("", "")


@pytest.mark.parametrize("value", [STATS, ATTEMPT])
def test_stats_and_attempts_are_frozen_and_can_be_pickled(value: ClientStats | Attempt) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, 2)
    assert pickle.loads(pickle.dumps(value)) == value
