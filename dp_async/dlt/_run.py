"""One list of one account, crawled once: its rows in pieces, then its outcome and its watermark.

Knows no other account and no thread.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import pyarrow as pa
from msgspec import Raw, Struct, structs

from .. import Client, Crawl, CrawlReport, DpError, Listing, Page, Watermark
from ._rows import ListName, Reader, joined
from ._store import IDS_PER_QUERY, Store

S = TypeVar("S", bound=Struct)

log = logging.getLogger("dp_async")

#: Rows per table given to dlt, which has a high cost per table however small it is.
PIECE = 5_000

#: The watermark of each account, as JSON.
Marks: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one list of one account, before dlt loads it.

    *new* and *updated*: rows by comparison with the destination. *gone*: rows marked as gone.
    *report*: the crawl's. *error*: what ended the crawl early; the rows before it are loaded all
    the same, and come again in the next run.
    """

    resource: ListName
    account: str
    new: int
    updated: int
    gone: int
    report: CrawlReport
    error: DpError | None = None


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
    """One of the two lists; *strict* is *model* without undocumented fields."""

    name: ListName
    model: type[S]
    strict: type[S]
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
        self, of: List[S], client: Client, account: str, marks: Marks, store: Store
    ) -> None:
        self.account = account
        self.error: DpError | None = None
        self._of = of
        self._plan = of.plan
        self._listing = of.listing(client)
        self._marks = marks
        self._store = store
        self._reader = Reader(of.model, of.strict, store.schema.naming.normalize_identifier)
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
                        yield joined(kept)
                        kept = []
            except DpError as caught:
                self.error = caught
        if kept:
            yield joined(kept)

    def end(self) -> Iterator[pa.Table]:
        """The rows to mark as gone; then keeps the watermark and reports the outcome."""
        assert self._crawl is not None
        report, gone = self._crawl.report, None
        new = updated = 0
        if self._plan.on_outcome is not None and self._times:
            new, updated = self._compared()
        if self._plan.reconcile and self.error is None:
            gone = self._gone(report)
            if gone is not None:
                yield gone
        reached = self._crawl.watermark if self.error is None else None
        if reached is not None:
            self._marks[self.account] = reached.to_json()
        if self._plan.on_outcome is not None:
            self._plan.on_outcome(
                Outcome(
                    resource=self._of.name,
                    account=self.account,
                    new=new,
                    updated=updated,
                    gone=0 if gone is None else gone.num_rows,
                    report=report,
                    error=self.error,
                )
            )

    def _progress(self, report: CrawlReport) -> None:
        if self._plan.progress is not None:
            self._plan.progress(self._of.name, self.account, report)

    def _table(self, page: Page[Raw]) -> pa.Table:
        table = self._reader.table(page.content)
        ids: list[Any] = table[self._store.key].to_pylist()
        if self._plan.on_outcome is not None:
            times = table["update_time"].cast(pa.int64()).to_pylist()
            self._times.update(zip(ids, times, strict=True))
        else:
            self._times.update(dict.fromkeys(ids))
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

    def _gone(self, report: CrawlReport) -> pa.Table | None:
        """The rows that the destination holds and the list does not, marked; None without any."""
        reason = "" if report.complete else report.reason
        if report.bad_items:  # an unreadable time leaves the proof intact, but hides the row's id
            reason = f"{report.bad_items} rows could not be read"
        if reason:
            log.warning("no row of the %s is marked as gone: %s", self._of.name, reason)
            return None
        there = [number for number, (_, gone) in self._store.known(self.account) if not gone]
        missing = [number for number in there if number not in self._times]
        return self._store.rows(self.account, missing) if missing else None
