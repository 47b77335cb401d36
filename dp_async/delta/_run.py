"""One list of one account, crawled once: its rows in pieces, and what is left of the crawl.

Knows no table and no other account.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import pyarrow as pa
from msgspec import Raw, Struct, structs

from .. import BadItem, Client, Crawl, CrawlReport, DpError, Listing, Page, Watermark
from ..tables import INSTANT, ListName, TableReader, schema
from ._comparison import LACKING, all_rows, read_table
from ._marks import Mark

S = TypeVar("S", bound=Struct)

#: Rows in one piece.
PIECE = 5_000
#: Delta Lake knows instants at UTC alone.
UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of ``sync`` that both lists share."""

    accounts: Sequence[str]
    full: bool
    reconcile: bool
    allowed_lateness: float
    at_once: int
    progress: Callable[[ListName, str, CrawlReport], object] | None


@dataclass(frozen=True, slots=True)
class List(Generic[S]):
    """One of the two lists; *endpoint* is its name in errors."""

    name: ListName
    endpoint: str
    model: type[S]
    listing: Callable[[Client], Listing[S]]

    @property
    def key(self) -> str:
        """The column of the id, the only required field of the model."""
        return next(field.name for field in structs.fields(self.model) if field.required)

    @property
    def columns(self) -> pa.Schema:
        """The columns of its table."""
        app_id = pa.field("app_id", pa.string(), nullable=False)
        fields = [app_id, *schema(self.model)]
        return pa.schema([pa.field(f.name, at_utc(f.type), f.nullable) for f in fields])


def at_utc(kind: pa.DataType) -> pa.DataType:
    """The type of a column, with instants at UTC."""
    return UTC if kind == INSTANT else kind


class Run(Generic[S]):
    """One list of one account: ``crawl`` it, then see what is left."""

    def __init__(
        self, of: List[S], client: Client, account: str, mark: Mark, plan: Plan, *, reloaded: bool
    ) -> None:
        self.account = account
        self.reloaded = reloaded
        self.error: DpError | None = None
        self.report: CrawlReport
        self.bad_items: Sequence[BadItem] = ()
        self._of = of
        self._app_id = client.settings.app_id
        self._plan = plan
        self._before = mark
        self._reached: Watermark | None = None
        self._read: list[pa.Table] = []
        listing = of.listing(client)
        self._reader = TableReader(
            of.endpoint, of.model, keep=listing.options.on_bad_item == "keep"
        )
        text = None if plan.full or reloaded else mark.watermark
        # Raises ConfigError for the watermark of another list.
        self._crawl: Crawl[Raw] = listing.typed(Raw).since(
            None if text is None else Watermark.from_json(text),
            allowed_lateness=plan.allowed_lateness,
            progress=self._progress,
        )

    async def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """The rows in pieces. A DpError ends them and is kept in ``error``."""
        kept: list[pa.Table] = []
        number = 0
        async with self._crawl as crawl:
            try:
                async for page in crawl.pages():
                    if page.content:
                        kept.append(self._table(page))
                        number += kept[-1].num_rows
                    if number >= PIECE:
                        yield self._piece(kept)
                        kept, number = [], 0
            except DpError as caught:
                self.error = caught
            if kept:
                yield self._piece(kept)
            self.report = self._shown(crawl.report)
            self.bad_items = [*crawl.bad_items, *self._reader.bad_items]
            self._reached = crawl.watermark if self.error is None else None

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
        return Mark(kept if self._reached is None else self._reached.to_json(), *newest)

    def _shown(self, report: CrawlReport) -> CrawlReport:
        """The crawl's report, with the rows that are no rows of a table as bad ones."""
        bad = len(self._reader.bad_items)
        return replace(report, items=report.items - bad, bad_items=report.bad_items + bad)

    def _progress(self, report: CrawlReport) -> None:
        if self._plan.progress is not None:
            self._plan.progress(self._of.name, self.account, self._shown(report))

    def _piece(self, tables: Sequence[pa.Table]) -> pa.Table:
        """The rows of *tables* as one table; their keys and times are kept to be compared."""
        rows = _joined(tables).combine_chunks()  # batches of a page each would cost ten times more
        self._read.append(read_table(self.account, self._of.key, rows).combine_chunks())
        return rows

    def _table(self, page: Page[Raw]) -> pa.Table:
        table = self._reader(page)
        columns: dict[str, Any] = {
            "app_id": pa.repeat(pa.scalar(self._app_id), table.num_rows),
            "account": pa.repeat(pa.scalar(self.account), table.num_rows),
            "gone_at": pa.nulls(table.num_rows, UTC),
        }
        for name in table.schema.names:
            columns[name] = table[name].cast(at_utc(table[name].type))
        return pa.table(columns)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with all columns of *tables*; a column that a table lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")
