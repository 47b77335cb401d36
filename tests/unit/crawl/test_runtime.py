"""All that a crawl, a watermark of now and a watch need is a ``Runtime`` and a ``Source``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Literal, TypeVar

import msgspec
import pytest
from msgspec import Raw

from dp_async import Crawl, CrawlOptions, Request, Watch, Watermark, Work
from dp_async._call.stats import Tally
from dp_async._crawl.engine import mark_now
from dp_async._crawl.runtime import Runtime, Source
from dp_async._http import Answer, Call
from dp_async._page.endpoints import WORKS
from dp_async._page.reader import RowReader
from tests.support.fake_server import Server
from tests.support.virtual_loop import run

T = TypeVar("T")


class Bare:
    """A runtime without client, limiter, retries or signatures."""

    max_in_flight = adaptive_limit = 2
    scope = ("here",)

    def __init__(self, server: Server) -> None:
        self.server = server
        self.calls: list[bool] = []  # which were adaptive

    def check_usable(self) -> None:
        pass

    def tally(self) -> Tally:
        return Tally()

    def call(self, tally: Tally, *, adaptive: bool = False) -> Call:
        self.calls.append(adaptive)

        async def call(request: Request) -> Answer:
            tally.began()
            try:
                await asyncio.sleep(0.5)
                return Answer(Raw((await self.server(request)).body))
            finally:
                tally.ended()

        return call

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        return asyncio.get_running_loop().create_task(work)

    async def sleep(self, seconds: float, until: asyncio.Future[None]) -> None:
        await asyncio.wait([until], timeout=seconds)

    def clock(self) -> float:
        return asyncio.get_running_loop().time()


def source(runtime: Runtime) -> Source[Work]:
    return Source(
        request=WORKS.requests(msgspec.convert({}, WORKS.query_type)),
        read=RowReader(WORKS.name, Work, WORKS.model, WORKS.key, keep=False),
        runtime=runtime,
        scope="f" * 24,
    )


@pytest.mark.parametrize("concurrency", ["auto", 5])
def test_a_crawl_and_a_watch_run_on_any_runtime(concurrency: int | Literal["auto"]) -> None:
    async def main() -> None:
        server = Server(45)
        runtime = Bare(server)
        works, options = source(runtime), CrawlOptions(page_size=2, concurrency=concurrency)
        crawl = Crawl(works, options)
        assert len([work async for work in crawl]) == 45
        assert crawl.report.complete
        assert runtime.calls == ([False, True] if concurrency == "auto" else [False])
        assert crawl.report.requests == len(server.pages)
        assert crawl.report.max_in_flight == server.max_in_flight == 2

        def since(mark: Watermark | None) -> Crawl[Work]:
            return Crawl(works, options, after=mark)

        mark = await mark_now(works, options)
        watch = Watch(lambda: mark_now(works, options), since, works.runtime, 1.0, None)
        async with watch:
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(5)
            assert watch.watermark == mark
            server.rows.insert(0, {**server.rows[0], "digitalPersonWorksId": 1})
            assert (await waiting).digital_person_works_id == 1

    run(main())


def test_elapsed_runs_by_the_runtimes_clock_from_the_first_request_to_the_end() -> None:
    async def main() -> None:
        await asyncio.sleep(3)
        crawl = Crawl(source(Bare(Server(30))), CrawlOptions(page_size=10, verify=False))
        assert crawl.report.elapsed == 0
        await crawl.next_page()
        assert crawl.report.elapsed == 0.5
        await asyncio.sleep(9)
        assert crawl.report.elapsed == 9.5
        async for _ in crawl.pages():
            pass
        await asyncio.sleep(9)
        assert crawl.report.elapsed == 9.5  # the other pages were fetched meanwhile

    run(main())


def test_a_source_is_frozen() -> None:
    works = source(Bare(Server(0)))
    with pytest.raises(AttributeError):
        works.scope = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # the point
