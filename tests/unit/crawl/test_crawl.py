"""The public faces of a crawl: items and pages, report, bad items, progress, closing, dropping."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from dp_async import (
    ClientClosed,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    Response,
    ServerError,
    Work,
)
from tests.support.fake_server import Server, client, until

TENS = CrawlOptions(page_size=10)


# Items and pages


async def test_pages_continue_where_the_items_stopped() -> None:
    async with client(Server(25)) as api:
        async with api.works(options=TENS).crawl() as crawl:
            await anext(crawl)
            async with crawl.pages() as pages:
                assert [page.page_num async for page in pages] == [2, 3]


async def test_items_that_pages_skipped_can_still_be_consumed() -> None:
    async with client(Server(25)) as api:
        async with api.works(options=TENS).since(None) as crawl:
            await anext(crawl)
            async for _ in crawl.pages():
                pass
            assert crawl.watermark is None  # nine items are not delivered yet
            assert len([work async for work in crawl]) == 9
            assert crawl.watermark is not None


async def test_two_crawls_of_one_listing_are_independent() -> None:
    server = Server(25)
    async with client(server) as api:
        listing = api.works(options=TENS)
        first, second = listing.crawl(), listing.crawl()
        seen = 0
        async for work in first:
            assert work == await anext(second)
            seen += 1
    assert seen == 25
    assert len(server.pages) == 8


async def test_a_loop_over_a_listing_ends_at_the_first_error() -> None:
    server = Server(50)
    server.script[2] = [Response(status=500)]
    async with client(server) as api:
        stream = aiter(api.works(options=TENS))
        with pytest.raises(ServerError):
            while True:
                await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_checkpoint_is_refused_with_a_limit_or_without_verification() -> None:
    async with client(Server(5)) as api:
        checkpoint = api.works().crawl().checkpoint()
        for options in (CrawlOptions(limit=5), CrawlOptions(verify=False)):
            with pytest.raises(ConfigError, match="resume goes with verify=True and without"):
                api.works(options=options).crawl(resume=checkpoint)


# Report, progress, bad items


def counts(report: CrawlReport) -> tuple[str, int, int, int]:
    return report.reason, report.items, report.pages, report.passes


async def test_the_report_is_right_at_every_moment() -> None:
    seen: list[CrawlReport] = []
    async with client(Server(25)) as api:
        crawl = api.works(options=TENS).crawl(progress=seen.append)
        assert counts(crawl.report) == ("not started", 0, 0, 0)
        await anext(crawl)
        assert counts(crawl.report) == ("not finished", 1, 1, 1)
        await anext(crawl)
        assert crawl.report.items == 2
        async for _ in crawl:
            pass
        report = crawl.report
        reason = "as many rows were read as the list held at one moment"
        assert counts(report) == (reason, 25, 3, 1)
        assert report.complete
        assert api.stats.requests == report.requests
        assert (report.requests, report.retries, report.total_elements) == (4, 0, 25)
        assert not report.drifted
        assert [each.items for each in seen] == [10, 20, 25]
        await crawl.aclose()
        assert crawl.report == report
        with pytest.raises(StopAsyncIteration):
            await anext(crawl)


async def test_a_crawl_closed_early_says_so_and_cannot_go_on() -> None:
    async with client(Server(25)) as api:
        async with api.works(options=TENS).crawl() as crawl:
            await anext(crawl)
        assert counts(crawl.report) == ("stopped early", 1, 1, 1)
        with pytest.raises(ClientClosed):
            await crawl.next_page()
        async with api.works(options=TENS).pages() as pages:
            await anext(pages)
        with pytest.raises(ClientClosed):
            await anext(pages)


async def test_a_progress_callback_that_raises_loses_no_page() -> None:
    reports: list[CrawlReport] = []

    def failing(report: CrawlReport) -> None:
        reports.append(report)
        if len(reports) == 2:
            raise ZeroDivisionError

    works: list[Work] = []
    async with client(Server(25)) as api:
        async with api.works(options=TENS).crawl(progress=failing) as crawl:
            with pytest.raises(ZeroDivisionError):
                while True:
                    works.append(await anext(crawl))
            assert len(works) == crawl.report.items == 10  # page 2 is not delivered yet
            works += [work async for work in crawl]
    assert [work.digital_person_works_id for work in works] == [*range(100_000, 99_975, -1)]
    assert [report.items for report in reports] == [10, 20, 20, 25]


async def test_rows_that_cannot_be_read_are_kept_apart() -> None:
    server = Server(25)
    server.rows[3]["name"] = 5  # its id can be read
    options = CrawlOptions(page_size=10, on_bad_item="keep")
    async with client(server) as api:
        async with api.works(options=options).crawl() as crawl:
            assert len([work async for work in crawl]) == 24
            assert crawl.report.complete
        server.rows[14]["digitalPersonWorksId"] = None
        async with api.works(options=options).crawl() as crawl:
            assert len([work async for work in crawl]) == 23
            report, bad = crawl.report, crawl.bad_items
    assert sorted((item.page_num, item.path, item.id) for item in bad) == [
        (1, "$.data.content[3]", 99_997),
        (2, "$.data.content[4]", None),
    ]
    assert report.bad_items == 2
    assert report.complete is False
    assert report.reason == "1 rows have no id that can be read: see bad_items"


# Dropping


async def test_dropping_a_crawl_cancels_its_requests_and_warns() -> None:
    server = Server(100)
    async with client(server) as api:
        crawl = api.works(options=TENS).crawl()
        await anext(crawl)
        server.block(5)
        tasks = asyncio.all_tasks()
        await until(lambda: server.in_flight > 0)
        with pytest.warns(ResourceWarning, match="dropped while it was fetching"):
            del crawl
            gc.collect()
        await until(lambda: server.in_flight == 0)
        await until(lambda: asyncio.all_tasks() <= tasks)


async def test_dropping_a_crawl_with_nothing_in_flight_is_quiet() -> None:
    async with client(Server(10)) as api:
        crawl = api.works().crawl()
        await anext(crawl)
        del crawl
        with pytest.raises(ConfigError):
            api.works().crawl(resume="")  # dropped before it was made
        gc.collect()


async def test_dropping_a_crawl_whose_loop_is_closed_only_warns() -> None:
    server = Server(100)
    async with client(server) as api:
        crawl = api.works(options=TENS).crawl()
        await anext(crawl)
        server.block(9)
        await until(lambda: (9, 10) in server.pages)
        closed = asyncio.new_event_loop()
        closed.close()
        crawl._loop = closed  # pyright: ignore[reportPrivateUsage]  # as after its loop
        with pytest.warns(ResourceWarning, match="dropped"):
            del crawl
            gc.collect()


@pytest.mark.parametrize(
    "how",
    ["to its end", "at a limit", "since a watermark", "left early", "not closed", "not begun"],
)
async def test_a_crawl_is_freed_with_the_last_reference_to_it(how: str) -> None:
    """There is no cycle, so that nothing waits for the garbage collector."""
    server = Server(5 if how == "not closed" else 20)  # of one page, none is in flight
    options = CrawlOptions(page_size=10, limit=5) if how == "at a limit" else TENS
    async with client(server) as api:
        listing = api.works(options=options)
        gc.disable()
        try:
            crawl = listing.since(None) if how == "since a watermark" else listing.crawl()
            if how != "not begun":
                async for _ in crawl:
                    if how in ("left early", "not closed"):
                        break
            if how == "left early":
                await crawl.aclose()
            assert crawl.report.summary
            engine = weakref.ref(crawl._engine)  # pyright: ignore[reportPrivateUsage]
            del crawl
            await asyncio.sleep(0)  # its tasks end
            assert engine() is None
        finally:
            gc.enable()
