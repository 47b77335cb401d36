"""One walk over a whole list: which pages to ask for, what was delivered, where it stands.

No HTTP and no JSON: a ``Source`` fetches a page. The engine, which tasks refer to, is apart from
the ``Crawl`` the caller holds, so that dropping a ``Crawl`` ends its tasks.
"""

from __future__ import annotations

import asyncio
import logging
import operator
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, Self, TypeVar

from msgspec import Raw, structs

from ._certificate import Complete
from ._checkpoint import Checkpoint, read, written
from ._errors import ConfigError
from ._http import Call, Request
from ._models import Page
from ._pager import Pager
from ._pages import BadItem, RowReader
from ._plan import Ask
from ._report import CrawlReport, IncompleteCrawl, Tally
from ._settings import CrawlOptions
from ._walk import Step, Walk
from ._watermark import Watermark

T = TypeVar("T")

log = logging.getLogger("dp_async")

#: Pages under way at once, for ``concurrency="auto"``, as long as nothing else is known.
AT_ONCE = 8
#: A list of so many pages is over before anything could be learned from it.
FEW_PAGES = 16


class Runtime(Protocol):
    """What a crawl needs of the client it runs on."""

    @property
    def max_in_flight(self) -> int: ...

    @property
    def scope(self) -> tuple[str, ...]:
        """What tells its lists from another client's."""
        ...

    def enter(self) -> None:
        """Refuse, by an error, to work on: closed, or in another loop, thread or process."""

    @property
    def adaptive_limit(self) -> int:
        """The requests to have in flight, as learned so far."""
        ...

    def tally(self) -> Tally:
        """Counts of one's own, which are the client's too."""
        ...

    def call(self, tally: Tally, *, adaptive: bool = False) -> Call:
        """A way to call that counts into *tally*; *adaptive*: and that learns how many at once."""
        ...

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """A task that ends with the client at the latest."""
        ...

    async def sleep(self, seconds: float, until: asyncio.Future[None]) -> None:
        """Return after so many *seconds*, when *until* has a result, or the client is closed."""
        ...

    def clock(self) -> float:
        """Seconds, from any start."""
        ...


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """One list on the server: a request for page *num* of *size* rows, the reader of its data."""

    request: Callable[[int, int], Request]
    read: RowReader[T]
    runtime: Runtime
    scope: str


class _Engine(Generic[T]):
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
        self.pager = Pager[Ask, Step[T]](
            self.walk.plan,
            self._fetch,
            runtime.spawn,
            concurrency=concurrency,
            window=options.window or 3 * wanted,
            ordered=options.ordered,
        )
        self._held: list[Step[T]] = []  # read out of order: until what comes before is out
        self._ready: deque[Step[T]] = deque()
        self.bad: dict[int | bytes, BadItem] = {}
        self.items = 0
        self.pages = 0
        self.duplicates = 0
        self.began: float | None = None
        self.ended: float | None = None

    async def _fetch(self, ask: Ask) -> Callable[[], Step[T]]:
        assert self._call is not None
        sent = self.walk.tick()
        answer = await self._call(self._source.request(ask.num, ask.size))
        return partial(self._learned, ask, sent, self.walk.tick(), answer)

    def _learned(self, ask: Ask, sent: int, answered: int, answer: Raw) -> Step[T]:
        walk = self.walk
        rows = self._source.read(answer, keys=self._options.verify, created=walk.wants_created)
        step = walk.learn(ask, sent, answered, rows)
        if self._adapts:
            self._adapt()
        return step

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
        self._runtime.enter()
        if self._call is None:
            self.tally = self._runtime.tally()
            self._call = self._runtime.call(self.tally)
            self.began = self._runtime.clock()
        while not self._is_enough:
            if not self._ready:
                step = await self.pager()
                if step is not None:
                    self._sort_in(step)
                elif not self._held:
                    if not self.walk.over:  # a bug, which must not look like the list's end
                        raise AssertionError("the pages ended before the plan of the crawl did")
                    break
                else:
                    self._let_out()
                continue
            step = self._ready.popleft()
            before = max(self._prefix, self.walk.skipped)
            if step.ask == (before + 1, self.walk.size):
                self._prefix = before + 1
            if step.fresh or not self.pages:
                return self._handed_out(step)
        self._end()
        return None

    @property
    def _is_enough(self) -> bool:
        return self._options.limit is not None and self.items >= self._options.limit

    def _sort_in(self, step: Step[T]) -> None:
        for bad in step.rows.bad:
            self.bad[bad.raw if bad.id is None else bad.id] = bad
        if step.late:
            self._let_out()
        else:
            self.duplicates += step.repeated
        if not (step.held and self._options.ordered):
            self._ready.append(step)
        elif step.fresh:
            self._held.append(step)

    def _let_out(self) -> None:
        self._ready.extend(self._held)
        self._held.clear()

    def _handed_out(self, step: Step[T]) -> Page[T]:
        fresh = step.fresh
        if self._options.limit is not None:
            fresh = fresh[: self._options.limit - self.items]
        page = step.rows.page
        if fresh is not page.content:
            page = structs.replace(page, content=fresh)
        if step.keys:
            self.walk.delivered(step, len(fresh))
        self.items += len(fresh)
        self.pages += 1
        return page

    def _end(self) -> None:
        self.ended = self._runtime.clock()
        self.pager.cancel()  # at a limit, pages may be under way that nobody needs
        report = self.report(0)
        if report.complete is False:
            log.warning("a crawl is not complete: %s", report.reason)
            if self._options.strict:
                raise IncompleteCrawl(report)

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
    ask = walk.plan()
    assert ask is not None
    sent, answer = walk.tick(), await call(source.request(ask.num, ask.size))
    walk.learn(ask, sent, walk.tick(), source.read(answer))
    return walk.news.watermark(source.scope, covered=True)


