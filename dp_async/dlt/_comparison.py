"""The rows of one account that were read, compared with the table inside the database.

Few rows go along with each query; more of them go into a temporary table, which ends with its
session. No other table is written to, and no row is decided on here.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from ._store import Store

#: Rows that one query takes along, and rows in a table of those that are gone.
PIECE = 5_000
#: Numbers from a text, as DuckDB and PostgreSQL both read it; an empty place is null.
NUMBERS = "CAST(NULLIF(unnest(string_to_array(%s, ',')), '') AS BIGINT)"
PAIRS = f"SELECT {NUMBERS} AS id, {NUMBERS} AS time"


class Comparison:
    """Ids and update times (µs since 1970) of the rows of *account* that were read.

    Made during dlt's extract, in its thread, for an account of which the table may hold rows.
    """

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account
        self._ids: list[int] = []
        self._times: list[int | None] = []
        self._number = 0
        self._read = ""  # the temporary table of the rows before those

    def add(self, ids: Sequence[int], times: Sequence[int | None]) -> None:
        """Take in rows that were read."""
        self._number += len(ids)
        self._ids += ids
        self._times += times
        if len(self._ids) >= PIECE:
            self._write()

    def _write(self) -> None:
        """Move the rows at hand into the temporary table."""
        if not self._read:
            self._read = self._store.temporary("(id BIGINT, time BIGINT)")
        self._store.temporarily(f"INSERT INTO {self._read} {PAIRS}", *self._texts())
        self._ids, self._times = [], []

    def _texts(self) -> tuple[str, str]:
        times = ("" if each is None else str(each) for each in self._times)
        return ",".join(map(str, self._ids)), ",".join(times)

    def _source(self) -> tuple[str, tuple[str, ...]]:
        """What stands for all rows in a query, and its values."""
        if not self._read:
            return f"({PAIRS})", self._texts()
        if self._ids:
            self._write()
        return self._read, ()

    def changes(self) -> tuple[int, int]:
        """How many of the rows the table lacks, and how many differ from what it holds."""
        if not self._number:
            return 0, 0
        source, values = self._source()
        updated, gone = (self._store.selected(name, "held") for name in ("update_time", "gone_at"))
        ((common, changed),) = self._store.temporarily(
            f"SELECT count(*), count(CASE WHEN {gone} IS NOT NULL"
            f" OR {updated} IS DISTINCT FROM found.time THEN 1 END)"
            f" FROM {source} AS found JOIN {{table}} AS held ON held.{self._store.key} = found.id"
            " WHERE held.account = %s",
            *values,
            self._account,
        )
        return self._number - common, changed

    def gone(self, others: Iterable[int]) -> Iterator[pa.Table]:
        """The rows that the table holds and that were not read, marked as gone now, in pieces.

        *others*: ids of rows that were there, and could not be read.
        """
        for number in others:
            self.add([number], [None])
        source, values = self._source()
        key = self._store.key
        missing = self._store.temporary(
            f"AS SELECT row_number() OVER (ORDER BY held.{key}) AS place, held.{key} AS id"
            f" FROM {{table}} AS held WHERE held.account = %s"
            f" AND {self._store.selected('gone_at', 'held')} IS NULL"
            f" AND NOT EXISTS (SELECT 1 FROM {source} AS found WHERE found.id = held.{key})",
            self._account,
            *values,
        )
        ((number,),) = self._store.temporarily(f"SELECT count(*) FROM {missing}")
        now = time.time_ns() // 1000
        for start in range(0, number, PIECE):
            yield self._store.rows(
                f"JOIN {missing} AS missing ON missing.id = held.{key}"
                f" WHERE held.account = %s AND missing.place > {start}"
                f" AND missing.place <= {start + PIECE}",
                self._account,
                gone_at=now,
            )
