"""The strategy for a whole list: a pass, then rounds of repair or further passes, until proven.

An unchanged list costs its pages and one more. If the list changes while it is read, pages overlap,
and gaps that remain after the pass are repaired in rounds. If it does not change, or has no known
order, a second pass that agrees with the first proves more than repairs.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._proof.decision import Broken, Missing
from .checkpoint import Checkpoint
from .evidence import Evidence
from .overlap import Frontier
from .page_ref import PageRef
from .passes import Pass
from .repair import Repair
from .stage import Progress, Stage, each

_CHANGED = "the list had changed since the checkpoint"


def whole(evidence: Evidence, progress: Progress, before: Checkpoint | None) -> Iterator[Stage]:
    """The stages of a crawl of the whole list, or of the pages after the checkpoint *before*."""
    options = evidence.options
    yield each([PageRef(1, evidence.size)], sets_size=True)
    edge = evidence.size
    if not options.verify:
        yield _plain(evidence, Frontier(evidence.drift, evidence.size, edge))
        return
    if options.limit is not None and options.limit <= evidence.total:
        frontier = Frontier(evidence.drift, evidence.size, edge)
        yield _plain(evidence, frontier)
        if evidence.seen.unique >= options.limit:
            return
        # There were fewer rows after all: the whole list is wanted.
        evidence.drift.times += 1
        edge = frontier.edge
    if (yield from evidence.deciding()):
        progress.finished = True
        return
    if before is not None:
        yield from _remaining(evidence, progress, before)
        if progress.resumed:
            return
    yield from _proven(evidence, progress, edge)


def _plain(evidence: Evidence, frontier: Frontier) -> Stage:
    """Page after page, while the list has more and the limit wants more."""

    def following() -> PageRef | None:
        more = frontier.edge < evidence.most and evidence.wants_more
        return frontier.plain() if more else None

    return Stage(following)


def _remaining(evidence: Evidence, progress: Progress, before: Checkpoint) -> Iterator[Stage]:
    """The pages after the checkpoint *before*, if the list has not changed since."""
    if not before.pages:
        progress.started_over = "no page before the checkpoint could be skipped"
    elif evidence.head is None and evidence.reads[0].ids:
        progress.started_over = "page 1 shows only rows dated in the future, and no change"
    elif (before.total, before.head) != (evidence.total, evidence.head):
        progress.started_over = _CHANGED
    elif before.size != evidence.size:
        progress.started_over = "the page size is not that of the checkpoint"
    if progress.started_over:
        return
    progress.skipped = before.pages
    yield from Pass(evidence, before.pages * evidence.size).stages()
    if not evidence.drift.times:
        progress.resumed = True
        return
    # A gap cannot be ruled out, so the whole list is read.
    progress.started_over = _CHANGED
    progress.skipped = 0
    evidence.passes += 1


def _proven(evidence: Evidence, progress: Progress, edge: int) -> Iterator[Stage]:
    """A pass below *edge*, then rounds of repair and further passes, up to ``max_passes``."""
    options, drift = evidence.options, evidence.drift
    repair = Repair(evidence)
    current = Pass(evidence, edge)
    yield from current.stages()
    # By create time, rows are updated where they stand: a further pass finds others that were.
    repairs = current.drifted() or current.overlapping or evidence.keeps_places
    while not (yield from evidence.deciding()) and evidence.passes < options.max_passes:
        if not evidence.wants_more:
            return
        if isinstance(evidence.decision, Broken):
            break
        evidence.passes += 1
        if repairs and isinstance(evidence.decision, Missing):
            before = evidence.reads[-1]
            known = drift.times, evidence.seen.unique
            yield from repair.round(current.drifted)
            found_more = (drift.times, evidence.seen.unique) != known
            if repair.is_futile and (found_more or repair.is_late):
                break
            is_last_chance = evidence.passes + 1 == options.max_passes
            repairs = found_more and not (is_last_chance and evidence.shows_again(before))
        else:
            drifts = drift.times
            yield each([PageRef(1, evidence.size)], after_pass=True)
            current = Pass(evidence, evidence.size, drifts)
            yield from current.stages()
            repairs = current.drifted() or current.overlapping
    # If the list has grown beyond the limit, not all of it is delivered: nothing is final.
    progress.finished = options.limit is None or evidence.seen.unique <= options.limit
