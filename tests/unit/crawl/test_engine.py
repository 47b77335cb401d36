"""A crawl at work over a scripted server: pages, limit, errors, verdict, concurrency, watermark."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import msgspec
import pytest

from dp_async import (
    Client,
    ClientClosed,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    IncompleteCrawl,
    Listing,
    Request,
    Response,
    ServerError,
    Watermark,
    Work,
)
from dp_async._crawl.pager import Pager
from dp_async._page.reader import Rows
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import PageResult, Walk
from dp_async.testing import Simulator
from tests.support.fake_server import SETTINGS, Server, answer, client, row, until
from tests.support.virtual_loop import run

TENS = CrawlOptions(page_size=10)


def whole(rows: int) -> list[int]:
    """The ids of a list of so many rows, in its order."""
    return [100_000 - index for index in range(rows)]


def ids(works: list[Work]) -> list[int]:
    return [work.digital_person_works_id for work in works]


async def drain(works: AsyncIterable[Work]) -> list[int]:
    return ids([work async for work in works])


# Pages


@pytest.mark.parametrize(
    ("rows", "concurrency"),
    [(0, 5), (1, 1), (9, 2), (10, 16), (11, 64), (95, 1), (95, 5), (95, 64)],
)
async def test_every_row_comes_once_in_order(rows: int, concurrency: int) -> None:
    server = Server(rows)
    async with client(server) as api:
        works = await api.works(options=replace(TENS, concurrency=concurrency)).collect()
    assert ids(works) == whole(rows)
    assert server.max_in_flight <= min(concurrency, 16)


async def test_page_1_is_fetched_alone_and_its_size_plans_the_others() -> None:
    server = Server(35, clamp=10)
    first = server.block(1)
    async with client(server) as api, api.works().crawl() as crawl:
        waiting = asyncio.ensure_future(crawl.next_page())
        await until(lambda: server.in_flight == 1)
        first.set()
        await waiting
        assert len(await drain(crawl)) == 25
    # The last page comes second, and page 1 again at the end: nothing changed meanwhile.
    assert server.pages == [(1, 100), (4, 10), (2, 10), (3, 10), (1, 10)]


@pytest.mark.parametrize("verify", [True, False])
def test_a_crawl_pauses_for_replicas_between_its_stages(verify: bool) -> None:
    server = Server(35, clamp=10)
    times: list[float] = []

    async def send(request: Request, /) -> Response:
        times.append(asyncio.get_running_loop().time())
        return await server(request)

    async def main() -> None:
        options = replace(TENS, replica_lag=1.5, verify=verify)
        async with Client(SETTINGS, send=send) as api, api.works(options=options).crawl() as crawl:
            assert len(await drain(crawl)) == 35
            assert crawl.report.complete is (True if verify else None)

    run(main())
    # Page 1, the last one, those between at once, page 1 again.
    assert [round(time, 1) for time in times] == ([0, 1.5, 3, 3, 4.5] if verify else [0] * 4)


async def test_a_list_that_grows_meanwhile_is_read_to_its_new_end() -> None:
    server = Server(20)

    def grow(num: int) -> None:
        if num == 2 and len(server.rows) == 20:
            server.rows += [row(index) for index in range(20, 45)]

    server.before = grow
    async with client(server) as api, api.works(options=TENS).crawl() as crawl:
        assert await drain(crawl) == whole(45)
        assert crawl.report.drifted


async def test_a_total_too_small_does_not_end_the_crawl_on_a_full_page() -> None:
    server = Server(25)
    lie = answer(server.rows, 1, 10, total=10)
    server.script[1] = [Response(200, body=lie.body.replace(b'"last": true', b'"last": false'))]
    async with client(server) as api:
        assert len(await api.works(options=TENS).collect()) == 25


@pytest.mark.parametrize("verify", [True, False])
async def test_unordered_pages_do_not_wait_for_a_slow_one(verify: bool) -> None:
    server = Server(45)
    slow = server.block(2)
    options = replace(TENS, ordered=False, verify=verify)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        works = [await anext(crawl) for _ in range(35)]
        slow.set()
        assert sorted([*ids(works), *await drain(crawl)], reverse=True) == whole(45)


async def test_a_crawl_without_verification_claims_nothing_and_reads_no_page_twice() -> None:
    server = Server(25)
    async with client(server) as api:
        async with api.works(options=replace(TENS, verify=False)).crawl() as crawl:
            assert len(await drain(crawl)) == 25
            assert (crawl.report.complete, crawl.report.reason) == (None, "not verified")
            assert crawl.watermark is None
    assert server.pages == [(1, 10), (2, 10), (3, 10)]


async def test_an_idle_crawl_fetches_a_window_of_pages_and_no_more() -> None:
    server = Server(1000)
    options = replace(TENS, concurrency=2, window=4)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        await anext(crawl)
        await until(lambda: len(server.pages) == 5 and server.in_flight == 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(server.pages) == 5  # the one consumed, and a window of four


async def test_no_more_requests_are_in_flight_than_the_client_permits() -> None:
    server = Server(100)
    settings = replace(SETTINGS, max_in_flight=3)
    options = CrawlOptions(page_size=5, concurrency=10)
    async with client(server, settings) as api, api.works(options=options).crawl() as crawl:
        assert len(await drain(crawl)) == 100
        assert crawl.report.max_in_flight == server.max_in_flight == 3


async def test_the_pager_cannot_end_before_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: Pager[object, object]) -> None:
        return None

    monkeypatch.setattr(Pager, "__call__", nothing)
    async with client(Server(25)) as api:
        with pytest.raises(AssertionError, match="ended before the plan"):
            await api.works().collect()


# Limit


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 13, 25, 26, 1000])
async def test_a_limit_is_exact_and_fetches_no_page_it_cannot_need(limit: int) -> None:
    server = Server(25)
    async with client(server) as api:
        async with api.works(options=replace(TENS, limit=limit)).crawl() as crawl:
            pages = [len(page) async for page in crawl.pages()]
            report = crawl.report
    found = min(limit, 25)
    assert pages == [min(10, found - start) for start in range(0, found, 10)]
    assert report.items == found
    if limit <= 25:
        assert len(server.pages) == -(-limit // 10)
        assert report.complete is None
        assert report.reason == f"stopped at the limit of {limit} items"
    else:  # the whole list came, and was proven to be
        assert len(server.pages) == 4
        assert report.complete


async def test_a_list_that_outgrows_the_limit_is_cut_to_it_and_not_called_complete() -> None:
    server = Server(25)

    def grow(num: int) -> None:
        if num == 2 and len(server.rows) == 25:
            server.rows += [row(index) for index in range(25, 45)]

    server.before = grow
    async with client(server) as api:
        async with api.works(options=replace(TENS, limit=26)).crawl() as crawl:
            assert len(await drain(crawl)) == 26
            assert crawl.report.complete is None
            assert crawl.report.reason == "stopped at the limit of 26 items"


def test_rows_beyond_a_limit_that_the_list_outgrew_come_with_the_next_crawl() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        simulator = Simulator(
            works=230, clock=lambda: 1.8e9 + loop.time(), tolerance=1e12, latency=0.1
        )
        async with Client(simulator.in_process_settings, send=simulator.send) as api:
            async with api.works(options=CrawlOptions(limit=250)).since(None) as crawl:
                loop.call_later(0.15, lambda: [simulator.works.insert() for _ in range(60)])
                found = {*await drain(crawl)}
            assert len(found) == 250
            assert crawl.report.complete is None
            async with api.works().since(crawl.watermark) as following:
                found |= {*await drain(following)}
        assert found == {*simulator.works.ids()}

    run(main())


async def test_requests_in_flight_at_the_limit_are_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As when a page brings more new rows than the plan could foresee.
    refs = iter([PageRef(1, 10), PageRef(2, 10)])

    def plan(_: Walk[Work]) -> PageRef | None:
        return next(refs, None)

    monkeypatch.setattr(Walk, "plan", plan)
    server = Server(25)
    server.block(2)
    async with client(server) as api:
        tasks = asyncio.all_tasks()
        crawl = api.works(options=replace(TENS, limit=10)).crawl()
        assert await drain(crawl) == whole(10)
        await until(lambda: asyncio.all_tasks() == tasks)
    assert server.pages == [(1, 10), (2, 10)]


# Errors and the verdict


async def test_a_failed_page_raises_once_and_is_then_fetched_again() -> None:
    server = Server(50)
    server.script[3] = [Response(status=503)]
    works: list[Work] = []
    options = replace(TENS, concurrency=3)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        with pytest.raises(ServerError):
            while True:
                works.append(await anext(crawl))
        assert len(works) == 20
        assert [*ids(works), *await drain(crawl)] == whole(50)


@pytest.mark.parametrize("strict", [True, False])
async def test_an_incomplete_crawl_raises_once_if_strict_and_warns_if_not(
    strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(25)
    server.rows[3]["digitalPersonWorksId"] = "x"
    options = replace(TENS, on_bad_item="keep", strict=strict)
    works: list[Work] = []
    with caplog.at_level(logging.INFO, "dp_async"):
        async with client(server) as api, api.works(options=options).crawl() as crawl:
            with pytest.raises(IncompleteCrawl if strict else StopAsyncIteration) as caught:
                while True:
                    works.append(await anext(crawl))
            with pytest.raises(StopAsyncIteration):
                await anext(crawl)
    assert len(works) == 24
    assert crawl.report.complete is False
    if isinstance(caught.value, IncompleteCrawl):
        assert caught.value.report == crawl.report
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    warning = "a crawl is not complete: 1 rows have no id that can be read: see bad_items"
    assert logged == ([] if strict else [("WARNING", warning)])


@pytest.mark.parametrize("limit", [5, None])
async def test_a_strict_crawl_without_a_gap_does_not_raise(
    limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(Server(25)) as api:
        listing = api.works(options=replace(TENS, limit=limit, strict=True))
        assert len(await listing.collect()) == (limit or 25)
    assert not caplog.records


async def test_a_closed_client_ends_its_crawls() -> None:
    async with client(Server(25)) as api:
        begun, ended = api.works(options=TENS).crawl(), api.works(options=TENS).crawl()
        await anext(begun)
        assert len(await drain(ended)) == 25
    with pytest.raises(ClientClosed, match="the client is closed"):
        await begun.next_page()
    assert await ended.next_page() is None


# Checkpoints


async def test_a_crawl_resumes_after_the_full_pages_that_were_consumed() -> None:
    server = Server(55)
    options = replace(TENS, concurrency=1)
    async with client(server) as api:
        listing = api.works(options=options)
        async with listing.crawl() as crawl:
            for _ in range(35):  # of page 4, five rows are still waiting
                await anext(crawl)
            checkpoint = crawl.checkpoint()
        async with listing.crawl(resume=checkpoint) as resumed:
            # Page 1 shows whether the list is the same, and is delivered with its rows.
            assert await drain(resumed) == [*whole(10), *whole(55)[30:]]
            assert resumed.report.complete is None
            assert resumed.checkpoint() != checkpoint
        server.rows.insert(0, {**row(-1), "digitalPersonWorksId": 1})
        async with listing.crawl(resume=checkpoint) as restarted:
            assert await drain(restarted) == [1, *whole(55)]
            assert "started over" in restarted.report.reason


async def test_a_checkpoint_is_after_the_page_whose_last_item_was_consumed() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=TENS)
        found: list[int] = []
        for items in (30, 31, 39):
            async with listing.crawl() as crawl:
                for _ in range(items):
                    await anext(crawl)
                resumed = listing.crawl(resume=crawl.checkpoint())
            found.append((await drain(resumed))[10])
    assert found == [whole(55)[30]] * 3


async def test_after_a_drift_a_checkpoint_starts_from_page_1() -> None:
    server = Server(55)

    def insert(num: int) -> None:
        if num == 6 and len(server.rows) == 55:
            server.rows.insert(0, {**row(-1), "digitalPersonWorksId": 1})

    server.before = insert
    async with client(server) as api:
        listing = api.works(options=TENS)
        async with listing.crawl() as crawl:
            for _ in range(20):
                await anext(crawl)
            assert crawl.report.drifted
            checkpoint = crawl.checkpoint()
        server.before = lambda num: None
        server.rows = [row(index) for index in range(55)]
        restarted = listing.crawl(resume=checkpoint)
        assert await drain(restarted) == whole(55)
        assert restarted.report.complete


async def test_a_crawl_since_a_watermark_has_no_checkpoint() -> None:
    async with client(Server(5)) as api:
        with pytest.raises(ConfigError, match="has no checkpoint"):
            api.works().since(None).checkpoint()


# Concurrency learned by the client


class Slow(Server):
    """Answers in virtual time, each request after 50 ms; works on *at_once*, the others wait."""

    def __init__(self, rows: int, at_once: int = 1000) -> None:
        super().__init__(rows)
        self.workers = asyncio.Semaphore(at_once)
        self.under_way = 0
        self.seen: list[int] = []  # by each request: how many were in flight, it included
        self.times: list[float] = []  # by each request: when it came

    async def __call__(self, request: Request, /) -> Response:
        self.under_way += 1
        self.seen.append(self.under_way)
        self.times.append(asyncio.get_running_loop().time())
        try:
            async with self.workers:
                await asyncio.sleep(0.05)
            return await super().__call__(request)
        finally:
            self.under_way -= 1

    @property
    def waves(self) -> list[int]:
        """As all take the same time, they come in waves: of how many each."""
        return list(Counter(self.times).values())


AUTO = CrawlOptions(page_size=10, concurrency="auto")


# Page 1 and the page that shows the end come alone, and so does page 1 again at the end.
@pytest.mark.parametrize(("pages", "waves"), [(16, [1, 1, 8, 7, 1]), (17, [1, 1, 4, 4, 8, 1])])
def test_a_short_list_is_read_8_pages_at_once_and_a_longer_one_starts_low(
    pages: int, waves: list[int]
) -> None:
    async def main() -> None:
        server = Slow(10 * pages)
        async with client(server) as api:
            works = await api.works(options=AUTO).collect()
        assert ids(works) == whole(10 * pages)
        assert server.waves == waves

    run(main())


def test_short_lists_teach_nothing() -> None:
    async def main() -> None:
        server = Slow(160)
        async with client(server) as api:
            for _ in range(3):
                await api.works(options=AUTO).collect()
            server.times.clear()
            server.rows = [row(index) for index in range(300)]
            await api.works(options=AUTO).collect()
        assert server.waves[:4] == [1, 1, 4, 4]

    run(main())


@pytest.mark.parametrize(
    ("most", "rows", "ordered"),
    [(1, 500, True), (3, 500, False), (8, 1000, True), (40, 3000, False)],
)
def test_a_long_list_is_read_with_as_many_requests_as_the_client_permits(
    most: int, rows: int, ordered: bool
) -> None:
    async def main() -> None:
        server = Slow(rows)
        settings, options = replace(SETTINGS, max_in_flight=most), replace(AUTO, ordered=ordered)
        async with client(server, settings) as api:
            works = ids(await api.works(options=options).collect())
        assert (works if ordered else sorted(works, reverse=True)) == whole(rows)
        assert max(server.seen) == most

    run(main())


def test_crawls_of_one_client_share_the_concurrency_the_server_works_on() -> None:
    async def main(crawls: int) -> None:
        server = Slow(3000, at_once=4)
        async with client(server, replace(SETTINGS, max_in_flight=64)) as api:
            views = [api, api.for_account("13800001234"), api.for_account("13900005678")]
            found = await asyncio.gather(
                *[view.works(options=AUTO).collect() for view in views[:crawls]]
            )
        assert [ids(works) for works in found] == [whole(3000)] * crawls
        assert 4 <= max(server.seen[150:-crawls]) <= 8  # page 1 comes again at the end

    run(main(1))
    run(main(3))


def test_crawls_of_one_client_learn_together() -> None:
    async def main() -> None:
        server = Slow(1000)
        async with client(server, replace(SETTINGS, max_in_flight=64)) as api:
            await asyncio.gather(*[api.works(options=AUTO).collect() for _ in range(3)])
        waves = server.waves  # the three first pages come before
        assert waves[:6] == [3, 3, 4, 4, 8, 16]

    run(main())


def test_the_next_crawl_starts_with_what_the_last_one_learned() -> None:
    async def main() -> None:
        server = Slow(1000)
        async with client(server) as api:
            await api.works(options=AUTO).collect()
            server.times.clear()
            del server.rows[200:]
            await api.works(options=AUTO).collect()
        assert server.waves[:3] == [1, 1, 16]

    run(main())


@pytest.mark.parametrize(
    ("rows", "most", "window", "fetched"),
    [
        (1000, 4, None, 12),
        (1000, 1, None, 3),
        (1000, 4, 5, 5),
        (160, 16, None, 15),  # all there are: the window of 8 at once would hold 24
    ],
)
def test_the_window_follows_the_concurrency_unless_it_is_set(
    rows: int, most: int, window: int | None, fetched: int
) -> None:
    async def main() -> None:
        server = Slow(rows)
        settings = replace(SETTINGS, max_in_flight=most)
        options = replace(AUTO, window=window, verify=rows > 160)
        async with client(server, settings) as api, api.works(options=options).crawl() as crawl:
            await anext(crawl)
            await asyncio.sleep(60)
            assert len(server.pages) == 1 + fetched  # the one consumed, and a window of others

    run(main())


async def test_others_run_after_a_page_that_is_wider_than_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = Simulator(works=30)
    turns = 0  # of the event loop
    ends: list[int] = []  # the turn in which a wide page came, until the next page is asked for

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    take: Any = cast("Any", Pager).__call__
    waited: list[bool] = []

    async def noted(self: Any) -> Any:
        if ends:
            waited.append(ends.pop() < turns)
        result: Any = await take(self)
        if result is not None and result.rows.count > 10:
            ends.append(turns)
        return result

    loop = asyncio.get_running_loop()
    async with Client(simulator.in_process_settings, send=simulator.send) as api:
        async with api.works(options=TENS).since(None) as crawl:
            await drain(crawl)
        for _ in range(60):
            simulator.works.insert()
        monkeypatch.setattr(Pager, "__call__", noted)
        loop.call_soon(turn)
        async with api.works(options=TENS).since(crawl.watermark) as crawl:
            assert len(await drain(crawl)) == 60
    assert waited
    assert all(waited)


async def test_an_answer_is_dated_when_it_arrives_even_if_it_is_decoded_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One at a time: each was answered before the next was sent, whenever it was decoded.
    spans: list[tuple[int, int]] = []
    learn = Walk[Work].learn

    def noted(
        walk: Walk[Work],
        ref: PageRef,
        sent: int,
        answered: int,
        rows: Rows[Work],
        *clocks: float,
    ) -> PageResult[Work]:
        spans.append((sent, answered))
        return learn(walk, ref, sent, answered, rows, *clocks)

    monkeypatch.setattr(Walk, "learn", noted)
    async with client(Server(100)) as api:
        assert len(await api.works(options=replace(TENS, concurrency=1)).collect()) == 100
    assert len(spans) == 12
    assert all(answered < sent for (_, answered), (sent, _) in pairwise(spans))


# Watermarks


def newer(number: int) -> list[dict[str, object]]:
    """*number* rows, newest first, with the ids from *number* down to 1, newer than all others."""
    rows = [{**row(-101 - place), "digitalPersonWorksId": 1 + place} for place in range(number)]
    return rows[::-1]


async def marked(listing: Listing[Work]) -> Watermark:
    """The watermark of all there is."""
    async with listing.since(None) as crawl:
        await drain(crawl)
        assert crawl.watermark is not None
        return crawl.watermark


async def test_the_watermark_is_there_once_the_end_is_reached() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=TENS)
        for crawl in (listing.since(None), listing.crawl()):
            async with crawl:
                assert crawl.watermark is None
                async for _ in crawl:
                    assert crawl.watermark is None
                assert crawl.watermark is not None
        mark = await marked(listing)
        server.rows[:0] = newer(12)
        async with listing.since(mark) as crawl:
            async for page in crawl.pages():
                assert page.content
                assert crawl.watermark is None
            assert crawl.report.complete
            assert crawl.watermark not in (None, mark)


async def test_an_abandoned_or_failed_crawl_has_no_watermark_until_it_is_finished() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=TENS)
        mark = await marked(listing)
        server.rows[:0] = newer(30)
        async with listing.since(mark) as crawl:
            await anext(crawl)
        assert crawl.watermark is None
        server.script[2] = [Response(status=500)]
        async with listing.since(mark) as crawl:
            with pytest.raises(ServerError):
                await drain(crawl)
            assert crawl.watermark is None
            await drain(crawl)  # the page is fetched again
            assert crawl.watermark is not None
            assert crawl.report.items == 30


async def test_crawls_since_a_watermark_that_stop_at_a_limit_continue_each_other() -> None:
    server = Server(55)
    async with client(server) as api:
        mark = await marked(api.works())
        server.rows[:0] = newer(30)
        listing = api.works(options=replace(TENS, limit=7))
        seen: list[list[int]] = []
        while not seen or seen[-1]:
            async with listing.since(mark) as crawl:
                seen.append(await drain(crawl))
                if len(seen) < 5:
                    assert crawl.report.complete is None
                    assert crawl.report.reason == "stopped at the limit of 7 items"
                assert crawl.watermark is not None
                mark = Watermark.from_json(crawl.watermark.to_json())
        assert [len(part) for part in seen] == [7, 7, 7, 7, 2, 0]
        assert [number for part in seen for number in part] == [*range(30, 0, -1)]


async def test_a_whole_crawl_that_stops_at_a_limit_knows_nothing() -> None:
    async with client(Server(55)) as api:
        listing = api.works(options=replace(TENS, limit=7))
        async with listing.since(None) as crawl:
            assert len(await drain(crawl)) == 7
            mark = crawl.watermark
        assert mark is not None
        assert mark.updated == 0
        async with listing.crawl() as crawl:
            assert len(await drain(crawl)) == 7
            assert crawl.watermark is None


async def test_a_row_that_changes_again_within_its_second_is_found() -> None:
    server = Server(30)
    async with client(server) as api:
        for listing in (api.works().typed(dict), api.works().typed(msgspec.Raw)):
            mark: Watermark | None = None
            for name, found in (("one", 30), ("two", 1), ("two", 0)):
                server.rows[0]["name"] = name
                async with listing.since(mark) as crawl:
                    assert len([item async for item in crawl]) == found
                    assert crawl.watermark is not None
                    mark = crawl.watermark


async def test_a_timeout_round_a_crawl_since_a_watermark_loses_nothing() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=TENS)
        mark = await marked(listing)
        server.rows[:0] = newer(30)
        tasks = asyncio.all_tasks()
        slow = server.block(2)
        async with listing.since(mark) as crawl:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await crawl.next_page()
            slow.set()
            assert len(await drain(crawl)) == 30
        await until(lambda: asyncio.all_tasks() <= tasks)


async def test_the_watermark_of_now_takes_one_request() -> None:
    server = Server(55)
    async with client(server) as api:
        async with api.works().watch(0.01) as watch:
            waiting = asyncio.ensure_future(anext(watch))
            await until(lambda: watch.watermark is not None)
            waiting.cancel()
            assert server.pages == [(1, 100)]
            assert watch.watermark == await marked(api.works())


@pytest.mark.parametrize("grows", [False, True])
def test_a_long_decision_lets_others_run(grows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past so many reads the certificate decides in steps; what it needed is freed in steps too."""
    paused: list[bool] = []
    resume: Callable[[Walk[Work]], None] = Walk[Work].resume

    def counted(walk: Walk[Work]) -> None:
        paused.append(walk.paused)
        resume(walk)

    monkeypatch.setattr(Walk, "resume", counted)
    server = Server(701)

    def write(num: int) -> None:
        if grows and num == 40:
            server.rows.insert(0, row(-1 - len(server.rows)))

    server.before = write

    async def crawled() -> CrawlReport:
        async with client(server) as at, at.works(options=TENS).crawl() as crawl:
            assert len(set(await drain(crawl))) == len(server.rows)
            assert crawl.watermark is not None
            return crawl.report

    report = run(crawled())
    assert report.complete is True
    assert len(paused) > (9 if grows else 1)
    assert all(paused)
