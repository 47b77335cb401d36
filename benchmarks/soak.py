"""Is anything lost, doubled or left behind when everything goes wrong for a long time?

    python -m benchmarks.soak [--minutes 20] [--seconds 60] [--seed 0]

One client and its views do random things at random moments, six at once: crawls of both lists with
all kinds of options, calls, cancelled calls, crawls that are cancelled, left early, closed, or
awaited with too short a timeout. Lists are written to, requests meet faults, servers have limits.
At the end the client is closed in the middle of it.

First it runs for *minutes* of virtual time, a minute with each of as many servers, where the truth
is known: the rows that a crawl which reports complete must have delivered. Then it runs for
*seconds* over HTTP, with the server in another process. It exits with 1 if anything was lost,
doubled or left behind.
"""

# pyright: reportPrivateUsage=false
# Leaks show in private attributes only.

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from random import Random
from statistics import mean
from typing import Any

from benchmarks.apart import apart, pinned
from benchmarks.attack import resident
from benchmarks.harness import Lines, Result, at_most, main
from benchmarks.server import simulated, trouble
from dp_async import (
    Client,
    CrawlOptions,
    DpError,
    Listing,
    ReadStatus,
    RetryPolicy,
    Settings,
    SortOrder,
    WorkStatus,
)
from dp_async.testing import (
    AuthFailure,
    BadRow,
    Drip,
    Empty,
    Fault,
    HalfBody,
    Hang,
    Html,
    Malformed,
    NullData,
    Reset,
    SimulatedList,
    Simulator,
    Throttle,
    WrongCode,
    WrongEcho,
)
from tests.support.virtual_loop import run

START = 1_790_000_000.0
MINUTE = 60.0
AT_ONCE = 6
SAMPLES = 48
RETRY = RetryPolicy(attempts=5, base=0.1, cap=5)

#: Faults that a client can notice, each with its weight; not wrong pages that look right.
FAULTS: list[tuple[Fault, float]] = [
    (Reset(), 4),
    (HalfBody(), 4),
    (Html(502), 4),
    (Html(504), 1),
    (Throttle(0), 2),
    (Throttle(1), 1),
    (Throttle(None), 1),
    (WrongCode(500), 2),
    (Empty(), 1),
    (Malformed(), 1),
    (NullData(), 1),
    (AuthFailure(), 1),
    (WrongEcho(), 1),
    (BadRow(), 1),
    (Hang(), 0.5),
    (Drip(0.5), 0.5),
]


def some_faults(share: float) -> list[tuple[Fault, float]]:
    """Each fault with its part of *share*, the share of all requests that fail."""
    total = sum(weight for _, weight in FAULTS)
    return [(fault, share * weight / total) for fault, weight in FAULTS]


@dataclass(slots=True)
class Counts:
    """Counts of what was done, and of what must not happen."""

    crawls: int = 0
    complete: int = 0
    calls: int = 0
    failed: int = 0
    cancelled: int = 0
    rows: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    # All of these must stay zero.
    lost: int = 0  # rows missing from crawls reported as complete
    doubled: int = 0
    tasks: int = 0
    places: int = 0
    sockets: int = 0
    complaints: int = 0  # warnings, and exceptions never retrieved

    def add(self, other: Counts) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True, slots=True)
class List:
    """A list to crawl: the attribute of its ids, and its true rows where they are known."""

    listing: Listing[Any]
    key: str
    filters: dict[str, str | None]
    verified: bool
    truth: SimulatedList | None


