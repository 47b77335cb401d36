"""One walk over a whole list: which pages to ask for, what was delivered, where it stands.

No HTTP and no JSON: a ``Source`` fetches a page. The engine, which tasks refer to, is apart from
the ``Crawl`` the caller holds, so that dropping a ``Crawl`` ends its tasks.
"""

from __future__ import annotations

import asyncio
import logging
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, Self, TypeVar

from .._errors import ConfigError
from .._models import Page
from .._page.reader import BadItem
from .._plan.checkpoint import read
from .._plan.watermark import Watermark
from .._settings import CrawlOptions
from .engine import Engine
from .report import CrawlReport
from .runtime import Source

T = TypeVar("T")

log = logging.getLogger("dp_async")


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
        self._engine: Engine[T] = Engine(source, options, before, after)
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
