"""The strategy for what is new since a watermark: the newest end, down to rows that are known.

Pages overlap from the start, since it is the newest end that changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from .evidence import Evidence
from .overlap import Frontier
from .page_ref import PageRef, around, pages
from .repair import Repair
from .stage import Progress, Stage, each

FIRST_READ = 20
"""Rows of the first page, on top of the known ones."""


def newest(evidence: Evidence, progress: Progress) -> Iterator[Stage]:
    """The stages of a crawl since a watermark."""
    for stages in (_first_reads, _known_again, _down):
        yield from stages(evidence)
        if (yield from evidence.deciding()) or not evidence.wants_more:
            break
    at_limit = evidence.seen.unique == evidence.options.limit
    progress.finished = evidence.wants_more or (evidence.complete and at_limit)


def _first_reads(evidence: Evidence) -> Iterator[Stage]:
    """Page 1; a small one first, if few rows are known."""
    small = min(evidence.changes.known_rows + FIRST_READ, evidence.size)
    for size in dict.fromkeys([small, evidence.size]):
        yield each([PageRef(1, size)], shares_rows=True, sets_size=True)
        if (yield from evidence.deciding()) or not evidence.wants_more:
            return


def _known_again(evidence: Evidence) -> Iterator[Stage]:
    """If a page is too small for the known rows: the page below them, then all above once more.

    If many rows carry one second, no page links to the next, but known rows can be counted.
    """
    known, unique, size = evidence.changes.known_rows, evidence.seen.unique, evidence.size
    if known < size or unique >= size or evidence.options.limit is not None:
        return  # a limit wants the newest first
    below = around(known + unique, size)
    yield each([below], deferred=True, shares_rows=True, sets_size=True)
    if evidence.changes.reached:
        above = pages(below.start, evidence.size)
        refs = (PageRef(num, evidence.size) for num in range(1, above + 1))
        yield each(refs, shares_rows=True, sets_size=True)


def _down(evidence: Evidence) -> Iterator[Stage]:
    """Overlapping pages from page 1 down, then the newest end again, then rounds of repair."""
    frontier = Frontier(evidence.drift, evidence.size, edge=evidence.size)

    def deeper() -> PageRef | None:
        """The next overlapping page, until one reaches known rows; at most as many as were read."""
        repair = frontier.repair()
        if repair is not None:
            return repair
        if evidence.changes.reached or frontier.edge > evidence.total or not evidence.wants_more:
            return None
        if evidence.under_way >= len(evidence.reads):
            return None
        return frontier.advance(evidence.drift.overlap)

    yield Stage(deeper, frontier.learned, deferred=frontier.deferred, shares_rows=True)
    if evidence.wants_more:
        # Pages of rows dated in the future do not link. But their rows count if they are shown both
        # before the page below them and after it.
        size = evidence.size
        if evidence.future_end > size:
            last = pages(evidence.changes.depth or evidence.total, size)
            yield each([PageRef(last, size)], after_pass=True)
            yield each([PageRef(num, size) for num in range(1, last)], after_pass=True)
        else:
            yield each([evidence.newest_end(drifted=True)], after_pass=True)
    repair = Repair(evidence)
    nothing_new = False
    while not ((yield from evidence.deciding()) or nothing_new) and evidence.wants_more:
        if evidence.passes == evidence.options.max_passes:
            return
        evidence.passes += 1
        before = evidence.reads[-1]
        yield from repair.round(lambda: True)
        nothing_new = evidence.shows_again(before)
