"""The state of one crawl: its walk, its pager, and what was delivered.

No HTTP and no JSON: a ``Source`` fetches a page. Tasks refer to the engine and not to the ``Crawl``
the caller holds, so that dropping a ``Crawl`` ends its tasks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from msgspec import Raw, structs

from .._call.stats import Tally
from .._errors import ConfigError
from .._http import Call
from .._models import Page
from .._page.reader import BadItem
from .._plan.checkpoint import Checkpoint, written
from .._plan.page_ref import PageRef
from .._plan.walk import PageResult, Walk
from .._plan.watermark import Watermark
from .._proof.certificate import Complete
from .._settings import CrawlOptions
from .pager import Pager
from .report import CrawlReport, IncompleteCrawl
from .runtime import Source

T = TypeVar("T")

log = logging.getLogger("dp_async")

#: Pages under way at once, for ``concurrency="auto"``, as long as nothing else is known.
AT_ONCE = 8


#: A list of so many pages is over before anything could be learned from it.
FEW_PAGES = 16


class Engine(Generic[T]):
    """The state of a crawl: its walk, its pager, and what was handed out."""

    def __init__(
        self,
        source: Source[T],
        options: CrawlOptions,
        resume: Checkpoint | None,
        after: Watermark | None,
    ) -> None:
        runtime = source.runtime
        self._source = source
        self._runtime = runtime
        self._options = options
        self._after = after
        self._call: Call | None = None  # put together at the first page, when a loop is running
        self.tally = Tally()
        self.walk: Walk[T] = Walk(options, resume, after)
        self._prefix = 0  # full pages handed out, in order, from page 1 on
        self._adapts = options.concurrency == "auto"
        self._adaptive = False  # whether it does by now
        wanted = AT_ONCE if options.concurrency == "auto" else options.concurrency
        concurrency = min(wanted, runtime.max_in_flight)
        self.pager = Pager[PageRef, PageResult[T]](
            self.walk.plan,
            self._fetch,
            runtime.spawn,
            concurrency=concurrency,
            window=options.window or 3 * wanted,
            ordered=options.ordered,
        )
        self._held: list[PageResult[T]] = []  # read out of order: until what comes before is out
        self._ready: deque[PageResult[T]] = deque()
        self.bad: dict[int | bytes, BadItem] = {}
        self.items = 0
        self.pages = 0
        self.duplicates = 0
        self.began: float | None = None
        self.ended: float | None = None

    async def _fetch(self, ref: PageRef) -> Callable[[], PageResult[T]]:
        assert self._call is not None
        sent = self.walk.tick()
        answer = await self._call(self._source.request(ref.num, ref.size))
        return partial(self._learned, ref, sent, self.walk.tick(), answer)

    def _learned(self, ref: PageRef, sent: int, answered: int, answer: Raw) -> PageResult[T]:
        walk = self.walk
        rows = self._source.read(answer, keys=self._options.verify, created=walk.wants_created)
        result = walk.learn(ref, sent, answered, rows)
        if self._adapts:
            self._adapt()
        return result

    def _adapt(self) -> None:
        """Have as many pages under way as the client has learned, once there are many to come."""
        walk, runtime = self.walk, self._runtime
        if walk.total > FEW_PAGES * walk.size:
            if not self._adaptive:
                self._call = runtime.call(self.tally, adaptive=True)
                self._adaptive = True
            self.pager.concurrency = runtime.adaptive_limit
            self.pager.window = self._options.window or 3 * self.pager.concurrency

    async def next(self) -> Page[T] | None:
        """The next page with items not handed out before, cut to the limit; None at the end."""
        if self.ended is not None:
            return None
        self._runtime.check_usable()
        if self._call is None:
            self.tally = self._runtime.tally()
            self._call = self._runtime.call(self.tally)
            self.began = self._runtime.clock()
        while not self._is_enough:
            if not self._ready:
                result = await self.pager()
                if result is not None:
                    self._sort_in(result)
                elif not self._held:
                    if not self.walk.over:  # a bug, which must not look like the list's end
                        raise AssertionError("the pages ended before the plan of the crawl did")
                    break
                else:
                    self._let_out()
                continue
            result = self._ready.popleft()
            before = max(self._prefix, self.walk.skipped)
            if result.ref == (before + 1, self.walk.size):
                self._prefix = before + 1
            if result.fresh or not self.pages:
                return self._handed_out(result)
        self._end()
        return None

    @property
    def _is_enough(self) -> bool:
        return self._options.limit is not None and self.items >= self._options.limit

    def _sort_in(self, result: PageResult[T]) -> None:
        for bad in result.rows.bad:
            self.bad[bad.raw if bad.id is None else bad.id] = bad
        if result.late:
            self._let_out()
        else:
            self.duplicates += result.repeated
        if not (result.held and self._options.ordered):
            self._ready.append(result)
        elif result.fresh:
            self._held.append(result)

    def _let_out(self) -> None:
        self._ready.extend(self._held)
        self._held.clear()

    def _handed_out(self, result: PageResult[T]) -> Page[T]:
        fresh = result.fresh
        if self._options.limit is not None:
            fresh = fresh[: self._options.limit - self.items]
        page = result.rows.page
        if fresh is not page.content:
            page = structs.replace(page, content=fresh)
        if result.keys:
            self.walk.delivered(result, len(fresh))
        self.items += len(fresh)
        self.pages += 1
        return page

    def _end(self) -> None:
        self.ended = self._runtime.clock()
        self.pager.cancel()  # at a limit, pages may be under way that nobody needs
        report = self.report(0)
        if report.complete is False:
            if self._options.strict:
                raise IncompleteCrawl(report)
            log.warning("a crawl is not complete: %s", report.reason)

    def report(self, waiting: int) -> CrawlReport:
        """Where the crawl stands, *waiting* items of the last page not being delivered yet."""
        tally, walk, began = self.tally, self.walk, self.began
        elapsed = 0.0
        if began is not None:
            elapsed = (self._runtime.clock() if self.ended is None else self.ended) - began
        complete, reason = self._verdict()
        return CrawlReport(
            complete=complete,
            reason=reason,
            items=self.items - waiting,
            pages=self.pages,
            requests=tally.requests,
            retries=tally.retries,
            passes=walk.passes,
            duplicates=self.duplicates,
            bad_items=len(self.bad),
            total_elements=walk.total,
            drifted=walk.moved,
            max_in_flight=tally.max_in_flight,
            elapsed=elapsed,
        )

    def _verdict(self) -> tuple[bool | None, str]:
        if self.began is None:
            return None, "not started"
        if self.ended is None:
            return None, "stopped early" if self.pager.closed else "not finished"
        if not self._options.verify:
            return None, "not verified"
        decision = self.walk.decision
        if self.walk.resumed:
            return None, "resumed: the pages before the checkpoint were not read again"
        if decision is None or not self.walk.finished:
            return None, f"stopped at the limit of {self._options.limit} items"
        nameless = sum(bad.id is None for bad in self.bad.values())
        if nameless:
            return False, f"{nameless} rows have no id that can be read: see bad_items"
        reason = decision.reason
        if self.walk.started_over:
            reason += " (started over: the list had changed since the checkpoint)"
        return isinstance(decision, Complete), reason

    def checkpoint(self, waiting: int) -> str:
        """Where to go on later. A page not consumed to its end, and a list that moved, count as not
        delivered: at least once, never a gap."""
        if self._after is not None:
            raise ConfigError("a crawl since a watermark has no checkpoint: begin again with since")
        walk = self.walk
        pages = 0 if walk.moved else max(self._prefix - (waiting > 0), walk.skipped)
        return written(
            Checkpoint(
                scope=self._source.scope,
                size=walk.size,
                pages=pages,
                total=walk.first_total,
                head=walk.head,
                unique=walk.unique,
            )
        )

    def watermark(self, waiting: int) -> Watermark | None:
        """How far the list is known, once the last item is delivered."""
        if self.ended is None or waiting:
            return None
        return self.walk.watermark(self._source.scope)

    async def aclose(self) -> None:
        await self.pager.aclose()


async def mark_now(source: Source[T], options: CrawlOptions) -> Watermark | None:
    """The watermark of a list as it is now, by one request.

    Raises PaginationError for a list that is not sorted newest first, or shows no update times.
    """
    runtime = source.runtime
    call = runtime.call(runtime.tally())
    walk: Walk[T] = Walk(options, after=Watermark.start(source.scope))
    ref = walk.plan()
    assert ref is not None
    sent, answer = walk.tick(), await call(source.request(ref.num, ref.size))
    walk.learn(ref, sent, walk.tick(), source.read(answer))
    return walk.changes.watermark(source.scope, covered=True)
