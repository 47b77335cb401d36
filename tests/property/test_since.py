"""Crawls since one watermark after another lose no row of a list that changes meanwhile.

Each trial is drawn from its seed and runs against the simulator, in virtual time.
``python -m tests.property.test_since FIRST LAST`` plays the seeds from FIRST up to LAST.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from random import Random
from typing import TypeAlias
from unittest.mock import patch

import pytest

from dp_async import (
    Client,
    Crawl,
    CrawlOptions,
    CrawlReport,
    Listing,
    Request,
    Response,
    Watermark,
)
from dp_async._plan.known import CAPACITY
from dp_async.testing import Database, Delay, SimulatedList, Simulator, Writes
from dp_async.testing._rows import text_of
from tests.support.virtual_loop import run

FEW, MANY = 12, int(os.environ.get("SINCE_TRIALS", "100"))
PART = 22  # seeds of one slow test
START = 1_790_000_000.0

DATES: dict[str, float | None] = {"right": 0.0, "behind": -3600.0, "ahead": 3600.0, "none": None}
"""Seconds that the ``Date`` of the answers is ahead of the clock that stamps the rows."""
SOON, LATER = (3, 60), (7200, 10**9)
"""Seconds by which rows are dated in the future: some become the present during the trial. Where
the ``Date`` is ahead, a row dated between the two clocks cannot be told from one of now."""

LATE = (Delay(0.9, 0.001, 0.02), Delay(0.08, 0.3, 1.6), Delay(0.02, 2, 8))
DATABASES = [
    None,
    None,
    Database(commits=LATE, times="cut"),
    Database(commits=LATE, times="cut", stampers=(-1.0, 0.0, 1.0)),
    Database(commits=LATE, stampers=(0.0, 1.0), ties="id descending"),
]
"""Behaviours under which nothing is lost with the default of 10 s."""

RATES = [
    (0, 0, 0),
    (1, 0, 0),
    (0.5, 0.5, 0.3),
    (0, 3, 1),
    (5, 5, 5),
    (20, 20, 20),
    (20, 0, 0),
    (0, 20, 5),
]
"""Inserts, updates and deletes a second."""

Row: TypeAlias = dict[str, object]


class Broken(AssertionError):
    """A promise that was not kept."""


@dataclass
class Trial:
    """A list that is written to and a consumer that follows it by watermarks, drawn from *seed*."""

    seed: int
    tally: Counter[str] = field(default_factory=Counter[str])
    have: dict[object, Row] = field(default_factory=dict[object, Row], repr=False)
    """The rows as they were last delivered."""
    mark: Watermark | None = None

    def __post_init__(self) -> None:
        chance = self.chance = Random(self.seed)
        self.endpoint = chance.choice(("works", "messages"))
        self.id = {"works": "digitalPersonWorksId", "messages": "msgId"}[self.endpoint]
        self.rates = chance.choice(RATES)
        self.rows = chance.choice((0, 1, 5, 60, 300))
        busy = sum(self.rates) > 10  # then read in larger pages, faster than it grows
        self.imports = 0 if busy else chance.choice((0, 0, 0, 0.05))
        busy = busy or self.imports > 0
        self.lateness = chance.choice((0, 0, 1.5, 2))
        self.database = chance.choice(DATABASES)
        if self.database is not None:
            self.lateness = 0
        self.largest = chance.choice((50, 100) if busy else (10, 50, 100))
        self.options = CrawlOptions(
            page_size=chance.choice((20, 50) if busy else (5, 10, 20, 50)),
            concurrency=chance.choice((1, 4, 8)),
            ordered=chance.random() < 0.8,
            max_passes=chance.choice((1, 3)),
        )
        self.dates = chance.choice(("right", "right", *DATES))
        self.machine = 0 if self.dates != "none" else chance.choice((0, 0, -3600, 3600))
        is_ahead = self.dates == "ahead" or self.machine > 0
        self.ahead = chance.choice((None, None, LATER, LATER if is_ahead else SOON))

    async def play(self) -> None:
        loop, chance = asyncio.get_running_loop(), self.chance
        simulator = Simulator(
            works=self.rows if self.endpoint == "works" else 0,
            messages=self.rows if self.endpoint == "messages" else 0,
            latency=0.08,
            jitter=0.6,
            seed=self.seed,
            clock=lambda: START + self.seed % 997 / 997 + loop.time(),
            tolerance=float("inf"),
            max_page_size=self.largest,
            lateness=self.lateness,
            remember=False,
            database=self.database,
        )
        self.truth: SimulatedList = getattr(simulator, self.endpoint)

        async def send(request: Request, /) -> Response:
            response = await simulator.send(request)
            skew, headers = DATES[self.dates], dict(response.headers)
            date = parsedate_to_datetime(headers.pop("date")).timestamp()
            if skew is not None:
                headers["date"] = formatdate(date + skew, usegmt=True)
            return replace(response, headers=headers)

        async with Client(simulator.in_process_settings, send=send) as client:
            async with self._writing(simulator):
                await asyncio.sleep(chance.choice((0, 5, 12)))
                for _ in range(8 if self.database else chance.randint(1, 8)):
                    self._date_ahead()
                    await self._follow(client)
                    await asyncio.sleep(chance.choice((0, 0.3, 3, 20)))
            await asyncio.sleep(12)
            self.truth.insert()  # a newer time: all earlier rows are visible by now
            await asyncio.sleep(5)
            self.options = replace(self.options, page_size=100, max_passes=3)
            report = await self._crawl(self._listing(client).since(self.mark), stop=None)
            if self.largest > 10:  # there is no page of ten that starts and ends anywhere
                self._expect(report.complete is True, f"at rest: {report}")
        self._compare()

    def _writing(self, simulator: Simulator) -> AbstractAsyncContextManager[Writes]:
        inserts, updates, deletes = self.rates
        return simulator.writing(
            self.truth.kind.endpoint,
            inserts=inserts,
            updates=updates,
            deletes=deletes,
            imports=self.imports,
            import_size=300,
            seed=self.seed,
        )

    def _date_ahead(self) -> None:
        """Date a few rows in the future, or more than a page of them."""
        if self.ahead is None:
            return
        chance, now = self.chance, START + asyncio.get_running_loop().time()
        for _ in range(chance.choice((0, 1, 3, 30))):
            time = text_of(int(now) + chance.randint(*self.ahead))
            key = chance.choice((None, self.truth.any_id(chance)))
            if key is None:
                self.truth.insert(createTime=time, updateTime=time)
            else:
                self.truth.update(key, updateTime=time)
            self.tally["ahead"] += 1

    def _listing(self, client: Client, limit: int | None = None) -> Listing[Row]:
        options = replace(self.options, limit=limit)
        listing = client.works if self.endpoint == "works" else client.messages
        return listing(options=options).typed(dict)

    async def _follow(self, client: Client) -> None:
        """One run since the last watermark; some stop at a limit, some are closed in the middle."""
        kind = self.chance.choice(("whole", "whole", "whole", "limit", "closed"))
        number = self.chance.randint(0, 30)
        listing = self._listing(client, number if kind == "limit" else None)
        await self._crawl(listing.since(self.mark), stop=number if kind == "closed" else None)

    async def _crawl(self, crawl: Crawl[Row], stop: int | None) -> CrawlReport:
        began = self.truth.mark()
        crowded = self.mark is not None and (self.mark.crowds or len(self.mark.digests) == CAPACITY)
        history = self.mark is not None and self.mark.updated > 0
        pending = {key for key in self.truth.ids() if self._is_pending(key)}
        got: dict[object, Row] = {}
        async with crawl:
            while stop is None or len(got) < stop:
                if (row := await anext(crawl, None)) is None:
                    break
                key = row[self.id]
                self._expect(key not in got, f"{key} was delivered twice in one run")
                # Rows delivered after the last watermark may be delivered again unchanged, and a
                # few more where it had no place for them.
                known = history and not crowded and self.have.get(key) == row
                self.tally["unchanged"] += known
                self.tally["rows"] += 1
                got[key] = row
                if crawl.report.complete is None and stop is not None:
                    self._expect(crawl.watermark is None, "a watermark before the end")
            report, mark = crawl.report, crawl.watermark
        self.tally["runs"] += 1
        self.tally["requests"] += report.requests
        if report.complete:
            # A row that changed and changed back within a second is no longer missing.
            missed = pending & self.truth.present_since(began) - set(got)
            missed = {key for key in missed if self._is_pending(key)}
            self._expect(not missed, f"called complete without {missed}")
        if mark is not None:
            self.tally["advanced"] += self.mark is None or mark.updated > self.mark.updated
            self.mark = Watermark.from_json(mark.to_json())
            self.have |= got
        self._expect(mark is not None or stop is not None, "no watermark at the end of a run")
        self.tally["closed" if mark is None else str(report.complete)] += 1
        return report

    def _is_pending(self, key: int) -> bool:
        if self.endpoint == "messages":  # sorted by create time: updates are not followed
            return key not in self.have
        return self.have.get(key) != self.truth.row(key)

    def _compare(self) -> None:
        lost = [key for key in self.truth.ids() if self._is_pending(key)]
        self._expect(not lost, f"lost: {lost}")

    def _expect(self, holds: bool, promise: str) -> None:
        if not holds:
            raise Broken(promise)


def play(seeds: Iterable[int]) -> Counter[str]:
    """Plays the trials of *seeds* and counts how their runs ended."""
    tally: Counter[str] = Counter()
    for seed in seeds:
        trial = Trial(seed, tally)

        def machine(trial: Trial = trial) -> float:
            return START + trial.machine + asyncio.get_running_loop().time()

        try:
            with patch("time.time", machine):
                run(trial.play())
        except AssertionError as error:
            error.add_note(f"seed {seed}: {trial}")
            raise
    return tally


@pytest.mark.parametrize(
    "seeds",
    [
        range(FEW),
        *(
            pytest.param(range(first, min(first + PART, MANY)), marks=pytest.mark.slow)
            for first in range(FEW, MANY, PART)
        ),
    ],
    ids=str,
)
def test_all_runs_together_deliver_every_row(seeds: range) -> None:
    tally = play(seeds)
    assert tally["advanced"] >= len(seeds)
    assert tally["True"] >= len(seeds)
    assert tally["closed"] >= 1
    assert tally["unchanged"] <= tally["rows"] / 100


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    sys.stdout.write(f"{dict(play(range(first, last)))}\n")
