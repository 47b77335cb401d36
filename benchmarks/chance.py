"""Does ``concurrency="auto"`` take chance for load, where latency does not depend on load?

    python -m benchmarks.chance [--seeds 8] [--pages 2000] [--full]

The server has no limit, so the most in flight is the best. Latencies are log-normal with a median
of 50 ms and sigma 0.6 or 1, or uniform from 50 to 150 ms, or log-normal with sigma 0.3 where 1 or
5 % of the requests take a second longer, as one that is lost and sent again. *of the ceiling*: the
throughput of a run's second half, times the mean latency, by the most that may be in flight. Each
run is one crawl from nothing. ``--full`` takes 500 seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat
from random import Random
from statistics import mean

from benchmarks.crawling import SETTINGS, watched
from benchmarks.harness import Bars, Cell, Check, Result, at_most, main
from benchmarks.refusing import Free
from benchmarks.site import Answering, Site

MEDIAN = 0.05
CEILINGS = (16, 64)
SHORT = 0.7
LATENCIES: dict[str, Callable[[Random], float]] = {
    "log-normal, sigma 0.6": lambda random: MEDIAN * random.lognormvariate(0, 0.6),
    "log-normal, sigma 1": lambda random: MEDIAN * random.lognormvariate(0, 1),
    "uniform, 50-150 ms": lambda random: random.uniform(0.05, 0.15),
    "1 % take a second longer": lambda random: _with_loss(random, 0.01),
    "5 % take a second longer": lambda random: _with_loss(random, 0.05),
}


def _with_loss(random: Random, share: float) -> float:
    return MEDIAN * random.lognormvariate(0, 0.3) + (random.random() < share)


def of_ceiling(name: str, ceiling: int, pages: int, seed: int) -> float:
    draw = LATENCIES[name]
    seconds = mean(draw(Random(number)) for number in range(10_000))

    def site(seed: int) -> Site:
        return Site(10**9, Free(), Answering(seconds=partial(draw, Random(seed))))

    end = pages * seconds / ceiling
    found = watched(site, seed, "auto", end, replace(SETTINGS, max_in_flight=ceiling))
    return found.rate(end / 2, end) * seconds / ceiling


def measure(*, seeds: int = 8, pages: int = 2000, full: bool = False) -> Result:
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}
    numbers = range(500 if full else seeds)
    with ProcessPoolExecutor(2) as pool:
        for name in LATENCIES:
            for ceiling in CEILINGS:
                # A run is long enough for the client to learn.
                long = repeat(pages * max(1, ceiling // 32))
                shares = sorted(pool.map(of_ceiling, repeat(name), repeat(ceiling), long, numbers))
                short = 100 * mean(share < SHORT for share in shares)
                rows.append([name, ceiling, mean(shares), shares[len(shares) // 100], short])
                label = f"{name}, at most {ceiling}"
                checks.append(at_most(1, f"{label}: % of runs below {SHORT}", short))
                bars[label] = mean(shares)
    return Result(
        question=str(__doc__),
        columns=("latencies", "at most", "of the ceiling", "1 in 100", f"% of runs below {SHORT}"),
        rows=rows,
        checks=checks,
        chart=Bars("mean number in flight, of the ceiling", bars, limits=(SHORT,)),
    )


if __name__ == "__main__":
    main(measure)
