"""The public faces of a crawl: ``Crawl`` (items) and ``Pages``.

No plan and no tasks: the engine has those. It never refers to its ``Crawl``, so that dropping a
``Crawl`` ends its tasks.
"""

from __future__ import annotations

import asyncio
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, Self, TypeVar

from .._errors import ConfigError
from .._misuse import AsyncEntered, AsyncIterated
from .._models import Page
from .._page.reader import BadItem
from .._plan.checkpoint import read
from .._plan.watermark import Watermark
from .._settings import CrawlOptions
from .engine import Engine
from .report import CrawlReport
from .runtime import Source

T = TypeVar("T")


class Crawl(AsyncIterated, AsyncEntered, Generic[T]):
    """One crawl of a list: iterate its items, or its ``pages()``; ``report`` has its state.

    ``async with`` ends its tasks promptly. It has one consumer. When a page cannot be fetched, its
    error is raised once and the next call requests that page again, so nothing is lost by going
    on, nor by a timeout round ``anext``. Raises ClientClosed when closed while waiting.
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
        self._name = source.name
        self._engine: Engine[T] = Engine(source, options, before, after)
        self._progress = progress
        self._items: Iterator[T] = iter(())
        self._kept: Page[T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def report(self) -> CrawlReport:
        """The state of the crawl now."""
        return self._engine.report(self._waiting)

    @property
    def _waiting(self) -> int:
        """Items of the last page that the consumer does not have yet."""
        return operator.length_hint(self._items) + len(self._kept or ())

    @property
    def bad_items(self) -> list[BadItem]:
        """The rows that could not be read, with ``on_bad_item="keep"``."""
        return list(self._engine.delivery.bad.values())

    @property
    def watermark(self) -> Watermark | None:
        """How far the list is known, for ``listing.since()``; None until the last item is out.

        ``since(watermark)`` finds every row that entered the list or was updated after this crawl
        began, unless this crawl delivered it; the crawl need not be complete. If a gap cannot be
        ruled out, or a crawl since a watermark stopped at a limit, this is the previous watermark
        plus the rows delivered since: nothing is lost, but the next crawl goes back as far as this
        one did. After ``since(None)``, that watermark knows nothing.

        Until it is there, keep the previous one. It stays None after a ``crawl()`` that left a gap
        or stopped at a limit, with ``verify=False``, and for a list not sorted newest first.
        """
        return self._engine.watermark(self._waiting)

    def checkpoint(self) -> str:
        """A text to resume from: ``listing.crawl(resume=...)``, for this list and these filters.

        Pages delivered after the checkpoint come again, and no row is left out. If the list has
        changed, the resumed crawl starts over, and its report says so. Raises ConfigError for a
        crawl made by ``since``: call ``since`` again instead.
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
        """The next page, None at the end. Items of the current page stay for ``anext``."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        page = await self._engine.next() if self._kept is None else self._kept
        if self._progress is not None and page is not None:
            self._kept = page  # delivered by the next call, should the callback raise
            self._progress(self._engine.report(0))
            self._kept = None
        return page

    async def aclose(self) -> None:
        """End the crawl; returns when none of its requests is in flight. Twice is fine."""
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):  # in a traceback of the constructor
            return object.__repr__(self)
        return f"<Crawl of {self._name}: {self.report.summary}>"

    def __del__(self) -> None:
        # Requests are in flight here only if the crawl was neither closed nor read to its end. The
        # garbage collector may run in any thread, so the loop is told to cancel them.
        engine = getattr(self, "_engine", None)
        if engine is None:
            return
        if not engine.pager.running or self._loop is None:
            engine.pager.cancel()  # so that the engine is freed at once, too
            return
        with suppress(RuntimeError):  # the loop is closed: nothing runs any more
            self._loop.call_soon_threadsafe(engine.pager.cancel)
        warnings.warn(
            "a Crawl was dropped while it was fetching; use `async with listing.crawl()`",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )


class Pages(AsyncIterated, AsyncEntered, Generic[T]):
    """The pages of a crawl: an iterator; ``aclose()`` or ``async with`` ends the crawl."""

    def __init__(self, crawl: Crawl[T]) -> None:
        self._crawl = crawl

    def __repr__(self) -> str:
        return f"<Pages of {self._crawl!r}>"

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
