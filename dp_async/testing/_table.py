"""The rows of one list that one server shows: their order, filters, and pages of them.

No clocks, no writers, no HTTP: each write arrives at the moment it becomes visible.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import msgspec

from dp_async import ConfigError

from ._database import Database
from ._rows import Kind, Row

#: Views kept at once; each costs memory, and time with every write.
MAX_VIEWS = 16


class Version(NamedTuple):
    """A row as one write left it, and the time that orders it, in microseconds."""

    row: Row
    time: int


@dataclass(frozen=True, slots=True)
class _View:
    """The places of the rows under one filter, sorted in one direction; each write updates it."""

    matches: Callable[[Row], bool]
    sign: int
    tie: int
    places: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def place(self, key: int, time: int) -> tuple[int, int]:
        return self.sign * time, self.tie * key

    def add(self, key: int, time: int) -> None:
        insort(self.places, self.place(key, time))

    def drop(self, key: int, time: int) -> None:
        del self.places[bisect_left(self.places, self.place(key, time))]

    def keys(self, start: int, stop: int) -> list[int]:
        return [self.tie * key for _, key in self.places[start:stop]]

    def shuffled(self, start: int, stop: int, random: Random) -> list[int]:
        """As ``keys``, with the rows of one time in a random order."""
        stop = min(stop, len(self.places))
        keys: list[int] = []
        while start + len(keys) < stop:
            time, _ = self.places[start + len(keys)]
            low = bisect_left(self.places, (time,))
            high = bisect_right(self.places, time, key=lambda place: place[0])
            group = self.keys(low, high)
            random.shuffle(group)
            keys += group[start + len(keys) - low :]
        return keys[: max(0, stop - start)]


class Table:
    """The visible rows of one list, newest first. Columns have their names as on the wire."""

    def __init__(self, kind: Kind, database: Database, random: Random) -> None:
        self._kind = kind
        self._database = database
        self._random = random
        self._times: dict[int, int] = {}  # by id
        self._written: dict[int, Row] = {}  # other rows are made from id and time
        self._encoded: dict[int, msgspec.Raw] = {}
        self._views: dict[tuple[bool, tuple[tuple[str, str], ...]], _View] = {}

    def fill(self, written: Mapping[int, Version], made_up: Iterable[tuple[int, int]]) -> None:
        """Takes the rows to begin with; *made_up* are pairs of id and time."""
        self._written = {key: version.row for key, version in written.items()}
        self._times = {key: version.time for key, version in written.items()}
        self._times.update(made_up)

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, key: object) -> bool:
        return key in self._times

    def version(self, key: int) -> Version | None:
        """The row with this id, which is not to be changed, and its time."""
        time = self._times.get(key)
        if time is None:
            return None
        row = self._written.get(key)
        if row is None:
            row = self._kind.make(key, self._database.shown(time))
        return Version(row, time)

    def put(self, key: int, version: Version | None) -> Row | None:
        """Writes the row with this id, or deletes it, and returns what it was."""
        before = self.version(key)
        if before is not None:
            del self._times[key]
            for view in self._views.values():
                if view.matches(before.row):
                    view.drop(key, before.time)
        self._encoded.pop(key, None)
        self._written.pop(key, None)
        if version is not None:
            self._times[key] = version.time
            self._written[key] = version.row
            for view in self._views.values():
                if view.matches(version.row):
                    view.add(key, version.time)
        return None if before is None else before.row

    def keys(self, filters: Mapping[str, str | None], ascending: bool) -> list[int]:
        """The ids under a filter, in order; rows of one time by their id."""
        view = self._view(filters, ascending)
        return view.keys(0, len(view.places))

    def any_key(self, random: Random) -> int | None:
        """A random id; None if there are no rows."""
        view = self._view({}, False)
        if not view.places:
            return None
        at = random.randrange(len(view.places))
        return view.keys(at, at + 1)[0]

    def count(self, filters: Mapping[str, str | None], ascending: bool) -> int:
        """How many rows the filter matches."""
        return len(self._view(filters, ascending).places)

    def page(
        self, offset: int, size: int, filters: Mapping[str, str | None], ascending: bool
    ) -> list[msgspec.Raw]:
        """*size* encoded rows from *offset*."""
        view = self._view(filters, ascending)
        if self._database.ties == "unstable":
            keys = view.shuffled(offset, offset + size, self._random)
        else:
            keys = view.keys(offset, offset + size)
        kept = self._encoded
        return [kept[key] if key in kept else self._encode(key) for key in keys]

    def matcher(self, filters: Mapping[str, str | None]) -> Callable[[Row], bool]:
        """Whether a row matches the filter. Raises ConfigError."""
        kind = self._kind
        given = self._given(filters).items()
        exact = [(name, value) for name, value in given if name in kind.exact]
        fuzzy = [(name, value) for name, value in given if name in kind.fuzzy]

        def matches(row: Row) -> bool:
            return all(row[name] == value for name, value in exact) and all(
                value in str(row[name] or "") for name, value in fuzzy
            )

        return matches

    def _given(self, filters: Mapping[str, str | None]) -> dict[str, str]:
        known = self._kind.exact + self._kind.fuzzy
        for name in filters:
            if name not in known:
                raise ConfigError(
                    f"{self._kind.endpoint} has no filter {name!r}, but {' or '.join(known)}"
                )
        return {name: str(value) for name, value in sorted(filters.items()) if value}

    def _encode(self, key: int) -> msgspec.Raw:
        version = self.version(key)
        assert version is not None
        raw = self._encoded[key] = msgspec.Raw(msgspec.json.encode(version.row))
        return raw

    def _view(self, filters: Mapping[str, str | None], ascending: bool) -> _View:
        given = self._given(filters)
        name = (ascending, tuple(given.items()))
        view = self._views.get(name)
        if view is None:
            tie = -1 if self._database.ties == "id descending" else 1
            view = _View(self.matcher(given), 1 if ascending else -1, tie)
            for key, time in self._times.items():
                version = self.version(key) if given else None
                if version is None or view.matches(version.row):
                    view.places.append(view.place(key, time))
            view.places.sort()
            if len(self._views) == MAX_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[name] = view
        return view
