"""However a crawl ends, it leaves no task, no connection outside the pool and no log record.

Each way to end it runs over HTTP, on asyncio's loop; as slow tests, on uvloop too.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import anyio
import pytest
import uvloop

from dp_async import Client, ClientClosed, CrawlOptions, Listing, Page, Work
from dp_async.testing import Simulator
from tests.support.fake_server import until

OPTIONS = CrawlOptions(page_size=20, concurrency=4)


async def break_out_of_a_listing(listing: Listing[Work], client: Client) -> None:
    async for _ in listing:
        break


async def break_out_of_a_crawl(listing: Listing[Work], client: Client) -> None:
    async with listing.crawl() as crawl:
        async for _ in crawl:
            break


async def break_out_of_pages(listing: Listing[Work], client: Client) -> None:
    async with listing.pages() as pages:
        async for _ in pages:
            break


async def raise_in_a_listing(listing: Listing[Work], client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in listing:
            raise ZeroDivisionError


async def raise_in_a_crawl(listing: Listing[Work], client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        async with listing.crawl() as crawl:
            async for _ in crawl:
                raise ZeroDivisionError


async def cancel_a_listing(listing: Listing[Work], client: Client) -> None:
    async def consume() -> None:
        async for _ in listing:
            await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await until_requested(client, 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_a_crawl(listing: Listing[Work], client: Client) -> None:
    async def consume() -> None:
        async with listing.crawl() as crawl:
            async for _ in crawl.pages():
                await asyncio.sleep(0)

    task = asyncio.create_task(consume())
    await until_requested(client, 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_a_scope(listing: Listing[Work], client: Client) -> None:
    with anyio.CancelScope() as scope:
        async with listing.crawl() as crawl:
            async for _ in crawl:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def continue_after_timeouts(listing: Listing[Work], client: Client) -> None:
    works: list[int] = []
    timeouts = 0
    async with listing.crawl() as crawl:
        while True:
            try:
                async with asyncio.timeout(0 if len(works) % 7 == 0 else None):
                    works.append((await anext(crawl)).digital_person_works_id)
            except TimeoutError:
                timeouts += 1
                works.append((await anext(crawl)).digital_person_works_id)
            except StopAsyncIteration:
                break
    assert timeouts
    assert len(works) == len(set(works)) == 1070


async def close_the_crawl_during_a_wait(listing: Listing[Work], client: Client) -> None:
    crawl = listing.crawl()
    waiting = asyncio.ensure_future(crawl.next_page())
    await until_requested(client, 1)
    await crawl.aclose()
    with pytest.raises(ClientClosed):
        await waiting


async def close_an_iterator(listing: Listing[Work], client: Client) -> None:
    stream = aiter(listing)
    await anext(stream)
    await stream.aclose()


async def drop_the_crawl(listing: Listing[Work], client: Client) -> None:
    crawl = listing.crawl()
    await anext(crawl)
    await until_requested(client, 3)
    with pytest.warns(ResourceWarning, match="dropped"):
        del crawl
        gc.collect()


async def close_the_client(listing: Listing[Work], client: Client) -> None:
    stream = aiter(listing)
    await anext(stream)
    crawl = listing.crawl()
    waiting = asyncio.ensure_future(crawl.next_page())
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        async for _ in stream:
            pass
    with pytest.raises(ClientClosed):
        await crawl.next_page()


async def read_to_the_end(listing: Listing[Work], client: Client) -> None:
    assert len([work async for work in listing]) == 1070


def _in_use(connector: aiohttp.BaseConnector) -> int:
    return len(connector._acquired)  # pyright: ignore[reportPrivateUsage]  # aiohttp has no public counter


async def until_requested(client: Client, requests: int) -> None:
    while client.stats.requests < requests:
        await asyncio.sleep(0)


Case = Callable[[Listing[Work], Client], Awaitable[None]]
CASES: list[Case] = [
    break_out_of_a_listing,
    break_out_of_a_crawl,
    break_out_of_pages,
    raise_in_a_listing,
    raise_in_a_crawl,
    cancel_a_listing,
    cancel_a_crawl,
    cancel_a_scope,
    continue_after_timeouts,
    close_the_crawl_during_a_wait,
    close_an_iterator,
    drop_the_crawl,
    close_the_client,
    read_to_the_end,
]


@pytest.fixture(
    params=[
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop", marks=pytest.mark.slow),
    ]
)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_nothing_is_left(
    case: Case,
    runner: asyncio.Runner,
    simulator_in_thread: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    noise: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.append(context))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            baseline = asyncio.all_tasks()
            async with Client(simulator_in_thread.settings, session=session) as client:
                await case(client.works(options=OPTIONS), client)
                await until(lambda: asyncio.all_tasks() == baseline)
                await until(lambda: client.stats.in_flight == 0)
                await until(lambda: not _in_use(connector))
                if case is not close_the_client:
                    assert len(await client.work_list()) == 20  # the client still works
            await until(lambda: asyncio.all_tasks() == baseline)

    with caplog.at_level(logging.DEBUG, logger="asyncio"):
        caplog.clear()
        runner.run(main())
        gc.collect()
        runner.run(asyncio.sleep(0))
    assert not noise
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.mark.parametrize("kind", ["items", "crawl", "pages"])
@pytest.mark.filterwarnings("ignore:a Crawl was dropped:ResourceWarning")
def test_a_loop_that_ends_with_an_open_crawl_logs_nothing(
    kind: str, simulator_in_thread: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    noise: list[dict[str, Any]] = []
    kept: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        client = Client(simulator_in_thread.settings)
        listing = client.works(options=OPTIONS)
        streams: dict[str, AsyncIterator[Work] | AsyncIterator[Page[Work]]] = {
            "items": aiter(listing),
            "crawl": listing.crawl(),
            "pages": listing.pages(),
        }
        stream = streams[kind]
        await anext(stream)
        kept.extend([stream, client])
        await client.aclose()

    asyncio.run(main())
    kept.clear()
    gc.collect()
    assert not noise
    assert not caplog.records
