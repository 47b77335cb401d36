"""From page results to the consumer's pages: deferred rows, the limit, and counts of both.

Fetches nothing, waits for nothing, and does not judge whether the crawl is complete.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from msgspec import structs

from .._models import Page
from .._page.reader import BadItem
from .._plan.walk import PageResult, Walk
from .._settings import CrawlOptions

T = TypeVar("T")


class Delivery(Generic[T]):
    """The results between the pager and the consumer, and counts of what was delivered.

    - *ready*: results whose pages come next, in order.
    - *limit_reached*: the limit of the options is delivered; no page may follow.
    - *prefix*: full pages delivered in order, from page 1 on.
    - *items*, *pages*, *duplicates*, *bad*: as in the report; *bad* by id, or by its bytes.
    """

    def __init__(self, walk: Walk[T], options: CrawlOptions) -> None:
        self._walk = walk
        self._limit = options.limit
        self._ordered = options.ordered
        self._deferred: list[PageResult[T]] = []  # read out of order: kept until the pass ends
        self.ready: deque[PageResult[T]] = deque()
        self.limit_reached = options.limit == 0
        self.prefix = 0
        self.items = 0
        self.pages = 0
        self.duplicates = 0
        self.bad: dict[int | bytes, BadItem] = {}

    def add(self, result: PageResult[T]) -> None:
        """Take the pager's next result."""
        for bad in result.rows.bad:
            self.bad[bad.raw if bad.id is None else bad.id] = bad
        if result.after_pass:
            self.release()
        else:
            self.duplicates += result.repeated
        if not (result.deferred and self._ordered):
            self.ready.append(result)
        elif result.fresh:
            self._deferred.append(result)

    def release(self) -> bool:
        """Make the deferred results ready; False if there are none."""
        if not self._deferred:
            return False
        self.ready.extend(self._deferred)
        self._deferred.clear()
        return True

    def pop(self) -> Page[T] | None:
        """The page of the first ready result, cut to the limit; None if it has no new item.

        The first page of a crawl is delivered even if it is empty.
        """
        result, walk = self.ready.popleft(), self._walk
        before = max(self.prefix, walk.progress.skipped)
        if result.ref == (before + 1, walk.evidence.size):
            self.prefix = before + 1
        fresh = result.fresh
        if self.pages and not fresh:
            return None
        if self._limit is not None:
            fresh = fresh[: self._limit - self.items]
        page = result.rows.page
        if fresh is not page.content:
            page = structs.replace(page, content=fresh)
        if result.keys:
            walk.delivered(result, len(fresh))
        self.items += len(fresh)
        self.pages += 1
        self.limit_reached = self.items == self._limit
        return page
