"""How close does a crawl come to the least time that the server's latencies allow?

    python -m benchmarks.latency [--rounds 5] [--pages 1000] [--few 100]

Pages of 100 works, 50 ms each: fixed, or log-normal with sigma 0.6 around that median; 1, 8 and 32
in flight. The ideal is computed from the latencies drawn: the reads that the proof of completeness
needs one after the other (page 1, then the last page; page 1 again at the end), plus the sum of all
others divided by the number in flight. The workers by hand know the number of pages beforehand and
prove nothing: their ideal has no serial read. Each way runs in a process of its own, and first
reads some pages from another server to warm up. With one request in flight, only *few* pages are
read, to keep the run short.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from benchmarks import ways
from benchmarks.apart import apart, pinned
from benchmarks.harness import Bars, Result, ahead, at_least, interleaved, main
from benchmarks.server import latencies, served
from benchmarks.ways import SIZE, Task

LATENCY = 0.05
FEW = 5  # pages of the warm-up, from a server without latency
SIGMAS = {"fixed": 0.0, "sigma 0.6": 0.6}
ORDERED = "dp_async"
UNORDERED = "dp_async, ordered=False"
BATCHES = "gather in batches"
ONE_BY_ONE = "one by one"
FLOOR = "by hand, workers"
OTHERS = {FLOOR: ways.by_hand, BATCHES: ways.batches, ONE_BY_ONE: ways.one_by_one}
WHY = {
    FLOOR: "it knows the number of pages, requests all of them at once, and proves nothing",
    BATCHES: "it proves nothing: it reads neither the last page alone nor page 1 again",
    ONE_BY_ONE: "it proves nothing: it does not read page 1 again",
}
LIMITS = {
    ("fixed", 8, ORDERED): 0.95,
    ("fixed", 32, ORDERED): 0.95,
    ("sigma 0.6", 8, ORDERED): 0.9,
    ("sigma 0.6", 8, UNORDERED): 0.95,
    ("sigma 0.6", 32, ORDERED): 0.78,
    ("sigma 0.6", 32, UNORDERED): 0.88,
}


def run(way: str, task: Task, warm_up: Task) -> tuple[float, int]:
    """Seconds and requests of *way* on *task*, after *warm_up*."""
    asyncio.run(_run(way, warm_up))
    start = time.perf_counter()
    requests = asyncio.run(_run(way, task))
    return time.perf_counter() - start, requests


async def _run(way: str, task: Task) -> int:
    if way in OTHERS:
        await OTHERS[way](task)
        return task.pages
    async with task.client() as client:
        options = ways.options(task, ordered=way == ORDERED)
        async with client.works(options=options).crawl() as crawl:
            async for _ in crawl:
                pass
            assert crawl.report.complete, crawl.report.reason
            return crawl.report.requests


def ideal(drawn: Sequence[float], in_flight: int, way: str) -> float:
    """The least seconds in which *way* could have read pages with these latencies."""
    match way:
        case "by hand, workers":  # they know the number of pages
            serial = 0.0
        case "gather in batches" | "one by one":
            serial = drawn[0]
        case _:
            serial = drawn[0] + drawn[1] + drawn[-1]
    return serial + (sum(drawn) - serial) / in_flight


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table, with the results of its runs."""

    distribution: str
    in_flight: int
    way: str
    task: Task
    waits: Iterator[float]
    warm_up: Task
    shares: list[float] = field(default_factory=list[float])

    @property
    def name(self) -> str:
        return f"{self.way}, {self.distribution}, {self.in_flight} in flight"

    def __call__(self) -> float:
        """Run it once; return the milliseconds per page."""
        seconds, requests = apart(run, self.way, self.task, self.warm_up)()
        drawn = list(islice(self.waits, requests))
        self.shares.append(ideal(drawn, self.in_flight, self.way) / seconds)
        return 1000 * seconds / self.task.pages

    @property
    def share(self) -> float:
        return median(self.shares)

    @property
    def limit(self) -> float | None:
        return LIMITS.get((self.distribution, self.in_flight, self.way))


def cases(stack: ExitStack, pages: int, few: int) -> Iterator[Case]:
    """All lines of the table. Lines of one server share its sequence of latencies."""
    at_once = stack.enter_context(served(FEW * SIZE - 1))
    for distribution, sigma in SIGMAS.items():
        for in_flights, number in (((1,), few), ((8, 32), pages)):
            waits = latencies(LATENCY, sigma)
            server = served(number * SIZE - 1, latency=LATENCY, jitter=sigma)
            settings = stack.enter_context(server)
            for in_flight in in_flights:
                task = Task(settings, number, in_flight)
                warm_up = Task(at_once, FEW, in_flight)
                others = [ONE_BY_ONE] if in_flight == 1 else [BATCHES, FLOOR, UNORDERED]
                for way in [*others, ORDERED]:
                    yield Case(distribution, in_flight, way, task, waits, warm_up)


def measure(*, rounds: int = 5, pages: int = 1000, few: int = 100) -> Result:
    with ExitStack() as stack:
        lines = list(cases(stack, pages, few))
        took = interleaved({line.name: line for line in lines}, rounds)

    def faster(line: Case) -> float:
        """How many times as fast as one page after the other."""
        slow = next(
            each
            for each in lines
            if (each.distribution, each.way) == (line.distribution, ONE_BY_ONE)
        )
        return took.ratio(slow.name, line.name)

    return Result(
        question=str(__doc__),
        columns=(
            "way",
            "latencies",
            "in flight",
            "pages",
            "ms a page",
            "least-most",
            "of the ideal",
            "x as fast as one by one",
        ),
        rows=[
            (
                line.way,
                line.distribution,
                line.in_flight,
                line.task.pages,
                took.median(line.name),
                took.extremes(line.name),
                line.share,
                faster(line),
            )
            for line in lines
        ],
        checks=[
            at_least(line.limit, line.name, line.share) for line in lines if line.limit is not None
        ],
        chart=Bars(
            "share of the ideal",
            {line.name: line.share for line in sorted(lines, key=lambda line: line.in_flight)},
        ),
        notes=[
            pinned(),
            *ahead(
                took,
                [
                    (line.name, f"{ORDERED}, {line.distribution}, {line.in_flight} in flight")
                    for line in lines
                    if line.way in OTHERS
                ],
                WHY,
            ),
        ],
    )


if __name__ == "__main__":
    main(measure)
