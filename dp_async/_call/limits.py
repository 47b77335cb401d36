"""One attempt within its limits: it acquires the limiter, keeps its deadline, reports its outcome.

A permit is held for one HTTP exchange only, never while a caller's code runs.
"""

from __future__ import annotations

import asyncio

from .._checks import DAY
from .._errors import ApiError, AttemptTimeout, CallError, RateLimited, ServerError
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


#: A 503 is a refusal if the server let a call through in the last seconds: it is not down. Twice a
#: second, the window of most limits. While refusals hold all calls back, none can be let through,
#: so that the time is the limiter's cap: a minute's window refuses for most of a minute.
SERVING = 2.0


def is_refusal(error: CallError, limiter: Limiter) -> bool:
    """Whether the server refuses to take more: 429, any ``Retry-After``, or 503 though it serves.

    503 is the status of nginx's limits unless another is configured.
    """
    if isinstance(error, RateLimited) or wait_of(error) is not None:
        return True
    if not isinstance(error, ServerError):
        return False
    status = error.status if error.code is None else error.code
    return status == 503 and limiter.served_within(limiter.cap if limiter.is_refused else SERVING)


def is_excused(error: CallError, limiter: Limiter, cap: float) -> bool:
    """Whether *error* is a refusal of a server that let others through in the last *cap* seconds.

    Such a call has only to wait for its turn.
    """
    return is_refusal(error, limiter) and limiter.served_within(cap)


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
        permit = await limiter.acquire(
            request.endpoint, first=request.attempt > 1, bulk=request.bulk, cap=cap
        )
        began = 0.0 if adaptive is None else limiter.clock()
        sent = 0 if adaptive is None else adaptive.sent()
        seconds: float | None = None
        tally.began()
        try:
            answer = await call(request)
            if adaptive is not None:
                seconds = limiter.clock() - began
            limiter.passed(permit, good=True)
            return answer
        except CallError as error:
            if isinstance(error, RateLimited):
                tally.throttled()
            if not is_refusal(error, limiter):
                limiter.passed(permit, good=False)
            elif limiter.refused(permit, wait_of(error)) and adaptive is not None:
                adaptive.refused()
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
