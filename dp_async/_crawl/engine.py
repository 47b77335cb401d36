"""One crawl at work: binds its plan, its pager and its delivery to the client's runtime.

No HTTP and no JSON: a ``Source`` builds the requests and reads the answers. Tasks refer to the
engine and never to the ``Crawl`` the caller holds, so that dropping a ``Crawl`` ends its tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Generic, TypeVar

from .._call.observe import log
from .._call.stats import Tally
from .._errors import ConfigError, DecodeError, locate
from .._http import Answer, Call
from .._models import Page
from .._plan.checkpoint import Checkpoint, written
from .._plan.page_ref import PageRef
from .._plan.walk import PageResult, Walk
from .._plan.watermark import Watermark
from .._settings import CrawlOptions
from .delivery import Delivery
from .pager import Pager
from .report import CrawlReport, IncompleteCrawl, Phase, make_report
from .runtime import Source

T = TypeVar("T")

#: Concurrency of a crawl with ``concurrency="auto"`` until it adapts.
INITIAL_CONCURRENCY = 8

#: A crawl of at most this many pages does not adapt: it ends before it has learned anything.
FEW_PAGES = 16

#: The window of a crawl, in pages per concurrent request, unless the options set one.
WINDOW_FACTOR = 3


class Engine(Generic[T]):
    """The running parts of a crawl: walk, pager, delivery, and the times of its start and end."""

    def __init__(
        self,
        source: Source[T],
        options: CrawlOptions,
        resume: Checkpoint | None,
        after: Watermark | None,
    ) -> None:
        self._source = source
        self._runtime = source.runtime
        self._options = options
        self._resumable = after is None
        self._call: Call | None = None  # made for the first page, when a loop is running
        self._tally = Tally()
        self._walk: Walk[T] = Walk(options, resume, after, pausing=True)
        self.delivery: Delivery[T] = Delivery(self._walk, options)
        self._adapts = options.concurrency == "auto"
        self._adaptive = False  # whether self._call adapts by now
        wanted = INITIAL_CONCURRENCY if options.concurrency == "auto" else options.concurrency
        self.pager = Pager[PageRef, PageResult[T]](
            self._walk.plan,
            self._fetch,
            self._runtime.spawn,
            concurrency=min(wanted, self._runtime.max_in_flight),
            window=options.window or WINDOW_FACTOR * wanted,
            ordered=options.ordered,
        )
        self._began: float | None = None
        self._ended: float | None = None
        self._answered = -inf  # when the last answer came
        self._stages = 0
        self._opens = -inf  # when the running stage may begin

    async def _fetch(self, ref: PageRef) -> Callable[[], PageResult[T]]:
        assert self._call is not None
        if self._options.replica_lag and self._options.verify:
            await self._await_replicas()
        sent = self._walk.sent()
        answer = await self._call(self._source.request(ref.num, ref.size))
        self._answered = asyncio.get_running_loop().time()
        return partial(self._learn, ref, sent, self._walk.tick(), answer)

    async def _await_replicas(self) -> None:
        """Pause until all replicas show what the answers of the last stage show."""
        now = asyncio.get_running_loop().time()
        if self._walk.stages > self._stages:
            self._stages = self._walk.stages
            self._opens = self._answered + self._options.replica_lag
        if now < self._opens:
            await asyncio.sleep(self._opens - now)

    def _learn(self, ref: PageRef, sent: int, answered: int, answer: Answer) -> PageResult[T]:
        walk = self._walk
        evidence = walk.evidence
        try:
            rows = self._source.read(
                answer.data,
                keys=self._options.verify,
                created=evidence.wants_created,
                packed=evidence.rests,
            )
        except DecodeError as error:
            locate(error, *ref, answer.request_id())
            raise
        result = walk.learn(ref, sent, answered, rows, answer.date, answer.now)
        if self._adapts:
            self._adapt()
        return result

    def _adapt(self) -> None:
        """Take the concurrency the client has learned, once the list is known to be long."""
        evidence, runtime = self._walk.evidence, self._runtime
        if evidence.total > FEW_PAGES * evidence.size:
            if not self._adaptive:
                self._call = runtime.call(self._tally, adaptive=True)
                self._adaptive = True
            concurrency = runtime.adaptive_limit
            self.pager.concurrency = concurrency
            self.pager.window.size = self._options.window or WINDOW_FACTOR * concurrency

    async def next(self) -> Page[T] | None:
        """The next page with new items, cut to the limit; None at the end.

        Raises IncompleteCrawl once, at the end of a strict crawl known not to be complete.
        """
        if self._ended is not None:
            return None
        self._runtime.check_usable()
        if self._call is None:
            self._tally = self._runtime.tally()
            self._call = self._runtime.call(self._tally)
            self._began = self._runtime.clock()
        delivery = self.delivery
        while not delivery.limit_reached:
            if delivery.ready:
                page = delivery.pop()
                if page is not None:
                    return page
            elif (result := await self.pager()) is not None:
                delivery.add(result)
                if result.rows.count > self._options.page_size:
                    await asyncio.sleep(0)  # a wide page took as long as several others
            elif self._walk.paused:
                await asyncio.sleep(0)  # the certificate takes long, and others may run meanwhile
                self._walk.resume()
            elif not delivery.release():
                if not self._walk.over:  # a bug, which must not look like the end of the list
                    raise AssertionError("the pages ended before the plan of the crawl did")
                remaining = self._walk.remaining()
                if remaining is None:
                    break
                delivery.add(remaining)
        for _ in iter(self._walk.evidence.release, False):
            await asyncio.sleep(0)
        self._end()
        return None

    def _end(self) -> None:
        self._ended = self._runtime.clock()
        self.pager.cancel()  # at a limit, pages that nobody needs may be in flight
        report = self.report(0)
        if report.complete is False:
            if self._options.strict:
                raise IncompleteCrawl(report)
            log(logging.WARNING, "a crawl is not complete: %s", report.reason)

    @property
    def _phase(self) -> Phase:
        if self._began is None:
            return "not started"
        if self._ended is not None:
            return "ended"
        return "stopped early" if self.pager.closed else "not finished"

    def report(self, waiting: int) -> CrawlReport:
        """The report of now; *waiting* items of the last page are not delivered yet."""
        elapsed = 0.0
        if self._began is not None:
            now = self._runtime.clock() if self._ended is None else self._ended
            elapsed = now - self._began
        return make_report(
            self._phase,
            self._walk,
            self.delivery,
            self._tally,
            self._options,
            waiting=waiting,
            elapsed=elapsed,
            unstamped=self._source.unstamped,
        )

    def checkpoint(self, waiting: int) -> str:
        """The text to resume from. Delivery is at least once, and leaves no gap.

        So the last page does not count while items of it are *waiting*, and no page counts once
        the list has drifted. Raises ConfigError for a crawl since a watermark.
        """
        if not self._resumable:
            raise ConfigError("a crawl since a watermark has no checkpoint: begin again with since")
        walk = self._walk
        evidence = walk.evidence
        delivered = max(self.delivery.prefix - (waiting > 0), walk.progress.skipped)
        return written(
            Checkpoint(
                scope=self._source.scope,
                size=evidence.size,
                pages=0 if evidence.drifted else delivered,
                total=evidence.first_total,
                head=evidence.head,
                unique=evidence.seen.unique,
            )
        )

    def watermark(self, waiting: int) -> Watermark | None:
        """The watermark of the list; None until the last item is delivered."""
        if self._ended is None or waiting:
            return None
        return self._walk.watermark(self._source.scope)

    async def aclose(self) -> None:
        await self.pager.aclose()


async def mark_now(source: Source[T], options: CrawlOptions) -> Watermark | None:
    """The watermark of a list as it is now: what its last seconds hold is known, and not new.

    One request, unless these seconds fill more than a page. Raises PaginationError for a
    list that is not sorted newest first, or shows no update times.
    """
    runtime = source.runtime
    call = runtime.call(runtime.tally())
    walk: Walk[T] = Walk(options, after=Watermark.start(source.scope))
    ref = walk.plan()
    assert ref is not None
    sent, answer = walk.tick(), await call(source.request(ref.num, ref.size))
    try:
        rows = source.read(answer.data)
    except DecodeError as error:
        locate(error, *ref, answer.request_id())
        raise
    walk.learn(ref, sent, walk.tick(), rows, answer.date, answer.now)
    changes = walk.evidence.changes
    mark = changes.watermark(source.scope, covered=True)
    if mark is None or changes.shows_recent:
        return mark
    engine: Engine[T] = Engine(source, options, None, mark)
    try:
        while await engine.next() is not None:
            pass  # the rows of its last seconds that page 1 did not show
    finally:
        await engine.aclose()
    return engine.watermark(0)
