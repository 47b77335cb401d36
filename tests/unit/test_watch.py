"""A watch: what it requests and when, what it survives, what it raises, its watermark."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import pytest

from dp_async import (
    AuthError,
    BadItem,
    BadRequest,
    Client,
    ClientClosed,
    ConfigError,
    CrawlOptions,
    DecodeError,
    IncompleteCrawl,
    Message,
    PaginationError,
    Request,
    Response,
    RetryPolicy,
    TransportError,
    Watch,
    Watermark,
    Work,
)
from dp_async._errors import forbid_retry
from dp_async._watch import BadRows, Schedule
from dp_async.testing import (
    AuthFailure,
    Hang,
    Html,
    Malformed,
    Reset,
    Simulator,
    Throttle,
    WrongCode,
    WrongEcho,
)
from tests.support.fake_server import SETTINGS, Server, row, until
from tests.support.fake_server import client as scripted
from tests.support.virtual_loop import run

NOW = 1_800_000_000.0  # when the loop's time is 0
INTERVAL = 10.0
ONCE = RetryPolicy(attempts=1)


@asynccontextmanager
async def world(
    works: int = 50, *, retry: RetryPolicy = ONCE, **changes: Any
) -> AsyncGenerator[tuple[Simulator, Client], None]:
    """A simulator in the loop's time, and a client of it."""
    loop = asyncio.get_running_loop()
    given: dict[str, Any] = {"tolerance": 1e12, "latency": 0.1, **changes}
    simulator = Simulator(works=works, messages=works, clock=lambda: NOW + loop.time(), **given)
    settings = replace(simulator.in_process_settings, retry=retry)
    async with Client(settings, send=simulator.send) as client:
        yield simulator, client
        await until(lambda: len(asyncio.all_tasks()) == 1)  # no watch left a task behind
        assert client.stats.in_flight == 0


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(watch: Watch[Work], count: int) -> list[int]:
    """The ids of the next rows."""
    return [(await anext(watch)).digital_person_works_id for _ in range(count)]


async def within(watch: Watch[Work], seconds: float) -> list[int]:
    """The ids of the rows that come within *seconds*."""
    ids: list[int] = []
    with anyio.move_on_after(seconds):
        while True:
            ids += await take(watch, 1)
    return ids


def all_new(server: Server) -> None:
    """Replace all rows, so that no two pages overlap."""
    serial = len(server.pages)
    server.rows = [
        row(-serial * 60 - index) | {"digitalPersonWorksId": 1_000_000 + serial * 100 + index}
        for index in range(60, 0, -1)
    ]


# What comes


def test_new_and_updated_rows_come_and_older_ones_do_not() -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(INTERVAL) as watch:
            assert await within(watch, 25) == []
            old = simulator.works.ids()[30]
            new = simulator.works.insert()
            await asyncio.sleep(1)
            simulator.works.update(old, status="FAIL")
            work = await anext(watch)
            assert (work.digital_person_works_id, work.status) == (old, "FAIL")
            assert await take(watch, 1) == [new]
            assert await within(watch, 100) == []
            simulator.works.update(new)
            assert await within(watch, 100) == [new]

    run(main())


def test_messages_can_be_watched_too() -> None:
    async def main() -> None:
        async with world() as (simulator, client):
            async with client.messages().watch(INTERVAL) as watch:
                with anyio.move_on_after(15):
                    await anext(watch)
                new = simulator.messages.insert()
                message = await anext(watch)
                assert isinstance(message, Message)
                assert message.msg_id == new

    run(main())


def test_every_row_of_a_list_that_was_empty_is_new() -> None:
    async def main() -> None:
        async with world(0) as (simulator, client), client.works().watch(INTERVAL) as watch:
            assert await within(watch, 25) == []
            assert watch.watermark is not None
            assert watch.watermark.updated == 0
            assert len(simulator.requests) == 3
            new = [simulator.works.insert() for _ in range(3)]
            assert sorted(await take(watch, 3)) == new
            assert watch.watermark.updated > 0
            assert await within(watch, 50) == []

    run(main())


