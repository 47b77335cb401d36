"""Delta tables as a warehouse: their files, as the log names them, read by DuckDB."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from dp_async.testing import SimulatedList
from tests.support.databases import Warehouse, truth

TABLES = ("works", "messages", "watermarks")


class Lake(Warehouse):
    """The tables under the folder *to*, as views of DuckDB in the schema ``dp_data``."""

    def table(self, name: str) -> DeltaTable:
        return DeltaTable(f"{self.to}/{name}")

    def _connected(self) -> Any:
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA dp_data; SET TimeZone = 'UTC'")
        for name in TABLES:
            table = self.table(name)
            if table.file_uris():
                columns = ", ".join(f'"{field.name}"' for field in table.schema().fields)
                connection.execute(
                    f"CREATE VIEW dp_data.{name} AS SELECT {columns} FROM read_parquet("
                    f"{table.file_uris()!r}, union_by_name=true, hive_partitioning=true,"
                    " hive_types={'app_id': VARCHAR})"
                )
        return connection

    def run(self, sql: str) -> list[dict[str, Any]]:
        """The rows that *sql* selects."""
        with closing(self._connected()) as connection:
            cursor = connection.execute(sql)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def versions(self) -> dict[str, int]:
        """How many commits each table has had."""
        return {name: self.table(name).version() for name in TABLES}

    def is_there(self) -> bool:
        return any(Path(self.to).glob("*"))


class AppLake(Lake):
    """The rows of one app."""

    def __init__(self, to: str, app_id: str) -> None:
        super().__init__(to)
        self._app_id = app_id

    def run(self, sql: str) -> list[dict[str, Any]]:
        return super().run(f"{sql} AND app_id = '{self._app_id}'")


def app_agrees(
    lake: Lake, app_id: str, accounts: Iterable[str], works: SimulatedList, messages: SimulatedList
) -> bool:
    """Whether the rows of an app's accounts are those of the lists; fails if one is twice."""
    of_app = AppLake(lake.to, app_id)
    return all(
        of_app.rows(name, account=account) == truth(rows)
        for name, rows in (("works", works), ("messages", messages))
        for account in accounts
    )
