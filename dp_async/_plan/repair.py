"""Rounds of repair: read what the certificate still lacks, then the newest end again.

The state of a round is local to its generator. Only the attempts at each gap outlive it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from .._proof.decision import Gap, Missing
from .._proof.reads import Read, in_seconds
from .entered import is_new, newest_at_first, seconds_above_start
from .evidence import Evidence
from .page_ref import WORTH_WIDTH, PageRef, across, around, following, pages, preceding
from .stage import Stage, each

BRIDGING = 6
"""Stages of bridges in one round."""
CLOSINGS = 16
"""Further reads of the newest end in one round."""
DESCENT = 8
"""Pages below the newest end in one descent."""
FUTILE = 6
"""Reads of the newest end in a row that span too little time, after which no more follow ..."""
FUTILE_SHARE = 8
"""... if there were as many as one in so many pages of the list."""
RECENT = 40
"""How many of the last reads are searched for the place of a row."""


class Repair:
    """The rounds of one crawl.

    Its state is what outlives a round.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._attempts: Counter[tuple[int, int]] = Counter()  # at each gap
        self._new: set[int] = set()  # ids of the rows that entered since the crawl began
        self._searched = 0  # reads that were searched for them
        self._short = 0  # reads of the newest end in a row that are too short

    @property
    def is_futile(self) -> bool:
        """Whether the newest end is too busy to be linked to: its pages span too little time."""
        evidence = self._evidence
        if self.is_late:
            return self._short > 0
        return self._short >= max(FUTILE, pages(evidence.total, evidence.size) // FUTILE_SHARE)

    @property
    def is_late(self) -> bool:
        """Whether rows were seen to be later than allowed."""
        return self._evidence.needed_lateness > self._evidence.options.allowed_lateness

    def _note_span(self, head: Read) -> bool:
        """Whether *head* spans so little time that no page can be linked to it; counts those."""
        evidence, shown = self._evidence, head.by_update
        horizon = head.newest_past - in_seconds(evidence.needed_lateness)
        is_short = evidence.changes.floor is None and shown is not None and shown.oldest >= horizon
        if not is_short:
            self._short = 0
        elif evidence.is_widest:
            self._short += 1
        return is_short

    def round(self, drifted: Callable[[], bool]) -> Iterator[Stage]:
        """Bridges across the gaps, then the newest end; *drifted*: whether the list changes.

        At a busy end a page spans little time, and only what was read a moment before can be linked
        to it. So the page below it is read again, and then the end once more.
        """
        evidence = self._evidence
        head = evidence.last_head
        if (
            not evidence.largest
            and drifted()
            and (evidence.is_ascending or self._gaps() >= WORTH_WIDTH)
        ):
            # Only page 1 may be cut without doubt about its place, so it tells how wide pages get.
            yield each([evidence.widest()], after_pass=True)
        if self.is_late:
            self._note_span(head)
            if self.is_futile:
                return
        tried: list[PageRef] = []
        bridged = depth = 0
        descended = False
        while bridged < BRIDGING:
            if (yield from evidence.deciding()):
                return
            bridges, descent = self._bridges(head, descended)
            refs = list(dict.fromkeys([*descent, *bridges]))
            if not refs or refs == tried:
                break
            yield each(refs, after_pass=True)
            tried = refs
            descended = descended or bool(descent)
            reached, depth = depth, max([depth, *map(self._depth, descent)])
            bridged += depth == reached  # a descent may take as many stages as it needs
        yield each([evidence.newest_end(drifted=drifted())], after_pass=True)
        for _ in range(CLOSINGS):
            if (yield from evidence.deciding()) or not isinstance(evidence.decision, Missing):
                return
            gaps = evidence.decision.gaps
            if not gaps or not all(is_new(evidence, gap.above) for gap in gaps):
                return
            before = evidence.reads[-1]
            wider = self._note_span(before)
            if self.is_futile:
                return
            if wider and evidence.is_ascending and not evidence.is_widest:
                yield each([evidence.widest(wider=True)], after_pass=True)
            yield each(self._below(before, 1), after_pass=True)
            yield each([evidence.newest_end(drifted=drifted(), wider=wider)], after_pass=True)
            if evidence.changes.floor is not None and evidence.shows_again(before):
                return

    def _bridges(self, head: Read, descended: bool) -> tuple[list[PageRef], list[PageRef]]:
        """Pages across the gaps, and pages down through what entered since the crawl began.

        *head* is the newest end as the round began. *descended*: from it in this round.
        """
        evidence = self._evidence
        missing = evidence.decision
        if not isinstance(missing, Missing):
            return [], []
        old: list[Gap] = []
        descent: list[PageRef] = []
        for gap in missing.gaps:
            if not is_new(evidence, gap.above):
                old.append(gap)
            elif not descended:
                descent = descent or self._descent(head)
            elif gap.above.sent <= head.sent:
                old.append(gap)  # lower than any descent
            elif gap.above.offset:
                descent += self._descent(gap.above)
        bridges = self._across(old)
        if missing.tail:
            first = PageRef(1, evidence.size)
            bridges.append(
                first if evidence.is_ascending else around(evidence.total, evidence.size)
            )
        return bridges, descent

    def _depth(self, ref: PageRef) -> int:
        """How many rows there are from the newest end to the older end of the page."""
        evidence = self._evidence
        return evidence.total - ref.start if evidence.is_ascending else ref.end

    def _descent(self, read: Read) -> list[PageRef]:
        """The pages below *read*, down to about what was there when the crawl began."""
        evidence = self._evidence
        span = max(read.newest_past - min(read.updated, default=0), 0) + 1
        rows = 1.3 * (seconds_above_start(evidence, read) + 1) * read.count / span
        size = evidence.largest or evidence.size
        return self._below(read, min(1 + int(rows) // size, DESCENT))

    def _below(self, read: Read, number: int) -> list[PageRef]:
        """*number* pages from the older end of *read* on, each overlapping the one before."""
        evidence = self._evidence
        size = evidence.largest or evidence.size
        overlap = min(evidence.drift.overlap, size // 2)
        start, end = read.offset, read.offset + read.count
        refs: list[PageRef] = []
        while not refs or (
            len(refs) < number and (start if evidence.is_ascending else end < evidence.total)
        ):
            if evidence.is_ascending:
                refs.append(preceding(start, size, overlap))
                start = refs[-1].start
            else:
                refs.append(following(end, size, overlap))
                end = refs[-1].end
        return refs

    def _gaps(self) -> int:
        """How many gaps there are."""
        missing = self._evidence.decision
        return len(missing.gaps) if isinstance(missing, Missing) else 0

    def _across(self, gaps: Sequence[Gap]) -> list[PageRef]:
        """Pages across *gaps*, where their rows should be by now."""
        evidence = self._evidence
        size = evidence.size
        first: list[int] = []
        again: list[PageRef] = []
        for gap in gaps:
            upper = gap.below if evidence.is_ascending else gap.above
            place = self._place_after(upper)
            attempt = (gap.above.answered, gap.below.answered)
            attempts = self._attempts[attempt]
            self._attempts[attempt] += 1
            if not attempts:
                first.append(min(place, evidence.total))
                continue
            # Around, below, above, further below …: half a page each time.
            shift = (attempts + 1) // 2 * (1 if attempts % 2 else -1) * (evidence.width // 2)
            again.append(around(min(place + shift, evidence.total), evidence.width))
        return [*across(first, size, evidence.width, evidence.drift.joining(size)), *again]

    def _place_after(self, upper: Read) -> int:
        """Where the rows below *upper* are by now: as a recent read shows, else estimated."""
        for read in self._evidence.reads[: -RECENT - 1 : -1]:
            if read is not upper and upper.ids and upper.ids[-1] in read.ids:
                return read.offset + list(read.ids).index(upper.ids[-1]) + 1
        return upper.offset + upper.count + self._shift(upper)

    def _shift(self, read: Read) -> int:
        """About how many rows further down the rows of *read* are by now."""
        evidence = self._evidence
        first, last = evidence.reads[0], evidence.reads[-1]
        elapsed = max(last.answered - first.answered, 1)
        depth = min(1.0, read.offset / max(evidence.total, 1))
        grown = evidence.total - first.total
        shifted = self._entered() * (1 - depth) + grown * depth
        if evidence.is_ascending:
            shifted -= self._entered()  # new rows come last, and updated ones leave their place
        return round(shifted * (last.answered - read.answered) / elapsed)

    def _entered(self) -> int:
        """How many rows are known to have entered at the newest end since it was first read."""
        newest, reads = newest_at_first(self._evidence), self._evidence.reads
        if newest is None:
            return 0
        for read in islice(reads, self._searched, None):
            if read.newest_past > newest:
                self._new.update(
                    number
                    for number, time in zip(read.ids, read.updated, strict=True)
                    if newest < time <= read.newest_past
                )
        self._searched = len(reads)
        return len(self._new)
