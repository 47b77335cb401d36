"""How many crawls of a list that is written to lose rows, and what does the certificate say?

    python -m benchmarks.completeness [--crawls 400] [--large 40] [--jobs 2] [--reasons]

The real engine crawls the simulator in process, in virtual time: 10 requests in flight, latency
log-normal with a median of 80 ms and sigma 0.6, update times in whole seconds, all other options at
their defaults. Writers start 10 s before each crawl and run until its end. *plain* is one pass,
not verified; *auto* has the default options; *fixed* has a fixed overlap from the start. Pages hold
up to 200 rows; in the last line up to 100: at 40 writes a second the newest page then spans little
more than ``allowed_lateness``, so linking it takes some luck. Requests are relative to the pages of
the list. A crawl is *false* if it reports complete but lacks a row that was there all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import mean

from benchmarks.harness import Bars, Cell, Result, at_most, main
from dp_async import Client, CrawlOptions
from dp_async.testing import Simulator
from tests.support.virtual_loop import run

START = 1_790_000_000.0
WARM_UP = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """Writes a second to a list of *rows* rows, read in pages of *size*."""

    inserts: float
    updates: float
    deletes: float
    rows: int
    size: int
    overlap: int
    largest: int = 200

    def __str__(self) -> str:
        text = f"{self.inserts:g}, {self.updates:g}, {self.deletes:g}"
        return text if self.largest == 200 else f"{text} (pages to {self.largest})"


CASES = [
    Case(0, 0, 0, 3000, 50, 3),
    Case(1, 0, 0, 3000, 50, 3),
    Case(0.5, 0.5, 0.3, 3000, 50, 3),
    Case(0, 3, 1, 3000, 50, 3),
    Case(5, 5, 5, 3000, 50, 3),
    Case(20, 20, 20, 3000, 50, 6),
    Case(5, 5, 5, 30_000, 100, 4),
    Case(20, 20, 20, 30_000, 100, 10),
    Case(20, 20, 20, 3000, 50, 3, largest=100),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one crawl lost, and what it reported."""

    lost: int
    complete: bool | None
    repeated: bool
    requests: float
    reason: str


async def crawl(case: Case, options: CrawlOptions, seed: int) -> Outcome:
    """Crawl a list that is written to before and during the crawl."""
    loop = asyncio.get_running_loop()
    simulator = Simulator(
        works=case.rows,
        messages=0,
        latency=0.08,
        jitter=0.6,
        seed=seed,
        clock=lambda: START + seed % 997 / 997 + loop.time(),
        tolerance=float("inf"),
        max_page_size=case.largest,
        remember=False,
    )
    client = Client(simulator.in_process_settings, send=simulator.send)
    listing = client.works(options=options)
    writing = simulator.writing(
        "work_list",
        inserts=case.inserts,
        updates=case.updates,
        deletes=case.deletes,
        seed=seed,
    )
    async with client, writing:
        await asyncio.sleep(WARM_UP)
        mark = simulator.works.mark()
        async with listing.crawl() as crawling:
            ids = [work.digital_person_works_id async for work in crawling]
            report = crawling.report
        lost = simulator.works.present_since(mark) - set(ids)
    pages = -(-case.rows // case.size)
    return Outcome(
        len(lost),
        report.complete,
        len(set(ids)) < len(ids),
        report.requests / pages,
        report.reason,
    )


def one(case: Case, options: CrawlOptions, seed: int) -> Outcome:
    return run(crawl(case, options, seed))


def several(
    pool: ProcessPoolExecutor, case: Case, options: CrawlOptions, seeds: range
) -> list[Outcome]:
    return list(pool.map(one, repeat(case), repeat(options), seeds, chunksize=4))


def share(outcomes: list[Outcome], hit: Callable[[Outcome], bool]) -> float:
    """The share of *outcomes* that *hit* is true of, in percent."""
    return 100 * sum(map(hit, outcomes)) / len(outcomes)


def is_lost(outcome: Outcome) -> bool:
    return outcome.lost > 0


def is_certified(outcome: Outcome) -> bool:
    return outcome.complete is True


def measure(
    *, crawls: int = 400, large: int = 40, seed: int = 0, jobs: int = 2, reasons: bool = False
) -> Result:
    rows: list[list[Cell]] = []
    losses: dict[str, float] = {}
    verified: list[Outcome] = []
    with ProcessPoolExecutor(jobs) as pool:
        for case in CASES:
            seeds = range(seed, seed + (crawls if case.rows <= 3000 else large))
            options = CrawlOptions(page_size=case.size, concurrency=10)
            plain = several(pool, case, replace(options, verify=False), seeds)
            auto = several(pool, case, options, seeds)
            fixed = several(pool, case, replace(options, overlap=case.overlap), seeds)
            verified += auto + fixed
            losses[f"{case}, {case.rows:,} rows"] = share(plain, is_lost)
            rows.append(
                [
                    str(case),
                    f"{case.rows:,}",
                    share(plain, is_lost),
                    share(auto, is_certified),
                    mean(outcome.requests for outcome in auto),
                    share(fixed, is_certified),
                    mean(outcome.requests for outcome in fixed),
                    f"{case.overlap}",
                ]
            )
    false = sum(is_certified(outcome) and is_lost(outcome) for outcome in verified)
    repeated = sum(outcome.repeated for outcome in verified)
    why = {outcome.reason for outcome in verified if not outcome.complete}
    return Result(
        question=str(__doc__),
        columns=(
            "inserts, updates, deletes a second",
            "rows",
            "% of plain passes that lose rows",
            "% of auto certified",
            "requests",
            "% of fixed certified",
            "requests",
            "overlap",
        ),
        rows=rows,
        checks=[
            at_most(0, f"of {len(verified):,} verified crawls, false ones", false),
            at_most(0, "with an id twice", repeated),
        ],
        chart=Bars("% of plain passes that lose rows; of certified crawls none did", losses),
        notes=[f"Not certified: {reason}." for reason in sorted(why)] if reasons else (),
        libraries=("dp_async",),
    )


if __name__ == "__main__":
    main(measure)
