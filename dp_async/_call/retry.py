"""Asks again after a failure that may pass. Decides from the error alone; sends nothing."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from msgspec import Raw

from .._errors import ApiError, CallError, RateLimited, ServerError, TransportError
from .._http import Call, Request
from .._settings import RetryPolicy
from .stats import Tally


class RetryBudget:
    """The retries a client has left: *most* at first, one less by each, and half of one more by
    each success. So a third of all requests may fail for good, and an outage is not multiplied.
    """

    def __init__(self, most: float = 100.0) -> None:
        self._most = most
        self.left = most

    def take(self) -> bool:
        """Whether there is one; it is taken."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def earn(self) -> None:
        """A call went well."""
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
    """*call*, repeated by *policy*, and within *retry_budget*, after no answer, 429 or 5xx.

    What is cured by now is repeated once, at once and for free. *clock* is in seconds, for the
    error's ``elapsed``; *jitter* is uniform over [0, 1).
    """

    async def repeating(request: Request, /) -> Raw:
        start = clock()
        free = 0
        while True:
            try:
                answer = await call(request)
            except CallError as error:
                error.attempts, error.elapsed = request.attempt, clock() - start
                if error.cured and request.idempotent and not free:
                    free, wait = 1, 0.0
                else:
                    planned = backoff(error, request, request.attempt - free, policy, jitter)
                    if planned is None:
                        raise
                    if not retry_budget.take():
                        error.add_note(
                            "not repeated: too many of this client's requests fail, so that its "
                            "budget of retries is spent until others succeed"
                        )
                        raise
                    wait = planned
            else:
                retry_budget.earn()
                return answer
            tally.retried()
            if wait:
                await sleep(wait)
            request = replace(request, attempt=request.attempt + 1)

    return repeating


def backoff(
    error: CallError,
    request: Request,
    attempt: int,
    policy: RetryPolicy,
    jitter: Callable[[], float],
) -> float | None:
    """The seconds to wait before the next attempt, or None if there is to be none.

    None also where ``Retry-After`` is above the cap: never back early. Else a refusal waits at the
    client's gate, with all others, and not here.
    """
    if not request.idempotent or attempt >= policy.attempts:
        return None
    if not isinstance(error, TransportError | RateLimited | ServerError):
        return None
    asked = error.retry_after if isinstance(error, ApiError) else None
    if asked is not None and asked > policy.cap:
        return None
    if asked is not None or isinstance(error, RateLimited):
        return 0.0
    # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
    return jitter() * min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 64))