def test_a_backlog_is_read_in_few_requests() -> None:
    async def main() -> None:
        options = CrawlOptions(concurrency=2)
        async with world() as (simulator, client):
            async with client.works(options=options).watch(INTERVAL) as watch:
                await within(watch, 1)
                before = len(simulator.requests)
                new: list[int] = []
                for _ in range(1_000):
                    new.append(simulator.works.insert())
                    await asyncio.sleep(0.5)
                assert len(simulator.requests) == before  # no requests while the consumer is away
                assert sorted(await take(watch, 1_000)) == new
                assert len(simulator.requests) - before < 20
                assert simulator.max_in_flight <= 2

    run(main())


def test_rows_that_become_visible_within_the_allowed_lateness_are_found() -> None:
    async def main() -> None:
        options = CrawlOptions(allowed_lateness=8.0)
        async with world(lateness=8.0) as (simulator, client):
            async with client.works(options=options).watch(1) as watch:
                await within(watch, 5)
                new: list[int] = []
                seen: list[int] = []
                for _ in range(100):
                    new.append(simulator.works.insert())
                    seen += await within(watch, 0.7)
                seen += await within(watch, 20)
                assert sorted(seen) == new

    run(main())


# What it costs


def test_an_idle_watch_sends_one_small_request_per_interval_plus_or_minus_a_tenth() -> None:
    async def main() -> None:
        async with world(5_000) as (simulator, client), client.works().watch(INTERVAL) as watch:
            assert await within(watch, 500) == []
            polls = simulator.requests[1:]
            assert {seen.page_num for seen in polls} == {1}
            assert {seen.page_size for seen in polls} == {21}  # what is known, and 20 more
            waits = [b.started - (a.ended or 0.0) for a, b in pairwise(polls)]
            assert 44 <= len(waits) <= 55
            assert all(0.89 * INTERVAL < each < 1.11 * INTERVAL for each in waits)
            assert max(waits) - min(waits) > 0.1 * INTERVAL

    run(main())


def test_nothing_is_sent_while_the_consumer_does_not_wait() -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(INTERVAL) as watch:
            await asyncio.sleep(100)
            assert not simulator.requests
            await within(watch, 1)
            await asyncio.sleep(1_000)
            assert len(simulator.requests) == 1
            assert await within(watch, 0.2) == []
            assert len(simulator.requests) == 2  # long due: at once

    run(main())


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        (1.0, [1, 2, 4, 8, 16, 30, 30]),
        (10.0, [10, 20, 30, 30]),
        (60.0, [60, 60, 60]),
        (2.0**-16, [2.0 ** (count - 16) for count in range(17)] + [1.0]),
    ],
)
def test_the_backoff_doubles_from_the_interval_up_to_half_a_minute(
    interval: float, seconds: list[float]
) -> None:
    for jitter, factor in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        schedule = Schedule(interval, iter([jitter] * len(seconds)).__next__)
        for count, each in enumerate(seconds):
            schedule.failures, schedule.fruitless = count // 2, count - count // 2
            assert schedule.backoff(1_000) == pytest.approx(each * factor)
            assert schedule.due == pytest.approx(1_000 + each * factor)


# Cancelling


