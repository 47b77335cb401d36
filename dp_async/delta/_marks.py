"""The watermark of each list and account, in a table of its own. All calls block."""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ..tables import ListName
from ._place import Place
from ._snapshot import text
from ._spool import Spool
from ._table import Table

#: The columns; *newest_time* is in microseconds since 1970.
_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("app_id", "resource", "account", "watermark"), pa.string()),
    **dict.fromkeys(("newest_id", "newest_time"), pa.int64()),
}
COLUMNS = pa.schema(_TYPES)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a list of an account is loaded.

    *watermark*: as JSON; None if no crawl of it has ended. *newest_id*, *newest_time*: the newest
    row that was loaded, by its update time in microseconds since 1970; both None without any.
    """

    watermark: str | None = None
    newest_id: int | None = None
    newest_time: int | None = None


class Marks:
    """The table ``watermarks``."""

    def __init__(self, place: Place) -> None:
        self._table = Table(place, "watermarks", COLUMNS, ("app_id", "resource", "account"))
        self.make = self._table.make

    def read(self, app_id: str, accounts: Sequence[str]) -> dict[str, dict[str, Mark]]:
        """By list, the marks of *accounts*, as far as there are any.

        Makes the table if it is not there. Raises ConfigError and LoadFailed.
        """
        snapshot = self._table.snapshot(self._table.make(), app_id)
        columns = ("resource", "account", "watermark", "newest_id", "newest_time")
        found: dict[str, dict[str, Mark]] = {}
        for batch in snapshot.select(columns, f"account IN ({', '.join(map(text, accounts))})"):
            for row in batch.to_pylist():
                mark = Mark(row["watermark"], row["newest_id"], row["newest_time"])
                found.setdefault(row["resource"], {})[row["account"]] = mark
        return found

    def write(self, app_id: str, resource: ListName, marks: Mapping[str, Mark]) -> None:
        """Replace the marks of some accounts, in one commit. Raises LoadFailed.

        Whichever of two writers is last, its marks are true: what they say is loaded was committed
        before, and no commit of rows replaces a row by an older version of it.
        """
        with Spool(COLUMNS) as spool:
            spool.add(
                pa.Table.from_pylist(
                    [
                        {
                            "app_id": app_id,
                            "resource": resource,
                            "account": account,
                            "watermark": mark.watermark,
                            "newest_id": mark.newest_id,
                            "newest_time": mark.newest_time,
                        }
                        for account, mark in marks.items()
                    ],
                    COLUMNS,
                )
            )
            self._table.merge(app_id, spool)