@dataclass(frozen=True, slots=True)
class Misuse:
    """Random use of a client, until it is closed."""

    client: Client
    random: Random
    truth: Simulator | None
    counts: Counts = field(default_factory=Counts)

    async def __call__(self, seconds: float) -> None:
        """Use it for a while, then close the client."""
        others = asyncio.all_tasks()
        workers = [asyncio.create_task(self._worker()) for _ in range(AT_ONCE)]
        await asyncio.wait(workers, timeout=seconds)
        await self.client.aclose()
        await asyncio.gather(*workers)
        stats = self.client.stats
        self.counts.requests = stats.requests
        self.counts.retries = stats.retries
        self.counts.refused = stats.throttles
        core = self.client._view.core
        self.counts.tasks = len(core.tasks | (asyncio.all_tasks() - others))
        limiters = core._limiters or ()
        self.counts.places = (
            stats.in_flight
            + core.adaptive._in_flight
            + len(core._sleeping)
            + sum(limiter.in_flight + limiter._queue.waiting for limiter in limiters)
        )

    async def _worker(self) -> None:
        while not self.client._view.core._closed:
            job = self.random.choice([self._crawl, self._call, self._call, self._call])
            task = asyncio.create_task(self._failing(job))
            if self.random.random() < 0.3:
                _, pending = await asyncio.wait([task], timeout=self.random.expovariate(2))
                self.counts.cancelled += len(pending)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def _failing(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except DpError:
            self.counts.failed += 1

    async def _call(self) -> None:
        random, client = self.random, self._view()
        self.counts.calls += 1
        match random.randrange(3):
            case 0:
                page = await client.work_list(page_num=random.randint(1, 20))
                self.counts.rows += len(page)
            case 1:
                messages = await client.msg_list(page_num=random.randint(1, 20))
                self.counts.rows += len(messages)
            case _:
                await client.works().probe()

    def _view(self) -> Client:
        number = self.random.randrange(4)
        return self.client.for_account(f"1380000000{number}") if number else self.client

    def _list(self) -> List:
        random, client = self.random, self._view()
        options = CrawlOptions(
            page_size=random.choice([10, 20, 50, 100]),
            concurrency=random.choice(["auto", "auto", 1, 4, 8, 16]),
            ordered=random.random() < 0.5,
            limit=random.choice([None, None, None, random.randrange(1000)]),
            verify=random.random() < 0.9,
            overlap=random.choice(["auto", "auto", 3]),
            max_passes=random.choice([3, 6]),
            on_bad_item=random.choice(["raise", "keep"]),
        )
        truth = self.truth
        if random.random() < 0.3:
            read = random.choice([None, ReadStatus.READ, ReadStatus.UNREAD])
            return List(
                client.messages(read_status=read, options=options),
                "msg_id",
                {"readStatus": read},
                options.verify,
                None if truth is None else truth.messages,
            )
        status = random.choice([None, None, WorkStatus.SUCCESS, WorkStatus.DRAFT])
        sort = random.choice([None, None, SortOrder.ASC])
        return List(
            client.works(status=status, sort=sort, options=options),
            "digital_person_works_id",
            {"status": status},
            options.verify,
            None if truth is None else truth.works,
        )

    async def _crawl(self) -> None:
        random, wanted = self.random, self._list()
        self.counts.crawls += 1
        mark = None if wanted.truth is None else wanted.truth.mark()
        ids: list[object] = []
        patience = 5  # errors to go on after
        leaving = random.choice([None, None, None, random.randrange(20)])
        async with wanted.listing.crawl() as crawl:
            pages = crawl.pages()
            while leaving is None or crawl.report.pages < leaving:
                try:
                    async with asyncio.timeout(random.choice([None, None, 0.03, 0.3])):
                        page = await anext(pages)
                except StopAsyncIteration:
                    break
                except DpError:
                    patience -= 1
                    if not patience:
                        raise
                except TimeoutError:
                    pass  # the crawl goes on where it was
                else:
                    ids += [getattr(row, wanted.key) for row in page]
                    await asyncio.sleep(random.choice([0, 0, 0.02]))
            report, bad = crawl.report, crawl.bad_items
        self.counts.rows += len(ids)
        if wanted.verified:
            self.counts.doubled += len(ids) - len({*ids})
        if report.complete:
            self.counts.complete += 1
            if wanted.truth is not None and mark is not None:
                there = wanted.truth.present_since(mark, **wanted.filters)
                there.difference_update(row.id for row in bad if row.id is not None)
                self.counts.lost += len(there.difference(ids))


async def misused(client: Client, seconds: float, seed: int, truth: Simulator | None) -> Counts:
    """The counts, with the warnings on the way."""
    misuse = Misuse(client, Random(seed), truth)
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: unseen.append(what))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await misuse(seconds)
        gc.collect()
        await asyncio.sleep(0)
    misuse.counts.complaints = len(warned) + len(unseen)
    for what in (*warned, *unseen):
        sys.stderr.write(f"{what}\n")
    return misuse.counts


def quiet() -> None:
    """Drops warnings of incomplete crawls, which are expected here."""
    logging.getLogger("dp_async").addHandler(logging.NullHandler())


# In virtual time


def minute(seed: int) -> Counts:
    """One minute with one server, whose limits are random as well."""
    quiet()
    return run(_minute(Random(seed), seed))