@pytest.mark.parametrize("patience", [0.05, 0.25, 3.0])
def test_timeouts_shorter_than_an_answer_or_an_interval_lose_nothing(
    patience: float,
) -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(INTERVAL) as watch:
            seen: list[int] = []
            new: list[int] = []
            while now() < 100:
                with anyio.move_on_after(patience):
                    seen += await take(watch, 1)
                if len(new) < min(now() // 20, 4):
                    new.append(simulator.works.insert())
            assert len(new) == 4
            assert sorted(seen) == new
            assert 9 <= len(simulator.requests) <= 13

    run(main())


def test_closing_it_ends_a_waiting_consumer_at_once_in_each_state() -> None:
    async def main(at: float) -> None:
        async with world(latency=1.0) as (simulator, client):
            watch = client.works().watch(INTERVAL)
            waiting = asyncio.create_task(take(watch, 1))
            await asyncio.sleep(at)
            await watch.aclose()
            assert now() == at
            with pytest.raises(ClientClosed):
                await waiting
            assert now() == at
            assert simulator.in_flight == 0
            with pytest.raises(ClientClosed, match="the watch is closed"):
                await anext(watch)
            await watch.aclose()

    for at in (0.5, 5.0, 11.8):  # first read, between polls, polling
        run(main(at))


def test_closing_the_client_ends_it_at_once_in_each_state() -> None:
    async def main(at: float) -> None:
        async with world(latency=1.0) as (simulator, client):
            watch = client.works().watch(INTERVAL)
            waiting = asyncio.create_task(take(watch, 1))
            await asyncio.sleep(at)
            await client.aclose()
            with pytest.raises(ClientClosed):
                await waiting
            assert now() == at
            assert simulator.in_flight == 0
            with pytest.raises(ClientClosed):
                await anext(watch)
            await watch.aclose()

    for at in (0.5, 5.0, 11.8):
        run(main(at))


def test_it_has_one_consumer() -> None:
    async def main() -> None:
        async with world() as (_, client), client.works().watch(INTERVAL) as watch:
            waiting = asyncio.create_task(take(watch, 1))
            await asyncio.sleep(1)
            with pytest.raises(ConfigError, match="a watch has one consumer"):
                await anext(watch)
            assert now() == 1
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(main())


def test_a_client_outside_async_with_can_watch() -> None:
    async def main() -> None:
        client = scripted(Server(5))
        async with client.works().watch(INTERVAL) as watch:
            assert await within(watch, 25) == []
        await client.aclose()

    run(main())


# Trouble


def test_during_an_outage_the_backoff_grows_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(1) as watch:
            await within(watch, 10)
            simulator.fail(Reset(), times=None)
            before = len(simulator.requests)
            new = [simulator.works.insert() for _ in range(3)]
            assert await within(watch, 900) == []
            assert 900 / 33 < len(simulator.requests) - before < 900 / 27 + 10
            simulator.heal()
            assert sorted(await within(watch, 40)) == new
            before = len(simulator.requests)
            await within(watch, 100)
            # As often as before: an answer takes 0.1 s, and then 0.9 to 1.1 s go by.
            assert 100 / 1.2 - 1 <= len(simulator.requests) - before <= 100 / 1.0 + 1

    with caplog.at_level(logging.WARNING, "dp_async"):
        run(main())
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "a watch waits for" in caplog.text


@pytest.mark.parametrize(
    ("fault", "outage"),
    [(Reset(), 20), (Html(), 20), (Hang(), 120), (Throttle(None), 20), (WrongCode(500), 20)],
)
def test_transient_errors_are_retried_from_the_first_request_on(fault: Any, outage: float) -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(1) as watch:
            simulator.fail(fault, times=3)
            assert await within(watch, outage) == []
            simulator.fail(fault, times=3)
            new = simulator.works.insert()
            assert await within(watch, outage) == [new]

    run(main())


def test_after_an_outage_the_interval_is_as_before() -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(1) as watch:
            simulator.fail(Reset(), times=4)
            await within(watch, 20)
            first, second = (seen for seen in simulator.requests[4:6])
            assert second.started - (first.ended or 0.0) <= 1.1

    run(main())


def test_scattered_errors_in_a_backlog_do_not_add_up() -> None:
    async def main() -> None:
        options = CrawlOptions(page_size=20, concurrency=1)
        async with world() as (simulator, client):
            async with client.works(options=options).watch(1) as watch:
                await within(watch, 1)
                for _ in range(200):
                    simulator.works.insert()
                    await asyncio.sleep(1)
                began = now()
                for after in range(1, 16, 2):
                    simulator.fail(Reset(), after=after)
                assert len(await take(watch, 200)) == 200
                assert sum(seen.fault is not None for seen in simulator.requests) >= 6
                assert now() - began < 15

    run(main())


def test_it_waits_for_retry_after() -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(1) as watch:
            await within(watch, 0.5)
            simulator.fail(Throttle(300))
            await within(watch, 342)
            refused = next(seen for seen in simulator.requests if seen.fault)
            after = simulator.requests[simulator.requests.index(refused) + 1]
            assert 300 <= after.started - (refused.ended or 0.0) < 340

    run(main())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (AuthFailure(403), AuthError),
        (WrongCode(412), BadRequest),
        (Malformed(), DecodeError),
        (WrongEcho(), PaginationError),
    ],
)
def test_other_errors_are_raised_once_and_the_next_call_waits_and_goes_on(
    fault: Any, error: type[Exception]
) -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(INTERVAL) as watch:
            simulator.fail(fault)
            with pytest.raises(error):
                await anext(watch)
            failed = now()
            assert await within(watch, 5) == []
            assert len(simulator.requests) == 1
            assert await within(watch, 10) == []
            assert simulator.requests[1].started >= failed + 0.9 * INTERVAL
            new = simulator.works.insert()
            simulator.fail(fault)
            with pytest.raises(error):
                await anext(watch)
            assert await within(watch, 25) == [new]

    run(main())


