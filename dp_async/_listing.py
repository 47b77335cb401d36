"""One list on the server, and what you can do with it. Immutable; sends nothing until asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, overload

import msgspec
from msgspec import Raw, Struct

from ._checkpoint import scope_of
from ._crawl import Crawl, Pages, Runtime, Source
from ._endpoints import ListEndpoint
from ._models import Page
from ._pages import PageDecoder, RowReader
from ._report import CrawlReport, IncompleteCrawl
from ._settings import MAX_PAGE_SIZE, CrawlOptions, whole

T = TypeVar("T")
V = TypeVar("V")
S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at a list: its *total*, and the id and time of the row at its head (None if empty).

    The time is the update time as sent, without an offset.
    """

    total: int
    head_id: int | None
    head_time: datetime | None


class Listing(Generic[T]):
    """A list as asked for: iterate it, any number of times, or crawl it.

    ``async for item in listing`` fetches pages concurrently and yields their items in order; it
    ends at the first error. For a report, for prompt clean-up, or to go on after an error, use
    ``async with listing.crawl() as crawl``.
    """

    __slots__ = ("_decoder", "_endpoint", "_item", "_options", "_query", "_runtime")

    def __init__(
        self,
        endpoint: ListEndpoint[Struct, Struct],
        query: Struct,
        item: type[T],
        options: CrawlOptions,
        runtime: Runtime,
    ) -> None:
        self._endpoint = endpoint
        self._query = query
        self._item = item
        self._decoder: PageDecoder[T] = PageDecoder(endpoint.name, item)
        self._options = options
        self._runtime = runtime

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        crawl = self.crawl()
        try:
            while (page := await crawl.next_page()) is not None:
                for item in page.content:
                    yield item
        finally:
            await crawl.aclose()

    def pages(self) -> Pages[T]:
        """The pages of one walk, in order. Close it if you leave it early: ``async with``."""
        return self.crawl().pages()

    def crawl(
        self,
        *,
        resume: str | None = None,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """One walk over the whole list; *progress* is called with its report after each page.

        *resume* is an earlier crawl's ``checkpoint()``. Raises ConfigError for one that is damaged,
        or of another list.
        """
        endpoint = self._endpoint
        source = Source(
            request=endpoint.requests(self._query),
            read=RowReader(
                endpoint.name,
                self._item,
                endpoint.model,
                endpoint.key,
                keep=self._options.on_bad_item == "keep",
            ),
            runtime=self._runtime,
            scope=scope_of(
                [*self._runtime.scope, endpoint.name, msgspec.json.encode(self._query).decode()]
            ),
        )
        return Crawl(source, self._options, progress, resume)

    async def collect(self) -> list[T]:
        """Every item. Raises IncompleteCrawl when the crawl knows that it is not complete."""
        items: list[T] = []
        async with self.crawl() as crawl:
            while (page := await crawl.next_page()) is not None:
                items += page.content
            report = crawl.report
        if report.complete is False:
            raise IncompleteCrawl(report)
        return items

    async def page(self, page_num: int = 1, page_size: int | None = None) -> Page[T]:
        """One page; *page_num* counts from 1, *page_size* is that of the options if None."""
        size = self._options.page_size if page_size is None else page_size
        return await self._page(self._decoder, page_num, size)

    async def probe(self) -> Probe:
        """The total and the head of the list, by one small request."""
        page = await self._page(PageDecoder(self._endpoint.name, self._endpoint.key), 1, 1)
        if not page.content:
            return Probe(page.total_elements, None, None)
        head = page.content[0]
        return Probe(page.total_elements, head.id, head.update_time or head.create_time)

    async def _page(self, decoder: PageDecoder[V], page_num: int, page_size: int) -> Page[V]:
        whole("page_num", page_num, 1, 2**31 - 1)
        whole("page_size", page_size, 1, MAX_PAGE_SIZE)
        call = self._runtime.call(self._runtime.tally())
        return decoder(await call(self._endpoint.request(self._query, page_num, page_size)))

    @overload
    def typed(self, item: type[S]) -> Listing[S]: ...
    @overload
    def typed(self, item: type[Raw]) -> Listing[Raw]: ...
    @overload
    def typed(self, item: type[dict[str, object]]) -> Listing[dict[str, object]]: ...
    def typed(self, item: type[V]) -> Listing[V]:
        """The same list, its items decoded as another Struct, as ``dict`` or as ``msgspec.Raw``.

        The latter two keep every field the server sent. Raises ConfigError for another type.
        """
        return Listing(self._endpoint, self._query, item, self._options, self._runtime)
