"""A crawl reports that it is complete only if it is, while the list is written to and answers fail.

Without sockets in virtual time, and, as a slow test, over HTTP in real time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import cycle, islice, product
from typing import Literal

import pytest

from dp_async import (
    ApiError,
    Client,
    Crawl,
    CrawlOptions,
    CrawlReport,
    DpError,
    Listing,
    PaginationError,
    RetryPolicy,
    Work,
)
from dp_async.testing import (
    Html,
    LyingTotals,
    Malformed,
    Reset,
    SamePage,
    Simulator,
    Throttle,
    Writes,
    WrongCode,
    WrongEcho,
)
from tests.support.virtual_loop import run

CRAWLS = 24
START = 1_790_000_000.0

Rates = tuple[float, float, float]
"""Inserts, updates and deletes a second."""

RATES: list[Rates] = [
    (0, 0, 0),
    (1, 0, 0),
    (0.5, 0.5, 0.3),
    (0, 3, 1),
    (5, 5, 5),
    (20, 20, 20),
]
CONCURRENCY = [1, 3, 10, 64]
OVERLAPS: list[int | Literal["auto"]] = [0, 4, "auto"]


@dataclass(frozen=True)
class Outcome:
    """The ids of a crawl, its report, and which rows it *lost* that existed from start to end."""

    ids: list[int]
    lost: set[int]
    report: CrawlReport

    def check(self, options: CrawlOptions) -> None:
        """Checks what is true of every crawl."""
        assert len(self.ids) == len(set(self.ids)) == self.report.items
        if self.report.complete:
            assert not self.lost
        if options.limit is not None:
            assert len(self.ids) <= options.limit
            assert len(self.ids) == options.limit or not self.lost


async def crawl(simulator: Simulator, listing: Listing[Work]) -> Outcome:
    mark = simulator.works.mark()
    async with listing.crawl() as crawling:
        ids = [work.digital_person_works_id async for work in crawling]
        report = crawling.report
    return Outcome(ids, simulator.works.present_since(mark) - set(ids), report)


def writing(simulator: Simulator, rates: Rates, seed: int) -> AbstractAsyncContextManager[Writes]:
    inserts, updates, deletes = rates
    return simulator.writing(
        "work_list", inserts=inserts, updates=updates, deletes=deletes, seed=seed
    )


# Over HTTP


@pytest.mark.slow
async def test_no_false_certificate_over_http() -> None:
    sizes, concurrencies = cycle((5, 10, 20)), cycle(CONCURRENCY)
    async with Simulator(works=100, messages=0, latency=0.005, jitter=0.5) as simulator:
        client = Client(replace(simulator.settings, max_in_flight=64))
        async with client:
            for seed in range(CRAWLS):
                options = CrawlOptions(
                    page_size=next(sizes),
                    concurrency=next(concurrencies),
                    ordered=bool(seed % 5),
                    overlap="auto" if seed % 2 else 2,
                )
                is_static = seed % 8 == 0
                rates = (0, 0, 0) if is_static else (20, 20, 20)
                async with writing(simulator, rates, seed):
                    outcome = await crawl(simulator, client.works(options=options))
                outcome.check(options)
                assert outcome.report.complete or not is_static


# In virtual time


def simulated(seed: int, rows: int, largest: int) -> tuple[Simulator, Client]:
    """A simulator in the running loop's time, and a client of it without sockets."""
    loop = asyncio.get_running_loop()
    simulator = Simulator(
        works=rows,
        messages=0,
        latency=0.08,
        jitter=0.6,
        seed=seed,
        clock=lambda: START + seed % 997 / 997 + loop.time(),
        tolerance=float("inf"),
        max_page_size=largest,
        lateness=seed % 3,
    )
    settings = replace(
        simulator.in_process_settings, max_in_flight=64, retry=RetryPolicy(attempts=1)
    )
    return simulator, Client(settings, send=simulator.send)


async def crawl_while_written(rates: Rates, options: CrawlOptions, seed: int) -> Outcome:
    rows = (0, 19, 20, 60, 100, 137, 200)[seed % 7]
    simulator, client = simulated(seed, rows, (20, 40, 100)[seed % 3])
    async with client, writing(simulator, rates, seed):
        await asyncio.sleep(0 if seed % 4 == 0 else 5)
        return await crawl(simulator, client.works(options=options))


@pytest.mark.parametrize(
    ("concurrency", "ordered", "crawls"),
    [
        (1, True, 12),
        (10, False, 12),
        *(
            pytest.param(concurrency, ordered, 48, marks=pytest.mark.slow)
            for concurrency, ordered in product(CONCURRENCY, (True, False))
        ),
    ],
)
def test_no_false_certificate_at_any_rate(concurrency: int, ordered: bool, crawls: int) -> None:
    complete: Counter[Rates] = Counter()
    for seed, rates in enumerate(islice(cycle(RATES), crawls)):
        options = CrawlOptions(
            page_size=(20, 10)[seed % 2],
            concurrency=concurrency,
            ordered=ordered,
            overlap=("auto", "auto", 3, 0)[seed % 4],
            limit=(None, None, None, None, 45)[seed % 5],
        )
        outcome = run(crawl_while_written(rates, options, seed))
        outcome.check(options)
        complete[rates] += outcome.report.complete is True
    assert complete[0, 0, 0] >= crawls // len(RATES) - 1  # one crawl may stop at its limit
    assert complete.total() >= crawls // 2 - 1


