"""What bounds one attempt: the client's gate before it, its deadline, and what it teaches both.

A place inside the gate is held for one exchange only, never while anyone else runs code in between.
"""

from __future__ import annotations

import asyncio

from msgspec import Raw

from .._errors import ApiError, AttemptTimeout, CallError, RateLimited
from .._http import Call, Request, Response, Send
from .adaptive import Adaptive
from .deadlines import Deadlines
from .limiter import Limiter
from .stats import Tally


def timed(send: Send, timeout: float) -> Send:
    """*send*, within *timeout* seconds. Raises AttemptTimeout after that."""
    deadlines = Deadlines(timeout)

    async def sending(request: Request, /) -> Response:
        attempt = deadlines.begin()
        try:
            response = await send(request)
        except (asyncio.CancelledError, TimeoutError):  # the latter made of ours, by *send*
            if not deadlines.end(attempt):
                raise
        except BaseException:
            deadlines.end(attempt)
            raise
        else:
            deadlines.end(attempt)
            return response
        raise AttemptTimeout(
            f"{request.endpoint}: no whole answer within {timeout:g} s; "
            "the setting timeout is for one attempt",
            endpoint=request.endpoint,
        )

    return sending


def limited(call: Call, limiter: Limiter, tally: Tally, adaptive: Adaptive | None = None) -> Call:
    """*call*, through the *limiter*, which is told how it went; so is *adaptive*."""

    async def calling(request: Request, /) -> Raw:
        generation = await limiter.acquire(request.endpoint, first=request.attempt > 1)
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
            told = isinstance(error, RateLimited)
            if told:
                tally.throttled()
            if not told and error.retry_after is None:
                limiter.passed(generation, good=False)
            elif limiter.refused(generation, error.retry_after) and adaptive is not None:
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
    """*call*, through a *limiter* that has room for as many as *adaptive* says."""

    async def calling(request: Request, /) -> Raw:
        await limiter.acquire(request.endpoint, first=request.attempt > 1)
        try:
            return await call(request)
        finally:
            limiter.limit = adaptive.limit
            limiter.release()

    return calling
