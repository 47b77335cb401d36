"""A doubt: what the answers to all that was in flight say of a refusal. Plain numbers."""

from __future__ import annotations

import pytest

from dp_async._call.doubt import Doubt


def doubt(in_flight: int, *, good: int = 0, refused: int = 1, just_before: int = 0) -> Doubt:
    made = Doubt(in_flight, just_before, 0.0, 100.0)
    made.good, made.refused = good, refused
    return made


@pytest.mark.parametrize(
    ("unanswered", "now", "pause_ends", "over"),
    [
        (3, 100.1, 0.0, False),
        (2, 100.1, 0.0, True),  # a quarter of the others
        (2, 100.1, 101.0, False),  # a pause lasts, which gives time to wait for all
        (0, 100.1, 101.0, True),
        (11, 104.9, 0.0, False),
        (11, 105.0, 101.0, True),  # they may never be answered
    ],
)
def test_it_is_over_when_enough_is_answered_or_after_some_seconds(
    unanswered: int, now: float, pause_ends: float, *, over: bool
) -> None:
    assert doubt(12).is_over(unanswered, now, pause_ends) is over


def test_what_is_not_answered_yet_was_let_through() -> None:
    assert doubt(16, good=1, refused=12).at_once == 4
    assert doubt(16, good=0, refused=12).at_once == 0


def test_good_answers_that_came_with_the_refusal_can_be_counted() -> None:
    with_it = doubt(4, refused=4, just_before=8)
    assert with_it.at_once == 0
    with_it.add_just_before()
    assert (with_it.good, with_it.at_once) == (8, 8)


@pytest.mark.parametrize(
    ("good", "refused", "chance"), [(0, 1, True), (8, 2, True), (7, 2, False), (0, 2, False)]
)
def test_a_single_refusal_or_few_among_many_may_be_chance(
    good: int, refused: int, *, chance: bool
) -> None:
    assert doubt(16, good=good, refused=refused).may_be_chance is chance
