"""``since``: few requests on a long list, and exactly the rows that are new or were updated."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from dp_async import (
    Client,
    Crawl,
    CrawlOptions,
    HttpTransport,
    Listing,
    PaginationError,
    ReadStatus,
    Request,
    Response,
    Watermark,
    Work,
)
from dp_async.testing import Database, Delay, SamePage, Simulator
from tests.support.virtual_loop import run

START = 1_790_000_000.0


def ids(works: list[Work]) -> list[int]:
    return [work.digital_person_works_id for work in works]


async def to_the_end(crawl: Crawl[Work]) -> tuple[list[int], Watermark]:
    async with crawl:
        found = ids([work async for work in crawl])
        assert crawl.report.complete, crawl.report.reason
        assert crawl.watermark is not None
        return found, Watermark.from_json(crawl.watermark.to_json())


@pytest.mark.parametrize(
    ("rows", "page_size"),
    [(5_000, 20), (5_000, 100), pytest.param(100_000, 100, marks=pytest.mark.slow)],
)
async def test_twenty_changes_in_a_long_list_take_three_requests(rows: int, page_size: int) -> None:
    chance = Random(6)
    async with Simulator(works=rows, messages=0, max_page_size=1000) as simulator:
        async with Client(simulator.settings) as client:
            whole = client.works(options=CrawlOptions(page_size=1000, concurrency=4))
            everything, mark = await to_the_end(whole.since(None))
            assert len(everything) == rows
            works = simulator.works
            updated = chance.sample(works.ids(), 10)
            for key in updated:
                works.update(key, name="new")
            inserted = [works.insert() for _ in range(10)]

            before = client.stats.requests
            listing = client.works(options=CrawlOptions(page_size=page_size))
            found, mark = await to_the_end(listing.since(mark))
            assert sorted(found) == sorted([*updated, *inserted])
            assert found == works.ids()[:20]
            assert client.stats.requests - before <= 3

            before = client.stats.requests
            assert (await to_the_end(listing.since(mark)))[0] == []
            assert client.stats.requests - before == (1 if page_size == 100 else 3)


def simulated(rows: int) -> Simulator:
    """A simulator in the running loop's time."""
    loop = asyncio.get_running_loop()
    return Simulator(
        works=rows, messages=rows, clock=lambda: START + loop.time(), tolerance=float("inf")
    )


async def followed(simulator: Simulator, listing: Listing[Work]) -> None:
    _, mark = await to_the_end(listing.since(None))
    for number in (0, 1, 19, 20, 21, 100, 350):
        await asyncio.sleep(60)
        new: list[int] = []
        for _ in range(number):  # up to an hour of them: many to a page, few to a second
            new.append(simulator.works.insert())
            await asyncio.sleep(10)
        found, mark = await to_the_end(listing.since(mark))
        assert sorted(found) == new


@pytest.mark.parametrize(("concurrency", "ordered"), [(1, True), (8, False), ("auto", True)])
def test_any_number_of_new_rows_comes_once(concurrency: int, ordered: bool) -> None:
    async def work() -> None:
        simulator = simulated(300)
        options = CrawlOptions(page_size=30, concurrency=concurrency, ordered=ordered)
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            await followed(simulator, client.works(options=options))

    run(work())


def test_deleted_rows_do_not_come_and_hide_no_others() -> None:
    async def work() -> None:
        simulator = simulated(300)
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            listing = client.works(options=CrawlOptions(page_size=30))
            _, mark = await to_the_end(listing.since(None))
            await asyncio.sleep(60)
            new = [simulator.works.insert() for _ in range(5)]
            for key in [new[0], *simulator.works.ids()[5:100]]:  # the rows of the watermark too
                simulator.works.delete(key)
            found, mark = await to_the_end(listing.since(mark))
            assert sorted(found) == new[1:]
            for key in simulator.works.ids():
                simulator.works.delete(key)
            assert (await to_the_end(listing.since(mark)))[0] == []

    run(work())


def test_new_messages_come_and_updated_ones_only_from_the_pages_read() -> None:
    async def work() -> None:
        simulator = simulated(300)
        messages = simulator.messages
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            listing = client.messages(options=CrawlOptions(page_size=30)).typed(dict)
            async with listing.since(None) as crawl:
                async for _ in crawl:
                    pass
                mark = crawl.watermark
            await asyncio.sleep(60)
            near, far = messages.ids()[3], messages.ids()[200]
            new = messages.insert()
            for key in (near, far):
                messages.update(key, readStatus="READ")
            async with listing.since(mark) as crawl:
                assert [row["msgId"] async for row in crawl] == [new, near]
                assert crawl.report.complete
                assert crawl.report.requests == 1

    run(work())


