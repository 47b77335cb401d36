"""The shared pause: what the server asks for, or exponential; jitter; the caps."""

from __future__ import annotations

import math

import pytest

from dp_async._call.backoff import Backoff


def backoff(jitter: float = 0.5, base: float = 8.0, cap: float = 20.0) -> Backoff:
    return Backoff(base, cap, lambda: jitter)


def test_a_wait_that_the_server_asked_for_gets_up_to_a_tenth_more() -> None:
    pause = backoff()
    pause.obey(10.0, 100.0)
    assert pause.ends == 110.5
    pause.obey(10.2, 100.0)
    assert pause.ends == pytest.approx(110.71)
    pause.obey(2.0, 105.0)  # ends before
    assert pause.ends == pytest.approx(110.71)
    assert math.isclose(pause.least_cap(105.0), 5.2, abs_tol=0.01)


@pytest.mark.parametrize(
    ("base", "cap", "retry_after", "wait"),
    [(8.0, 20.0, 19.9, 20.0), (0.0, 20.0, 5.0, 5.0), (0.1, 20.0, 5.0, 5.05), (8.0, 4.0, 5.0, 5.0)],
)
def test_jitter_lengthens_no_wait_beyond_the_cap_or_by_more_than_the_base(
    base: float, cap: float, retry_after: float, wait: float
) -> None:
    pause = backoff(base=base, cap=cap)
    pause.obey(retry_after, 0.0)
    assert pause.ends == pytest.approx(wait)


def test_without_a_wait_from_the_server_it_grows_by_half_up_to_the_cap_until_a_call_passes() -> (
    None
):
    pause = backoff()
    waits: list[float] = []
    for time in range(0, 9_000, 1_000):
        pause.grow(time)
        waits.append(pause.ends - time)
    assert waits == [1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10.0, 10.0, 10.0]
    pause.reset()
    pause.grow(10_000)
    assert pause.ends == 10_001


def test_thousands_of_refusals_in_a_row_are_no_overflow() -> None:
    pause = backoff()
    for _ in range(2_000):
        pause.grow(0.0)
    assert pause.ends == 10.0


def test_jitter_does_not_count_against_a_cap() -> None:
    pause = backoff()
    assert pause.least_cap(0.0) < 0
    pause.obey(10.0, 100.0)
    assert math.isclose(pause.least_cap(103.0), 7.0, abs_tol=0.01)
    pause = backoff()
    pause.grow(100.0)
    assert math.isclose(pause.least_cap(100.0), 1.0, abs_tol=0.01)


def test_a_shared_pause_is_followed_without_jitter() -> None:
    pause = backoff()
    pause.follow(3.0, 10.0)
    assert pause.ends == 13.0
    assert pause.least_cap(10.0) == pytest.approx(3.0, abs=0.002)
    pause.follow(1.0, 10.0)  # that ends sooner
    assert pause.ends == 13.0
