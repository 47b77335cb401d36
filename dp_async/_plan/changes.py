"""What changed since a watermark, and the next watermark: the newest rows as one crawl sees them.

Pure. Plans no page; knows rows and their times, not where they stand.

**Promise.** The rows delivered since one watermark, and since the next, lack no row that entered
the list or was updated between the two.

Assumed, besides what the certificate assumes: a row becomes visible no later than
*allowed_lateness* seconds after its update time, and its update time is never before its create
time.

*Proof.* Let T be the newest time in the first answer of a crawl that is not later than the server's
clock: a row dated in the future says nothing of the times to come. If all its rows are, T is the
newest such time on the first page that shows where they end, or if none does, in any answer; but no
later than that clock less ``SLOWEST_ANSWER``: the rows were read before the answer was dated.

- What was not visible then, a new row or a newer version of one, carries a time of at least
  T - allowed_lateness. The next crawl goes down to there, and skips a row only if it is exactly as
  it was delivered. So the next crawl finds it.
- What was visible then, and has not changed since, is on the pages that were read, if these lead
  without a gap from that first answer down to the last watermark: rows that are not updated keep
  their order. ``covers`` checks just that. The list need not have been at rest, nor need the crawl
  be proven complete.

Times are whole seconds, so a time alone does not tell two versions of a row apart that were made in
the same second. A digest of the delivered row does.

A row dated in the future is delivered, once a version, and stays among the known rows. A watermark
that is itself ahead of the server's clock, by more than the clocks of two servers differ, was made
by a clock that was wrong: what it hides is not known, so the whole list is wanted again.
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

SLOWEST_ANSWER = 60
"""Seconds that an answer takes at most from reading the rows to its ``Date``."""
LARGEST_SKEW = 60
"""Seconds by which the clocks of servers that answer in turn differ at most."""


class Changes:
    """The newest rows of one list, page by page.

    - *floor*: the oldest update time that is wanted; None where the whole list is wanted.
    - *oldest*: the same as a bound for the certificate, -inf instead of None.
    - *recent*: only pages that show this time or a newer one are to be noted.
    - *known*: ids and times of the rows in the last watermark.
    - *reached*: whether a page was read that goes on below the floor. *depth*: where the first such
      page of the list ended, None without one.
    - *started_over*: why the watermark does not count; "" if it does.
    """

    def __init__(self, after: Watermark | None, allowed_lateness: float) -> None:
        self._after = after
        self._allowed_lateness = ceil(allowed_lateness)  # times are cut to whole seconds
        self._before = {} if after is None else {key[0]: key for key in after.keys}
        self._last = dict(self._before)  # rows of the newest seconds, as they were delivered
        self._ahead: set[int] = set()  # of these, dated in the future and not shown by this crawl
        self._delivered: list[Known] = []
        self._newest = self._least = None if after is None else after.updated
        self._edge = False  # whether a page showed where the rows dated in the future end
        self._latest: int | None = None  # the newest may be no later; None: the first answer's is
        self._began = False
        self._by_update = True  # no answer contradicts this order, newest first
        self._by_create: bool | None = None  # the same; None before any create time was shown
        self.reached = False
        self.depth: int | None = None
        self.floor = (
            after.updated - self._allowed_lateness if after is not None and after.updated else None
        )
        self.oldest = -inf if self.floor is None else self.floor
        self.recent = -inf
        self.started_over = ""
        self.known = frozenset((number, time) for number, time, _ in self._before.values())

    def check(self, read: Read) -> None:
        """Raises PaginationError where a watermark was given and the list is not newest first."""
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
        if shown is not None and shown.oldest < self.oldest:
            self.reached, end = True, read.offset + read.count
            self.depth = end if self.depth is None else min(end, self.depth)

    def note(self, rows: Rows[T], seen: Container[int], now: float = inf) -> None:
        """Keep the rows of the newest seconds, except those *seen*: another version came.

        *now*: the clock of the server that sent *rows*, counted as the times are.
        """
        if not self._began:
            self._begin(rows, now)
        elif self._latest is not None and not self._edge:
            past = [time for time in rows.updated if time <= now]
            self._edge = 0 < len(past) < len(rows.updated)
            if self._edge:
                self._newest = self._least
            self._advance(max(past, default=None))
        untimed = self._newest is None and self._latest is None
        if untimed or max(rows.updated, default=-inf) < self.recent:
            return
        for number, time, item in _timed(rows):
            if time >= self.recent and number not in seen:
                self._last[number] = (number, time, digest(item))
                self._ahead.discard(number)

    def _begin(self, rows: Rows[T], now: float) -> None:
        """Take the newest time from the first answer."""
        self._began = True
        if self._newest is not None and self._newest > now + LARGEST_SKEW:
            seconds = self._newest - now
            self.started_over = f"the watermark is {seconds:.0f} s ahead of the server's clock"
            self._newest, self._least, self.oldest = None, None, -inf
        self._ahead = {number for number, key in self._last.items() if key[1] > now}
        past = [time for time in rows.updated if time <= now]
        if rows.updated and not past:
            self._latest = max(int(now) - SLOWEST_ANSWER, 0)
        self._advance(max(past, default=None if rows.count else 0))

    def _advance(self, newest: int | None) -> None:
        """Take *newest*, if it is newer than what is known, and not later than allowed."""
        if newest is not None:
            newest = newest if self._latest is None else min(newest, self._latest)
            self._newest = newest if self._newest is None else max(newest, self._newest)
        if self._newest is not None:
            self.recent = self._newest - self._allowed_lateness

    def sift(self, rows: Rows[T], seen: set[int]) -> tuple[list[T], list[Known], int]:
        """The items that are new or changed, their keys, and how many of the others were *seen*.

        Items without an update time are left out: whether they are new cannot be known.
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
        """The rows with these *keys* were handed out."""
        self._delivered.extend(keys)

    def watermark(self, scope: str, *, covered: bool) -> Watermark | None:
        """The next watermark, once all rows were handed out; *covered*: no gap is possible.

        If a gap cannot be ruled out, this is the previous watermark plus the rows delivered since;
        the next crawl goes back as far as this one did. None if there was none before.
        """
        if covered:
            newest = self._latest if self._newest is None else self._newest
            if newest is None or not (self._by_update or self._by_create):
                return None
            oldest = newest - self._allowed_lateness
            # By update time, rows dated in the future come first. One that was not shown is gone;
            # kept, it would stay in every watermark.
            gone = self._ahead if self._by_create is False else ()
            keys = [key for key in self._last.values() if key[1] >= oldest and key[0] not in gone]
            return Watermark.at(scope, newest, keys)
        if self._after is None or self.floor is None:
            return self._after
        known = self._before | {key[0]: key for key in self._delivered}
        return Watermark.at(scope, 0 if self.started_over else self._after.updated, known.values())


def _timed(rows: Rows[T]) -> Iterable[tuple[int, int, T]]:
    """Id, update time and item of the rows that have all three."""
    times = dict(zip(rows.keyed, rows.updated, strict=True))
    for number, item in zip(rows.ids, rows.page.content, strict=True):
        time = times.get(number)
        if time is not None:
            yield number, time, item


def digest(item: object) -> int:
    """48 bits that tell one version of a row from another, the same in every process (BLAKE2)."""
    text = msgspec.json.encode(item, order="deterministic")
    return int.from_bytes(blake2b(text, digest_size=6).digest())
