"""How many rows entered a list that changes: by its totals and places, and by its newest end.

It compares what reads show by the way. Both numbers are right while rows enter at the newest end
alone, and while each answer shows the list of its moment.

A list that is sorted newest first: rows that enter raise the total, or push rows down. What was
gained in intervals that do not overlap adds up to no more than what entered. A list that is sorted
oldest first: nothing pushes rows down.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import ceil, inf
from typing import TYPE_CHECKING

from .reads import is_before, reaches_head, rows_of

if TYPE_CHECKING:
    from .reads import Read


class Peaks:
    """The highest of the values of answers, as answers come in."""

    def __init__(self) -> None:
        self._answered: list[int] = []
        self._peaks: list[float] = []

    def add(self, read: Read, value: float) -> None:
        """The answer *read* shows *value*."""
        place = bisect_left(self._answered, read.answered)
        self._answered.insert(place, read.answered)
        self._peaks.insert(place, max(value, self._peaks[place - 1]) if place else value)
        for later in range(place + 1, len(self._peaks)):
            self._peaks[later] = max(value, self._peaks[later])

    def before(self, read: Read) -> float:
        """The highest value of the answers before *read* was sent."""
        place = bisect_left(self._answered, read.sent)
        return self._peaks[place - 1] if place else -inf

    def until(self, read: Read) -> float:
        """The highest value of *read* and of the answers before it was answered."""
        place = bisect_right(self._answered, read.answered)
        return self._peaks[place - 1] if place else -inf


class Entries:
    """The rows that entered since the newest end was first read.

    Rows older than the newest time by *allowed_lateness* did not enter late.
    """

    def __init__(self, allowed_lateness: float) -> None:
        self._allowed = ceil(allowed_lateness)
        self._start: Read | None = None  # the first read of the newest end
        self._shown: set[int] = set()  # rows that it did not show, as new as it
        self._gained = Peaks()  # how many entered, by the totals
        self._base = Peaks()  # the same, less the total
        self._pushed = Peaks()  # how many entered, by the places of rows
        self._most = 0.0  # by either, when the newest end was last read
        self._total = 0
        self._rose = False  # a row went down in a list that is sorted oldest first

    def compare(self, first: Read, second: Read, clock: float) -> None:
        """Note how far rows went down between the two; *clock*: the newest time until *first*."""
        assert second.by_update is not None
        places = pushed(first, second, clock - self._allowed)
        if places <= 0:
            return
        self._rose |= second.by_update.rising
        if self._start and (first is self._start or is_before(self._start, first)):
            self._pushed.add(second, max(self._pushed.until(first), 0) + places)

    def add(self, read: Read) -> None:
        """Note which of the rows entered, and the total; *read* was compared with those before."""
        assert read.by_update is not None
        is_head = reaches_head(read)
        if self._start is None and is_head:
            self._start = read
        start = self._start
        if start is None or not (read is start or is_before(start, read)):
            return
        oldest = start.newest_past - self._allowed
        if read is not start and read.by_update.newest >= oldest:
            before = set(rows_of(start))
            self._shown.update(
                row for row, time in rows_of(read) if time >= oldest and (row, time) not in before
            )
        if is_head:
            self._most = max(self._gained.before(read), self._pushed.before(read), self._most)
            self._total = read.total
        gained = max(self._gained.before(read), read.total + self._base.before(read), 0)
        self._gained.add(read, gained)
        self._base.add(read, gained - read.total)

    @property
    def are_hidden(self) -> bool:
        """Whether more rows entered than were shown at the newest end, as it was last read.

        Some may have left again since, the more the larger a part of the list entered.
        """
        shown = len(self._shown)
        if 2 * shown >= self._total:
            return self._rose
        return self._rose or self._most > shown + shown * shown // self._total


def pushed(first: Read, second: Read, horizon: float) -> int:
    """By how many places a row of *first* that is older than *horizon* is further down in *second*.

    Rows that share their second with a neighbour do not count: they may have changed places.
    """
    if any(read.count < read.size and read.offset for read in (first, second)):
        return 0  # the page may have been cut: its offset is not known
    places = {row: first.offset + place for place, row in enumerate(first.ids)}
    times, ids = second.updated, second.ids
    return max(
        (
            second.offset + place - places[ids[place]]
            for place in range(1, len(ids) - 1)
            if times[place - 1] != times[place] != times[place + 1]
            and times[place] < horizon
            and ids[place] in places
        ),
        default=0,
    )
