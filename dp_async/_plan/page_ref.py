"""Which page covers given rows: arithmetic on offsets. No state, no I/O.

The API knows a page by number and size, and so only offsets that are multiples of the size. Pages
of other sizes than the full one reach the offsets between, so that pages can overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

WORTH_WIDTH = 4
"""Places to read across that are worth a request that tells how wide a page may be."""


class PageRef(NamedTuple):
    """Page *num*, from 1, of pages of *size* rows: the rows from ``start`` up to ``end``."""

    num: int
    size: int

    @property
    def start(self) -> int:
        return (self.num - 1) * self.size

    @property
    def end(self) -> int:
        return self.num * self.size


def following(end: int, size: int, overlap: int) -> PageRef:
    """The page that starts at or before ``end - overlap`` and reaches furthest beyond *end*.

    It has at most *size* rows. Where no such page reaches beyond *end*, as happens with a few rows
    a page, the overlap is smaller.
    """
    start = max(end - overlap, 0)
    best = PageRef(start // size + 1, size)
    for smaller in range(size - 1, 0, -1):
        if best.end - start > smaller:
            break  # no page of this size or smaller reaches as far
        ref = PageRef(start // smaller + 1, smaller)
        if ref.end > best.end:
            best = ref
    return best if best.end > end else following(end, size, min(overlap, size) - 1)


def preceding(start: int, size: int, overlap: int) -> PageRef:
    """The page that ends at or after ``start + overlap`` and reaches furthest below *start*.

    It has at most *size* rows.
    """
    end = max(start + overlap, 1)
    refs = (PageRef(pages(end, each), each) for each in range(size, size // 2, -1))
    return min(refs, key=lambda ref: ref.start)


def at_end(total: int, size: int, spare: int) -> PageRef:
    """The page with the most of the last rows, and place for *spare* more than *total* rows.

    It has at most *size* rows, which is more than *spare*.
    """
    refs = [PageRef(total // each + 1, each) for each in range(size, size // 2, -1)]
    roomy = [ref for ref in refs if ref.end - total > spare]
    return min(roomy or refs, key=lambda ref: ref.start)


def around(place: int, size: int) -> PageRef:
    """The page of at most *size* rows with the most rows on both sides of offset *place*."""
    place = max(place, 0)

    def margin(ref: PageRef) -> int:
        return min(place - ref.start, ref.end - place)

    refs = (PageRef(place // each + 1, each) for each in range(size, size // 2, -1))
    return max(refs, key=margin)


def across(places: Iterable[int], size: int, width: int, overlap: int) -> list[PageRef]:
    """Pages across all *places*, from the first on, each of at most *width* rows.

    A page across one place has at most *size* rows, and the place in its middle. One across several
    has at least *overlap* rows on both sides of each.
    """
    refs: list[PageRef] = []
    waiting = sorted(set(places))
    while waiting:
        place, left = waiting.pop(), len(waiting)
        ref = preceding(place, width, overlap)
        while waiting and ref.start + overlap <= waiting[-1]:
            waiting.pop()
        refs.append(ref if len(waiting) < left else around(place, size))
    return refs[::-1]


def pages(total: int, size: int) -> int:
    """The number of pages of *size* rows that *total* rows fill."""
    return -(-total // size) if size else 0
