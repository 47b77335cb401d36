"""Repeats a call after a failure that may pass. Decides from the error alone; sends nothing."""

from __future__ import annotations

import math
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

#: Refusals of one call that are repeated at once, while the server lets others through; from then
#: on it backs off by itself, since it may be this call alone that the server refuses.
AT_ONCE = 3
#: Tokens of the retry budget, at least.
LEAST = 100


class RetryBudget:
    """Token bucket of *most* tokens: a retry costs 1, a success refunds 0.5.

    So a third of all requests may fail for good, and an outage is not multiplied.
    """

    def __init__(self, most: float = LEAST) -> None:
        self._most = most
        self.left = most

    @classmethod
    def of(cls, in_flight: int, attempts: int) -> RetryBudget:
        """A budget for *in_flight* calls that use up their *attempts*, as in a short outage."""
        return cls(max(LEAST, in_flight * (attempts - 1)))

    def take(self) -> bool:
        """Take a token; False if there is none."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def refund(self) -> None:
        """A call succeeded."""
        left = self.left + 0.5
        self.left = left if left < self._most else self._most


def _never(error: CallError, /) -> bool:
    return False


def retrying(
    call: Call,
    policy: RetryPolicy,
    tally: Tally,
    retry_budget: RetryBudget,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    jitter: Callable[[], float] = random.random,
    excused: Callable[[CallError], bool] = _never,
) -> Call:
    """*call*, repeated as *policy* and *retry_budget* allow, after no answer, 429 or 5xx.

    An *excused* error, a refusal while the server lets others through, costs neither an attempt nor
    budget; for one call no longer than the policy's cap, since it may be refused alone. An error
    that ``may_retry_now`` is repeated once, at once, outside policy and budget. *clock* is in
    seconds, also for the error's ``elapsed``; *jitter* is uniform over [0, 1).
    """

    async def repeating(request: Request, /) -> Answer:
        start = clock()
        free = refusals = 0
        refused = math.inf  # since when
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
                elif (
                    excused(error)
                    and clock() - refused <= policy.cap
                    and backoff(error, request, 1, policy, jitter) is not None
                ):
                    refused = min(refused, clock())
                    refusals += 1
                    wait = 0.0 if refusals < AT_ONCE else _wait(refusals - AT_ONCE, policy, jitter)
                else:
                    attempt = request.attempt - free - refusals
                    planned = backoff(error, request, attempt, policy, jitter)
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
    return _wait(attempt - 1, policy, jitter)


def _wait(number: int, policy: RetryPolicy, jitter: Callable[[], float]) -> float:
    """The wait before retry *number*, from 0: exponential, full jitter."""
    # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
    return jitter() * min(policy.cap, policy.base * 2.0 ** min(number, 64))
