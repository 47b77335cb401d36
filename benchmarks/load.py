"""How much of what a server allows does a crawl get, whatever way the server refuses?

    python -m benchmarks.load [--only TEXT] [--seeds report|tune] [--runs 2] [--pages 1000] [--full]

Ten kinds of server, with and without ``Retry-After``, refusing by 429 or 503, at once or after as
long as an answer takes, at 20, 50 and 80 ms (log-normal, sigma 0.3), alone or beside a client that
takes a fifth of what the server allows, evenly or in bursts; crawled with a concurrency of 8, 32
and "auto", up to 64 in flight, no rate set, by the real client in virtual time. It learns the limit
from nothing in the time that is measured.

*of the best*: compared with the best fixed number in flight or rate, which is found once a server,
by trying, among those of which no more is refused than of a crawl may be. More than that counts as
1 in the mean; a crawl that loses rows counts as 0. By default a choice of cells
runs in which each pair of conditions occurs; ``--full`` runs all. ``--only`` runs those whose name
contains a text, such as "8 at once, 50 ms, 429, auto". Odd seeds are reported; even ones are for
tuning. It exits with 1 if a check fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from statistics import geometric_mean, mean

from benchmarks.cells import KINDS, Cell, chosen, every
from benchmarks.crawling import Fixed, Outcome, by_fixed, seeds_of, tried, virtually
from benchmarks.harness import Bars, Check, Result, at_least, at_most, main

#: Fixed settings of a server that are crawled with; the others are tried with bare requests only.
CRAWLED = 3

COLUMNS = (
    "server",
    "concurrency",
    "pages a second",
    "of the best",
    "the best",
    "of the server's rate",
    "% refused",
    "errors",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcomes of one cell, one a seed, and those of the best fixed setting."""

    cell: Cell
    outcomes: Sequence[Outcome]
    fixed: Fixed
    best: Sequence[Outcome]

    @property
    def rate(self) -> float:
        return mean(outcome.rate for outcome in self.outcomes)

    @property
    def of_best(self) -> float:
        return self.rate / mean(outcome.rate for outcome in self.best)

    @property
    def of_rate(self) -> float:
        return self.rate / self.cell.allows

    @property
    def refused(self) -> float:
        return mean(outcome.refused for outcome in self.outcomes)

    @property
    def errors(self) -> int:
        return sum(outcome.errors for outcome in self.outcomes)

    @property
    def lost(self) -> int:
        return sum(outcome.lost for outcome in self.outcomes)

    @property
    def name(self) -> str:
        return f"{self.cell}, {self.cell.concurrency}"

    @property
    def checks(self) -> Iterator[Check]:
        if self.cell.burst_1:
            yield at_least(self.cell.least, f"{self.name}: of the server's rate", self.of_rate)
        else:
            yield at_least(self.cell.least, f"{self.name}: of the best", self.of_best)
        most = self.cell.most_refused
        yield at_most(100 * most, f"{self.name}: % refused", 100 * self.refused)


def crawl(cells: Sequence[Cell], seeds: Sequence[int], pages: int) -> list[Measured]:
    """The cells of one server, and its best fixed setting for each.

    All settings are tried with bare requests, and the best few with a crawl, whose order a request
    that is sent again holds up.
    """
    site = partial(cells[0].site, pages)
    bare: dict[Fixed, tuple[float, float]] = {}  # pages a second, and the share refused
    crawls: dict[Fixed, list[Outcome]] = {}
    measured: list[Measured] = []
    for cell in cells:

        def worth(got: tuple[float, float], cell: Cell = cell) -> float:
            """Pages a second; below 0 if more than allowed is refused, the more the less."""
            return got[0] if got[1] <= cell.most_refused else -got[1]

        for fixed in {*cell.fixed} - {*bare}:
            bare[fixed] = tried(site, seeds[0], fixed)
        likely = sorted(cell.fixed, key=lambda fixed: worth(bare[fixed]), reverse=True)[:CRAWLED]
        for fixed in {*likely} - {*crawls}:
            crawls[fixed] = [by_fixed(site, seed, fixed) for seed in seeds]
        best = max(
            likely,
            key=lambda fixed: worth(
                (
                    mean(outcome.rate for outcome in crawls[fixed]),
                    mean(outcome.refused for outcome in crawls[fixed]),
                )
            ),
        )
        cap = KINDS[cell.kind].cap
        outcomes = [virtually(site, seed, cell.concurrency, cap) for seed in seeds]
        measured.append(Measured(cell, outcomes, best, crawls[best]))
    return measured


def by_server(cells: Iterable[Cell]) -> list[list[Cell]]:
    servers: defaultdict[Cell, list[Cell]] = defaultdict(list)
    for cell in cells:
        servers[replace(cell, concurrency=8)].append(cell)
    return [*servers.values()]


def measure(
    *,
    only: str = "",
    seeds: str = "report",
    runs: int = 2,
    pages: int = 1000,
    full: bool = False,
) -> Result:
    cells = [
        cell for cell in (every() if full else chosen()) if only in f"{cell}, {cell.concurrency}"
    ]
    servers = by_server(cells)
    with ProcessPoolExecutor(2) as pool:
        found = [
            each
            for measured in pool.map(crawl, servers, repeat(seeds_of(seeds, runs)), repeat(pages))
            for each in measured
        ]
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for each in found:
        groups[f"{each.cell.kind}, {each.cell.concurrency}"].append(each.of_best)
    whole = geometric_mean(min(1, max(each.of_best, 1e-3)) for each in found)
    return Result(
        question=str(__doc__),
        columns=COLUMNS,
        rows=[
            (
                f"{each.cell}",
                f"{each.cell.concurrency}",
                each.rate,
                each.of_best,
                f"{each.fixed}",
                "" if KINDS[each.cell.kind].at_once else each.of_rate,
                100 * each.refused,
                each.errors,
            )
            for each in found
        ],
        checks=[
            at_most(0, "rows lost", sum(each.lost for each in found)),
            at_most(0, "errors", sum(each.errors for each in found)),
            at_least(0.9, f"geometric mean of {len(found)} cells, of the best", whole),
            *(check for each in found for check in each.checks),
        ],
        chart=Bars(
            "share of the best fixed setting, geometric mean",
            {
                name: geometric_mean(max(share, 1e-3) for share in each)
                for name, each in groups.items()
            },
            limits=(0.85, 1.0),
        ),
    )


if __name__ == "__main__":
    main(measure)
