"""How much of a server's allowance does a crawl use, and how many requests does a failing one get?

    python -m benchmarks.load [--only rate|capacity|faults] [--seeds 8] [--pages N] [--seconds 12]

*rate*: the server answers 50 requests in each second of its clock, and all others with a 429 and
``Retry-After: 1``. The crawls have no rate set, and are verified; latencies are log-normal with
sigma 0.3. *capacity*: the server works on a fixed number of requests at once, 50 ms each; others
queue. Up to 64 are in flight, not verified, for *seconds* of work; the second half of the answers
counts, and is compared with the best of seven fixed numbers. *faults*: a share of all requests
fails, or all do.

Virtual time is exact: code takes no time in it. Over HTTP the server has a process of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from statistics import mean, median
from typing import Any, Literal, TypeAlias

from benchmarks.apart import apart, pinned
from benchmarks.harness import Bars, Cell, Check, Result, at_least, at_most, main
from benchmarks.server import simulated
from dp_async import (
    Attempt,
    Client,
    CrawlOptions,
    DpError,
    Request,
    Response,
    RetryPolicy,
    Send,
    Settings,
)
from dp_async.testing import Fault, HalfBody, Html, Reset, Simulator, Throttle
from tests.support.virtual_loop import run

Concurrency: TypeAlias = int | Literal["auto"]

SIZE = 10  # rows a page: waiting is measured, not decoding
START = 1_790_000_000.0
AUTO: Literal["auto"] = "auto"

RATE = 50
LATENCIES = (0.02, 0.05, 0.08)
SOME: tuple[Concurrency, ...] = (AUTO, 1, 8, 16)
SOME_OVER_HTTP: tuple[Concurrency, ...] = (AUTO, 8)

CAPACITIES = (2, 8, 32)
UNEVEN = (8,)
SERVICE = 0.05
MOST = 64
FIXED = (1, 2, 4, 8, 16, 32, 64)
FIXED_SECONDS = 2

FAILING = [(fault, 0.075) for fault in (Reset(), Html(502), HalfBody(), Throttle(0))]
FAILING_PAGES = 200
POLICY = RetryPolicy()
PATIENCE = POLICY.base * (2 ** (POLICY.attempts - 1) - 1) + 0.5  # all its waits, and half a second
CALLS = 1000
OUTAGES: list[tuple[str, Fault, int]] = [
    ("502 to all", Html(502), 0),
    ("resets of all", Reset(), 0),
    ("resets of all after 100 good answers", Reset(), 100),
]


# One crawl


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A crawl of *pages* pages of a server with these *knobs*, at most *most* in flight."""

    knobs: dict[str, Any]
    concurrency: Concurrency
    pages: int
    verify: bool = True
    most: int = 16

    @property
    def options(self) -> CrawlOptions:
        return CrawlOptions(
            page_size=SIZE,
            concurrency=self.concurrency,
            verify=self.verify,
            limit=None if self.verify else self.pages * SIZE,
        )

    @property
    def server(self) -> dict[str, Any]:
        return {"works": self.pages * SIZE, "messages": 0, **self.knobs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a crawl; *answers* are the time and the latency of each, in seconds."""

    pages: int
    good: bool  # every row, none twice, and proven if the crawl was to be verified
    requests: int
    refused: int
    elapsed: float
    answers: list[tuple[float, float]]

    @property
    def rate(self) -> float:
        """Pages a second, over the whole crawl."""
        return self.pages / self.elapsed

    @property
    def throughput(self) -> float:
        """Answers a second, over the second half."""
        half = self.answers[len(self.answers) // 2 :]
        return (len(half) - 1) / (half[-1][0] - half[0][0])

    @property
    def _latencies(self) -> list[float]:
        """The latencies of the second half, sorted."""
        return sorted(seconds for _, seconds in self.answers[len(self.answers) // 2 :])

    @property
    def median(self) -> float:
        return median(self._latencies)

    @property
    def p95(self) -> float:
        return self._latencies[int(len(self._latencies) * 0.95)]


async def crawled(case: Case, settings: Settings, send: Send | None = None) -> Outcome:
    """The crawl, over HTTP unless there is a *send*."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers: list[tuple[float, float]] = []

    async def timed(request: Request, /) -> Response:
        assert send is not None
        sent = loop.time()
        response = await send(request)
        answers.append((loop.time(), loop.time() - sent))
        return response

    def on_attempt(attempt: Attempt) -> None:
        answers.append((loop.time(), attempt.seconds))

    client = Client(replace(settings, max_in_flight=case.most), send=send and timed)
    if send is None:
        client.observe(on_attempt)  # its seconds are real time, which is 0 in virtual time
    ids: list[int | None] = []
    async with client, client.works(options=case.options).crawl() as crawl:
        async for page in crawl.pages():
            ids += [work.digital_person_works_id for work in page]
        report = crawl.report
    return Outcome(
        pages=report.pages,
        good=len(ids) == len({*ids}) == case.pages * SIZE and report.complete is not False,
        requests=client.stats.requests,
        refused=client.stats.throttles,
        elapsed=loop.time() - began,
        answers=answers,
    )


async def _virtually(case: Case, seed: int) -> Outcome:
    random.seed(seed)  # of the client's jitter too
    loop = asyncio.get_running_loop()
    await asyncio.sleep(seed * 0.618 % 1)  # start anywhere within a second of the server's clock
    simulator = Simulator(
        seed=seed,
        clock=lambda: START + loop.time(),
        tolerance=float("inf"),
        remember=False,
        **case.server,
    )
    return await crawled(case, simulator.in_process_settings, simulator.send)


def virtually(case: Case, seed: int) -> Outcome:
    return run(_virtually(case, seed))


def over_seeds(number: int, case: Case) -> list[Outcome]:
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(virtually, repeat(case), range(number)))


