"""One answer as the rules see it: its rows, when it was taken, and what each rule asks of one.

Nothing here says what a set of reads proves.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from math import ceil, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Column:
    """What one time column of one page shows, in the order of the answer."""

    newest: int
    oldest: int
    falling: bool
    rising: bool
    times: Sequence[int] = field(compare=False, repr=False)
    ids: Sequence[int] = field(compare=False, repr=False)

    @classmethod
    def of(cls, times: Sequence[int], ids: Sequence[int]) -> Column | None:
        """The column of *times*, or None if some row lacks one."""
        if not times or len(times) != len(ids):
            return None
        shown = list(times)
        ordered = sorted(shown, reverse=True)  # in one go where they fall already, as usual
        falling = shown == ordered
        newest, oldest = ordered[0], ordered[-1]
        rising = newest == oldest if falling else shown == ordered[::-1]
        return cls(newest, oldest, falling, rising, times, ids)

    @cached_property
    def ties(self) -> tuple[int, int]:
        """Neighbours with the same time: whose ids ascend, and whose do not."""
        ascending = [
            lower < upper
            for (lower, time), (upper, other) in pairwise(zip(self.ids, self.times, strict=True))
            if time == other
        ]
        return sum(ascending), len(ascending) - sum(ascending)


@dataclass(slots=True)
class Read:
    """One answer: the rows of one page, taken by the server at one moment from sent to answered.

    *sent* and *answered* are ticks of the crawl's own counter of events, not of a clock.
    Build it with ``Read.of``.
    """

    sent: int
    answered: int
    offset: int
    size: int
    count: int
    total: int
    ids: Sequence[int]
    updated: Sequence[int]
    by_update: Column | None
    by_create: Column | None

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
        updated: Sequence[int],
        created: Sequence[int],
    ) -> Read:
        """A read of *count* raw rows; *ids* and *updated* are those of its good rows, in order.

        A good row has an id and an update time. Times are whole seconds. *created* is parallel to
        *ids*, or empty if a good row has no create time; of it only a summary is kept.
        """
        by_update = Column.of(updated, ids)
        by_create = by_update if created == updated else Column.of(created, ids)
        return cls(sent, answered, offset, size, count, total, ids, updated, by_update, by_create)


def is_first(read: Read) -> bool:
    return read.offset == 0


def is_last(read: Read) -> bool:
    """Whether nothing followed this page. A full page never says so: its total is another query."""
    return is_short(read) and not more_follow(read)


def is_short(read: Read) -> bool:
    return read.count < read.size


def more_follow(read: Read) -> bool:
    return read.total > read.offset + read.count


def with_true_sizes(reads: Sequence[Read]) -> Sequence[Read]:
    """The reads with sizes that the server is seen to give.

    If it cuts sizes without echoing that, the offsets made of them are too large as well: a full
    page in the middle seems to end at the total, and must not pass for a short one.
    """
    fullest = max(read.count for read in reads)
    return [
        read if is_first(read) or read.size <= fullest else replace(read, size=fullest)
        for read in reads
    ]


def is_before(first: Read, second: Read) -> bool:
    return first.answered < second.sent


def horizons(reads: Sequence[Read], allowed_lateness: float) -> list[float]:
    """For each read: what enters or is updated after it carries this time or a newer one."""
    answered = sorted((read.answered, newest(read)) for read in reads)
    ticks = [tick for tick, _ in answered]
    peaks = [-inf, *accumulate((time for _, time in answered), max)]
    return [
        max(newest(read), peaks[bisect_left(ticks, read.sent)]) - in_seconds(allowed_lateness)
        for read in reads
    ]


def newest(read: Read) -> float:
    return read.by_update.newest if read.by_update else -inf


def in_seconds(allowed_lateness: float) -> int:
    """Times are cut to whole seconds: half a second late can show as a whole one."""
    return ceil(allowed_lateness)


def is_old(time: float, horizon: float) -> bool:
    """Whether a row with this time entered before the read that has this horizon."""
    return time < horizon
