"""One run: all lists of all accounts, crawled in one thread, handed to dlt in another."""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import dlt
import pyarrow as pa
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from dlt.extract import DltResource
from msgspec import Raw, Struct, structs

from .. import (
    AccountsFailed,
    Client,
    Crawl,
    CrawlReport,
    DpError,
    Listing,
    Page,
    Watermark,
)
from ._rows import ListName, Reader, joined, schema
from ._store import FEW, Store

S = TypeVar("S", bound=Struct)
log = logging.getLogger("dp_async")
#: So many rows go to dlt at once: it takes long over each piece, however small.
PIECE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one list of one account, before it is loaded.

    *new* and *updated* rows, by what the destination held; *gone* ones, which were marked; *report*
    is the crawl's. *error*: why there is no more; what came before it is loaded all the same, and
    comes again.
    """

    resource: ListName
    account: str
    new: int
    updated: int
    gone: int
    report: CrawlReport
    error: DpError | None = None


class Shared:
    """The client of a run, in a thread of its own, for both resources; the last of them ends it."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._users = 0
        self._ends = ExitStack()

    def __enter__(self) -> tuple[BlockingPortal, Client]:
        if not self._users:
            with ExitStack() as stack:
                self._portal = stack.enter_context(start_blocking_portal())
                self._client = self._make()
                stack.enter_context(self._portal.wrap_async_context_manager(self._client))
                self._ends = stack.pop_all()
        self._users += 1
        return self._portal, self._client

    def __exit__(self, *error: object) -> None:
        self._users -= 1
        if not self._users:
            self._ends.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for; the same for both lists."""

    accounts: Sequence[str]
    full: bool
    reconcile: bool
    allowed_lateness: float
    at_once: int
    progress: Callable[[ListName, str, CrawlReport], object] | None
    told: Callable[[Outcome], object] | None


@dataclass(frozen=True, slots=True)
class List(Generic[S]):
    """One of the two lists, as a resource."""

    name: ListName
    model: type[S]
    strict: type[S]
    listing: Callable[[Client], Listing[S]]
    plan: Plan
    shared: Shared

    def resource(self) -> DltResource:
        def tables() -> Iterator[pa.Table]:  # dlt takes no bound method
            yield from self._tables()

        return dlt.resource(
            tables,
            name=self.name,
            primary_key=["account", self._key],
            # No id comes twice in a run, so none needs to be thrown out before the merge.
            write_disposition={
                "disposition": "merge",
                "strategy": "delete-insert",
                "deduplicated": True,
            },
            file_format="parquet",
        )

    @property
    def _key(self) -> str:
        return next(field.name for field in structs.fields(self.model) if field.required)

    def _tables(self) -> Iterator[pa.Table]:
        """All that dlt is to load, in pieces. Runs in dlt's thread, the crawls do in another."""
        plan = self.plan
        marks: Marks = dlt.current.resource_state().setdefault("watermarks", {})
        store = Store(self.name, self._key, schema(self.model))
        store.refuse_another_shape()
        errors: dict[str, DpError] = {}
        with self.shared as (portal, client):
            views = {account: client.for_account(account or None) for account in plan.accounts}
            if not plan.full:
                for account, view in views.items():  # refused before any request, and all at once
                    self.listing(view).since(
                        mark(marks, account), allowed_lateness=plan.allowed_lateness
                    )
            runs = [Run(self, view, account, marks, store) for account, view in views.items()]
            together = Together(runs, plan.at_once)
            with portal.wrap_async_context_manager(together):
                while (found := portal.call(together.next)) is not None:
                    run, piece = found
                    if piece is not None:
                        yield piece
                        continue
                    yield from run.end()
                    if run.error is not None:
                        errors[run.account] = run.error
        if errors and plan.told is None:
            raise next(iter(errors.values())) if len(views) == 1 else AccountsFailed(errors)


#: Of each account how far its list is known.
Marks: TypeAlias = dict[str, str]


def mark(marks: Marks, account: str) -> Watermark | None:
    return Watermark.from_json(marks[account]) if account in marks else None


class Run(Generic[S]):
    """One list of one account, once: crawled in one thread, ended in dlt's."""

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
        """Its rows, in pieces."""
        known = None if self._plan.full else mark(self._marks, self.account)
        rows = self._listing.typed(Raw)
        kept: list[pa.Table] = []
        async with rows.since(
            known, allowed_lateness=self._plan.allowed_lateness, progress=self._progress
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
        """Those of its rows that are gone; then how far the list is known is told and kept."""
        assert self._crawl is not None
        report, gone = self._crawl.report, None
        new = updated = 0
        if self._plan.told is not None and self._times:
            new, updated = self._compared()
        if self._plan.reconcile and self.error is None:
            gone = self._gone(report)
            if gone is not None:
                yield gone
        reached = self._crawl.watermark if self.error is None else None
        if reached is not None:
            self._marks[self.account] = reached.to_json()
        if self._plan.told is not None:
            self._plan.told(
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
        if self._plan.told is not None:
            times = table["update_time"].cast(pa.int64()).to_pylist()
            self._times.update(zip(ids, times, strict=True))
        else:
            self._times.update(dict.fromkeys(ids))
        return self._store.own(table, self.account)

    def _compared(self) -> tuple[int, int]:
        """How many of the rows are new to the destination, and how many differ from what it has."""
        ids = list(self._times) if len(self._times) <= FEW else None
        known = dict(self._store.known(self.account, ids))
        common = self._times.keys() & known.keys()
        return (
            len(self._times) - len(common),
            sum(known[number] != (self._times[number], False) for number in common),
        )

    def _gone(self, report: CrawlReport) -> pa.Table | None:
        """The rows that the destination has and the list has not, marked; None if none are."""
        reason = "" if report.complete else report.reason
        if report.bad_items:  # one whose time cannot be read does not keep a crawl from its proof
            reason = f"{report.bad_items} rows could not be read"
        if reason:
            log.warning("no row of the %s is marked as gone: %s", self._of.name, reason)
            return None
        there = [number for number, (_, gone) in self._store.known(self.account) if not gone]
        missing = [number for number in there if number not in self._times]
        return self._store.rows(self.account, missing) if missing else None


class Together:
    """Some runs at once, *at_once* at work, and no more pieces than that waiting."""

    def __init__(self, runs: Sequence[Run[Any]], at_once: int) -> None:
        self._waiting = iter(runs)
        self._at_once = min(at_once, len(runs))

    async def __aenter__(self) -> None:
        send, self._receive = anyio.create_memory_object_stream[Found](self._at_once)
        clones = [send.clone() for _ in range(self._at_once)]
        send.close()
        self._tasks = [asyncio.create_task(self._work(clone)) for clone in clones]

    async def _work(self, out: MemoryObjectSendStream[Found]) -> None:
        async with out:
            for run in self._waiting:
                async with aclosing(run.crawl()) as pieces:
                    async for piece in pieces:
                        await out.send((run, piece))
                await out.send((run, None))

    async def next(self) -> Found | None:
        """A run and its next piece, or None once it has no more; None when all runs are over."""
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            await asyncio.gather(*self._tasks)
            return None

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._receive.close()


Found: TypeAlias = tuple[Run[Any], pa.Table | None]
