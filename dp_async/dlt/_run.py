"""One list of one account, crawled once: its rows in pieces, then its outcome and its watermark.

Knows no other account and no thread.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import pyarrow as pa
from msgspec import Raw, Struct, structs

from .. import BadItem, Client, Crawl, CrawlReport, DpError, Listing, Page, Watermark
from ..tables import ListName, Outcome, TableReader, warn
from ._store import IDS_PER_QUERY, Store

S = TypeVar("S", bound=Struct)

#: Rows per table given to dlt, which has a high cost per table however small it is.
PIECE = 5_000

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


class Run(Generic[S]):
    """One list of one account: ``crawl`` in the thread of the crawls, then ``end`` in dlt's."""

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
        self._times: dict[int, int | None] = {}
        self._crawl: Crawl[Raw] | None = None

    async def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """The rows in pieces. A DpError ends them and is kept in ``error``."""
        mark = None if self._plan.full else mark_of(self.account, self._marks)
        rows = self._listing.typed(Raw)
        kept: list[pa.Table] = []
        async with rows.since(
            mark, allowed_lateness=self._plan.allowed_lateness, progress=self._progress
        ) as crawl:
            self._crawl = crawl
            try:
                async for page in crawl.pages():
                    if page.content:
                        kept.append(self._table(page))
                    if sum(table.num_rows for table in kept) >= PIECE:
                        yield _joined(kept)
                        kept = []
            except DpError as caught:
                self.error = caught
        if kept:
            yield _joined(kept)

    def end(self) -> Iterator[pa.Table]:
        """The rows to mark as gone; then keeps the watermark and reports the outcome."""
        assert self._crawl is not None
        bad = [*self._crawl.bad_items, *self._reader.bad_items]
        report, gone = self._report(self._crawl.report), None
        new = updated = 0
        if self._plan.on_outcome is not None and self._times:
            new, updated = self._compared()
        if self._plan.reconcile and self.error is None:
            gone = self._gone(report, bad)
            if gone is not None:
                yield gone
        if self._times:  # also after an error: the rows before it are loaded
            newest = max(self._times.items(), key=_age)
            self._newest[self.account] = list(newest)
        reached = self._crawl.watermark if self.error is None else None
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
                    gone=0 if gone is None else gone.num_rows,
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
        table = self._reader(page)
        ids: list[Any] = table[self._store.key].to_pylist()
        times = table["update_time"].cast(pa.int64()).to_pylist()
        self._times.update(zip(ids, times, strict=True))
        return self._store.with_own_columns(table, self.account)

    def _compared(self) -> tuple[int, int]:
        """How many rows the destination lacks, and how many differ from what it holds."""
        ids = list(self._times) if len(self._times) <= IDS_PER_QUERY else None
        known = dict(self._store.known(self.account, ids))
        common = self._times.keys() & known.keys()
        return (
            len(self._times) - len(common),
            sum(known[number] != (self._times[number], False) for number in common),
        )

    def _gone(self, report: CrawlReport, bad: Sequence[BadItem]) -> pa.Table | None:
        """The rows that the destination holds and the list does not, marked; None without any."""
        if not report.complete:  # as where a bad row has no id
            warn("no row of the %s is marked as gone: %s", self._of.name, report.reason)
            return None
        found = self._times.keys() | {one.id for one in bad}
        there = [number for number, (_, gone) in self._store.known(self.account) if not gone]
        missing = [number for number in there if number not in found]
        return self._store.rows(self.account, missing) if missing else None


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with all columns of *tables*; a column that a table lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")


def _age(row: tuple[int, int | None]) -> tuple[bool, int, int]:
    number, time = row
    return time is not None, time or 0, number
