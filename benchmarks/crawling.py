"""Crawls of a modelled server, in virtual time: by the client, or by a fixed number or rate."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from benchmarks.site import SIZE, Site
from dp_async import (
    Client,
    CrawlOptions,
    DpError,
    Request,
    Response,
    RetryPolicy,
    Send,
    Settings,
)
from tests.support.virtual_loop import run

Concurrency: TypeAlias = int | Literal["auto"]

MOST = 64
#: Seconds that a timer may be late: the slot after it is not delayed then.
LATE = 0.002
#: Errors of one crawl after which it is given up.
HOPELESS = 100

SETTINGS = Settings(
    base_url="http://127.0.0.1:1", app_id="app", app_secret="sesame", max_in_flight=MOST
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A setting that a careful user finds by trying: so many at once, or so many a second."""

    number: int = MOST
    rate: float = math.inf

    def __str__(self) -> str:
        return f"{self.number} at once" if self.rate == math.inf else f"{self.rate:.1f} a second"

    def over(self, send: Send) -> Send:
        """*send*, evenly at the rate. A refused request is sent again: after the wait that the
        server asks for, which pauses all, or after a tenth of a second.
        """
        slots = asyncio.Semaphore(self.number)
        spacing = asyncio.Lock()
        loop = asyncio.get_running_loop()
        next_slot = 0.0

        async def sending(request: Request, /) -> Response:
            nonlocal next_slot
            while True:
                async with slots:
                    async with spacing:
                        wait = next_slot - loop.time()
                        while wait > 0:
                            await asyncio.sleep(wait)
                            wait = next_slot - loop.time()  # a pause may have lengthened it
                        next_slot = max(next_slot, loop.time() - LATE) + 1 / self.rate
                    response = await send(request)
                if response.status == 200:
                    return response
                pause = float(response.headers.get("retry-after", 0))
                if pause:
                    next_slot = max(next_slot, loop.time() + pause)
                else:
                    await asyncio.sleep(0.1)

        return sending


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a crawl; *lost* are rows that did not come, *errors* those of the consumer."""

    rate: float  # pages a second, over the whole crawl; 0 if rows were lost
    refused: float  # the share of requests
    errors: int
    lost: int
    error: str = ""  # the first


async def crawled(
    site: Site, settings: Settings, concurrency: Concurrency, send: Send | None = None
) -> Outcome:
    """A verified crawl of the whole *site*, which goes on after errors."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    ids: list[int] = []
    errors: list[DpError] = []
    options = CrawlOptions(page_size=SIZE, concurrency=concurrency)
    client = Client(settings, send=send or site.send)
    async with client, client.works(options=options).crawl() as crawl:
        pages = crawl.pages()
        while len(errors) < HOPELESS:
            try:
                async for page in pages:
                    ids += [work.digital_person_works_id for work in page]
                break
            except DpError as error:
                errors.append(error)
        complete = crawl.report.complete
    lost = site.pages * SIZE - len({*ids})
    assert len(ids) == len({*ids}), "an id came twice"
    assert lost == 0 or complete is not True, "a false certificate"
    return Outcome(
        rate=0.0 if lost else site.pages / (loop.time() - began),
        refused=site.refused,
        errors=len(errors),
        lost=lost,
        error=str(errors[0]) if errors else "",
    )


def seeds_of(use: str, number: int) -> range:
    """*number* seeds: odd ones to "report", even ones to "tune" the limiter with."""
    uses = {"report": 1, "tune": 2}
    if use not in uses:
        sys.exit(f"--seeds {use}: one of {', '.join(uses)}")
    first = uses[use]
    return range(first, first + 2 * number, 2)


def virtually(
    make: Callable[[int], Site], seed: int, concurrency: Concurrency, cap: float
) -> Outcome:
    """A crawl by the client, with no rate set."""

    async def crawl() -> Outcome:
        random.seed(seed)  # of the client's jitter, too
        await asyncio.sleep(seed * 0.618 % 1)  # start anywhere within a second of the server's
        return await crawled(make(seed), replace(SETTINGS, retry=RetryPolicy(cap=cap)), concurrency)

    return run(crawl())


def by_fixed(make: Callable[[int], Site], seed: int, fixed: Fixed) -> Outcome:
    """The same crawl with a fixed setting; the client sees good answers only."""

    async def crawl() -> Outcome:
        random.seed(seed)
        await asyncio.sleep(seed * 0.618 % 1)
        site = make(seed)
        return await crawled(site, SETTINGS, fixed.number, fixed.over(site.send))

    return run(crawl())


def tried(make: Callable[[int], Site], seed: int, fixed: Fixed) -> tuple[float, float]:
    """Pages a second and the share refused, for bare requests with a fixed setting: no client."""

    async def crawl() -> tuple[float, float]:
        random.seed(seed)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(seed * 0.618 % 1)
        site = make(seed)
        send = fixed.over(site.send)
        began = loop.time()
        left = iter(range(1, site.pages + 1))

        async def worker() -> None:
            for num in left:
                await send(Request("", "GET", f"?pageNum={num}&pageSize={SIZE}"))

        await asyncio.gather(*(worker() for _ in range(fixed.number)))
        return site.pages / (loop.time() - began), site.refused

    return run(crawl())


@dataclass(frozen=True, slots=True)
class Watched:
    """The first *seconds* of an endless crawl of a *site*; *errors* reached the consumer."""

    site: Site
    errors: int

    def rate(self, start: float, end: float) -> float:
        """Good answers a second between two times."""
        return sum(start <= time < end for time, _ in self.site.answers) / (end - start)

    def refused(self, start: float, end: float) -> float:
        """The share of the requests answered between two times that was refused."""
        refused = sum(start <= time < end for time in self.site.refusals)
        return refused / max(1, refused + self.rate(start, end) * (end - start))


def watched(
    make: Callable[[int], Site],
    seed: int,
    concurrency: Concurrency,
    seconds: float,
    settings: Settings = SETTINGS,
) -> Watched:
    """A crawl of *seconds* of virtual time, from 0; not verified, pages as they arrive."""

    async def crawl() -> Watched:
        random.seed(seed)
        site, errors = make(seed), 0
        options = CrawlOptions(page_size=SIZE, concurrency=concurrency, verify=False, ordered=False)

        async def consume(pages: AsyncIterator[object]) -> None:
            nonlocal errors
            while errors < HOPELESS:
                try:
                    async for _ in pages:
                        pass
                except DpError:
                    errors += 1

        client = Client(settings, send=site.send)
        async with client, client.works(options=options).crawl() as crawl:
            task = asyncio.create_task(consume(crawl.pages()))
            await asyncio.wait([task], timeout=seconds)
            task.cancel()
            await asyncio.wait([task])
        return Watched(site, errors)

    return run(crawl())
