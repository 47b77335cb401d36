"""One round: some accounts crawled concurrently, their rows committed, then their watermarks.

Whatever moment it is killed at, a watermark that is kept says less than what is committed, so the
next sync reads the rest again and merges it into itself.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
import pyarrow as pa
from anyio.to_thread import run_sync

from .. import Client
from ..tables import List, Outcome, Plan, warn
from ._comparison import Stored, accounts_of, all_rows, read_rows
from ._marks import Mark, Marks
from ._run import Run
from ._spool import Spool
from ._table import Table

#: Rows in a round, unless one account has more.
ROWS = 500_000
#: Rows that wait for their commit in a file. The more there are, the better the windows of their
#: merges: where a list is not in the order of its ids, each part of it has ids from everywhere.
WAITING = 2_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """What the tables hold as a round begins.

    *marks*: of the accounts. *reloaded*: those whose rows are all loaded again. *commits*: how many
    commits of rows of the app the table has.
    """

    marks: Mapping[str, Mark]
    reloaded: frozenset[str]
    stored: Stored
    commits: int


@dataclass(frozen=True, slots=True)
class Destination:
    """The tables of one list."""

    table: Table
    marks: Marks


class Round:
    """Loads the first of the accounts that wait, and enough of them to fill a commit."""

    def __init__(
        self, of: List[Any], client: Client, plan: Plan, to: Destination, start: Start, spool: Spool
    ) -> None:
        self._of = of
        self._client = client
        self._app_id = client.settings.app_id
        self._plan = plan
        self._to = to
        self._start = start
        self._spool = spool
        self._commits = start.commits
        self._rows = 0
        self._runs: list[Run] = []
        self._lock = anyio.Lock()  # of the spool

    async def load(self, waiting: deque[str]) -> list[Outcome]:
        """The outcomes of the accounts loaded, which are taken from *waiting*.

        Raises Overtaken if another sync of the app commits rows meanwhile, and LoadFailed.
        """
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(self._plan.at_once, len(waiting))):
                    group.start_soon(self._work, waiting)
        except BaseExceptionGroup as errors:
            first: BaseException = errors
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None
        return await run_sync(self._end)

    async def _work(self, waiting: deque[str]) -> None:
        while waiting and self._rows < ROWS:
            account = waiting.popleft()
            run = Run(
                self._of,
                self._client.for_account(account or None),
                account,
                self._start.marks.get(account, Mark()),
                self._plan,
                reloaded=account in self._start.reloaded,
            )
            self._runs.append(run)
            async with aclosing(run.crawl()) as pieces:
                async for piece in pieces:
                    async with self._lock:
                        await run_sync(self._keep, piece)

    def _keep(self, piece: pa.Table) -> None:
        """Keep rows for the next commit, and commit them if they are enough."""
        self._spool.add(piece)
        self._rows += piece.num_rows
        if self._spool.rows >= WAITING:
            self._commit()

    def _commit(self) -> None:
        table = self._to.table
        for window in table.windows(self._app_id, self._spool):
            table.merge(self._app_id, self._spool, self._commits, window)
            self._commits += 1
        self._spool.clear()

    def _end(self) -> list[Outcome]:
        """Compare, mark what is gone, and commit the rows and then the watermarks."""
        read = all_rows(run.read for run in self._runs)
        stored, different = self._start.stored.changes(read)
        counts = Counter(accounts_of(read))
        gone = self._gone(read) if self._plan.reconcile else Counter[str]()
        if self._spool.rows:
            self._commit()
        marks = {run.account: run.mark for run in self._runs}
        changed = {
            account: mark
            for account, mark in marks.items()
            if mark != self._start.marks.get(account, Mark())
        }
        if changed:
            self._to.marks.write(self._app_id, self._of.name, changed)
        return [
            Outcome(
                resource=self._of.name,
                app_id=self._app_id,
                account=run.account,
                new=counts[run.account] - stored[run.account],
                updated=different[run.account],
                gone=gone[run.account],
                report=run.reading.report,
                bad_items=run.reading.bad_items,
                reloaded=run.reloaded,
                error=run.reading.error,
            )
            for run in self._runs
        ]

    def _gone(self, read: pa.Table) -> Counter[str]:
        """Keep the rows that are gone, marked, for the commit: how many of each account."""
        proven = [run for run in self._runs if self._is_proven(run)]
        bad = [
            read_rows(
                run.account, [(one.id, None) for one in run.reading.bad_items if one.id is not None]
            )
            for run in proven
        ]
        found = all_rows([read, *bad])
        gone = Counter[str]()
        now = time.time_ns() // 1000
        for rows in self._start.stored.missing(found, [run.account for run in proven]):
            gone.update(accounts_of(rows))
            place = rows.schema.get_field_index("gone_at")
            field = rows.schema.field(place)
            self._keep(
                rows.set_column(place, field, pa.repeat(pa.scalar(now, field.type), rows.num_rows))
            )
        return gone

    def _is_proven(self, run: Run) -> bool:
        if run.reading.error is not None:
            return False
        if not run.reading.report.complete:  # as where a bad row has no id
            warn("no row of the %s is marked as gone: %s", self._of.name, run.reading.report.reason)
            return False
        return True
