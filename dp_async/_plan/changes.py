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
  it was delivered (``known``). So the next crawl finds it.
- What was visible then, and has not changed since, is on the pages that were read, if these lead
  without a gap from that first answer down to the last watermark: rows that are not updated keep
  their order. ``covers`` checks just that. The list need not have been at rest, nor need the crawl
  be proven complete.

Times are whole seconds, so a time alone does not tell two versions of a row apart that were made in
the same second. A digest of the delivered row does.

Beyond the lateness, at no request: the page that goes on below T - allowed_lateness shows rows
below it without a gap, and they are remembered while there is space. So a row that a later crawl
reads in that part of the list, and that is not remembered, was not delivered, whatever its time.

A row's *place* is the time by which the list is sorted. Where that may be the update time or the
create time, it is the update time, and a row counts as compared only if both allow it.

A row dated in the future is delivered, once a version, and stays among the known rows. A watermark
that is itself ahead of the server's clock, by more than the clocks of two servers differ, was made
by a clock that was wrong: what it hides is not known, so the whole list is wanted again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from math import ceil, inf
from typing import TypeVar, cast

from msgspec import structs

from .._errors import PaginationError
from .._page.reader import Rows
from .._proof.reads import Read
from .ids import Ids
from .known import Key, KnownRows, digest
from .next_watermark import mark_after, mark_at
from .order import LOWEST, Order, Row, timed
from .watermark import Watermark

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
    - *rows*: the rows in the last watermark, and *known_rows*, how many of them are wanted again.
    - *reached*: whether a page was read that goes on below the floor. *depth*: where the first such
      page of the list ended, None without one.
    - *started_over*: why the watermark does not count; "" if it does.
    """

    def __init__(self, after: Watermark | None, allowed_lateness: float) -> None:
        self._after = after
        self._allowed_lateness = ceil(allowed_lateness)  # times are cut to whole seconds
        self._order = Order(by_create=None if after is None or after.by_create else False)
        self._compared = inf if after is None else after.compared
        self._shown: dict[int, Row[int]] = {}  # rows of the pages noted: their digests
        self._pages: list[tuple[float, float]] = []  # places from which and down to which they lead
        self._delivered: list[Key] = []
        self._newest = self._least = None if after is None else after.updated
        self._edge = False  # whether a page showed where the rows dated in the future end
        self._latest: int | None = None  # the newest may be no later; None: the first answer's is
        self._began = False
        self.rows = KnownRows[object](
            () if after is None else after.digests, () if after is None else after.crowds
        )
        self.known_rows = 0 if after is None else after.recent
        self.reached = False
        self.depth: int | None = None
        self.floor: int | None = None
        if after is not None and after.updated:
            # The crowds reach down further if they are of a run with a larger lateness.
            crowds = [crowd.oldest for crowd in after.crowds]
            self.floor = min([after.updated - self._allowed_lateness, *crowds])
        self.oldest = -inf if self.floor is None else self.floor
        self.recent = -inf
        self.started_over = ""

    def check(self, read: Read) -> None:
        """Raises PaginationError where a watermark was given and the list is not newest first."""
        if self._after is not None and not self._began and read.count and read.by_update is None:
            raise PaginationError(
                "no row at the head of the list has an update time: what is new since a watermark "
                "cannot be told; crawl() reads all of it"
            )
        order = self._order.after(read)
        if self._after is not None and not order.is_newest_first:
            raise PaginationError(
                "the list is not sorted newest first, by update or by create time: what is new "
                "since a watermark cannot be told; crawl() reads all of it"
            )
        self._order = order
        shown = read.by_update if order.by_update else read.by_create
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
        shown = list(timed(rows))
        start, end = self._extent(rows, shown)
        counts = start >= self.recent  # else only its recent rows do
        for number, updated, created, item in shown:
            if not counts and updated < self.recent:
                continue
            if number not in seen:
                key = digest(number, updated, item)
                self._shown[number] = Row(number, updated, created, key)
            elif number not in self._shown:  # the version that was delivered is not known here
                end = max([end, *(place + 1 for place in self._order.places(updated, created))])
        if counts:
            self._pages.append((start, end))

    def _extent(self, rows: Rows[T], shown: Sequence[Row[T]]) -> tuple[float, float]:
        """The places from which and down to which a page shows all rows, in any possible order."""
        places = [self._order.places(row.updated, row.created) for row in shown]
        columns = list(zip(*places, strict=True))
        if not columns:
            return -inf, inf
        page = rows.page
        is_end = page.last and page.number * page.size + rows.count >= page.total_elements
        # More rows of the last time may follow.
        end = -inf if is_end else max(min(column) for column in columns) + 1
        return min(max(column) for column in columns), end

    def _begin(self, rows: Rows[T], now: float) -> None:
        """Take the newest time from the first answer."""
        self._began = True
        if self._newest is not None and self._newest > now + LARGEST_SKEW:
            seconds = self._newest - now
            self.started_over = f"the watermark is {seconds:.0f} s ahead of the server's clock"
            self._newest, self._least, self.oldest = None, None, -inf
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

    def sift(self, rows: Rows[T], seen: Ids) -> tuple[list[T], list[Key], int]:
        """The items that are new or changed, their keys, and how many of the others were *seen*.

        Items without an update time are left out: whether they are new cannot be known.
        """
        found: list[tuple[Key, object]] = []
        for row in timed(rows):
            number, updated, created, item = row
            places = self._order.places(updated, created)
            if updated >= self.oldest or min(places) >= self._compared:
                key = (number, updated, digest(number, updated, item))
                if number not in seen:
                    self._shown[number] = Row(number, updated, created, key[2])
                found += self.rows.sift(key, places[0], item)
        fresh, keys, repeated = self._fresh(found, seen)
        return cast("list[T]", fresh), keys, repeated

    def remaining(self, seen: Ids) -> tuple[list[object], list[Key], int]:
        """The same of the rows held back, once no more pages are read."""
        return self._fresh(self.rows.remaining(), seen)

    def _fresh(
        self, found: Iterable[tuple[Key, object]], seen: Ids
    ) -> tuple[list[object], list[Key], int]:
        fresh: list[object] = []
        keys: list[Key] = []
        repeated = 0
        for key, item in found:
            if key[0] in seen:
                repeated += 1
                continue
            seen.add(key[0])
            fresh.append(item)
            keys.append(key)
        return fresh, keys, repeated

    def delivered(self, keys: Iterable[Key]) -> None:
        """The rows with these *keys* were handed out."""
        self._delivered.extend(keys)

    @property
    def shows_recent(self) -> bool:
        """Whether one page showed all rows of the last seconds before the newest time."""
        return not self._newest or self._compared_down_to(self.recent) <= self.recent

    def _compared_down_to(self, floor: float) -> float:
        """The place down to which pages that begin above *floor* show all rows."""
        return min((end for start, end in self._pages if start >= floor), default=inf)

    def watermark(self, scope: str, *, covered: bool) -> Watermark | None:
        """The next watermark, once all rows were handed out; *covered*: no gap is possible.

        If a gap cannot be ruled out, this is the previous watermark plus the rows delivered since;
        the next crawl goes back as far as this one did. None if there was none before.
        """
        if not covered:
            return self._with_delivered()
        newest = self._latest if self._newest is None else self._newest
        if newest is None or not self._order.is_newest_first:
            return None
        if not newest:
            return Watermark.start(scope)
        floor = newest - self._allowed_lateness
        compared = max(min(floor, self._compared_down_to(floor)), LOWEST)
        before = [] if self._after is None else self._after.digests
        shown = self._shown.values()
        return mark_at(scope, newest, shown, self._order, floor, int(compared), before)

    def _with_delivered(self) -> Watermark | None:
        """The last watermark, with what was delivered since, as far as it has space."""
        after = self._after
        if after is None or self.floor is None:
            return after
        delivered = [(time, digest) for _, time, digest in self._delivered]
        if self.started_over:
            after = structs.replace(after, updated=0)
        return mark_after(after, delivered, self.floor, by_update=self._order.by_update)
