"""One list of many accounts into its table: rounds of crawls, each ended by a commit.

Nothing is open between two rounds. Knows no row.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Generic, TypeVar

import anyio
from anyio.to_thread import run_sync
from deltalake import DeltaTable
from msgspec import Struct

from .. import Client, ConfigError, Watermark
from ..tables import List, Outcome, Plan, warn
from ._comparison import Stored, accounts_of, all_rows, read_rows
from ._marks import Mark, Marks
from ._place import LoadFailed, Place
from ._round import Destination, Round, Start
from ._run import columns_of
from ._spool import Spool
from ._table import Overtaken, Table

S = TypeVar("S", bound=Struct)

#: How often a round is repeated when another sync of the app commits first.
ATTEMPTS = 10
#: Seconds to which the backoff between them grows, doubled each time, with full jitter: else syncs
#: that all commit often would overtake one another for ever.
MAX_BACKOFF = 30.0


def table_of(of: List[S], place: Place) -> Table:
    """The table of the list *of* at *place*."""
    return Table(place, of.name, columns_of(of), ("app_id", "account", of.key))


class Load(Generic[S]):
    """Loads the list *of* into its table at *place*."""

    def __init__(self, of: List[S], client: Client, plan: Plan, place: Place, marks: Marks) -> None:
        self._of = of
        self._client = client
        self._app_id = client.settings.app_id
        self._plan = plan
        self._place = place
        self._to = Destination(table_of(of, place), marks)
        self._found: tuple[Mapping[str, Mark], DeltaTable] | None = None  # until the first round

    async def check(self, found: Mapping[str, Mapping[str, Mark]]) -> None:
        """Make the table; check it, the marks just *found* and the arguments of the crawls.

        Raises ConfigError and LoadFailed.
        """
        marks = found.get(self._of.name, {})
        self._found = marks, await run_sync(self._to.table.make)
        for account in self._plan.accounts:
            text = None if self._plan.full else marks.get(account, Mark()).watermark
            self._of.since(
                self._client.for_account(account or None),
                None if text is None or not _is_valid(text) else Watermark.from_json(text),
                self._plan.allowed_lateness,
            )

    async def rounds(self) -> AsyncGenerator[list[Outcome], None]:
        """The outcomes of some accounts after another, each when its rows are committed."""
        waiting = deque(sorted(self._plan.accounts))  # a round so has files of its own
        while waiting:
            outcomes, waiting = await self._round(waiting)
            yield outcomes

    async def _round(self, waiting: deque[str]) -> tuple[list[Outcome], deque[str]]:
        """Load some of the accounts: their outcomes, and the other accounts."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await anyio.sleep(random.uniform(0, min(MAX_BACKOFF, 0.1 * 2**attempt)))
            left = waiting.copy()
            start = await run_sync(self._start, [*waiting])
            with Spool(columns_of(self._of)) as spool:
                load = Round(self._of, self._client, self._plan, self._to, start, spool).load
                try:
                    return await load(left), left
                except Overtaken:  # what was read may be older than what the other has committed
                    continue
        raise LoadFailed(
            f"the table {self._place.table(self._of.name)}: another sync of this app committed "
            f"{ATTEMPTS} times while its rows were read; run one sync of an app at a time"
        )

    def _start(self, accounts: Sequence[str]) -> Start:
        # The watermarks come first: of what they say is loaded, the table read next has all.
        # Those of the check do for the first round: what another sync commits since is noticed.
        marks, opened = self._found or (self._marks_of(accounts), self._to.table.open())
        self._found = None
        snapshot = self._to.table.snapshot(opened, self._app_id)
        stored = Stored(snapshot, self._of.key)
        lacks_columns = not {*columns_of(self._of).names} <= {*snapshot.columns}
        reloaded = self._reloaded(marks, stored, lacks_columns=lacks_columns)
        return Start(marks, reloaded, stored, self._to.table.commits(opened, self._app_id))

    def _marks_of(self, accounts: Sequence[str]) -> dict[str, Mark]:
        return self._to.marks.read(self._app_id, accounts).get(self._of.name, {})

    def _reloaded(
        self, marks: Mapping[str, Mark], stored: Stored, *, lacks_columns: bool
    ) -> frozenset[str]:
        """The accounts of which all rows are loaded again.

        Their newest row is not in the table, which was emptied or restored from a backup; or their
        watermark is of another version of this library, or damaged.
        """
        old = {
            account
            for account, mark in marks.items()
            if mark.watermark is not None and not _is_valid(mark.watermark)
        }
        newest = [
            read_rows(account, [(mark.newest_id, mark.newest_time)])
            for account, mark in marks.items()
            if mark.newest_id is not None and account not in old
        ]
        rows = all_rows(newest)
        lost = {*accounts_of(rows)}
        if not lacks_columns:
            lost -= stored.there(rows)
        for accounts, problem in (
            (lost, "the table lacks rows that were loaded"),
            (old, "their watermarks are of another version, or damaged"),
        ):
            if accounts:
                text = "all %s of %d accounts are loaded again: %s"
                warn(text, self._of.name, len(accounts), problem)
        return frozenset(lost | old)


def _is_valid(watermark: str) -> bool:
    try:
        Watermark.from_json(watermark)
    except ConfigError:
        return False
    return True