def really(cases: Sequence[Case], settings: Settings) -> list[Outcome]:
    return [asyncio.run(crawled(case, settings)) for case in cases]


def over_http(cases: Sequence[Case]) -> list[Outcome]:
    """The crawls one by one, of one server with as many pages as the longest of them reads."""
    largest = max(cases, key=lambda case: case.pages)
    with simulated(**largest.server) as elsewhere:
        return apart(really, cases, elsewhere.settings)()


# The questions

COLUMNS = (
    "server",
    "concurrency",
    "pages a second",
    "of what it gives",
    "the least",
    "p95 / latency alone",
    "% refused",
    "requests a page",
)


@dataclass(slots=True)
class Answers:
    """The rows of the table, the checks against limits, and the bars of the chart."""

    crawls: int = 0
    bad: int = 0
    rows: list[list[Cell]] = field(default_factory=list[list[Cell]])
    checks: list[Check] = field(default_factory=list[Check])
    bars: dict[str, float] = field(default_factory=dict[str, float])

    def row(
        self,
        server: str,
        concurrency: Concurrency,
        *,
        rate: Cell = "",
        share: Cell = "",
        least: Cell = "",
        p95: Cell = "",
        refused: Cell = "",
        requests: Cell = "",
    ) -> None:
        cells = [rate, share, least, p95, refused, requests]
        self.rows.append([server, f"{concurrency}", *cells])

    def whole(self, outcomes: Sequence[Outcome]) -> None:
        """No crawl may lose a row."""
        self.crawls += len(outcomes)
        self.bad += sum(not outcome.good for outcome in outcomes)


def rate(answers: Answers, pages: int, seeds: int) -> None:
    """A limit of requests a second, which the client does not know."""

    def case(latency: float, concurrency: Concurrency) -> Case:
        knobs = {"limit_rate": RATE, "latency": latency, "jitter": 0.3}
        return Case(knobs=knobs, concurrency=concurrency, pages=pages)

    def tell(server: str, concurrency: Concurrency, outcomes: Sequence[Outcome]) -> None:
        shares = [outcome.rate / RATE for outcome in outcomes]
        refused = [100 * outcome.refused / outcome.requests for outcome in outcomes]
        answers.row(
            server,
            concurrency,
            rate=RATE * mean(shares),
            share=mean(shares),
            least=min(shares) if len(shares) > 1 else "",
            refused=mean(refused),
            requests=mean(outcome.requests / outcome.pages for outcome in outcomes),
        )
        name = f"{server}, {concurrency}"
        answers.whole(outcomes)
        if concurrency == AUTO:
            answers.bars[f"dp_async auto, {server}"] = mean(shares)
            answers.checks.append(at_least(0.8, f"{name}: of the rate", mean(shares)))
            answers.checks.append(at_most(10, f"{name}: % refused, the most", max(refused)))

    for latency in LATENCIES:
        for concurrency in SOME:
            server = f"{RATE} a second, latency {latency * 1000:.0f} ms, virtual"
            tell(server, concurrency, over_seeds(seeds, case(latency, concurrency)))
    server = f"{RATE} a second, latency {LATENCIES[0] * 1000:.0f} ms, HTTP"
    outcomes = over_http([case(LATENCIES[0], concurrency) for concurrency in SOME_OVER_HTTP])
    for concurrency, outcome in zip(SOME_OVER_HTTP, outcomes, strict=True):
        tell(server, concurrency, [outcome])


Crawls: TypeAlias = Callable[[Sequence[Case]], list[list[Outcome]]]


