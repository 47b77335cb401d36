"""How fast does a crawl follow a server that changes, and how little does one refusal cost it?

    python -m benchmarks.changes [--only TEXT] [--seeds report|tune] [--runs 3]

A crawl without an end, in virtual time, of a server that changes its limit, its latency, or whether
it answers at all. Latencies are log-normal with a median of 50 ms and sigma 0.3, at most 64 are in
flight unless said otherwise, no rate is set. *of what it should be*: the throughput after the time
to adapt, compared with what the server then allows, or the same crawl without the disturbance; of
several runs, the one with the least. Errors are those that reach the consumer. ``--only`` runs the
lines whose text contains a text. Odd seeds are reported; even ones are for tuning. It exits with 1
if a check fails.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product, repeat
from random import Random
from statistics import mean

from benchmarks.crawling import SETTINGS, Concurrency, Watched, seeds_of, watched
from benchmarks.harness import Bars, Check, Result, at_least, at_most, main
from benchmarks.refusing import Bucket, Changing, Free, Hole, Once, Queue, Server, Slots
from benchmarks.site import TRAVEL, Answering, Site
from dp_async import RetryPolicy, Settings

SIGMA = 0.3
LATENCY = 0.05
MEAN = LATENCY * math.exp(SIGMA**2 / 2)
WORK = MEAN * (1 - 2 * TRAVEL)
ENDLESS = 10**9
#: When the server changes, in seconds; by then the crawl has learned what there was. The second
#: is for servers of a thousand requests a second, to keep the run short.
CHANGE, SOON = 20.0, 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table.

    - *server*: makes it; *undisturbed*: what it would be without the one refusal, to compare with.
    - *start*, *end*: the seconds in which the throughput counts; *should_be*: what it should be.
    - *least*: the least share of that; *most_refused*: the largest share refused from then on.
    """

    name: str
    concurrency: Concurrency
    server: Callable[[], Server]
    start: float
    end: float
    should_be: float | None = None
    least: float = 0.9
    most_refused: float = 1.0
    status: int = 429
    retry_after: bool = False
    travel: float = TRAVEL
    later_latency: float = LATENCY  # from CHANGE on, the median
    settings: Settings = SETTINGS
    undisturbed: Callable[[], Server] | None = None

    def __str__(self) -> str:
        return f"{self.name}, {self.concurrency}"


def lines() -> Iterator[Line]:
    yield from started_wrong()
    yield from one_refusal()
    yield from limit_changes()
    yield from latency_changes()
    yield black_hole()
    yield fixed_rate()


def changing(kind: Callable[[int], Server], before: int, after: int, at: float) -> Server:
    return Changing(kind(before), kind(after), at)


def one_second(wait: float) -> float:
    return 1.0


def started_wrong() -> Iterator[Line]:
    """What "auto" learned at another server is wrong for this one, by far."""
    kinds: list[tuple[str, Callable[[int], Server], float]] = [
        ("at once", Slots, MEAN),
        ("workers, queue", Queue, WORK),
    ]
    for (name, kind, seconds), (before, after) in product(kinds, [(64, 4), (2, 64)]):
        yield Line(
            name=f"{before} {name}, then {after}",
            concurrency="auto",
            server=partial(changing, kind, before, after, SOON),
            start=SOON + 5,
            end=SOON + 10,
            should_be=min(after / seconds, 64 / MEAN),
        )


def one_refusal() -> Iterator[Line]:
    """One refusal out of the blue, from a server without a limit."""
    moments: list[tuple[str, int, float]] = [
        ("the 2nd request", 2, 0),
        ("the 12th request", 12, 0),
        ("a request after 1 s", 0, 1),
        ("a request after 6 s", 0, 6),
    ]
    concurrencies: tuple[Concurrency, ...] = (8, "auto")
    for (name, number, at), concurrency, status in product(moments, concurrencies, (429, 503)):
        yield Line(
            name=f"no limit, {name} refused by {status}",
            concurrency=concurrency,
            server=partial(Once, number, at),
            undisturbed=Free,
            start=at,
            end=at + 10,
            status=status,
            settings=replace(SETTINGS, max_in_flight=16),
        )


def limit_changes() -> Iterator[Line]:
    concurrencies: tuple[Concurrency, ...] = (32, "auto")
    ways: list[tuple[int, int, bool]] = [
        (50, 100, False), (50, 100, True), (50, 25, False), (50, 25, True),
    ]  # fmt: skip
    for (before, after, retry_after), concurrency in product(ways, concurrencies):
        more = after > before
        yield Line(
            name=f"{before} a second, burst 20, then {after}"
            + (", Retry-After" if retry_after else ""),
            concurrency=concurrency,
            server=partial(changing, partial(Bucket, burst=20), before, after, CHANGE),
            start=CHANGE + (20 if more else 5),
            end=CHANGE + (30 if more else 15),
            should_be=after,
            least=0.85 if more else 0.0,
            most_refused=1.0 if more else 0.05,
            retry_after=retry_after,
        )