def test_a_failure_that_cannot_pass_is_raised() -> None:
    refused = TransportError("the certificate was not accepted")
    forbid_retry(refused)

    async def send(request: Request, /) -> Response:
        raise refused

    async def main() -> None:
        async with Client(SETTINGS, send=send) as client, client.works().watch(INTERVAL) as watch:
            with pytest.raises(TransportError) as caught:
                await anext(watch)
            assert caught.value is refused

    run(main())


def test_an_error_within_a_poll_loses_no_row_and_repeats_none() -> None:
    async def main() -> None:
        options = CrawlOptions(page_size=20)
        async with world() as (simulator, client):
            async with client.works(options=options).watch(INTERVAL) as watch:
                await within(watch, 1)
                new: list[int] = []
                for _ in range(100):
                    new.append(simulator.works.insert())
                    await asyncio.sleep(1)
                simulator.fail(AuthFailure(403), after=3)
                seen: list[int] = []
                with pytest.raises(AuthError):
                    while True:
                        seen += await take(watch, 1)
                assert 0 < len(seen) < 100
                seen += await within(watch, 100)
                assert sorted(seen) == new

    run(main())


def test_pages_that_contradict_each_other_end_the_poll_and_the_next_one_has_all_rows() -> None:
    async def main() -> None:
        options = CrawlOptions(page_size=20)
        async with world() as (simulator, client):
            async with client.works(options=options).watch(INTERVAL) as watch:
                await within(watch, 1)
                new: list[int] = []
                for _ in range(100):
                    new.append(simulator.works.insert())
                    await asyncio.sleep(1)
                simulator.fail(WrongEcho(), after=3)
                before = watch.watermark
                with pytest.raises(PaginationError):
                    while True:
                        await take(watch, 1)
                assert watch.watermark == before
                assert sorted(await within(watch, 100)) == new

    run(main())


def test_the_last_row_is_delivered_during_an_outage() -> None:
    async def main() -> None:
        options = CrawlOptions(page_size=20)
        async with world() as (simulator, client):
            async with client.works(options=options).watch(INTERVAL) as watch:
                await within(watch, 1)
                for _ in range(100):
                    simulator.works.insert()
                    await asyncio.sleep(1)
                before = watch.watermark
                simulator.fail(Reset(), times=None, after=1)
                assert len(await within(watch, 100)) == 20
                assert watch.watermark == before
                simulator.heal()
                assert len(await within(watch, 100)) == 80
                assert watch.watermark != before

    run(main())


def test_a_strict_poll_that_is_not_complete_raises_and_the_next_repeats_nothing() -> None:
    async def main() -> None:
        server = Server(50, clamp=20)
        options = CrawlOptions(page_size=20, strict=True, max_passes=1)
        async with scripted(server, replace(SETTINGS, retry=ONCE)) as client:
            async with client.works(options=options).watch(INTERVAL) as watch:
                await within(watch, 1)
                server.before = lambda num: all_new(server)
                seen: list[int] = []
                with pytest.raises(IncompleteCrawl):
                    while True:
                        seen += await take(watch, 1)
                server.before = lambda num: None
                seen += await within(watch, 50)
                assert len(seen) == len(set(seen))

    run(main())


def test_fruitless_polls_grow_the_backoff_until_one_is_complete() -> None:
    async def main() -> None:
        server = Server(500, clamp=100)
        polls: set[float] = set()
        server.before = lambda num: polls.add(now())
        # More rows of one second than a page holds, and below them a row without an update time.
        new = [row(-1) | {"digitalPersonWorksId": 200_000 - index} for index in range(150)]
        async with scripted(server) as client, client.works().watch(1) as watch:
            await within(watch, 5)
            server.rows = [*new, row(-1) | {"updateTime": None}, *server.rows]
            assert len(await within(watch, 5)) == 150
            polls.clear()
            assert await within(watch, 400) == []
            assert 400 / 33 < len(polls) < 400 / 27 + 6
            del server.rows[150]
            await within(watch, 40)
            polls.clear()
            before = len(server.pages)
            assert await within(watch, 20) == []
            assert 18 <= len(polls) <= 23
            assert len(server.pages) - before == 3 * len(polls)

    run(main())


