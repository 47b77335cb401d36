"""How far a pass has come, page by page, and whether neighbouring pages share rows.

Lives as long as the pass. While two pages show one and the same row, no row crosses their boundary
unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from .._proof.reads import Read
from .drift import Drift
from .page_ref import PageRef, across, around, following


class Link(Struct, gc=False):  # one for each page: no collection has to visit them
    """One overlapping page from *start* to *end*, and its read once it was answered.

    *repaired*: the boundary to the next page was read once more.
    """

    start: int
    end: int
    read: Read | None = None
    repaired: bool = False


class Frontier:
    """The pages of a pass from *edge* down, of at most *size* rows; *edge* moves with each page.

    They share no rows until ``overlap()`` is called; *unjoined* are the boundaries above, which
    ``join()`` lets be read once more. *deferred* holds the pages that do, out of order.
    """

    def __init__(self, drift: Drift, size: int, edge: int) -> None:
        self.edge = edge
        self.overlapping = False
        self.deferred: set[PageRef] = set()
        self.unjoined: Sequence[int] = ()
        self._size = size
        self._drift = drift
        self._repairs: list[PageRef] = []
        self._links: list[Link] = []
        self._places: dict[tuple[int, int], int] = {}  # by start and end

    def plain(self) -> PageRef:
        """The next page down, which shares no row with those above."""
        ref = PageRef(self.edge // self._size + 1, self._size)
        self.edge = ref.end
        return ref

    def overlap(self) -> None:
        """Let pages overlap from here on."""
        self.overlapping = True
        self.unjoined = range(self._size, self.edge, self._size)

    def join(self, width: int) -> None:
        """Read each boundary above once more, by pages of up to *width* rows."""
        size = self._size
        self._repairs += across(self.unjoined, size, width, self._drift.joining(size))
        self.unjoined = ()

    def repair(self) -> PageRef | None:
        """The next page across boundaries that must be read once more; None if there is none."""
        if not self._repairs:
            return None
        ref = self._repairs.pop()
        self.deferred.add(ref)
        return ref

    def advance(self, overlap: int) -> PageRef:
        """The next page down, which shares *overlap* rows with those above."""
        ref = following(self.edge, self._size, min(overlap, self._size // 2))
        self.edge = ref.end
        self._places[ref.start, ref.end] = len(self._links)
        self._links.append(Link(ref.start, ref.end))
        return ref

    def learned(self, ref: PageRef, read: Read) -> None:
        """Compare the page *ref* with its neighbours, if it is one of the overlapping pages."""
        place = self._places.get((ref.start, ref.end))
        if place is None:
            return
        self._links[place].read = read
        for above, below in pairwise(self._links[max(place - 1, 0) : place + 2]):
            self._compare(above, below)

    def _compare(self, above: Link, below: Link) -> None:
        if above.read is None or below.read is None:
            return
        shared = len(set(above.read.ids) & set(below.read.ids))
        meant = above.end - below.start
        self._drift.slipped(abs(meant - shared))
        if not shared and not above.repaired:
            above.repaired = True
            self._repairs.append(around(above.end, self._size))
