"""Rounds of repair: read what the certificate still lacks, then the newest end again.

The state of a round is local to its generator. Only the attempts at each gap outlive it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from .._proof.decision import Gap, Missing
from .._proof.reads import Read
from .evidence import Evidence
from .page_ref import PageRef, around, following, preceding
from .stage import Stage, each

BRIDGING = 6
"""Stages of bridges in one round."""
CLOSINGS = 16
"""Further reads of the newest end in one round."""
DESCENT = 8
"""Pages below the newest end in one descent."""
RECENT = 40
"""How many of the last reads are searched for the place of a row."""


class Repair:
    """The rounds of one crawl."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._attempts: Counter[tuple[int, int]] = Counter()  # at each gap
        self._new: set[int] = set()  # ids of the rows that entered since the crawl began
        self._searched = 0  # reads that were searched for them

    def round(self, drifted: Callable[[], bool]) -> Iterator[Stage]:
        """Bridges across the gaps, then the newest end; *drifted*: whether the list changes.

        At a busy end a page spans little time, and only what was read a moment before can be linked
        to it. So the page below it is read again, and then the end once more.
        """
        evidence = self._evidence
        began = evidence.reads[-1].sent  # when the newest end was read, the last read before
        descended = False
        if evidence.is_ascending and not evidence.largest and drifted():
            # Only page 1 may be cut without doubt about its place, so it tells how wide pages get.
            yield each([evidence.widest()], after_pass=True)
        tried: list[PageRef] = []
        for _ in range(BRIDGING):
            if evidence.decide():
                return
            refs, descended = self._bridges(began, descended)
            if not refs or refs == tried:
                break
            yield each(refs, after_pass=True)
            tried = refs
        yield each([evidence.newest_end(drifted=drifted())], after_pass=True)
        for _ in range(CLOSINGS):
            if evidence.decide() or not isinstance(evidence.decision, Missing):
                return
            gaps = evidence.decision.gaps
            if not gaps or not all(evidence.is_new(gap.above) for gap in gaps):
                return
            before = evidence.reads[-1]
            yield each(self._below(before, 1), after_pass=True)
            yield each([evidence.newest_end(drifted=drifted())], after_pass=True)
            if evidence.changes.floor is not None and evidence.shows_again(before):
                return

    def _bridges(self, began: int, descended: bool) -> tuple[list[PageRef], bool]:
        """Pages across the gaps, and whether the newest end was descended from in this round."""
        evidence = self._evidence
        missing = evidence.decision
        if not isinstance(missing, Missing):
            return [], descended
        refs: list[PageRef] = []
        for gap in missing.gaps:
            if not evidence.is_new(gap.above):
                refs.append(self._bridge(gap))
            elif not descended:
                refs += self._descent(evidence.reads[-1])
                descended = True
            elif gap.above.offset and gap.above.sent > began:
                refs += self._descent(gap.above)
        if missing.tail:
            first = PageRef(1, evidence.size)
            refs.append(first if evidence.is_ascending else around(evidence.total, evidence.size))
        return list(dict.fromkeys(refs)), descended

    def _descent(self, read: Read) -> list[PageRef]:
        """The pages below *read*, down to about what was there when the crawl began."""
        evidence = self._evidence
        span = max(read.newest_past - min(read.updated, default=0), 0) + 1
        rows = 1.3 * (evidence.seconds_above_start(read) + 1) * read.count / span
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

    def _bridge(self, gap: Gap) -> PageRef:
        """A page across *gap*, where its rows should be by now."""
        evidence = self._evidence
        upper = gap.below if evidence.is_ascending else gap.above
        place = self._place_after(upper)
        attempt = (gap.above.answered, gap.below.answered)
        attempts = self._attempts[attempt]
        self._attempts[attempt] += 1
        # Around, below, above, further below …: half a page each time.
        shift = (attempts + 1) // 2 * (1 if attempts % 2 else -1) * (evidence.size // 2)
        return around(min(place + shift, evidence.total), evidence.size)

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
        newest, reads = self._evidence.newest_at_first, self._evidence.reads
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
