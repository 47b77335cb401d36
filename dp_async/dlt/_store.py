"""What the destination holds of one list. It is only read here, by SQL; dlt alone writes."""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast
from uuid import uuid4

import dlt
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from .. import ConfigError
from ..tables import INSTANT, ListName

#: Ids in one SQL query. To compare more rows than that, all rows of the account are read.
IDS_PER_QUERY = 500
#: A time in whole microseconds since 1970: Python's own times end with the years 1 and 9999.
MICROSECONDS = (
    "CAST(EXTRACT(EPOCH FROM date_trunc('minute', {0})) AS BIGINT) * 1000000"
    " + CAST(EXTRACT(MICROSECONDS FROM {0}) AS BIGINT)"
)
#: The names that DuckDB and PostgreSQL have for the types of the columns.
COLUMN_TYPES: dict[pa.DataType, set[str]] = {
    pa.string(): {"varchar", "character varying", "text"},
    pa.int64(): {"bigint"},
    pa.float64(): {"double", "double precision"},
    INSTANT: {"timestamp with time zone"},
}


class Store:
    """The table of one list in the destination. Made during dlt's extract, in its thread."""

    def __init__(self, table: ListName, key: str, columns: pa.Schema) -> None:
        self.key = key
        self.schema = dlt.current.source_schema()
        self._table = table
        self._pipeline = dlt.current.pipeline()
        self._columns = columns

    def with_own_columns(self, rows: pa.Table, account: str) -> pa.Table:
        """*rows* with the columns that are not the server's: ``account`` and ``gone_at``."""
        accounts = pa.repeat(pa.scalar(account), rows.num_rows)
        rows = rows.add_column(0, self._columns.field("account"), accounts)
        return rows.append_column("gone_at", pa.nulls(rows.num_rows, INSTANT))

    def known(
        self, account: str, ids: Sequence[int] | None = None
    ) -> Iterator[tuple[int, tuple[int | None, bool]]]:
        """The id of each row, its update time (µs since 1970) and whether it is marked as gone.

        *ids*: of these rows only.
        """
        some = "" if ids is None else f" AND {self.key} IN ({','.join(map(str, ids))})"
        values = f"{self.key}, {MICROSECONDS.format('update_time')}, gone_at IS NULL"
        sql = f"SELECT {values} FROM {{table}} WHERE account = %s{some}"
        for number, microseconds, there in self._query(sql, account):
            yield number, (microseconds, not there)

    def rows(self, account: str, ids: Sequence[int]) -> pa.Table:
        """The rows with *ids* as the destination holds them, marked as gone now."""
        more = [pa.field(name, pa.string()) for name in self.undocumented()]
        columns = pa.schema([*self._columns, *more])
        names = ", ".join(_selected(field) for field in columns if field.name != "gone_at")
        now = time.time_ns() // 1000
        found: list[dict[str, object]] = []
        for start in range(0, len(ids), IDS_PER_QUERY):
            some = ",".join(map(str, ids[start : start + IDS_PER_QUERY]))
            sql = f"SELECT {names} FROM {{table}} WHERE account = %s AND {self.key} IN ({some})"
            for row in self._query(sql, account):
                values = iter(row)
                found.append(
                    {name: now if name == "gone_at" else next(values) for name in columns.names}
                )
        return pa.Table.from_pylist(found, columns)

    def undocumented(self) -> list[str]:
        """The columns of undocumented fields that the table has."""
        if self._table not in self.schema.tables:
            return []
        known = self.schema.get_table_columns(self._table).keys() - {*self._columns.names}
        return [name for name in self._existing() if name in known and name[:5] != "_dlt_"]

    def holds(self, account: str, row: Sequence[int | None]) -> bool:
        """Whether the table has the row with this id and update time (µs since 1970).

        It tells a table that was dropped, emptied or restored from an older backup; not whether
        some older rows are missing.
        """
        number, time = row
        assert number is not None
        return any(updated == time for _, (updated, _) in self.known(account, [number]))

    def make_again(self) -> None:
        """Have dlt create the table when it loads next, if it is gone though dlt's schema has it.

        dlt compares its schema with the destination only if the schema's hash is new to it.
        """
        if self._table in self.schema.tables and not self._existing():
            table: dict[str, Any] = cast("dict[str, Any]", self.schema.tables[self._table])
            table["x-dp-async-made"] = uuid4().hex

    def check_shape(self) -> None:
        """Raises ConfigError if a table of this name exists whose columns do not fit."""
        there = self._existing()
        if not there:
            return
        for field in self._columns:
            kind = there.get(field.name)
            if kind is None and field.name in ("account", self.key, "gone_at"):
                problem = f"it has no column {field.name}"
            elif kind is not None and kind not in COLUMN_TYPES[field.type]:
                problem = f"its column {field.name} is {kind}"
            else:
                continue
            raise ConfigError(
                f"the table {self._pipeline.dataset_name}.{self._table} has another shape: "
                f"{problem}; use another dataset, or move the table away"
            )

    def _existing(self) -> dict[str, str]:
        """The columns of the table and their types; none if there is no table."""
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = {dataset} AND table_name = %s"
        )
        return {name: kind.lower() for name, kind in self._query(sql, self._table)}

    def _query(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """The rows that *sql* selects; none if there is no table yet."""
        with self._pipeline.sql_client() as client:
            sql = sql.replace("{table}", client.make_qualified_table_name(self._table))
            sql = sql.replace("{dataset}", f"'{client.dataset_name}'")
            try:
                return list(client.execute_sql(sql, *values) or [])
            except DatabaseUndefinedRelation:
                return []


def _selected(field: pa.Field[Any]) -> str:
    """What selects the column *field*: its name, or its microseconds."""
    return MICROSECONDS.format(field.name) if field.type == INSTANT else f'"{field.name}"'
