"""One list of one account, crawled once: its rows in pieces, then its outcome and its watermark.

Knows no other account and no thread.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import pyarrow as pa
from msgspec import Raw, Struct, structs

from .. import BadItem, Client, CrawlReport, DpError, Listing, Page, Watermark
from ..tables import ListName, Outcome, TableReader, warn
from ._comparison import Comparison
from ._store import Store

S = TypeVar("S", bound=Struct)

#: Rows per table given to dlt, which has a high cost per table however small it is.
PIECE = 5_000

#: Rows whose proof takes so much memory that the database should have it next.
MANY = 100_000

#: The watermark of each account, as JSON.
Marks: TypeAlias = dict[str, str]

#: Of each account the newest row of its last load: id and update time (µs since 1970).
Newest: TypeAlias = dict[str, list[int | None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of ``source`` that both lists share."""

    accounts: Sequence[str]
    full: bool
    reconcile: bool
    allowed_lateness: float
    at_once: int
    progress: Callable[[ListName, str, CrawlReport], object] | None
    on_outcome: Callable[[Outcome], object] | None


@dataclass(frozen=True, slots=True)
class List(Generic[S]):
    """One of the two lists; *endpoint* is its name in errors."""

    name: ListName
    endpoint: str
    model: type[S]
    listing: Callable[[Client], Listing[S]]
    plan: Plan

    @property
    def key(self) -> str:
        """The column of the id, the only required field of the model."""
        return next(field.name for field in structs.fields(self.model) if field.required)


def mark_of(account: str, marks: Marks) -> Watermark | None:
    """The watermark of *account*, or None before its first run."""
    return Watermark.from_json(marks[account]) if account in marks else None


@dataclass(frozen=True, slots=True)
class End:
    """What is left of a crawl that has ended."""

    report: CrawlReport
    watermark: Watermark | None
    bad_items: Sequence[BadItem]


class Run(Generic[S]):
    """One list of one account: ``crawl`` in the thread of the crawls, the rest in dlt's.

    ``took`` is called with each piece, then ``end``.
    """

    def __init__(
        self,
        of: List[S],
        client: Client,
        account: str,
        marks: Marks,
        newest: Newest,
        store: Store,
        *,
        reloaded: bool,
    ) -> None:
        self.account = account
        self.error: DpError | None = None
        self._of = of
        self._plan = of.plan
        self._listing = of.listing(client)
        self._marks = marks
        self._newest = newest
        self._store = store
        self._reloaded = reloaded
        self._app_id = client.settings.app_id
        self._reader = TableReader(
            of.endpoint, of.model, keep=self._listing.options.on_bad_item == "keep"
        )
        self._latest: list[int | None] | None = None  # the newest row read: id and update time
        self._comparison: Comparison | None = None
        if store.is_there and (self._plan.on_outcome is not None or self._plan.reconcile):
            self._comparison = Comparison(store, account)
        self._read = 0
        self._end: End

    async def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """The rows in pieces. A DpError ends them and is kept in ``error``."""
        mark = None if self._plan.full else mark_of(self.account, self._marks)
        rows = self._listing.typed(Raw)
        kept: list[pa.Table] = []
        number = 0
        async with rows.since(
            mark, allowed_lateness=self._plan.allowed_lateness, progress=self._progress
        ) as crawl:
            try:
                async for page in crawl.pages():
                    if page.content:
                        kept.append(self._table(page))
                        number += kept[-1].num_rows
                    if number >= PIECE:
                        yield _joined(kept)
                        kept, number = [], 0
            except DpError as caught:
                self.error = caught
        if kept:
            yield _joined(kept)
        # The crawl itself goes now: its proof takes memory for each row.
        self._end = End(crawl.report, crawl.watermark, crawl.bad_items)

    def took(self, piece: pa.Table) -> None:
        """Note a piece that goes to dlt."""
        ids: list[Any] = piece[self._store.key].to_pylist()
        times: list[Any] = piece["update_time"].cast(pa.int64()).to_pylist()
        self._read += len(ids)
        rows = list(zip(ids, times, strict=True))
        if self._latest is not None:
            rows.append((self._latest[0], self._latest[1]))
        self._latest = [*max(rows, key=_age)]
        if self._comparison is not None:
            self._comparison.add(ids, times)

    def end(self) -> Iterator[pa.Table]:
        """The rows to mark as gone; then keeps the watermark and reports the outcome."""
        if self._read >= MANY:  # the proof is in cycles, and would wait for a full collection
            gc.collect()
        bad = [*self._end.bad_items, *self._reader.bad_items]
        report, gone = self._report(self._end.report), 0
        new, updated = self._read, 0
        if self._plan.on_outcome is not None and self._comparison is not None:
            new, updated = self._comparison.changes()
        if self._plan.reconcile and self.error is None:
            for piece in self._gone(report, bad):
                gone += piece.num_rows
                yield piece
        if self._latest is not None:  # also after an error: the rows before it are loaded
            self._newest[self.account] = self._latest
        reached = self._end.watermark if self.error is None else None
        if reached is not None:
            self._marks[self.account] = reached.to_json()
        if self._plan.on_outcome is not None:
            self._plan.on_outcome(
                Outcome(
                    resource=self._of.name,
                    app_id=self._app_id,
                    account=self.account,
                    new=new,
                    updated=updated,
                    gone=gone,
                    report=report,
                    bad_items=bad,
                    reloaded=self._reloaded,
                    error=self.error,
                )
            )

    def _report(self, report: CrawlReport) -> CrawlReport:
        """The crawl's report, with the rows that are no rows of a table as bad ones."""
        bad = len(self._reader.bad_items)
        return replace(report, items=report.items - bad, bad_items=report.bad_items + bad)

    def _progress(self, report: CrawlReport) -> None:
        if self._plan.progress is not None:
            self._plan.progress(self._of.name, self.account, self._report(report))

    def _table(self, page: Page[Raw]) -> pa.Table:
        return self._store.with_own_columns(self._reader(page), self.account)

    def _gone(self, report: CrawlReport, bad: Sequence[BadItem]) -> Iterator[pa.Table]:
        """The rows that the destination holds and the list does not, marked."""
        if not report.complete:  # as where a bad row has no id
            warn("no row of the %s is marked as gone: %s", self._of.name, report.reason)
        elif self._comparison is not None:
            yield from self._comparison.gone(one.id for one in bad if one.id is not None)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with all columns of *tables*; a column that a table lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")


def _age(row: tuple[int, int | None]) -> tuple[bool, int, int]:
    number, time = row
    return time is not None, time or 0, number
