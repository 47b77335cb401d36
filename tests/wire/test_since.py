"""Only what changed, over HTTP: few requests on a long list, and exactly what is new."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from dp_async import Client, Crawl, CrawlOptions, Listing, PaginationError, Watermark, Work
from dp_async.testing import SamePage, Simulator
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


@pytest.mark.parametrize("page_size", [20, 100])
async def test_of_100_000_works_ten_new_and_ten_updated_are_found_by_three_requests(
    page_size: int,
) -> None:
    chance = Random(6)
    async with Simulator(works=100_000, messages=0, max_page_size=1000) as simulator:
        async with Client(simulator.settings) as client:
            whole = client.works(options=CrawlOptions(page_size=1000, concurrency=4))
            everything, mark = await to_the_end(whole.since(None))
            assert len(everything) == 100_000
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
        for _ in range(number):  # an hour's worth: many to a page, few to a second
            new.append(simulator.works.insert())
            await asyncio.sleep(10)
        found, mark = await to_the_end(listing.since(mark))
        assert sorted(found) == new


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("concurrency", [1, 8, "auto"])
def test_however_much_is_new_it_comes_once(concurrency: int, ordered: bool) -> None:
    async def work() -> None:
        simulator = simulated(300)
        options = CrawlOptions(page_size=30, concurrency=concurrency, ordered=ordered)
        async with Client(simulator.settings, send=simulator.send) as client:
            await followed(simulator, client.works(options=options))

    run(work())


def test_what_is_deleted_is_not_seen_and_does_no_harm() -> None:
    async def work() -> None:
        simulator = simulated(300)
        async with Client(simulator.settings, send=simulator.send) as client:
            listing = client.works(options=CrawlOptions(page_size=30))
            _, mark = await to_the_end(listing.since(None))
            await asyncio.sleep(60)
            new = [simulator.works.insert() for _ in range(5)]
            for key in [new[0], *simulator.works.ids()[5:100]]:  # the watermark's rows too
                simulator.works.delete(key)
            found, mark = await to_the_end(listing.since(mark))
            assert sorted(found) == new[1:]
            for key in simulator.works.ids():
                simulator.works.delete(key)
            assert (await to_the_end(listing.since(mark)))[0] == []

    run(work())


def test_messages_are_found_as_they_come_and_read_ones_only_if_on_the_way() -> None:
    async def work() -> None:
        simulator = simulated(300)
        messages = simulator.messages
        async with Client(simulator.settings, send=simulator.send) as client:
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


def test_the_same_page_for_ever_is_an_error_here_too() -> None:
    async def work() -> None:
        simulator = simulated(300)
        async with Client(simulator.settings, send=simulator.send) as client:
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
