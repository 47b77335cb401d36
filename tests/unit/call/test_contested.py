"""A contested pace: which of two paces is kept, and when it is contested no longer."""

from __future__ import annotations

import pytest

from dp_async._call.contested import Contested


def answered(contested: Contested, number: int, refused: int) -> None:
    """So many answers, of which so many refusals, first."""
    for each in range(number):
        contested.answered(good=each >= refused)


@pytest.mark.parametrize(
    ("refused", "rate"),
    [(0, 45), (5, 45), (8, 45), (9, 30), (10, 30)],  # of 24, at 45 a second
)
def test_a_faster_pace_is_kept_if_it_lets_through_half_of_what_it_sends_more(
    refused: int, rate: float
) -> None:
    contested = Contested(30, 0.2)
    answered(contested, 24, 5)  # 19 of 24 at 30 a second
    assert (contested.share, contested.tried) == (5 / 24, 45)
    answered(contested, 24, refused)
    assert contested.rate == rate
    assert contested.tried == (67.5 if rate == 45 else 30)  # a pace that was kept is the next start


@pytest.mark.parametrize(("refused", "rate"), [(8, 30), (1, 30), (0, 20)])
def test_a_slower_pace_is_kept_if_the_faster_is_not_worth_it(refused: int, rate: float) -> None:
    contested = Contested(30, 0.2)
    answered(contested, 24, 5)
    answered(contested, 24, 10)  # faster is no good
    answered(contested, 48, 9)
    assert contested.tried == 20
    answered(contested, 24, refused)
    assert contested.rate == pytest.approx(rate)


def test_trials_that_change_nothing_become_rare() -> None:
    contested = Contested(30, 0.2)
    between: list[int] = []
    while len(between) < 5:
        count = 0
        while contested.tried == 30:
            count += 1
            contested.answered(good=count % 5 > 0)
        between.append(count)
        answered(contested, 24, 12 if contested.tried > 30 else 4)
    assert between == [24, 48, 96, 96, 96]
    assert contested.rate == 30


@pytest.mark.parametrize(
    ("refused", "is_over"),
    [(0, True), (1, False), (10, False), (11, True), (24, True)],
)
def test_it_is_over_if_too_few_or_too_many_are_refused(refused: int, is_over: bool) -> None:
    contested = Contested(30, 0.2)
    answered(contested, 24, refused)
    assert contested.is_over is is_over


def test_it_is_over_soon_if_all_are_refused() -> None:
    contested = Contested(30, 0.2)
    answered(contested, 10, 10)
    assert not contested.is_over
    answered(contested, 1, 1)
    assert contested.is_over
