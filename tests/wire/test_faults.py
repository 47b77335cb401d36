"""Each fault, at each place of a crawl, on both lists: what comes of it, and that nothing is left.

Over HTTP on loopback. Client and server share a loop whose timers take no time, so that a server
that says nothing for a minute, or to come back later, is waited for in full and at once.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvloop

from dp_async import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    Client,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    DpError,
    Listing,
    PaginationError,
    RateLimited,
    ResponseTooLarge,
    RetryPolicy,
    ServerError,
    TransportError,
)
from dp_async.testing import (
    Altered,
    AuthFailure,
    BadRow,
    Body,
    Bomb,
    Drip,
    Empty,
    Endless,
    Fault,
    HalfBody,
    Hang,
    Html,
    HugeHeader,
    LyingTotals,
    Malformed,
    NullData,
    Redirect,
    Reset,
    RowWithoutId,
    SamePage,
    Simulator,
    Throttle,
    WrongCode,
    WrongEcho,
)
from tests.support.fake_server import until

ATTEMPTS = 3
ROWS = 295  # 30 pages, the last one half full: 31 requests prove a list at rest
QUIET = 31
CONCURRENCY = 8
OPTIONS = CrawlOptions(page_size=10, concurrency=CONCURRENCY)

#: Of both lists: how to crawl it, and the attribute that is its rows' id.
LISTS: dict[str, tuple[Callable[[Client], Listing[Any]], str]] = {
    "workList": (lambda client: client.works(options=OPTIONS), "digital_person_works_id"),
    "msgList": (lambda client: client.messages(options=OPTIONS), "msg_id"),
}

PASSING: list[tuple[Fault, type[DpError]]] = [
    (Reset(), TransportError),
    (HalfBody(), TransportError),
    (Drip(interval=30), AttemptTimeout),
    (Hang(), AttemptTimeout),
    (HugeHeader(), TransportError),
    (Html(), ServerError),
    (Html(200), TransportError),
    (Empty(), TransportError),
    (Empty(204), TransportError),
    (Empty(503), ServerError),
    (Body(b"<p>log in</p>"), TransportError),
    (WrongCode(), ServerError),
    (WrongCode(503, status=503), ServerError),
    (WrongCode(1001, status=500), ServerError),
    (Throttle(), RateLimited),
    (Throttle(0), RateLimited),
    (Throttle(None), RateLimited),
    (Throttle(date=True), RateLimited),
    (Throttle(in_envelope=True), RateLimited),
]
"""What is asked again by itself, and the error if it does not pass."""

FINAL: list[tuple[Fault, type[DpError]]] = [
    (Bomb(1 << 24), ResponseTooLarge),
    (Endless(), ResponseTooLarge),
    (Html(404), BadRequest),
    (WrongCode(412), BadRequest),
    (WrongCode(404, status=404), BadRequest),
    (WrongCode(1001), ApiError),
    (WrongCode(0), ApiError),
    (AuthFailure(), AuthError),
    (AuthFailure(401, 401), AuthError),
    (AuthFailure(403), AuthError),
    (AuthFailure(403, 403), AuthError),
    (Redirect(), ApiError),
    (Malformed(), DecodeError),
    (Body(b"[]"), DecodeError),
    (NullData(), DecodeError),
    (Altered({"totalElements": None}), DecodeError),
    (Altered({"size": 7}), PaginationError),
    (WrongEcho(), PaginationError),
    (BadRow(), DecodeError),
    (BadRow(2, None, None), DecodeError),
    (RowWithoutId(), DecodeError),
]
"""What is the caller's to see at once, and as what."""

LIES: list[tuple[Fault, set[str]]] = [
    (SamePage(), {"last page"}),
    (LyingTotals(0), {"last page"}),
    (LyingTotals(10_000), {"last page"}),
    (Altered({"content": []}), {"first page", "middle page", "last page", "closing read"}),
    (BadRow(0, "updateTime", None), {"first page", "middle page", "last page", "closing read"}),
]
"""What looks like an answer, and where no crawl is complete that is told it again and again."""


@dataclass(frozen=True)
class Place:
    """The request for *page* that comes *after* so many others for it.

    Until its answer *rows* are handed out, and from *least* to *most* other pages asked for.
    """

    page: int
    after: int
    rows: int
    least: int
    most: int


PLACES = {
    "first page": Place(1, 0, 0, 0, 0),
    "middle page": Place(15, 0, 140, 15, 29),
    "last page": Place(30, 0, 10, 1, 1),
    "closing read": Place(1, 1, 290, 30, 30),  # the last page is held until it is over
}


# A loop for both ends of a socket


class Moving(selectors.SelectSelector):
    """Waits a *moment* for what is on its way over loopback; if nothing is, moves the time on."""

    moment = 0.005
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else min(timeout, self.moment))
        if not ready and timeout:
            self.now += timeout
        return ready


class MovingLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, from 0, that serves sockets of this process too."""

    def __init__(self, selector: Moving | None = None) -> None:
        self._moving = Moving() if selector is None else selector
        super().__init__(self._moving)

    def time(self) -> float:
        return self._moving.now


class _Noise(logging.Handler):
    """What asyncio and aiohttp's client have to complain of. The server may: its clients leave."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in ("dp_async", "aiohttp.server"):
            self.heard.append(record.getMessage())


