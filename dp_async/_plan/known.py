"""Which rows were delivered before, remembered in a bounded size.

Pure. Knows rows by their digests and by their place in the list's order: a time, in seconds.

A digest for each row is exact, and takes room for each row. Where there is no room, the rows of a
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

ROOM = 220
"""How many digests a watermark holds: within 2 kB of text."""
ROOM_OF_CROWD = 8
"""The room that a crowd takes, in digests."""
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


def summary(rows: Iterable[tuple[int, int]], room: int) -> tuple[list[int], list[Crowd]]:
    """The digests of *rows*, newest first, and crowds of those for which there is no *room*.

    *rows* are places and digests. The newest rows, which change most often, stay single.
    *room* has to be that of a crowd at least, unless all rows fit into it.
    """
    rows = sorted(rows, reverse=True)
    if len(rows) <= room:
        return [digest for _, digest in rows], []
    width = 1
    while True:
        groups = [list(group) for _, group in groupby(rows, partial(_group, width))]
        spare = room - sum(min(len(group), ROOM_OF_CROWD) for group in groups)
        if spare >= 0:
            break
        width *= 2
    single: list[int] = []
    crowds: list[Crowd] = []
    for group in groups:
        more = len(group) - ROOM_OF_CROWD
        if more <= spare:
            single += [digest for _, digest in group]
            spare -= max(more, 0)
        else:
            crowds.append(Crowd.of(group))
    return single, crowds


def _group(width: int, row: tuple[int, int]) -> int:
    return row[0] // width


class Held(Generic[T]):
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
        self._crowds = [Held[T](crowd) for crowd in sorted(crowds, key=lambda one: one.oldest)]
        self._oldest = [held.crowd.oldest for held in self._crowds]
        self._held: dict[int, Held[T]] = {}  # by the ids of the rows held back
        self.known: set[tuple[int, int]] = set()

    def sift(self, key: Key, place: int, item: T) -> list[tuple[Key, T]]:
        """The rows that are new by now, this one among them unless it is known or held back."""
        number, time, digest = key
        if digest & SHORT in self._digests:
            self.known.add((number, time))
            return []
        held = self._crowd(place)
        if held is not None and held.found.get(number) == key:
            return []  # held back, known, or delivered
        if number in self._held:  # another version of it was held back
            del self._held.pop(number).items[number]
        elif held is not None and held.same is None and number not in held.found:
            self._held[number] = held
            held.take(key, item)
            return self._settle(held)
        return [(key, item)]

    def _crowd(self, place: int) -> Held[T] | None:
        at = bisect_right(self._oldest, place) - 1
        held = self._crowds[at] if at >= 0 else None
        return held if held is not None and place <= held.crowd.newest else None

    def _settle(self, held: Held[T]) -> list[tuple[Key, T]]:
        """The rows of a crowd that is known to differ; none while it is not known."""
        if held.same is None:
            return []
        items, held.items = held.items, {}
        for number in items:
            del self._held[number]
        if held.same:
            self.known.update((number, time) for number, time, _ in held.found.values())
            return []
        return [(held.found[number], item) for number, item in items.items()]

    def rest(self) -> list[tuple[Key, T]]:
        """The rows that are still held back: nothing more is read, so their crowds differ."""
        rows: list[tuple[Key, T]] = []
        for held in reversed(self._crowds):
            if held.same is None:
                held.same = False
                rows += self._settle(held)
        return rows
