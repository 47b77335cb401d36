"""What does a row cost as a list grows to a million rows, or the accounts to a thousand?

    python -m benchmarks.growth [--rounds 3] [--most 1000000] [--accounts 1000]

CPU time per row, peak resident memory, and requests: items are not kept, eight pages of 100 rows in
flight, no latency. Accounts are views of one client with ten pages each, all crawled at once
through its sixteen permits. A slope is the cost of one more row between two sizes.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.apart import apart, peak, pinned
from benchmarks.harness import Cell, Check, Lines, Result, at_most, interleaved, main
from benchmarks.server import served
from dp_async import Client, CrawlOptions, Settings

SIZE = 100
EACH = 10 * SIZE  # rows per account
ENOUGH = 20_000  # rows that take long enough to time

VERIFIED, PLAIN, ACCOUNTS = "verified", "verify=False", "accounts"


async def crawled(settings: Settings, *, verify: bool = True) -> tuple[int, int]:
    """Crawl one list; return its rows and requests."""
    rows = 0
    async with Client(settings) as client:
        async for _ in client.works(options=CrawlOptions(page_size=SIZE, verify=verify)):
            rows += 1
        return rows, client.stats.requests


async def accounts(settings: Settings, number: int) -> tuple[int, int]:
    """Crawl *number* accounts at once; return their rows and requests."""
    rows = 0
    async with Client(settings) as client:

        async def crawl(account: str) -> None:
            nonlocal rows
            async for _ in client.for_account(account).works(options=CrawlOptions(page_size=SIZE)):
                rows += 1

        async with asyncio.TaskGroup() as group:
            for account in range(number):
                group.create_task(crawl(f"{13_000_000_000 + account}"))
        return rows, client.stats.requests


@dataclass(frozen=True, slots=True)
class Cost:
    """One crawl: microseconds of CPU per row, peak MB, requests."""

    row: float
    peak: float
    requests: int


def cost(kind: str, settings: Settings, rows: int) -> Cost:
    """Measure a crawl: memory by the first run; a small list is crawled repeatedly for its time."""

    async def crawl() -> tuple[int, int]:
        if kind == ACCOUNTS:
            return await accounts(settings, rows // EACH)
        return await crawled(settings, verify=kind == VERIFIED)

    spent: list[float] = []
    before, requests = 0.0, 0
    for _ in range(3 if rows < ENOUGH else 1):
        gc.collect()
        start = time.process_time()
        for _ in range(max(1, ENOUGH // rows)):
            found, requests = asyncio.run(crawl())
            assert found == rows, found
            before = before or peak()
        spent.append((time.process_time() - start) / max(1, ENOUGH // rows))
    return Cost(min(spent) / rows * 1e6, before, requests)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table, with the costs of its runs."""

    kind: str
    rows: int
    settings: Settings
    costs: list[Cost] = field(default_factory=list[Cost])

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.rows:,} rows"

    def __call__(self) -> float:
        self.costs.append(apart(cost, self.kind, self.settings, self.rows)())
        return self.costs[-1].row

    def middle(self, of: Callable[[Cost], float]) -> float:
        return median(map(of, self.costs))

    @property
    def peak(self) -> float:
        return self.middle(lambda cost: cost.peak)


def slope(small: Case, large: Case) -> float:
    """Microseconds per additional row between two sizes: the median over rounds."""
    more = large.rows - small.rows
    pairs = zip(small.costs, large.costs, strict=True)
    return median((b.row * large.rows - a.row * small.rows) / more for a, b in pairs)


def measure(*, rounds: int = 3, most: int = 1_000_000, accounts: int = 1000) -> Result:
    sizes = [size for size in (1000, 10_000, 100_000, 1_000_000) if size <= most]
    numbers = [number for number in (1, 10, 100, 1000) if number <= accounts]
    with ExitStack() as stack:
        lists = {size: stack.enter_context(served(size)) for size in sizes}
        cases = {
            kind: [Case(kind, size, lists[size]) for size in sizes] for kind in (VERIFIED, PLAIN)
        }
        cases[ACCOUNTS] = [Case(ACCOUNTS, number * EACH, lists[EACH]) for number in numbers]
        took = interleaved({case.name: case for line in cases.values() for case in line}, rounds)
    rows: list[list[Cell]] = []
    for kind, line in cases.items():
        for case, before in zip(line, [None, *line], strict=False):
            rows.append(
                [
                    kind,
                    f"{case.rows // EACH:,} x {EACH:,}" if kind == ACCOUNTS else f"{case.rows:,}",
                    took.median(case.name),
                    took.extremes(case.name),
                    "" if before is None else slope(before, case),
                    case.peak,
                    case.middle(lambda cost: cost.requests),
                ]
            )
    return Result(
        question=str(__doc__),
        columns=("", "rows", "µs a row", "least-most", "slope", "peak MB", "requests"),
        rows=rows,
        checks=checks(cases),
        chart=Lines(
            "rows",
            "CPU for a row, µs",
            {
                kind: [(case.rows, case.middle(lambda cost: cost.row)) for case in line]
                for kind, line in cases.items()
            },
            log="x",
        ),
        notes=[pinned()],
    )


def checks(cases: dict[str, list[Case]]) -> list[Check]:
    """The checks whose sizes were measured."""
    found: list[Check] = []
    for kind in (VERIFIED, PLAIN, ACCOUNTS):
        if len(cases[kind]) == 4:
            _, second, third, fourth = cases[kind]
            difference = abs(slope(third, fourth) / slope(second, third) - 1)
            found.append(at_most(0.15, f"{kind}: relative change of the last slope", difference))
    if len(cases[VERIFIED]) == 4:
        small, *_, large = cases[VERIFIED]
        bytes_a_row = (large.peak - small.peak) * 2**20 / large.rows
        found.append(
            at_most(75, "verified: bytes a row at a million, above a thousand", bytes_a_row)
        )
        small, *_, large = cases[PLAIN]
        found.append(
            at_most(10, "verify=False: MB at a million, above a thousand", large.peak - small.peak)
        )
    return found


if __name__ == "__main__":
    main(measure)
