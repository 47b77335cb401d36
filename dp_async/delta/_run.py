"""One list of one account: its rows with the table's own columns, and the mark they end at.

Knows no table and no other account.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pyarrow as pa

from .. import Client, Watermark
from ..tables import INSTANT, List, Plan, Reading, schema
from ._comparison import LACKING, all_rows, read_table
from ._marks import Mark

#: Delta Lake knows instants at UTC alone.
UTC = pa.timestamp("us", tz="UTC")


def columns_of(of: List[Any]) -> pa.Schema:
    """The columns of the table of the list *of*."""
    fields = [pa.field("app_id", pa.string(), nullable=False), *schema(of.model)]
    return pa.schema([pa.field(f.name, at_utc(f.type), f.nullable) for f in fields])


def at_utc(kind: pa.DataType) -> pa.DataType:
    """The type of a column, with instants at UTC."""
    return UTC if kind == INSTANT else kind


class Run:
    """One list of one account: ``crawl`` it, then see what is left of its *reading*."""

    def __init__(
        self, of: List[Any], client: Client, account: str, mark: Mark, plan: Plan, *, reloaded: bool
    ) -> None:
        self.account = account
        self.reloaded = reloaded
        self._key = of.key
        self._app_id = client.settings.app_id
        self._before = mark
        self._read: list[pa.Table] = []
        text = None if plan.full or reloaded else mark.watermark
        after = None if text is None else Watermark.from_json(text)
        self.reading: Reading[Any] = Reading(of, client, account, plan, after)

    async def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """The rows in pieces. Their keys and times are kept to be compared."""
        async with aclosing(self.reading.pieces(self._own)) as pieces:
            async for piece in pieces:
                rows = piece.combine_chunks()  # batches of a page each would cost ten times more
                self._read.append(read_table(self.account, self._key, rows).combine_chunks())
                yield rows

    @property
    def read(self) -> pa.Table:
        """The rows that were read, as they are compared."""
        return all_rows(self._read)

    @property
    def mark(self) -> Mark:
        """How far the list is loaded, once its rows are; also after an error."""
        newest = (self._before.newest_id, self._before.newest_time)
        rows = self.read
        if rows.num_rows:
            last = rows.sort_by([("time", "descending"), ("id", "descending")]).slice(0, 1)
            at: int = last["time"][0].as_py()
            newest = (last["id"][0].as_py(), None if at == LACKING else at)
        kept = None if self.reloaded else self._before.watermark
        reached = self.reading.watermark
        return Mark(kept if reached is None else reached.to_json(), *newest)

    def _own(self, table: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {
            "app_id": pa.repeat(pa.scalar(self._app_id), table.num_rows),
            "account": pa.repeat(pa.scalar(self.account), table.num_rows),
            "gone_at": pa.nulls(table.num_rows, UTC),
        }
        for name in table.schema.names:
            columns[name] = table[name].cast(at_utc(table[name].type))
        return pa.table(columns)
