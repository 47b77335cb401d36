"""A rate that clients share: slots evenly apart, pauses for all, and what refusals make of it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async import ConfigError, InProcessRateLimiter, RateLimiter, Reservation
from dp_async._call.rate_limiter import LEAST, LOWERED, PERIOD, Schedule, check_rate_limiter
from tests.support.virtual_loop import run


def slots(given: Reservation, now: float) -> list[float]:
    return [now + given.wait + index * given.step for index in range(given.count)]


def most_in_a_second(times: list[float]) -> int:
    """The most of *times* in any second; rounding does not count."""
    times = sorted(times)
    return max(
        sum(time <= other < time + 1 - 1e-6 for other in times[index:])
        for index, time in enumerate(times)
    )


@given(
    st.floats(0.5, 300),
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 0.3)), min_size=1, max_size=40),
)
def test_no_second_has_more_than_the_rate_and_one(
    rate: float, reservations: list[tuple[int, float]]
) -> None:
    schedule, now, found = Schedule(rate), 0.0, list[float]()
    for want, later in reservations:
        now += later
        reserved = schedule.reserve(want, now)
        assert 1 <= reserved.count <= want
        assert reserved.count == 1 or reserved.count * reserved.step <= 0.05 + 1e-9
        found += slots(reserved, now)
    assert found == sorted(found)
    assert most_in_a_second(found) <= math.floor(rate) + 1


def test_a_slot_that_nobody_reserved_in_time_is_gone() -> None:
    schedule = Schedule(10)
    assert schedule.reserve(1, 0.0).wait == 0
    assert [schedule.reserve(1, 100.0).wait for _ in range(3)] == pytest.approx([0, 0.1, 0.2])


def test_all_pause_and_slots_follow_evenly() -> None:
    schedule = Schedule(10)
    schedule.pause(5.0, 0.0)
    schedule.pause(1.0, 0.0)  # that is shorter, and changes nothing
    assert schedule.reserve(1, 1.0) == Reservation(4.0, 0.1, 1, paused=4.0)
    assert schedule.reserve(1, 1.0) == Reservation(4.1, 0.1, 1, paused=4.0)
    assert schedule.reserve(1, 5.25).wait == 0
    assert schedule.reserve(1, 5.25) == Reservation(5.35 - 5.25, 0.1, 1)


def busy(rate: float = 100) -> Schedule:
    """A schedule whose slots are reserved for some time from 0 on."""
    schedule = Schedule(rate)
    for _ in range(100):
        schedule.reserve(5, 0.0)
    return schedule


@pytest.mark.parametrize(
    ("refusals", "share"),
    [
        ([0.0], LOWERED),
        ([0.0, 0.1], LOWERED**2),  # two clients, of what was sent together
        ([0.0, *[0.1] * 8], LEAST),  # nine of them
        ([0.0, 1.5], LOWERED * LEAST),  # again, soon after: still far off
        ([0.0, 1.5, 1.6], LOWERED * LEAST),
        ([0.0, 1.5, 3.0], LOWERED * LEAST**2),
        ([0.0, 3.5], LOWERED**2),  # the rate held for a while: a little too high
    ],
)
def test_refusals_lower_the_rate(refusals: list[float], share: float) -> None:
    schedule = busy()
    for now in refusals:
        schedule.pause(0.0, now)
    assert schedule.rate(refusals[-1]) == pytest.approx(100 * share, rel=1e-3)


def test_a_refusal_lowers_no_rate_that_holds_nothing_back() -> None:
    schedule = Schedule(100)
    schedule.reserve(1, 0.0)
    schedule.pause(1.0, 0.5)
    assert schedule.rate(2.0) == 100


def test_refusals_in_a_pause_lower_nothing() -> None:
    schedule = busy()
    schedule.pause(10.0, 0.0)
    schedule.pause(10.0, 5.0)
    assert schedule.rate(5.0) == 100 * LOWERED


def test_the_rate_recovers_slowly_then_quickly_after_the_pause() -> None:
    schedule = busy()
    schedule.pause(3.0, 0.0)
    schedule.pause(3.0, 0.5)
    found = [schedule.rate(3.5 + PERIOD * part) / 100 for part in (0, 0.5, 0.9, 1)]
    assert found == pytest.approx([0.9216, 0.9389, 1.0, 1.0], rel=2e-3)
    assert schedule.rate(0.0) == 100  # it is not learned any more


def test_a_pause_that_lowers_nothing_sets_no_rate_back() -> None:
    schedule = busy()
    schedule.pause(0.0, 0.0)
    for now in (30.0, 30.5, 31.0):
        schedule.pause(0.2, now)
    assert schedule.rate(30.0) == pytest.approx(100, rel=1e-3)


def test_the_slowest_rate_is_not_lowered() -> None:
    schedule = busy(0.001)
    schedule.pause(1.0, 0.0)
    assert schedule.rate(0.0) == 0.001


def test_clients_of_one_loop_share_a_rate() -> None:
    async def main() -> list[float]:
        limiter, times = InProcessRateLimiter(20), list[float]()

        async def client() -> None:
            for _ in range(10):
                await asyncio.sleep((await limiter.reserve(1)).wait)
                times.append(asyncio.get_running_loop().time())

        await asyncio.gather(client(), client(), client())
        await limiter.pause(2.0)
        assert (await limiter.reserve(1)).paused == 2
        return times

    assert run(main()) == pytest.approx([index / 20 for index in range(30)])


def test_it_is_a_rate_limiter_and_shows_its_rate() -> None:
    limiter: RateLimiter = InProcessRateLimiter(20)
    assert repr(limiter) == "InProcessRateLimiter(rate=20)"
    check_rate_limiter(limiter)


@pytest.mark.parametrize("rate", [0, -1, True, "20", None, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(ConfigError, match=r"^rate must be a number from 0\.001 to 100,000, not"):
        InProcessRateLimiter(rate)


@pytest.mark.parametrize(
    ("method", "argument", "text"),
    [
        ("reserve", 0, "want must be a whole number from 1"),
        ("reserve", 1.5, "want must be a whole number from 1"),
        ("pause", -1, "seconds must be a number from 0"),
        ("pause", float("nan"), "seconds must be a number from 0"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused(method: str, argument: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        run(getattr(InProcessRateLimiter(20), method)(argument))


class Half:
    async def reserve(self, want: int, /) -> Reservation:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "kind"),
    [(20, "int"), (Half(), "Half"), (InProcessRateLimiter, "the class InProcessRateLimiter")],
)
def test_what_is_no_rate_limiter_is_refused(given: Any, kind: str) -> None:
    text = f"^rate_limiter must be an object with the async methods .*, not {kind}$"
    with pytest.raises(ConfigError, match=text):
        check_rate_limiter(given)
