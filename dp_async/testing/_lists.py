"""One list on the server: its rows in order, writes to it, and a history to compare crawls with.

No HTTP, no pages, no asyncio. The clock and the seed come from outside.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import msgspec

from dp_async import ConfigError

from ._arguments import number, whole
from ._pending import PendingWrites
from ._rows import Endpoint, Kind, Row, documented, kind_named, made_up, second_of, text_of

#: Views kept at once; each costs memory, and time with every write.
MAX_VIEWS = 16


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a list's history, from ``SimulatedList.mark``. Opaque."""

    at: int


@dataclass(frozen=True, slots=True)
class _View:
    """The keys of the rows under one filter, sorted in one direction; each write updates it."""

    filters: Mapping[str, str]
    matches: Callable[[Row], bool]
    sign: int
    keys: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def add(self, second: int, key: int) -> None:
        insort(self.keys, (self.sign * second, key))

    def drop(self, second: int, key: int) -> None:
        del self.keys[bisect_left(self.keys, (self.sign * second, key))]


class SimulatedList:
    """The rows of one list, with the server's order and its rules for writes.

    Order: the list's time (``updateTime`` of works, ``createTime`` of messages) descending, ids
    ascending within one second; *ascending* reverses the times, not the ids (assumed). The first
    rows are the documented ones, the rest are made up and older. Columns have their names and
    values as on the wire.

    - *endpoint*: ``"work_list"`` or ``"msg_list"``; *count*: rows to begin with.
    - *clock*: seconds since the epoch; a write stamps it, cut to whole seconds.
    - *lateness*: a write becomes visible up to this many seconds after the second it stamps.

    ``between``, if set, is called between the two queries of a page, for the content and then for
    the count. Write to the list there, and the page's totals disagree with its content.

    Filters: ``status`` and ``name`` (works), ``readStatus`` (messages); None and "" filter nothing.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        count: int,
        *,
        clock: Callable[[], float] = time.time,
        lateness: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.kind: Kind = kind_named(endpoint)
        whole("count", count, 0)
        number("lateness", lateness, 0)
        self.lateness = lateness
        self.between: Callable[[], object] | None = None
        self._random = Random(seed)
        self._clock = clock
        self._written: dict[int, Row] = {}  # other rows are made from id and second
        self._encoded: dict[int, msgspec.Raw] = {}
        self._pending = PendingWrites()
        self._history: list[tuple[int, Row | None]] | None = None  # id, the row before the write
        self._views: dict[tuple[bool, tuple[tuple[str, str], ...]], _View] = {}
        self._second: dict[int, int] = {}
        self._fill(count)

    def _fill(self, count: int) -> None:
        rows = documented(self.kind)
        for row in rows[:count]:
            key = self._id(row)
            self._written[key] = row
            self._second[key] = second_of(row[self.kind.time])
        oldest = min(second_of(row[self.kind.time]) for row in rows)
        highest = max(map(self._id, rows))
        older = made_up(self.kind, max(0, count - len(rows)), before=oldest, above=highest)
        self._second.update((key, second) for second, key in older)
        self._next = highest + len(older) + 1

    def _id(self, row: Row) -> int:
        key = row[self.kind.key]
        assert isinstance(key, int)
        return key

    # What readers see

    def __len__(self) -> int:
        """How many rows are visible now."""
        self._apply_due()
        return len(self._second)

    def __contains__(self, key: object) -> bool:
        self._apply_due()
        return key in self._second

    def row(self, key: int) -> Row:
        """A copy of the visible row with this id. Raises KeyError."""
        self._apply_due()
        return dict(self._row(key))

    def ids(self, *, ascending: bool = False, **filters: str | None) -> list[int]:
        """The ids under a filter, in the list's order."""
        self._apply_due()
        return [key for _, key in self._view(filters, ascending).keys]

    def read(
        self,
        offset: int,
        size: int,
        filters: Mapping[str, str | None],
        *,
        ascending: bool = False,
    ) -> tuple[list[msgspec.Raw], int]:
        """*size* encoded rows from *offset*, and the count: two queries, as on the server.

        If the rows end within the page, they give the count, and there is no second query.
        """
        self._apply_due()
        view = self._view(filters, ascending)
        content = [self._encode(key) for _, key in view.keys[offset : offset + size]]
        if self.between is not None:
            self.between()
            self._apply_due()
        if len(content) < size and (content or offset == 0):
            return content, offset + len(content)
        return content, len(self._view(filters, ascending).keys)

    def _row(self, key: int) -> Row:
        written = self._written.get(key)
        return written if written is not None else self.kind.make(key, self._second[key])

    def _encode(self, key: int) -> msgspec.Raw:
        raw = self._encoded.get(key)
        if raw is None:
            raw = self._encoded[key] = msgspec.Raw(msgspec.json.encode(self._row(key)))
        return raw

    def _filters(self, filters: Mapping[str, str | None]) -> dict[str, str]:
        for name in filters:
            if name not in self.kind.exact + self.kind.fuzzy:
                known = " or ".join(self.kind.exact + self.kind.fuzzy)
                raise ConfigError(f"{self.kind.endpoint} has no filter {name!r}, but {known}")
        return {name: str(value) for name, value in sorted(filters.items()) if value}

    def _matcher(self, filters: Mapping[str, str]) -> Callable[[Row], bool]:
        exact = [(name, value) for name, value in filters.items() if name in self.kind.exact]
        fuzzy = [(name, value) for name, value in filters.items() if name in self.kind.fuzzy]

        def matches(row: Row) -> bool:
            return all(row[name] == value for name, value in exact) and all(
                value in str(row[name] or "") for name, value in fuzzy
            )

        return matches

    def _view(self, filters: Mapping[str, str | None], ascending: bool) -> _View:
        applied = self._filters(filters)
        name = (ascending, tuple(applied.items()))
        view = self._views.get(name)
        if view is None:
            view = _View(applied, self._matcher(applied), 1 if ascending else -1)
            view.keys.extend(
                (view.sign * second, key)
                for key, second in self._second.items()
                if not applied or view.matches(self._row(key))
            )
            view.keys.sort()
            if len(self._views) == MAX_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[name] = view
        return view

    # Writes

    def insert(self, **fields: object) -> int:
        """Adds a row, stamped now, with *fields* over made-up ones, and returns its id.

        Raises ConfigError if *fields* hold the id of a row that exists.
        """
        now = self._clock()
        key = fields.get(self.kind.key, self._next)
        if not isinstance(key, int) or self._known(key) is not None:
            raise ConfigError(f"{self.kind.key} must be a new id, not {key!r}")
        self._next = max(self._next, key + 1)
        stamp = {"createTime": text_of(int(now)), "updateTime": text_of(int(now))}
        self._write(now, key, self.kind.make(key, int(now)) | stamp | fields)
        return key

    def update(self, key: int, **fields: object) -> None:
        """Changes a row and stamps its ``updateTime``. Raises KeyError.

        A work moves to the head of its list; a message keeps its place.
        """
        now = self._clock()
        row = self._known(key)
        if row is None:
            raise KeyError(key)
        self._write(now, key, row | {"updateTime": text_of(int(now))} | fields)

    def delete(self, key: int) -> None:
        """Deletes a row. Raises KeyError."""
        if self._known(key) is None:
            raise KeyError(key)
        self._write(self._clock(), key, None)

    def any_id(self, random: Random) -> int | None:
        """The id of a random visible row; None if there is none, or its deletion is pending."""
        self._apply_due()
        keys = self._view({}, False).keys
        if not keys:
            return None
        key = random.choice(keys)[1]
        return None if self._known(key) is None else key

    def _known(self, key: int) -> Row | None:
        """The row as writers see it, with the writes that are still pending."""
        self._apply_due()
        if key in self._pending:
            return self._pending.newest(key)
        return self._row(key) if key in self._second else None

    def _write(self, now: float, key: int, row: Row | None) -> None:
        if not self.lateness:
            self._apply(key, row)
            return
        # From the second that the row carries, which is all that a reader can compare with. A write
        # that is due already becomes visible before anything is read.
        self._pending.add(int(now) + self._random.random() * self.lateness, key, row)

    def _apply_due(self) -> None:
        """Makes the pending writes that are due visible."""
        for key, row in self._pending.pop_due(self._clock()):
            self._apply(key, row)

    def _apply(self, key: int, row: Row | None) -> None:
        before = self._row(key) if key in self._second else None
        if self._history is not None:
            self._history.append((key, before))
        if before is not None:
            second = self._second.pop(key)
            for view in self._views.values():
                if view.matches(before):
                    view.drop(second, key)
        self._encoded.pop(key, None)
        self._written.pop(key, None)
        if row is not None:
            second = self._second[key] = second_of(row[self.kind.time])
            self._written[key] = row
            for view in self._views.values():
                if view.matches(row):
                    view.add(second, key)

    # What a complete crawl must have seen

    def mark(self) -> Mark:
        """This moment, for ``present_since``. The first mark starts the history."""
        self._apply_due()
        if self._history is None:
            self._history = []
        return Mark(len(self._history))

    def present_since(self, mark: Mark, **filters: str | None) -> set[int]:
        """Ids of the rows that were visible under the filter all the time from *mark* until now.

        A complete crawl between the two must have seen them, updated or not. A row that left the
        filter for a moment, or was deleted and inserted again, is not one of them.
        """
        self._apply_due()
        matches = self._matcher(self._filters(filters))
        present = {key for _, key in self._view(filters, False).keys}
        for key, before in (self._history or [])[mark.at :]:
            if before is None or not matches(before):
                present.discard(key)
        return present
