"""A listing: immutable, iterated again, one page, probe, other item types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from dp_async import (
    ConfigError,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    IncompleteCrawl,
    Listing,
    PaginationError,
    Probe,
    Watermark,
    Work,
)
from tests.support.fake_server import EPOCH, Server, client, good, row


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


async def test_one_page_uses_the_options_unless_told() -> None:
    server = Server(50)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=7))
        assert (await listing.page(2)).page_num == 2
        await listing.page(3, 11)
    assert server.pages == [(2, 7), (3, 11)]


NO_PAGE: list[Any] = [0, -1, True, 1.5, math.nan, math.inf, "1", b"1", 10**400, -(10**5000)]


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
async def test_a_nonsense_page_is_refused_before_any_request(
    num: int, size: int, refusal: str
) -> None:
    server = Server(5)
    async with client(server) as api:
        with pytest.raises(ConfigError, match=f"^{refusal}"):
            await api.works().page(num, size)
        with pytest.raises(ConfigError, match=f"^{refusal}"):
            await api.msg_list(page_num=num, page_size=size)
    assert not server.pages


async def test_the_first_and_the_last_page_there_can_be_are_asked_for() -> None:
    server = Server(5)
    async with client(server) as api:
        await api.works().page(1, 1)
        await api.works().page(2**31 - 1, 100_000)
    assert server.pages == [(1, 1), (2**31 - 1, 100_000)]


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


@pytest.mark.parametrize("item", [object(), lambda: None, 3])
async def test_a_type_that_cannot_be_decoded_is_refused(item: type[Slim]) -> None:
    async with client(Server(1)) as api:
        with pytest.raises(ConfigError, match="typed"):
            api.works().typed(item)


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


def unordered(number: int) -> Server:
    """A list of *number* rows in no order that grows with each answer: it cannot be proven."""
    server = Server(number)
    Random(1).shuffle(server.rows)
    server.before = lambda num: server.rows.append(row(len(server.rows)))
    return server


ONE_PASS = CrawlOptions(page_size=5, max_passes=1)


async def items(listing: Listing[Work], rows: list[Work]) -> None:
    async for work in listing:
        rows.append(work)  # noqa: PERF401  # those before the error count


async def pages(listing: Listing[Work], rows: list[Work]) -> None:
    async with listing.pages() as pages:
        async for page in pages:
            rows.extend(page)


async def collected(listing: Listing[Work], rows: list[Work]) -> None:
    rows.extend(await listing.collect())


@pytest.mark.parametrize("read", [items, pages, collected])
async def test_a_plain_loop_raises_at_its_end_if_rows_may_be_missing(
    read: Callable[[Listing[Work], list[Work]], Coroutine[Any, Any, None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows: list[Work] = []
    async with client(unordered(40)) as api:
        with pytest.raises(IncompleteCrawl, match="not complete: the rows are not sorted") as error:
            await read(api.works(options=ONE_PASS), rows)
    assert error.value.report.complete is False
    assert error.value.report.items >= 40
    assert len(rows) == (0 if read is collected else error.value.report.items)
    assert not caplog.records


async def test_a_plain_loop_ends_quietly_where_nothing_is_claimed() -> None:
    async with client(unordered(40)) as api:
        listing = api.works(options=ONE_PASS)
        assert await listing.with_options(verify=False).collect()
        assert len(await listing.with_options(limit=7).collect()) == 7


async def test_a_crawl_raises_only_if_strict_and_else_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(unordered(40)) as api:
        listing = api.works(options=ONE_PASS)
        async with listing.crawl() as crawl:
            assert len([work async for work in crawl]) >= 40
        assert crawl.report.complete is False
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        async with listing.crawl() as crawl:
            assert [page async for page in crawl.pages()]
        with pytest.raises(IncompleteCrawl):
            async with listing.with_options(strict=True).crawl() as crawl:
                async for _ in crawl:
                    pass


async def test_the_first_item_takes_one_request_for_one_row() -> None:
    server = Server(30)
    async with client(server) as api:
        first = await api.works().first()
        assert first == (await api.works().page()).content[0]
        assert server.pages[0] == (1, 1)
        assert len(server.pages) == 2
    async with client(Server(0)) as api:
        assert await api.messages().first() is None


def test_with_options_changes_those_named_and_nothing_else() -> None:
    listing = client(Server(3)).works(name="a", options=ONE_PASS).typed(Slim)
    other = listing.with_options(limit=3, allowed_lateness=5.0)
    assert other.options == replace(ONE_PASS, limit=3, allowed_lateness=5.0)
    assert other.item is Slim
    assert listing.options is ONE_PASS


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"settle": 1}, "no option 'settle'; options: page_size, "),
        ({"limit": -1}, "^limit must be"),
    ],
)
def test_with_options_names_what_it_refuses(changes: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        client(Server(3)).works().with_options(**changes)


# Since a watermark


async def marked(listing: Listing[Work]) -> Watermark:
    """The watermark of all there is."""
    async with listing.since(None) as crawl:
        async for _ in crawl:
            pass
        assert crawl.watermark is not None
        return crawl.watermark


async def test_a_list_that_is_asked_for_oldest_first_has_no_news() -> None:
    server = Server(30)
    async with client(server) as api:
        for mark in (None, await marked(api.works())):
            server.pages.clear()
            with pytest.raises(ConfigError, match="sort=ASC: what is new is found"):
                api.works(sort="ASC").since(mark)
        api.works(sort="DESC").since(None)
        api.messages().since(None)
    assert not server.pages


@pytest.mark.parametrize("allowed_lateness", [-1, math.nan, math.inf, "2", None, 86401])
def test_a_nonsense_lateness_is_refused(allowed_lateness: Any) -> None:
    with pytest.raises(ConfigError, match=r"^allowed_lateness must be"):
        client(Server(5)).works().since(None, allowed_lateness=allowed_lateness)


@pytest.mark.parametrize("mark", ["{}", b"", 5, {}, object()])
def test_what_is_no_watermark_is_refused(mark: Any) -> None:
    with pytest.raises(ConfigError, match=r"^watermark must be"):
        client(Server(5)).works().since(mark)


def test_news_need_verification() -> None:
    listing = client(Server(5)).works(options=CrawlOptions(verify=False))
    with pytest.raises(ConfigError, match="verify=False: since"):
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
        late = [fresh(2, 58), fresh(1, 55)]
        server.rows[:1] = [fresh(3, 60), server.rows[0], *late]
        async with listing.since(mark, allowed_lateness=since) as found_since:
            assert [work.digital_person_works_id async for work in found_since] == found


async def test_progress_is_told() -> None:
    seen: list[CrawlReport] = []
    async with client(Server(30)) as api:
        async with api.works().since(None, progress=seen.append) as crawl:
            async for _ in crawl:
                pass
    assert [report.items for report in seen] == [30]
