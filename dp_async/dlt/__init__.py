"""Both lists as a source for dlt: into a warehouse, again and again. Needs the extra ``dlt``.

A consumer of the package's public names. What dlt has loaded is what it goes on from: how far each
list is known is kept in dlt's state, which counts once the rows it belongs to are loaded. It
changes nothing in the destination but by the rows that it yields.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from msgspec import Raw, Struct, structs

from .. import (
    AccountsFailed,
    Client,
    ConfigError,
    Crawl,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    DpError,
    Listing,
    Message,
    Page,
    Settings,
    Watermark,
    Work,
)

try:
    import dlt
    import pyarrow as pa
    import pyarrow.compute as pc
    from dlt.destinations.exceptions import DatabaseUndefinedRelation
    from dlt.extract import DltResource, DltSource

    from .. import arrow
except ImportError as error:
    raise ImportError(
        "dp_async.dlt needs dlt and pyarrow, which are an extra: pip install 'dp_async[dlt]'"
    ) from error

__all__ = ["Outcome", "schema", "source"]

S = TypeVar("S", bound=Struct)
Name: TypeAlias = Literal["works", "messages"]

log = logging.getLogger("dp_async")

#: So many rows go to dlt at once: it takes long over each piece, however small.
PIECE = 5_000
#: So many ids are asked for by their numbers; of more, all of the account's are.
FEW = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: What DuckDB and PostgreSQL call the types of the columns.
COLUMN_TYPES: dict[pa.DataType, set[str]] = {
    pa.string(): {"varchar", "character varying", "text"},
    pa.int64(): {"bigint"},
    pa.float64(): {"double", "double precision"},
    arrow.INSTANT: {"timestamp with time zone"},
}
NONE = CrawlOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one list of one account, before it is loaded.

    *new* and *updated* rows, by what the destination held; *gone* ones, which were marked; *report*
    is the crawl's. *error*: why there is no more; what came before it is loaded all the same, and
    comes again.
    """

    resource: Name
    account: str
    new: int
    updated: int
    gone: int
    report: CrawlReport
    error: DpError | None = None


def source(
    settings: Settings,
    *,
    accounts: Iterable[str] | None = None,
    full: bool = False,
    reconcile: bool = False,
    allowed_lateness: float = 2.0,
    options: CrawlOptions = NONE,
    at_once: int = 4,
    client: Callable[[Settings], Client] = Client,
    progress: Callable[[Name, str, CrawlReport], object] | None = None,
    told: Callable[[Outcome], object] | None = None,
) -> DltSource:
    """The resources ``works`` and ``messages``, to be run by a dlt pipeline as often as you like.

    The first run takes all rows, the next ones what is new or was updated since, by the watermark
    of each account and list; rows are merged on account and id.

    - *accounts*: the sub-accounts, *at_once* at a time; None for that of *settings*. An account
      that fails stops no other one: at the end AccountsFailed is raised, and dlt loads nothing,
      unless *told* is there to hear of it.
    - *full*: take all rows again, whatever the watermark.
    - *reconcile*: the same, and set ``gone_at`` of the rows that are not in the list any more, if
      the crawl is proven to be complete; else mark none, and say so in the log.
    - *allowed_lateness*: as in ``Listing.since``. *options*: of the crawls. *client*: makes the client.
    - *progress* is called after each page, in a thread of the crawls; *told* at the end of each
      list of each account.

    The columns: ``account`` ("" for the main one), those of ``dp_async.arrow``, ``gone_at``, and
    each field that is not documented, as its JSON. A list without rows makes no table. Raises
    ConfigError; in a run too, before any request for the list, for a table of another shape and for
    a watermark of another list. Nothing is loaded then.
    """
    given = cast("object", accounts)  # whatever its type says
    if isinstance(given, str | bytes) or not isinstance(given, Iterable | None):
        raise ConfigError("accounts needs a list of accounts, not a single one")
    if not _is_whole(at_once) or at_once < 1:
        raise ConfigError("at_once must be a whole number, 1 or more")
    names = [settings.account or ""] if accounts is None else list(dict.fromkeys(accounts))
    for place, name in enumerate(() if accounts is None else names):
        if not _is_text(name):
            raise ConfigError(f"accounts[{place}] must be an account, and is blank or no text")
        settings.with_account(name)
    if not names:
        raise ConfigError("accounts is empty: give at least one, or None for the main account")
    shared = _Shared(lambda: client(settings))
    plan = _Plan(names, full or reconcile, reconcile, allowed_lateness, at_once, progress, told)

    def works(view: Client) -> Listing[Work]:
        return view.works(options=options)

    def messages(view: Client) -> Listing[Message]:
        return view.messages(options=options)

    @dlt.source(name="dp_async")
    def lists() -> list[DltResource]:
        return [
            _List("works", Work, _Work, works, plan, shared).resource(),
            _List("messages", Message, _Message, messages, plan, shared).resource(),
        ]

    return lists()


