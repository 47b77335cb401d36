"""Several client processes and a server that notes when each request came, each in its process."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from benchmarks.apart import SPAWN
from dp_async import Client, DpError, RateLimiter, Settings
from dp_async.testing import Simulator

#: Callers in each process that always want a page.
CALLERS = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server saw: *times* of requests, in seconds, and how many of them it *refused*."""

    times: Sequence[float]
    refused: int

    @property
    def most(self) -> int:
        """The most requests in any second."""
        window: deque[float] = deque()
        most = 0
        for moment in sorted(self.times):
            window.append(moment)
            while window[0] <= moment - 1:
                window.popleft()
            most = max(most, len(window))
        return most


@dataclass(frozen=True, slots=True)
class Backend:
    """A simulator in another process."""

    settings: Settings
    _line: Connection

    def seen(self) -> Seen:
        """What it saw so far."""
        self._line.send(None)
        found: Seen = self._line.recv()
        return found


@contextmanager
def backend(limit_rate: int | None = None, latency: float = 0.02) -> Generator[Backend]:
    """A simulator with this limit in each whole second, and ``Retry-After: 1``."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs, limit_rate, latency), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Backend(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def _serve(line: Connection, limit_rate: int | None, latency: float) -> None:
    async def serve() -> None:
        async with Simulator(limit_rate=limit_rate, latency=latency, jitter=0.3) as simulator:

            def tell() -> None:
                try:
                    line.recv()
                except EOFError:
                    raise SystemExit from None  # the parent has ended
                requests = list(simulator.requests)
                refused = sum(request.status == 429 for request in requests)
                line.send(Seen([request.started for request in requests], refused))

            loop = asyncio.get_running_loop()
            loop.add_reader(line.fileno(), tell)
            line.send(simulator.settings)
            await loop.create_future()

    asyncio.run(serve())


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a process limits itself: by *redis_url* at *rate* with its *peers*, or alone at *own*."""

    rate: float
    peers: int
    redis_url: str = ""
    own: float | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """What a process did: requests *answered*, *errors* by their text, and *cpu* seconds."""

    answered: int
    errors: Sequence[str]
    cpu: float


def worked(
    settings: Settings,
    sharing: Sharing,
    seconds: float,
    meanwhile: Callable[[], object] | None = None,
) -> list[Worked]:
    """So many processes fetch pages for so many seconds; *meanwhile* is called when they begin."""
    lines: list[Connection] = []
    for _ in range(sharing.peers):
        ours, theirs = SPAWN.Pipe()
        SPAWN.Process(target=_work, args=(theirs, settings, sharing, seconds), daemon=True).start()
        theirs.close()
        lines.append(ours)
    for line in lines:
        line.recv()
    for line in lines:
        line.send(None)
    if meanwhile is not None:
        meanwhile()
    return [line.recv() for line in lines]


def _work(line: Connection, settings: Settings, sharing: Sharing, seconds: float) -> None:
    asyncio.run(_working(line, replace(settings, rate=sharing.own), sharing, seconds))


async def _working(line: Connection, settings: Settings, sharing: Sharing, seconds: float) -> None:
    from redis.asyncio import Redis

    from dp_async.redis import RedisRateLimiter

    redis, shared = Redis.from_url(sharing.redis_url or "redis://"), None
    if sharing.redis_url:
        shared = RedisRateLimiter(redis, rate=sharing.rate, key="app", peers=sharing.peers)
    line.send(None)
    line.recv()
    async with redis:
        line.send(await _fetched(settings, shared, seconds))


async def _fetched(settings: Settings, shared: RateLimiter | None, seconds: float) -> Worked:
    answered, errors = 0, list[str]()
    ends = time.monotonic() + seconds

    async def call() -> None:
        nonlocal answered
        while time.monotonic() < ends:
            try:
                await client.work_list(page_size=100)
            except DpError as error:
                errors.append(f"{error}")
            else:
                answered += 1

    async with Client(settings, rate_limiter=shared) as client:
        await client.work_list()  # connects
        began = time.process_time()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        return Worked(answered, errors, time.process_time() - began)
