"""The pace: slots at the configured rate or at the one learned from refusals. Plain numbers."""

from __future__ import annotations

from itertools import pairwise
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async._call.pace import EARLY, LATE, Learned, Pace

ROUNDING = 1e-9


def send(pace: Pace, count: int, now: float = 0.0, delay: float = 0.0) -> list[float]:
    """The times of *count* requests sent *delay* seconds after *pace* allows it."""
    times: list[float] = []
    for _ in range(count):
        now = max(now, pace.next_slot) + delay
        pace.take_slot(now)
        times.append(now)
    return times


def most_in_a_second(times: list[float]) -> int:
    """The most of *times* in any second, whose end does not count."""
    most = start = 0
    for end, time in enumerate(times):
        while time - times[start] >= 1 - ROUNDING:
            start += 1
        most = max(most, end - start + 1)
    return most


def refused(*, accepted: int = 5, rate: float | None = None, ago: float = 0.0) -> Pace:
    """A pace that had *accepted* good answers at 100 s, was refused *ago* later, resumed 2 s on."""
    pace = Pace() if rate is None else Pace(rate)
    for _ in range(accepted):
        pace.accepted(100.0)
    pace.refused(100.0 + ago, 102.0 + ago)
    return pace


# Slots


def test_without_a_rate_nothing_is_limited() -> None:
    pace = Pace()
    assert send(pace, 3, 7.0) == [7.0] * 3
    assert not pace.is_limited
    assert Pace(4).is_limited


