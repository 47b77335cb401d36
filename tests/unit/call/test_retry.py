"""Retries: which errors, after which wait, within policy and budget; the free retry of a mark."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

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
from dp_async._call.retry import RetryBudget, backoff, retrying
from dp_async._call.stats import Tally
from dp_async._errors import allow_retry_now, forbid_retry
from dp_async._http import Answer, Call
from tests.support.samples import REQUEST, Script

E = TypeVar("E", bound=CallError)

GOOD = Answer(Raw(b"{}"))
POLICY = RetryPolicy(attempts=3, base=1.0, cap=10.0)

RETRIED: list[CallError] = [
    TransportError("gone"),
    AttemptTimeout("slow"),
    RateLimited("too fast"),
    ServerError("no"),
]

NOT_RETRIED: list[BaseException] = [
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
    """A retrying call over a script; time passes only in the waits, which are kept."""

    def __init__(
        self,
        *outcomes: Answer | BaseException,
        policy: RetryPolicy = POLICY,
        retry_budget: RetryBudget | None = None,
        jitter: float = 0.5,
        excused: type[CallError] | tuple[()] = (),
    ) -> None:
        self.script = Script(*outcomes)
        self.waits: list[float] = []
        self.tally = Tally()
        self.retry_budget = retry_budget or RetryBudget()
        self.now = 100.0
        self.call: Call = retrying(
            self.script,
            policy,
            self.tally,
            self.retry_budget,
            clock=lambda: self.now,
            sleep=self._sleep,
            jitter=lambda: jitter,
            excused=lambda error: isinstance(error, excused),
        )

    @property
    def attempts(self) -> list[int]:
        """The attempt number of each request."""
        return [request.attempt for request in self.script.requests]

    async def _sleep(self, wait: float) -> None:
        self.waits.append(wait)
        self.now += wait


def marked(error: E) -> E:
    """*error* with the retry-now mark."""
    allow_retry_now(error)
    return error


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


async def test_a_failure_that_may_pass_is_retried() -> None:
    for error in RETRIED:
        rig = Rig(error, error, GOOD)
        assert await rig.call(REQUEST) is GOOD
        assert rig.script.requests == [replace(REQUEST, attempt=number) for number in (1, 2, 3)]
        assert rig.waits == ([] if isinstance(error, RateLimited) else [0.5, 1.0])
        assert rig.tally.retries == 2
        assert rig.retry_budget.left == 98.5


async def test_any_other_error_is_raised_at_once() -> None:
    lasting = TransportError("no certificate")
    forbid_retry(lasting)
    for error in (lasting, *NOT_RETRIED):
        rig = Rig(error, GOOD)
        with pytest.raises(type(error)) as caught:
            await rig.call(REQUEST)
        assert caught.value is error
        assert (rig.waits, rig.tally.retries, len(rig.script.requests)) == ([], 0, 1)
        assert rig.retry_budget.left == 100


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_policy_limits_the_attempts(attempts: int) -> None:
    errors = [ServerError(f"no {number}") for number in range(10)]
    rig = Rig(*errors, policy=RetryPolicy(attempts=attempts, base=2.0, cap=3.0))
    with pytest.raises(ServerError) as caught:
        await rig.call(REQUEST)
    assert caught.value is errors[attempts - 1]
    assert rig.attempts == list(range(1, attempts + 1))
    assert rig.tally.retries == attempts - 1
    assert rig.retry_budget.left == 100 - (attempts - 1)
    assert not notes(caught.value)
    assert caught.value.attempts == attempts
    assert caught.value.elapsed == sum(rig.waits) == sum([1.0, 1.5, 1.5, 1.5][: attempts - 1])
    assert ("gave up after" in str(caught.value)) is (attempts > 1)
    assert caught.value.__context__ is None


async def test_a_final_error_counts_the_attempts_before_it() -> None:
    rig = Rig(TransportError("gone"), AuthError("no"))
    with pytest.raises(AuthError, match=r"^no \(gave up after 2 attempts in 0.5 s\)$") as caught:
        await rig.call(REQUEST)
    assert caught.value.__context__ is None


async def test_a_request_that_is_not_idempotent_is_not_retried() -> None:
    rig = Rig(TransportError("gone"), GOOD)
    with pytest.raises(TransportError):
        await rig.call(replace(REQUEST, idempotent=False))
    assert len(rig.script.requests) == 1


async def test_each_call_has_its_own_attempts() -> None:
    rig = Rig(ServerError("1"), ServerError("2"), ServerError("3"), ServerError("4"), GOOD)
    with pytest.raises(ServerError):
        await rig.call(REQUEST)
    assert await rig.call(REQUEST) is GOOD
    assert rig.waits == [0.5, 1.0, 0.5]
    assert rig.attempts == [1, 2, 3, 1, 2]


async def test_a_wait_can_be_cancelled() -> None:
    async def cancelled(wait: float) -> None:
        raise asyncio.CancelledError

    script = Script[Answer](TransportError("gone"), GOOD)
    call = retrying(script, POLICY, Tally(), RetryBudget(), clock=lambda: 0.0, sleep=cancelled)
    with pytest.raises(asyncio.CancelledError):
        await call(REQUEST)
    assert len(script.requests) == 1


async def test_the_waits_are_random() -> None:
    waits: list[float] = []

    async def slept(wait: float) -> None:
        waits.append(wait)

    policy = RetryPolicy(attempts=30, base=1.0, cap=1.0)
    script = Script[Answer](*[TransportError("gone")] * 29, GOOD)
    call = retrying(script, policy, Tally(), RetryBudget(), clock=lambda: 0.0, sleep=slept)
    assert await call(REQUEST) is GOOD
    assert all(0 <= wait < 1 for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize(("kind", "after"), [(RateLimited, 7.0), (ServerError, 10.0)])
async def test_a_refusal_with_retry_after_leaves_the_wait_to_the_limiter(
    kind: type[ApiError], after: float
) -> None:
    rig = Rig(kind("no", retry_after=after), kind("no", retry_after=after), GOOD)
    assert await rig.call(REQUEST) is GOOD
    assert (rig.waits, rig.attempts) == ([], [1, 2, 3])


def test_a_retry_after_above_the_cap_is_not_retried() -> None:
    cases: list[tuple[float | None, float | None]] = [
        (None, 0.0),
        (0.0, 0.0),
        (10.0, 0.0),
        (10.1, None),
        (86_400.0, None),
        (1_700_000_000.0, 0.0),  # an epoch second, which is ignored
    ]
    for after, wait in cases:
        refused = RateLimited("", retry_after=after)
        assert backoff(refused, REQUEST, 1, POLICY, lambda: 0.5) == wait


async def test_the_error_of_a_retry_after_above_the_cap_names_it() -> None:
    rig = Rig(ServerError("down.", status=503, retry_after=60.4), GOOD)
    with pytest.raises(ServerError) as caught:
        await rig.call(REQUEST)
    assert caught.value.retry_after == 60.4
    assert str(caught.value) == (
        "down. The server asks for a wait of 60 s (Retry-After), which is longer than "
        "RetryPolicy.cap, 10 s"
    )
    assert rig.waits == []


@pytest.mark.parametrize(
    "error",
    [
        ServerError("down", status=503, retry_after=10.0),  # the cap
        ServerError("down", status=503, retry_after=86_401.0),  # ignored
        RateLimited("down", retry_after=10.5),  # not sent: the limiter's own text
        ServerError("down", status=503),
    ],
)
async def test_no_other_error_names_the_wait(error: CallError) -> None:
    rig = Rig(*[error] * 3)
    with pytest.raises(CallError) as caught:
        await rig.call(REQUEST)
    assert caught.value.args == ("down",)


async def test_a_wait_of_more_than_a_day_is_retried_by_the_policy() -> None:
    rig = Rig(ServerError("down", status=503, retry_after=1_700_000_000.0), GOOD)
    assert await rig.call(REQUEST) is GOOD
    assert rig.waits == [0.5]


@settings(max_examples=50)
@given(
    attempt=st.integers(1, 999),
    base=st.floats(0, 3_600),
    cap=st.floats(0, 86_400),
    jitter=st.floats(0, 1, exclude_max=True),
    after=st.none() | st.floats(0, 86_400),
    kind=st.sampled_from([RateLimited, ServerError]),
)
def test_no_wait_is_above_its_bounds(
    attempt: int, base: float, cap: float, jitter: float, after: float | None, kind: type[ApiError]
) -> None:
    policy = RetryPolicy(attempts=1_000, base=base, cap=cap)
    wait = backoff(kind("", retry_after=after), REQUEST, attempt, policy, lambda: jitter)
    if after is not None:
        assert wait == (None if after > cap else 0.0)
    elif kind is RateLimited:
        assert wait == 0.0
    else:
        assert wait is not None
        assert 0 <= wait <= min(cap, base * 2.0 ** (attempt - 1))


def test_the_longest_wait_doubles_up_to_the_cap() -> None:
    def bounds() -> Iterator[Any]:
        for attempt in range(1, 8):
            policy = RetryPolicy(attempts=99, base=0.5, cap=8.0)
            yield backoff(TransportError(""), REQUEST, attempt, policy, lambda: 1.0)

    assert list(bounds()) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_retry_costs_one_of_a_hundred_tokens_and_a_success_refunds_half() -> None:
    retry_budget = RetryBudget()
    assert [retry_budget.take() for _ in range(100)] == [True] * 100
    assert (retry_budget.take(), retry_budget.left) == (False, 0)
    retry_budget.refund()
    assert (retry_budget.take(), retry_budget.left) == (False, 0.5)
    retry_budget.refund()
    assert (retry_budget.take(), retry_budget.left) == (True, 0)
    for _ in range(1_000):
        retry_budget.refund()
    assert retry_budget.left == 100


async def test_without_a_token_the_error_is_raised_with_a_note() -> None:
    rig = Rig(TransportError("1"), TransportError("2"), GOOD, retry_budget=RetryBudget(1.0))
    with pytest.raises(TransportError, match="2") as caught:
        await rig.call(REQUEST)
    (note,) = notes(caught.value)
    assert note.startswith("not repeated: too many of this client's requests fail")
    assert "retry budget" in note
    assert (caught.value.attempts, caught.value.elapsed) == (2, 0.5)
    assert (rig.waits, rig.attempts, rig.tally.retries) == ([0.5], [1, 2], 1)


@pytest.mark.parametrize("error", [AuthError("no"), ServerError("no", retry_after=3600.0)])
async def test_an_error_that_is_not_retried_has_no_note(
    error: CallError,
) -> None:
    rig = Rig(error, retry_budget=RetryBudget(0.0))
    with pytest.raises(type(error)) as caught:
        await rig.call(REQUEST)
    assert not notes(caught.value)


async def test_two_successes_refund_a_retry() -> None:
    gone = TransportError("gone")
    rig = Rig(gone, GOOD, gone, GOOD, gone, GOOD, retry_budget=RetryBudget(1.0))
    await rig.call(REQUEST)  # costs 1, refunds 0.5
    with pytest.raises(TransportError):
        await rig.call(REQUEST)
    await rig.call(REQUEST)  # refunds 0.5
    await rig.call(REQUEST)
    assert rig.attempts == [1, 2, 1, 1, 1, 2]


async def test_an_outage_is_not_multiplied() -> None:
    rig = Rig(*[ServerError("down") for _ in range(400)])
    for _ in range(200):
        with pytest.raises(ServerError):
            await rig.call(REQUEST)
    assert len(rig.script.requests) == 200 + 100


@pytest.mark.parametrize("attempts", [2, 4])
async def test_a_third_of_all_requests_may_fail_for_good(attempts: int) -> None:
    """Every failing call is followed by twice as many requests that succeed."""
    doomed = [ServerError("no") for _ in range(attempts)]
    rig = Rig(policy=RetryPolicy(attempts=attempts, base=0))
    for _ in range(100):
        rig.script.outcomes += [*doomed, *[GOOD] * 2 * attempts]
        with pytest.raises(ServerError) as caught:
            await rig.call(REQUEST)
        assert caught.value.attempts == attempts
        assert not notes(caught.value)
        for _ in range(2 * attempts):
            await rig.call(REQUEST)
        assert rig.retry_budget.left == 100


async def test_every_third_request_may_fail_for_ever() -> None:
    three: list[Answer | BaseException] = [ServerError("no"), GOOD, GOOD]
    rig = Rig(*three * 300)
    while rig.script.outcomes:
        assert await rig.call(REQUEST) is GOOD
    assert rig.retry_budget.left >= 99


# Refusals while the server lets others through


async def test_an_excused_refusal_costs_neither_an_attempt_nor_budget() -> None:
    down, refused = TransportError("gone"), RateLimited("too fast")
    rig = Rig(refused, down, refused, down, refused, GOOD, excused=RateLimited)
    assert await rig.call(REQUEST) is GOOD
    assert rig.attempts == [1, 2, 3, 4, 5, 6]
    assert (rig.tally.retries, rig.retry_budget.left) == (5, 98.5)


async def test_a_call_that_is_refused_again_and_again_backs_off_and_fails_in_the_end() -> None:
    refused = ServerError("too fast")
    rig = Rig(*[refused] * 20, excused=ServerError)
    with pytest.raises(ServerError):
        await rig.call(REQUEST)
    assert rig.waits == [0.5, 1.0, 2.0, 4.0, 5.0, 0.5, 1.0]  # of 10 s, the cap; then its attempts
    assert rig.attempts == list(range(1, 11))
    assert rig.retry_budget.left == 98


@pytest.mark.parametrize(
    ("policy", "idempotent", "error"),
    [
        (RetryPolicy(attempts=1), True, RateLimited("too fast")),
        (POLICY, False, RateLimited("too fast")),
        (POLICY, True, RateLimited("too fast", retry_after=10.5)),
        (POLICY, True, BadRequest("no", retry_after=1.0)),
    ],
)
async def test_no_excuse_for_what_the_policy_does_not_repeat(
    policy: RetryPolicy, idempotent: bool, error: CallError
) -> None:
    rig = Rig(error, GOOD, policy=policy, excused=CallError)
    with pytest.raises(type(error)):
        await rig.call(replace(REQUEST, idempotent=idempotent))
    assert rig.attempts == [1]


@pytest.mark.parametrize(
    ("in_flight", "attempts", "tokens"), [(16, 4, 100), (64, 8, 448), (64, 1, 100)]
)
def test_the_budget_is_enough_for_all_that_is_in_flight(
    in_flight: int, attempts: int, tokens: int
) -> None:
    assert RetryBudget.of(in_flight, attempts).left == tokens


KINDS = pytest.mark.parametrize("kind", [AuthError, TransportError])


@KINDS
@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_marked_error_is_retried_at_once_and_costs_no_token(
    kind: type[CallError], attempts: int
) -> None:
    policy = RetryPolicy(attempts=attempts, base=1.0)
    rig = Rig(marked(kind("no")), GOOD, policy=policy, retry_budget=RetryBudget(0.0))
    assert await rig.call(REQUEST) is GOOD
    assert (rig.attempts, rig.waits, rig.tally.retries) == ([1, 2], [], 1)


async def test_the_correction_of_a_marked_error_is_tried_until_the_call_ends() -> None:
    refused = AuthError("no")
    allow_retry_now(refused, 3600.0)
    rig = Rig(refused, ServerError("down"), TransportError("gone"), GOOD, GOOD)
    await rig.call(REQUEST)
    await rig.call(REQUEST)
    tried = [request.clock_ahead for request in rig.script.requests]
    assert tried == [None, 3600.0, 3600.0, 3600.0, None]


@KINDS
async def test_a_second_marked_error_is_raised(kind: type[CallError]) -> None:
    errors = [marked(kind("1")), marked(kind("2"))]
    rig = Rig(*errors, GOOD, policy=RetryPolicy(attempts=1))
    with pytest.raises(kind) as caught:
        await rig.call(REQUEST)
    assert caught.value is errors[1]
    assert (caught.value.attempts, rig.attempts, rig.waits) == (2, [1, 2], [])
    assert str(caught.value) == "2 (gave up after 2 attempts in 0.0 s)"


async def test_the_free_retry_is_not_one_of_the_policy_s_attempts() -> None:
    errors = [marked(TransportError("1")), *[marked(TransportError("more")) for _ in range(3)]]
    rig = Rig(*errors, GOOD)
    with pytest.raises(TransportError) as caught:
        await rig.call(REQUEST)
    assert caught.value is errors[3]
    assert (caught.value.attempts, caught.value.elapsed) == (4, 1.5)
    assert (rig.attempts, rig.waits, rig.retry_budget.left) == ([1, 2, 3, 4], [0.5, 1.0], 98)


async def test_a_marked_error_may_follow_other_failures() -> None:
    rig = Rig(TransportError("1"), TransportError("2"), marked(AuthError("3")), GOOD)
    assert await rig.call(REQUEST) is GOOD
    assert (rig.attempts, rig.waits) == ([1, 2, 3, 4], [0.5, 1.0])


async def test_each_call_has_its_own_free_retry() -> None:
    outcomes: list[Answer | BaseException] = [marked(AuthError("no")), GOOD]
    rig = Rig(*outcomes * 3, policy=RetryPolicy(attempts=1))
    for _ in range(3):
        assert await rig.call(REQUEST) is GOOD
    assert rig.attempts == [1, 2] * 3


@KINDS
async def test_a_marked_error_of_a_request_that_is_not_idempotent_is_raised(
    kind: type[CallError],
) -> None:
    rig = Rig(marked(kind("no")), GOOD)
    with pytest.raises(kind):
        await rig.call(replace(REQUEST, idempotent=False))
    assert (rig.attempts, rig.tally.retries) == ([1], 0)


async def test_a_cancellation_is_never_retried() -> None:
    rig = Rig(marked(AuthError("1")), TransportError("2"), asyncio.CancelledError(), GOOD)
    with pytest.raises(asyncio.CancelledError):
        await rig.call(REQUEST)
    assert (rig.attempts, rig.tally.retries) == ([1, 2, 3], 2)
