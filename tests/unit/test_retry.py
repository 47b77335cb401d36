"""What may pass is asked again, never early, never for ever; the rest is raised at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from dp_async import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    CallError,
    ClientClosed,
    ConfigError,
    DecodeError,
    RateLimited,
    ResponseTooLarge,
    RetryPolicy,
    ServerError,
    TransportError,
)
from dp_async._http import Call
from dp_async._report import Tally
from dp_async._retry import pause, retrying
from tests.unit.given import REQUEST, Script

GOOD = Raw(b"{}")
POLICY = RetryPolicy(attempts=3, base=1.0, cap=10.0)

PASSING: list[CallError] = [
    TransportError("gone"),
    AttemptTimeout("slow"),
    RateLimited("too fast"),
    ServerError("no"),
]

LASTING: list[BaseException] = [
    ApiError("no"),
    AuthError("no"),
    BadRequest("no"),
    DecodeError("what"),
    ResponseTooLarge("more"),
    ConfigError("no"),
    ClientClosed("closed"),
    ValueError("bug"),
    TimeoutError("not ours"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


class Rig:
    """A retrying call over a script; time stands still but for the waits, which are kept."""

    def __init__(
        self, *outcomes: Raw | BaseException, policy: RetryPolicy = POLICY, spread: float = 0.5
    ) -> None:
        self.script = Script(*outcomes)
        self.waits: list[float] = []
        self.tally = Tally()
        self.now = 100.0
        self.call: Call = retrying(
            self.script,
            policy,
            self.tally,
            clock=lambda: self.now,
            sleep=self._sleep,
            spread=lambda: spread,
        )

    async def _sleep(self, wait: float) -> None:
        self.waits.append(wait)
        self.now += wait


@pytest.mark.parametrize("error", PASSING, ids=repr)
async def test_what_may_pass_is_asked_again(error: CallError) -> None:
    rig = Rig(error, error, GOOD)
    assert await rig.call(REQUEST) is GOOD
    assert rig.script.requests == [REQUEST] * 3
    assert rig.waits == [0.5, 1.0]
    assert rig.tally.retries == 2
    assert rig.tally.throttles == 2 * isinstance(error, RateLimited)


@pytest.mark.parametrize("error", LASTING, ids=repr)
async def test_what_will_not_pass_is_raised_at_once(error: BaseException) -> None:
    rig = Rig(error, GOOD)
    with pytest.raises(type(error)) as caught:
        await rig.call(REQUEST)
    assert caught.value is error
    assert (rig.waits, rig.tally.retries, len(rig.script.requests)) == ([], 0, 1)


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_there_are_so_many_attempts_and_no_more(attempts: int) -> None:
    errors = [ServerError(f"no {number}") for number in range(10)]
    rig = Rig(*errors, policy=RetryPolicy(attempts=attempts, base=2.0, cap=3.0))
    with pytest.raises(ServerError) as caught:
        await rig.call(REQUEST)
    assert caught.value is errors[attempts - 1]
    assert len(rig.script.requests) == attempts
    assert rig.tally.retries == attempts - 1
    assert caught.value.attempts == attempts
    assert caught.value.elapsed == sum(rig.waits) == sum([1.0, 1.5, 1.5, 1.5][: attempts - 1])
    assert ("gave up after" in str(caught.value)) is (attempts > 1)
    assert caught.value.__context__ is None


async def test_an_error_that_lasts_counts_the_attempts_before_it() -> None:
    rig = Rig(TransportError("gone"), AuthError("no"))
    with pytest.raises(AuthError, match=r"^no \(gave up after 2 attempts in 0.5 s\)$") as caught:
        await rig.call(REQUEST)
    assert caught.value.__context__ is None


async def test_what_is_not_idempotent_is_not_asked_again() -> None:
    rig = Rig(TransportError("gone"), GOOD)
    with pytest.raises(TransportError):
        await rig.call(replace(REQUEST, idempotent=False))
    assert len(rig.script.requests) == 1


async def test_the_next_call_starts_anew() -> None:
    rig = Rig(ServerError("1"), ServerError("2"), ServerError("3"), ServerError("4"), GOOD)
    with pytest.raises(ServerError):
        await rig.call(REQUEST)
    assert await rig.call(REQUEST) is GOOD
    assert rig.waits == [0.5, 1.0, 0.5]


async def test_a_wait_can_be_cancelled() -> None:
    async def cancelled(wait: float) -> None:
        raise asyncio.CancelledError

    script = Script[Raw](TransportError("gone"), GOOD)
    call = retrying(script, POLICY, Tally(), clock=lambda: 0.0, sleep=cancelled)
    with pytest.raises(asyncio.CancelledError):
        await call(REQUEST)
    assert len(script.requests) == 1


async def test_the_real_sleep_and_chance_are_the_defaults() -> None:
    script = Script[Raw](TransportError("gone"), GOOD)
    policy = RetryPolicy(attempts=2, base=0, cap=0)
    assert await retrying(script, policy, Tally(), clock=lambda: 0.0)(REQUEST) is GOOD


def waiting(after: float | None, attempt: int = 1, spread: float = 0.0) -> float | None:
    return pause(RateLimited("", retry_after=after), REQUEST, attempt, POLICY, lambda: spread)


@pytest.mark.parametrize(
    ("after", "spread", "wait"),
    [
        (None, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (7.0, 0.0, 7.0),
        (7.0, 0.5, 7.5),
        (10.0, 0.0, 10.0),
        (10.0, 0.5, 10.5),
        (10.1, 0.0, None),
        (1e9, 0.0, None),
        (float("inf"), 0.0, None),
    ],
)
def test_retry_after_is_the_least_wait_or_the_end(
    after: float | None, spread: float, wait: float | None
) -> None:
    assert waiting(after, spread=spread) == wait


async def test_above_the_cap_the_error_says_when_to_come_back() -> None:
    rig = Rig(ServerError("down", retry_after=3600.0), GOOD)
    with pytest.raises(ServerError) as caught:
        await rig.call(REQUEST)
    assert caught.value.retry_after == 3600.0
    assert rig.waits == []


finite = st.floats(0, 1e12)  # seconds: where sums are exact enough to compare


@settings(deadline=None)
@given(st.integers(1, 10**6), finite, finite, st.floats(0, 1, exclude_max=True), st.none() | finite)
def test_no_wait_is_early_or_above_the_bounds(
    attempt: int, base: float, cap: float, spread: float, after: float | None
) -> None:
    policy = RetryPolicy(attempts=10**6 + 1, base=base, cap=cap)
    error = RateLimited("", retry_after=after)
    wait = pause(error, REQUEST, attempt, policy, lambda: spread)
    if wait is None:
        assert after is not None
        assert after > cap
    else:
        least = after or 0
        bound = min(cap, base * 2.0 ** min(attempt - 1, 64))
        assert least <= wait <= least + bound


def test_the_bound_doubles_up_to_the_cap() -> None:
    def bounds() -> Iterator[Any]:
        for attempt in range(1, 8):
            policy = RetryPolicy(attempts=99, base=0.5, cap=8.0)
            yield pause(TransportError(""), REQUEST, attempt, policy, lambda: 1.0)

    assert list(bounds()) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
