"""How many rows entered a list that changes: by its totals and places, and by its newest end.

Facts that the certificate compares. Both numbers are right while rows enter at the newest end
alone, with a time that says so, and while each answer shows the list of its moment.

Rows that enter raise the total, or change how many rows stand before a time. What was gained in
intervals that do not overlap adds up to no more than what entered in them.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import compress, pairwise
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from .reads import is_before, is_first, newest, reaches_head, rows_of
from .steps import AT_ONCE, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .reads import Read
    from .steps import Steps

_ANSWERED, _SENT = attrgetter("answered"), attrgetter("sent")


class Push(NamedTuple):
    """Between *first* and *second*, at least *rows* rows entered above a place."""

    first: Read
    second: Read
    rows: int


class Entries:
    """What pairs of reads show of the rows that entered."""

    def __init__(self) -> None:
        self._pushes: list[Push] = []
        self._rose = False  # a row went down in a list that is sorted oldest first

    def compare(self, first: Read, second: Read, horizon: float) -> None:
        """Note by how much more rows stand before a time; *horizon* is that of *first*."""
        assert second.by_update is not None
        rows = pushed(first, second, horizon)
        if rows > 0:
            self._pushes.append(Push(first, second, rows))
            self._rose |= second.by_update.rising

    def hidden(
        self, reads: Sequence[Read], bounds: Sequence[float], *, linked: bool
    ) -> Steps[bool]:
        """Whether more rows entered after some read than the newest end shows, as last read.

        *bounds* are the horizons of *reads*: a row that entered after a read is no older than that.
        If the reads are *linked*, they show every row from a horizon on; else a read is left out if
        the last read of the newest end does not reach its horizon. Some rows may have left again
        since, the more the larger a part of the list entered. If half of the list seems to have
        entered, either an answer was wrong or the numbers say nothing.
        """
        if self._rose:
            return True
        heads = list(compress(reads, (yield from mapped(reaches_head, reads))))
        end = max(heads, key=_SENT, default=None)
        if end is None:
            return False
        are_before = yield from mapped(lambda read: is_before(read, end), reads)
        before = list(compress(reads, are_before))
        by_totals = yield from gained(before, ())
        by_places = yield from gained(before, self._pushes)
        start = min(heads, key=_ANSWERED)
        shown, later = yield from _times(reads, min(bounds), set(rows_of(start)))
        total = max(end.total, 1)
        reached = -inf if linked else min(end.updated, default=inf)
        for number, (read, horizon) in enumerate(zip(reads, bounds, strict=True)):
            if not number % AT_ONCE:
                yield
            most = max(by_totals.get(read.answered, 0), by_places.get(read.answered, 0))
            if not most or horizon <= reached:
                continue
            times = later if read is start or is_before(start, read) else shown
            entered = len(times) - bisect_left(times, horizon)
            if 2 * max(entered, most) < total and most > entered + entered * entered // total:
                return True
        return False


def _times(
    reads: Sequence[Read], horizon: float, known: set[tuple[int, int]]
) -> Steps[tuple[list[int], list[int]]]:
    """The newest time of each id that *reads* show from *horizon* on; then without the *known*."""
    shown: dict[int, int] = {}
    later: dict[int, int] = {}
    for number, read in enumerate(reads):
        if not number % AT_ONCE:
            yield
        if newest(read) < horizon:
            continue
        yield
        for row, time in rows_of(read):
            if time >= horizon:
                shown[row] = max(time, shown.get(row, time))
                if (row, time) not in known:
                    later[row] = max(time, later.get(row, time))
    return sorted(shown.values()), sorted(later.values())


def gained(reads: Sequence[Read], pushes: Sequence[Push]) -> Steps[dict[int, float]]:
    """How many rows entered after each of *reads*, at least; by when that was answered.

    By the *pushes* between them, or by totals where there are none.
    """
    answered = sorted(reads, key=_ANSWERED, reverse=True)
    yield
    sent = sorted(reads, key=_SENT, reverse=True)
    yield
    after: dict[int, list[Push]] = {}
    for push in pushes:
        after.setdefault(push.first.answered, []).append(push)
    found: dict[int, float] = {}
    best, risen, place = 0.0, -inf, 0
    for number, read in enumerate(answered):
        if not number % AT_ONCE:
            yield
        while place < len(sent) and is_before(read, sent[place]):
            later = sent[place]
            best = max(best, found[later.answered])
            if not contradicts_total(later):
                risen = max(risen, found[later.answered] + later.total)
            place += 1
        more = best
        if pushes:
            for push in after.get(read.answered, ()):
                if push.second.answered in found:
                    more = max(more, push.rows + found[push.second.answered])
        elif not contradicts_total(read):
            more = max(more, risen - read.total)
        found[read.answered] = more
    return found


def contradicts_total(read: Read) -> bool:
    """Whether the rows of *read* end before its total, or after: one of the two is wrong."""
    end = read.offset + read.count
    return end > read.total or (read.count < read.size and end < read.total)


def pushed(first: Read, second: Read, horizon: float) -> int:
    """How many more rows stand before a time in *second* than in *first*, at most.

    Only times that are not newer than *horizon* count: whether a younger row enters before them
    depends on the order of the list. Nothing is known of an answer with the rows of another page,
    in which a page or more stands before.
    """
    if any(read.count < read.size and read.offset for read in (first, second)):
        return 0  # the page may have been cut: its offset is not known
    assert first.by_update is not None
    assert second.by_update is not None
    falling = first.by_update.falling and second.by_update.falling
    if falling is (first.by_update.rising and second.by_update.rising):
        return 0  # no time changes on either page
    before, after = places(first, falling=falling), places(second, falling=falling)
    most, upper, lower = 0, next(before, None), next(after, None)
    while upper and lower:
        oldest = max(upper.above, lower.above)
        if oldest < min(upper.until, lower.until) and oldest < horizon:
            most = max(most, lower.rows - upper.rows)
        if upper.above > lower.above:
            upper = next(before, None)
        else:
            lower = next(after, None)
    return most if most < second.size else 0


class Place(NamedTuple):
    """Before each time that is newer than *above* and not newer than *until*, *rows* rows stand."""

    above: float
    until: float
    rows: int


def places(read: Read, *, falling: bool) -> Iterator[Place]:
    """Where the times change on the page, the newest first; *falling*: so is the list."""
    times = list(read.updated)
    start = read.offset
    found = [
        Place(min(pair), max(pair), start + place)
        for place, pair in enumerate(pairwise(times), 1)
        if pair[0] != pair[1]
    ]
    if is_first(read) and times:
        edge = Place(times[0], inf, 0) if falling else Place(-inf, times[0], 0)
        found.insert(0, edge)
    return iter(found) if falling else reversed(found)
