"""One Delta table: made, checked, read, and merged into. All calls block.

The commits of one app are counted in the table itself, by Delta's transaction identifiers: a writer
merges only what it read after the last commit of that app.
"""
# The types of deltalake and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from .. import ConfigError
from ._place import LoadFailed, Place
from ._snapshot import Snapshot, schema_of, text
from ._spool import Spool
from ._windows import FIRST, LAST, LEAST, ROWS, WHOLE, Extent, Key, Window, extent, windows

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

#: The identifier of the transactions, before the id of the app.
TRANSACTION = "dp_async"
#: How often a merge is repeated, each time upon the table as the other writer left it.
ATTEMPTS = 20
#: How often deltalake tries the next version, where other writers' commits do not conflict.
COMMIT_RETRIES = 100
#: Commits after which Delta's log is summed up. To open a table is to read all commits since: with
#: Delta's own 100 it took 48 ms after 97 small ones, with 10 it takes 9.
CHECKPOINT = "10"
#: Keys that stand for all of those that are merged.
SAMPLE = 5_000


class Overtaken(Exception):  # internal: it never leaves the package
    """Another sync of the same app committed meanwhile: what was read may be older than that."""


class Table:
    """The table *name* at *place*: partitioned by ``app_id``, with one row for each of *keys*."""

    def __init__(self, place: Place, name: str, columns: pa.Schema, keys: Sequence[str]) -> None:
        self._place = place
        self._name = name
        self._keys = keys
        self.columns = columns

    def make(self) -> DeltaTable:
        """Make the table unless it is there, and open it. Raises ConfigError for another thing."""
        address = self._place.table(self._name)
        if self._place.is_local:
            folder = Path(address)
            with self.errors():  # one look at the folder: another sync may be making the table
                names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
                is_file = folder.exists() and not folder.is_dir()
                if is_file or (names and "_delta_log" not in names):
                    raise ConfigError(
                        f"{address} is no Delta table: move it away, or use another folder"
                    )
        options = dict(self._place.options)
        with self.errors():
            if not DeltaTable.is_deltatable(address, options):
                try:
                    DeltaTable.create(
                        address,
                        self.columns,
                        mode="ignore",
                        partition_by=["app_id"],
                        configuration={"delta.checkpointInterval": CHECKPOINT},
                        storage_options=options,
                    )
                except CommitFailedError:  # another sync may have made it meanwhile
                    if not DeltaTable.is_deltatable(address, options):
                        raise
        return self.open()

    def open(self) -> DeltaTable:
        """The table in its newest version. Raises ConfigError if it has another shape."""
        with self.errors():
            table = DeltaTable(
                self._place.table(self._name), storage_options=dict(self._place.options)
            )
            problem = next(self._misfits(table), None)
        if problem is not None:
            raise ConfigError(
                f"the table {self._place.table(self._name)} has another shape: {problem}; "
                "use another folder, or move the table away"
            )
        return table

    def _misfits(self, table: DeltaTable) -> Iterator[str]:
        if table.metadata().partition_columns != ["app_id"]:
            yield "it is not partitioned by app_id"
        there = schema_of(table)
        for field in self.columns:
            place = there.get_field_index(field.name)
            if place < 0 and field.name in (*self._keys, "gone_at"):
                yield f"it has no column {field.name}"
            elif place >= 0 and there.field(place).type != field.type:
                yield f"its column {field.name} is {there.field(place).type}"

    def errors(self) -> AbstractContextManager[None]:
        """Turns an error of deltalake or pyarrow in the block into a LoadFailed."""
        return self._place.errors(self._name)

    def commits(self, table: DeltaTable, app_id: str) -> int:
        """How many commits of rows of the app *table* holds."""
        with self.errors():
            return table.transaction_version(f"{TRANSACTION} {app_id}") or 0

    def snapshot(self, table: DeltaTable, app_id: str) -> Snapshot:
        """The rows of an app in this version of *table*."""
        return Snapshot(self._place, self._name, table, app_id)

    def windows(self, app_id: str, spool: Spool) -> list[Window]:
        """The windows in which the rows of *spool* are merged; each has some of them."""
        key = self._keys[-1]
        coming = spool.select(["account", key])
        found = windows(self._extents(app_id), *_sample(coming, key))
        return [one for one in found if _within(one, coming, key).num_rows]

    def _extents(self, app_id: str) -> Iterator[Extent]:
        """The extents of the files of an app. A file without statistics may have any key."""
        key = self._keys[-1]
        wanted = ["num_records", "min.account", "max.account", f"min.{key}", f"max.{key}"]
        table = self.open()
        with self.errors():
            files = pa.table(cast("Any", table.get_add_actions(flatten=True)))
        app: Any = app_id
        here = files.filter(pc.equal(files["partition.app_id"], app))
        found: list[dict[str, Any]] = here.select(
            [name for name in wanted if name in here.schema.names]
        ).to_pylist()
        for file in found:
            known: list[Any] = [file.get(name) for name in wanted]
            rows, *ends = known
            if rows is None or None in ends:
                yield Extent(FIRST, LAST, ROWS)
            else:
                yield extent((ends[0], ends[1]), (ends[2], ends[3]), rows)

    def merge(
        self, app_id: str, spool: Spool, commits: int | None = None, window: Window = WHOLE
    ) -> None:
        """Insert the rows of *spool*, or replace those with the same keys, in one commit.

        *window*: which of the rows. *commits*: how many there were when the rows were read, to be
        counted on; raises Overtaken if there are others by now. None: not counted. Raises
        LoadFailed.
        """
        counted: list[Transaction] = []
        if commits is not None:
            counted = [Transaction(f"{TRANSACTION} {app_id}", commits + 1)]
        for _ in range(ATTEMPTS):
            table = self.open()
            if commits is not None and self.commits(table, app_id) != commits:
                raise Overtaken
            with self.errors():
                try:
                    self._merged(table, app_id, spool, counted, window)
                except CommitFailedError:  # deltalake does not merge again by itself
                    continue
                return
        raise LoadFailed(
            f"the table {self._place.table(self._name)}: other writers changed the rows of this "
            f"app {ATTEMPTS} times while they were merged; what is not loaded comes next time"
        )

    def _merged(
        self,
        table: DeltaTable,
        app_id: str,
        spool: Spool,
        counted: list[Transaction],
        window: Window,
    ) -> None:
        # A column that the server no longer sends becomes null, so all columns are given.
        columns = pa.unify_schemas([self.columns, schema_of(table), spool.columns])
        same = [f"t.{key} = s.{key}" for key in self._keys if key != "app_id"]
        key = self._keys[-1]
        if window != WHOLE:
            same.append(window.condition("t.account", f"t.{key}", text))
        merger = table.merge(
            spool.reader(columns, lambda rows: _within(window, rows, key)),
            f"t.app_id = {text(app_id)} AND {' AND '.join(same)}",
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            commit_properties=CommitProperties(
                max_commit_retries=COMMIT_RETRIES, app_transactions=counted
            ),
        )
        merger.when_matched_update_all().when_not_matched_insert_all().execute()


def _sample(coming: pa.Table, key: str) -> tuple[list[Key], int]:
    """Some of the keys, in order, and how many rows each stands for."""
    step = coming.num_rows // SAMPLE + 1
    keys = coming.sort_by([("account", "ascending"), (key, "ascending")])
    some = keys.take(pa.array(range(0, keys.num_rows, step)))
    found: Any = zip(some["account"].to_pylist(), some[key].to_pylist(), strict=True)
    return [*found], step


def _within(window: Window, rows: Rows, key: str) -> Rows:
    """Those of *rows* in *window*."""
    if window.first != FIRST:
        rows = rows.filter(_beyond(rows, key, window.first))
    if window.end is not None:
        rows = rows.filter(pc.invert(_beyond(rows, key, window.end)))
    return rows


def _beyond(rows: Rows, key: str, first: Key) -> Any:
    """Whether each of *rows* has the key *first*, or a later one."""
    accounts: Any = rows["account"]
    ids: Any = rows[key]
    account: Any = first[0]
    number: Any = first[1]
    if number == LEAST:
        return pc.greater_equal(accounts, account)
    later: Any = pc.and_(pc.equal(accounts, account), pc.greater_equal(ids, number))
    return pc.or_(pc.greater(accounts, account), later)
