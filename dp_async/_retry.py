"""Asks again after a failure that may pass. Decides from the error's class alone; sends nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from msgspec import Raw

from ._errors import ApiError, CallError, RateLimited, ServerError, TransportError
from ._http import Call, Request
from ._report import Tally
from ._settings import RetryPolicy


def retrying(
    call: Call,
    policy: RetryPolicy,
    tally: Tally,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    spread: Callable[[], float] = random.random,
) -> Call:
    """*call*, repeated by *policy* after no answer, 429 or 5xx.

    *clock* is in seconds, for the error's ``elapsed``; *spread* is uniform over [0, 1).
    """

    async def repeating(request: Request, /) -> Raw:
        start = clock()
        attempt = 1
        while True:
            try:
                return await call(request)
            except CallError as error:
                tally.failed(error)
                error.attempts, error.elapsed = attempt, clock() - start
                wait = pause(error, request, attempt, policy, spread)
                if wait is None:
                    raise
            tally.retried()
            attempt += 1
            await sleep(wait)

    return repeating


def pause(
    error: CallError,
    request: Request,
    attempt: int,
    policy: RetryPolicy,
    spread: Callable[[], float],
) -> float | None:
    """The seconds to wait before the next attempt, or None if there is to be none.

    ``Retry-After`` is the least wait: never back early, and not at all if it is above the cap.
    """
    if not request.idempotent or attempt >= policy.attempts:
        return None
    if not isinstance(error, TransportError | RateLimited | ServerError):
        return None
    asked = error.retry_after if isinstance(error, ApiError) else None
    if asked is not None and asked > policy.cap:
        return None
    # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
    jitter = spread() * min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 64))
    return jitter if asked is None else asked + jitter
