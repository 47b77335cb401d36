"""How much at once and how fast: permits, an even pace, and the deadline of one attempt.

A permit is held for one exchange only, never while anyone else runs code in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio

from ._errors import AttemptTimeout
from ._http import Request, Response, Send
from ._report import Tally


class Pace:
    """Turns at an even *rate* a second: at most rate + 1 in any second, first come first served.

    Who is cancelled while waiting takes no turn. A waiter woken late may catch up by one turn's
    length, so that a loop's coarse timers do not slow the rate.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 1 / rate
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Return when it is the caller's turn."""
        async with self._queue:
            while (wait := self._next - self._clock()) > 0:
                await self._sleep(wait)
            self._next = max(self._next, self._clock() - self._interval) + self._interval


def limited(
    send: Send,
    permits: anyio.Semaphore,
    timeout: float,
    tally: Tally,
    pace: Pace | None = None,
) -> Send:
    """*send*, under a permit and at a pace; from when it has both, it may take *timeout* seconds.

    Raises AttemptTimeout after that.
    """

    async def sending(request: Request, /) -> Response:
        async with permits:
            if pace is not None:
                await pace.turn()
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