def quietly(
    main: Coroutine[object, object, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = MovingLoop,
) -> None:
    """Run *main*, which must leave no task, nor anything for the log or the loop to tell of."""
    noise = _Noise()
    logging.getLogger().addHandler(noise)

    async def alone() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.heard.append(context))
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(alone())
    finally:
        logging.getLogger().removeHandler(noise)
    assert not noise.heard


# Nothing is left


def own_tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop that are not those of the simulator's server."""
    return {task for task in asyncio.all_tasks() if "<RequestHandler." not in repr(task)}


def connections() -> int:
    """How many connections the simulator's server has open: a task each."""
    return sum("<RequestHandler.start()" in repr(task) for task in asyncio.all_tasks())


def pool(client: Client) -> tuple[int, int]:
    """How many connections a client has in use, and how many idle."""
    transport = client._view.core._owned  # pyright: ignore[reportPrivateUsage]
    session = transport._session if transport else None  # pyright: ignore[reportPrivateUsage]
    if session is None or session.connector is None:
        return 0, 0
    connector = session.connector
    idle = connector._conns.values()  # pyright: ignore[reportPrivateUsage]
    in_use = connector._acquired  # pyright: ignore[reportPrivateUsage]
    return len(in_use), sum(kept[0].is_connected() for each in idle for kept in each)


def inside(client: Client) -> list[int]:
    """How many are inside a client's gates."""
    gates = client._view.core._limiters  # pyright: ignore[reportPrivateUsage]
    return [limiter.in_flight for limiter in gates or ()]


def sleeping(client: Client) -> int:
    """How many calls sleep before a retry."""
    return len(client._view.core._sleeping)  # pyright: ignore[reportPrivateUsage]


async def nothing_left(client: Client) -> None:
    """No task, no place at a gate, no sleeper, no connection but those in the pool."""
    await until(lambda: own_tasks() == {asyncio.current_task()})
    assert client.stats.in_flight == 0
    assert not any(inside(client))
    assert not sleeping(client)
    await until(lambda: pool(client) == (0, connections()))


async def still_works(client: Client) -> None:
    """The next calls of the same client are as if nothing had been."""
    assert len(await client.work_list()) == 20
    assert len(await client.msg_list()) == 20
    await nothing_left(client)


