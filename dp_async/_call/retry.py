"""Repeats a call after a failure that may pass. Decides from the error alone; sends nothing."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from .._errors import (
    ApiError,
    CallError,
    RateLimited,
    clock_ahead_of,
    may_pass,
    may_retry_now,
)
from .._http import Answer, Call, Request
from .._settings import RetryPolicy
from .limits import wait_of
from .stats import Tally


class RetryBudget:
    """Token bucket of *most* tokens: a retry costs 1, a success refunds 0.5.

    So a third of all requests may fail for good, and an outage is not multiplied.
    """

    def __init__(self, most: float = 100.0) -> None:
        self._most = most
        self.left = most

    def take(self) -> bool:
        """Take a token; False if there is none."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def refund(self) -> None:
        """A call succeeded."""
        self.left = min(self._most, self.left + 0.5)


def retrying(
    call: Call,
    policy: RetryPolicy,
    tally: Tally,
    retry_budget: RetryBudget,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    jitter: Callable[[], float] = random.random,
) -> Call:
    """*call*, repeated as *policy* and *retry_budget* allow, after no answer, 429 or 5xx.

    An error that ``may_retry_now`` is repeated once, at once, outside policy and budget. *clock* is
    in seconds, for the error's ``elapsed``; *jitter* is uniform over [0, 1).
    """

    async def repeating(request: Request, /) -> Answer:
        start = clock()
        free = 0
        while True:
            try:
                answer = await call(request)
            except CallError as error:
                error.attempts, error.elapsed = request.attempt, clock() - start
                ahead = request.clock_ahead
                error.page_num, error.page_size = request.page_num, request.page_size
                if may_retry_now(error) and request.idempotent and not free:
                    free, wait = 1, 0.0
                    ahead = clock_ahead_of(error)
                else:
                    planned = backoff(error, request, request.attempt - free, policy, jitter)
                    if planned is None:
                        _mention_wait(error, policy.cap)
                        raise
                    if not retry_budget.take():
                        error.add_note(
                            "not repeated: too many of this client's requests fail, so that its "
                            "retry budget is spent until others succeed"
                        )
                        raise
                    wait = planned
            else:
                retry_budget.refund()
                return answer
            tally.retried()
            if wait:
                await sleep(wait)
            request = replace(request, attempt=request.attempt + 1, clock_ahead=ahead)

    return repeating


def _mention_wait(error: CallError, cap: float) -> None:
    """Add a ``Retry-After`` above the *cap* to the text of *error*: it may be why it is raised.

    The limiter's error for a request that was not sent, of status 0, names the wait already.
    """
    wait = wait_of(error)
    if wait is not None and wait > cap and isinstance(error, ApiError) and error.status:
        text = str(error.args[0]).removesuffix(".")
        waiting = f"The server asks for a wait of {wait:.0f} s (Retry-After)"
        error.args = (f"{text}. {waiting}, which is longer than RetryPolicy.cap, {cap:g} s",)


def backoff(
    error: CallError,
    request: Request,
    attempt: int,
    policy: RetryPolicy,
    jitter: Callable[[], float],
) -> float | None:
    """The seconds to wait before the next attempt (exponential, full jitter); None: no retry.

    None also if ``Retry-After`` is above the cap, because a retry may not come early. Any other
    refusal waits 0 here: the limiter pauses it with all other calls.
    """
    if not request.idempotent or attempt >= policy.attempts:
        return None
    if not may_pass(error):
        return None
    server_wait = wait_of(error)
    if server_wait is not None and server_wait > policy.cap:
        return None
    if server_wait is not None or isinstance(error, RateLimited):
        return 0.0
    # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
    return jitter() * min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 64))
