"""Windows of keys: one for each merge, which so touches few of the stored rows. Reads nothing.

deltalake holds all rows of the files that a merge touches in memory. So a window never ends within
the keys of a file, and what is merged in one window becomes files that cover no key of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from typing import TypeAlias

#: An account and an id, in this order.
Key: TypeAlias = tuple[str, int]

LEAST, MOST = -(2**63), 2**63 - 1
FIRST: Key = ("", LEAST)
LAST: Key = ("\U0010ffff", MOST)
#: Rows in a window: each takes about 3 kB in a merge. A file that has more is one window.
ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Extent:
    """The *first* and the *last* key of stored *rows*, in one file or in some."""

    first: Key
    last: Key
    rows: int


@dataclass(frozen=True, slots=True)
class Window:
    """The keys from *first* on, up to but without *end*; None: all the others."""

    first: Key = FIRST
    end: Key | None = None

    def condition(self, account: str, number: str, text: Callable[[str], str]) -> str:
        """It as SQL; *account*, *number*: the columns. *text* makes a literal. "" for all keys."""
        limits: list[str] = []
        if self.first != FIRST:
            limits.append(_beyond(self.first, account, number, text, ">", ">="))
        if self.end is not None:
            limits.append(_beyond(self.end, account, number, text, "<", "<"))
        return " AND ".join(limits)


WHOLE = Window()


def _beyond(
    key: Key, account: str, number: str, text: Callable[[str], str], other: str, same: str
) -> str:
    name = text(key[0])
    if key[1] == LEAST:
        return f"{account} {same} {name}"
    return f"({account} {other} {name} OR ({account} = {name} AND {number} {same} {key[1]}))"


def extent(accounts: tuple[str, str], ids: tuple[int, int], rows: int) -> Extent:
    """The extent of a file, by the least and the largest of its *accounts* and of its *ids*."""
    least, largest = accounts
    if least == largest:
        return Extent((least, ids[0]), (largest, ids[1]), rows)
    return Extent((least, LEAST), (largest, MOST), rows)


def windows(stored: Iterable[Extent], coming: Sequence[Key], weight: int) -> list[Window]:
    """Windows that cover all keys, in order.

    *stored*: the files that are there. *coming*: some of the keys to be merged, in order; each
    stands for *weight* of them.
    """
    cuts = [*_cuts(_apart(stored), coming, weight)]
    return [Window(first, end) for first, end in zip([FIRST, *cuts], [*cuts, None], strict=True)]


def _apart(stored: Iterable[Extent]) -> list[Extent]:
    """The extents in order; those that overlap are one."""
    found: list[Extent] = []
    for each in sorted(stored, key=lambda one: one.first):
        if found and each.first <= found[-1].last:
            both = found[-1]
            found[-1] = Extent(both.first, max(both.last, each.last), both.rows + each.rows)
        else:
            found.append(each)
    return found


def _cuts(stored: Sequence[Extent], coming: Sequence[Key], weight: int) -> Iterator[Key]:
    """The first key of each window but the first.

    Several whole accounts are in a window, or a part of one account: a file of two accounts tells
    only that it has keys of both, so it would overlap that with the other part.
    """
    files = ((one.first, one) for one in stored)
    steps = merge(files, ((key, None) for key in coming), key=itemgetter(0))
    rows, before = 0, 0  # in the window, and those of them of other accounts than the one at hand
    account, split = "", False  # the one at hand, and whether the window begins within it
    last = ("", LEAST - 1)  # of the files so far
    for key, file in steps:
        if file is None and key <= last:
            continue
        size = weight if file is None else file.rows
        if key[0] != account:
            if split:
                yield key[0], LEAST
                rows, split = 0, False
            account, before = key[0], rows
        if before and rows + size > ROWS:
            yield account, LEAST
            rows, before = rows - before, 0
        if rows and rows + size > ROWS:
            yield key
            rows, split = 0, True
        rows += size
        if file is not None:
            account, last = file.last[0], file.last
