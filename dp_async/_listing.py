"""One list on the server, and what you can do with it. Immutable; sends nothing until asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar, overload

import msgspec
from msgspec import Raw, Struct

from ._checks import DAY, instance, number, whole
from ._crawl.crawl import Crawl, Pages
from ._crawl.engine import mark_now
from ._crawl.report import CrawlReport, IncompleteCrawl
from ._crawl.runtime import Runtime, Source
from ._errors import ConfigError
from ._models import Page
from ._page.endpoints import ListEndpoint
from ._page.reader import PageDecoder, RowReader
from ._plan.checkpoint import scope_of
from ._plan.watermark import Watermark
from ._settings import MAX_PAGE_SIZE, CrawlOptions
from ._watch import Watch

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
        return Crawl(self._source(), self._options, progress, resume)

    def _crawl_beside(self, others: int) -> Crawl[T]:
        """A crawl that, beside so many others, takes its share of the client's places at most."""
        options = self._options
        if others:
            share = max(1, self._runtime.max_in_flight // (others + 1))
            wanted = share if options.concurrency == "auto" else options.concurrency
            options = replace(options, concurrency=min(wanted, share))
        return Crawl(self._source(), options)

    def since(
        self,
        watermark: Watermark | None,
        *,
        allowed_lateness: float = 2.0,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """One walk over what is new or was updated since *watermark*, newest first.

        *watermark* is an earlier crawl's of this list; None for all of it. ``crawl.watermark`` is
        the next one, once the last item is delivered. A row comes once in one walk, in the version
        that was met first; if it changes again meanwhile, the next walk has it.

        Rows are found that become visible up to *allowed_lateness* seconds after the update time they carry, or
        ``allowed_lateness`` seconds if these are more: so many seconds before the watermark are read again,
        and what was delivered of them is left out. With a larger *allowed_lateness* than before some of it comes
        again. One request where one small page reaches down; where the newest seconds hold more
        rows than a page, as after an import, about one for each page of these and two more.

        Not found: what was deleted, what changed without a newer update time, a row without an
        update time, and a change that does not move its row, as when a message is read, unless the
        row is on a page that is read anyway.

        Raises ConfigError for a watermark of another list, for a list asked for oldest first, and
        with ``verify=False``. The crawl raises PaginationError if the list is not newest first, by
        update or by create time, or shows no update times.
        """
        number("allowed_lateness", allowed_lateness, 0, DAY)
        source = self._source()
        if watermark is None:
            watermark = Watermark.start(source.scope)
        instance("watermark", watermark, Watermark)
        self._endpoint.newest_first(self._query)
        if not self._options.verify:
            raise ConfigError("verify=False: since() goes by what is proven to be read")
        options = replace(
            self._options, allowed_lateness=max(allowed_lateness, self._options.allowed_lateness)
        )
        return Crawl(source, options, progress, after=watermark.of(source.scope))

    def watch(self, interval: float, *, since: Watermark | None = None) -> Watch[T]:
        """What is new or was updated, from now on or *since* a watermark, as it comes.

        Looks about every *interval* seconds, give or take a tenth; a look that finds nothing new
        costs what it does with ``since``: as a rule one small request. Rows that become visible up
        to ``CrawlOptions.allowed_lateness`` seconds after the time they carry are found as well. Sends
        nothing until it is iterated. Raises ConfigError as ``since``, and for options with a limit.
        """
        number("interval", interval, 0.01, DAY)
        if self._options.limit is not None:
            raise ConfigError("watch() goes without a limit: leave it when you have enough")
        if self._options.on_bad_item == "keep":
            raise ConfigError('watch() needs on_bad_item="raise": it has nowhere to keep such rows')
        crawl = partial(self.since, allowed_lateness=self._options.allowed_lateness)
        crawl(since)  # refuses what it cannot do, before the first request
        return Watch(
            mark=lambda: mark_now(self._source(), self._options),
            since=crawl,
            runtime=self._runtime,
            interval=interval,
            watermark=since,
        )

    def _source(self) -> Source[T]:
        endpoint = self._endpoint
        return Source(
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

    @property
    def item(self) -> type[T]:
        """What its items are: a Struct, ``dict`` or ``msgspec.Raw``."""
        return self._item

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
