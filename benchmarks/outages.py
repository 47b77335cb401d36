"""How many requests does a server get that fails some of them, or all?

    python -m benchmarks.outages [--runs 2]

Over HTTP; the server has a process of its own and counts its requests itself. Where 30 % of all
requests fail, a crawl of 200 pages has 10 attempts a call. Where all fail, a crawl gives up after
the attempts of one call, and of 1,000 calls, sixteen at once, few are repeated.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from statistics import mean

from benchmarks.apart import apart, pinned
from benchmarks.crawling import Concurrency
from benchmarks.harness import Bars, Cell, Check, Result, at_most, main
from benchmarks.server import simulated
from dp_async import Client, CrawlOptions, DpError, RetryPolicy, Settings
from dp_async.testing import Fault, HalfBody, Html, Reset, Throttle

SIZE = 10
PAGES = 200
CONCURRENCIES: tuple[Concurrency, ...] = (8, "auto")
FAILING = [(fault, 0.075) for fault in (Reset(), Html(502), HalfBody(), Throttle(0))]
POLICY = RetryPolicy()
PATIENCE = POLICY.base * (2 ** (POLICY.attempts - 1) - 1) + 0.5  # all its waits, and half a second
CALLS = 1000
OUTAGES: list[tuple[str, Fault, int]] = [
    ("502 to all", Html(502), 0),
    ("resets of all", Reset(), 0),
    ("resets of all after 100 good answers", Reset(), 100),
]


def crawled(settings: Settings, concurrency: Concurrency) -> int:
    """The rows that a crawl delivers."""

    async def crawl() -> int:
        options = CrawlOptions(page_size=SIZE, concurrency=concurrency, strict=True)
        async with Client(settings) as client:
            return len(
                {work.digital_person_works_id async for work in client.works(options=options)}
            )

    return asyncio.run(crawl())


def given_up(settings: Settings) -> float:
    """The seconds until a crawl has failed."""

    async def crawl() -> None:
        async with Client(settings) as client:
            await client.works().collect()

    began = time.perf_counter()
    try:
        asyncio.run(crawl())
    except DpError:
        return time.perf_counter() - began
    raise AssertionError("the crawl did not fail")


def calls(settings: Settings, good: int) -> None:
    """*good* calls that succeed, and then those that fail, sixteen at once."""

    async def run() -> None:
        async with Client(settings) as client:
            left = iter(range(good + CALLS))
            failed = 0

            async def worker() -> None:
                nonlocal failed
                for _ in left:
                    try:
                        await client.work_list()
                    except DpError:
                        failed += 1

            async with asyncio.TaskGroup() as group:
                for _ in range(16):
                    group.create_task(worker())
            assert failed == CALLS, failed

    asyncio.run(run())


def measure(*, runs: int = 2) -> Result:
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}
    lost = 0
    for concurrency in CONCURRENCIES:
        requests: list[float] = []
        for seed in range(runs):
            with simulated(FAILING, seed=seed, works=PAGES * SIZE, messages=0) as elsewhere:
                settings = replace(elsewhere.settings, retry=RetryPolicy(attempts=10))
                lost += PAGES * SIZE - apart(crawled, settings, concurrency)()
                requests.append(elsewhere.served / PAGES)
        name = f"30 % of requests fail, concurrency {concurrency}"
        rows.append([name, mean(requests), ""])
        checks.append(at_most(1.7, f"{name}: requests a page, the most", max(requests)))
        bars[f"{name}: a page"] = mean(requests)
    for name, fault, after in OUTAGES:
        with simulated([(fault, 1.0)]) as elsewhere:
            seconds = apart(given_up, elsewhere.settings)()
            sent = elsewhere.served
        rows.append([f"{name}: a crawl", sent, seconds])
        checks.append(at_most(POLICY.attempts, f"{name}: requests of a crawl", sent))
        checks.append(at_most(PATIENCE, f"{name}: seconds until it fails", seconds))
        with simulated([(fault, 1.0)], after=after) as elsewhere:
            apart(calls, elsewhere.settings, after)()
            served = (elsewhere.served - after) / CALLS
        rows.append([f"{name}: {CALLS:,} calls", served, ""])
        checks.append(at_most(1.2, f"{name}: requests a call", served))
        bars[f"{name}: a call"] = served
    return Result(
        question=str(__doc__),
        columns=("server", "requests a page, a crawl or a call", "seconds until it fails"),
        rows=rows,
        checks=[at_most(0, "rows lost", lost), *checks],
        chart=Bars("requests a page, or a call", bars, limits=(1.2, 1.7)),
        notes=[pinned()],
    )


if __name__ == "__main__":
    main(measure)
