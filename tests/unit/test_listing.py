"""A listing: crawls and their end, options, one page, first, probe, item types, watermarks."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from dp_async import (
    ApiError,
    Attempt,
    CallError,
    Client,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    IncompleteCrawl,
    Listing,
    PaginationError,
    Probe,
    Request,
    Response,
    TransportError,
    Watermark,
    Work,
)
from tests.support.fake_server import EPOCH, SETTINGS, Server, client, good, row, until
from tests.support.virtual_loop import run


class Slim(msgspec.Struct, rename="camel"):
    digital_person_works_id: int
    extra: str = "none"


def test_a_listing_is_built_without_a_loop() -> None:
    listing = client(Server(3)).works(options=CrawlOptions(page_size=2))
    assert isinstance(listing, Listing)
    listing.pages()
    assert listing.crawl().report.reason == "not started"


async def test_a_listing_can_be_iterated_again() -> None:
    async with client(Server(15)) as api:
        listing = api.messages(options=CrawlOptions(page_size=10))
        first = [message.msg_id async for message in listing]
        assert first == [message.msg_id for message in await listing.collect()]
        assert len(first) == 15


async def test_one_page_has_the_page_size_of_the_options_by_default() -> None:
    server = Server(50)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=7))
        assert (await listing.page(2)).page_num == 2
        await listing.page(3, 11)
    assert server.pages == [(2, 7), (3, 11)]


NO_PAGE: list[Any] = [0, True, 1.5, "1", -(10**5000)]


@pytest.mark.parametrize(
    ("num", "size", "refusal"),
    [
        *[(bad, 5, "page_num must be a whole number from 1 to 2147483647, ") for bad in NO_PAGE],
        *[(1, bad, "page_size must be a whole number from 1 to 100000, ") for bad in NO_PAGE],
        (None, 5, "page_num must be a whole number from 1 to 2147483647, not None"),
        (2**31, 5, "page_num must be a whole number from 1 to 2147483647, not 2147483648"),
        (1, 100_001, "page_size must be a whole number from 1 to 100000, not 100001"),
    ],
    ids=lambda value: "",  # its own text may be none that could be shown
)
async def test_a_bad_page_is_refused_before_any_request(num: int, size: int, refusal: str) -> None:
    server = Server(5)
    async with client(server) as api:
        with pytest.raises(ConfigError, match=f"^{refusal}"):
            await api.works().page(num, size)
        with pytest.raises(ConfigError, match=f"^{refusal}"):
            await api.msg_list(page_num=num, page_size=size)
    assert not server.pages


async def test_the_smallest_and_the_largest_page_are_sent() -> None:
    server = Server(5)
    async with client(server) as api:
        await api.works().page(1, 1)
        await api.works().page(2**31 - 1, 100_000)
    assert server.pages == [(1, 1), (2**31 - 1, 100_000)]


async def test_first_is_the_first_item_by_one_small_request() -> None:
    server = Server(5)
    async with client(server) as api:
        first = await api.works(options=CrawlOptions(limit=0)).first()
        assert isinstance(first, Work)
        assert first.digital_person_works_id == 100_000
        assert await api.messages().typed(Slim).first() == Slim(100_000)
        assert server.pages == [(1, 1), (1, 1)]
        server.rows.clear()
        assert await api.works().first() is None


async def test_probe_is_one_small_request() -> None:
    server = Server(5)
    async with client(server) as api:
        assert await api.works().probe() == Probe(5, 100_000, EPOCH)
        assert await api.messages().typed(dict).probe() == Probe(5, 100_000, EPOCH)
    assert server.pages == [(1, 1), (1, 1)]


async def test_probe_falls_back_to_the_create_time_and_to_none() -> None:
    server = Server(1)
    server.rows[0]["updateTime"] = None
    server.rows[0]["createTime"] = "2023-01-02 03:04:05"
    async with client(server) as api:
        assert (await api.works().probe()).head_time == datetime(2023, 1, 2, 3, 4, 5)
        server.rows.clear()
        assert await api.works().probe() == Probe(0, None, None)


async def test_other_item_types_keep_what_the_server_sent() -> None:
    server = Server(3)
    for index, shown in enumerate(server.rows):
        shown["extra"] = f"未知 {index}"
    async with client(server) as api:
        works = api.works()
        dicts = await works.typed(dict).collect()
        raws = await works.typed(msgspec.Raw).collect()
        slims = await works.typed(Slim).collect()
        assert dicts == server.rows
        assert [json.loads(bytes(raw)) for raw in raws] == server.rows
        assert [slim.extra for slim in slims] == ["未知 0", "未知 1", "未知 2"]
        assert all(isinstance(work, Work) for work in await works.typed(Work).collect())


class Unnamed(msgspec.Struct):
    works_url: str | None = None


@pytest.mark.parametrize("item", [object(), int, None, Unnamed, set[Slim] | list[Slim]])
async def test_a_type_that_cannot_be_decoded_is_refused_at_once(item: type[Slim]) -> None:
    server = Server(1)
    async with client(server) as api:
        with pytest.raises(ConfigError, match="typed"):
            api.works().typed(item)
        api.messages().typed(Unnamed)  # messages have no works_url
    assert server.requests == []


@pytest.mark.parametrize("bad", [rb'"\ud83d"', b'"\xb2\xe2"', b"NaN", b"1e999"])
@pytest.mark.parametrize("item", [Work, dict, msgspec.Raw])
async def test_a_bad_row_is_kept_apart_for_each_type_of_item(bad: bytes, item: Any) -> None:
    async def send(request: Request) -> Response:
        answer = await server(request)
        return Response(answer.status, body=answer.body.replace(b'"BAD"', bad))

    server = Server(3)
    server.rows[1]["name"] = "BAD"
    if bad == b"1e999" and item is msgspec.Raw:
        return  # JSON, kept as it was sent
    async with Client(SETTINGS, send=send) as api:
        listing = api.works(options=CrawlOptions(on_bad_item="keep")).typed(item)
        async with listing.crawl() as crawl:
            assert len([each async for each in crawl]) == 2
        (kept,) = crawl.bad_items
        assert (kept.page_num, kept.path, kept.id) == (1, "$.data.content[1]", 99_999)
        assert bad in kept.raw
        assert crawl.report.complete
        row_named = r"the row with id 99999 cannot be read: .* - at `\$\.data\.content\[1\]"
        for failing in (listing.with_options(on_bad_item="raise").collect(), listing.page()):
            with pytest.raises(DecodeError, match=row_named):
                await failing


BAD_ROW = row(14) | {"name": 7}
BAD_PAGES: list[Exception | Response] = [
    good({"content": "x"}),
    good({"content": [BAD_ROW], "number": 1, "size": 10, "totalElements": 35, "totalPages": 4}),
    Response(status=400, body=b'{"code":400,"requestId":"r-1"}'),
    Response(status=200, body=b"<html>"),
    TransportError("work_list: no answer", endpoint="work_list"),
]


@pytest.mark.parametrize("bad", BAD_PAGES)
async def test_an_error_names_the_page_it_came_on(bad: Exception | Response) -> None:
    server = Server(35)
    attempts: list[Attempt] = []
    async with client(server) as api:
        api.observe(attempts.append)
        listing = api.works(options=CrawlOptions(page_size=10))
        ways: list[Callable[[], Awaitable[object]]] = [
            listing.collect,
            lambda: listing.page(2),
            lambda: listing.typed(cast("type[Slim]", dict[str, str])).page(2),
            lambda: api.work_list(page_num=2, page_size=10),
        ]
        for way in ways:
            server.script[2] = [bad]
            with pytest.raises(CallError) as caught:
                await way()
            error = caught.value
            assert str(error).startswith("work_list, page 2 of 10 rows: ")
            assert (error.endpoint, error.page_num, error.page_size) == ("work_list", 2, 10)
            if isinstance(error, ApiError):
                assert error.request_id == "r-1"
    assert {attempt.page_num for attempt in attempts} >= {1, 2}


@pytest.mark.parametrize(
    ("sent", "shown"), [("id-7", "id-7"), (None, ""), ("sesame-7", "***-7"), ("x" * 99, None)]
)
async def test_an_error_of_reading_a_page_has_its_request_id(
    sent: str | None, shown: str | None
) -> None:
    server = Server(35)
    body = {"code": 200, "data": {"content": 7}, "requestId": sent}
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        for way in (listing.collect, lambda: listing.page(2)):
            server.script[2] = [Response(status=200, body=json.dumps(body).encode())]
            with pytest.raises(DecodeError) as caught:
                await way()
            expected = "x" * 63 + "…" if shown is None else shown
            assert caught.value.request_id == expected


async def test_the_first_error_of_a_watch_names_its_page() -> None:
    server = Server(5)
    server.rows[0]["updateTime"] = 7
    async with client(server) as api:
        with pytest.raises(DecodeError) as caught:
            await anext(api.works().watch(1))
    assert caught.value.request_id == "abc"
    assert str(caught.value).startswith("work_list, page 1 of ")


async def test_a_page_has_its_request_id() -> None:
    async with client(Server(5)) as api:
        assert (await api.works().page()).request_id == "abc"
        assert [page.request_id async for page in api.messages().pages()] == ["abc"]


async def test_a_row_that_cannot_be_read_is_named_with_its_path() -> None:
    server = Server(3)
    server.rows[2]["digitalPersonWorksId"] = "x"
    async with client(server) as api:
        with pytest.raises(DecodeError, match=r"\$\.data\.content\[2\]\.digitalPersonWorksId"):
            await api.works().collect()


async def test_a_page_without_its_numbers_is_named() -> None:
    server = Server(3)
    server.script[1] = [good({"content": [], "number": 0, "size": 5})]
    async with client(server) as api:
        with pytest.raises(DecodeError, match=r"totalElements.*\$\.data"):
            await api.works().collect()


# The end of a crawl


class Unsorted(Server):
    """Its rows are in another order in each answer, so that no crawl of it is complete."""

    async def __call__(self, request: Request, /) -> Response:
        self.rows = self.rows[7:] + self.rows[:7]
        return await super().__call__(request)


ONE_PASS = CrawlOptions(page_size=5, max_passes=1)


async def by_items(listing: Listing[Work], seen: list[int]) -> None:
    async for work in listing:
        seen.append(work.digital_person_works_id)  # noqa: PERF401  # kept if the loop raises


async def by_pages(listing: Listing[Work], seen: list[int]) -> None:
    async with listing.pages() as pages:
        async for page in pages:
            seen += [work.digital_person_works_id for work in page]


async def by_crawl(listing: Listing[Work], seen: list[int]) -> None:
    async with listing.crawl() as crawl:
        seen += [work.digital_person_works_id async for work in crawl]


async def by_crawl_pages(listing: Listing[Work], seen: list[int]) -> None:
    async for page in listing.crawl().pages():
        seen += [work.digital_person_works_id for work in page]


@pytest.mark.parametrize("read", [by_items, by_pages])
async def test_iteration_raises_at_its_end_if_the_crawl_is_not_complete(
    read: Callable[[Listing[Work], list[int]], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[int] = []
    async with client(Unsorted(60)) as api:
        with pytest.raises(IncompleteCrawl) as caught:
            await read(api.works(options=ONE_PASS), seen)
    assert caught.value.report.complete is False
    assert caught.value.report.items == len(seen) > 20
    assert not caplog.records


async def test_collect_raises_if_the_crawl_is_not_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(Unsorted(60)) as api:
        with pytest.raises(IncompleteCrawl) as caught:
            await api.works(options=ONE_PASS).collect()
    assert caught.value.report.complete is False
    assert not caplog.records


@pytest.mark.parametrize("read", [by_crawl, by_crawl_pages])
async def test_a_crawl_logs_a_warning_instead_and_raises_only_if_strict(
    read: Callable[[Listing[Work], list[int]], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(Unsorted(60)) as api:
        listing = api.works(options=ONE_PASS)
        await read(listing, [])
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("a crawl is not complete: ")
        caplog.clear()
        with pytest.raises(IncompleteCrawl):
            await read(listing.with_options(strict=True), [])
    assert not caplog.records


async def test_closing_an_iteration_ends_its_requests() -> None:
    server = Server(500)
    server.block(7)
    async with client(server) as api:
        stream = aiter(api.works(options=CrawlOptions(page_size=10)))
        await anext(stream)
        await until(lambda: server.in_flight > 0)
        await stream.aclose()
        assert server.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_pages_end_after_the_error() -> None:
    async with client(Unsorted(60)) as api:
        pages = api.works(options=ONE_PASS).pages()
        with pytest.raises(IncompleteCrawl):
            while True:
                await anext(pages)
        with pytest.raises(StopAsyncIteration):
            await anext(pages)


@pytest.mark.parametrize("read", [by_items, by_pages, by_crawl])
@pytest.mark.parametrize("options", [{"limit": 12}, {"verify": False}])
async def test_what_is_not_known_to_be_incomplete_raises_nothing(
    read: Callable[[Listing[Work], list[int]], Awaitable[None]],
    options: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[int] = []
    async with client(Unsorted(60)) as api:
        await read(api.works(options=ONE_PASS).with_options(**options), seen)
    assert len(seen) >= 12
    assert not caplog.records


# Options


async def test_with_options_keeps_the_options_not_named() -> None:
    server = Server(30)
    async with client(server) as api:
        listing = api.works(status="DRAFT", options=CrawlOptions(page_size=10)).typed(Slim)
        other = listing.with_options(limit=7)
        assert listing.options == CrawlOptions(page_size=10)
        assert other.options == CrawlOptions(page_size=10, limit=7)
        assert other.item is Slim
        assert len(await other.collect()) == 7
        assert len(await listing.collect()) == 30
        assert listing.with_options().options == listing.options
    assert all("status=DRAFT" in request.target for request in server.requests)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            {"pagesize": 5},
            "^there is no option 'pagesize'; options: page_size, concurr",
        ),
        ({"\ud800\n": 5}, r"^there is no option '\\ud800\\n'; options: "),
        ({"page_size": 0}, "^page_size must be a whole number from 1 to 100000, not 0"),
        ({"limit": "7"}, "^limit must be a whole number"),
        ({"window": 3}, "^window must be a whole number from 8 to 100000, not 3"),
        ({"overlap": 11}, '^overlap, if not "auto", must be a whole number from 0 to 10, not 11'),
    ],
)
def test_with_options_refuses_a_bad_option(changes: Any, refusal: str) -> None:
    listing = client(Server(1)).works(options=CrawlOptions(page_size=20))
    with pytest.raises(ConfigError, match=refusal):
        listing.with_options(**changes)


def test_the_options_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        client(Server(1)).works().options = CrawlOptions()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# Since a watermark


async def marked(listing: Listing[Work]) -> Watermark:
    """The watermark of all there is."""
    async with listing.since(None) as crawl:
        async for _ in crawl:
            pass
        assert crawl.watermark is not None
        return crawl.watermark


async def test_since_refuses_a_list_sorted_oldest_first() -> None:
    server = Server(30)
    async with client(server) as api:
        for mark in (None, await marked(api.works())):
            server.pages.clear()
            with pytest.raises(
                ConfigError,
                match=r"sort=ASC: changes are found .* leave sort out",
            ):
                api.works(sort="ASC").since(mark)
        api.works(sort="DESC").since(None)
        api.messages().since(None)
    assert not server.pages


@pytest.mark.parametrize("allowed_lateness", [-1, math.nan, math.inf, "2", None, 86401])
def test_a_bad_lateness_is_refused(allowed_lateness: Any) -> None:
    with pytest.raises(ConfigError, match=r"^allowed_lateness must be"):
        client(Server(5)).works().since(None, allowed_lateness=allowed_lateness)


@pytest.mark.parametrize("mark", ["{}", b"", 5, {}, object()])
def test_a_bad_watermark_is_refused(mark: Any) -> None:
    with pytest.raises(ConfigError, match=r"^watermark must be"):
        client(Server(5)).works().since(mark)


def test_since_needs_verification() -> None:
    listing = client(Server(5)).works(options=CrawlOptions(verify=False))
    with pytest.raises(ConfigError, match=r"^since\(\) cannot go with verify=False"):
        listing.since(None)


async def test_a_list_that_is_not_newest_first_is_an_error() -> None:
    server = Server(30)
    async with client(server) as api:
        mark = await marked(api.works())
        server.rows.reverse()
        for since in (mark, None):
            async with api.works().since(since) as crawl:
                with pytest.raises(PaginationError, match="not sorted newest first"):
                    await anext(crawl)
                assert crawl.watermark is None
        whole = api.works().crawl()
        assert len([work async for work in whole]) == 30
        assert whole.watermark is None


def fresh(number: int, seconds: int) -> dict[str, object]:
    """A row of its own, so many *seconds* newer than all there were."""
    time = (EPOCH + timedelta(seconds=seconds)).isoformat(sep=" ")
    return {**row(0), "digitalPersonWorksId": number, "updateTime": time}


@pytest.mark.parametrize(
    ("since", "crawl", "found"),
    [(2, 2, [3, 2]), (0, 0, [3]), (0, 5, [3, 2, 1]), (4.5, 0, [3, 2, 1])],
)
async def test_the_seconds_of_allowed_lateness_are_read_again(
    since: float, crawl: float, found: list[int]
) -> None:
    server = Server(30)
    server.rows.insert(0, fresh(9, 60))
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(allowed_lateness=crawl))
        mark = await marked(listing)
        delayed = [fresh(2, 58), fresh(1, 55)]
        server.rows[:1] = [fresh(3, 60), server.rows[0], *delayed]
        async with listing.since(mark, allowed_lateness=since) as found_since:
            assert [work.digital_person_works_id async for work in found_since] == found


async def test_progress_is_a_callable() -> None:
    async with client(Server(1)) as api:
        not_callable: Any = 5
        for start in (api.works().crawl, partial(api.works().since, None)):
            with pytest.raises(ConfigError, match=r"^progress must be a callable, not int$"):
                start(progress=not_callable)


async def test_since_calls_progress() -> None:
    seen: list[CrawlReport] = []
    async with client(Server(30)) as api:
        async with api.works().since(None, progress=seen.append) as crawl:
            async for _ in crawl:
                pass
    assert [report.items for report in seen] == [30]


# A watch


def test_a_watch_yields_what_is_new_from_now_on_or_since_a_watermark() -> None:
    async def main() -> None:
        server = Server(30)
        async with client(server) as api:
            listing = api.works()
            mark = await marked(listing)
            server.pages.clear()
            watch = listing.watch(5.0)
            assert not server.pages
            async with watch:
                waiting = asyncio.ensure_future(anext(watch))
                await asyncio.sleep(1)  # virtual: after the first poll
                server.rows.insert(0, fresh(1, 60))
                assert (await waiting).digital_person_works_id == 1
            async with listing.watch(5.0, since=mark) as again:
                assert (await anext(again)).digital_person_works_id == 1

    run(main())


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"limit": 5}, r"^watch\(\) goes without a limit: stop iterating"),
        ({"on_bad_item": "keep"}, r'^watch\(\) needs on_bad_item="raise"'),
        ({"verify": False}, r"^since\(\) cannot go with verify=False"),
    ],
)
def test_a_watch_refuses_options_that_cannot_work(options: Any, refusal: str) -> None:
    server = Server(5)
    with pytest.raises(ConfigError, match=refusal):
        client(server).works().with_options(**options).watch(5.0)
    assert not server.pages


@pytest.mark.parametrize("interval", [0, 0.009, 86_401, "5", None, math.nan])
def test_a_bad_interval_is_refused(interval: Any) -> None:
    with pytest.raises(ConfigError, match=r"^interval must be a number from 0.01 to 86,400"):
        client(Server(5)).works().watch(interval)


def test_a_watch_refuses_a_callback_that_cannot_be_called() -> None:
    with pytest.raises(ConfigError, match=r"^on_bad_item of watch\(\) must be a callable"):
        client(Server(5)).works().watch(1, on_bad_item=cast("Any", "keep"))
    keep = client(Server(5)).works().with_options(on_bad_item="keep")
    assert keep.watch(1, on_bad_item=print)  # the callback is where to keep them
