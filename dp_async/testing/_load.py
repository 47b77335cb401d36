"""How long an answer takes, and which requests the server accepts.

It knows the event loop's time, and nothing of HTTP or of rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from random import Random

from ._arguments import number, whole


class Load:
    """The latency, the workers and the rate limit of a server together; see ``Simulator``."""

    def __init__(
        self,
        *,
        latency: float,
        jitter: float,
        capacity: int | None,
        service: float,
        limit_rate: int | None,
        random: Random,
    ) -> None:
        self._latency = Latency(latency, jitter, random)
        self._workers = Workers(capacity, service)
        self._rate = RateLimit(limit_rate)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[bool, None]:
        """Runs the block when a request is worked on, and then waits until its answer is sent.

        ``async with`` gives False if the request is beyond the rate limit.
        """
        before, after = self._latency.draw()
        await wait(before)
        if self._rate.accept(asyncio.get_running_loop().time()):
            async with self._workers.serving():
                yield True
        else:
            yield False
        await wait(after)


class Latency:
    """Log-normal response times around a *median*, in seconds; *sigma* is that of the logarithm."""

    def __init__(self, median: float, sigma: float, random: Random) -> None:
        number("latency", median, 0)
        number("jitter", sigma, 0)
        self._median = median
        self._sigma = sigma
        self._random = random

    def draw(self) -> tuple[float, float]:
        """Seconds until the server reads the rows, and from then on until it sends the answer."""
        total = self._median * self._random.lognormvariate(0, self._sigma)
        before = total * self._random.random()
        return before, total - before


class Workers:
    """Workers that serve *capacity* requests at once, first come first served.

    Each request takes *service* seconds. None as *capacity*: there is always a free worker.
    """

    def __init__(self, capacity: int | None, service: float) -> None:
        if capacity is not None:
            whole("capacity", capacity, 1)
        number("service", service, 0)
        self._service = service
        self._slots: AbstractAsyncContextManager[object] = (
            nullcontext() if capacity is None else asyncio.Semaphore(capacity)
        )

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None, None]:
        """Waits for a worker and for its service time; the block runs before it is free again."""
        async with self._slots:
            await wait(self._service)
            yield


class RateLimit:
    """Fixed-window counter: *limit* requests in each whole second; None for no limit."""

    def __init__(self, limit: int | None) -> None:
        if limit is not None:
            whole("limit_rate", limit, 0)
        self._limit = limit
        self._second = 0
        self._count = 0

    def accept(self, now: float) -> bool:
        """Counts a request and says whether it is within the limit."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        return self._limit is None or self._count <= self._limit


async def wait(seconds: float) -> None:
    """Sleeps; zero seconds do not cost an iteration of the event loop."""
    if seconds > 0:
        await asyncio.sleep(seconds)
