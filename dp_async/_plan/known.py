"""Which rows were delivered before, remembered in a bounded size.

Pure. Knows rows by their digests and by their place in the list's order: a time, in seconds.

A digest for each row is exact, and takes space for each row. Where there is no space, the rows of a
crowded time are remembered together: how many they were, and the sum of their digests, which does
not depend on their order. They are recognized once all of them were read again, and their sum is
the same; where it is not, all of them count as new. Until then they are held back.
"""

# No postponed annotations: msgspec would look for their names in the public module.
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby
from typing import Annotated, Generic, Self, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

CAPACITY = 220
"""How many digests a watermark holds: within 2 kB of text."""
CROWD_COST = 8
"""The space that a crowd takes, in digests."""
BITS = 63
"""Of a digest; msgspec checks no integer of 64 bits."""
SHORT = 2**48 - 1
"""The part of a digest by which a single row is remembered: one in 10**12 is taken for another."""

Key: TypeAlias = tuple[int, int, int]
"""A row that was delivered: its id, its update time, a digest of both and of what was delivered."""

Number = Annotated[int, Meta(ge=0, le=2**53)]


class Crowd(Struct, frozen=True, array_like=True):
    """*count* rows whose places are *oldest* to *newest*, and the sum of their digests."""

    oldest: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    newest: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    count: Number
    digest: Annotated[int, Meta(ge=0, le=2**BITS - 1)]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int]]) -> Self:
        """The crowd of *rows*: places, newest first, and digests."""
        digest = sum(digest for _, digest in rows) % 2**BITS
        return cls(rows[-1][0], rows[0][0], len(rows), digest)


def digest(number: int, time: int, item: object) -> int:
    """63 bits that tell one version of a row from another, the same in every process (BLAKE2)."""
    text = msgspec.json.encode((number, time, item), order="deterministic")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) >> 64 - BITS


def summary(rows: Iterable[tuple[int, int]], space: int) -> tuple[list[int], list[Crowd]]:
    """The digests of *rows*, newest first, and crowds of those for which there is no *space*.

    *rows* are places and digests. The newest rows, which change most often, stay single.
    *space* has to be that of a crowd at least, unless all rows fit into it.
    """
    rows = sorted(rows, reverse=True)
    if len(rows) <= space:
        return [digest for _, digest in rows], []
    width = 1
    while True:
        groups = [list(group) for _, group in groupby(rows, partial(_group, width))]
        spare = space - sum(min(len(group), CROWD_COST) for group in groups)
        if spare >= 0:
            break
        width *= 2
    single: list[int] = []
    crowds: list[Crowd] = []
    for group in groups:
        more = len(group) - CROWD_COST
        if more <= spare:
            single += [digest for _, digest in group]
            spare -= max(more, 0)
        else:
            crowds.append(Crowd.of(group))
    return single, crowds


def _group(width: int, row: tuple[int, int]) -> int:
    return row[0] // width


class CrowdRead(Generic[T]):
    """The rows of a *crowd* as they are read again; *same*: None until that is known."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.found: dict[int, Key] = {}
        self.items: dict[int, T] = {}  # held back, by id
        self.same: bool | None = None

    def take(self, key: Key, item: T) -> None:
        """Hold back a row that was not read before."""
        self.found[key[0]] = key
        self.items[key[0]] = item
        if len(self.found) == self.crowd.count:
            total = sum(digest for _, _, digest in self.found.values())
            self.same = total % 2**BITS == self.crowd.digest


class KnownRows(Generic[T]):
    """Recognizes the rows that were delivered before: single *digests*, and *crowds*.

    *known*: ids and times of the rows that it has recognized.
    """

    def __init__(self, digests: Iterable[int], crowds: Iterable[Crowd]) -> None:
        self._digests = frozenset(digest & SHORT for digest in digests)
        self._crowds = [CrowdRead[T](crowd) for crowd in sorted(crowds, key=lambda one: one.oldest)]
        self._oldest = [crowd_read.crowd.oldest for crowd_read in self._crowds]
        self._waiting: dict[int, CrowdRead[T]] = {}  # by the ids of the rows held back
        self.known: set[tuple[int, int]] = set()

    def sift(self, key: Key, place: int, item: T) -> list[tuple[Key, T]]:
        """The rows that are new by now, this one among them unless it is known or held back."""
        number, time, digest = key
        if digest & SHORT in self._digests:
            self.known.add((number, time))
            return []
        crowd_read = self._crowd(place)
        if crowd_read is not None and crowd_read.found.get(number) == key:
            return []  # held back, known, or delivered
        if number in self._waiting:  # another version of it was held back
            del self._waiting.pop(number).items[number]
        elif crowd_read is not None and crowd_read.same is None and number not in crowd_read.found:
            self._waiting[number] = crowd_read
            crowd_read.take(key, item)
            return self._decided(crowd_read)
        return [(key, item)]

    def _crowd(self, place: int) -> CrowdRead[T] | None:
        at = bisect_right(self._oldest, place) - 1
        crowd_read = self._crowds[at] if at >= 0 else None
        return crowd_read if crowd_read is not None and place <= crowd_read.crowd.newest else None

    def _decided(self, crowd_read: CrowdRead[T]) -> list[tuple[Key, T]]:
        """The rows of a crowd that is known to differ; none while it is not known."""
        if crowd_read.same is None:
            return []
        items, crowd_read.items = crowd_read.items, {}
        for number in items:
            del self._waiting[number]
        if crowd_read.same:
            self.known.update((number, time) for number, time, _ in crowd_read.found.values())
            return []
        return [(crowd_read.found[number], item) for number, item in items.items()]

    def remaining(self) -> list[tuple[Key, T]]:
        """The rows that are still held back: nothing more is read, so their crowds differ."""
        rows: list[tuple[Key, T]] = []
        for crowd_read in reversed(self._crowds):
            if crowd_read.same is None:
                crowd_read.same = False
                rows += self._decided(crowd_read)
        return rows
