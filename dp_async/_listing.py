"""One list on the server, and what you can do with it. Immutable; sends nothing until iterated."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar, Unpack, overload

import msgspec
from msgspec import Raw, Struct

from ._checks import DAY, instance, number, whole
from ._crawl.crawl import Crawl, Pages
from ._crawl.engine import mark_now
from ._crawl.report import CrawlReport
from ._crawl.runtime import Runtime, Source
from ._errors import ConfigError
from ._models import Page
from ._page.endpoints import ListEndpoint
from ._page.reader import PageDecoder, RowReader
from ._plan.checkpoint import scope_of
from ._plan.watermark import Watermark
from ._settings import MAX_PAGE_SIZE, CrawlOptions, OptionChanges, with_changes
from ._watch import Watch

T = TypeVar("T")
V = TypeVar("V")
S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class Probe:
    """The state of a list at one moment: its *total*, and id and time of its first row.

    The time is the update time as sent, without an offset. Both are None for an empty list.
    """

    total: int
    head_id: int | None
    head_time: datetime | None


class Listing(Generic[T]):
    """A list on the server with its filters and options: iterate it any number of times.

    ``async for item in listing`` fetches pages concurrently and yields their items in order. It
    ends at the first error, and with IncompleteCrawl if rows may be missing. For a report, for
    prompt clean-up, or to go on after an error, use ``async with listing.crawl() as crawl``.
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
        crawl = self._strict()
        try:
            while (page := await crawl.next_page()) is not None:
                for item in page.content:
                    yield item
        finally:
            await crawl.aclose()

    def pages(self) -> Pages[T]:
        """The pages of the list, in order. Close it if you leave it early: ``async with``.

        Raises IncompleteCrawl at the end if the crawl is known not to be complete.
        """
        return self._strict().pages()

    async def collect(self) -> list[T]:
        """All items of the list.

        Raises IncompleteCrawl if the crawl is known not to be complete.
        """
        items: list[T] = []
        async with self._strict() as crawl:
            while (page := await crawl.next_page()) is not None:
                items += page.content
        return items

    async def first(self) -> T | None:
        """The first item, by one request for one row; None if the list is empty."""
        async with self.with_options(limit=1).crawl() as crawl:
            return await anext(crawl, None)

    def _strict(self) -> Crawl[T]:
        return self.with_options(strict=True).crawl()

    def crawl(
        self,
        *,
        resume: str | None = None,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """A crawl of the whole list; *progress* is called with its report after each page.

        *resume* is an earlier crawl's ``checkpoint()``. Raises ConfigError if that is damaged or
        belongs to another list.
        """
        return Crawl(self._source(), self._options, progress, resume)

    def since(
        self,
        watermark: Watermark | None,
        *,
        allowed_lateness: float = 2.0,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """A crawl of what is new or was updated since *watermark*, newest first.

        *watermark* comes from an earlier crawl of this list; None means all of it. The next one is
        ``crawl.watermark``, once the last item is delivered. A crawl delivers a row once, in the
        version that is read first; if it changes again meanwhile, the next crawl delivers it.

        *allowed_lateness* is how many seconds after its update time a row may become visible and
        still be found; at least that of the options counts. So many seconds before the watermark
        are read again, and what was delivered of them is left out. With a larger value than before
        some of it is delivered again. It takes one request where one small page reaches down to
        known rows; where the newest seconds hold more rows than a page, as after an import, about
        one for each page of these and two more.

        Not found: deleted rows, rows that changed without a newer update time, rows without an
        update time; and changes that do not move their row, as when a message is read, unless the
        row is on a page that is read anyway.

        Raises ConfigError for a watermark of another list, for a list sorted oldest first, and with
        ``verify=False``. The crawl raises PaginationError if the list is not sorted newest first,
        by update or by create time, or shows no update times.
        """
        number("allowed_lateness", allowed_lateness, 0, DAY)
        source = self._source()
        if watermark is None:
            watermark = Watermark.start(source.scope)
        instance("watermark", watermark, Watermark)
        self._endpoint.newest_first(self._query)
        if not self._options.verify:
            raise ConfigError("verify=False: since() relies on what is proven to be read")
        lateness = max(allowed_lateness, self._options.allowed_lateness)
        options = replace(self._options, allowed_lateness=lateness)
        return Crawl(source, options, progress, after=watermark.of(source.scope))

    def watch(self, interval: float, *, since: Watermark | None = None) -> Watch[T]:
        """What is new or was updated, from now on or *since* a watermark, as it happens.

        Polls about every *interval* seconds, plus or minus a tenth. A poll that finds nothing costs
        what ``since`` costs, as a rule one small request, and finds rows that become visible up to
        ``CrawlOptions.allowed_lateness`` seconds late. Sends nothing until it is iterated. Raises
        ConfigError as ``since`` does, and for options with a limit.
        """
        number("interval", interval, 0.01, DAY)
        if self._options.limit is not None:
            raise ConfigError("watch() takes no limit: stop iterating when you have enough")
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

    async def page(self, page_num: int = 1, page_size: int | None = None) -> Page[T]:
        """One page; *page_num* counts from 1, *page_size* None is that of the options."""
        size = self._options.page_size if page_size is None else page_size
        return await self._page(self._decoder, page_num, size)

    async def probe(self) -> Probe:
        """The total and the first row of the list, by one small request."""
        page = await self._page(PageDecoder(self._endpoint.name, self._endpoint.key), 1, 1)
        if not page.content:
            return Probe(page.total_elements, None, None)
        head = page.content[0]
        return Probe(page.total_elements, head.id, head.update_time or head.create_time)

    @property
    def item(self) -> type[T]:
        """The type of its items: a Struct, ``dict`` or ``msgspec.Raw``."""
        return self._item

    @property
    def options(self) -> CrawlOptions:
        """How it is crawled."""
        return self._options

    def with_options(self, **changes: Unpack[OptionChanges]) -> Listing[T]:
        """The same list with other options: *changes* are fields of ``CrawlOptions``.

        Raises ConfigError, which names the option.
        """
        return self._with(self._item, with_changes(self._options, **changes))

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
        return self._with(item, self._options)

    def _with(self, item: type[V], options: CrawlOptions) -> Listing[V]:
        return Listing(self._endpoint, self._query, item, options, self._runtime)

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

    async def _page(self, decoder: PageDecoder[V], page_num: int, page_size: int) -> Page[V]:
        whole("page_num", page_num, 1, 2**31 - 1)
        whole("page_size", page_size, 1, MAX_PAGE_SIZE)
        call = self._runtime.call(self._runtime.tally())
        return decoder(await call(self._endpoint.request(self._query, page_num, page_size)))
