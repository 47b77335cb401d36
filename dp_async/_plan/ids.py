"""The ids that a crawl has seen, in shards: however many they are, no step with them takes long.

Plain containers. A set of millions of ids holds the event loop when it grows, when it is freed, and
at each garbage collection. A shard is closed before it would grow beyond ``MOST``. It is a dict and
not a set: a dict of plain numbers is not tracked by the garbage collector of Python 3.11 to 3.13.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain, islice, repeat

from msgspec import Struct

MOST = 2**15 * 2 // 3
"""Ids of a shard. A dict of so many is full, and takes 27 bytes for each: the largest that CPython
gives an index of two bytes. One of twice the size has an index of four, and takes 30."""


class Shard:
    """Ids in the order in which they were added; once closed, all are from *least* to *most*."""

    __slots__ = ("_listed", "ids", "least", "most")

    def __init__(self) -> None:
        self.ids: dict[int, None] = {}
        self.least = self.most = 0
        self._listed: array[int] = array("q")

    def close(self) -> None:
        """No ids are added from now on."""
        self.least, self.most = min(self.ids), max(self.ids)

    def listed(self, end: int) -> array[int]:
        """The ids, at least the first *end*."""
        if len(self._listed) < end:
            self._listed = array("q", self.ids)
        return self._listed


class Kept(Struct, gc=False):
    """*count* ids of *shard* from place *start* on, as a sequence that takes no space for each."""

    shard: Shard
    start: int
    count: int

    def _ids(self) -> array[int]:
        end = self.start + self.count
        return self.shard.listed(end)[self.start : end]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids())

    def __contains__(self, number: object) -> bool:
        return number in self._ids()

    def __getitem__(self, place: int) -> int:
        return self._ids()[place]


class Packed(Struct, gc=False):
    """Ids as a sequence of eight bytes each; the garbage collector would visit an array."""

    data: bytes

    @classmethod
    def of(cls, ids: Iterable[int]) -> Packed:
        """The *ids*, in their order."""
        return cls(array("q", ids).tobytes())

    def _ids(self) -> memoryview[int]:
        return memoryview(self.data).cast("q")

    def __len__(self) -> int:
        return len(self.data) // 8

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids())

    def __contains__(self, number: object) -> bool:
        return number in self._ids()

    def __getitem__(self, place: int) -> int:
        return self._ids()[place]


class Ids:
    """A set of ids, that only grows until it is released."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._closed: list[Shard] = []
        self._open = Shard()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[int]:
        return chain(*(shard.ids for shard in self._closed), self._open.ids)

    def __contains__(self, number: object) -> bool:
        if number in self._open.ids:
            return True
        for shard in self._closed:  # noqa: SIM110 - any() takes three times as long
            if number in shard.ids:
                return True
        return False

    def among(self, numbers: Iterable[int]) -> set[int]:
        """Those of *numbers* that are there, at less cost than one after another."""
        wanted = sorted(numbers)
        found = self._open.ids.keys() & wanted
        for shard in self._closed:  # ids are given in the order of creation, as a rule
            first, end = bisect_left(wanted, shard.least), bisect_right(wanted, shard.most)
            found |= shard.ids.keys() & wanted[first:end]
        return found

    def add(self, number: int) -> None:
        """Add one id."""
        self.extend((number,))

    def extend(self, ids: Sequence[int], there: Set[int] | None = None) -> Kept:
        """Add *ids*; returns those that were not there before, each once.

        *there*: what ``among`` says of them, if it was asked.
        """
        if there:
            ids = [number for number in ids if number not in there]
        shard = self._open
        start = len(shard.ids)
        if start and start + len(ids) > self._most:
            shard.close()
            self._closed.append(shard)
            self._open = shard = Shard()
            start = 0
        if there is None and self._closed and ids:
            least, most = min(ids), max(ids)  # ids are given in the order of creation, as a rule
            for closed in self._closed:
                apart = most < closed.least or closed.most < least
                if not (apart or closed.ids.keys().isdisjoint(ids)):
                    ids = [number for number in ids if number not in closed.ids]
        shard.ids.update(zip(ids, repeat(None)))  # dict.fromkeys() takes half as long again
        added = len(shard.ids) - start
        self._number += added
        return Kept(shard, start, added)

    def last(self, number: int) -> set[int]:
        """The *number* ids that were added last, by one ``extend``."""
        return set(islice(reversed(self._open.ids), number))

    def release(self) -> bool:
        """Forget some of them; False if none is left. Freeing all at once would take long."""
        if self._closed:
            self._closed.pop()
            return True
        self._open = Shard()
        self._number = 0
        return False
