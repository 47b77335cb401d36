"""The client: its life, its loop, its views, its observers, bad input; over a scripted server."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import dp_async
from dp_async import (
    ApiError,
    Attempt,
    AttemptTimeout,
    AuthError,
    Client,
    ClientClosed,
    ConfigError,
    CrawlOptions,
    DpError,
    HttpTransport,
    InProcessRateLimiter,
    RateLimited,
    ReadStatus,
    Request,
    Reservation,
    Response,
    RetryPolicy,
    Settings,
    SortOrder,
    TransportError,
    WorkStatus,
)
from tests.support.fake_server import SETTINGS, Server, client, until
from tests.support.virtual_loop import run


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


async def test_every_request_carries_app_account_and_signature() -> None:
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


async def test_a_view_of_an_account_shares_everything_and_closes_nothing() -> None:
    server = Server(1)
    async with client(server) as api:
        async with api.for_account("13900005678") as view:
            await view.work_list()
        await view.work_list()
        assert api.stats.requests == view.stats.requests == 2
    with pytest.raises(ClientClosed):
        await view.work_list()


# Views with other options


async def test_a_view_with_options_shares_everything_and_closes_nothing() -> None:
    server = Server(1)
    attempts: list[Attempt] = []
    async with client(server) as api:
        async with api.with_options(timeout=5) as view:
            view.observe(attempts.append)
            await view.work_list()
        await view.work_list()
        await api.work_list()
        assert len(attempts) == api.stats.requests == view.stats.requests == 3
    with pytest.raises(ClientClosed):
        await view.work_list()


def test_a_view_has_the_settings_of_its_client_but_for_what_is_named() -> None:
    settings = replace(SETTINGS, account="1390", timeout=7.0, max_in_flight=3)
    api = client(Server(1), settings)
    policy = RetryPolicy(attempts=9)
    assert api.settings == settings
    assert api.with_options().settings == settings
    assert api.with_options(timeout=1).settings == replace(settings, timeout=1)
    assert api.with_options(retry=policy).settings == replace(settings, retry=policy)
    both = replace(settings, timeout=1, retry=policy, account="1391")
    assert api.with_options(timeout=1, retry=policy).for_account("1391").settings == both
    assert api.for_account("1391").with_options(retry=policy).with_options(timeout=1).settings == (
        both
    )
    assert api.settings == settings


async def test_a_view_repeats_by_its_own_policy() -> None:
    server = Server(1)
    server.script[1] = [TransportError("gone")] * 4
    view = RetryPolicy(attempts=3, base=0)
    async with client(server) as api:  # whose policy is one attempt
        with pytest.raises(TransportError, match="gone"):
            await api.for_account("1390").work_list()
        with pytest.raises(TransportError, match="gave up after 3 attempts"):
            await api.with_options(retry=view).for_account("1390").work_list()
        assert len(server.requests) == 4
        server.script[1] = [TransportError("gone")] * 2
        await api.for_account("1390").with_options(retry=view).works().collect()


def test_a_view_has_its_own_timeout() -> None:
    async def main() -> None:
        server = Server(1)
        server.block(1)
        async with client(server) as api:
            loop = asyncio.get_running_loop()
            for view, seconds in [(api.with_options(timeout=2.5), 2.5), (api, 30.0)]:
                begun = loop.time()
                with pytest.raises(AttemptTimeout):
                    await view.work_list()
                assert loop.time() - begun == pytest.approx(seconds)

    run(main())


def test_a_view_gives_up_where_retry_after_is_above_its_own_cap() -> None:
    async def main() -> None:
        server = Server(1)
        refused = Response(status=429, headers={"retry-after": "10"})
        async with client(server, PATIENT) as api:
            loop = asyncio.get_running_loop()
            server.script[1] = [refused]
            await api.work_list()
            assert loop.time() >= 10
            server.script[1] = [refused]
            begun = loop.time()
            with pytest.raises(RateLimited) as caught:
                await api.with_options(retry=RetryPolicy(attempts=3, base=0, cap=5)).work_list()
            assert loop.time() == begun
            assert caught.value.retry_after == 10

    run(main())


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"timeout": 0}, "^timeout must be a number from 0.001 to 86,400, not 0"),
        ({"timeout": "5"}, "^timeout must be a number"),
        ({"retry": 3}, "^retry must be a RetryPolicy, not int"),
    ],
)
def test_a_bad_option_is_refused_and_no_traceback_variable_shows_the_secret(
    options: Any, refusal: str
) -> None:
    api = client(Server(1))
    with pytest.raises(ConfigError, match=refusal) as caught:
        api.with_options(**options)
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert not [frame for frame in stack if "sesame" in f"{frame.locals}"]


def test_the_settings_of_a_client_hide_the_secret_and_cannot_be_set() -> None:
    api = client(Server(1))
    assert "sesame" not in repr(api.settings)
    with pytest.raises(AttributeError):
        api.settings = SETTINGS  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# Life


async def test_a_closed_client_refuses_calls_and_closes_twice() -> None:
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
    limiter = server.block(1)
    api = client(server, settings)
    first = asyncio.ensure_future(api.work_list())
    second = asyncio.ensure_future(api.work_list())
    await asyncio.sleep(0)
    await api.aclose()
    limiter.set()
    await first  # it was under way, on an exchange that is not the client's
    with pytest.raises(ClientClosed):
        await second


async def test_a_call_that_got_its_slot_while_the_client_closes_is_not_sent() -> None:
    server = Server(1)
    attempts: list[Attempt] = []
    limiter = server.block(1)
    api = client(server, replace(SETTINGS, max_in_flight=1))
    api.observe(attempts.append)

    async def call_and_close() -> None:
        await api.work_list()
        await api.aclose()  # in the loop's iteration that gave the slot of the first to the second

    first = asyncio.ensure_future(call_and_close())
    second = asyncio.ensure_future(api.msg_list())
    await until(lambda: server.in_flight == 1)
    limiter.set()
    await first
    with pytest.raises(ClientClosed):
        await second
    assert [(each.endpoint, each.error) for each in attempts] == [("work_list", "")]
    assert len(server.requests) == 1
    stats = api.stats
    assert (stats.requests, stats.retries, stats.in_flight) == (1, 0, 0)


async def test_it_is_entered_in_one_task_and_closed_in_another() -> None:
    api = client(Server(30))
    await asyncio.create_task(_open(api))
    works = await asyncio.gather(
        *(api.works(options=CrawlOptions(page_size=10)).collect() for _ in range(5))
    )
    assert [len(each) for each in works] == [30] * 5
    await asyncio.create_task(api.__aexit__(None, None, None))


async def _open(api: Client) -> None:
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


def _forked(api: Client, errors: multiprocessing.Queue[str]) -> None:
    try:
        asyncio.run(_once(api))
    except DpError as error:
        errors.put(type(error).__name__)


def test_a_real_fork_is_refused() -> None:
    api = client(Server(1))
    asyncio.run(_once(api))
    context = multiprocessing.get_context("fork")
    errors: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_forked, args=(api, errors))
    child.start()
    child.join()
    assert errors.get() == "ConfigError"


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
        await api.work_list(status=WorkStatus("NEW_ONE"))
        await api.work_list(name="")
    targets = [request.target.partition("?")[2] for request in server.requests]
    assert targets == [
        "pageNum=1&pageSize=20&status=SUCCESS",
        "pageNum=1&pageSize=20&status=NEW_ONE",
        "name=&pageNum=1&pageSize=20",
    ]


async def test_a_sign_of_the_caller_replaces_the_signature() -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        return {"authorization": f"{request.endpoint}-{request.headers['app_id']}"}

    server = Server(1)
    async with Client(SETTINGS, send=server, sign=sign) as api:
        await api.work_list()
    assert server.requests[0].headers["authorization"] == "work_list-app"


@pytest.mark.parametrize("name", ["sign", "send"])
@pytest.mark.parametrize("given", [{}, 7, "", object()])
def test_a_sign_or_send_that_cannot_be_called_is_refused(name: str, given: Any) -> None:
    with pytest.raises(
        ConfigError, match=f"^{name} must be a callable, not {type(given).__name__}"
    ):
        Client(SETTINGS, **{name: given})


async def test_arguments_that_cannot_work_are_refused() -> None:
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


PATIENT = replace(SETTINGS, retry=RetryPolicy(attempts=3, base=0))


async def test_stats_count_retries_and_throttles() -> None:
    server = Server(1)
    server.script[1] = [TransportError("gone"), Response(status=429)]
    async with client(server, PATIENT) as api:
        await api.work_list()
        stats = api.stats
    assert (stats.requests, stats.retries, stats.throttles, stats.in_flight) == (3, 2, 1, 0)
    assert [request.attempt for request in server.requests] == [1, 2, 3]


async def test_stats_show_what_the_server_was_seen_to_allow() -> None:
    server = Server(1000)
    patient = replace(SETTINGS, retry=RetryPolicy(attempts=3, base=0, cap=60))
    async with client(server, patient) as api:
        assert (api.stats.limit, api.stats.pace, api.stats.pause) == (None, None, 0.0)
        await api.works(options=CrawlOptions(page_size=10)).collect()
        assert (api.stats.limit, api.stats.pace, api.stats.pause) == (None, None, 0.0)
        server.script = {num: [Response(429, {"retry-after": "30"})] for num in range(1, 9)}
        tasks = [asyncio.ensure_future(api.work_list(page_num=num)) for num in range(1, 9)]
        await until(lambda: api.stats.throttles == 8)
        assert api.stats.pace is not None
        assert 29 < api.stats.pause <= 30
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert api.stats.pause == 0.0


async def test_all_views_share_one_retry_budget() -> None:
    server = Server(1)
    server.script[1] = [TransportError("gone") for _ in range(1_000)]
    async with client(server, PATIENT) as api:
        for view in [api, api.for_account("13900005678")] * 50:
            with pytest.raises(TransportError):
                await view.work_list()
    assert len(server.requests) == 200


def test_closing_ends_the_wait_before_a_retry() -> None:
    async def closed_while_it_waits() -> float:
        server = Server(1)
        server.script[1] = [TransportError("gone"), TransportError("gone")]
        retry = RetryPolicy(attempts=2, base=3_600, cap=86_400)
        api = client(server, replace(SETTINGS, retry=retry))
        call = asyncio.ensure_future(api.work_list())
        await until(lambda: api.stats.retries == 1)
        await api.aclose()
        with pytest.raises(ClientClosed):
            await call
        assert len(server.requests) == 1
        return asyncio.get_running_loop().time()

    assert run(closed_while_it_waits()) == 0


# Observers


async def test_an_observer_gets_every_request_of_every_view() -> None:
    server = Server(25)
    server.script[1] = [TransportError("gone"), Response(status=502)]
    attempts: list[Attempt] = []
    async with client(server, PATIENT) as api:
        api.for_account("13900005678").observe(attempts.append)
        await api.work_list()
        await api.for_account(None).msg_list()
        assert [(each.endpoint, each.number, each.status, each.error) for each in attempts] == [
            ("work_list", 1, None, "TransportError"),
            ("work_list", 2, 502, "ServerError"),
            ("work_list", 3, 200, ""),
            ("msg_list", 1, 200, ""),
        ]
        assert attempts[-1].request_id == "abc"
        assert all(each.seconds >= 0 for each in attempts)
        await api.works(options=CrawlOptions(page_size=10)).collect()
        assert len(attempts) == len(server.requests) == api.stats.requests


async def test_an_observer_is_ended_by_the_function_returned() -> None:
    once: list[Attempt] = []
    twice: list[Attempt] = []

    def first_only(attempt: Attempt) -> None:
        once.append(attempt)
        end()

    async with client(Server(1)) as api:
        end = api.observe(first_only)
        ends = [api.observe(twice.append), api.observe(twice.append)]
        for expected in [(1, 2), (1, 4)]:
            await api.work_list()
            assert (len(once), len(twice)) == expected
        ends[0]()
        ends[0]()  # once more changes nothing
        await api.work_list()
        assert len(twice) == 5
        ends[1]()
        await api.work_list()
    end()
    assert (len(once), len(twice)) == (1, 5)


@pytest.mark.parametrize("callback", [None, "print"])
async def test_an_observer_that_cannot_be_called_is_refused(callback: Any) -> None:
    async with client(Server(1)) as api:
        with pytest.raises(ConfigError, match=rf"^observe\(\) .*, not {type(callback).__name__}$"):
            api.observe(callback)
        await api.work_list()  # and nothing is called


async def test_an_observer_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: Attempt) -> None:
        raise KeyError("its own mistake")

    server = Server(25)
    server.script[1] = [TransportError("gone")]
    async with client(server, PATIENT) as api:
        api.observe(broken)
        assert len(await api.works(options=CrawlOptions(page_size=10)).collect()) == 25
        requests = api.stats.requests
    assert len(caplog.records) == requests == len(server.requests)


async def test_a_cancelled_call_is_observed_and_not_repeated() -> None:
    server = Server(1)
    server.block(1)
    attempts: list[Attempt] = []
    async with client(server, PATIENT) as api:
        api.observe(attempts.append)
        call = asyncio.ensure_future(api.work_list())
        await until(lambda: server.in_flight == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (api.stats.requests, api.stats.in_flight) == (1, 0)
    assert [each.error for each in attempts] == ["CancelledError"]


# Secrets


async def test_no_error_repeats_credentials_or_filters() -> None:
    hidden = ["sesame", "salt-of-ours", "13800001234", "数字人"]
    said = {"code": 500, "resultMsg": " ".join(hidden), "requestId": "-".join(hidden)}
    server = Server(1)
    server.script[1] = [Response(status=200, body=json.dumps(said).encode())] * 2
    template = "salt-of-ours{app_secret}{timestamp}"
    settings = replace(SETTINGS, account=hidden[2], auth_template=template)
    async with client(server, settings) as api:
        for call in (
            api.work_list(name=hidden[3]),
            api.msg_list(read_status=ReadStatus(hidden[3])),
        ):
            with pytest.raises(ApiError) as caught:
                await call
            assert caught.value.message == "*** *** …1234 ***"
            assert caught.value.request_id == "***-***-…1234-***"
            assert not [word for word in hidden if word in f"{caught.value} {vars(caught.value)}"]


PACKAGE = Path(dp_async.__file__).parent


def variables(error: BaseException) -> dict[str, str]:
    """The local variables in *error*'s traceback, by function of this package."""
    found: dict[str, str] = {}
    for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack:
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE):
            name = f"{path.stem}.{frame.name}"
            found[name] = f"{found.get(name)} {frame.locals}"
    return found