def latency_changes() -> Iterator[Line]:
    """Latency rises for good, which says nothing of the server's limit: it has none."""
    for latency in (0.5, 1.0, 2.0):
        yield Line(
            name=f"no limit, from 0.05 s to {latency:g} s",
            concurrency="auto",
            server=Free,
            start=CHANGE + 20,
            end=CHANGE + 40,
            should_be=16 * LATENCY / latency / MEAN,
            later_latency=latency,
            settings=replace(SETTINGS, max_in_flight=16),
        )


def black_hole() -> Line:
    """No answer to anything for 10 s."""
    return Line(
        name="no answer for 10 s, 8 attempts",
        concurrency=64,
        server=partial(Hole, SOON, SOON + 10),
        start=SOON + 20,
        end=SOON + 30,
        should_be=64 / MEAN,
        settings=replace(SETTINGS, timeout=2.0, retry=RetryPolicy(attempts=8)),
    )


def fixed_rate() -> Line:
    """A rate that is set keeps its requests apart, for a limiter without a burst."""
    return Line(
        name="50 a second, burst 1, rate=45",
        concurrency=32,
        server=partial(Bucket, 50, 1),
        start=2,
        end=22,
        should_be=45,
        least=43 / 45,
        travel=0.0,
        settings=replace(SETTINGS, rate=45),
    )


def run(line: Line, seed: int) -> tuple[Watched, float]:
    """The crawl, and the throughput it should have."""

    def site(server: Callable[[], Server], seed: int) -> Site:
        random = Random(seed)

        def seconds() -> float:
            changed = asyncio.get_running_loop().time() >= CHANGE
            median = line.later_latency if changed else LATENCY
            return median * random.lognormvariate(0, SIGMA)

        wait = one_second if line.retry_after else None
        answering = Answering(seconds=seconds, status=line.status, retry_after=wait)
        return Site(ENDLESS, server(), answering, line.travel)

    def crawl(server: Callable[[], Server]) -> Watched:
        return watched(
            lambda seed: site(server, seed), seed, line.concurrency, line.end, line.settings
        )

    if line.undisturbed is None:
        assert line.should_be is not None
        return crawl(line.server), line.should_be
    return crawl(line.server), crawl(line.undisturbed).rate(line.start, line.end)


@dataclass(frozen=True, slots=True)
class Found:
    """What the crawls of a line got: the least *share*, the mean of the others, all *errors*."""

    line: Line
    rate: float
    share: float
    refused: float
    errors: int

    @property
    def checks(self) -> Iterator[Check]:
        line = self.line
        yield at_most(0, f"{line}: errors", self.errors)
        if line.least:
            yield at_least(line.least, f"{line}: of what it should be", self.share)
        if line.most_refused < 1:
            yield at_most(100 * line.most_refused, f"{line}: % refused", 100 * self.refused)


def found(line: Line, seeds: Sequence[int]) -> Found:
    crawls = [run(line, seed) for seed in seeds]
    rates = [crawl.rate(line.start, line.end) for crawl, _ in crawls]
    return Found(
        line=line,
        rate=mean(rates),
        share=min(rate / should_be for rate, (_, should_be) in zip(rates, crawls, strict=True)),
        refused=mean(crawl.refused(line.start, line.end) for crawl, _ in crawls),
        errors=sum(crawl.errors for crawl, _ in crawls),
    )


def measure(*, only: str = "", seeds: str = "report", runs: int = 3) -> Result:
    chosen = [line for line in lines() if only in f"{line}"]
    with ProcessPoolExecutor(2) as pool:
        results = [*pool.map(found, chosen, repeat(seeds_of(seeds, runs)))]
    return Result(
        question=str(__doc__),
        columns=(
            "server",
            "concurrency",
            "pages a second",
            "of what it should be",
            "% refused",
            "errors",
        ),
        rows=[
            (
                each.line.name,
                f"{each.line.concurrency}",
                each.rate,
                each.share,
                100 * each.refused,
                each.errors,
            )
            for each in results
        ],
        checks=[check for each in results for check in each.checks],
        chart=Bars(
            "throughput, of what it should be",
            {f"{each.line}": each.share for each in results},
            limits=(0.85, 0.9),
        ),
    )


if __name__ == "__main__":
    main(measure)
