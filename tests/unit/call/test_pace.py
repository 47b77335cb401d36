"""The pace: slots at the configured rate or at the one learned from refusals. Plain numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async._call.pace import Learned, Pace

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
        pace.accepted(100.0, before_refusal=False)
    pace.refused(100.0 + ago, 102.0 + ago)
    return pace


def rate_at(pace: Pace, now: float) -> float:
    """What the pace is at *now*, from the distance of two slots."""
    pace.next_slot = now
    pace.take_slot(now)
    return 1 / (pace.next_slot - now)


# Slots


def test_without_a_rate_nothing_is_limited() -> None:
    pace = Pace()
    assert send(pace, 3, 7.0) == [7.0] * 3
    assert not pace.is_limited
    assert Pace(4).is_limited


def test_slots_are_even_and_idle_time_allows_no_burst() -> None:
    pace = Pace(4)
    assert send(pace, 5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert send(pace, 4, 3600.0) == [3600.0, 3600.0, 3600.25, 3600.5]  # one slot is caught up


def test_an_overdue_slot_does_not_delay_the_next() -> None:
    pace = Pace(4)
    send(pace, 1)
    pace.take_slot(0.35)  # due at 0.25
    assert pace.next_slot == 0.5


@pytest.mark.parametrize("rate", [0.4, 1, 2.5, 33.3, 1000])
def test_the_rate_is_reached_and_no_second_holds_more_than_the_rate_and_one(rate: float) -> None:
    times = send(Pace(rate), 1500, 100.0)
    assert most_in_a_second(times) <= rate + 1
    assert times[-1] - times[0] == pytest.approx(1498.5 / rate, rel=0.001)


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


# The learned pace


def test_the_pace_recovers_along_a_cubic() -> None:
    pace = Learned(20.0, refused=100.0, resumed=102.0)
    shares = [pace.at(102.0 + after) / 20.0 for after in (0, 5, 10, 20, 30)]
    assert shares == pytest.approx([0.95, 0.99375, 1.0, 1.05, 1.4])


@pytest.mark.parametrize(
    ("lasted", "share", "plateau"),
    [
        (1.0, 1 - 0.3 * 2 / 3, 10.0),  # 2 of 3 seconds were a pause
        (8.0, 1 - 0.3 * 2 / 10, 16.0),
        (28.0, 1 - 0.3 * 2 / 30, 30.0),
    ],
)
def test_a_pace_refused_soon_is_lowered_most(lasted: float, share: float, plateau: float) -> None:
    pace, now = Learned(20.0, refused=100.0, resumed=102.0), 102.0 + lasted
    lowered = pace.lowered(1000.0, now, now + 2)
    assert lowered.rate == pytest.approx(pace.at(now) * share)
    assert (lowered.refused, lowered.resumed, lowered.plateau) == (now, now + 2, plateau)
    assert pace.lowered(10.0, now, now + 2).rate == pytest.approx(10 * share)


def test_a_first_refusal_teaches_the_good_answers_of_the_second_before() -> None:
    pace = refused(accepted=20)
    assert pace.is_limited
    assert rate_at(pace, 102.0) == pytest.approx(0.95 * 20)
    assert rate_at(pace, 112.0) == pytest.approx(20)


@pytest.mark.parametrize(("accepted", "ago"), [(4, 0.0), (9, 1.001)])
def test_too_few_good_answers_teach_nothing(accepted: int, ago: float) -> None:
    assert not refused(accepted=accepted, ago=ago).is_limited


def test_a_good_answer_counts_for_one_second() -> None:
    assert rate_at(refused(accepted=6, ago=1.0), 103.0) == pytest.approx(0.95 * 6)
    pace = Pace()
    for number in range(100):
        pace.accepted(number / 10, before_refusal=False)
    pace.refused(10.0, 12.0)
    assert rate_at(pace, 12.0) == pytest.approx(0.95 * 10)


def test_a_good_answer_to_a_request_in_flight_at_the_first_refusal_counts_half() -> None:
    pace = refused(accepted=20)
    for _ in range(4):
        pace.accepted(100.5, before_refusal=True)
    assert rate_at(pace, 102.0) == pytest.approx(0.95 * 22)
    pace.accepted(102.0, before_refusal=False)
    assert rate_at(pace, 102.0) == pytest.approx(0.95 * 22)
    pace.resumed()
    pace.accepted(102.0, before_refusal=True)
    assert rate_at(pace, 102.0) == pytest.approx(0.95 * 22)


def test_a_good_answer_in_flight_at_a_later_refusal_does_not_count() -> None:
    pace = refused(accepted=20)
    for _ in range(10):
        pace.accepted(110.0, before_refusal=False)
    pace.refused(110.0, 112.0)
    learned = rate_at(pace, 112.0)
    assert learned == pytest.approx(0.95 * 10 * (1 - 0.3 * 2 / 10))
    pace.accepted(110.5, before_refusal=True)
    assert rate_at(pace, 112.0) == learned


def test_a_good_answer_in_flight_counts_for_no_pace_that_was_not_learned() -> None:
    pace = refused(accepted=4)
    pace.accepted(100.5, before_refusal=True)
    assert not pace.is_limited


@pytest.mark.parametrize(("rate", "expected"), [(3.0, 3.0), (100.0, 19.0)])
def test_the_slower_of_rate_and_learned_pace_applies(rate: float, expected: float) -> None:
    assert rate_at(refused(accepted=20, rate=rate), 102.0) == pytest.approx(expected)


def test_the_learned_pace_is_forgotten_at_ten_times_its_rate() -> None:
    pace = refused()
    times = send(pace, 1100, 102.0)  # ten times the rate after 66.5 s
    apart = [after - before for before, after in pairwise(times)]
    assert min(each for each in apart if each) == pytest.approx(1 / 50, rel=0.02)
    assert not pace.is_limited
    assert times[-1] == times[-50]
    assert times[-1] - 102.0 == pytest.approx(66.5, abs=0.1)
