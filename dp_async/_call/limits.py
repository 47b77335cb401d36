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
from .limiter import Gate
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


def limited(call: Call, gate: Gate, tally: Tally, adaptive: Adaptive | None = None) -> Call:
    """*call*, through the *gate*, which is told how it went; so is *adaptive*."""

    async def calling(request: Request, /) -> Raw:
        era = await gate.enter(request.endpoint, first=request.attempt > 1)
        began = 0.0 if adaptive is None else gate.clock()
        sent = 0 if adaptive is None else adaptive.sent()
        seconds: float | None = None
        tally.began()
        try:
            answer = await call(request)
            if adaptive is not None:
                seconds = gate.clock() - began
            gate.passed(era, good=True)
            return answer
        except ApiError as error:
            told = isinstance(error, RateLimited)
            if told:
                tally.throttled()
            if not told and error.retry_after is None:
                gate.passed(era, good=False)
            elif gate.refused(era, error.retry_after) and adaptive is not None:
                adaptive.refused()
            raise
        except CallError:
            gate.passed(era, good=False)
            raise
        finally:
            tally.ended()
            if adaptive is not None:
                adaptive.answered(sent, seconds)
            gate.leave()

    return calling


def adapted(call: Call, gate: Gate, adaptive: Adaptive) -> Call:
    """*call*, through a *gate* that has room for as many as *adaptive* says."""

    async def calling(request: Request, /) -> Raw:
        await gate.enter(request.endpoint, first=request.attempt > 1)
        try:
            return await call(request)
        finally:
            gate.room = adaptive.limit
            gate.leave()

    return calling
