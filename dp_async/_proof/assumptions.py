"""What reads show of the server's keeping to the assumptions of the certificate.

It compares reads of the same part of the list. What it finds makes the certificate stricter, never
laxer: what breaks no assumption in sight may still break one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from math import ceil, floor, inf
from typing import TYPE_CHECKING

from .entries import Entries
from .reads import Read, is_before, reaches_head, reaches_tail, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .steps import Steps

NEAR = 12
"""How many reads around the place of a new one are compared with it, and how many of the head."""
ROWS_AT_ONCE = 2000
"""Rows that are compared in one step: a wide page has as many as sixteen others."""
FOREIGN = 900
"""Rows that seem so many seconds late by the server's ``Date`` were stamped by another clock."""
CAUTION = 2
"""By how much more than the lateness seen the proof has to bear."""


class Peaks:
    """The highest of the values of answers, as answers come in."""

    def __init__(self) -> None:
        self._answered: list[int] = []
        self._peaks: list[float] = []

    def add(self, read: Read, value: float) -> None:
        """The answer *read* shows *value*."""
        place = bisect_right(self._answered, read.answered)
        self._answered.insert(place, read.answered)
        self._peaks.insert(place, max(value, self._peaks[place - 1]) if place else value)
        for later in range(place + 1, len(self._peaks)):
            if self._peaks[later] >= value:
                break
            self._peaks[later] = value

    def before(self, read: Read) -> float:
        """The highest value of the answers before *read* was sent."""
        place = bisect_left(self._answered, read.sent)
        return self._peaks[place - 1] if place else -inf


class Assumptions:
    """The lateness that rows were seen to have, and other signs, as reads come in.

    Nothing is seen of a list that is not sorted by update time.
    """

    def __init__(self, allowed_lateness: float) -> None:
        self._allowed = ceil(allowed_lateness)
        self._entries = Entries()
        self._came_back = False
        self._falling = self._rising = True  # no answer contradicts this order
        self._by_times = 0.0  # the most lateness against the newest time shown
        self._by_date = 0.0  # and against the server's Date
        self._clock = Peaks()
        self._date = Peaks()
        self._spans: list[tuple[int, int, Read]] = []  # sorted by their newest times
        self._heads: list[Read] = []
        self._gone: dict[tuple[int, int], Read] = {}  # rows, and a read that lacks them

    @property
    def returned(self) -> bool:
        """Whether a row was gone in one answer, and in a later one it was there as before."""
        return self._came_back and (self._falling or self._rising)

    def hides_entries(
        self, reads: Sequence[Read], bounds: Sequence[float], *, linked: bool
    ) -> Steps[bool]:
        """Whether rows were seen to enter that the newest end of *reads* lacks.

        *bounds* are the horizons of *reads*, by the server's ``Date`` where that counts. *linked*:
        the reads hold the list by the link rule.
        """
        if self._falling is self._rising:
            return False
        return (yield from self._entries.hidden(reads, bounds, linked=linked))

    @property
    def dated(self) -> bool:
        """Whether the server's ``Date`` is of the clock that stamps the rows, as far as seen."""
        return self._by_date < FOREIGN

    @property
    def lateness(self) -> float:
        """How many seconds late rows were seen to become visible."""
        if not (self._falling or self._rising):
            return 0.0
        return max(self._by_times, self._by_date) if self.dated else self._by_times

    def needed(self, allowed_lateness: float) -> float:
        """The lateness that a proof has to bear: more than what is allowed if more was seen."""
        return allowed_lateness if self.lateness <= allowed_lateness else CAUTION * self.lateness

    def add(self, read: Read) -> Steps[None]:
        """Compare *read* with the reads before that show the same times, in steps."""
        if read.date is not None:
            date = floor(read.date)
            self._by_date = max(self._by_date, self._date.before(read) - date)
            self._date.add(read, date)
        column = read.by_update
        if column is None:
            return
        self._falling &= column.falling
        self._rising &= column.rising
        if len(read.ids) < read.count or not (self._falling or self._rising):
            return
        compared = 0
        for other in self._near(read):
            if is_before(other, read):
                self._compare(other, read)
            elif is_before(read, other):
                self._compare(read, other)
            compared += other.count + read.count
            if compared >= ROWS_AT_ONCE:
                yield
                compared = 0
        if not self._came_back and self._gone:
            self._came_back = any(
                row in self._gone and is_before(self._gone[row], read) for row in rows_of(read)
            )
        self._clock.add(read, read.newest_past)
        if reaches_head(read):
            self._heads.append(read)
        insort(self._spans, (column.newest, read.answered, read))

    def _near(self, read: Read) -> Iterator[Read]:
        """The reads that show times of *read*, as far as they are near it in the list."""
        assert read.by_update is not None
        newest, oldest = read.by_update.newest, read.by_update.oldest
        place = bisect_left(self._spans, oldest, key=lambda span: span[0])
        near = [other for _, _, other in self._spans[place : place + NEAR]]
        for other in {one.answered: one for one in (*near, *self._heads[-NEAR:])}.values():
            if other.by_update and other.by_update.oldest < newest:
                yield other

    def _compare(self, first: Read, second: Read) -> None:
        """Note rows that *second* shows and *first* lacks at their place, and the other way."""
        bottom, top = covered(first)
        old = dict(rows_of(first))
        clock = max(first.newest_past, self._clock.before(first))
        date = self._date.before(first)
        self._entries.compare(first, second, clock - self._allowed)
        for row, time in rows_of(second):
            before = old.get(row)
            if before != time and (before is not None or bottom < time < top):
                self._by_times = max(self._by_times, clock - time)
                self._by_date = max(self._by_date, date - time)
        bottom, top = covered(second)
        kept = set(rows_of(second))
        for key in rows_of(first):
            if bottom < key[1] < top and key not in kept:
                self._gone.setdefault(key, second)


def covered(read: Read) -> tuple[float, float]:
    """The times between which *read* shows all rows of its moment, both exclusive."""
    assert read.by_update is not None
    bottom = -inf if reaches_tail(read) else read.by_update.oldest
    return bottom, inf if reaches_head(read) else read.by_update.newest