@pytest.mark.parametrize("has_date", [True, False])
async def test_rows_dated_in_the_future_come_once_and_hide_no_later_row(has_date: bool) -> None:
    async with Simulator(works=50) as simulator:
        works, exchange = simulator.works, HttpTransport(simulator.settings)

        async def send(request: Request, /) -> Response:
            response = await exchange(request)
            headers = {name: response.headers[name] for name in response.headers if name != "date"}
            return response if has_date else replace(response, headers=headers)

        ahead = works.insert(createTime="2099-01-01 00:00:00", updateTime="2099-01-01 00:00:00")
        async with Client(simulator.settings, send=send) as client, exchange:
            listing = client.works()
            found, mark = await to_the_end(listing.since(None))
            assert len(found) == 51
            for _ in range(3):
                new = works.insert()
                found, mark = await to_the_end(listing.since(mark))
                assert found == [new]
                assert mark.updated < 4_000_000_000
            works.update(ahead, updateTime="2098-01-01 00:00:00")
            assert (await to_the_end(listing.since(mark)))[0] == [ahead]
            async with listing.watch(0.01) as watch:
                waiting = asyncio.ensure_future(anext(watch))
                while watch.watermark is None:
                    await asyncio.sleep(0.01)
                new = works.insert()
                assert (await waiting).digital_person_works_id == new
            async with listing.crawl() as crawl:
                assert len([work async for work in crawl]) == 55
                assert crawl.report.complete


def test_the_same_rows_on_every_page_are_an_error() -> None:
    async def work() -> None:
        simulator = simulated(300)
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            listing = client.works(options=CrawlOptions(page_size=10))
            _, mark = await to_the_end(listing.since(None))
            await asyncio.sleep(60)
            for _ in range(100):
                simulator.works.insert()
                await asyncio.sleep(5)
            simulator.fail(SamePage(), times=None)
            async with listing.since(mark) as crawl:
                with pytest.raises(PaginationError, match="same rows"):
                    async for _ in crawl:
                        pass
                assert crawl.watermark is None

    run(work())


@pytest.mark.parametrize("endpoint", ["works", "messages"])
def test_a_watch_from_now_on_right_after_an_import_yields_what_changes_and_nothing_else(
    endpoint: str,
) -> None:
    async def work() -> None:
        simulator = simulated(300)
        rows = getattr(simulator, endpoint)
        rows.insert_many(500)
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            listing = client.works() if endpoint == "works" else client.messages()
            key = rows.kind.key
            async with listing.typed(dict).watch(5.0) as watch:
                waiting = asyncio.ensure_future(anext(watch))
                while watch.watermark is None:
                    await asyncio.sleep(0.1)
                assert len(watch.watermark.to_json()) <= 2_000
                await asyncio.sleep(12)
                new = rows.insert()
                assert (await waiting)[key] == new
                waiting = asyncio.ensure_future(anext(watch))
                await asyncio.sleep(30)
                assert not waiting.done()
                waiting.cancel()

    run(work())


@pytest.mark.parametrize("late", [9.0, 25.0])
def test_a_late_row_is_found_beyond_the_lateness_too_on_the_pages_that_are_read(
    late: float,
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        simulator = Simulator(
            works=50,
            clock=lambda: START + loop.time(),
            tolerance=float("inf"),
            database=Database(commits=(Delay(1, late, late),)),
        )
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            listing = client.works()
            _, mark = await to_the_end(listing.since(None))
            for _ in range(12):
                simulator.works.insert()
                await asyncio.sleep(1)
            found: list[int] = []
            for _ in range(4):
                new, mark = await to_the_end(listing.since(mark))
                found += new
                await asyncio.sleep(10)
            assert sorted(found) == sorted(simulator.works.ids()[:12])

    run(work())


async def test_a_filter_that_rows_enter_without_a_time_is_not_proven() -> None:
    async with Simulator(messages=50) as simulator, Client(simulator.settings) as client:
        for status, complete in ((ReadStatus.READ, None), (ReadStatus.UNREAD, True)):
            listing = client.messages(read_status=status)
            async with listing.since(None) as whole:
                async for _ in whole:
                    pass
            async with listing.since(whole.watermark) as crawl:
                async for _ in crawl:
                    pass
                assert crawl.report.complete is complete
                if complete is None:
                    assert "may enter read_status=READ without a new update" in crawl.report.reason
