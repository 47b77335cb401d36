"""How much at once: permits, and the deadline of one attempt.

A permit is held for one exchange only, never while anyone else runs code in between.
"""

from __future__ import annotations

import asyncio

import anyio

from ._errors import AttemptTimeout
from ._http import Request, Response, Send
from ._report import Tally


def limited(send: Send, permits: anyio.Semaphore, timeout: float, tally: Tally) -> Send:
    """*send*, under a permit; from when it has one, an attempt may take *timeout* seconds.

    Raises AttemptTimeout after that.
    """

    async def sending(request: Request, /) -> Response:
        async with permits:
            deadline = asyncio.timeout(timeout)
            tally.began()
            try:
                async with deadline:
                    return await send(request)
            except TimeoutError:
                if not deadline.expired():
                    raise
            finally:
                tally.ended()
        raise AttemptTimeout(
            f"{request.endpoint}: no whole answer within {timeout:g} s; "
            "the setting timeout is for one attempt",
            endpoint=request.endpoint,
        )

    return sending