def test_incomplete_polls_with_new_rows_do_not_grow_the_backoff() -> None:
    async def main() -> None:
        server = Server(50, clamp=40)
        options = CrawlOptions(page_size=40, max_passes=1)
        polls: set[float] = set()

        def answering(num: int) -> None:
            polls.add(now())
            all_new(server)

        async with scripted(server) as client:
            async with client.works(options=options).watch(1) as watch:
                await within(watch, 0.5)
                server.before = answering
                with anyio.move_on_after(20):
                    async for _ in watch:
                        pass
                assert 18 <= len(polls) <= 23

    run(main())


# Rows that cannot be read


def test_bad_rows_go_to_the_callback_once_and_again_when_they_change() -> None:
    async def main() -> None:
        server = Server(5)
        bad: list[BadItem] = []
        async with scripted(server) as client:
            async with client.works().watch(1, on_bad_item=bad.append) as watch:
                await within(watch, 5)
                assert bad == []
                spoiled = row(-2) | {"duration": "long"}
                nameless = {name: row(-2)[name] for name in ("createTime", "updateTime")}
                server.rows = [row(-3), spoiled, row(-1), *server.rows]
                assert await within(watch, 10) == [100_003, 100_001]
                assert [(one.id, one.page_num) for one in bad] == [(100_002, 1)]
                assert "$.data.content[1].duration" in bad[0].problem
                spoiled["duration"] = "longer"
                server.rows.insert(2, nameless)
                await within(watch, 60)
                assert [one.id for one in bad] == [100_002, 100_002, None]
                del spoiled["duration"], server.rows[2]
                spoiled["updateTime"] = row(-4)["updateTime"]
                server.rows = [spoiled, server.rows[0], *server.rows[2:]]
                assert await within(watch, 60) == [100_002]
                mark = watch.watermark
            assert mark is not None
            async with client.works().watch(1, since=mark, on_bad_item=bad.append) as watch:
                server.rows.insert(0, row(-5))
                assert await within(watch, 5) == [100_005]
        assert len(bad) == 3

    run(main())


def test_a_row_for_which_the_callback_raises_comes_again_and_no_row_is_lost() -> None:
    async def main() -> None:
        server = Server(5)
        bad: list[BadItem] = []

        def callback(item: BadItem) -> None:
            bad.append(item)
            if len(bad) == 1:
                raise ZeroDivisionError

        async with scripted(server) as client:
            async with client.works().watch(1, on_bad_item=callback) as watch:
                await within(watch, 5)
                server.rows = [row(-2), row(-1) | {"duration": "long"}, *server.rows]
                with pytest.raises(ZeroDivisionError):
                    await anext(watch)
                assert await within(watch, 10) == [100_002]
        assert [one.id for one in bad] == [100_001, 100_001]

    run(main())


def test_as_many_bad_rows_are_remembered_as_the_newest_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dp_async._watch.REMEMBERED", 2)
    reported: list[int | None] = []
    rows = BadRows(lambda item: reported.append(item.id))
    first, second, third = (BadItem(1, "$", "no", b"{}", number) for number in (1, 2, 3))
    for some in ([first, second], [first, third], [first], [second]):
        rows.report(some)
    assert reported == [1, 2, 3, 2]


def test_a_list_that_is_unsorted_for_a_while_raises_and_the_watch_goes_on() -> None:
    async def main() -> None:
        server = Server(5)
        async with scripted(server) as client, client.works().watch(1) as watch:
            await within(watch, 5)
            rows = server.rows
            server.rows = [rows[1], rows[0], *rows[2:]]
            with pytest.raises(PaginationError, match="not sorted newest first"):
                await anext(watch)
            server.rows = [row(-1), *rows]
            assert await within(watch, 5) == [100_001]

    run(main())


def test_an_unsorted_list_raises_even_if_it_was_empty_at_first() -> None:
    async def main() -> None:
        server = Server(0)
        async with scripted(server) as client, client.works().watch(INTERVAL) as watch:
            await within(watch, 1)
            server.rows = [row(index) for index in (3, 1, 2, 5, 4)]
            with pytest.raises(PaginationError, match="not sorted newest first"):
                while True:
                    await anext(watch)
        async with scripted(server) as client, client.works().watch(INTERVAL) as watch:
            with pytest.raises(PaginationError, match="not sorted newest first"):
                await anext(watch)

    run(main())


