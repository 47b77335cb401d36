"""One version of a Delta table, read by SQL: the rows of one app. All calls block.

deltalake's own engine reads them: pyarrow, from 21 on, takes the texts in its files as string_view,
which it can neither compare nor join, so that its own filters fail.
"""
# The types of deltalake and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from ._place import Place
from ._spool import fitted


def text(value: str) -> str:
    """*value* as a literal in SQL."""
    return "'" + value.replace("'", "''") + "'"


class Snapshot:
    """The rows of *app_id* in this version of *table*; *name* is the table's, for errors."""

    def __init__(self, place: Place, name: str, table: DeltaTable, app_id: str) -> None:
        self._place = place
        self._name = name
        self._table = table
        self._app_id = app_id
        self.types = schema_of(table)

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return self.types.names

    def select(self, columns: Sequence[str], condition: str) -> Iterator[pa.RecordBatch]:
        """*columns* of the rows for which *condition* is true, in batches. Raises LoadFailed."""
        chosen = ", ".join(f'"{name}"' for name in columns)
        sql = f'SELECT {chosen} FROM "t" WHERE "app_id" = {text(self._app_id)} AND ({condition})'
        kinds = pa.schema([self.types.field(name) for name in columns])
        with self._place.errors(self._name):
            found = QueryBuilder().register("t", self._table).execute(sql)
            for batch in pa.RecordBatchReader.from_stream(found):
                yield fitted(batch, kinds)


def schema_of(table: DeltaTable) -> pa.Schema:
    """The columns of *table* as pyarrow has them."""
    return pa.schema(cast("Any", table.schema().to_arrow()))
