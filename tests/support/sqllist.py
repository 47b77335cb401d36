"""A list in a real PostgreSQL database: its pages by SQL, and the transactions that change it.

The clock is that of the list and moves with its requests, so that transactions stay open for as
long as they are meant to, however slow the machine is. Knows nothing of crawls.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import psycopg2

from dp_async.testing._rows import KINDS, text_of

Write: TypeAlias = Literal["insert", "update", "delete", "import"]

FIRST_ID = 700_000
FILTERED = "SUCCESS"
"""The status by which the list may be filtered; the rows have this one or the other."""
OTHER = "FAIL"
HOLDS = ((0.0, 0.05), (0.0, 0.05), (0.3, 1.6), (1.6, 8.0))
"""Seconds for which a transaction stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """How the list is stored, ordered and counted.

    - *fine*: times are stored in microseconds; else in seconds. The API shows seconds: *rounded* or
      cut.
    - *tie_breaker*: what SQL orders equal times by, after the time; "" leaves that to the database.
    - *indexed*: the order is read off an index of the times, as far as it has one.
    - *counted_before*: the rows are counted before those of the page are read, not after.
    - *pace*: transactions a second, of these *kinds*. *imported*: the rows of an import.
    - *aimed*: the share of pages after which a transaction ends that updated the row below.
    """

    fine: bool = True
    rounded: bool = False
    tie_breaker: Literal["", "id", "id DESC"] = ""
    indexed: bool = True
    counted_before: bool = False
    pace: float = 0.0
    kinds: tuple[Write, ...] = ("insert", "update", "delete")
    imported: int = 100
    aimed: float = 0.0


class Transaction(NamedTuple):
    """An open transaction on a connection of its own, and what it does once it is committed."""

    due: float
    number: int
    connection: Any
    commits: bool
    gone: frozenset[int]


