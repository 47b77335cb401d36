"""Does "auto" find how many requests a server works on at once, in virtual time and over HTTP?

    python -m benchmarks.capacity [--seeds 8] [--seconds 12]

The server works on 2, 8 or 32 requests at once, 50 ms each, or log-normal with sigma 0.6
("uneven"); others queue. Up to 64 are in flight, the crawl is not verified, and lasts for *seconds*
of work. The second half of the answers counts, and is compared with the best of seven fixed
numbers, of two seconds each. Over HTTP the server is the simulator, in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from random import Random
from statistics import mean, median
from typing import TypeAlias

from benchmarks.apart import apart, pinned
from benchmarks.crawling import MOST, Concurrency, watched
from benchmarks.harness import Bars, Cell, Check, Result, at_least, at_most, main
from benchmarks.refusing import Queue
from benchmarks.server import simulated
from benchmarks.site import SIZE, Answering, Site
from dp_async import Attempt, Client, CrawlOptions, Settings

CAPACITIES = (2, 8, 32)
UNEVEN = (8,)
SERVICE = 0.05
FIXED = (1, 2, 4, 8, 16, 32, 64)
FIXED_SECONDS = 2

#: The time at which each answer came, and its latency.
Answers: TypeAlias = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Case:
    """A crawl of *seconds* of work for a server that works on *capacity* requests at once."""

    capacity: int
    concurrency: Concurrency
    seconds: float
    sigma: float = 0.0

    @property
    def pages(self) -> int:
        busy = self.capacity
        if self.concurrency != "auto":
            busy = min(busy, self.concurrency)
        return int(self.seconds * busy / SERVICE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The second half of the *answers* of a crawl."""

    answers: Answers

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return (len(self.answers) - 1) / (self.answers[-1][0] - self.answers[0][0])

    @property
    def latencies(self) -> list[float]:
        return sorted(seconds for _, seconds in self.answers)

    @property
    def p95(self) -> float:
        return self.latencies[int(len(self.answers) * 0.95)]


def virtually(case: Case, seed: int) -> Outcome:
    def site(seed: int) -> Site:
        draws = Random(seed)
        work = Answering(seconds=lambda: SERVICE * draws.lognormvariate(0, case.sigma))
        return Site(10**9, Queue(case.capacity), work, travel=0.0)

    answers = watched(site, seed, case.concurrency, case.seconds).site.answers
    return Outcome(answers[len(answers) // 2 :])


def over_seeds(seeds: int, cases: Sequence[Case]) -> list[list[Outcome]]:
    with ProcessPoolExecutor(2) as pool:
        return [[*pool.map(virtually, repeat(case), range(seeds))] for case in cases]


def really(cases: Sequence[Case], settings: Settings) -> list[Outcome]:
    async def crawl(case: Case) -> Outcome:
        loop, answers = asyncio.get_running_loop(), Answers()

        def count(attempt: Attempt) -> None:
            answers.append((loop.time(), attempt.seconds))

        options = CrawlOptions(
            page_size=SIZE,
            concurrency=case.concurrency,
            verify=False,
            limit=case.pages * SIZE,
        )
        async with Client(replace(settings, max_in_flight=MOST)) as client:
            client.observe(count)
            async for _ in client.works(options=options):
                pass
        return Outcome(answers[len(answers) // 2 :])

    return [asyncio.run(crawl(case)) for case in cases]


def over_http(cases: Sequence[Case]) -> list[list[Outcome]]:
    """The crawls one by one, of one server with as many pages as the longest of them reads."""
    works = SIZE * max(case.pages for case in cases)
    capacity = cases[0].capacity
    with simulated(works=works, messages=0, capacity=capacity, service=SERVICE) as elsewhere:
        return [[outcome] for outcome in apart(really, cases, elsewhere.settings)()]


Crawls: TypeAlias = Callable[[Sequence[Case]], list[list[Outcome]]]


def measure(*, seeds: int = 8, seconds: int = 12) -> Result:
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}
    ways: list[tuple[str, tuple[int, ...], float, Crawls]] = [
        ("virtual", CAPACITIES, 0.0, partial(over_seeds, 1)),
        ("uneven, virtual", UNEVEN, 0.6, partial(over_seeds, seeds)),
        ("HTTP", CAPACITIES, 0.0, over_http),
    ]
    for how, capacities, sigma, crawl in ways:
        for capacity in capacities:
            server = f"capacity {capacity}, {how}"
            cases = [Case(capacity, number, FIXED_SECONDS, sigma) for number in FIXED]
            cases.append(Case(capacity, "auto", seconds, sigma))
            crawls = dict(zip((case.concurrency for case in cases), crawl(cases), strict=True))
            alone = mean(median(outcome.latencies) for outcome in crawls[1])
            best = max(mean(outcome.throughput for outcome in crawls[number]) for number in FIXED)
            for concurrency, outcomes in crawls.items():
                speeds = [outcome.throughput / best for outcome in outcomes]
                share, least = mean(speeds), min(speeds)
                p95 = mean(outcome.p95 for outcome in outcomes) / alone
                several = len(outcomes) > 1
                rows.append(
                    [server, concurrency, share * best, share, least if several else "", p95]
                )
                if concurrency != "auto":
                    continue
                bars[f"dp_async auto, {server}"] = share
                checks.append(at_least(0.9, f"{server}, auto: of the best fixed", share))
                if not sigma:
                    checks.append(at_most(2, f"{server}, auto: p95, x alone", round(p95, 2)))
    return Result(
        question=str(__doc__),
        columns=(
            "server",
            "concurrency",
            "pages a second",
            "of the best fixed",
            "the least",
            "p95 / latency alone",
        ),
        rows=rows,
        checks=checks,
        chart=Bars("share of the best fixed number", bars, limits=(0.9,)),
        notes=[pinned()],
    )


if __name__ == "__main__":
    main(measure)