def capacity(answers: Answers, seconds: int, seeds: int) -> None:
    """A server that works on a number of requests at once."""
    uneven = {"latency": SERVICE, "jitter": 0.6}  # the result is random, so it takes many seeds
    ways: list[tuple[str, tuple[int, ...], dict[str, Any], Crawls]] = [
        ("virtual", CAPACITIES, {}, partial(virtual, 1)),
        ("uneven, virtual", UNEVEN, uneven, partial(virtual, seeds)),
        ("HTTP", CAPACITIES, {}, lambda cases: [[outcome] for outcome in over_http(cases)]),
    ]
    for how, capacities, knobs, crawl in ways:
        for at_once in capacities:
            server = f"capacity {at_once}, {how}"
            cases = [busy_crawl(at_once, number, FIXED_SECONDS, knobs) for number in FIXED]
            cases.append(busy_crawl(at_once, AUTO, seconds, knobs))
            crawls: dict[Concurrency, list[Outcome]] = {}
            for case, outcomes in zip(cases, crawl(cases), strict=True):
                crawls[case.concurrency] = outcomes
            alone = mean(outcome.median for outcome in crawls[1])
            best = max(mean(outcome.throughput for outcome in crawls[number]) for number in FIXED)
            for concurrency, outcomes in crawls.items():
                speed = mean(outcome.throughput for outcome in outcomes)
                least = min(outcome.throughput for outcome in outcomes) / best
                p95 = mean(outcome.p95 for outcome in outcomes) / alone
                answers.row(
                    server,
                    concurrency,
                    rate=speed,
                    share=speed / best,
                    least=least if len(outcomes) > 1 else "",
                    p95=p95,
                )
                if concurrency == AUTO:
                    answers.bars[f"dp_async auto, {server}"] = speed / best
                    answers.checks.append(
                        at_least(0.9, f"{server}, auto: of the best fixed", speed / best)
                    )
                    if not knobs:
                        name = f"{server}, auto: p95 of the latency of one alone"
                        answers.checks.append(at_most(2, name, round(p95, 2)))
                answers.whole(outcomes)


def virtual(seeds: int, cases: Sequence[Case]) -> list[list[Outcome]]:
    return [over_seeds(seeds, case) for case in cases]


def busy_crawl(at_once: int, concurrency: Concurrency, seconds: int, knobs: dict[str, Any]) -> Case:
    """A crawl that keeps the server at work for *seconds*."""
    busy = at_once if concurrency == AUTO else min(at_once, concurrency)
    return Case(
        knobs={"capacity": at_once, "service": SERVICE, **knobs},
        concurrency=concurrency,
        pages=int(seconds * busy / SERVICE),
        verify=False,
        most=MOST,
    )


def faults(answers: Answers, seeds: int) -> None:
    """Requests that fail: some of them, and all."""
    policy = RetryPolicy(attempts=10)
    for concurrency in (8, AUTO):
        case = Case(knobs={}, concurrency=concurrency, pages=FAILING_PAGES)
        requests: list[float] = []
        outcomes: list[Outcome] = []
        for seed in range(seeds):
            with simulated(FAILING, seed=seed, **case.server) as elsewhere:
                settings = replace(elsewhere.settings, retry=policy)
                outcomes += apart(really, [case], settings)()
                requests.append(elsewhere.served / FAILING_PAGES)
        server = "30 % of requests fail, HTTP"
        speed = mean(outcome.rate for outcome in outcomes)
        answers.row(server, concurrency, rate=speed, requests=mean(requests))
        name = f"{server}, {concurrency}"
        answers.whole(outcomes)
        answers.checks.append(at_most(1.7, f"{name}: requests a page, the most", max(requests)))
    for name, fault, after in OUTAGES:
        with simulated([(fault, 1.0)]) as elsewhere:
            seconds = apart(given_up, elsewhere.settings)()
            sent = elsewhere.served
        answers.row(f"{name}: a crawl, HTTP", 8, requests=sent)
        answers.checks.append(at_most(POLICY.attempts, f"{name}: requests of a crawl", sent))
        answers.checks.append(at_most(PATIENCE, f"{name}: seconds until it fails", seconds))
        with simulated([(fault, 1.0)], after=after) as elsewhere:
            apart(calls, elsewhere.settings, after)()
            served = (elsewhere.served - after) / CALLS
        answers.row(f"{name}: {CALLS:,} calls, HTTP", 16, requests=served)
        answers.checks.append(at_most(1.2, f"{name}: requests a call", served))


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


def measure(*, only: str = "", seeds: int = 8, pages: int = 1000, seconds: int = 12) -> Result:
    answers = Answers()
    if only in ("", "rate"):
        rate(answers, pages, seeds)
    if only in ("", "capacity"):
        capacity(answers, seconds, seeds)
    if only in ("", "faults"):
        faults(answers, min(seeds, 2))
    return Result(
        question=str(__doc__),
        columns=COLUMNS,
        rows=answers.rows,
        checks=[
            at_most(0, f"of {answers.crawls} crawls, those that lost a row", answers.bad),
            *answers.checks,
        ],
        chart=Bars("share of what the server gives", answers.bars, limits=(0.8, 0.9)),
        notes=[pinned(), "At failing servers the last column counts the server's own requests."],
    )


if __name__ == "__main__":
    main(measure)