def over_http(
    test: Callable[[Simulator, Client], Coroutine[object, object, None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = MovingLoop,
    **changes: Any,
) -> None:
    """Run *test* against a simulator; after it nothing may be left, and the client must work."""

    async def main() -> None:
        async with Simulator(works=ROWS, messages=ROWS) as simulator:
            given: dict[str, Any] = {
                "timeout": 40.0,  # of virtual time
                "max_response_bytes": 1 << 16,
                "retry": RetryPolicy(attempts=ATTEMPTS, base=0.01),
            }
            async with Client(replace(simulator.settings, **(given | changes))) as client:
                await test(simulator, client)
                simulator.heal()
                await nothing_left(client)
                await still_works(client)
            await until(lambda: not connections())

    quietly(main(), loop_factory)


# A crawl, with what it meets


@dataclass
class Met:
    """What a consumer met: the *errors*, the *ids* of the rows, the *report* after either."""

    errors: list[DpError] = field(default_factory=list[DpError])
    ids: list[int] = field(default_factory=list[int])
    reports: list[CrawlReport] = field(default_factory=list[CrawlReport])


async def crawl(
    client: Client,
    endpoint: str,
    most: int,
    waiting: Callable[[DpError], Awaitable[object]] | None = None,
) -> Met:
    """Crawl a list to its end, going on after errors, until there were *most* of them."""
    listing, name = LISTS[endpoint]
    met = Met()
    async with listing(client).crawl() as crawling:
        while len(met.errors) < most:
            try:
                met.ids.append(getattr(await anext(crawling), name))
            except StopAsyncIteration:
                break
            except DpError as error:
                met.errors.append(error)
                met.reports.append(crawling.report)
                if waiting is not None:
                    await waiting(error)
        met.reports.append(crawling.report)
    return met


def served(simulator: Simulator, endpoint: str) -> list[int]:
    """The ids that a list has, in its order."""
    return (simulator.works if endpoint == "workList" else simulator.messages).ids()


def spoil(
    simulator: Simulator, fault: Fault, endpoint: str, place: str, times: int | None
) -> Place:
    """Have *fault* met at *place*, once or for ever."""
    at = PLACES[place]
    simulator.fail(fault, times=times, endpoint=endpoint, page=at.page, after=at.after)
    return at


def everywhere(cases: list[tuple[Fault, Any]]) -> Callable[[Callable[..., None]], Any]:
    """A test for each of *cases*, on both lists and at every place."""
    marks = [
        pytest.mark.parametrize(
            ("fault", "expected"), cases, ids=[repr(fault)[:60] for fault, _ in cases]
        ),
        pytest.mark.parametrize("endpoint", list(LISTS)),
        pytest.mark.parametrize("place", list(PLACES)),
    ]

    def marked(test: Callable[..., None]) -> Any:
        for mark in marks:
            test = mark(test)
        return test

    return marked


@everywhere(PASSING)
def test_what_passes_is_asked_again_and_not_noticed(
    fault: Fault, expected: type[DpError], endpoint: str, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=1)
        met = await crawl(client, endpoint, most=1)
        (report,) = met.reports
        assert met.ids == served(simulator, endpoint)
        assert (report.complete, report.requests, report.retries) == (True, QUIET + 1, 1)
        assert simulator.served == report.requests  # nothing was sent that was not counted
        assert [seen.fault for seen in simulator.requests if seen.fault] == [fault]

    over_http(test)


@everywhere(FINAL)
def test_what_is_final_is_raised_once_and_going_on_loses_nothing(
    fault: Fault, expected: type[DpError], endpoint: str, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        at = spoil(simulator, fault, endpoint, place, times=1)
        met = await crawl(client, endpoint, most=2)
        assert [type(error) for error in met.errors] == [expected]
        assert getattr(met.errors[0], "attempts", 1) == 1
        early, report = met.reports
        assert (early.complete, early.items, early.retries) == (None, at.rows, 0)
        assert met.ids == served(simulator, endpoint)
        assert (report.complete, report.requests, report.retries) == (True, QUIET + 1, 0)
        assert simulator.served == report.requests

    over_http(test)


@everywhere(PASSING + FINAL)
def test_what_stays_ends_the_crawl_with_its_error(
    fault: Fault, expected: type[DpError], endpoint: str, place: str
) -> None:
    attempts = ATTEMPTS if (fault, expected) in PASSING else 1
    if fault == Reset() and place != "first page":
        attempts += 1  # one for free: the connection had served, and might have been stale

    async def test(simulator: Simulator, client: Client) -> None:
        at = spoil(simulator, fault, endpoint, place, times=None)
        met = await crawl(client, endpoint, most=1)
        (error,) = met.errors
        assert type(error) is expected
        assert getattr(error, "attempts", 1) == attempts
        report = met.reports[0]
        assert (report.complete, report.reason) == (None, "not finished")
        assert (report.items, report.retries) == (at.rows, attempts - 1)
        assert at.least <= report.requests - attempts <= at.most
        assert met.ids == served(simulator, endpoint)[: at.rows]
        assert simulator.served <= client.stats.requests

    over_http(test)


@everywhere(LIES)
def test_a_lie_that_passes_loses_nothing(
    fault: Fault, expected: set[str], endpoint: str, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=1)
        met = await crawl(client, endpoint, most=1)
        (report,) = met.reports
        assert sorted(met.ids) == sorted(served(simulator, endpoint))
        assert report.complete is True
        assert simulator.served == report.requests

    over_http(test)


@everywhere(LIES)
def test_a_lie_that_stays_is_not_called_complete_if_a_row_is_lost(
    fault: Fault, expected: set[str], endpoint: str, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=None)
        met = await crawl(client, endpoint, most=1)
        (report,) = met.reports
        assert report.complete is (place not in expected)
        assert len(met.ids) == len(set(met.ids)) == report.items
        rows = set(served(simulator, endpoint))
        assert set(met.ids) == rows if report.complete else set(met.ids) <= rows
        assert simulator.served == report.requests < 10 * QUIET

    over_http(test)


# What a refusal asks for


@pytest.mark.parametrize("fault", [Throttle(7), Throttle(7, date=True)])
def test_nobody_asks_before_the_time_the_server_said(fault: Throttle) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, "workList", "middle page", times=1)
        assert (await crawl(client, "workList", most=1)).reports[-1].complete
        (refused,) = [seen for seen in simulator.requests if seen.fault]
        assert refused.ended is not None
        later = [seen.started for seen in simulator.requests if seen.started > refused.ended]
        assert later
        assert min(later) >= refused.ended + 7

    over_http(test)


def test_a_wait_beyond_the_cap_is_the_caller_s_to_wait() -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, Throttle(60), "workList", "middle page", times=1)

        waits: list[float] = []

        async def wait(error: DpError) -> None:
            assert type(error) is RateLimited
            assert error.attempts == 1
            assert error.retry_after is not None
            if not waits:  # and nobody else is to wait so long
                with pytest.raises(RateLimited, match="not sent"):
                    await client.msg_list()
            waits.append(error.retry_after)
            await asyncio.sleep(error.retry_after)

        met = await crawl(client, "workList", most=CONCURRENCY + 1, waiting=wait)
        assert waits
        assert met.ids == served(simulator, "workList")
        assert met.reports[-1].complete

    over_http(test)


@pytest.mark.parametrize(
    "loop_factory",
    [asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
)
@pytest.mark.parametrize("fault", [Throttle(), Hang(), Drip()])
def test_in_real_time_too(
    fault: Fault, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        simulator.fail(fault, page=2)
        assert len(await client.work_list(page_num=2)) == 20
        assert client.stats.retries

    over_http(test, loop_factory, timeout=0.5)
