"""The count rule for a list at rest, read by read: it decides at once after any number of reads.

The rule is ``count_rule_static``, in ``counts``. No rule of its own belongs here.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from .counts import best, surely_there, to_spare
from .decision import Complete
from .reads import Read, in_seconds, is_before, is_first, is_last, shown_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .steps import Steps

COUNTED = "as many rows were read as the list held at one moment"
MOST_ENDS = 4
"""Last pages by which the rule is followed."""
FEW = 64
"""Reads in doubt that such a last page may have."""


class _End:
    """A last page *read*, and the other reads as they come in.

    - *clock*: what the server's clock had reached when it was taken.
    - *latest*: the newest time of the reads after it that show old rows alone. *doubtful*: the
      others.
    """

    def __init__(self, read: Read, before: Iterable[Read], lateness: int) -> None:
        self.read = read
        self.clock = read.newest_past
        self.latest = -inf
        self.doubtful: list[Read] = []
        self._lateness = lateness
        self.horizon = self.clock - lateness
        for other in before:
            self.add(other)

    def add(self, read: Read) -> None:
        if is_before(self.read, read):
            column = read.by_update
            time = column.newest if column else -inf
            if time < self.horizon:
                if time > self.latest:
                    self.latest = time
                return
        elif is_before(read, self.read):
            self.clock = max(self.clock, shown_by(read))
            self.horizon = self.clock - self._lateness
        if len(self.doubtful) <= FEW:
            self.doubtful.append(read)

    def margin(self) -> Steps[float | None]:
        """The margin, if all rows read were there."""
        if len(self.doubtful) > FEW:
            return None
        return (yield from all_there(self.doubtful, self.read, self.horizon, self.latest))


class Resting:
    """The count rule for a list in which nothing changed, read by read: see ``count_rule_static``.

    It may miss a proof that the whole set of reads has, and never finds one that this lacks.
    """

    def __init__(self, allowed_lateness: float) -> None:
        self._lateness = in_seconds(allowed_lateness)
        self._early: list[Read] = []
        self._ends: list[_End] = []
        self._fullest = 0
        self._is_late = self._is_single = False

    def add(self, read: Read) -> None:
        """Take in one more read."""
        if read.count > self._fullest:
            self._fullest = read.count
        for end in self._ends:
            end.add(read)
        if self._is_late:
            return
        self._is_late = len(self._early) == FEW
        self._early.append(read)
        if is_last(read):
            self._is_single |= is_first(read)
            if len(self._ends) < MOST_ENDS:
                self._ends.append(_End(read, self._early, self._lateness))

    def decide(self, distinct: int) -> Steps[Complete | None]:
        """The proof that *distinct* ids are the whole list; None if there is none, or another."""
        if self._is_single:
            return None
        margins: list[float] = []
        for end in self._ends:
            counts = distinct == end.read.offset + end.read.count
            if counts and (is_first(end.read) or end.read.count < self._fullest):
                margin = yield from end.margin()
                if margin is not None:
                    margins.append(margin)
        margin = best(margins)
        return None if margin is None else Complete("count", COUNTED, self._lateness + margin)


def all_there(
    doubtful: Sequence[Read], end: Read, horizon: float, latest: float
) -> Steps[float | None]:
    """The margin if *doubtful*, and reads of old rows up to *latest*, were there with *end*."""
    there, spare = yield from surely_there(doubtful, end, horizon)
    margin = min(to_spare(latest, horizon), spare)
    return margin if all(there.has_all(read.ids) for read in doubtful) else None
