"""What the destination holds of one list: read by SQL, never written."""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from .. import ConfigError, arrow
from ._rows import ListName

#: So many ids are asked for by their numbers; of more, all of the account's are.
FEW = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: What DuckDB and PostgreSQL call the types of the columns.
COLUMN_TYPES: dict[pa.DataType, set[str]] = {
    pa.string(): {"varchar", "character varying", "text"},
    pa.int64(): {"bigint"},
    pa.float64(): {"double", "double precision"},
    arrow.INSTANT: {"timestamp with time zone"},
}


class Store:
    """What the destination holds of one list. To be made where dlt extracts."""

    def __init__(self, table: ListName, key: str, columns: pa.Schema) -> None:
        self.key = key
        self.schema = dlt.current.source_schema()
        self._table = table
        self._pipeline = dlt.current.pipeline()
        self._columns = columns

    def own(self, rows: pa.Table, account: str) -> pa.Table:
        """*rows* with the columns that the server does not send."""
        accounts = pa.repeat(pa.scalar(account), rows.num_rows)
        rows = rows.add_column(0, self._columns.field("account"), accounts)
        return rows.append_column("gone_at", pa.nulls(rows.num_rows, arrow.INSTANT))

    def known(
        self, account: str, ids: Sequence[int] | None = None
    ) -> Iterator[tuple[int, tuple[int | None, bool]]]:
        """Of each row, or of those with *ids*: its id, its update time and whether it is gone."""
        some = "" if ids is None else f" AND {self.key} IN ({','.join(map(str, ids))})"
        sql = f"SELECT {self.key}, update_time, gone_at FROM {{table}} WHERE account = %s{some}"
        for number, time, gone in self._query(sql, account):
            since = None if time is None else (time - EPOCH) // MICROSECOND
            yield number, (since, gone is not None)

    def rows(self, account: str, ids: Sequence[int]) -> pa.Table:
        """The rows with *ids*, as the destination has them, but marked as gone now."""
        known = self.schema.get_table_columns(self._table).keys() - {*self._columns.names}
        more = [pa.field(name, pa.string()) for name in self._there() if name in known]
        columns = pa.schema([*self._columns, *more])
        names = ", ".join(f'"{name}"' for name in columns.names if name != "gone_at")
        now = datetime.now(UTC)
        found: list[dict[str, object]] = []
        for start in range(0, len(ids), FEW):
            some = ",".join(map(str, ids[start : start + FEW]))
            sql = f"SELECT {names} FROM {{table}} WHERE account = %s AND {self.key} IN ({some})"
            for row in self._query(sql, account):
                values = iter(row)
                found.append(
                    {name: now if name == "gone_at" else next(values) for name in columns.names}
                )
        return pa.Table.from_pylist(found, columns)

    def refuse_another_shape(self) -> None:
        """Raises ConfigError for a table of this name that is not one of these."""
        there = self._there()
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
                f"the table {self._pipeline.dataset_name}.{self._table} is of another shape: "
                f"{problem}; use another dataset, or move the table away"
            )

    def _there(self) -> dict[str, str]:
        """The columns that the table has by now, and their types."""
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = {dataset} AND table_name = %s"
        )
        return {name: kind.lower() for name, kind in self._query(sql, self._table)}

    def _query(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """The rows that *sql* selects from the table; none if there is no such table yet."""
        with self._pipeline.sql_client() as client:
            sql = sql.replace("{table}", client.make_qualified_table_name(self._table))
            sql = sql.replace("{dataset}", f"'{client.dataset_name}'")
            try:
                return list(client.execute_sql(sql, *values) or [])
            except DatabaseUndefinedRelation:
                return []
