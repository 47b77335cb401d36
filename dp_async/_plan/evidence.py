"""What the answers of one crawl say of the list: its reads, size, totals, drift and the decision.

Lives as long as the crawl. Plans no page and knows no pass. What counts as proven is decided by
the certificate.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import TypeVar, cast

from .._page.reader import Rows, row_time
from .._proof.decision import Complete, Decision, Missing
from .._proof.links import covers
from .._proof.reads import Read, is_first, is_last, newest
from .._proof.segments import Orders
from .._proof.steps import Steps, finished
from .._settings import CrawlOptions
from .changes import Changes
from .drift import Drift
from .ids import Packed
from .page_ref import PageRef, at_end
from .proof import FEW, Proof
from .seen import Seen
from .stage import PAUSE, Stage

T = TypeVar("T")

RELEASED = 2000
"""Reads that are freed in one step."""
WIDER = 4
"""A read of the newest end has up to so many times the page size, if the server allows it."""
SPARE_ROWS = 12
"""One in so many rows of a page at the newest end of an ascending list is left for new rows."""
WIDEST, WIDEST_ROWS = 16, 800
"""The same, and the most rows, if only the newest end is wanted, or if that did not span the
allowed lateness. Each row holds the event loop for about 10 µs."""


class Evidence:
    """The reads of one crawl, and what follows from them.

    - *size*: rows a page; that of the options until the server has echoed its own.
    - *total*, *first_total*: rows in the list by the last and by the first answer.
    - *most*: the most rows that the list is known to have had.
    - *under_way*: pages requested and not answered yet.
    - *wants_created*: False once the list is seen not to be sorted by create time.
    - *largest*: the size of the last page 1 that was requested larger than *size*; 0 before.
      *is_largest*: the server cut one, so it allows no larger page.
    - *is_ascending*: whether the list was last seen to be sorted oldest first.
    """

    def __init__(self, options: CrawlOptions, changes: Changes) -> None:
        limit = options.limit
        self.options = options
        self.changes = changes
        self.seen = Seen(changes, verify=options.verify)
        self.size = options.page_size
        if limit is not None and changes.floor is None:
            self.size = min(self.size, max(limit, 1))
        self.total = self.first_total = self.most = 0
        self.under_way = 0
        self.passes = 0
        self.reads: list[Read] = []
        self.drift = Drift()
        self.largest = 0
        self.is_largest = self.is_ascending = False
        self.wants_created = True
        self.decision: Decision | None = None
        self._proof = Proof(options.allowed_lateness, changes)
        self._orders = Orders()
        self._all_keyed = True
        self._releases = False

    # Taking answers in

    def read(
        self,
        ref: PageRef,
        sent: int,
        answered: int,
        rows: Rows[T],
        date: float | None = None,
        now: float = inf,
    ) -> Read:
        """The answer as the certificate sees it. Raises PaginationError, by ``Changes.check``."""
        page = rows.page
        size = page.size or ref.size
        read = Read.of(
            sent=sent,
            answered=answered,
            offset=page.number * size,
            size=size,
            count=rows.count,
            total=page.total_elements,
            ids=rows.keyed,
            updated=rows.updated,
            created=rows.created,
            date=None if date is None else row_time(date),
            now=row_time(now),
        )
        self.changes.check(read)
        return read

    def learn(
        self, ref: PageRef, rows: Rows[T], read: Read | None, repeated: int, stage: Stage
    ) -> None:
        """Take in a page of *stage*; *repeated* of its rows were seen before."""
        page = rows.page
        total, size = page.total_elements, page.size or ref.size
        if ref.num == 1 and 0 < rows.count < min(size, total):
            size = rows.count  # the server cuts pages and does not say so
        if not self.passes:
            self.passes = 1
            self.first_total = total
        elif total != self.total or (repeated and self._is_change(stage)):
            self.drift.times += 1
        if stage.sets_size and ref.size == self.size:
            self.size = size
        self.total = total
        full = (
            rows.count >= ref.size and not page.last
        )  # so the list goes on, whatever the total says
        # It never falls: one total that is too small would end the crawl too early.
        self.most = max(self.most, total, page.number * size + rows.count + full)
        if ref.num == 1 and ref.size > self.size:
            self.largest = size
            self.is_largest |= size < ref.size
        if read is not None:
            self.reads.append(read)
            self._orders.add(read)
            self._all_keyed = self._all_keyed and len(read.ids) == read.count
            rests, added = self.rests, self.seen.added
            if rests and added is not None and added.count == read.count == len(read.ids):
                read.keep(added)  # so its ids take no space of their own
            else:
                read.keep(Packed.of(read.ids))
            if rests:
                self._proof.add(read)
            shown = read.by_create
            if shown and not (shown.falling or shown.rising):
                self.wants_created = False

    def _is_change(self, stage: Stage) -> bool:
        """Whether a repeated row is drift: no pages read so far are meant to share rows."""
        return self.passes == 1 and not (stage.after_pass or stage.shares_rows)

    def release(self) -> bool:
        """Free a part of a large crawl's reads and ids, once they are proven; False at the end.

        The first read is kept, for ``head``. Freeing all at once would take long.
        """
        if not self.complete:
            return False
        self._releases = self._releases or len(self.reads) > FEW
        if self._releases and len(self.reads) > 1:
            del self.reads[max(len(self.reads) - RELEASED, 1) :]
            return True
        return self._releases and self.seen.ids.release()

    # What follows

    def decide(self) -> bool:
        """Let the certificate decide. True if the list is proven complete."""
        return self._decided(finished(self._steps()))

    def deciding(self) -> Generator[Stage, None, bool]:
        """The same, with a pause after each step where there are many reads."""
        steps = self._steps()
        if len(self.reads) <= FEW:
            return self._decided(finished(steps))
        yield PAUSE  # after the answer that was taken in just now
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return self._decided(cast("Decision", end.value))
            yield PAUSE

    def _decided(self, decision: Decision) -> bool:
        self.decision = decision
        if isinstance(decision, Missing):
            self.is_ascending = not decision.descending
        return self.complete

    def _steps(self) -> Steps[Decision]:
        distinct = len(self.seen.ids) if self._all_keyed else None
        return self._proof.decided(self.reads, distinct, drifted=self.drifted)

    @property
    def wants_more(self) -> bool:
        """Whether the limit may need more than what is read and under way."""
        limit = self.options.limit
        return limit is None or self.seen.unique + self.under_way * self.size < limit

    @property
    def drifted(self) -> bool:
        """Whether the list was seen to change."""
        return self.drift.times > 0

    @property
    def rests(self) -> bool:
        """Whether nothing is known to have changed, and the whole list is wanted."""
        return not self.drift.times and self.changes.floor is None

    @property
    def keeps_places(self) -> bool:
        """Whether only create times can sort the list, so that no row moves when it is updated."""
        orders = self._orders.possible()
        return bool(orders) and all(order.by_create for order in orders)

    @property
    def complete(self) -> bool:
        """Whether the list is proven complete, by the last decision."""
        return isinstance(self.decision, Complete)

    @property
    def margin(self) -> float | None:
        """The most lateness that the proof bears, in seconds; None without a proof."""
        return self.decision.margin if isinstance(self.decision, Complete) else None

    @property
    def head(self) -> tuple[int, int] | None:
        """Id and update time of the first row when the crawl began; None if there was none.

        A row dated in the future stays first whatever changes, so it shows no change: the first
        one below it counts.
        """
        if not self.reads:
            return None
        first = self.reads[0]
        rows = zip(first.ids, first.updated, strict=True)
        return next(((number, time) for number, time in rows if time <= first.now), None)

    @property
    def future_end(self) -> int:
        """Where the last page that showed a row dated in the future ended; 0 if none did."""
        ends = (read.offset + read.count for read in self.reads if newest(read) > read.now)
        return max(ends, default=0)

    @property
    def covers_changes(self) -> bool:
        """Whether every wanted row that did not change was read; see ``Changes``."""
        lateness = self.options.allowed_lateness + self.options.replica_lag
        return self.complete or covers(self.reads, lateness, self.changes.oldest)

    def note_order(self) -> None:
        """See from the reads how the list is sorted, before the next decision tells."""
        orders = self._orders.possible()
        if orders:
            self.is_ascending = not orders[0].descending

    @property
    def last_head(self) -> Read:
        """The newest end as it was last read; the last read if it never was."""
        reaches = is_last if self.is_ascending else is_first
        return next(filter(reaches, reversed(self.reads)), self.reads[-1])

    def shows_again(self, read: Read) -> bool:
        """Whether the last page read shows what *read* did: reason for a pass, but no proof."""
        now = self.reads[-1]
        return list(read.ids) == list(now.ids) and list(read.updated) == list(now.updated)

    def newest_end(self, *, drifted: bool, wider: bool = False) -> PageRef:
        """The page that shows the newest rows; a wide one if the list is known to change.

        *wider*: the last one did not span more than the allowed lateness.
        """
        if self.is_ascending:
            size = self.largest if drifted and self.largest else self.size
            return at_end(self.total, size, size // SPARE_ROWS)
        only_end = self.changes.floor is not None
        if drifted or only_end:
            return self.widest(wider=wider or only_end)
        return PageRef(1, self.size)

    def widest(self, *, wider: bool = False) -> PageRef:
        """Page 1, as wide as the server allows, as far as is known; *wider* than any before."""
        if wider and self.largest and not self.is_widest:
            return PageRef(1, min(2 * self.largest, self._most_wide))
        return PageRef(1, self.largest or self.size * WIDER)

    @property
    def _most_wide(self) -> int:
        return self.size * max(WIDER, min(WIDEST, WIDEST_ROWS // self.size))

    @property
    def is_widest(self) -> bool:
        """Whether no page 1 will be requested that is wider than the last."""
        return self.is_largest or self.largest >= self._most_wide

    @property
    def needed_lateness(self) -> float:
        """The lateness that a proof has to bear: more than what is allowed if more was seen."""
        return self._proof.needed_lateness

    @property
    def width(self) -> int:
        """How many rows a page may have that is read across boundaries of several others."""
        return max(self.size, min(self.largest, self.size * WIDER))