def test_slots_are_even_and_idle_time_allows_no_burst() -> None:
    pace = Pace(4)
    assert send(pace, 5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    later = [3600.0, *(3600.0 + number / 4 - min(number * EARLY, LATE) for number in range(1, 9))]
    assert send(pace, 9, 3600.0) == pytest.approx(later)


@pytest.mark.parametrize("rate", [0.4, 1, 2.5, 33.3, 45, 450])
@pytest.mark.parametrize("late", [0.0, EARLY / 2, EARLY])
def test_slots_are_apart_and_reach_the_full_rate_in_spite_of_a_coarse_timer(
    rate: float, late: float
) -> None:
    times = send(Pace(rate), 1500, 100.0, late)
    assert min(after - before for before, after in pairwise(times)) >= 1 / rate - EARLY - ROUNDING
    assert most_in_a_second(times) <= rate + 1
    assert times[-1] - times[0] == pytest.approx(1499 / rate, rel=0.001)


@given(st.integers(1, 60) | st.floats(0.1, 60), st.lists(st.floats(0, 0.4), max_size=60))
def test_no_second_holds_more_than_the_rate_and_one_even_if_slots_are_overdue(
    rate: float, delays: list[float]
) -> None:
    pace, times, now = Pace(rate), list[float](), 0.0
    for delay in delays:
        now = send(pace, 1, now, delay)[0]
        times += [now, *send(pace, 2, now)]
        now = times[-1]
    assert most_in_a_second(times) <= rate + 1
    assert all(after - before >= 1 / rate - EARLY - ROUNDING for before, after in pairwise(times))


# The learned pace


def test_the_pace_recovers_along_a_cubic() -> None:
    pace = Learned(20.0, began=100.0, resumed=102.0, plateau=5.0)
    shares = [pace.at(102.0 + after) / 20.0 for after in (-1, 0, 5, 10, 15)]
    assert shares == pytest.approx([0.95, 0.95, 1.0, 1.15, 2.2])


@pytest.mark.parametrize(
    ("tried", "after", "plateau", "last_second", "rate"),
    [
        (19.0, 0.5, 8.0, 30, 0.85 * 18.2),  # too few for a mean: less than was tried
        (20.0, 8.0, 8.0, 20, 20.0),
        (25.0, 8.0, 8.0, 40, 15.0),  # sqrt(9 * 25), of what was let through and what was tried
        (20.0, 1.0, 0.5, 12, 12.0),  # a guess: the last second's
        (20.0, 1.0, 0.5, 30, 0.85 * 23.0),  # but less than was tried
    ],
)
def test_another_refusal_lowers_the_pace_to_what_was_let_through(
    tried: float, after: float, plateau: float, last_second: int, rate: float
) -> None:
    good = {25.0: 90, 19.0: 19}.get(tried, 200)
    pace = Learned(tried, began=100.0, resumed=102.0, plateau=plateau)
    for number in range(good):
        pace.accepted(100.0 + 10.0 * number / good)
    assert pace.lowered(102.0 + after, 110.0, last_second).rate == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(
    ("before", "pause", "plateau"), [(0.5, 0.0, 1.0), (1.5, 0.0, 2.0), (0.7, 1.0, 5.0)]
)
def test_a_pace_is_held_longer_after_each_refusal_and_most_where_that_costs_a_pause(
    before: float, pause: float, plateau: float
) -> None:
    pace = Learned(20.0, began=100.0, resumed=100.0, plateau=before, good=20)
    assert pace.lowered(101.0, 101.0 + pause, 20).plateau == plateau
    pace.good = 19  # few: it goes on as quickly as it began
    assert pace.lowered(101.0, 101.0 + pause, 20).plateau == before


def test_a_first_refusal_teaches_the_good_answers_of_the_second_before() -> None:
    pace = refused(accepted=20)
    assert pace.is_limited
    assert pace.at(102.0) == pytest.approx(0.95 * 20)
    assert pace.at(102.7) == pytest.approx(20)


def test_without_a_good_answer_nothing_is_learned() -> None:
    assert not refused(accepted=9, ago=1.001).is_limited


def test_few_good_answers_teach_five_a_second() -> None:
    assert refused(accepted=1).at(102.7) == pytest.approx(5)


def test_a_good_answer_counts_for_one_second() -> None:
    assert refused(accepted=6, ago=1.0).at(103.0) == pytest.approx(0.95 * 6)
    pace = Pace()
    for number in range(100):
        pace.accepted(number / 10)
    pace.refused(10.0, 12.0)
    assert pace.at(12.0) == pytest.approx(0.95 * 10)


def test_a_refusal_with_nothing_let_through_since_the_last_lowers_nothing() -> None:
    pace = refused(accepted=20)
    pace.refused(102.5, 103.0)
    assert pace.at(103.0) == pytest.approx(0.95 * 20)


def test_a_later_refusal_counts_what_was_let_through_since_the_last() -> None:
    pace = refused(accepted=20)
    assert pace.learned is not None
    pace.learned.plateau = 5.0  # it is no guess
    for number in range(60):
        pace.accepted(102.0 + number / 20)
    pace.refused(105.0, 105.0)
    assert pace.at(107.0) == pytest.approx((60 / 5 * 20) ** 0.5, rel=0.05)  # 5 s, 20 in the last


def test_what_was_let_through_long_before_counts_less() -> None:
    pace = Learned(20.0, began=100.0, resumed=100.0, plateau=5.0)
    for number in range(400):
        pace.accepted(100.0 + number / 20)  # 20 a second for 20 s
    assert pace.mean(120.0) == pytest.approx(20, rel=0.01)
    for number in range(400):
        pace.accepted(120.0 + number / 40)  # 40 a second for 10 s
    assert pace.mean(130.0) == pytest.approx(
        40 - 20 * (exp(-1) - exp(-3)) / (1 - exp(-3)), rel=0.01
    )
    assert pace.lowered(130.0, 131.0, 40).rate == (pace.mean(130.0) * 40) ** 0.5
    assert pace.mean(200.0) < 0.1


def in_a_row(pace: Pace, count: int, now: float = 102.0) -> list[float]:
    """*count* refusals, each 0.1 s and one good answer after the last: the paces to try then."""
    paces: list[float] = []
    for _ in range(count):
        pace.accepted(now)
        now += 0.1
        pace.rejected(now, now)
        pace.refused(now, now)
        paces.append(round(pace.at(now), 1))
    return paces


def test_a_pace_that_is_refused_as_soon_however_slow_goes_back_and_is_contested() -> None:
    pace = refused(accepted=50)
    paces = in_a_row(pace, 5)
    assert paces[:4] == sorted(paces[:4], reverse=True)
    assert paces[3] < 0.6 * 47.5
    assert paces[4] == pytest.approx(47.9, rel=0.02)  # as before the first
    assert pace.is_contested
    assert pace.expects(good=False)
    assert in_a_row(pace, 4, 102.5) == [paces[4]] * 4  # no refusal lowers it


def test_a_contested_pace_is_changed_by_trials_and_guessed_anew_after_the_last_refusal() -> None:
    pace = refused(accepted=50)
    in_a_row(pace, 5)
    before = pace.at(103.0)
    assert pace.learned is not None
    assert pace.learned.contested is not None
    for _ in range(4):
        pace.rejected(102.0, 103.0)  # sent before
    for _ in range(22):
        pace.accepted(103.0)
    for _ in range(2):
        pace.rejected(103.0, 103.0)
    assert pace.learned.contested.share == 2 / 24
    assert pace.at(103.0) == 1.5 * before
    for _ in range(24):
        pace.accepted(104.0)
    assert pace.learned.rate == 1.5 * before
    for _ in range(24 * 3 + 24):  # two more trials
        pace.accepted(104.0)
    for _ in range(200):
        pace.accepted(104.0)
        pace.rejected(104.0, 104.0)
    assert not pace.is_contested


def test_refusals_after_many_good_answers_are_not_in_a_row() -> None:
    pace = refused(accepted=50)
    now = 103
    for _ in range(12):
        for _ in range(20):
            pace.accepted(now)
        pace.refused(now + 1, now + 1)
        assert not pace.is_contested
        now += 2


def test_the_least_guess_is_not_lowered_before_the_twentieth_good_answer() -> None:
    pace = Pace()
    assert not pace.expects(good=True)
    pace.accepted(100.0)
    pace.refused(100.1, 100.1)
    assert pace.expects(good=True)
    assert not pace.expects(good=False)
    for _ in range(19):
        pace.accepted(100.1)
    grown = pace.at(101.0)
    pace.refused(101.0, 103.0)
    assert pace.at(103.0) == pytest.approx(grown)  # a pause is no time to grow in
    pace.accepted(103.0)
    pace.refused(103.1, 103.1)
    assert pace.at(103.1) < grown
    assert not pace.expects(good=True)


def test_a_pace_beyond_the_learned_one_is_a_try() -> None:
    pace = refused(accepted=20)
    assert not pace.is_beyond(102.5)
    assert pace.is_beyond(102.8)
    assert not Pace().is_beyond(0.0)


@pytest.mark.parametrize(("rate", "expected"), [(3.0, 3.0), (100.0, 19.0)])
def test_the_slower_of_rate_and_learned_pace_applies(rate: float, expected: float) -> None:
    pace = refused(accepted=20, rate=rate)
    assert pace.at(102.0) == pytest.approx(expected)
    pace.take_slot(102.0)
    assert pace.next_slot == pytest.approx(102.0 + 1 / expected, abs=2 * EARLY)


def test_a_pace_binds_while_it_is_used() -> None:
    pace = refused(accepted=20)
    assert pace.binds(102.0)
    assert not pace.binds(107.0)
    assert not Pace(4).binds(0.0)
    for time in (101.0, 102.4):
        for _ in range(8):
            pace.accepted(time)
    assert not pace.binds(102.4)  # only the last second counts


@pytest.mark.parametrize("rate", [None, 10_000.0])
def test_a_pace_that_holds_nothing_back_is_forgotten(rate: float | None) -> None:
    pace = refused(accepted=20, rate=rate)
    for _ in range(400):
        pace.accepted(104.2)
    pace.accepted(104.9)
    assert pace.learned is not None  # it is in use
    pace.accepted(108.0)
    assert pace.learned is None
    assert pace.is_limited is (rate is not None)


def test_the_slowest_pace_is_one_request_in_ten_seconds() -> None:
    assert Learned(0.01, began=0.0, resumed=0.0, plateau=1.0).at(0.0) == 0.1
