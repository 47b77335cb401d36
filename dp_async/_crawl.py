"""One walk over a whole list: which pages to ask for, what was delivered, where it stands.

No HTTP and no JSON: a ``Source`` fetches a page. The engine, which tasks refer to, is apart from
the ``Crawl`` the caller holds, so that dropping a ``Crawl`` ends its tasks.
"""

from __future__ import annotations

import asyncio
import operator
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from msgspec import Raw, structs

from ._http import Call, Request
from ._models import Page
from ._pager import Pager
from ._report import CrawlReport, Tally
from ._settings import CrawlOptions

T = TypeVar("T")


class Runtime(Protocol):
    """What a crawl needs of the client it runs on."""

    @property
    def max_in_flight(self) -> int: ...

    def enter(self) -> None:
        """Refuse, by an error, to work on: closed, or in another loop, thread or process."""

    def call(self) -> tuple[Call, Tally]:
        """A way to call that counts into a tally of its own."""
        ...

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """A task that ends with the client at the latest."""
        ...

    def clock(self) -> float:
        """Seconds, from any start."""
        ...


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """One list on the server: a request for page *num* of *size* rows, the reader of its data."""

    request: Callable[[int, int], Request]
    read: Callable[[Raw], Page[T]]
    runtime: Runtime


class _Engine(Generic[T]):
    """The state of a crawl: its plan, its pager and its counts."""

    def __init__(self, source: Source[T], options: CrawlOptions) -> None:
        runtime = source.runtime
        self._source = source
        self._runtime = runtime
        self._limit = options.limit
        limit = options.page_size if options.limit is None else max(options.limit, 1)
        self._size = min(options.page_size, limit)
        self._call: Call | None = None  # put together at the first page, when a loop is running
        self.tally = Tally()
        concurrency = min(options.concurrency, runtime.max_in_flight)
        self.pager = Pager[int, Page[T]](
            self._plan,
            self._fetch,
            runtime.spawn,
            concurrency=concurrency,
            window=max(concurrency, options.window or 3 * options.concurrency),
        )
        self._asked = 0  # pages asked for so far
        self._known = 1  # pages the list is known to have
        self.items = 0
        self.pages = 0
        self.total: int = 0
        self.drifted = False
        self.began: float | None = None
        self.ended: float | None = None

    def _plan(self) -> int | None:
        """The number of the next page, from 1: the first alone, then as many as there are."""
        if self._asked >= self._known:
            return None
        if self._limit is not None and self._asked * self._size >= self._limit:
            return None
        self._asked += 1
        return self._asked

    async def _fetch(self, num: int) -> Page[T]:
        assert self._call is not None
        data = await self._call(self._source.request(num, self._size))
        page = self._source.read(data)
        self._learn(page, num)
        return page

    def _learn(self, page: Page[T], num: int) -> None:
        """Plan on from the echoed size, and from a total that may grow while we read."""
        if num == 1:
            self._size = page.size or self._size
        elif page.total_elements != self.total:
            self.drifted = True
        self.total = page.total_elements
        pages = -(-page.total_elements // self._size)
        if not page.last and len(page) >= self._size:
            pages = max(pages, num + 1)  # whatever the total says, this was not the end
        # Never fewer: a total that fell once would otherwise end the walk before its end.
        self._known = max(self._known, pages)

    async def next(self) -> Page[T] | None:
        """The next page, cut to the limit; None at the end."""
        if self.ended is not None:
            return None
        self._runtime.enter()
        if self._call is None:
            self._call, self.tally = self._runtime.call()
            self.began = self._runtime.clock()
        page = await self.pager()
        if page is None:
            self.ended = self._runtime.clock()
            return None
        if self._limit is not None and len(page) > self._limit - self.items:
            page = structs.replace(page, content=page.content[: self._limit - self.items])
        self.items += len(page)
        self.pages += 1
        return page

    def report(self, waiting: int) -> CrawlReport:
        """Where the crawl stands, *waiting* items of the last page not being delivered yet."""
        tally, began = self.tally, self.began
        elapsed = 0.0
        if began is not None:
            elapsed = (self._runtime.clock() if self.ended is None else self.ended) - began
        return CrawlReport(
            complete=None,
            reason=self._reason(),
            items=self.items - waiting,
            pages=self.pages,
            requests=tally.requests,
            retries=tally.retries,
            passes=0 if began is None else 1,
            duplicates=0,
            bad_items=0,
            total_elements=self.total,
            drifted=self.drifted,
            max_in_flight=tally.max_in_flight,
            elapsed=elapsed,
        )

    def _reason(self) -> str:
        if self.began is None:
            return "not started"
        if self.pager.closed and self.ended is None:
            return "stopped early"
        if self._limit is not None and self.items >= self._limit:
            return f"stopped at the limit of {self._limit} items"
        return "not finished" if self.ended is None else "not verified"

    async def aclose(self) -> None:
        await self.pager.aclose()


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
    ) -> None:
        self._engine: _Engine[T] = _Engine(source, options)
        self._runtime = source.runtime
        self._progress = progress
        self._items: Iterator[T] = iter(())
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def report(self) -> CrawlReport:
        """Where the crawl stands now."""
        return self._engine.report(operator.length_hint(self._items))

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
        page = await self._engine.next()
        if self._progress is not None and page is not None:
            self._progress(self._engine.report(0))
        return page

    async def aclose(self) -> None:
        """End it; returns when none of its requests is under way. Twice is fine."""
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