class Crawl(Generic[T]):
    """One walk over a list: iterate it, or its ``pages()``; ``report`` says where it stands.

    ``async with`` ends its tasks promptly. It has one consumer. A page that could not be had raises
    its error once; the next call asks for that page again, so nothing is lost by going on, nor by a
    timeout round ``anext``. Closed while waiting, it raises ClientClosed.
    """

    def __init__(
        self,
        source: Source[T],
        options: CrawlOptions,
        progress: Callable[[CrawlReport], object] | None = None,
        resume: str | None = None,
        after: Watermark | None = None,
    ) -> None:
        before = None if resume is None else read(resume, source.scope)
        if before and (options.limit is not None or not options.verify):
            raise ConfigError("resume goes with verify=True and without a limit")
        self._engine: _Engine[T] = _Engine(source, options, before, after)
        self._progress = progress
        self._items: Iterator[T] = iter(())
        self._kept: Page[T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def report(self) -> CrawlReport:
        """Where the crawl stands now."""
        return self._engine.report(self._waiting)

    @property
    def _waiting(self) -> int:
        """Items of the last page that the consumer does not have yet."""
        return operator.length_hint(self._items) + len(self._kept or ())

    @property
    def bad_items(self) -> list[BadItem]:
        """The rows that could not be read, where the options say to keep them apart."""
        return list(self._engine.bad.values())

    @property
    def watermark(self) -> Watermark | None:
        """How far the list is known, for ``listing.since()``: once the last item was delivered.

        What ``since`` it finds is all that came into the list or was updated after this crawl began
        and was not delivered by it, whatever else happened meanwhile: for that the crawl need not
        be complete. Where even so much cannot be told, or a crawl since a watermark stopped at a
        limit, it is the watermark before, and what was delivered since then: nothing is lost, but
        the way down is as long as before; after ``since(None)``, one that knows nothing.

        None until the last item is delivered, so keep the one before until then. None also after a
        ``crawl()`` that left a gap or stopped at a limit, with ``verify=False``, or of a list that
        is not sorted newest first.
        """
        return self._engine.watermark(self._waiting)

    def checkpoint(self) -> str:
        """A text to go on from: ``listing.crawl(resume=...)``, for this list and these filters.

        What was handed out after it comes again; nothing is left out. The crawl that resumes starts
        over, and says so, if the list is not what it was. Raises ConfigError for a crawl made by
        ``since``: begin that again instead.
        """
        return self._engine.checkpoint(self._waiting)

    def pages(self) -> Pages[T]:
        """The pages from here on, instead of the items."""
        return Pages(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            page = await self.next_page()
            if page is None:
                raise StopAsyncIteration
            self._items = iter(page.content)

    async def next_page(self) -> Page[T] | None:
        """The next page, None at the end. Items of a page not consumed yet are passed over."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        page = await self._engine.next() if self._kept is None else self._kept
        if self._progress is not None and page is not None:
            self._kept = page  # in case the callback raises: the page is not lost by that
            self._progress(self._engine.report(0))
            self._kept = None
        return page

    async def aclose(self) -> None:
        """End it; returns when none of its requests is under way. Twice is fine."""
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Reached with requests under way only if neither closed nor read to its end. This may be
        # another thread (the collector runs anywhere), so the loop is asked to cancel them.
        engine = getattr(self, "_engine", None)
        if engine is None or not engine.pager.running or self._loop is None:
            return
        with suppress(RuntimeError):  # the loop is closed: nothing runs any more
            self._loop.call_soon_threadsafe(engine.pager.cancel)
        warnings.warn(
            "a Crawl was dropped while it was fetching; use `async with listing.crawl()`",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )


class Pages(Generic[T]):
    """The pages of a crawl: an iterator of its own, closed by ``aclose()`` or ``async with``."""

    def __init__(self, crawl: Crawl[T]) -> None:
        self._crawl = crawl

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[T]:
        page = await self._crawl.next_page()
        if page is None:
            raise StopAsyncIteration
        return page

    async def aclose(self) -> None:
        """End the crawl."""
        await self._crawl.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
