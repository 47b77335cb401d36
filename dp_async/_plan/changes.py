"""What is new after a watermark, and the next watermark: the newest rows, as one walk sees them.

Pure; asks for no page. Knows rows and their times, not where they stand.

**Promise.** What is delivered since one watermark, and since the next, lacks no row that came into
the list or was updated between.

Assumed, besides what the certificate takes for granted: a row becomes visible no more than *allowed_lateness*
seconds after the update time it carries, and that is never before its create time.

*Proof.* Let T be the newest time in the first answer of a walk. What was not visible then, be it a
new row or a newer version of one, carries a time of T - lag or a newer one: that is the next
walk's to find, which goes down to there, and takes a row for known only if it is as it was
delivered. What was visible then and has stayed as it was since is on the pages read, if these lead
without a gap from that first answer down to the last watermark: rows that are not updated keep
their places among each other. So much ``covers`` says. The list need not have rested, nor need the
walk be proven complete.

Times are whole seconds, so the time alone does not tell a row from what it is made into within the
same second: a digest of what was delivered does.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from hashlib import blake2b
from math import ceil, inf
from typing import TypeVar

import msgspec

from .._errors import PaginationError
from .._page.reader import Rows
from .._proof.reads import Read
from .watermark import Known, Watermark

T = TypeVar("T")


class Changes:
    """The newest rows of one list, from page to page.

    *floor* is the oldest update time that is wanted; None where the whole list is. *oldest* is the
    same as a bound for the certificate; a page that shows no time from *recent* on need not be
    noted.
    """

    def __init__(self, after: Watermark | None, allowed_lateness: float) -> None:
        self._after = after
        self._allowed_lateness = ceil(allowed_lateness)  # times are cut to whole seconds
        self._before = {} if after is None else {key[0]: key for key in after.keys}
        self._last = dict(self._before)  # the rows of the last seconds, as they were delivered
        self._delivered: list[Known] = []
        self._newest = None if after is None else after.updated
        self._began = False
        self._by_update = True  # no answer was out of this order, newest first
        self._by_create: bool | None = None  # the same; None where none has shown create times
        self._reached = False
        self.floor = (
            after.updated - self._allowed_lateness if after is not None and after.updated else None
        )
        self.oldest = -inf if self.floor is None else self.floor
        self.recent = -inf
        # Ids and times of the rows the watermark knows: they are met again first.
        self.known = frozenset((number, time) for number, time, _ in self._before.values())

    @property
    def reached(self) -> bool:
        """Whether a page was read that goes on below the floor."""
        return self._reached

    def check(self, read: Read) -> None:
        """Raises PaginationError where what is new is wanted, and the list is not newest first."""
        update, create = read.by_update, read.by_create
        if self._after is not None and not self._began and read.count and update is None:
            raise PaginationError(
                "no row at the head of the list has an update time: what is new since a watermark "
                "cannot be told; crawl() reads all of it"
            )
        by_update = self._by_update and (update is None or update.falling)
        by_create = self._by_create
        if create is not None:
            by_create = by_create is not False and create.falling
        if self._after is not None and not (by_update or by_create):
            raise PaginationError(
                "the list is not sorted newest first, by update or by create time: what is new "
                "since a watermark cannot be told; crawl() reads all of it"
            )
        self._by_update, self._by_create = by_update, by_create
        shown = update if by_update else create
        self._reached |= shown is not None and shown.oldest < self.oldest

    def note(self, rows: Rows[T], seen: Container[int]) -> None:
        """Keep the rows of the last seconds as they come; those *seen* before came otherwise."""
        shown = max(rows.updated, default=None if rows.count else 0)
        if not self._began:
            self._began = True
            if self._newest is None or (shown is not None and shown > self._newest):
                self._newest = shown
            if self._newest is not None:
                self.recent = self._newest - self._allowed_lateness
        if self._newest is None or shown is None or shown < self.recent:
            return
        for number, time, item in _timed(rows):
            if time >= self.recent and number not in seen:
                self._last[number] = (number, time, digest(item))

    def sift(self, rows: Rows[T], seen: set[int]) -> tuple[list[T], list[Known], int]:
        """The items that are new and not *seen*, what they are known by, and how many were seen.

        Not those without an update time: whether they are new cannot be told.
        """
        fresh: list[T] = []
        keys: list[Known] = []
        repeated = 0
        for number, time, item in _timed(rows):
            if time < self.oldest:
                continue
            key = (number, time, digest(item))
            if self._before.get(number) == key:
                continue
            if number in seen:
                repeated += 1
                continue
            seen.add(number)
            fresh.append(item)
            keys.append(key)
        return fresh, keys, repeated

    def delivered(self, keys: Iterable[Known]) -> None:
        """These were handed out."""
        self._delivered.extend(keys)

    def watermark(self, scope: str, *, covered: bool) -> Watermark | None:
        """What is known once all was handed out; *covered*: and all was found.

        Else the watermark before, and what was handed out since: nothing, if all was to come. None
        where there was none before.
        """
        if covered:
            if self._newest is None or not (self._by_update or self._by_create):
                return None
            oldest = self._newest - self._allowed_lateness
            keys = [key for key in self._last.values() if key[1] >= oldest]
            return Watermark.at(scope, self._newest, keys)
        if self._after is None or self.floor is None:
            return self._after
        known = self._before | {key[0]: key for key in self._delivered}
        return Watermark.at(scope, self._after.updated, known.values())


def _timed(rows: Rows[T]) -> Iterable[tuple[int, int, T]]:
    """Id, update time and item of the rows that have all three."""
    times = dict(zip(rows.keyed, rows.updated, strict=True))
    for number, item in zip(rows.ids, rows.page.content, strict=True):
        time = times.get(number)
        if time is not None:
            yield number, time, item


def digest(item: object) -> int:
    """A number that tells one version of a row from another, in any process."""
    text = msgspec.json.encode(item, order="deterministic")
    return int.from_bytes(blake2b(text, digest_size=6).digest())
