"""One list of one account: its rows, compared with the destination, its outcome, its watermark.

Knows no other account and no thread.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .. import Client, Watermark
from ..tables import List, ListName, Outcome, Plan, Reading, warn
from ._comparison import Comparison
from ._store import Store

#: Rows whose proof takes so much memory that the database should have it next.
MANY = 100_000


@dataclass(frozen=True, slots=True)
class State:
    """What dlt keeps of a list, with the rows that are loaded; of each account:

    - *marks*: the watermark, as JSON.
    - *newest*: the newest row of the last load, its id and update time (µs since 1970).
    """

    marks: dict[str, str]
    newest: dict[str, list[int | None]]


def mark_of(account: str, marks: Mapping[str, str]) -> Watermark | None:
    """The watermark of *account*, or None before its first run."""
    return Watermark.from_json(marks[account]) if account in marks else None


class Run:
    """One list of one account: ``crawl`` in the thread of the crawls, the rest in dlt's.

    ``took`` is called with each piece, then ``end``. *on_outcome*: None counts no rows.
    """

    def __init__(
        self,
        of: List[Any],
        client: Client,
        account: str,
        plan: Plan,
        state: State,
        store: Store,
        on_outcome: Callable[[Outcome], object] | None,
        *,
        reloaded: bool,
    ) -> None:
        self.account = account
        self._name: ListName = of.name
        self._app_id = client.settings.app_id
        self._state = state
        self._store = store
        self._on_outcome = on_outcome
        self._reconcile = plan.reconcile
        self._reloaded = reloaded
        mark = None if plan.full else mark_of(account, state.marks)
        self.reading: Reading[Any] = Reading(of, client, account, plan, mark)
        self._latest: list[int | None] | None = None  # the newest row read: id and update time
        self._comparison: Comparison | None = None
        if store.is_there and (on_outcome is not None or plan.reconcile):
            self._comparison = Comparison(store, account)
        self._read = 0

    def crawl(self) -> AsyncGenerator[pa.Table, None]:
        """The rows in pieces."""
        return self.reading.pieces(self._own)

    def _own(self, rows: pa.Table) -> pa.Table:
        return self._store.with_own_columns(rows, self.account)

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
        reading, gone = self.reading, 0
        new, updated = self._read, 0
        if self._on_outcome is not None and self._comparison is not None:
            new, updated = self._comparison.changes()
        if self._reconcile and reading.error is None:
            for piece in self._gone():
                gone += piece.num_rows
                yield piece
        if self._latest is not None:  # also after an error: the rows before it are loaded
            self._state.newest[self.account] = self._latest
        if reading.watermark is not None:
            self._state.marks[self.account] = reading.watermark.to_json()
        if self._on_outcome is not None:
            self._on_outcome(
                Outcome(
                    resource=self._name,
                    app_id=self._app_id,
                    account=self.account,
                    new=new,
                    updated=updated,
                    gone=gone,
                    report=reading.report,
                    bad_items=reading.bad_items,
                    reloaded=self._reloaded,
                    error=reading.error,
                )
            )

    def _gone(self) -> Iterator[pa.Table]:
        """The rows that the destination holds and the list does not, marked."""
        report, bad = self.reading.report, self.reading.bad_items
        if not report.complete:  # as where a bad row has no id
            warn("no row of the %s is marked as gone: %s", self._name, report.reason)
        elif self._comparison is not None:
            yield from self._comparison.gone(one.id for one in bad if one.id is not None)


def _age(row: tuple[int, int | None]) -> tuple[bool, int, int]:
    number, time = row
    return time is not None, time or 0, number
