"""Which page to ask for, so that it covers given rows: arithmetic on places, nothing else.

A page number times a size gives any offset, so pages of other sizes than the full one can overlap:
that is how a list that shifts under the reader is held together. No state, no I/O.
"""

from __future__ import annotations

from typing import NamedTuple


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
    """The page that starts at or before ``end - overlap`` and, of these, reaches furthest.

    Of pages of at most *size* rows. Where none of these reaches beyond *end*, as happens with a few
    rows a page, it overlaps less.
    """
    start = max(end - overlap, 0)
    best = PageRef(start // size + 1, size)
    for smaller in range(size - 1, 0, -1):
        if best.end - start > smaller:
            break  # no page of this size or less reaches as far
        ref = PageRef(start // smaller + 1, smaller)
        if ref.end > best.end:
            best = ref
    return best if best.end > end else following(end, size, min(overlap, size) - 1)


def around(place: int, size: int) -> PageRef:
    """The page of at most *size* rows that has most rows on either side of *place*."""
    place = max(place, 0)

    def margin(ref: PageRef) -> int:
        return min(place - ref.start, ref.end - place)

    refs = (PageRef(place // each + 1, each) for each in range(size, size // 2, -1))
    return max(refs, key=margin)


def pages(total: int, size: int) -> int:
    """How many pages of *size* rows *total* rows fill."""
    return -(-total // size) if size else 0