@dataclass
class SqlList:
    """The rows of a table of *name*, which is made on the connection *reading*.

    *writing*: connections that are free for transactions. *now*: seconds since the epoch.
    *latency*: how far a request moves the clock, at most.
    """

    reading: Any
    writing: list[Any]
    name: str
    schema: Schema
    chance: Random
    now: float
    latency: float
    left: set[int] = field(default_factory=set[int])
    """Rows that were deleted, or left the filter for a while."""

    def __post_init__(self) -> None:
        self._kind = KINDS["work_list"]
        self._open: list[Transaction] = []
        self._number = 0
        self._next = FIRST_ID
        self._next_write = self.now
        self._query(
            f"CREATE TABLE {self.name} (id bigint PRIMARY KEY, status text NOT NULL,"
            f" version int NOT NULL DEFAULT 0, create_time timestamp({self._digits}) NOT NULL,"
            f" update_time timestamp({self._digits}) NOT NULL) WITH (autovacuum_enabled = off)"
        )
        if self.schema.indexed:
            self._query(f"CREATE INDEX ON {self.name} (update_time)")
        self._schedule()

    @property
    def _digits(self) -> int:
        return 6 if self.schema.fine else 0

    def _query(self, sql: str, *values: object, connection: Any = None) -> list[tuple[Any, ...]]:
        with (connection or self.reading).cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []

    def fill(self, rows: int, seconds: float) -> None:
        """Add *rows* that were written in the last *seconds*, as often one by one as at once."""
        times = [self.now - self.chance.random() * seconds for _ in range(rows)]
        for start in range(0, rows - 40, 400) if self.chance.random() < 0.4 else ():
            times[start : start + 40] = [times[start]] * 40
        statuses = self.chance.choices((FILTERED, FILTERED, OTHER), k=rows)
        first, self._next = self._next, self._next + rows
        self._query(
            f"INSERT INTO {self.name} (id, status, create_time, update_time) SELECT id, status,"
            " to_timestamp(stamp) AT TIME ZONE 'UTC', to_timestamp(stamp) AT TIME ZONE 'UTC'"
            " FROM unnest(%s, %s, %s::float8[]) AS rows (id, status, stamp)",
            list(range(first, self._next)),
            statuses,
            times,
        )
        self._query(f"VACUUM ANALYZE {self.name}")

    # What readers see

    def read(
        self,
        offset: int,
        size: int,
        filters: Mapping[str, str | None],
        *,
        ascending: bool = False,
    ) -> tuple[list[msgspec.Raw], int]:
        """A page and the count, by two queries with time between them."""
        self.advance(self.chance.random() * self.latency)
        status = filters.get("status")
        total = self._count(status) if self.schema.counted_before else 0
        if self.schema.counted_before:
            self.advance(self.chance.random() * self.latency / 4)
        found = self._page(offset, size, status, ascending)
        if self.chance.random() < self.schema.aimed:
            for row in self._page(offset + size, 1, status, ascending):
                self._end_now(row[0])
        if not self.schema.counted_before and (len(found) == size or (offset and not found)):
            self.advance(self.chance.random() * self.latency / 4)
            total = self._count(status)
        elif not self.schema.counted_before:
            total = offset + len(found)
        return [msgspec.Raw(msgspec.json.encode(self._row(*row))) for row in found], total

    def _count(self, status: str | None) -> int:
        where = "" if status is None else "WHERE status = %s"
        values = () if status is None else (status,)
        return int(self._query(f"SELECT count(*) FROM {self.name} {where}", *values)[0][0])

    def _page(
        self, offset: int, size: int, status: str | None, ascending: bool
    ) -> list[tuple[Any, ...]]:
        schema = self.schema
        digits = "::timestamp(0)" if schema.rounded else ""
        order = "update_time" if ascending else "update_time DESC"
        order += f", {schema.tie_breaker}" if schema.tie_breaker else ""
        where = "" if status is None else "WHERE status = %s"
        values = () if status is None else (status,)
        return self._query(
            f"SELECT id, status, version, extract(epoch FROM create_time{digits}),"
            f" extract(epoch FROM update_time{digits}) FROM {self.name} {where}"
            f" ORDER BY {order} LIMIT %s OFFSET %s",
            *values,
            size,
            offset,
        )

    def _row(
        self, number: int, status: str, version: int, created: float, updated: float
    ) -> dict[str, object]:
        times = {"createTime": text_of(int(created)), "updateTime": text_of(int(updated))}
        return self._kind.make(number, int(updated)) | times | {"status": status, "fee": version}

    def versions(self, status: str | None = None) -> dict[int, int]:
        """The visible rows, and how often each was updated."""
        rows = self._query(f"SELECT id, version, status FROM {self.name}")
        return {number: version for number, version, shown in rows if status in (None, shown)}

    def pending(
        self, have: Mapping[int, object], status: str | None, *, below: float = inf
    ) -> set[int]:
        """The visible rows that *have* lacks or has in another version, if older than *below*."""
        rows = self._query(
            f"SELECT id, version, status, extract(epoch FROM update_time) FROM {self.name}"
        )
        return {
            number
            for number, version, shown, time in rows
            if status in (None, shown) and have.get(number) != version and time < below
        }

    # What writers do

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass: begin and end the transactions that are due."""
        end = self.now + seconds
        while True:
            ending = self._open[0].due if self._open else end
            self.now = min(ending, self._next_write, end)
            if ending <= self.now < end:
                self._end(heappop(self._open))
            elif self._next_write <= self.now < end:
                self._begin()
                self._schedule()
            else:
                return

    def end_all(self) -> None:
        """End all transactions; no other begins."""
        self._next_write = inf
        self.advance(60.0)
        self.writing = []

    def _schedule(self) -> None:
        pace = self.schema.pace
        self._next_write += self.chance.expovariate(pace) if pace else inf

    def _begin(self) -> None:
        """Open a transaction, which stamps its rows now."""
        if not self.writing:
            return  # the pool of the service is exhausted
        connection = self.writing.pop()
        number = self.chance.randint(FIRST_ID, self._next)
        gone = self._write(connection, self.chance.choice(self.schema.kinds), number, self.now)
        self._number += 1
        due = self.now + self._hold()
        commits = self.chance.random() < 0.95
        heappush(self._open, Transaction(due, self._number, connection, commits, gone))

    def _end_now(self, number: int) -> None:
        """End a transaction that updated the row *number*, and stamped that when it began."""
        if self.writing:
            connection = self.writing.pop()
            gone = self._write(connection, "update", number, self.now - self._hold())
            self._end(Transaction(self.now, 0, connection, commits=True, gone=gone))

    def _hold(self) -> float:
        """Seconds for which a transaction stays open."""
        return self.chance.uniform(*self.chance.choice(HOLDS))

    def _write(self, connection: Any, kind: Write, number: int, stamp: float) -> frozenset[int]:
        """Write on *connection*; the rows that it deletes or takes out of the filter.

        An update or a deletion falls on the row *number* or the next one, if no other transaction
        holds it.
        """
        if kind == "insert":
            self._insert(connection, 1, stamp)
            return frozenset()
        if kind == "import":
            self._insert(connection, self.schema.imported, stamp)
            return frozenset()
        free = (
            f"SELECT id FROM {self.name} WHERE id >= %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
        )
        if kind == "delete":
            sql = f"DELETE FROM {self.name} WHERE id = ({free}) RETURNING id"
            return frozenset(row[0] for row in self._query(sql, number, connection=connection))
        status = self.chance.choice((FILTERED, FILTERED, OTHER))
        sql = (
            f"UPDATE {self.name} SET update_time = to_timestamp(%s) AT TIME ZONE 'UTC',"
            f" status = %s, version = version + 1 WHERE id = ({free}) RETURNING id"
        )
        rows = self._query(sql, stamp, status, number, connection=connection)
        return frozenset() if status == FILTERED else frozenset(row[0] for row in rows)

    def _insert(self, connection: Any, rows: int, time: float) -> None:
        first, self._next = self._next, self._next + rows
        status = self.chance.choice((FILTERED, FILTERED, OTHER))
        self._query(
            f"INSERT INTO {self.name} (id, status, create_time, update_time) SELECT id, %s,"
            " stamp, stamp FROM generate_series(%s, %s) AS id,"
            " (SELECT to_timestamp(%s) AT TIME ZONE 'UTC' AS stamp) AS stamps",
            status,
            first,
            self._next - 1,
            time,
            connection=connection,
        )

    def _end(self, transaction: Transaction) -> None:
        if transaction.commits:
            transaction.connection.commit()
            self.left |= transaction.gone
        else:
            transaction.connection.rollback()
        self.writing.append(transaction.connection)


def connected(address: str, *, autocommit: bool) -> Any:
    """A connection to the database at *address*."""
    connection = psycopg2.connect(address)
    connection.autocommit = autocommit
    return connection
