"""One list as a dlt resource: its accounts crawled concurrently, in a thread of their own.

dlt takes tables from a synchronous generator; the crawls run in an event loop in another thread,
behind anyio's blocking portal. What is done for one account is ``_run``'s.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, aclosing
from typing import Any, TypeAlias, TypeVar

import anyio
import dlt
import pyarrow as pa
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from dlt.extract import DltResource
from msgspec import Struct

from .. import AccountsFailed, Client, ConfigError, DpError
from ..tables import schema, warn
from ._run import List, Marks, Newest, Run, mark_of
from ._store import Store

S = TypeVar("S", bound=Struct)

#: How columns are named, kept in the state of each account: by ``tables.column_name``.
COLUMN_RULE = 2

#: A run and its next piece, or None at the end of the run.
Found: TypeAlias = tuple[Run[Any], pa.Table | None]


class SharedClient:
    """The client of a dlt run, in a thread of its own; the last resource to exit closes both."""

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


def resource(of: List[S], shared: SharedClient) -> DltResource:
    """The list *of* as a resource that merges its rows on account and id."""

    def tables() -> Iterator[pa.Table]:  # dlt wants a plain generator function
        yield from _tables(of, shared)

    return dlt.resource(
        tables,
        name=of.name,
        primary_key=["account", of.key],
        # A crawl yields no id twice, so dlt need not deduplicate before the merge.
        write_disposition={
            "disposition": "merge",
            "strategy": "delete-insert",
            "deduplicated": True,
        },
        file_format="parquet",
    )


def _tables(of: List[S], shared: SharedClient) -> Iterator[pa.Table]:
    """The tables for dlt to load, of all accounts. Runs in dlt's thread."""
    with Store(of.name, of.key, schema(of.model)) as store:
        yield from _loaded(of, shared, store)


def _loaded(of: List[S], shared: SharedClient, store: Store) -> Iterator[pa.Table]:
    plan = of.plan
    state = dlt.current.resource_state()
    marks: Marks = state.setdefault("watermarks", {})
    rules: dict[str, int] = state.setdefault("column_names", {})
    store.check_shape()
    newest: Newest = state.setdefault("newest", {})
    store.make_again()
    lost = _lost(of, marks, newest, store)
    lost += [account for account in _outdated(of, marks) if account not in lost]
    for account in lost:  # dlt keeps the state with the rows: if they are not loaded, nor is this
        del marks[account]
    if not store.undocumented():
        rules.update(dict.fromkeys(marks, COLUMN_RULE))
    elif not plan.full:
        _check_names(of, marks.keys() - rules.keys())
    errors: dict[str, DpError] = {}
    with shared as (portal, client):
        views = {account: client.for_account(account or None) for account in plan.accounts}
        if not plan.full:
            for account, view in views.items():  # checks all watermarks before any request
                of.listing(view).since(
                    mark_of(account, marks), allowed_lateness=plan.allowed_lateness
                )
        runs = [
            Run(of, view, account, marks, newest, store, reloaded=account in lost)
            for account, view in views.items()
        ]
        workers = Workers(runs, plan.at_once)
        with portal.wrap_async_context_manager(workers):
            while (found := portal.call(workers.next)) is not None:
                run, piece = found
                if piece is not None:
                    run.took(piece)
                    yield piece
                    continue
                yield from run.end()
                if run.error is None:
                    rules[run.account] = COLUMN_RULE
                else:
                    errors[run.account] = run.error
    if errors and plan.on_outcome is None:
        raise next(iter(errors.values())) if len(views) == 1 else AccountsFailed(errors)


def _lost(of: List[S], marks: Marks, newest: Newest, store: Store) -> list[str]:
    """The accounts to load again: the destination lacks the newest row that was loaded."""
    rows = {name: newest[name] for name in of.plan.accounts if name in marks and name in newest}
    lost = store.lacking(rows)
    if lost:
        warn(
            "the destination does not hold the %s that were loaded into it: all are loaded again, "
            "of %d of %d accounts",
            of.name,
            len(lost),
            len(of.plan.accounts),
        )
    return lost


def _outdated(of: List[S], marks: Marks) -> list[str]:
    """The accounts to load again: their watermarks are of another version, or damaged."""
    found: list[str] = []
    for account in of.plan.accounts:
        try:
            mark_of(account, marks)
        except ConfigError as error:
            found.append(account)
            problem = str(error).partition(";")[0]
            warn("all %s of one account are loaded again: %s", of.name, problem)
    return found


def _check_names(of: List[S], other: Set[str]) -> None:
    """Raise ConfigError if an account to be loaded is in *other*: its columns have other names."""
    if other & {*of.plan.accounts}:
        raise ConfigError(
            f"the columns of undocumented fields in the table {of.name} were named by an earlier "
            "version, which could mix up two fields: load all rows again, with --full (full=True)"
        )


class Workers:
    """*at_once* tasks that crawl the runs; a bounded queue of pieces holds them back."""

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
        """A run and its next piece, or None at the end of that run; None when all have ended."""
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
