"""One list on the server, with its filters and options: the calls and crawls it offers.

Immutable; sends nothing until it is iterated or awaited. No paging and no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from functools import partial
from typing import Generic, TypeVar, Unpack, overload

import msgspec
from msgspec import Raw, Struct

from ._checks import DAY, callback, instance, number, whole
from ._crawl.crawl import Crawl, Pages
from ._crawl.engine import mark_now
from ._crawl.report import CrawlReport
from ._crawl.runtime import Runtime, Source
from ._errors import ConfigError, DecodeError, locate
from ._misuse import AsyncIterated
from ._models import Page, Probe
from ._page.decoder import PageDecoder
from ._page.endpoints import ListEndpoint
from ._page.item import check_item
from ._page.reader import BadItem, RowReader
from ._plan.checkpoint import scope_of
from ._plan.watermark import Watermark
from ._settings import MAX_PAGE_SIZE, CrawlOptions, OptionChanges, with_changes
from ._watch import BadRows, Watch

T = TypeVar("T")
V = TypeVar("V")
S = TypeVar("S", bound=Struct)


class Listing(AsyncIterated, Generic[T]):
    """One list of the account: iterate it, any number of times, or crawl it.

    ``async for item in listing`` fetches pages concurrently and yields their items in the list's
    order. It ends at the first error, and raises IncompleteCrawl at the end of a crawl that is
    known not to be complete. For a report, for prompt clean-up, or to go on after an error, use
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
        self._decoder: PageDecoder[T] = PageDecoder(endpoint.name, item, endpoint.key)
        self._options = options
        self._runtime = runtime

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        crawl = self._strict_crawl()
        try:
            while (page := await crawl.next_page()) is not None:
                for item in page.content:
                    yield item
        finally:
            await crawl.aclose()

    def pages(self) -> Pages[T]:
        """The pages of one crawl, in order; ``async with`` ends its requests if you stop early.

        Raises IncompleteCrawl after the last page if the crawl is known not to be complete.
        """
        return self._strict_crawl().pages()

    async def collect(self) -> list[T]:
        """All items. Raises IncompleteCrawl if the crawl is known not to be complete."""
        items: list[T] = []
        async with self._strict_crawl() as crawl:
            while (page := await crawl.next_page()) is not None:
                items += page.content
        return items

    def _strict_crawl(self) -> Crawl[T]:
        return self.with_options(strict=True).crawl()

    def crawl(
        self,
        *,
        resume: str | None = None,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """One crawl of the whole list, with a report.

        - *resume*: an earlier crawl's ``checkpoint()``, to go on from there.
        - *progress*: called with the report after each page. An exception it raises reaches
          the caller of ``anext``; the next call returns that page.

        At its end a crawl that is known not to be complete logs a warning, or raises
        IncompleteCrawl with ``strict=True``. Raises ConfigError for a checkpoint that is damaged,
        or of another list.
        """
        callback("progress", progress)
        return Crawl(self._source(), self._options, progress, resume)

    def since(
        self,
        watermark: Watermark | None,
        *,
        allowed_lateness: float = 10.0,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[T]:
        """One crawl of the rows that are new or were updated since *watermark*, newest first.

        - *watermark*: ``crawl.watermark`` of an earlier crawl of this list; None for all rows. The
          next one is available once the last item is delivered.
        - *allowed_lateness*: seconds after the update time it carries within which a row becomes
          visible; that of the options if that is more. The rows of these seconds before the
          watermark are read again, and those delivered before are left out; with a larger value
          than in the last crawl, some of them come again. Further down, whatever the pages show
          that are read anyway is compared as far as the watermark remembers it.
        - *progress*: called with the report after each page. An exception it raises reaches
          the caller of ``anext``; the next call returns that page.

        Each row comes once, in the version read first; if it changes again meanwhile, the next
        crawl yields it. The cost is one request if one small page reaches down to the watermark. If
        the newest seconds fill more than a page, as after an import, it is about one request for
        each of these pages and two more. A watermark remembers about 200 rows one by one. Where the
        newest seconds hold more, it remembers what a second holds as a whole: after a change to
        one of its rows, all of them come again, once.

        Not found: deleted rows, changes that leave the update time as it was (such as a message
        being read) unless the row is on a page that is read anyway, and rows without an update
        time. ``report.complete`` is None where a filter is entered without a new update time, as by
        a message that is read: such a row stands anywhere in the list.

        Raises ConfigError for a watermark of another list, for a list sorted oldest first, and with
        ``verify=False``. The crawl raises PaginationError if the list is not newest first, by
        update or by create time, or shows no update times.
        """
        number("allowed_lateness", allowed_lateness, 0, DAY)
        callback("progress", progress)
        source = self._source()
        if watermark is None:
            watermark = Watermark.start(source.scope)
        instance("watermark", watermark, Watermark)
        self._endpoint.newest_first(self._query)
        if not self._options.verify:
            raise ConfigError("since() cannot go with verify=False: it needs a proof of its reads")
        lateness = max(allowed_lateness, self._options.allowed_lateness)
        options = with_changes(self._options, allowed_lateness=lateness)
        return Crawl(source, options, progress, after=watermark.of(source.scope))

    def watch(
        self,
        interval: float,
        *,
        since: Watermark | None = None,
        allowed_lateness: float = 10.0,
        on_bad_item: Callable[[BadItem], object] | None = None,
    ) -> Watch[T]:
        """A live feed: rows as they are created or updated, from now on or *since* a watermark.

        It polls every *interval* seconds, give or take 10 %; a poll that finds nothing costs one
        small request as a rule. *allowed_lateness* and what is not found are as in ``since``. Sends
        nothing until it is iterated.

        *on_bad_item*: called with each row on the pages read that cannot be decoded, and again once
        it has changed, while the other rows arrive. Without it such a row raises DecodeError.

        Raises ConfigError as ``since`` does, for options with a limit, and for ``"keep"`` as their
        *on_bad_item* without a callback.
        """
        number("interval", interval, 0.01, DAY)
        if self._options.limit is not None:
            raise ConfigError("watch() goes without a limit: stop iterating when you have enough")
        if on_bad_item is None and self._options.on_bad_item == "keep":
            raise ConfigError(
                'watch() needs on_bad_item="raise", or watch(on_bad_item=callback): it has nowhere '
                "to keep bad rows"
            )
        callback("on_bad_item of watch()", on_bad_item)
        number("allowed_lateness", allowed_lateness, 0, DAY)
        lateness = max(allowed_lateness, self._options.allowed_lateness)
        listing = self.with_options(allowed_lateness=lateness)
        if on_bad_item is not None:
            listing = listing.with_options(on_bad_item="keep")
        crawl = partial(listing.since, allowed_lateness=lateness)
        crawl(since)  # raises ConfigError before the first request
        return Watch(
            mark=lambda: mark_now(listing._source(), listing._options),
            since=crawl,
            runtime=self._runtime,
            interval=interval,
            watermark=since,
            name=self._name,
            bad_rows=None if on_bad_item is None else BadRows(on_bad_item),
        )

    async def page(self, page_num: int = 1, page_size: int | None = None) -> Page[T]:
        """One page; *page_num* counts from 1, *page_size* is that of the options if None.

        Raises ConfigError for a number that cannot be sent, and the errors of a call.
        """
        size = self._options.page_size if page_size is None else page_size
        return await self._page(self._decoder, page_num, size)

    async def first(self) -> T | None:
        """The first item, None if the list is empty, by one small request."""
        page = await self.page(1, 1)
        return page.content[0] if page.content else None

    async def probe(self) -> Probe:
        """The total, and the id and time of the first row, by one small request."""
        endpoint = self._endpoint
        page = await self._page(PageDecoder(endpoint.name, endpoint.key, endpoint.key), 1, 1)
        if not page.content:
            return Probe(page.total_elements, None, None)
        head = page.content[0]
        return Probe(page.total_elements, head.id, head.update_time or head.create_time)

    async def _page(self, decoder: PageDecoder[V], page_num: int, page_size: int) -> Page[V]:
        whole("page_num", page_num, 1, 2**31 - 1)
        whole("page_size", page_size, 1, MAX_PAGE_SIZE)
        call = self._runtime.call(self._runtime.tally())
        answer = await call(self._endpoint.request(self._query, page_num, page_size))
        try:
            return decoder(answer.data)
        except DecodeError as error:
            locate(error, page_num, page_size, answer.request_id())
            raise

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
            unstamped=endpoint.entered_unstamped(self._query),
            name=self._name,
        )

    @property
    def _name(self) -> str:
        return self._endpoint.described(self._query, account=self._runtime.scope[-1])

    def __repr__(self) -> str:
        default = asdict(CrawlOptions())
        options = asdict(self._options).items()
        changed = [f", {name}={value!r}" for name, value in options if value != default[name]]
        item = getattr(self._item, "__name__", self._item)
        return f"<Listing of {self._name}, as {item}{''.join(changed)}>"

    @property
    def options(self) -> CrawlOptions:
        """The options of its crawls."""
        return self._options

    def with_options(self, **changes: Unpack[OptionChanges]) -> Listing[T]:
        """The same list with other options; those not named stay as they are.

        ``listing.with_options(limit=10)``. Raises ConfigError for a bad value or an unknown name.
        """
        options = with_changes(self._options, **changes)
        return Listing(self._endpoint, self._query, self._item, options, self._runtime)

    @property
    def item(self) -> type[T]:
        """The type of its items: a Struct, ``dict`` or ``msgspec.Raw``."""
        return self._item

    @overload
    def typed(self, item: type[S]) -> Listing[S]: ...
    @overload
    def typed(self, item: type[Raw]) -> Listing[Raw]: ...
    @overload
    def typed(self, item: type[dict[str, object]]) -> Listing[dict[str, object]]: ...
    def typed(self, item: type[V]) -> Listing[V]:
        """The same list with its items decoded as another Struct, ``dict`` or ``msgspec.Raw``.

        ``dict`` and ``Raw`` keep every field the server sent. Raises ConfigError for another type,
        and for a Struct whose fields the server spells otherwise (without ``rename="camel"``).
        """
        check_item(item, self._endpoint.model)
        return Listing(self._endpoint, self._query, item, self._options, self._runtime)
