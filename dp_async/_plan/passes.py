"""One pass over the whole list: the last page, all between, then page 1 again.

Its state ends with it: how far it has come, which pages overlap, where the list ends.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from math import inf

from .._proof.reads import Read, is_last
from .._proof.steps import AT_ONCE
from .evidence import Evidence
from .overlap import Frontier
from .page_ref import WORTH_WIDTH, PageRef, around
from .stage import PAUSE, Stage, each

HOUR = 3600
LAST_PAGE_TRIES = 3
"""Pages tried for the end of the list before the rest is read."""


class Pass:
    """One pass that begins below the first *edge* rows, which were read already.

    *drifts* is how many changes of the list were noticed before it and do not count.
    """

    def __init__(self, evidence: Evidence, edge: int, drifts: int = 0) -> None:
        self._evidence = evidence
        self._drifts = drifts
        self._frontier = Frontier(evidence.drift, evidence.size, edge)
        self._last_page = inf  # where the last page starts, if it was read
        self._short_page = inf  # where the first short page starts
        self._probed = False  # whether a wide page 1 was requested

    def drifted(self) -> bool:
        """Whether the list was seen to change."""
        return self._evidence.drift.times > self._drifts

    @property
    def overlapping(self) -> bool:
        """Whether pages overlap."""
        return self._frontier.overlapping

    def stages(self) -> Iterator[Stage]:
        """The last page, all between, page 1 again."""
        evidence = self._evidence
        first = evidence.reads[-1]
        yield from self._last_pages()
        yield Stage(
            self._between,
            self._learned,
            deferred=self._frontier.deferred,
            shares_rows=evidence.options.overlap not in ("auto", 0),
        )
        if not evidence.wants_more:
            return
        if self.drifted():
            evidence.note_order()  # page 1 alone may not have shown it
            if evidence.is_ascending and not evidence.largest:
                yield each([evidence.widest()], after_pass=True)  # tells how wide the end may be
            below = yield from self._hour_below()
            yield each([*below, evidence.newest_end(drifted=True)], after_pass=True)
            return
        yield each([PageRef(1, evidence.size)], after_pass=True)
        if not evidence.shows_again(first):
            evidence.drift.times += 1

    def _hour_below(self) -> Generator[Stage, None, list[PageRef]]:
        """The page where rows enter if the clock that stamps them was set back by an hour.

        That is the common case, where local time is stored; such rows are seen there, and nowhere
        else. None if that is at an end of the list which is read last anyway.
        """
        evidence, ascending = self._evidence, self._evidence.is_ascending
        last = evidence.reads[-1]
        now = last.now if last.now < inf else max(read.newest_past for read in evidence.reads)
        time = now - HOUR
        nearest, apart = evidence.reads[0], inf
        for number, read in enumerate(evidence.reads):
            if not number % AT_ONCE:
                yield PAUSE
            if read.by_update is None:
                continue
            distance = max(read.by_update.oldest - time, time - read.by_update.newest)
            if distance < apart:
                nearest, apart = read, distance
        if apart <= 0:
            above = sum((shown < time) is ascending for shown in nearest.updated)
            return [around(nearest.offset + above, evidence.size)]
        if ascending and nearest.by_update and time < nearest.by_update.oldest:
            return [PageRef(1, evidence.size)]
        return []

    def _last_pages(self) -> Iterator[Stage]:
        """Pages beyond the end by the last total, until one is seen to be the last."""
        evidence, full = self._evidence, 1
        for _ in range(LAST_PAGE_TRIES):
            if self._overlap:
                return
            # Beyond every page seen to be full, whatever the total says.
            ref = PageRef(max(evidence.total // evidence.size, full) + 1, evidence.size)
            yield each([ref], deferred=True)
            if is_last(evidence.reads[-1]):
                self._last_page = ref.start
                return
            full = ref.num

    def _between(self) -> PageRef | None:
        """The next page down, while there are more rows and the limit wants more."""
        evidence, frontier = self._evidence, self._frontier
        if not evidence.wants_more:
            return None
        overlap = self._overlap
        if overlap and not frontier.overlapping:
            frontier.overlap()
        if overlap:
            repair = self._joining()
            if repair is not None:
                return repair
            return frontier.advance(overlap) if frontier.edge <= evidence.total else None
        end = self._last_page if self._last_page < inf else self._short_page
        return frontier.plain() if frontier.edge < end else None

    def _joining(self) -> PageRef | None:
        """The next page that reads boundaries once more.

        Where there are many, page 1 as wide as the server allows comes first: it tells how many of
        them a page may span. Not with a limit, which such a page may exceed.
        """
        evidence, frontier = self._evidence, self._frontier
        has_limit = evidence.options.limit is not None
        if len(frontier.unjoined) >= WORTH_WIDTH and not evidence.largest and not has_limit:
            if self._probed:
                return None
            self._probed = True
            frontier.deferred.add(evidence.widest())
            return evidence.widest()
        if frontier.unjoined:
            frontier.join(evidence.size if has_limit else evidence.width)
        return frontier.repair()

    def _learned(self, ref: PageRef, read: Read) -> None:
        if read.count < ref.size == self._evidence.size:
            self._short_page = min(self._short_page, ref.start)
        if self._frontier.overlapping:
            self._frontier.learned(ref, read)

    @property
    def _overlap(self) -> int:
        """How many rows a page shares with those above; by default 0 until the list drifts."""
        evidence = self._evidence
        wanted = evidence.options.overlap
        if wanted == "auto":
            return evidence.drift.overlap if self.drifted() else 0
        return wanted