def silent(request: Request) -> Response:
    return Response(status=401)


def repeating(request: Request) -> Response:
    """An answer that repeats account, signature and secret."""
    words = ["sesame", "salt-of-ours", request.headers["account"], request.headers["authorization"]]
    said = {"code": 401, "resultMsg": " ".join(words), "requestId": "-".join(words)}
    return Response(status=401, body=json.dumps(said).encode())


WAYS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "a call": lambda api: api.work_list(),
    "a crawl": lambda api: api.messages().collect(),
    "a crawl that adapts": lambda api: api.works(
        options=CrawlOptions(concurrency="auto")
    ).collect(),
}


@pytest.mark.parametrize(
    ("way", "refusing", "observed"),
    [
        ("a call", repeating, True),
        ("a call", silent, False),
        ("a crawl", repeating, False),
        ("a crawl that adapts", silent, True),
    ],
)
async def test_no_traceback_variable_shows_the_credentials(
    way: str, refusing: Callable[[Request], Response], observed: bool
) -> None:
    sent: list[Request] = []

    async def send(request: Request, /) -> Response:
        sent.append(request)
        return refusing(request)

    template = "salt-of-ours{app_secret}{timestamp}"
    settings = replace(SETTINGS, account="13800001234", auth_template=template)
    async with Client(settings, send=send) as api:
        if observed:
            api.observe(lambda attempt: None)
        with pytest.raises(AuthError) as caught:
            await WAYS[way](api)
    shown = variables(caught.value)
    for name in ("auth.calling", "envelope.call", "envelope.opened"):
        assert "Request(endpoint=" in shown[name]
    # The app's id is no secret, and the C of req_from is in any word.
    said = [text for name, text in sent[0].headers.items() if name not in ("app_id", "req_from")]
    assert {settings.account, sent[0].headers["authorization"]} <= set(said)
    hidden = ["sesame", "salt-of-ours", "authorization", *said]
    assert not [(name, word) for name, text in shown.items() for word in hidden if word in text]