@pytest.mark.parametrize("concurrency", [1, 10])
def test_items_come_in_the_order_of_the_list(concurrency: int) -> None:
    async def work() -> None:
        for rows, overlap, limit in product((0, 1, 99, 100, 101, 237), OVERLAPS, (None, 30)):
            simulator, client = simulated(3, rows, 100)
            options = CrawlOptions(
                page_size=20, concurrency=concurrency, limit=limit, overlap=overlap
            )
            async with client:
                outcome = await crawl(simulator, client.works(options=options))
            assert outcome.ids == simulator.works.ids()[:limit]
            assert outcome.report.complete is (None if rows >= 30 and limit else True)

    run(work())


@pytest.mark.parametrize("limit", [20, 60, 61, 1000])
def test_reaching_the_limit_is_not_incomplete(limit: int) -> None:
    """For limits below, at and above a total that grows during the crawl."""

    async def work() -> None:
        simulator, client = simulated(1, 60, 100)
        options = CrawlOptions(page_size=10, limit=limit, strict=True)
        async with client, writing(simulator, (20, 0, 0), 1):
            outcome = await crawl(simulator, client.works(options=options))
        assert len(outcome.ids) == limit or outcome.report.complete
        assert outcome.report.complete is not False

    run(work())


# Failures


async def to_the_end(crawling: Crawl[Work], patience: float) -> tuple[list[int], Counter[str]]:
    """The ids, continuing after each error and each wait of more than *patience* seconds."""
    ids: list[int] = []
    failures: Counter[str] = Counter()
    while True:
        try:
            item = await asyncio.wait_for(anext(crawling), patience)
        except StopAsyncIteration:
            return ids, failures
        except (DpError, TimeoutError) as error:
            failures[type(error).__name__] += 1
            assert failures.total() < 5000
        else:
            ids.append(item.digital_person_works_id)


def spoil(simulator: Simulator) -> None:
    for fault in (Html(), Reset(), Malformed(), WrongCode(), Throttle(retry_after=0), WrongEcho()):
        simulator.fail(fault, times=None, probability=0.05)


@pytest.mark.parametrize("rates", [(0, 0, 0), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize(("concurrency", "ordered"), [(1, True), (4, False), (16, True)])
def test_a_crawl_is_complete_after_timeouts_and_errors(
    rates: Rates, concurrency: int, ordered: bool
) -> None:
    async def work() -> None:
        failures: Counter[str] = Counter()
        for seed in range(4):
            simulator, client = simulated(3 * seed, 237, 100)  # without lateness
            spoil(simulator)
            options = CrawlOptions(
                page_size=20, concurrency=concurrency, ordered=ordered, max_passes=5
            )
            async with client, writing(simulator, rates, seed):
                await asyncio.sleep(5)
                mark = simulator.works.mark()
                async with client.works(options=options).crawl() as crawling:
                    ids, met = await to_the_end(crawling, 0.05)
                    report = crawling.report
                present = simulator.works.present_since(mark)
            failures += met
            assert report.complete, report.reason
            assert len(ids) == len(set(ids)) == report.items
            assert present <= set(ids)
        assert failures["TimeoutError"] >= 10
        assert failures.total() - failures["TimeoutError"] >= 10

    run(work())


def in_virtual_time(test: Callable[[Simulator, Client], Coroutine[object, object, None]]) -> None:
    async def work() -> None:
        simulator, client = simulated(0, 237, 100)
        async with client:
            await test(simulator, client)

    run(work())


OPTIONS = CrawlOptions(page_size=20, concurrency=4)


def test_a_page_with_a_wrong_number_is_requested_again() -> None:
    async def work(simulator: Simulator, client: Client) -> None:
        simulator.fail(WrongEcho(), page=5)
        async with client.works(options=OPTIONS).crawl() as crawling:
            ids, failures = await to_the_end(crawling, 60)
            assert crawling.report.complete
        assert ids == simulator.works.ids()
        assert failures == {"PaginationError": 1}

    in_virtual_time(work)


@pytest.mark.parametrize("verify", [True, False])
def test_the_same_rows_on_every_page_are_an_error(verify: bool) -> None:
    async def work(simulator: Simulator, client: Client) -> None:
        simulator.fail(SamePage(), times=None)
        with pytest.raises(PaginationError, match="same rows"):
            await client.works(options=replace(OPTIONS, verify=verify)).collect()

    in_virtual_time(work)


@pytest.mark.parametrize("total", [0, 10, 20, 100, 236, 238, 300])
def test_wrong_totals_make_no_false_certificate(total: int) -> None:
    async def work(simulator: Simulator, client: Client) -> None:
        simulator.fail(LyingTotals(total), times=None)
        outcome = await crawl(simulator, client.works(options=OPTIONS))
        outcome.check(OPTIONS)

    in_virtual_time(work)


@pytest.mark.parametrize(("total", "verify"), [(10_000, True), (10**9, True), (10**9, False)])
def test_totals_far_too_large_are_an_error(total: int, verify: bool) -> None:
    async def work(simulator: Simulator, client: Client) -> None:
        simulator.fail(LyingTotals(total), times=None)
        options = replace(OPTIONS, verify=verify)
        async with client.works(options=options).crawl() as crawling:
            with pytest.raises(PaginationError, match="came empty"):
                async for _ in crawling:
                    pass
            assert crawling.report.requests < 100
            assert crawling.report.complete is None

    in_virtual_time(work)


def test_a_failed_page_is_not_the_end() -> None:
    async def work(simulator: Simulator, client: Client) -> None:
        simulator.fail(WrongCode(), page=12, times=3)
        async with client.works(options=OPTIONS).crawl() as crawling:
            for _ in range(3):
                with pytest.raises(ApiError):
                    while True:
                        await anext(crawling)
                assert crawling.report.complete is None
            assert [work async for work in crawling]
            assert crawling.report.complete

    in_virtual_time(work)
