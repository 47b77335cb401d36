"""Applications that write to a list in a database: their clocks, delays, imports and filters.

Pure and in virtual time, in microseconds; randomness is seeded. It knows nothing of crawls.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal, TypeAlias

from tests.property.database import SECOND, Database, Row, Schema

Kind: TypeAlias = Literal["insert", "update", "delete", "leave", "enter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is written.

    - *pace*: writes a second. *kinds*: how often each kind is drawn.
    - *skews*: by how many seconds each application's clock is ahead.
    - *lateness*: the most seconds from a row's time until it is visible, skew included.
    - *delayed*: the share of writes that are *delay* seconds late instead.
    - *set_back*: from when on, and by how many seconds, the clocks are set back.
    - *imports*: rows of each import, and the seconds between them; none if 0.
    - *unstamped*: rows enter the filter with the time that they had.
    """

    pace: float = 0.0
    kinds: tuple[tuple[Kind, float], ...] = (("insert", 1.0), ("update", 1.0), ("delete", 1.0))
    skews: tuple[float, ...] = (0.0,)
    lateness: float = 2.0
    delayed: float = 0.0
    delay: tuple[float, float] = (3.0, 10.0)
    set_back: tuple[float, float] = (inf, 0.0)
    imports: tuple[int, float] = (0, inf)
    unstamped: bool = False


class Writer:
    """Writes *load* to *database* as time passes."""

    def __init__(self, database: Database, load: Load, chance: Random, start: int) -> None:
        self._database = database
        self._load = load
        self._chance = chance
        self._next = start
        self._import = start + round(min(load.imports[1], 1e9) * SECOND * chance.random())
        self._id = max(database.primary.rows, default=0)
        self._busy: dict[int, int] = {}
        self.writes = 0
        self._wait()

    def until(self, now: int) -> None:
        """Write, and make visible, what is due by *now*."""
        load = self._load
        while min(self._next, self._import) <= now:
            at = min(self._next, self._import)
            self._database.advance(at)
            if at == self._import:
                self._import += round(min(load.imports[1], 1e9) * SECOND)
                if load.imports[0]:
                    self._bulk(at, load.imports[0])
            else:
                self._wait()
                kinds, weights = zip(*load.kinds, strict=True)
                self.write(at, self._chance.choices(kinds, weights)[0])
        self._database.advance(now)

    def write(self, at: int, kind: Kind, number: int | None = None, by: float = 0.0) -> None:
        """One write of *kind*, to the row *number* or any, visible *by* seconds after its time."""
        rows = self._database.primary.rows
        if kind == "enter" and not self._database.left:
            kind = "leave"
        if kind == "insert":
            self._id += 1
            number = self._id
        elif kind == "enter":
            number = self._chance.choice(list(self._database.left))
        elif number is None:
            keys = self._database.primary.keys
            if not keys:
                return
            number = keys[self._chance.randrange(len(keys))][2]
        if self._busy.get(number, 0) >= at:
            return  # another transaction holds the row
        self.writes += 1
        stamp, visible = self._times(at, by)
        self._busy[number] = visible
        if kind in ("delete", "leave"):
            self._database.commit(visible, drops=(number,))
            return
        old = self._database.left.pop(number, None) if kind == "enter" else rows.get(number)
        created = old.created if old else stamp
        if old and kind == "enter" and self._load.unstamped:
            stamp = old.updated
        rank = self._chance.randrange(2**30)
        self._database.commit(visible, Row(number, stamp, created, rank))

    def _times(self, at: int, by: float) -> tuple[int, int]:
        """The time that a write at *at* carries, and when it becomes visible."""
        load, chance = self._load, self._chance
        skew = chance.choice(load.skews)
        since, back = load.set_back
        delay = (
            chance.expovariate(1 / 0.008) if chance.random() < 0.95 else chance.uniform(0.3, 1.6)
        )
        delay = min(delay, load.lateness - (max(0.0, *load.skews) - skew))
        if chance.random() < load.delayed:
            delay = chance.uniform(*load.delay)
        if by:  # what became visible just now was stamped before
            return round(at - by * SECOND), at
        stamp = at + round(skew * SECOND) - (round(back * SECOND) if at >= since else 0)
        return stamp, at + round(max(delay, 0.0) * SECOND)

    def _bulk(self, at: int, number: int) -> None:
        stamp, visible = self._times(at, 0.0)
        rows: list[Row] = []
        for _ in range(number):
            self._id += 1
            rows.append(Row(self._id, stamp, stamp, self._chance.randrange(2**30)))
        self.writes += number
        self._database.commit(visible, *rows)

    def _wait(self) -> None:
        pace = self._load.pace
        self._next += round(self._chance.expovariate(pace) * SECOND) if pace else 10**18


def history(chance: Random, schema: Schema, number: int, pace: float, end: int) -> list[Row]:
    """*number* rows written at *pace* a second until *end*, some of them by imports of one time."""
    imported = chance.random() < 0.4
    rows: list[Row] = []
    time, ids = end - round(chance.expovariate(pace) * SECOND), list(range(1, number + 1))
    if chance.random() < 0.5:
        ids.reverse()  # the newest row has the highest id
    else:
        chance.shuffle(ids)
    while len(rows) < number:
        same = 1
        if imported and chance.random() < 0.005:
            same = chance.choice((30, 100, 300, 500))
        for _ in range(min(same, number - len(rows))):
            created = time - chance.choice((0, 0, chance.randrange(10**6 * SECOND)))
            if schema.by_create:
                created = time
            rows.append(Row(ids[len(rows)], time, created, chance.randrange(2**30)))
        time -= round(chance.expovariate(pace) * SECOND)
    return rows