def test_a_bug_in_send_is_raised_unchanged() -> None:
    async def main() -> None:
        server = Server(5)
        server.script[1] = [ZeroDivisionError()]
        async with scripted(server) as client, client.works().watch(INTERVAL) as watch:
            with pytest.raises(ZeroDivisionError):
                await anext(watch)
            assert await within(watch, 5) == []
            assert len(server.pages) == 1

    run(main())


# The watermark


def test_a_restart_from_any_watermark_finds_all_that_was_not_delivered() -> None:
    async def main() -> None:
        options = CrawlOptions(page_size=20)
        kept: list[tuple[Watermark, set[tuple[int, object]]]] = []
        seen: set[tuple[int, object]] = set()
        async with world() as (simulator, client):
            listing = client.works(options=options)
            async with listing.watch(INTERVAL) as watch:
                await within(watch, 1)
                assert watch.watermark is not None
                kept.append((watch.watermark, set()))
                async with simulator.writing("work_list", inserts=2, updates=2):
                    with anyio.move_on_after(100):
                        async for work in watch:
                            seen.add((work.digital_person_works_id, work.update_time))
                            if watch.watermark != kept[-1][0]:
                                kept.append((watch.watermark, set(seen)))
            assert len(kept) > 8
            for mark, delivered in kept:
                async with listing.watch(INTERVAL, since=Watermark.from_json(mark.to_json())) as on:
                    again: set[tuple[int, object]] = set()
                    with anyio.move_on_after(5):
                        async for work in on:
                            again.add((work.digital_person_works_id, work.update_time))
                truth = {
                    (number, when)
                    for number in simulator.works.ids()
                    if (when := str(simulator.works.row(number)["updateTime"])) >= "2027"
                }
                have = {(number, str(when)) for number, when in delivered | again}
                assert truth <= have

    run(main())


def test_the_watermark_advances_with_the_last_row_of_a_poll() -> None:
    async def main() -> None:
        async with world() as (simulator, client), client.works().watch(INTERVAL) as watch:
            assert watch.watermark is None
            await within(watch, 1)
            mark = watch.watermark
            assert mark is not None
            for _ in range(3):
                simulator.works.insert()
            await take(watch, 2)
            assert watch.watermark == mark
            await take(watch, 1)
            assert watch.watermark != mark
            async with client.works().watch(INTERVAL, since=watch.watermark) as restarted:
                assert await within(restarted, 25) == []
            async with client.works().watch(INTERVAL, since=mark) as restarted:
                assert len(await within(restarted, 1)) == 3  # the first poll is at once

    run(main())


# Bad input


@pytest.mark.parametrize("interval", [0, -1, 0.001, float("nan"), float("inf"), True, "1", None])
def test_a_nonsense_interval_is_refused(interval: Any) -> None:
    with pytest.raises(ConfigError, match=r"interval must be a number from 0\.01 to 86,400"):
        Client(SETTINGS).works().watch(interval)


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"options": CrawlOptions(limit=5)}, "without a limit"),
        ({"options": CrawlOptions(on_bad_item="keep")}, "nowhere to keep"),
        ({"options": CrawlOptions(verify=False)}, "verify=False"),
        ({"sort": "ASC"}, "newest first"),
    ],
)
def test_a_list_that_cannot_be_watched_is_refused(filters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Client(SETTINGS).works(**filters).watch(1)


def test_a_watermark_of_another_list_or_account_is_refused() -> None:
    async def main() -> None:
        async with world() as (_, client):
            async with client.works().watch(INTERVAL) as watch:
                await within(watch, 1)
            mark = watch.watermark
            assert mark is not None
            for other in (client.works(status="FAIL"), client.for_account("139").works()):
                with pytest.raises(ConfigError, match="the watermark is of another list"):
                    other.watch(1, since=mark)
            with pytest.raises(ConfigError, match="of another list"):
                client.messages().watch(1, since=mark)
            with pytest.raises(ConfigError, match="watermark must be a Watermark, not str"):
                client.works().watch(1, since=mark.to_json())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    run(main())


def test_another_loop_is_refused() -> None:
    client = scripted(Server(5))
    watch = client.works().watch(INTERVAL)

    async def main() -> None:
        await within(watch, 1)

    run(main())

    async def elsewhere() -> None:
        with pytest.raises(ConfigError, match="another Client for another loop"):
            await anext(watch)

    run(elsewhere())
