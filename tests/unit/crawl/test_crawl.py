"""A crawl over a scripted server: plan, limit, report, errors, dropping it, how many at once."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

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


def ids(works: list[Work]) -> list[int]:
    return [work.digital_person_works_id for work in works]


@pytest.mark.parametrize("concurrency", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 95])
async def test_every_row_once_in_order(rows: int, concurrency: int) -> None:
    server = Server(rows)
    async with client(server) as api:
        works = await api.works(
            options=CrawlOptions(page_size=10, concurrency=concurrency)
        ).collect()
    assert ids(works) == [100_000 - index for index in range(rows)]
    assert server.max_in_flight <= min(concurrency, 16)


async def test_the_first_page_is_fetched_alone_and_its_size_plans_the_rest() -> None:
    server = Server(35, clamp=10)
    first = server.block(1)
    async with (
        client(server) as api,
        api.works(options=CrawlOptions(page_size=100)).crawl() as crawl,
    ):
        waiting = asyncio.ensure_future(crawl.next_page())
        await until(lambda: server.in_flight == 1)
        first.set()
        await waiting
        assert len([work async for work in crawl]) == 25
    # The last page comes second, and page 1 once more at the end: nothing changed meanwhile.
    assert server.pages == [(1, 100), (4, 10), (2, 10), (3, 10), (1, 10)]


async def test_the_plan_grows_with_a_later_total() -> None:
    server = Server(20)

    def grow(num: int) -> None:
        if num == 2 and len(server.rows) == 20:
            server.rows += [row(index) for index in range(20, 45)]

    server.before = grow
    async with (
        client(server) as api,
        api.works(options=CrawlOptions(page_size=10)).crawl() as crawl,
    ):
        works = [work async for work in crawl]
        assert crawl.report.drifted
    assert ids(works) == [100_000 - index for index in range(45)]


async def test_a_total_too_small_does_not_end_the_walk_on_a_full_page() -> None:
    rows = [row(index) for index in range(25)]
    server = Server(25)
    lie = answer(rows, 1, 10, total=10)
    server.script[1] = [Response(200, body=lie.body.replace(b'"last": true', b'"last": false'))]
    async with client(server) as api:
        works = await api.works(options=CrawlOptions(page_size=10)).collect()
    assert len(works) == 25


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 25, 26, 1000])
async def test_the_limit_is_exact_and_asks_for_no_page_it_cannot_need(limit: int) -> None:
    server = Server(25)
    options = CrawlOptions(page_size=10, limit=limit)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        works = [work async for work in crawl]
        report = crawl.report
    assert ids(works) == [100_000 - index for index in range(min(limit, 25))]
    assert report.items == len(works)
    if limit <= 25:
        assert len(server.pages) == -(-limit // 10)
        assert report.complete is None
        assert report.reason == f"stopped at the limit of {limit} items"
    else:  # the whole list came, and was proven to be
        assert len(server.pages) == 4
        assert report.complete


async def test_an_end_that_is_not_the_end_is_never_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(_: Pager[object, object]) -> None:
        return None

    monkeypatch.setattr(Pager, "__call__", nothing)
    async with client(Server(25)) as api:
        with pytest.raises(AssertionError, match="ended before the plan"):
            await api.works().collect()


def test_at_a_limit_that_the_list_outgrew_meanwhile_nothing_is_said_to_be_complete() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        simulator = Simulator(
            works=230, clock=lambda: 1.8e9 + loop.time(), tolerance=1e12, latency=0.1
        )
        async with Client(simulator.settings, send=simulator.send) as api:
            async with api.works(options=CrawlOptions(limit=250)).since(None) as crawl:
                loop.call_later(0.15, lambda: [simulator.works.insert() for _ in range(60)])
                found = {work.digital_person_works_id async for work in crawl}
            assert len(found) == 250
            assert crawl.report.complete is None
            assert crawl.report.reason == "stopped at the limit of 250 items"
            async with api.works().since(crawl.watermark) as rest:
                found |= {work.digital_person_works_id async for work in rest}
        assert found == {*simulator.works.ids()}

    run(main())


@pytest.mark.parametrize("seed", range(85, 95))
def test_what_a_limit_leaves_under_way_is_ended_with_the_crawl(seed: int) -> None:
    async def main() -> None:
        chance, loop = Random(seed), asyncio.get_running_loop()
        simulator = Simulator(
            works=chance.choice((50, 150, 230)),
            clock=lambda: 1.8e9 + loop.time(),
            tolerance=1e12,
            latency=0.08,
            jitter=0.5,
            seed=seed,
        )
        inserts, updates = chance.choice((0, 5, 20, 60)), chance.choice((0, 5, 20))
        async with (
            Client(simulator.settings, send=simulator.send) as api,
            simulator.writing(
                simulator.works, inserts=inserts, updates=updates, deletes=0, seed=seed
            ),
        ):
            near = len(simulator.works) + chance.randint(-20, 60)
            limit = max(0, chance.choice((near, chance.randint(1, 300))))
            options = CrawlOptions(
                page_size=chance.choice((20, 50, 100)),
                limit=limit,
                concurrency=chance.choice((1, 4, 8)),
                ordered=chance.random() < 0.7,
            )
            before = asyncio.all_tasks()
            crawl = api.works(options=options).crawl()
            async for _ in crawl:
                pass
            for _ in range(3):  # it takes the loop a turn or two to end what is cancelled
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == before

    run(main())


async def test_pages_are_cut_to_the_limit_too() -> None:
    async with client(Server(25)) as api:
        listing = api.works(options=CrawlOptions(page_size=10, limit=13))
        assert [len(page) async for page in listing.pages()] == [10, 3]


async def test_no_more_in_flight_than_the_client_permits() -> None:
    server = Server(100)
    settings = replace(SETTINGS, max_in_flight=3)
    options = CrawlOptions(page_size=5, concurrency=10)
    async with client(server, settings) as api, api.works(options=options).crawl() as crawl:
        assert len([work async for work in crawl]) == 100
        assert crawl.report.max_in_flight == server.max_in_flight == 3


async def test_an_unread_crawl_holds_a_window_of_pages_and_no_more() -> None:
    server = Server(1000)
    options = CrawlOptions(page_size=10, concurrency=2, window=4)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        await anext(crawl)
        await until(lambda: len(server.pages) == 5 and server.in_flight == 0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(server.pages) == 5  # the one consumed, and a window of four


async def test_a_failed_page_raises_once_and_is_asked_for_again() -> None:
    server = Server(50)
    server.script[3] = [Response(status=503)]
    works: list[Work] = []
    options = CrawlOptions(page_size=10, concurrency=3)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        with pytest.raises(ServerError):
            while True:
                works.append(await anext(crawl))
        assert len(works) == 20
        works += [work async for work in crawl]
    assert ids(works) == [100_000 - index for index in range(50)]


async def test_iterating_a_listing_ends_at_the_error_as_generators_do() -> None:
    server = Server(50)
    server.script[2] = [Response(status=500)]
    async with client(server) as api:
        stream = aiter(api.works(options=CrawlOptions(page_size=10)))
        with pytest.raises(ServerError):
            while True:
                await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


def told(report: CrawlReport) -> tuple[str, int, int, int]:
    return report.reason, report.items, report.pages, report.passes


async def test_the_report_is_right_at_every_moment() -> None:
    server = Server(25)
    seen: list[CrawlReport] = []
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        crawl = listing.crawl(progress=seen.append)
        assert told(crawl.report) == ("not started", 0, 0, 0)
        assert crawl.report.elapsed == 0
        await anext(crawl)
        assert told(crawl.report) == ("not finished", 1, 1, 1)
        await anext(crawl)
        assert crawl.report.items == 2
        async for _ in crawl:
            pass
        report = crawl.report
        assert told(report) == ("as many rows were read as the list held at one moment", 25, 3, 1)
        assert report.complete
        assert (report.requests, report.retries, report.total_elements) == (4, 0, 25)
        assert not report.drifted
        assert [step.items for step in seen] == [10, 20, 25]
        await crawl.aclose()
        assert crawl.report == report
        with pytest.raises(StopAsyncIteration):
            await anext(crawl)


async def test_the_report_says_that_it_was_stopped() -> None:
    async with client(Server(25)) as api:
        async with api.works(options=CrawlOptions(page_size=10)).crawl() as crawl:
            await anext(crawl)
        assert told(crawl.report) == ("stopped early", 1, 1, 1)
        with pytest.raises(ClientClosed):
            await crawl.next_page()
        async with api.works(options=CrawlOptions(limit=3)).crawl() as limited:
            assert len([work async for work in limited]) == 3
        assert limited.report.reason == "stopped at the limit of 3 items"


async def test_items_then_pages_go_on_with_the_next_page() -> None:
    async with client(Server(25)) as api:
        async with api.works(options=CrawlOptions(page_size=10)).crawl() as crawl:
            await anext(crawl)
            async with crawl.pages() as pages:
                assert [page.page_num async for page in pages] == [2, 3]


async def test_two_crawls_of_one_listing_are_apart() -> None:
    server = Server(25)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        first, second = listing.crawl(), listing.crawl()
        seen = 0
        async for work in first:
            assert work == await anext(second)
            seen += 1
    assert seen == 25
    assert len(server.pages) == 8


async def test_dropping_a_crawl_cancels_what_is_under_way_and_says_so() -> None:
    server = Server(100)
    async with client(server) as api:
        crawl = api.works(options=CrawlOptions(page_size=10)).crawl()
        await anext(crawl)
        server.block(5)
        baseline = asyncio.all_tasks()
        await until(lambda: server.in_flight > 0)
        with pytest.warns(ResourceWarning, match="dropped while it was fetching"):
            del crawl
            gc.collect()
        await until(lambda: server.in_flight == 0)
        await until(lambda: asyncio.all_tasks() <= baseline)


async def test_dropping_a_crawl_that_holds_nothing_is_quiet() -> None:
    async with client(Server(10)) as api:
        crawl = api.works().crawl()
        await anext(crawl)
        del crawl
        gc.collect()


async def test_dropping_a_crawl_whose_loop_is_closed_is_no_error() -> None:
    server = Server(100)
    async with client(server) as api:
        crawl = api.works(options=CrawlOptions(page_size=10)).crawl()
        await anext(crawl)
        server.block(9)
        await until(lambda: (9, 10) in server.pages)
        closed = asyncio.new_event_loop()
        closed.close()
        crawl._loop = closed  # pyright: ignore[reportPrivateUsage]  # as after its loop
        with pytest.warns(ResourceWarning, match="dropped"):
            del crawl
            gc.collect()


async def test_rows_that_cannot_be_read_are_kept_apart() -> None:
    server = Server(25)
    server.rows[3]["name"] = 5  # its id can be read
    server.rows[14]["digitalPersonWorksId"] = None
    options = CrawlOptions(page_size=10, on_bad_item="keep")
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        works = [work async for work in crawl]
        report, bad = crawl.report, crawl.bad_items
    assert len(works) == 23
    assert sorted((item.page_num, item.path, item.id) for item in bad) == [
        (1, "$.data.content[3]", 99_997),
        (2, "$.data.content[4]", None),
    ]
    assert report.bad_items == 2
    assert report.complete is False
    assert report.reason == "1 rows have no id that can be read: see bad_items"


async def test_rows_that_cannot_be_read_but_have_an_id_leave_the_crawl_complete() -> None:
    server = Server(25)
    server.rows[3]["name"] = 5
    options = CrawlOptions(page_size=10, on_bad_item="keep")
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        assert len([work async for work in crawl]) == 24
        assert crawl.report.complete
        assert [item.id for item in crawl.bad_items] == [99_997]


async def test_a_strict_crawl_that_is_not_complete_raises_once_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(25)
    server.rows[3]["digitalPersonWorksId"] = "x"
    options = CrawlOptions(page_size=10, on_bad_item="keep", strict=True)
    works: list[Work] = []
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        with pytest.raises(IncompleteCrawl, match="no id") as caught:
            while True:
                works.append(await anext(crawl))
        assert caught.value.report == crawl.report
        assert len(works) == 24
        with pytest.raises(StopAsyncIteration):
            await anext(crawl)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a crawl is not complete" in caplog.text


async def test_without_verification_nothing_is_claimed_and_nothing_asked_for_twice() -> None:
    server = Server(25)
    options = CrawlOptions(page_size=10, verify=False)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        assert len([work async for work in crawl]) == 25
        assert (crawl.report.complete, crawl.report.reason) == (None, "not verified")
    assert server.pages == [(1, 10), (2, 10), (3, 10)]


@pytest.mark.parametrize("verify", [True, False])
async def test_as_they_come_in_one_slow_page_holds_nobody_up(verify: bool) -> None:
    server = Server(45)
    slow = server.block(2)
    options = CrawlOptions(page_size=10, ordered=False, verify=verify)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        works = [await anext(crawl) for _ in range(35)]
        slow.set()
        works += [work async for work in crawl]
    assert sorted(ids(works)) == [100_000 - index for index in reversed(range(45))]


async def test_a_limit_that_the_list_has_not_is_a_crawl_of_the_whole_list() -> None:
    server = Server(25)
    options = CrawlOptions(page_size=10, limit=26)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        assert len([work async for work in crawl]) == 25
        assert crawl.report.complete


async def test_a_limit_reached_because_the_list_grew_gives_what_it_holds() -> None:
    server = Server(25)

    def grow(num: int) -> None:
        if num == 2 and len(server.rows) == 25:
            server.rows += [row(index) for index in range(25, 45)]

    server.before = grow
    options = CrawlOptions(page_size=10, limit=26)
    async with client(server) as api, api.works(options=options).crawl() as crawl:
        assert len([work async for work in crawl]) == 26
        assert crawl.report.complete is None
        assert crawl.report.reason == "stopped at the limit of 26 items"


async def test_a_progress_callback_that_raises_loses_no_page() -> None:
    calls = 0

    def moody(report: CrawlReport) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError

    works: list[Work] = []
    async with client(Server(25)) as api:
        async with api.works(options=CrawlOptions(page_size=10)).crawl(progress=moody) as crawl:
            with pytest.raises(ZeroDivisionError):
                while True:
                    works.append(await anext(crawl))
            assert len(works) == 10
            works += [work async for work in crawl]
    assert ids(works) == [100_000 - index for index in range(25)]


# As many pages at once as the client has learned


class Slow(Server):
    """Answers in virtual time, each request after 50 ms; works on *at_once*, the others wait."""

    def __init__(self, rows: int, at_once: int = 1000) -> None:
        super().__init__(rows)
        self.workers = asyncio.Semaphore(at_once)
        self.under_way = 0
        self.seen: list[int] = []  # by each request: how many were under way, it included
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
WHOLE = [100_000 - index for index in range(3000)]


# The first page and the one that shows the end come alone, and so does the first again at the end.
@pytest.mark.parametrize(("pages", "waves"), [(16, [1, 1, 8, 7, 1]), (17, [1, 1, 2, 4, 8, 2, 1])])
def test_a_list_of_few_pages_has_eight_at_once_and_a_longer_one_starts_low(
    pages: int, waves: list[int]
) -> None:
    async def work() -> None:
        server = Slow(10 * pages)
        async with client(server) as api:
            works = await api.works(options=AUTO).collect()
        assert ids(works) == WHOLE[: 10 * pages]
        assert server.waves == waves

    run(work())


def test_a_list_of_few_pages_teaches_nothing() -> None:
    async def work() -> None:
        server = Slow(160)
        async with client(server) as api:
            for _ in range(20):
                await api.works(options=AUTO).collect()
            server.times.clear()
            server.rows = [row(index) for index in range(300)]
            await api.works(options=AUTO).collect()
        assert server.waves[:4] == [1, 1, 2, 4]

    run(work())


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("most", [1, 3, 8, 40])
def test_a_long_list_is_read_by_as_many_as_there_may_be_in_flight_and_never_more(
    most: int, ordered: bool
) -> None:
    async def work() -> None:
        server = Slow(3000)
        settings, options = replace(SETTINGS, max_in_flight=most), replace(AUTO, ordered=ordered)
        async with client(server, settings) as api:
            works = await api.works(options=options).collect()
        assert (ids(works) if ordered else sorted(ids(works), reverse=True)) == WHOLE
        assert max(server.seen) == most

    run(work())


def test_a_long_list_is_read_by_about_as_many_as_the_server_works_on() -> None:
    async def work() -> None:
        server = Slow(3000, at_once=4)
        settings = replace(SETTINGS, max_in_flight=64)
        async with client(server, settings) as api:
            assert ids(await api.works(options=AUTO).collect()) == WHOLE
        assert max(server.seen[-100:-1]) in (4, 5, 6)

    run(work())


def test_crawls_of_one_client_share_what_they_may_have_in_flight() -> None:
    async def work() -> None:
        server = Slow(3000, at_once=4)
        settings = replace(SETTINGS, max_in_flight=64)
        async with client(server, settings) as api:
            views = [api, api.for_account("13800001234"), api.for_account("13900005678")]
            crawls = [view.works(options=AUTO).collect() for view in views]
            assert [ids(works) for works in await asyncio.gather(*crawls)] == [WHOLE] * 3
        assert max(server.seen[300:]) in (4, 5, 6)

    run(work())


def test_crawls_of_one_client_learn_together() -> None:
    async def work() -> None:
        server = Slow(3000)
        settings = replace(SETTINGS, max_in_flight=64)
        async with client(server, settings) as api:
            await asyncio.gather(*[api.works(options=AUTO).collect() for _ in range(3)])
        assert server.waves[:7] == [3, 2, 4, 8, 16, 32, 64]  # the three first pages come before

    run(work())


def test_the_next_crawl_goes_on_from_what_the_last_has_learned() -> None:
    async def work() -> None:
        server = Slow(3000)
        async with client(server) as api:
            await api.works(options=AUTO).collect()
            server.times.clear()
            del server.rows[200:]
            await api.works(options=AUTO).collect()
        assert server.waves[:3] == [1, 1, 16]

    run(work())


@pytest.mark.parametrize(("most", "window", "held"), [(4, None, 12), (1, None, 3), (4, 5, 5)])
def test_the_window_follows_unless_it_is_set(most: int, window: int | None, held: int) -> None:
    async def work() -> None:
        server = Slow(3000)
        settings, options = replace(SETTINGS, max_in_flight=most), replace(AUTO, window=window)
        async with client(server, settings) as api, api.works(options=options).crawl() as crawl:
            await anext(crawl)
            await asyncio.sleep(60)
            assert len(server.pages) == 1 + held  # the one consumed, and a window of others

    run(work())


def test_the_window_of_a_list_of_few_pages_is_that_of_eight_at_once() -> None:
    async def work() -> None:
        server = Slow(160)
        options = replace(AUTO, verify=False)
        async with client(server) as api, api.works(options=options).crawl() as crawl:
            await anext(crawl)
            await asyncio.sleep(60)
            assert len(server.pages) == 16

    run(work())


async def test_an_answer_counts_from_when_it_came_though_it_is_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One at a time: each was answered before the next was sent, whenever it was read.
    spans: list[tuple[int, int]] = []
    learn = Walk[Work].learn

    def noted(
        walk: Walk[Work], ref: PageRef, sent: int, answered: int, rows: Rows[Work]
    ) -> PageResult[Work]:
        spans.append((sent, answered))
        return learn(walk, ref, sent, answered, rows)

    monkeypatch.setattr(Walk, "learn", noted)
    async with client(Server(100)) as api:
        options = CrawlOptions(page_size=10, concurrency=1)
        assert len(await api.works(options=options).collect()) == 100
    assert len(spans) == 12
    assert all(answered < sent for (_, answered), (sent, _) in pairwise(spans))


# Watermarks


def newer(number: int, *, first: int) -> list[dict[str, object]]:
    """*number* rows with ids of their own from *first* on, newer than all of ``row``."""
    rows = [
        {**row(-100 - first - place), "digitalPersonWorksId": first + place}
        for place in range(number)
    ]
    return rows[::-1]


async def marked(listing: Listing[Work]) -> Watermark:
    """The watermark of all there is."""
    async with listing.since(None) as crawl:
        async for _ in crawl:
            pass
        assert crawl.watermark is not None
        return crawl.watermark


async def test_the_watermark_comes_with_the_end_and_not_before() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        for crawl in (listing.since(None), listing.crawl()):
            async with crawl:
                assert crawl.watermark is None
                async for _ in crawl:
                    assert crawl.watermark is None
                assert crawl.watermark is not None
        mark = await marked(listing)
        server.rows[:0] = newer(12, first=1)
        async with listing.since(mark) as crawl:
            async for _ in crawl:
                assert crawl.watermark is None
            assert crawl.report.complete
            assert crawl.watermark not in (None, mark)
        async with listing.since(mark) as crawl:
            async for page in crawl.pages():
                assert page.content
                assert crawl.watermark is None
            assert crawl.watermark is not None


async def test_a_crawl_that_is_left_or_fails_has_no_watermark() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        mark = await marked(listing)
        server.rows[:0] = newer(30, first=1)
        async with listing.since(mark) as crawl:
            async for _ in crawl:
                break
        assert crawl.watermark is None
        server.script[2] = [Response(status=500)]
        async with listing.since(mark) as crawl:
            with pytest.raises(ServerError):
                async for _ in crawl:
                    pass
            assert crawl.watermark is None
            async for _ in crawl:  # the page is asked for again
                pass
            assert crawl.watermark is not None
            assert crawl.report.items == 30


async def test_a_crawl_since_that_stops_at_a_limit_is_gone_on_with() -> None:
    server = Server(55)
    async with client(server) as api:
        mark = await marked(api.works())
        server.rows[:0] = newer(30, first=1)
        listing = api.works(options=CrawlOptions(page_size=10, limit=7))
        seen: list[list[int]] = []
        while not seen or seen[-1]:
            async with listing.since(mark) as crawl:
                seen.append([work.digital_person_works_id async for work in crawl])
                if len(seen) < 5:
                    assert crawl.report.complete is None
                    assert crawl.report.reason == "stopped at the limit of 7 items"
                assert crawl.watermark is not None
                mark = Watermark.from_json(crawl.watermark.to_json())
        assert [len(part) for part in seen] == [7, 7, 7, 7, 2, 0]
        assert [number for part in seen for number in part] == [*range(30, 0, -1)]


async def test_a_whole_crawl_that_stops_at_a_limit_knows_nothing() -> None:
    async with client(Server(55)) as api:
        listing = api.works(options=CrawlOptions(page_size=10, limit=7))
        async with listing.since(None) as crawl:
            assert len([work async for work in crawl]) == 7
            mark = crawl.watermark
        assert mark is not None
        assert mark.updated == 0
        async with listing.crawl() as crawl:
            assert len([work async for work in crawl]) == 7
            assert crawl.watermark is None
        async with api.works(options=CrawlOptions(verify=False)).crawl() as crawl:
            assert len([work async for work in crawl]) == 55
            assert crawl.watermark is None


async def test_a_crawl_since_a_watermark_has_no_checkpoint() -> None:
    async with client(Server(5)) as api:
        with pytest.raises(ConfigError, match="has no checkpoint"):
            api.works().since(None).checkpoint()


async def test_a_change_within_the_second_that_was_seen_is_found() -> None:
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


async def test_a_crawl_since_is_cancelled_cleanly_and_begun_again() -> None:
    server = Server(55)
    async with client(server) as api:
        listing = api.works(options=CrawlOptions(page_size=10))
        mark = await marked(listing)
        server.rows[:0] = newer(30, first=1)
        baseline = asyncio.all_tasks()
        held = server.block(2)
        async with listing.since(mark) as crawl:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await crawl.next_page()
            held.set()
            assert len([work async for work in crawl]) == 30
        await until(lambda: asyncio.all_tasks() <= baseline)


async def test_the_watermark_now_is_one_request() -> None:
    server = Server(55)
    async with client(server) as api:
        async with api.works().watch(0.01) as watch:
            waiting = asyncio.ensure_future(anext(watch))
            await until(lambda: watch.watermark is not None)
            waiting.cancel()
            assert server.pages == [(1, 100)]
            assert watch.watermark == await marked(api.works())


async def test_items_that_were_passed_over_are_not_delivered_yet() -> None:
    server = Server(25)
    async with client(server) as api:
        async with api.works(options=CrawlOptions(page_size=10)).since(None) as crawl:
            await anext(crawl)
            async for _ in crawl.pages():
                pass
            assert crawl.watermark is None
            assert len([work async for work in crawl]) == 9
            assert crawl.watermark is not None
