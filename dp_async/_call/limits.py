"""One attempt within its limits: it acquires the limiter, keeps its deadline, reports its outcome.

A permit is held for one HTTP exchange only, never while a caller's code runs.
"""

from __future__ import annotations

import asyncio

from .._checks import DAY
from .._errors import ApiError, AttemptTimeout, CallError, RateLimited
from .._http import Answer, Call, Request, Response, Send
from .adaptive import Adaptive
from .deadlines import Deadlines
from .limiter import Limiter
from .stats import Tally


def timed(send: Send, timeout: float) -> Send:
    """*send* with a deadline of *timeout* seconds, after which it raises AttemptTimeout."""
    deadlines = Deadlines(timeout)

    async def sending(request: Request, /) -> Response:
        deadline = deadlines.begin()
        try:
            response = await send(request)
        except (asyncio.CancelledError, TimeoutError):  # *send* may turn our cancellation into one
            if not deadlines.end(deadline):
                raise
        except BaseException:
            deadlines.end(deadline)
            raise
        else:
            deadlines.end(deadline)
            return response
        raise AttemptTimeout(
            f"{request.endpoint}: no complete answer within {timeout:g} s; "
            "the setting timeout limits one attempt",
            endpoint=request.endpoint,
        )

    return sending


def wait_of(error: CallError) -> float | None:
    """The seconds of the error's ``Retry-After``; None without one, and for more than a day.

    Some servers send the epoch second at which to come back, which would stop a client for years.
    """
    if not isinstance(error, ApiError) or error.retry_after is None or error.retry_after > DAY:
        return None
    return error.retry_after


def limited(
    call: Call,
    limiter: Limiter,
    tally: Tally,
    adaptive: Adaptive | None = None,
    *,
    cap: float | None = None,
) -> Call:
    """*call* through the *limiter*; reports each outcome to it, and to *adaptive*.

    *cap*: the longest pause to wait for, by default the limiter's; RateLimited if it is longer.
    """

    async def calling(request: Request, /) -> Answer:
        generation = await limiter.acquire(request.endpoint, first=request.attempt > 1, cap=cap)
        began = 0.0 if adaptive is None else limiter.clock()
        sent = 0 if adaptive is None else adaptive.sent()
        seconds: float | None = None
        tally.began()
        try:
            answer = await call(request)
            if adaptive is not None:
                seconds = limiter.clock() - began
            limiter.passed(generation, good=True)
            return answer
        except ApiError as error:
            throttled = isinstance(error, RateLimited)
            if throttled:
                tally.throttled()
            wait = wait_of(error)
            if not throttled and wait is None:
                limiter.passed(generation, good=False)
            elif limiter.refused(generation, wait) and adaptive is not None:
                adaptive.refused()
            raise
        except CallError:
            limiter.passed(generation, good=False)
            raise
        finally:
            tally.ended()
            if adaptive is not None:
                adaptive.answered(sent, seconds)
            limiter.release()

    return calling


def adapted(call: Call, limiter: Limiter, adaptive: Adaptive) -> Call:
    """*call* through a *limiter* of its own, whose limit is the one that *adaptive* learned."""

    async def calling(request: Request, /) -> Answer:
        await limiter.acquire(request.endpoint, first=request.attempt > 1)
        try:
            return await call(request)
        finally:
            limiter.limit = adaptive.limit
            limiter.release()

    return calling
