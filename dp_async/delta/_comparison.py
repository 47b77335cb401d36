"""The rows that were read against those that a table holds. It writes nothing; all calls block.

The table's rows come in large pieces, with only the columns that are compared.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from ._snapshot import Snapshot, text

#: An account, an id, and an update time in microseconds since 1970, or LACKING.
_TYPES: dict[str, pa.DataType] = {"account": pa.string(), "id": pa.int64(), "time": pa.int64()}
READ = pa.schema(_TYPES)
#: Stands for a time that is not there: a join tells no null from another.
LACKING = -(2**63)
#: Stored rows in one join.
PIECE = 50_000


def read_rows(account: str, rows: Sequence[tuple[int, int | None]]) -> pa.Table:
    """Rows of an account as they are compared: the id and the time of each."""
    columns: list[list[Any]] = [
        [account] * len(rows),
        [number for number, _ in rows],
        [LACKING if at is None else at for _, at in rows],
    ]
    return pa.table(columns, schema=READ)


def read_table(account: str, key: str, rows: pa.Table) -> pa.Table:
    """*rows* of an account, with the id in the column *key*, as they are compared."""
    accounts = pa.chunked_array([pa.repeat(pa.scalar(account), rows.num_rows)])
    return pa.table([accounts, rows[key], _microseconds(rows["update_time"])], schema=READ)


def all_rows(tables: Iterable[pa.Table]) -> pa.Table:
    """*tables* of READ as one."""
    return pa.concat_tables([READ.empty_table(), *tables])


def accounts_of(rows: pa.Table) -> list[str]:
    """The account of each of *rows*."""
    return cast("list[str]", rows["account"].to_pylist())


class Stored:
    """The rows of one app that a table holds; *key* is the column of the id."""

    def __init__(self, snapshot: Snapshot, key: str) -> None:
        self._snapshot = snapshot
        self._key = key

    def changes(self, read: pa.Table) -> tuple[Counter[str], Counter[str]]:
        """Of each account: how many of the rows *read* are stored, and how many of them differ.

        A row differs by its update time, or if it is marked as gone.
        """
        stored, different = Counter[str](), Counter[str]()
        for found in self._common(read):
            stored.update(accounts_of(found))
            differs = pc.or_(pc.not_equal(found["stored"], found["time"]), found["gone"])
            different.update(accounts_of(found.filter(differs)))
        return stored, different

    def there(self, newest: pa.Table) -> set[str]:
        """The accounts whose row in *newest* is stored, in that version of it or in a later one."""
        return {
            account
            for rows in self._common(newest)
            for account in accounts_of(rows.filter(pc.greater_equal(rows["stored"], rows["time"])))
        }

    def missing(self, read: pa.Table, accounts: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of *accounts* that are stored, not marked as gone, and not *read*."""
        if not accounts:
            return
        there = f'"account" IN ({", ".join(map(text, accounts))}) AND "gone_at" IS NULL'
        for rows in _pieces(self._snapshot.select(self._snapshot.columns, there)):
            # A join would have to carry all columns: it is of the keys and the places alone.
            places = pa.array(range(rows.num_rows), pa.int64())
            keys = rows.select(["account", self._key]).append_column("place", places)
            near = _near(read, rows[self._key])
            left = keys.join(near, ["account", self._key], ["account", "id"], "left anti")
            if left.num_rows:
                yield rows.take(left["place"].combine_chunks())

    def _common(self, read: pa.Table) -> Iterator[pa.Table]:
        """The rows of *read* that are stored, with the stored time and whether they are gone."""
        if not read.num_rows:
            return
        accounts = ", ".join(map(text, dict.fromkeys(accounts_of(read))))
        ends: dict[str, int] = cast("Any", pc.min_max(read["id"])).as_py()
        ids = f'"{self._key}" BETWEEN {ends["min"]} AND {ends["max"]}'  # leaves out whole files
        columns = ("account", self._key, "update_time", "gone_at")
        for rows in _pieces(self._snapshot.select(columns, f'"account" IN ({accounts}) AND {ids}')):
            stored = pa.table(
                {
                    "account": rows["account"],
                    "id": rows[self._key],
                    "stored": _microseconds(rows["update_time"]),
                    "gone": pc.is_valid(rows["gone_at"]),
                }
            )
            near = _near(read, stored["id"])
            yield stored.join(near, ["account", "id"], join_type="inner")


def _near(read: pa.Table, ids: pa.ChunkedArray[Any]) -> pa.Table:
    """The rows of *read* between the least and the largest of *ids*: a join hashes all it gets."""
    ends: Any = pc.min_max(ids)
    numbers: Any = read["id"]
    above: Any = pc.greater_equal(numbers, ends["min"])
    return read.filter(pc.and_(above, pc.less_equal(numbers, ends["max"])))


def _microseconds(times: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """*times* in microseconds since 1970, or LACKING."""
    known: pa.ChunkedArray[Any] = pc.fill_null(times.cast(pa.int64()), cast("Any", LACKING))
    return known


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        kept.append(batch)
        rows += batch.num_rows
        if rows >= PIECE:
            yield pa.Table.from_batches(kept)
            kept, rows = [], 0
    if rows:
        yield pa.Table.from_batches(kept)
