"""One list as a dlt resource: its accounts crawled concurrently, in a thread of their own.

dlt takes tables from a synchronous generator; the crawls run in an event loop in another thread,
behind anyio's blocking portal. What is done for one account is ``_run``'s.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import dlt
import pyarrow as pa
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from dlt.extract import DltResource

from .. import AccountsFailed, Client, ConfigError, DpError
from ..tables import List, Outcome, Plan, schema, warn
from ._run import Run, State, mark_of
from ._store import Store

#: How columns are named, kept in the state of each account: by ``tables.column_name``.
COLUMN_RULE = 2

#: A run and its next piece, or None at the end of the run.
Found: TypeAlias = tuple[Run, pa.Table | None]


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


@dataclass(frozen=True, slots=True)
class Load:
    """The list *of* by *plan*; without *on_outcome*, an error ends the run, and nothing is loaded.

    *shared*: the client of the run.
    """

    of: List[Any]
    plan: Plan
    on_outcome: Callable[[Outcome], object] | None
    shared: SharedClient


def resource(load: Load) -> DltResource:
    """A list as a resource that merges its rows on account and id."""
    of = load.of

    def tables() -> Iterator[pa.Table]:  # dlt wants a plain generator function
        yield from _tables(load)

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


def _tables(load: Load) -> Iterator[pa.Table]:
    """The tables for dlt to load, of all accounts. Runs in dlt's thread."""
    of = load.of
    with Store(of.name, of.key, schema(of.model)) as store:
        yield from _loaded(load, store)


def _loaded(load: Load, store: Store) -> Iterator[pa.Table]:
    of, plan = load.of, load.plan
    kept = dlt.current.resource_state()
    marks: dict[str, str] = kept.setdefault("watermarks", {})
    rules: dict[str, int] = kept.setdefault("column_names", {})
    store.check_shape()
    state = State(marks, kept.setdefault("newest", {}))
    store.make_again()
    lost = _lost(load, state, store)
    lost += [account for account in _outdated(load, marks) if account not in lost]
    for account in lost:  # dlt keeps the state with the rows: if they are not loaded, nor is this
        del marks[account]
    if not store.undocumented():
        rules.update(dict.fromkeys(marks, COLUMN_RULE))
    elif not plan.full:
        _check_names(load, marks.keys() - rules.keys())
    errors: dict[str, DpError] = {}
    with load.shared as (portal, client):
        views = {account: client.for_account(account or None) for account in plan.accounts}
        if not plan.full:
            for account, view in views.items():  # checks all watermarks before any request
                of.since(view, mark_of(account, marks), plan.allowed_lateness)
        runs = [
            Run(of, view, account, plan, state, store, load.on_outcome, reloaded=account in lost)
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
                if run.reading.error is None:
                    rules[run.account] = COLUMN_RULE
                else:
                    errors[run.account] = run.reading.error
    if errors and load.on_outcome is None:
        raise next(iter(errors.values())) if len(views) == 1 else AccountsFailed(errors)


def _lost(load: Load, state: State, store: Store) -> list[str]:
    """The accounts to load again: the destination lacks the newest row that was loaded."""
    both = state.marks.keys() & state.newest.keys()
    rows = {name: state.newest[name] for name in load.plan.accounts if name in both}
    lost = store.lacking(rows)
    if lost:
        warn(
            "the destination does not hold the %s that were loaded into it: all are loaded again, "
            "of %d of %d accounts",
            load.of.name,
            len(lost),
            len(load.plan.accounts),
        )
    return lost


def _outdated(load: Load, marks: Mapping[str, str]) -> list[str]:
    """The accounts to load again: their watermarks are of another version, or damaged."""
    found: list[str] = []
    for account in load.plan.accounts:
        try:
            mark_of(account, marks)
        except ConfigError as error:
            found.append(account)
            problem = str(error).partition(";")[0]
            warn("all %s of one account are loaded again: %s", load.of.name, problem)
    return found


def _check_names(load: Load, other: Set[str]) -> None:
    """Raise ConfigError if an account to be loaded is in *other*: its columns have other names."""
    if other & {*load.plan.accounts}:
        raise ConfigError(
            f"the columns of undocumented fields in the table {load.of.name} were named by an "
            "earlier version, which could mix up two fields: load all rows again, with --full "
            "(full=True)"
        )


class Workers:
    """*at_once* tasks that crawl the runs; a bounded queue of pieces holds them back."""

    def __init__(self, runs: Sequence[Run], at_once: int) -> None:
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
