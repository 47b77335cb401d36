"""Faults at each place of a crawl: the retry or error each leads to, and that nothing is left.

Over HTTP on loopback. Client and server share a loop in virtual time, so that a silent server and a
``Retry-After`` are waited for in full and take no time.
"""

from __future__ import annotations

import asyncio
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
    Endpoint,
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
from tests.support.loopback import (
    LoopbackLoop,
    connections,
    nothing_left,
    quietly,
    still_works,
)

ATTEMPTS = 3
ROWS = 295  # 30 pages, the last one half full: 31 requests prove a list at rest
QUIET = 31
CONCURRENCY = 8
OPTIONS = CrawlOptions(page_size=10, concurrency=CONCURRENCY)

#: How to crawl each list, and the attribute with its rows' id.
LISTS: dict[str, tuple[Callable[[Client], Listing[Any]], str]] = {
    "work_list": (lambda client: client.works(options=OPTIONS), "digital_person_works_id"),
    "msg_list": (lambda client: client.messages(options=OPTIONS), "msg_id"),
}

RETRIED: list[tuple[Fault, type[DpError]]] = [
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
"""Faults that are retried, and the error if they stay."""

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
"""Faults that are raised at once, and the error."""

WRONG_PAGES: list[tuple[Fault, set[str]]] = [
    (SamePage(), {"last page"}),
    (LyingTotals(0), {"last page"}),
    # On page 1, which no later answer replaces, the total says that there is more than was read.
    (LyingTotals(10_000), {"first page", "last page"}),
    (Altered({"content": []}), {"first page", "middle page", "last page", "closing read"}),
    # Once the server's Date shows that nothing is young, the closing read needs no times.
    (BadRow(0, "updateTime", None), {"first page", "middle page", "last page"}),
]
"""Wrong pages that look right, and the places at which they keep a crawl from being complete."""


@dataclass(frozen=True)
class Place:
    """The request for *page* after *after* earlier ones for the same page.

    Before its answer, *rows* rows are yielded and *least* to *most* other pages are requested.
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
    "closing read": Place(1, 1, 290, 30, 30),  # the last page is held back until then
}


def over_http(
    test: Callable[[Simulator, Client], Coroutine[object, object, None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = LoopbackLoop,
    **changes: Any,
) -> None:
    """Run *test* against a simulator; afterwards nothing is left, and the client still works."""

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


# A crawl and its outcome


@dataclass
class Outcome:
    """What a consumer got: *errors*, *ids* of rows, a report after each error and at the end."""

    errors: list[DpError] = field(default_factory=list[DpError])
    ids: list[int] = field(default_factory=list[int])
    reports: list[CrawlReport] = field(default_factory=list[CrawlReport])


async def crawl(
    client: Client,
    endpoint: Endpoint,
    most: int,
    waiting: Callable[[DpError], Awaitable[object]] | None = None,
) -> Outcome:
    """Crawl a list to its end, or until the *most*-th error; after others the crawl goes on."""
    listing, name = LISTS[endpoint]
    outcome = Outcome()
    async with listing(client).crawl() as crawling:
        while len(outcome.errors) < most:
            try:
                outcome.ids.append(getattr(await anext(crawling), name))
            except StopAsyncIteration:
                break
            except DpError as error:
                outcome.errors.append(error)
                outcome.reports.append(crawling.report)
                if waiting is not None:
                    await waiting(error)
        outcome.reports.append(crawling.report)
    return outcome


def served(simulator: Simulator, endpoint: Endpoint) -> list[int]:
    """The ids of a list, in its order."""
    return (simulator.works if endpoint == "work_list" else simulator.messages).ids()


def spoil(
    simulator: Simulator, fault: Fault, endpoint: Endpoint, place: str, times: int | None
) -> Place:
    """Make the simulator answer with *fault* at *place*: *times*, None for ever."""
    at = PLACES[place]
    simulator.fail(fault, times=times, endpoint=endpoint, page=at.page, after=at.after)
    return at


def everywhere(cases: list[tuple[Fault, Any]]) -> pytest.MarkDecorator:
    """Each of *cases* at every place, on the lists in turn; quick for one place each."""
    params = [
        pytest.param(
            *(fault, expected, list(LISTS)[(number // len(PLACES) + offset) % 2], place),
            marks=() if offset == number % len(PLACES) else pytest.mark.slow,
            id=f"{repr(fault)[:60]}-{place}",
        )
        for number, (fault, expected) in enumerate(cases)
        for offset, place in enumerate(PLACES)
    ]
    return pytest.mark.parametrize(("fault", "expected", "endpoint", "place"), params)


@everywhere(RETRIED)
def test_a_fault_that_passes_is_retried(
    fault: Fault, expected: type[DpError], endpoint: Endpoint, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=1)
        outcome = await crawl(client, endpoint, most=1)
        (report,) = outcome.reports
        assert outcome.ids == served(simulator, endpoint)
        assert (report.complete, report.requests, report.retries) == (True, QUIET + 1, 1)
        assert simulator.served == report.requests  # every request was counted
        assert [seen.fault for seen in simulator.requests if seen.fault] == [fault]

    over_http(test)


@everywhere(FINAL)
def test_a_final_fault_is_raised_once_and_going_on_loses_no_row(
    fault: Fault, expected: type[DpError], endpoint: Endpoint, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        at = spoil(simulator, fault, endpoint, place, times=1)
        outcome = await crawl(client, endpoint, most=2)
        assert [type(error) for error in outcome.errors] == [expected]
        assert getattr(outcome.errors[0], "attempts", 1) == 1
        early, report = outcome.reports
        assert (early.complete, early.items, early.retries) == (None, at.rows, 0)
        assert outcome.ids == served(simulator, endpoint)
        assert (report.complete, report.requests, report.retries) == (True, QUIET + 1, 0)
        assert simulator.served == report.requests

    over_http(test)


@everywhere(RETRIED + FINAL)
def test_a_fault_that_stays_is_raised(
    fault: Fault, expected: type[DpError], endpoint: Endpoint, place: str
) -> None:
    attempts = ATTEMPTS if (fault, expected) in RETRIED else 1
    if fault == Reset() and place != "first page":
        attempts += (
            1  # the free retry: the connection had served and may have been closed while idle
        )

    async def test(simulator: Simulator, client: Client) -> None:
        at = spoil(simulator, fault, endpoint, place, times=None)
        outcome = await crawl(client, endpoint, most=1)
        (error,) = outcome.errors
        assert type(error) is expected
        tried = getattr(error, "attempts", 1)
        # A refusal costs no attempt for a while, since the server lets others through.
        refused = place != "first page" and (expected is RateLimited or "503" in repr(fault))
        assert attempts <= tried <= (30 if refused else attempts)
        report = outcome.reports[0]
        assert (report.complete, report.reason) == (None, "not finished")
        assert (report.items, report.retries) == (at.rows, tried - 1)
        assert at.least <= report.requests - tried <= at.most
        assert outcome.ids == served(simulator, endpoint)[: at.rows]
        assert simulator.served <= client.stats.requests

    over_http(test)


@everywhere(WRONG_PAGES)
def test_a_wrong_page_that_passes_loses_no_row(
    fault: Fault, expected: set[str], endpoint: Endpoint, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=1)
        outcome = await crawl(client, endpoint, most=1)
        (report,) = outcome.reports
        assert sorted(outcome.ids) == sorted(served(simulator, endpoint))
        assert report.complete is True
        assert simulator.served == report.requests

    over_http(test)


@everywhere(WRONG_PAGES)
def test_a_wrong_page_that_stays_loses_no_row_unnoticed(
    fault: Fault, expected: set[str], endpoint: Endpoint, place: str
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, endpoint, place, times=None)
        outcome = await crawl(client, endpoint, most=1)
        (report,) = outcome.reports
        assert report.complete is (place not in expected)
        assert len(outcome.ids) == len(set(outcome.ids)) == report.items
        rows = set(served(simulator, endpoint))
        assert set(outcome.ids) == rows if report.complete else set(outcome.ids) <= rows
        assert simulator.served == report.requests < 10 * QUIET

    over_http(test)


# Retry-After


@pytest.mark.parametrize("fault", [Throttle(7), Throttle(7, date=True)])
def test_no_request_is_sent_before_retry_after_ends(fault: Throttle) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, fault, "work_list", "middle page", times=1)
        assert (await crawl(client, "work_list", most=1)).reports[-1].complete
        (refused,) = [seen for seen in simulator.requests if seen.fault]
        assert refused.ended is not None
        later = [seen.started for seen in simulator.requests if seen.started > refused.ended]
        assert later
        assert min(later) >= refused.ended + 7

    over_http(test)


def test_a_retry_after_above_the_cap_is_left_to_the_caller() -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        spoil(simulator, Throttle(60), "work_list", "middle page", times=1)

        waits: list[float] = []

        async def wait(error: DpError) -> None:
            assert type(error) is RateLimited
            assert error.attempts == 1
            assert error.retry_after is not None
            if not waits:  # no other call waits so long either
                with pytest.raises(RateLimited, match="not sent"):
                    await client.msg_list()
            waits.append(error.retry_after)
            await asyncio.sleep(error.retry_after)

        outcome = await crawl(client, "work_list", most=CONCURRENCY + 1, waiting=wait)
        assert waits
        assert outcome.ids == served(simulator, "work_list")
        assert outcome.reports[-1].complete

    over_http(test)


@pytest.mark.parametrize(
    "loop_factory",
    [asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
)
@pytest.mark.parametrize("fault", [Throttle(), Hang()])
def test_it_works_in_real_time(
    fault: Fault, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def test(simulator: Simulator, client: Client) -> None:
        simulator.fail(fault, page=2)
        assert len(await client.work_list(page_num=2)) == 20
        assert client.stats.retries

    over_http(test, loop_factory, timeout=0.5)
