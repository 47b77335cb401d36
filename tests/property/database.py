"""A list in a database, as its pages are served: late commits, ties, clamps, counts, replicas.

Pure and in virtual time. It knows what it holds and nothing of crawls. Times are microseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Literal, NamedTuple, TypeAlias

SECOND = 1_000_000
HOUR = 3600 * SECOND

Ties: TypeAlias = Literal["id up", "id down", "hidden", "any", "by page", "shuffled"]
"""The order of rows with one time, newest first.

``id up``, ``id down``: times are stored in seconds, and the id decides. ``hidden``: they are stored
in microseconds. ``any``: in seconds, and an order that no column shows decides. ``by page``: as
``any``, but the order is another one for each page. ``shuffled``: another one in each answer.
"""


class Row(NamedTuple):
    """A row as it is stored. *rank* decides among equal times."""

    id: int
    updated: int
    created: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """How the list is sorted, cut into pages and counted.

    - *largest*: the most rows on a page; *echoed*: whether the answer says so.
    - *rounded*: times are rounded to seconds where they are shown, not cut.
    - *counts*: microseconds from the query of the rows to that of their number; negative: before.
    - *behind*: microseconds that every second request sees the list late, from a replica.
    """

    ties: Ties = "hidden"
    descending: bool = True
    by_create: bool = False
    largest: int = 200
    echoed: bool = True
    rounded: bool = False
    counts: int = 2000
    behind: int = 0

    def shown(self, time: int) -> int:
        """*time* in whole seconds, as the answer shows it."""
        return (time + SECOND // 2 if self.rounded else time) // SECOND

    def key(self, row: Row) -> tuple[int, int, int]:
        """Ascending, from the oldest row to the newest."""
        time = row.created if self.by_create else row.updated
        if self.ties == "hidden":
            return time, row.rank, row.id
        sign = {"id up": -1, "id down": 1}.get(self.ties)
        return self.shown(time), row.rank if sign is None else sign * row.id, row.id


class Copy:
    """The rows as one server sees them, in order."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rows: dict[int, Row] = {}
        self.keys: list[tuple[int, int, int]] = []
        self.newest = 0

    def put(self, row: Row) -> None:
        self.drop(row.id)
        self.rows[row.id] = row
        insort(self.keys, self.schema.key(row))
        self.newest = max(self.newest, row.updated)

    def drop(self, number: int) -> None:
        row = self.rows.pop(number, None)
        if row is not None:
            del self.keys[bisect_left(self.keys, self.schema.key(row))]

    def at(self, place: int) -> Row | None:
        """The row at *place*, as the list is shown."""
        if not 0 <= place < len(self.keys):
            return None
        return self.rows[self.keys[-1 - place if self.schema.descending else place][2]]

    def page(self, start: int, size: int, chance: Random | None = None) -> list[Row]:
        """*size* rows from *start* on; rows of one time in the order of this page or answer."""
        keys, count = self.keys, len(self.keys)
        end = min(start + size, count)
        if start >= end:
            return []
        low, high = (count - end, count - start) if self.schema.descending else (start, end)
        if self.schema.ties not in ("by page", "shuffled"):
            chosen = keys[low:high]
        else:
            drawn = (chance or Random()).randrange(2**40)
            seed = start + size if self.schema.ties == "by page" else drawn
            first = bisect_left(keys, (keys[low][0],))
            beyond = bisect_right(keys, (keys[high - 1][0] + 1,))
            group = keys[first:beyond]
            group.sort(key=lambda key: (key[0], hash((key[1], seed))))
            chosen = group[low - first : high - first]
        if self.schema.descending:
            chosen = chosen[::-1]
        return [self.rows[key[2]] for key in chosen]


class Commit(NamedTuple):
    """A change that becomes visible *at* a moment: rows that are put, and ids that go."""

    at: int
    order: int
    puts: tuple[Row, ...]
    drops: tuple[int, ...]


class Database:
    """A primary and a replica, the commits to come, and which rows have *stayed* since ``mark``."""

    def __init__(self, schema: Schema, rows: list[Row]) -> None:
        self.schema = schema
        self.copies = [Copy(schema), Copy(schema)] if schema.behind else [Copy(schema)]
        for copy in self.copies:
            copy.rows = {row.id: row for row in rows}
            copy.keys = sorted(map(schema.key, rows))
            copy.newest = max((row.updated for row in rows), default=0)
        self.stayed: set[int] = set()
        self.left: dict[int, Row] = {}
        self._queues: list[list[Commit]] = [[] for _ in self.copies]
        self._order = 0
        self._answers = 0

    @property
    def primary(self) -> Copy:
        return self.copies[0]

    def commit(self, at: int, *puts: Row, drops: tuple[int, ...] = ()) -> None:
        """Let *puts* and *drops* become visible at the moment *at*."""
        self._order += 1
        for number, queue in enumerate(self._queues):
            heappush(queue, Commit(at + number * self.schema.behind, self._order, puts, drops))

    def advance(self, now: int) -> None:
        """Make visible what is committed by *now*."""
        for number, (copy, queue) in enumerate(zip(self.copies, self._queues, strict=True)):
            while queue and queue[0].at <= now:
                commit = heappop(queue)
                for gone in commit.drops:
                    if number == 0:
                        self.stayed.discard(gone)
                        if gone in copy.rows:
                            self.left[gone] = copy.rows[gone]
                    copy.drop(gone)
                for row in commit.puts:
                    copy.put(row)

    def mark(self) -> None:
        """The first request is sent: which rows are there from now on."""
        self.stayed = set(self.primary.rows).intersection(*(copy.rows for copy in self.copies))

    def next_copy(self) -> Copy:
        """The copy that answers the next request."""
        self._answers += 1
        return self.copies[self._answers % len(self.copies)]
