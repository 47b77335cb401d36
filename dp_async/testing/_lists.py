"""One list on the server: its rows in their order, writes to it, and the truth about both.

No HTTP, no pages, no asyncio. The clock and the randomness come from outside.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import msgspec

from ._rows import KINDS, Kind, Row, documented, made_up, second_of, text_of

#: Views kept; each costs memory and a little of every write.
MAX_VIEWS = 16


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a list's history, from ``SimulatedList.mark``. Opaque."""

    at: int


@dataclass(frozen=True, slots=True)
class _View:
    """The rows under one filter in one direction, as sorted keys; every write keeps it true."""

    filters: Mapping[str, str]
    matches: Callable[[Row], bool]
    sign: int
    keys: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def add(self, second: int, key: int) -> None:
        insort(self.keys, (self.sign * second, key))

    def drop(self, second: int, key: int) -> None:
        del self.keys[bisect_left(self.keys, (self.sign * second, key))]


class SimulatedList:
    """The rows of one list, ordered and written to as on the server.

    Order: the list's time (``updateTime`` of works, ``createTime`` of messages) descending, ids
    ascending within one second; *ascending* turns the times round, not the ids (assumed). The first
    rows are the documented ones, the rest are made up and older. Columns are named and written as
    on the wire.

    - *clock*: seconds since the epoch; writes stamp it, cut to whole seconds.
    - *late*: a write becomes visible up to so many seconds after the second it carries.
    - *between*: called between the two queries of one page, content first and count second, as the
      server takes them; let it write, and the page's totals disagree with its content.

    Filters: ``status`` and ``name`` (works), ``readStatus`` (messages); None and "" filter nothing.
    """

    def __init__(
        self,
        endpoint: str,
        count: int,
        *,
        clock: Callable[[], float] = time.time,
        late: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.kind: Kind = KINDS[endpoint]
        self.late = late
        self.between: Callable[[], object] | None = None
        self.random = Random(seed)
        self._clock = clock
        self._written: dict[int, Row] = {}  # rows that are not made up from id and second
        self._encoded: dict[int, msgspec.Raw] = {}
        self._coming: list[tuple[float, int, int, Row | None]] = []  # heap: visible at, serial, ...
        self._newest: dict[int, tuple[float, int, Row | None]] = {}  # the last to come, by id
        self._serial = 0
        self._history: list[tuple[int, Row | None]] | None = None  # id, the row as it was before
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
        rest = made_up(self.kind, max(0, count - len(rows)), before=oldest, above=highest)
        self._second.update((key, second) for second, key in rest)
        self._next = highest + len(rest) + 1

    def _id(self, row: Row) -> int:
        key = row[self.kind.key]
        assert isinstance(key, int)
        return key

    # What readers see

    def __len__(self) -> int:
        """Rows visible now."""
        self._allowed_lateness()
        return len(self._second)

    def __contains__(self, key: object) -> bool:
        self._allowed_lateness()
        return key in self._second

    def row(self, key: int) -> Row:
        """A copy of the visible row of that id. Raises KeyError."""
        self._allowed_lateness()
        return dict(self._row(key))

    def ids(self, *, ascending: bool = False, **filters: str | None) -> list[int]:
        """The ids under a filter, in the order of the list."""
        self._allowed_lateness()
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

        The count is skipped, and taken from the rows, where the rows end inside the page.
        """
        self._allowed_lateness()
        view = self._view(filters, ascending)
        content = [self._encode(key) for _, key in view.keys[offset : offset + size]]
        if self.between is not None:
            self.between()
            self._allowed_lateness()
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
                raise ValueError(f"{self.kind.endpoint} has no filter {name!r}")
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
        asked = self._filters(filters)
        name = (ascending, tuple(asked.items()))
        view = self._views.get(name)
        if view is None:
            view = _View(asked, self._matcher(asked), 1 if ascending else -1)
            view.keys.extend(
                (view.sign * second, key)
                for key, second in self._second.items()
                if not asked or view.matches(self._row(key))
            )
            view.keys.sort()
            if len(self._views) == MAX_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[name] = view
        return view

    # Writes

    def insert(self, **fields: object) -> int:
        """A new row, stamped now, with *fields* over made-up ones; its id is returned."""
        now = self._clock()
        key = fields.get(self.kind.key, self._next)
        if not isinstance(key, int) or self._known(key) is not None:
            raise ValueError(f"{key!r} is no new id")
        self._next = max(self._next, key + 1)
        stamp = {"createTime": text_of(int(now)), "updateTime": text_of(int(now))}
        self._write(now, key, self.kind.make(key, int(now)) | stamp | fields)
        return key

    def update(self, key: int, **fields: object) -> None:
        """Changes a row and stamps its ``updateTime``; raises KeyError if there is none.

        That moves a work to the head of its list, and a message nowhere.
        """
        now = self._clock()
        row = self._known(key)
        if row is None:
            raise KeyError(key)
        self._write(now, key, row | {"updateTime": text_of(int(now))} | fields)

    def delete(self, key: int) -> None:
        """Takes a row out; raises KeyError if there is none."""
        if self._known(key) is None:
            raise KeyError(key)
        self._write(self._clock(), key, None)

    def any_id(self, random: Random) -> int | None:
        """The id of some visible row, or None if there is none, or it is about to go."""
        self._allowed_lateness()
        keys = self._view({}, False).keys
        if not keys:
            return None
        key = random.choice(keys)[1]
        return None if self._known(key) is None else key

    def _known(self, key: int) -> Row | None:
        """The newest state of a row as writers see it, visible yet or not."""
        self._allowed_lateness()
        if key in self._newest:
            return self._newest[key][2]
        return self._row(key) if key in self._second else None

    def _write(self, now: float, key: int, row: Row | None) -> None:
        if not self.late:
            self._apply(key, row)
            return
        # Counted from the second the row carries; writes to one row stay in their order.
        at = max(now, int(now) + self.random.random() * self.late)
        at = max(at, self._newest[key][0]) if key in self._newest else at
        self._serial += 1
        self._newest[key] = (at, self._serial, row)
        heapq.heappush(self._coming, (at, self._serial, key, row))
        self._allowed_lateness()

    def _allowed_lateness(self) -> None:
        """Makes visible what is due."""
        while self._coming and self._coming[0][0] <= self._clock():
            _, serial, key, row = heapq.heappop(self._coming)
            if self._newest[key][1] == serial:
                del self._newest[key]
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

    # The truth

    def mark(self) -> Mark:
        """This moment, for ``present_since``. The history is kept from the first mark on."""
        self._allowed_lateness()
        if self._history is None:
            self._history = []
        return Mark(len(self._history))

    def present_since(self, mark: Mark, **filters: str | None) -> set[int]:
        """Ids of the rows that were visible under the filter from *mark* until now, uninterrupted.

        Touched or not: these are the rows that a complete crawl between the two must have seen. A
        row that left the filter for a moment, or was deleted and came back, is not among them.
        """
        self._allowed_lateness()
        matches = self._matcher(self._filters(filters))
        present = {key for _, key in self._view(filters, False).keys}
        for key, before in (self._history or [])[mark.at :]:
            if before is None or not matches(before):
                present.discard(key)
        return present
