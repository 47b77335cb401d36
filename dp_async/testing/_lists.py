"""One list on the server: writes to it, what its servers show, and a history to compare with.

No HTTP, no pages, no asyncio. The clock and the seed come from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from dp_async import ConfigError

from ._arguments import called, instance, number, whole
from ._database import Database, Stamps
from ._history import Change, History, Mark
from ._pending import PendingWrites
from ._replica import Server
from ._rows import (
    Endpoint,
    Kind,
    Row,
    documented,
    fraction,
    kind_named,
    made_up,
    second_of,
    text_of,
)
from ._table import Table, Version


class SimulatedList:
    """The rows of one list, with the server's order and its rules for writes.

    Order: the list's time (``updateTime`` of works, ``createTime`` of messages) descending, ids
    ascending within one time; *ascending* reverses the times, not the ids (assumed). The first
    rows are the documented ones, the rest are made up and older. Columns have their names and
    values as on the wire.

    - *endpoint*: ``"work_list"`` or ``"msg_list"``; *count*: rows to begin with.
    - *clock*: seconds since the epoch; a write stamps it, cut to whole seconds.
    - *lateness*: a write becomes visible up to this many seconds after the second it stamps.
    - *database*: what else is unpleasant about the server; see there.

    ``between``, if set, is called between the two queries of a page, for the content and for the
    count. Write to the list there, and the page's totals disagree with its content.

    Filters: ``status`` and ``name`` (works), ``readStatus`` (messages); None and "" filter nothing.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        count: int,
        *,
        clock: Callable[[], float] = time.time,
        lateness: float = 0.0,
        database: Database | None = None,
        seed: int = 0,
    ) -> None:
        whole("count", count, 0)
        number("lateness", lateness, 0)
        called("clock", clock)
        instance("database", database or Database(), Database)
        self.kind: Kind = kind_named(endpoint)
        self.between: Callable[[], object] | None = None
        self._database = database or Database()
        self._clock = clock
        self._lateness = lateness
        self._random = Random(seed)
        self._stamps = Stamps(self._database, clock, Random(f"{seed} stamps"))
        self._pending = PendingWrites[Version]()
        self._history = History()
        self._servers = [
            Server(lag, Table(self.kind, self._database, Random(f"{seed} ties {number}")))
            for number, lag in enumerate((0.0, *self._database.replicas))
        ]
        self._primary = self._servers[0].table
        self._next = self._fill(count)

    def _fill(self, count: int) -> int:
        """Makes the rows to begin with, and returns the next id."""
        rows = documented(self.kind)
        ids = [self._id(row) for row in rows]
        seconds = [second_of(row[self.kind.time]) for row in rows]
        written = {
            key: Version(row, self._database.hidden(second, 0.5))
            for key, row, second in zip(ids[:count], rows, seconds, strict=False)
        }
        older = made_up(self.kind, max(0, count - len(rows)), before=min(seconds), above=max(ids))
        times = [(key, self._database.hidden(second, fraction(key))) for second, key in older]
        for server in self._servers:
            server.table.fill(written, times)
        return max(ids) + len(times) + 1

    def _id(self, row: Row) -> int:
        key = row[self.kind.key]
        assert isinstance(key, int)
        return key

    # What readers see

    def __len__(self) -> int:
        """How many rows are visible now."""
        self._apply_due()
        return len(self._primary)

    def __contains__(self, key: object) -> bool:
        self._apply_due()
        return key in self._primary

    def row(self, key: int) -> Row:
        """A copy of the visible row with this id. Raises KeyError."""
        self._apply_due()
        version = self._primary.version(key)
        if version is None:
            raise self._missing(key)
        return dict(version.row)

    def ids(self, *, ascending: bool = False, **filters: str | None) -> list[int]:
        """The ids under a filter, in the list's order; rows of one time by id."""
        self._apply_due()
        return self._primary.keys(filters, ascending)

    def read(
        self,
        offset: int,
        size: int,
        filters: Mapping[str, str | None],
        *,
        ascending: bool = False,
    ) -> tuple[list[msgspec.Raw], int]:
        """*size* encoded rows from *offset*, and the count: two queries, as on the server.

        If the rows end within the page, they give the count, and there is no second query; where
        the count comes first, there are always two.
        """
        self._apply_due()
        server = self._servers[0]
        self._servers.append(self._servers.pop(0))  # they answer in turns
        table = server.table
        if self._database.counted == "before":
            total = table.count(filters, ascending)
            self._pause()
            return table.page(offset, size, filters, ascending), total
        content = table.page(offset, size, filters, ascending)
        self._pause()
        if len(content) < size and (content or offset == 0):
            return content, offset + len(content)
        return content, table.count(filters, ascending)

    def _pause(self) -> None:
        if self.between is not None:
            self.between()
            self._apply_due()

    # Writes

    def insert(self, **fields: object) -> int:
        """Adds a row, stamped now, with *fields* over made-up ones, and returns its id.

        Raises ConfigError if *fields* hold the id of a row that exists.
        """
        key = fields.get(self.kind.key, self._next)
        if not isinstance(key, int) or self._known(key) is not None:
            raise ConfigError(f"{self.kind.key} must be a new id, not {key!r}")
        self._insert([key], fields)
        return key

    def insert_many(self, count: int, **fields: object) -> list[int]:
        """Adds rows in one transaction: one time, visible at once. Returns their ids."""
        whole("count", count, 0)
        keys = list(range(self._next, self._next + count))
        self._insert(keys, fields)
        return keys

    def _insert(self, keys: list[int], fields: Row) -> None:
        time = self._database.stored(self._stamps.next())
        second = self._database.shown(time)
        stamp: Row = {"createTime": text_of(second), "updateTime": text_of(second)}
        rows = {key: self.kind.make(key, second) | stamp | fields for key in keys}
        self._next = max([self._next, *(key + 1 for key in keys)])
        self._write({key: self._version(row, stamp, time, None) for key, row in rows.items()})

    def update(self, key: int, **fields: object) -> None:
        """Changes a row and stamps its ``updateTime``. Raises KeyError.

        A work moves to the head of its list; a message keeps its place.
        """
        share = self._database.unstamped
        self._update(key, fields, stamped=not share or self._random.random() >= share)

    def update_unstamped(self, key: int, **fields: object) -> None:
        """Changes a row and not its ``updateTime``, as an update by query. Raises KeyError."""
        self._update(key, fields, stamped=False)

    def _update(self, key: int, fields: Row, *, stamped: bool) -> None:
        before = self._known(key)
        if before is None:
            raise self._missing(key)
        time = self._database.stored(self._stamps.next())
        stamp: Row = {"updateTime": text_of(self._database.shown(time))} if stamped else {}
        row = before.row | stamp | fields
        self._write({key: self._version(row, stamp, time, before)})

    def delete(self, key: int) -> None:
        """Deletes a row. Raises KeyError."""
        if self._known(key) is None:
            raise self._missing(key)
        self._write({key: None})

    def move_clock(self, seconds: float) -> None:
        """Moves the clocks that stamp writes, forward or back; rows become visible as before."""
        self._stamps.move(seconds)

    def any_id(self, random: Random) -> int | None:
        """The id of a random visible row; None if there is none, or its deletion is pending."""
        self._apply_due()
        key = self._primary.any_key(random)
        return None if key is None or self._known(key) is None else key

    def _missing(self, key: object) -> KeyError:
        return KeyError(f"{self.kind.endpoint} has no row {key!r}")

    def _version(self, row: Row, stamp: Row, time: int, before: Version | None) -> Version:
        """The row with the time that orders it: that of its stamp, of before, or of its text."""
        text = row[self.kind.time]
        if stamp.get(self.kind.time) == text:
            return Version(row, time)
        if before is not None and before.row[self.kind.time] == text:
            return Version(row, before.time)
        return Version(row, self._database.hidden(second_of(text), 0.5))

    def _known(self, key: int) -> Version | None:
        """The row as writers see it, with the writes that are still pending."""
        self._apply_due()
        return self._pending.newest(key) if key in self._pending else self._primary.version(key)

    def _write(self, versions: Mapping[int, Version | None]) -> None:
        """Makes one transaction of writes visible, now or when it is due."""
        now = self._clock()
        if self._lateness:
            # From the second that the row carries, which is all that a reader can compare with. A
            # write that is due already becomes visible before anything is read.
            due = int(now) + self._random.random() * self._lateness
        else:
            due = now + self._database.delay(self._random)
        for key, version in versions.items():
            if self._lateness or self._database.commits:
                self._pending.add(due, key, version)
            else:
                self._apply(now, key, version)

    def _apply_due(self) -> None:
        """Makes the pending writes that are due visible."""
        now = self._clock()
        for write in self._pending.pop_due(now):
            self._apply(write.due, write.key, write.value)
        for server in self._servers:
            server.catch_up(now)

    def _apply(self, moment: float, key: int, version: Version | None) -> None:
        before = self._primary.put(key, version)
        self._history.add(Change(moment, key, before, None if version is None else version.row))
        for server in self._servers:
            if server.table is not self._primary:
                server.replicate(moment, key, version)

    # What a complete crawl must have seen

    def mark(self) -> Mark:
        """This moment, for ``present_since``. The first mark starts the history."""
        self._apply_due()
        return self._history.mark()

    def changes_since(self, mark: Mark) -> list[Change]:
        """The writes that became visible on the primary since *mark*, in their order."""
        self._apply_due()
        return self._history.since(mark)

    def present_since(self, mark: Mark, **filters: str | None) -> set[int]:
        """Ids of the rows that were visible under the filter all the time from *mark* until now.

        A complete crawl between the two must have seen them, updated or not. A row that left the
        filter for a moment, or was deleted and inserted again, is not one of them.
        """
        self._apply_due()
        now = set(self._primary.keys(filters, ascending=False))
        return self._history.present(mark, now, self._primary.matcher(filters))
