"""What a notebook shows of a listing and of what runs: its state, and nothing that is secret."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from dp_async import (
    AccountsFailed,
    AuthError,
    Client,
    ConfigError,
    CrawlOptions,
    Listing,
    ReadStatus,
    Request,
    Response,
    RetryPolicy,
    TransportError,
    WorkStatus,
    crawl_accounts,
)
from dp_async.testing import AuthFailure, Reset, Simulator
from tests.support.fake_server import SETTINGS, Server, client
from tests.support.virtual_loop import run

ACCOUNT = "19912345678"

LISTINGS: list[tuple[Callable[[Client], Listing[Any]], str]] = [
    (lambda api: api.works(), "<Listing of work_list, as Work>"),
    (lambda api: api.messages().typed(dict), "<Listing of msg_list, as dict>"),
    (
        lambda api: api.works(status="FAIL", sort="ASC"),
        "<Listing of work_list, sort=ASC, status=FAIL, as Work>",
    ),
    (
        lambda api: api.works(name="private", status=WorkStatus("private")),
        "<Listing of work_list, name=…, status=…, as Work>",
    ),
    (
        lambda api: api.for_account(ACCOUNT).works(options=CrawlOptions(limit=3)),
        "<Listing of work_list, account=…5678, as Work, limit=3>",
    ),
]


@pytest.mark.parametrize(("listing", "text"), LISTINGS)
def test_a_listing_shows_its_filters_its_items_and_changed_options(
    listing: Callable[[Client], Listing[Any]], text: str
) -> None:
    assert repr(listing(client(Server(3)))) == text


async def test_a_crawl_shows_its_counts_and_its_verdict() -> None:
    async with client(Server(1_030)) as api:
        crawl = api.for_account(ACCOUNT).works().crawl()
        name = "work_list, account=…5678"
        assert repr(crawl) == f"<Crawl of {name}: not started>"
        await anext(crawl)
        assert repr(crawl) == f"<Crawl of {name}: 1 of 1,030 items by 1 request, not finished>"
        assert repr(crawl.pages()) == f"<Pages of {crawl!r}>"
        async for _ in crawl:
            pass
        counts = "1,030 of 1,030 items by 12 requests"
        assert repr(crawl) == f"<Crawl of {name}: {counts}, complete: {crawl.report.reason}>"


async def test_a_crawl_that_is_not_complete_says_why() -> None:
    server = Server(2)
    server.rows[1] = {"name": "without an id"}
    async with client(server) as api:
        crawl = api.works(options=CrawlOptions(on_bad_item="keep")).crawl()
        assert len([work async for work in crawl]) == 1
    assert ", not complete: 1 rows have no id" in repr(crawl)


async def test_a_reason_shows_no_filter_of_unknown_value() -> None:
    async with client(Server(250)) as api:
        async with api.messages(read_status=ReadStatus("private")).crawl() as crawl:
            async for _ in crawl:
                pass
    assert "private" not in f"{crawl!r} {crawl.report}"


def test_a_watch_shows_its_interval_how_far_it_is_and_failures() -> None:
    async def main() -> None:
        simulator = Simulator(works=3, messages=0, tolerance=1e12)
        settings = replace(simulator.in_process_settings, retry=RetryPolicy(attempts=1))
        begins = "<Watch of work_list, every 5 s: "
        async with Client(settings, send=simulator.send) as api:
            watch = api.works().watch(5)
            assert repr(watch) == f"{begins}not started>"
            simulator.fail(Reset(), times=2)
            simulator.fail(AuthFailure())
            with pytest.raises(AuthError):
                await anext(watch)
            assert repr(watch) == f"{begins}not started, 3 failed in a row>"
            with anyio.move_on_after(60):
                await anext(watch)
            assert repr(watch) == f"{begins}delivered up to 2023-07-13 17:17:25>"
            await watch.aclose()
            assert repr(watch) == f"{begins}closed>"

    run(main())


def test_a_watch_of_an_empty_list_says_so() -> None:
    async def main() -> None:
        async with client(Server(0)) as api, api.works().watch(5) as watch:
            with anyio.move_on_after(1):
                await anext(watch)
            assert repr(watch) == "<Watch of work_list, every 5 s: no rows so far>"

    run(main())


async def test_accounts_are_counted_and_not_shown() -> None:
    async def send(request: Request, /) -> Response:
        if request.headers["account"] != ACCOUNT:
            raise TransportError("no answer")
        return await server(request)

    server = Server(30)
    begins = "<AccountsCrawl of 2 accounts: "
    async with Client(SETTINGS, send=send) as api:
        one = crawl_accounts(api, [ACCOUNT], lambda sub: sub.works())
        assert repr(one) == "<AccountsCrawl of 1 account: 0 done, 0 under way>"
        crawl = crawl_accounts(api, [ACCOUNT, "19900000001"], lambda sub: sub.works(), at_once=1)
        await anext(crawl)
        assert repr(crawl) == f"{begins}0 done, 1 under way>"
        with pytest.raises(AccountsFailed):
            async for _ in crawl:
                pass
        assert repr(crawl) == f"{begins}2 done (1 failed), 0 under way>"


async def test_a_simulator_shows_where_it_listens_and_its_rows() -> None:
    simulator = Simulator(works=1_250, messages=3, app_secret="hidden")
    rows = "1,250 rows in work_list, 3 rows in msg_list"
    assert repr(simulator) == f"<Simulator is not running: {rows}, 0 requests>"
    async with simulator:
        assert repr(simulator) == f"<Simulator at {simulator.url}: {rows}, 0 requests>"
    assert repr(simulator) == f"<Simulator was closed: {rows}, 0 requests>"


def test_what_could_not_be_made_has_a_repr_too() -> None:
    """Loggers that write a traceback's variables ask for it."""
    for make in (
        lambda: Simulator(works=-1),
        lambda: client(Server(1)).works().crawl(resume="damaged"),
    ):
        try:
            make()
        except ConfigError as error:
            lines = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert "object at 0x" in "".join(lines.format())
