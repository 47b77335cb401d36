"""A read, that is one answer, and the facts about it that both rules use.

No rule and no decision belongs here.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from itertools import accumulate
from math import ceil, floor, inf
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from .._times import Times
from .steps import finished, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .steps import Steps


_ANSWERED, _COUNT, _SIZE = map(attrgetter, ("answered", "count", "size"))


class Ids(Protocol):
    """Ids of rows, in the order of the answer."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    def __getitem__(self, place: int, /) -> int: ...


class Column(Struct, gc=False):
    """One time column of one page: its extremes, and whether it never rises or never falls."""

    newest: int
    oldest: int
    falling: bool
    rising: bool
    times: Times
    ids: Ids

    @classmethod
    def of(cls, times: Times | Sequence[int], ids: Ids) -> Column | None:
        """The column of *times*, in the order of the answer, or None if a row lacks its time."""
        shown = times if isinstance(times, Times) else Times.of(times)
        if not shown.count or shown.count != len(ids):
            return None
        return cls(shown.newest, shown.oldest, shown.falling, shown.rising, shown, ids)


class Read(Struct, gc=False):  # a crawl keeps one for each page, which no collection has to visit
    """The rows of one page, taken by the server at one moment between *sent* and *answered*.

    Both are ticks of the crawl's own counter of events, not of a clock. *newest_past*: the newest
    update time that is not later than *now*; -inf without one. Build it with ``Read.of``.
    """

    sent: int
    answered: int
    offset: int
    size: int
    count: int
    total: int
    ids: Ids
    updated: Times
    by_update: Column | None
    by_create: Column | None
    newest_past: float
    date: float | None = None
    now: float = inf

    @classmethod
    def of(
        cls,
        *,
        sent: int,
        answered: int,
        offset: int,
        size: int,
        count: int,
        total: int,
        ids: Sequence[int],
        updated: Times | Sequence[int],
        created: Times | Sequence[int],
        date: float | None = None,
        now: float = inf,
    ) -> Read:
        """A read of *count* raw rows; *ids* and *updated* are those of its good rows, in order.

        A good row has an id and an update time. Times are whole seconds. *created* is parallel to
        *ids*, or empty if a good row has no create time. *date*: the server's clock as it answered,
        counted as the times are; None if it did not send it. *now*: the same, or else this
        machine's clock.
        """
        times = updated if isinstance(updated, Times) else Times.of(updated)
        by_update = by_create = Column.of(times, ids)
        if not created:
            by_create = None
        elif created is not updated:
            others = created if isinstance(created, Times) else Times.of(created)
            if others != times:
                by_create = Column.of(others, ids)
        newest_past = by_update.newest if by_update else -inf
        if newest_past > now:
            newest_past = max((time for time in times if time <= now), default=-inf)
        return cls(
            sent,
            answered,
            offset,
            size,
            count,
            total,
            ids,
            times,
            by_update,
            by_create,
            newest_past,
            date,
            now,
        )

    def keep(self, ids: Ids) -> None:
        """Take *ids*, which are the same ones, and take less space."""
        self.ids = ids
        for column in (self.by_update, self.by_create):
            if column is not None:
                column.ids = ids


def is_first(read: Read) -> bool:
    return read.offset == 0


def is_last(read: Read) -> bool:
    """Whether no row followed this page.

    A full page never proves that: the server may count its total in a second query, later.
    """
    return is_short(read) and not more_follow(read)


def is_short(read: Read) -> bool:
    return read.count < read.size


def more_follow(read: Read) -> bool:
    return read.total > read.offset + read.count


def with_true_sizes(reads: Sequence[Read]) -> Sequence[Read]:
    """The reads, with no page size above the row count of the fullest answer.

    A server may cut page sizes without echoing that. Offsets computed from the requested size are
    then too large as well, so a full page in the middle seems to end at the total; it must not pass
    for a short page. Page 1 keeps its size, since its offset is right for any size.
    """
    fullest = max(map(_COUNT, reads))
    if max(map(_SIZE, reads)) <= fullest:
        return reads
    return [
        read if is_first(read) or read.size <= fullest else replace(read, size=fullest)
        for read in reads
    ]


def reaches_head(read: Read) -> bool:
    """Whether no row is newer than those of *read*; False where its times are all the same."""
    column = read.by_update
    if column is None or column.falling is column.rising:
        return False
    return is_first(read) if column.falling else is_last(read)


def reaches_tail(read: Read) -> bool:
    """Whether no row is older than those of *read*, by its place: true of page 1 alone.

    False where its times are all the same.
    """
    column = read.by_update
    return column is not None and column.rising and not column.falling and is_first(read)


def rows_of(read: Read) -> Iterator[tuple[int, int]]:
    """Ids and update times."""
    return zip(read.ids, read.updated, strict=True)


def is_before(first: Read, second: Read) -> bool:
    return first.answered < second.sent


def horizons(reads: Sequence[Read], allowed_lateness: float, *, dated: bool = True) -> list[float]:
    """For each read, its horizon: a row that enters or is updated later is at least this new."""
    return finished(horizons_in_steps(reads, allowed_lateness, dated=dated))


def horizons_in_steps(
    reads: Sequence[Read], allowed_lateness: float, *, dated: bool = True
) -> Steps[list[float]]:
    """``horizons``, none of whose steps takes long."""
    lateness = in_seconds(allowed_lateness)
    found = yield from clocks(reads, dated=dated)
    return [clock - lateness for clock in found]


def clocks(reads: Sequence[Read], *, dated: bool = True) -> Steps[list[float]]:
    """For each read, what the server's clock had reached when it was taken, as far as is known.

    That is the newest time in it or in any read before it, or, if *dated*, the ``Date`` of a read
    before it: its own was written after it was taken. A row dated in the future does not count.
    """
    known = yield from mapped(partial(shown_by, dated=dated), reads)
    answered = list(map(_ANSWERED, reads))
    yield
    # Places and not pairs: the garbage collector would visit the pairs.
    places = sorted(range(len(reads)), key=answered.__getitem__)
    yield
    ticks = list(map(answered.__getitem__, places))
    peaks = [-inf, *accumulate(map(known.__getitem__, places), max)]
    yield

    def clock(read: Read) -> float:
        return max(read.newest_past, peaks[bisect_left(ticks, read.sent)])

    return (yield from mapped(clock, reads))


def shown_by(read: Read, *, dated: bool = True) -> float:
    """What the server's clock had surely reached once *read* was answered."""
    return read.newest_past if read.date is None or not dated else floor(read.date)


def newest(read: Read) -> float:
    return read.by_update.newest if read.by_update else -inf


def in_seconds(allowed_lateness: float) -> int:
    """Rounds up: times are cut to whole seconds, so half a second can show as a whole one."""
    return ceil(allowed_lateness)


def is_old(time: float, horizon: float) -> bool:
    """Whether a row with this time was in the list before the read that has this horizon."""
    return time < horizon