class Elsewhen(Server):
    """A server whose clock is *ahead*, which rejects signatures made by another clock."""

    def __init__(self, ahead: float, *, accepts: bool = True) -> None:
        super().__init__(1)
        self.ahead = ahead
        self.accepts = accepts
        self.refused = 0

    async def __call__(self, request: Request, /) -> Response:
        now = time.time() + self.ahead
        if self.accepts and abs(int(request.headers["timestamp"]) / 1000 - now) < 600:
            return await super().__call__(request)
        await asyncio.sleep(0)
        self.refused += 1
        date = format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)
        return Response(status=401, headers={"date": date})


@pytest.mark.parametrize("ahead", [3_600.0, -3_600.0])
async def test_a_wrong_clock_costs_one_request_and_no_attempt(
    ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    server = Elsewhen(ahead)
    async with client(server) as api:  # whose policy is one attempt
        await asyncio.gather(*[api.work_list() for _ in range(5)])
        assert (server.refused, len(server.requests)) == (5, 5)
        await api.for_account("13900005678").msg_list()
        assert (server.refused, api.stats.requests, api.stats.retries) == (5, 11, 5)
    assert {request.attempt for request in server.requests} == {1, 2}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "this machine's clock" in record.getMessage()


@pytest.mark.parametrize(("ahead", "requests"), [(0.0, 1), (3_600.0, 2)])
async def test_a_wrong_signature_is_corrected_at_most_once(ahead: float, requests: int) -> None:
    server = Elsewhen(ahead, accepts=False)
    async with client(server, PATIENT) as api:
        with pytest.raises(AuthError) as caught:
            await api.work_list()
    assert (server.refused, caught.value.attempts) == (requests, requests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_session_with_an_auth_is_refused() -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "word")) as session:
        with pytest.raises(ConfigError, match="session must not have an auth") as caught:
            Client(SETTINGS, session=session)
    assert "word" not in str(caught.value)


