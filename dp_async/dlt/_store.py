"""What the destination holds of one list. It is only read here, by SQL; dlt alone writes.

Temporary tables are the exception: they are of a session of this run's own, and end with it.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self, cast
from uuid import uuid4

import dlt
import pyarrow as pa
from dlt.extract.decorators import get_resource

from .. import ConfigError
from ..tables import INSTANT, ListName

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
    """The table of one list in the destination. Made during dlt's extract, in its thread.

    A user may have named it: ``source.works.apply_hints(table_name=...)``.
    """

    def __init__(self, name: ListName, key: str, columns: pa.Schema) -> None:
        self.key = key
        self._schema = dlt.current.source_schema()
        named = get_resource().table_name
        table = named if isinstance(named, str) else name  # else a function of each row
        table = self._schema.naming.normalize_table_identifier(table)
        self._table = table
        self._pipeline = dlt.current.pipeline()
        self._columns = columns
        # Made once, opened for each query: to make one, dlt resolves its whole configuration.
        self._client: Any = self._pipeline.sql_client()  # dlt types its exit without None
        self._dataset, self._staging = self._client.dataset_name, self._client.staging_dataset_name
        self._tables = self._existing()
        self._there = self._tables.get((self._dataset, table), {})
        self._ends = ExitStack()
        self._in_session = False
        self._temporary = 0  # temporary tables made so far
        made = table in self._schema.tables and self._schema.get_table_columns(table)
        self._made = {*made} if made else set[str]()  # by earlier loads, if dlt's schema is kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.close()

    @property
    def is_there(self) -> bool:
        """Whether the destination had the table when the run began."""
        return bool(self._there)

    def with_own_columns(self, rows: pa.Table, account: str) -> pa.Table:
        """*rows* with the columns that are not the server's: ``account`` and ``gone_at``."""
        accounts = pa.repeat(pa.scalar(account), rows.num_rows)
        rows = rows.add_column(0, self._columns.field("account"), accounts)
        return rows.append_column("gone_at", pa.nulls(rows.num_rows, INSTANT))

    def rows(self, condition: str, *values: object, gone_at: int) -> pa.Table:
        """The rows of the table, which is ``held`` in *condition*, marked as gone at that time."""
        more = [pa.field(name, pa.string()) for name in self.undocumented()]
        columns = pa.schema([*self._columns, *more])
        names = [name for name in columns.names if name != "gone_at"]
        selected = ", ".join(self.selected(name, "held") for name in names)
        found = self.temporarily(f"SELECT {selected} FROM {{table}} AS held {condition}", *values)
        rows = [dict(zip(names, row, strict=True), gone_at=gone_at) for row in found]
        return pa.Table.from_pylist(rows, columns)

    def temporary(self, definition: str, *values: object) -> str:
        """The name of a new temporary table, made by *definition*; it ends with the session."""
        self._temporary += 1
        name = f"dp_async_{self._temporary}"
        self.temporarily(f"CREATE TEMPORARY TABLE {name} {definition}", *values)
        return name

    def temporarily(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """The rows that *sql* selects, in the one session that knows the temporary tables."""
        if not self._in_session:
            self._ends.enter_context(self._client)
            self._in_session = True
        return self._rows(sql, *values)

    def undocumented(self) -> list[str]:
        """The columns of undocumented fields that the table has."""
        known = self._made - {*self._columns.names}
        return [name for name in self._there if name in known and name[:5] != "_dlt_"]

    def lacking(self, rows: Mapping[str, Sequence[int | None]]) -> list[str]:
        """The accounts whose row in *rows*, an id and an update time, the table does not hold.

        Given the newest row of the last load, it tells that the table was dropped, emptied, or
        restored from an older backup. It does not tell that older rows were deleted, nor that the
        backup has that very row. A table that lacks a column lacks the rows of all accounts.
        """
        if not rows or self._missing(self._there):
            return [*rows]
        ids = ",".join(str(number) for number, _ in rows.values())
        sql = (
            f"SELECT account, {self.key}, {self.selected('update_time', 'held')}"
            f" FROM {{table}} AS held WHERE {self.key} IN ({ids})"
        )
        found = {tuple(row) for row in self._query(sql)}
        return [account for account, row in rows.items() if (account, *row) not in found]

    def make_again(self) -> None:
        """Have dlt's next load create what the destination lacks: tables, columns, dlt's own.

        dlt compares the destination with its schema only if the schema's hash is not stored there
        (``SqlJobClientBase.update_stored_schema``). So the schema gets a setting of a new value,
        which changes the hash; dlt keeps and ignores names that begin with ``x-``.
        """
        own = self._schema
        lacks = self._missing(self._there)
        if (self._dataset, own.version_table_name) in self._tables:
            dlts = {own.loads_table_name}
            if self._pipeline.config.restore_from_destination:  # else dlt keeps no state there
                dlts.add(own.state_table_name)
            lacks |= {name for name in dlts if (self._dataset, name) not in self._tables}
        if (self._staging, own.version_table_name) in self._tables:
            lacks |= self._missing(self._tables.get((self._staging, self._table), {}))
        if lacks:
            settings: dict[str, Any] = cast("dict[str, Any]", own.settings)
            settings["x-dp-async-made"] = uuid4().hex

    def _missing(self, there: Mapping[str, object]) -> set[str]:
        """The columns that a table with those of *there* lacks; none before the first load."""
        expected = self._made or ({*self._columns.names} if self._there else set[str]())
        return expected - there.keys()

    def check_shape(self) -> None:
        """Raises ConfigError if a table of this name exists whose columns do not fit."""
        problem = next(self._misfits(), None)
        if problem is not None:
            raise ConfigError(
                f"the table {self._dataset}.{self._table} has another shape: "
                f"{problem}; use another dataset, or move the table away"
            )
        staged = self._tables.get((self._staging, self._table), {})
        if staged and not {"account", self.key} <= staged.keys():
            raise ConfigError(
                f"the table {self._staging}.{self._table}, which holds rows only while they are "
                f"loaded, lacks account or {self.key}: drop it, and the next run makes it again"
            )

    def _misfits(self) -> Iterator[str]:
        needed = {"account", self.key} | ({"gone_at"} - self._made) if self._there else set[str]()
        for field in self._columns:
            kind = self._there.get(field.name)
            if kind is None and field.name in needed:
                yield f"it has no column {field.name}"
            elif kind is not None and kind not in COLUMN_TYPES[field.type]:
                yield f"its column {field.name} is {kind}"

    def _existing(self) -> dict[tuple[str, str], dict[str, str]]:
        """The columns of each table of the dataset and its staging dataset, and their types."""
        sql = (
            "SELECT table_schema, table_name, column_name, data_type"
            " FROM information_schema.columns WHERE table_schema IN (%s, %s)"
        )
        found: dict[tuple[str, str], dict[str, str]] = {}
        for dataset, table, name, kind in self._query(sql, self._dataset, self._staging):
            found.setdefault((dataset, table), {})[name] = kind.lower()
        return found

    def selected(self, name: str, table: str) -> str:
        """What selects the column *name* of *table*, a time in microseconds; null without it."""
        if name not in self._there:
            return "NULL"
        is_time = name in self._columns.names and self._columns.field(name).type == INSTANT
        column = f'{table}."{name}"'
        return MICROSECONDS.format(column) if is_time else column

    def _query(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """The rows that *sql* selects, in a session of its own: none is open during a crawl."""
        with self._client:
            return self._rows(sql, *values)

    def _rows(self, sql: str, *values: object) -> list[Sequence[Any]]:
        sql = sql.replace("{table}", self._client.make_qualified_table_name(self._table))
        return list(self._client.execute_sql(sql, *values) or [])
