"""The client: its life, its loop, its views, what it refuses; over a scripted server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import threading
from collections.abc import Mapping
from dataclasses import replace

import aiohttp
import pytest

from dp_async import (
    Client,
    ClientClosed,
    ConfigError,
    CrawlOptions,
    DpError,
    HttpTransport,
    Request,
    Settings,
    SortOrder,
    TransportError,
    WorkStatus,
)
from tests.scripted import SETTINGS, Server, client


async def test_the_endpoint_coroutines_send_what_they_are_given() -> None:
    server = Server(5)
    async with client(server) as api:
        page = await api.work_list(
            page_num=1, page_size=3, name="数字 人&", sort=SortOrder.ASC, status="DRAFT"
        )
        assert len(page) == 3
        await api.msg_list(page_num=2, page_size=3, read_status="UNREAD")
    works, messages = server.requests
    path = "/openApiDigitalPerson/customer"
    assert works.method == "GET"
    assert works.target == (
        f"{path}/workList?name=%E6%95%B0%E5%AD%97%20%E4%BA%BA%26"
        "&pageNum=1&pageSize=3&sort=ASC&status=DRAFT"
    )
    assert works.body == b""
    assert (messages.method, messages.target) == ("POST", f"{path}/msgList")
    assert messages.body == b'{"pageNum":2,"pageSize":3,"readStatus":"UNREAD"}'


async def test_every_request_says_who_asks() -> None:
    server = Server(1)
    async with client(server, replace(SETTINGS, account="13800001234")) as api:
        await api.work_list()
        await api.for_account("13900005678").msg_list()
        await api.for_account(None).work_list()
    sent = [request.headers for request in server.requests]
    assert [headers.get("account") for headers in sent] == ["13800001234", "13900005678", None]
    for headers in sent:
        assert headers["req_from"] == "C"
        assert headers["app_id"] == "app"
        assert headers["user-agent"].startswith("dp_async/")
        assert len(headers["authorization"]) == 32
        assert headers["timestamp"].isdigit()


async def test_a_view_shares_everything_and_closes_nothing() -> None:
    server = Server(1)
    async with client(server) as api:
        async with api.for_account("13900005678") as view:
            await view.work_list()
        await view.work_list()
        assert api.stats.requests == view.stats.requests == 2
    with pytest.raises(ClientClosed):
        await view.work_list()


async def test_a_closed_client_says_so_and_closing_twice_is_fine() -> None:
    api = client(Server(1))
    await api.aclose()
    await api.aclose()
    with pytest.raises(ClientClosed):
        await api.work_list()
    with pytest.raises(ClientClosed):
        async with api:
            pass
    with pytest.raises(ClientClosed):
        await anext(aiter(api.works()))


async def test_closing_while_a_call_waits_ends_the_call() -> None:
    server = Server(100)
    settings = replace(SETTINGS, max_in_flight=1)
    gate = server.hold(1)
    api = client(server, settings)
    first = asyncio.ensure_future(api.work_list())
    second = asyncio.ensure_future(api.work_list())
    await asyncio.sleep(0)
    await api.aclose()
    gate.set()
    await first  # it was under way, on an exchange that is not the client's
    with pytest.raises(ClientClosed):
        await second


async def test_it_may_be_entered_in_one_task_and_left_in_another() -> None:
    api = client(Server(30))
    await asyncio.create_task(_enter(api))
    works = await asyncio.gather(
        *(api.works(options=CrawlOptions(page_size=10)).collect() for _ in range(5))
    )
    assert [len(each) for each in works] == [30] * 5
    await asyncio.create_task(api.__aexit__(None, None, None))


async def _enter(api: Client) -> None:
    await api.__aenter__()


def test_another_loop_is_refused() -> None:
    api = client(Server(1))
    asyncio.run(_once(api))
    with pytest.raises(ConfigError, match="belongs to the event loop"):
        asyncio.run(_once(api))
    with pytest.raises(ConfigError, match="belongs to the event loop"):
        asyncio.run(api.aclose())


async def _once(api: Client) -> None:
    await api.work_list()


async def test_another_thread_is_refused() -> None:
    api = client(Server(1))
    await api.work_list()
    caught: list[Exception] = []

    def elsewhere() -> None:
        try:
            asyncio.run(_once(api))
        except DpError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert isinstance(caught[0], ConfigError)
    await api.aclose()


async def test_a_fork_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    api = client(Server(1))
    await api.work_list()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ConfigError, match="process"):
        await api.work_list()
    monkeypatch.undo()
    await api.aclose()


def _forked(api: Client, told: multiprocessing.Queue[str]) -> None:
    try:
        asyncio.run(_once(api))
    except DpError as error:
        told.put(type(error).__name__)


def test_a_real_fork_is_refused() -> None:
    api = client(Server(1))
    asyncio.run(_once(api))
    context = multiprocessing.get_context("fork")
    told: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_forked, args=(api, told))
    child.start()
    child.join()
    assert told.get() == "ConfigError"


def test_a_client_does_not_pickle_and_hides_its_secret() -> None:
    api = client(Server(1), replace(SETTINGS, account="13800001234"))
    with pytest.raises(TypeError, match="Settings"):
        pickle.dumps(api)
    assert "sesame" not in repr(api)
    assert "1380000" not in repr(api)
    assert "1234" in repr(api)


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ({"name": 5}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"status": 5}, "status"),
        ({"status": ["DRAFT"]}, "status"),
        ({"sort": True}, "sort"),
        ({"options": {"page_size": 5}}, "options"),
    ],
)
def test_a_filter_of_the_wrong_type_is_refused_by_name(filters: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        client(Server(1)).works(**filters)  # type: ignore[arg-type]


async def test_filters_take_texts_enums_and_the_unknown() -> None:
    server = Server(1)
    async with client(server) as api:
        await api.work_list(status=WorkStatus.SUCCESS)
        await api.work_list(status="NEW_ONE")
        await api.work_list(name="")
    targets = [request.target.partition("?")[2] for request in server.requests]
    assert targets == [
        "pageNum=1&pageSize=20&status=SUCCESS",
        "pageNum=1&pageSize=20&status=NEW_ONE",
        "name=&pageNum=1&pageSize=20",
    ]


async def test_own_signing() -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        return {"authorization": f"{request.endpoint}-{request.headers['app_id']}"}

    server = Server(1)
    async with Client(SETTINGS, send=server, sign=sign) as api:
        await api.work_list()
    assert server.requests[0].headers["authorization"] == "work_list-app"


async def test_what_cannot_be_a_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="settings"):
        Client({"base_url": "https://x"})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="session"):
        Client(SETTINGS, session=object())  # type: ignore[arg-type]
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigError, match="exclude"):
            Client(SETTINGS, session=session, send=Server(1))


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DP_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="DP_BASE_URL"):
        Client.from_env()
    monkeypatch.setenv("DP_BASE_URL", "https://api.example")
    monkeypatch.setenv("DP_APP_ID", "one")
    monkeypatch.setenv("DP_APP_SECRET", "two")
    assert "https://api.example" in repr(Client.from_env())
    assert Settings.from_env().app_secret == "two"


async def test_stats_count_what_was_sent() -> None:
    server = Server(25)
    async with client(server) as api:
        await api.works(options=CrawlOptions(page_size=10)).collect()
        stats = api.stats
    assert (stats.requests, stats.retries, stats.throttles, stats.in_flight) == (4, 0, 0, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_session_that_signs_in_the_same_header_is_refused() -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "word")) as session:
        with pytest.raises(ConfigError, match="session must not have an auth") as caught:
            Client(SETTINGS, session=session)
    assert "word" not in str(caught.value)


async def test_an_exchange_passed_in_stays_its_owners() -> None:
    async with HttpTransport(SETTINGS) as transport:
        async with Client(SETTINGS, send=transport) as api:
            with pytest.raises(TransportError, match="no connection"):
                await api.work_list()
        async with Client(SETTINGS, send=transport) as another:
            with pytest.raises(TransportError, match="no connection"):
                await another.work_list()
