"""How much longer do the single calls of a web app take while crawls run on the same client?

    python -m benchmarks.interactive [--only TEXT] [--runs 2] [--seconds 20]

Browsers call ``work_list`` and pause for up to two seconds, in virtual time; latencies are
log-normal with a median of 50 ms and sigma 0.3. *alone*: no crawl runs. *crawled*: the pages a
second that the crawls get, of what they get without browsers. Five browsers, where not said
otherwise. ``--only`` runs the lines whose name contains a text. It exits with 1 if a check fails.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from random import Random
from statistics import mean

from benchmarks.crawling import SETTINGS, seeds_of
from benchmarks.harness import Bars, Cell, Check, Result, at_least, at_most, main
from benchmarks.refusing import Free, Server, Slots
from benchmarks.site import SIZE, Answering, Site
from dp_async import Client, CrawlOptions, Settings
from tests.support.virtual_loop import run

DEFAULT = replace(SETTINGS, max_in_flight=16)
BROWSERS = 5
#: Calls of these first seconds, in which the client learns, do not count.
LEARNING = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: *crawls* of so much *concurrency*, beside browsers.

    *most*: the largest ratio of the 95th percentile to that alone. *least*: the least share of
    their throughput that is left to the crawls.
    """

    name: str
    server: Callable[[], Server] = Free
    settings: Settings = DEFAULT
    concurrency: int = 8
    crawls: int = 1
    browsers: int = BROWSERS
    most: float = 2.0
    least: float = 0.5


def _four() -> Server:
    return Slots(4)


LINES = (
    Line(name="defaults"),
    Line(name="concurrency = max_in_flight", concurrency=16),
    Line(name="rate=50", settings=replace(DEFAULT, rate=50)),
    Line(name="a server that lets 4 in", server=_four),
    Line(
        name="three crawls of 16, rate=120, 50 browsers",
        settings=replace(DEFAULT, rate=120),
        concurrency=16,
        crawls=3,
        browsers=50,
        most=1.5,
    ),
)


def crowd(line: Line, browsers: int, crawls: int, seconds: float, seed: int) -> tuple[float, float]:
    """The 95th percentile of the browsers' seconds a call, and the crawls' pages a second."""

    async def all_of_it() -> tuple[float, float]:
        random.seed(seed)
        draws, loop = Random(seed), asyncio.get_running_loop()
        answering = Answering(seconds=lambda: 0.05 * draws.lognormvariate(0, 0.3))
        site = Site(10**9, line.server(), answering)
        waits: list[float] = []
        read = 0

        async def crawl(client: Client) -> None:
            nonlocal read
            options = CrawlOptions(page_size=SIZE, concurrency=line.concurrency, verify=False)
            async with client.works(options=options).crawl() as crawl:
                async for _ in crawl.pages():
                    read += loop.time() >= LEARNING

        async def browse(client: Client) -> None:
            while True:
                await asyncio.sleep(draws.uniform(0, 2))
                began = loop.time()
                await client.work_list(page_size=SIZE)
                if began >= LEARNING:
                    waits.append(loop.time() - began)

        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(line.settings, send=site.send))
            work = [
                *(crawl(client) for _ in range(crawls)),
                *(browse(client) for _ in range(browsers)),
            ]
            tasks = [asyncio.create_task(each) for each in work]
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when="FIRST_EXCEPTION")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in done:
                task.result()
        p95 = sorted(waits)[int(len(waits) * 0.95)] if waits else 0.0
        return p95, read / (seconds - LEARNING)

    return run(all_of_it())


def measured(line: Line, seconds: float, seed: int) -> tuple[float, float, float, float]:
    """The 95th percentile alone and beside the crawls; the crawls' rate alone and beside them."""
    alone, _ = crowd(line, line.browsers, 0, seconds, seed)
    _, free = crowd(line, 0, line.crawls, seconds, seed)
    beside, crawled = crowd(line, line.browsers, line.crawls, seconds, seed)
    return alone, beside, free, crawled


def measure(*, only: str = "", runs: int = 2, seconds: float = 20) -> Result:
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}
    with ProcessPoolExecutor(2) as pool:
        for line in LINES:
            if only not in line.name:
                continue
            found = pool.map(measured, repeat(line), repeat(seconds), seeds_of("report", runs))
            alone, beside, free, crawled = map(mean, zip(*found, strict=True))
            rows.append(
                [line.name, 1000 * alone, 1000 * beside, beside / alone, crawled, crawled / free]
            )
            name = f"{line.name}: 95th percentile, x alone"
            checks.append(at_most(line.most, name, beside / alone))
            checks.append(at_least(line.least, f"{line.name}: crawled", crawled / free))
            bars[line.name] = beside / alone
    return Result(
        question=str(__doc__),
        columns=(
            "beside",
            "95th percentile alone, ms",
            "beside the crawls, ms",
            "x alone",
            "crawled, pages a second",
            "crawled",
        ),
        rows=rows,
        checks=checks,
        chart=Bars("95th percentile of a single call, x alone", bars, limits=(1.5, 2.0)),
    )


if __name__ == "__main__":
    main(measure)
