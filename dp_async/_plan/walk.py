"""Which page to request next until the list is proven complete: a crawl without its I/O.

``plan`` names the next page and ``learn`` takes an answer in; the caller drives both, in any order.
No I/O, no clock, no tasks.

A strategy is a generator of stages: ``whole`` reads all of a list, ``newest`` what is new since a
watermark. An answer goes from the guard to the evidence, to the ids seen, to whoever planned the
page, and leaves as a ``PageResult``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from math import inf
from typing import Generic, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from .._page.reader import Rows
from .._settings import CrawlOptions
from .changes import Changes
from .checkpoint import Checkpoint
from .evidence import Evidence
from .guard import Guard
from .known import Key
from .newest import newest
from .page_ref import PageRef
from .stage import PAUSE, Progress, Stage, each
from .watermark import Watermark
from .whole import whole

T = TypeVar("T")


class PageResult(Struct, Generic[T]):
    """What one answer brought: *fresh* are the items not seen before.

    *keys* are what a watermark knows these items by, where only what is new is wanted. *deferred*:
    the page was read out of order, and its items wait until those before are out. *after_pass*: it
    was read after the pass over the list.
    """

    rows: Rows[T]
    fresh: list[T]
    keys: Sequence[Key]
    repeated: int
    ref: PageRef
    deferred: bool
    after_pass: bool


class Walk(Generic[T]):
    """The plan of one crawl of one list, and what its answers prove.

    *evidence* holds what is known of the list, *progress* how the strategy stands. ``tick()``
    counts events for the certificate: call it after an answer, and ``sent()`` before its request;
    where *stages* has grown, pause before that for the replica lag. *resume* is where an earlier
    crawl of the whole list stopped. With a watermark *after*, only what is new since then is read.
    *over*: nothing more will be requested. *pausing*: ``plan`` may return None and set *paused* in
    the middle of a long computation, for its caller to let others run; it goes on after ``resume``.
    """

    def __init__(
        self,
        options: CrawlOptions,
        resume: Checkpoint | None = None,
        after: Watermark | None = None,
        *,
        pausing: bool = False,
    ) -> None:
        self.paused = False
        self._pausing = pausing
        lateness = options.allowed_lateness + options.replica_lag
        self.evidence = evidence = Evidence(options, Changes(after, lateness))
        self.progress = progress = Progress()
        self.over = False
        self._verify = options.verify
        self._guard = Guard(options.max_passes)
        self._requested = 0
        self._last: PageResult[T] | None = None
        self.tick = count().__next__
        self.stages = 0
        self._began = 0 if options.replica_lag and options.verify else None
        self._stage = each(())
        if options.limit == 0:
            self._stages: Iterator[Stage] = iter(())
        elif evidence.changes.floor is not None:
            self._stages = newest(evidence, progress)
        else:
            self._stages = whole(evidence, progress, resume)

    def plan(self) -> PageRef | None:
        """The next page to request; None if there is none, or none before the next answer."""
        evidence = self.evidence
        while True:
            ref = self._stage.next()
            if ref is not None:
                evidence.under_way += 1
                self._requested += 1
                return ref
            if evidence.under_way or self.paused:
                return None
            stage = next(self._stages, None)
            if stage is None:
                self.over = True
                return None
            if stage is PAUSE:
                if self._pausing:
                    self.paused = True
                    return None
                continue
            self._stage = stage
            self.stages += 1
            if self._began is not None:
                self._began = self.tick()

    def resume(self) -> None:
        """Let ``plan`` go on after a pause."""
        self.paused = False

    def sent(self) -> int:
        """The tick of a request that is sent now.

        With a replica lag, that of the beginning of its stage: its answer may show the list as it
        was then, but no earlier if the caller pauses before the stage.
        """
        return self.tick() if self._began is None else self._began

    def learn(
        self,
        ref: PageRef,
        sent: int,
        answered: int,
        rows: Rows[T],
        date: float | None = None,
        now: float = inf,
    ) -> PageResult[T]:
        """Take in an answer, in any order; *date* and *now* are those of its ``Answer``.

        Raises PaginationError if it contradicts the request.
        """
        evidence, stage = self.evidence, self._stage
        changes = evidence.changes
        self._guard.check(ref, rows, evidence, self._requested)
        read = evidence.read(ref, sent, answered, rows, date, now) if self._verify else None
        evidence.under_way -= 1
        there: set[int] | None = None
        if read and (not read.by_update or read.by_update.newest >= changes.recent):
            there = evidence.seen.ids.among(rows.ids)
            changes.note(rows, there, read.now)
        fresh, keys, repeated = evidence.seen.sift(rows, there)
        evidence.learn(ref, rows, read, repeated, stage)
        if read is not None:
            stage.learned(ref, read)
        deferred = ref in stage.deferred
        self._last = PageResult(rows, fresh, keys, repeated, ref, deferred, stage.after_pass)
        return self._last

    def remaining(self) -> PageResult[T] | None:
        """The items that were held back until all pages were read, if there are any."""
        evidence, options = self.evidence, self.evidence.options
        objects, keys, _ = evidence.changes.remaining(evidence.seen.ids)
        fresh = cast("list[T]", objects)
        if self._last is None or not fresh:
            return None
        evidence.seen.unique += len(fresh)
        if options.limit is not None and evidence.seen.unique > options.limit:
            self.progress.finished = False
        return replace(self._last, fresh=fresh, keys=keys, repeated=0, after_pass=True)

    def delivered(self, result: PageResult[T], number: int) -> None:
        """The first *number* items of *result* were delivered."""
        self.evidence.changes.delivered(result.keys[:number])

    def watermark(self, scope: str) -> Watermark | None:
        """The watermark to keep once all items are delivered; see ``Changes.watermark``."""
        covered = self.progress.finished and self.evidence.covers_changes
        return self.evidence.changes.watermark(scope, covered=covered)