def _is_text(given: object) -> bool:
    return isinstance(given, str) and bool(given.strip())


def _is_whole(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def schema(item: type[Struct]) -> pa.Schema:
    """The columns of a table, as long as all its fields are documented; *item*: Work or Message."""
    account = pa.field("account", pa.string(), nullable=False)
    return arrow.schema(item).insert(0, account).append(pa.field("gone_at", arrow.INSTANT))


class _Work(Work, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A work without any field that is not documented."""


class _Message(Message, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A message without any field that is not documented."""


class _Shared:
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
class _Plan:
    """What was asked for; the same for both lists."""

    accounts: Sequence[str]
    full: bool
    reconcile: bool
    allowed_lateness: float
    at_once: int
    progress: Callable[[Name, str, CrawlReport], object] | None
    told: Callable[[Outcome], object] | None


@dataclass(frozen=True, slots=True)
class _List(Generic[S]):
    """One of the two lists, as a resource."""

    name: Name
    model: type[S]
    strict: type[S]
    listing: Callable[[Client], Listing[S]]
    plan: _Plan
    shared: _Shared

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
        store = _Store(self.name, self._key, schema(self.model))
        store.refuse_another_shape()
        errors: dict[str, DpError] = {}
        with self.shared as (portal, client):
            views = {account: client.for_account(account or None) for account in plan.accounts}
            if not plan.full:
                for account, view in views.items():  # refused before any request, and all at once
                    self.listing(view).since(
                        _mark(marks, account), allowed_lateness=plan.allowed_lateness
                    )
            runs = [_Run(self, view, account, marks, store) for account, view in views.items()]
            together = _Together(runs, plan.at_once)
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


def _mark(marks: Marks, account: str) -> Watermark | None:
    return Watermark.from_json(marks[account]) if account in marks else None


class _Run(Generic[S]):
    """One list of one account, once: crawled in one thread, ended in dlt's."""

    def __init__(
        self, of: _List[S], client: Client, account: str, marks: Marks, store: _Store
    ) -> None:
        self.account = account
        self.error: DpError | None = None
        self._of = of
        self._plan = of.plan
        self._listing = of.listing(client)
        self._marks = marks
        self._store = store
        self._reader = _Reader(of.model, of.strict, store.schema.naming.normalize_identifier)
        self._times: dict[int, int | None] = {}
        self._crawl: Crawl[Raw] | None = None

    async def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """Its rows, in pieces."""
        mark = None if self._plan.full else _mark(self._marks, self.account)
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


class _Reader(Generic[S]):
    """Reads the rows of a page into columns, also those that are not documented."""

    def __init__(self, model: type[S], strict: type[S], normalized: Callable[[str], str]) -> None:
        self._model = model
        self._normalized = normalized
        self._strict = strict
        self._known = msgspec.json.Decoder(list[strict])  # type: ignore[valid-type]
        self._fields = msgspec.json.Decoder(list[dict[str, Raw]])
        self._documented = {field.encode_name for field in structs.fields(model)}
        self._loose = msgspec.json.Decoder(list[model])  # type: ignore[valid-type]

    def table(self, rows: Sequence[Raw]) -> pa.Table:
        """*rows* as a table. Raises DecodeError for a row that is not as documented."""
        data = b"[" + b",".join(map(bytes, rows)) + b"]"
        try:
            table = self._as(self._known.decode(data), self._strict)
        except msgspec.ValidationError:
            table = self._with_more(data)
        return _without_nul(table) if b"\\u0000" in data else table

    def _with_more(self, data: bytes) -> pa.Table:
        try:
            table = self._as(self._loose.decode(data), self._model)
        except msgspec.ValidationError as error:
            problem = f"{self._model.__name__}: {error}"
        else:
            for name, values in self._undocumented(self._fields.decode(data)):
                table = table.append_column(name, pa.array(values, pa.string()))
            return table
        raise DecodeError(problem)

    def _as(self, rows: Sequence[S], item: type[S]) -> pa.Table:
        return pa.Table.from_batches([arrow.to_batch(rows, item)])

    def _undocumented(
        self, rows: Sequence[dict[str, Raw]]
    ) -> Iterator[tuple[str, list[str | None]]]:
        """Names as the destination has them, and the JSON of each row's value."""
        taken = {*schema(self._model).names}
        for sent in dict.fromkeys(name for row in rows for name in row):
            if sent in self._documented:
                continue
            name = self._normalized(sent) if sent.strip() else "wire"
            while name in taken:
                name = f"wire_{name}"
            taken.add(name)
            yield name, [_text(row.get(sent)) for row in rows]


def _without_nul(table: pa.Table) -> pa.Table:
    """*table* with the character that PostgreSQL does not hold replaced, as is done elsewhere."""
    for place, field in enumerate(table.schema):
        if field.type == pa.string():
            column = pc.replace_substring(table[field.name], "\0", "\ufffd")
            table = table.set_column(place, field, column)
    return table


def _text(value: Raw | None) -> str | None:
    text = None if value is None else bytes(value).decode()
    return None if text == "null" else text


class _Store:
    """What the destination holds of one list. To be made where dlt extracts."""

    def __init__(self, table: Name, key: str, columns: pa.Schema) -> None:
        self.key = key
        self.schema = dlt.current.source_schema()
        self._table = table
        self._pipeline = dlt.current.pipeline()
        self._columns = columns

    def own(self, rows: pa.Table, account: str) -> pa.Table:
        """*rows* with the columns that the server does not send."""
        accounts = pa.repeat(pa.scalar(account), rows.num_rows)
        rows = rows.add_column(0, self._columns.field("account"), accounts)
        return rows.append_column("gone_at", pa.nulls(rows.num_rows, arrow.INSTANT))

    def known(
        self, account: str, ids: Sequence[int] | None = None
    ) -> Iterator[tuple[int, tuple[int | None, bool]]]:
        """Of each row, or of those with *ids*: its id, its update time and whether it is gone."""
        some = "" if ids is None else f" AND {self.key} IN ({','.join(map(str, ids))})"
        sql = f"SELECT {self.key}, update_time, gone_at FROM {{table}} WHERE account = %s{some}"
        for number, time, gone in self._query(sql, account):
            since = None if time is None else (time - EPOCH) // MICROSECOND
            yield number, (since, gone is not None)

    def rows(self, account: str, ids: Sequence[int]) -> pa.Table:
        """The rows with *ids*, as the destination has them, but marked as gone now."""
        known = self.schema.get_table_columns(self._table).keys() - {*self._columns.names}
        more = [pa.field(name, pa.string()) for name in self._there() if name in known]
        columns = pa.schema([*self._columns, *more])
        names = ", ".join(f'"{name}"' for name in columns.names if name != "gone_at")
        now = datetime.now(UTC)
        found: list[dict[str, object]] = []
        for start in range(0, len(ids), FEW):
            some = ",".join(map(str, ids[start : start + FEW]))
            sql = f"SELECT {names} FROM {{table}} WHERE account = %s AND {self.key} IN ({some})"
            for row in self._query(sql, account):
                values = iter(row)
                found.append(
                    {name: now if name == "gone_at" else next(values) for name in columns.names}
                )
        return pa.Table.from_pylist(found, columns)

    def refuse_another_shape(self) -> None:
        """Raises ConfigError for a table of this name that is not one of these."""
        there = self._there()
        if not there:
            return
        for field in self._columns:
            kind = there.get(field.name)
            if kind is None and field.name in ("account", self.key, "gone_at"):
                problem = f"it has no column {field.name}"
            elif kind is not None and kind not in COLUMN_TYPES[field.type]:
                problem = f"its column {field.name} is {kind}"
            else:
                continue
            raise ConfigError(
                f"the table {self._pipeline.dataset_name}.{self._table} is of another shape: "
                f"{problem}; use another dataset, or move the table away"
            )

    def _there(self) -> dict[str, str]:
        """The columns that the table has by now, and their types."""
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = {dataset} AND table_name = %s"
        )
        return {name: kind.lower() for name, kind in self._query(sql, self._table)}

    def _query(self, sql: str, *values: object) -> list[Sequence[Any]]:
        """The rows that *sql* selects from the table; none if there is no such table yet."""
        with self._pipeline.sql_client() as client:
            sql = sql.replace("{table}", client.make_qualified_table_name(self._table))
            sql = sql.replace("{dataset}", f"'{client.dataset_name}'")
            try:
                return list(client.execute_sql(sql, *values) or [])
            except DatabaseUndefinedRelation:
                return []


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default")


class _Together:
    """Some runs at once, *at_once* at work, and no more pieces than that waiting."""

    def __init__(self, runs: Sequence[_Run[Any]], at_once: int) -> None:
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


Found: TypeAlias = tuple[_Run[Any], pa.Table | None]