async def test_a_send_passed_in_is_not_closed() -> None:
    async with HttpTransport(SETTINGS) as transport:
        async with Client(SETTINGS, send=transport) as api:
            with pytest.raises(TransportError, match="no connection"):
                await api.work_list()
        async with Client(SETTINGS, send=transport) as another:
            with pytest.raises(TransportError, match="no connection"):
                await another.work_list()


class Lasting:
    """A rate limiter that allows anything, signs of its calls in order."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    async def reserve(self, want: int, /) -> Reservation:
        self.order.append("reserve")
        return Reservation(0.0, 0.0, want)

    async def pause(self, seconds: float, /) -> None:
        self.order.append(f"pause {seconds:g}")


def test_a_rate_limiter_is_asked_before_a_request_is_signed_for_each_attempt() -> None:
    """In virtual time: a slot that is late on a busy machine is dropped, and another reserved."""
    run(_limited())


async def _limited() -> None:
    order: list[str] = []

    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        order.append("sign")
        return {}

    server = Server(1)
    server.script[1] = [Response(429, {"retry-after": "0.01"})]
    changed = replace(SETTINGS, retry=RetryPolicy(attempts=2))
    async with Client(changed, send=server, sign=sign, rate_limiter=Lasting(order)) as api:
        await api.work_list()
        await api.for_account("13800001234").with_options(timeout=3).msg_list()
    assert order == ["reserve", "sign", "pause 0.01", "reserve", "sign", "reserve", "sign"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_clients_of_a_rate_limiter_share_rate_and_pauses() -> None:
    """Each would send ten a second alone; the pause that one is told of is the other's too."""

    async def main() -> None:
        loop, shared = asyncio.get_running_loop(), InProcessRateLimiter(10)
        times: list[float] = []
        servers = [Server(1), Server(1)]
        for server in servers:
            server.before = lambda _: times.append(loop.time())
        servers[0].script[1] = [Response(429, {"retry-after": "5"})]
        retry = RetryPolicy(attempts=2, base=0)
        changed = replace(SETTINGS, retry=retry)
        clients = [Client(changed, send=server, rate_limiter=shared) for server in servers]
        await asyncio.gather(*(api.work_list() for api in clients for _ in range(6)))
        assert clients[0].stats.pace is None
        assert times[0] == 0
        assert min(times[2:]) >= 5
        assert all(later - sooner > 0.099 for sooner, later in pairwise(times[2:]))
        for api in clients:
            await api.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_the_wait_for_a_slot_is_not_part_of_the_timeout() -> None:
    async def main() -> None:
        shared = InProcessRateLimiter(0.01)
        changed = replace(SETTINGS, timeout=1.0)
        async with Client(changed, send=Server(1), rate_limiter=shared) as api:
            await asyncio.gather(api.work_list(), api.work_list())
        assert asyncio.get_running_loop().time() == pytest.approx(100)

    run(main())


class Hanging(Lasting):
    async def reserve(self, want: int, /) -> Reservation:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_rate_limiter_that_hangs_is_an_error_and_no_task_stays_behind() -> None:
    async def main() -> None:
        api = Client(SETTINGS, send=Server(1), rate_limiter=Hanging([]))
        with pytest.raises(TransportError, match="reserve a slot: no answer within 10 s"):
            await api.work_list()
        waiting = asyncio.create_task(api.work_list())
        await asyncio.sleep(1)
        await api.aclose()
        with pytest.raises(ClientClosed):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_what_is_no_rate_limiter_is_refused() -> None:
    given: Any = 20
    with pytest.raises(ConfigError, match=r"^rate_limiter must be an object"):
        Client(SETTINGS, rate_limiter=given)