async def _minute(random: Random, seed: int) -> Counts:
    loop = asyncio.get_running_loop()
    simulator = Simulator(
        works=random.choice([0, 15, 500, 2000]),
        messages=random.choice([0, 15, 800]),
        latency=random.choice([0.0, 0.02, 0.1]),
        jitter=0.6,
        capacity=random.choice([None, None, 2, 8]),
        service=random.choice([0.0, 0.01, 0.05]),
        limit_rate=random.choice([None, None, 20, 100]),
        lateness=random.choice([0.0, 0.0, 1.0]),
        http_errors=random.random() < 0.5,
        seed=seed,
        clock=lambda: START + loop.time(),
        tolerance=float("inf"),
        remember=False,
    )
    trouble(simulator, some_faults(random.choice([0.0, 0.05, 0.2, 0.4])))
    settings = replace(
        simulator.in_process_settings,
        timeout=1.0,
        max_in_flight=random.choice([2, 16, 16, 64]),
        rate=random.choice([None, None, None, 50]),
        retry=RETRY,
    )
    async with AsyncExitStack() as writers:
        for rows in (simulator.works, simulator.messages):
            speed = random.choice([0, 0, 1, 10])
            writer = simulator.writing(
                rows.kind.endpoint, inserts=speed, updates=speed, deletes=speed
            )
            await writers.enter_async_context(writer)
        client = Client(settings, send=simulator.send)
        return await misused(client, MINUTE, seed, simulator)


# Over HTTP


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The counts over HTTP; *memory* in MB, from start to end."""

    counts: Counts
    memory: list[float]


def hammered(settings: Settings, seconds: float, seed: int) -> Aftermath:
    quiet()
    return asyncio.run(_hammered(settings, seconds, seed))


async def _hammered(settings: Settings, seconds: float, seed: int) -> Aftermath:
    before = sockets()
    memory: list[float] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / SAMPLES)
            gc.collect()
            memory.append(resident())

    watching = asyncio.create_task(watch())
    counts = await misused(Client(settings), seconds, seed, None)
    watching.cancel()
    counts.sockets = sockets() - before
    return Aftermath(counts, memory)


def sockets() -> int:
    """The sockets that this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


# Both

WRONG = {
    "lost": "rows lost by crawls that called themselves complete",
    "doubled": "rows that came twice",
    "tasks": "tasks left",
    "places": "permits, requests and sleepers left",
    "sockets": "sockets left",
    "complaints": "warnings, and exceptions that nobody saw",
}


def measure(*, minutes: int = 20, seconds: int = 60, seed: int = 0) -> Result:
    virtual = Counts()
    with ProcessPoolExecutor(2) as pool:
        for counts in pool.map(minute, range(seed, seed + minutes)):
            virtual.add(counts)
    knobs: dict[str, Any] = {"works": 2000, "messages": 500, "latency": 0.005, "jitter": 0.6}
    writes = {"inserts": 5.0, "updates": 5.0, "deletes": 5.0}
    with simulated(some_faults(0.15), writes=writes, seed=seed, **knobs) as elsewhere:
        settings = replace(elsewhere.settings, timeout=1.0, retry=RETRY)
        aftermath = apart(hammered, settings, seconds, seed)()
    http, memory = aftermath.counts, aftermath.memory
    quarter = len(memory) // 4
    before, after = mean(memory[quarter : 2 * quarter]), mean(memory[3 * quarter :])
    done = [each.name for each in fields(Counts) if each.name not in WRONG]
    return Result(
        question=str(__doc__),
        columns=("", *done),
        rows=[
            (f"{minutes} virtual minutes", *(getattr(virtual, name) for name in done)),
            (f"{seconds} seconds over HTTP", *(getattr(http, name) for name in done)),
        ],
        checks=[
            *(  # in virtual time there are no sockets
                at_most(0, f"virtual: {text}", getattr(virtual, name))
                for name, text in WRONG.items()
                if name != "sockets"
            ),
            *(  # only the server's process knows what the lists held
                at_most(0, f"HTTP: {text}", getattr(http, name))
                for name, text in WRONG.items()
                if name != "lost"
            ),
            at_most(1.1, "HTTP: memory in the last quarter, by that in the second", after / before),
        ],
        chart=Lines(
            "samples",
            "resident memory over HTTP, MB",
            {"dp_async": list(enumerate(memory))},
        ),
        notes=[pinned()],
    )


if __name__ == "__main__":
    main(measure)
