"""Crawls of a list that is written to: how many lose rows, and what the certificate says of them.

    python -m benchmarks.completeness [--crawls 400] [--large 40] [--seed 0] [--jobs 2]

The real engine against the simulator in process, in virtual time: 10 in flight, 80 ms median
latency, log-normal with sigma 0.6, update times in whole seconds, every other option at its
default. Writers run for 10 s before a crawl begins, so that the head of the list is as busy as the
rest of the crawl. *plain*: one pass, not verified. *auto*: as it comes. *fixed*: an overlap from
the start. The server gives pages of up to 200 rows; in the last line, of up to 100: at 40 rows a
second the newest page then spans little more than ``settle``, and takes some luck to be linked.
Requests are relative to the pages of the list. A crawl is *false* if it says that it is
complete and a row that was there all the time did not come.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import mean

from dp_async import Client, CrawlOptions, Settings
from dp_async.testing import Simulator
from tests.virtual import run

START = 1_790_000_000.0
WARM_UP = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """So many *inserts*, *updates* and *deletes* a second, on so many *rows* in pages of *size*."""

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
    """What became of one crawl."""

    lost: int
    complete: bool | None
    repeated: bool
    requests: float
    reason: str


async def crawl(case: Case, options: CrawlOptions, seed: int) -> Outcome:
    """One crawl of a list that is written to before and while it runs."""
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
    settings = Settings(
        base_url="http://127.0.0.1", app_id="simulated-app", app_secret="simulated-secret"
    )
    client = Client(settings, send=simulator.send)
    listing = client.works(options=options)
    writing = simulator.writing(
        inserts=case.inserts, updates=case.updates, deletes=case.deletes, seed=seed
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


def share(outcomes: list[Outcome], what: str) -> str:
    hits = {
        "lost": sum(outcome.lost > 0 for outcome in outcomes),
        "certified": sum(outcome.complete is True for outcome in outcomes),
    }[what]
    return f"{100 * hits / len(outcomes):5.1f} %"


def table(given: argparse.Namespace) -> Iterator[str]:
    crawls = 0
    false = 0
    repeated = 0
    yield (
        "inserts, updates, deletes/s   rows  a pass loses rows  "
        "auto: certified, requests   fixed (overlap)"
    )
    with ProcessPoolExecutor(given.jobs) as pool:
        for case in CASES:
            number = given.crawls if case.rows <= 3000 else given.large
            seeds = range(given.seed, given.seed + number)
            options = CrawlOptions(page_size=case.size, concurrency=10)
            plain = several(pool, case, replace(options, verify=False), seeds)
            auto = several(pool, case, options, seeds)
            fixed = several(pool, case, replace(options, overlap=case.overlap), seeds)
            verified = auto + fixed
            crawls += len(verified)
            false += sum(outcome.complete is True and outcome.lost > 0 for outcome in verified)
            repeated += sum(outcome.repeated for outcome in verified)
            yield (
                f"{case!s:26} {case.rows:7} {share(plain, 'lost'):>13}     "
                f"{share(auto, 'certified'):>10}, {mean(o.requests for o in auto):5.2f}   "
                f"{share(fixed, 'certified'):>10}, {mean(o.requests for o in fixed):5.2f} "
                f"({case.overlap})"
            )
            if given.reasons:
                for reason in {o.reason for o in verified if not o.complete}:
                    yield f"    {reason}"
    yield f"{crawls} verified crawls: {false} false, {repeated} with an id twice"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawls", type=int, default=400, help="of each kind, on 3,000 rows")
    parser.add_argument("--large", type=int, default=40, help="of each kind, on 30,000 rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--reasons", action="store_true", help="say why crawls were not certified")
    for line in table(parser.parse_args()):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
