"""The composition root: the layers of a call, what views share, sleeps, tasks, closing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from dp_async import (
    AttemptTimeout,
    ClientClosed,
    ConfigError,
    HttpTransport,
    Md5Signer,
    RateLimited,
    Request,
    Response,
    RetryPolicy,
    Send,
    ServerError,
)
from dp_async._call.adaptive import FEW, START
from dp_async._runtime import Core, View
from tests.support.fake_server import until
from tests.support.samples import REQUEST, SECRET, Script, settings
from tests.support.virtual_loop import run

GOOD = Response(200, {}, b'{"code":200,"data":{}}')
REFUSED = Response(429, {"retry-after": "30"})
DOWN = Response(503)


def view_of(send: Send, owned: HttpTransport | None = None, **changes: Any) -> View:
    """A view of a new core; its requests go to *send*."""
    given = settings(**changes)
    signer = Md5Signer(app_id=given.app_id, app_secret=given.app_secret)
    return View(Core(given, send, signer, owned), given)


def other_view(view: View, **changes: Any) -> View:
    """Another view of the same core."""
    return View(view.core, replace(view.settings, **changes))


def in_virtual_time(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    @wraps(test)
    def running() -> None:
        run(test())

    return running


class Hanging(Script[Response]):
    """A send that never answers; counts the requests in flight."""

    in_flight = 0

    async def __call__(self, request: Request, /) -> Response:
        self.requests.append(request)
        self.in_flight += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.in_flight -= 1
        raise AssertionError


# The layers of a call


async def test_a_call_is_signed_checked_counted_and_observed() -> None:
    send, observed = Script(GOOD), list[str]()
    view = view_of(send, account="1999")
    view.core.observers.add(lambda attempt: observed.append(attempt.endpoint))
    tally = view.tally()
    assert bytes((await view.call(tally)(REQUEST)).data) == GOOD.body
    (sent,) = send.requests
    signed = f"app{SECRET}{sent.headers['timestamp']}"
    assert sent.headers["authorization"] == hashlib.md5(signed.encode()).hexdigest()
    assert sent.headers["account"] == "1999"
    assert (tally.requests, view.core.tally.requests, observed) == (1, 1, ["work_list"])


@in_virtual_time
async def test_each_attempt_is_signed_after_its_wait() -> None:
    loop, signed_at = asyncio.get_running_loop(), list[float]()

    def sign(request: Request, now: float, /) -> dict[str, str]:
        signed_at.append(loop.time())
        return {}

    given = settings(retry=RetryPolicy(base=0, cap=60))
    view = View(Core(given, Script(REFUSED, GOOD), sign, None), given)
    await view.call(view.tally())(REQUEST)
    assert signed_at == [0.0, 30.0]


@in_virtual_time
async def test_a_view_has_its_own_timeout_and_attempts() -> None:
    view = view_of(Hanging(), timeout=30.0)
    own = other_view(view, timeout=5.0, retry=RetryPolicy(attempts=1))
    with pytest.raises(AttemptTimeout):
        await own.call(own.tally())(REQUEST)
    assert asyncio.get_running_loop().time() == 5.0


@in_virtual_time
async def test_views_share_the_limiter_and_each_has_its_own_cap() -> None:
    send = Script(REFUSED, GOOD, GOOD)
    view = view_of(send, retry=RetryPolicy(attempts=2, base=0, cap=40))
    own = other_view(view, retry=RetryPolicy(cap=10))
    first = asyncio.create_task(view.call(view.tally())(REQUEST))
    await until(lambda: len(send.requests) == 1)
    await asyncio.sleep(1)
    with pytest.raises(RateLimited, match=r"not sent: .* RetryPolicy\.cap is 10 s"):
        await own.call(own.tally())(REQUEST)
    await first
    await own.call(own.tally())(REQUEST)
    assert len(send.requests) == 3
    assert asyncio.get_running_loop().time() == 30.0


@in_virtual_time
async def test_an_epoch_second_as_retry_after_stops_nobody() -> None:
    epoch = {"retry-after": "1700000000"}
    send = Script(Response(429, epoch), Response(503, epoch), GOOD, GOOD)
    view = view_of(send, retry=RetryPolicy(base=1, cap=60))
    for _ in range(2):
        await view.call(view.tally())(REQUEST)
    assert asyncio.get_running_loop().time() < 10


@in_virtual_time
async def test_views_share_the_rate_and_the_limit_of_requests_in_flight() -> None:
    send = Hanging()
    view = view_of(send, max_in_flight=3, rate=2)
    views = [view, other_view(view, account="1999")] * 3
    tasks = [asyncio.create_task(each.call(each.tally())(REQUEST)) for each in views]
    await asyncio.sleep(0.6)
    assert send.in_flight == 2
    await asyncio.sleep(10)
    assert send.in_flight == 3
    await view.core.aclose()
    await asyncio.wait([task for task in tasks if not task.done() and task.cancel()])


async def test_views_share_the_retry_budget() -> None:
    retry = RetryPolicy(attempts=60, base=0)
    view = view_of(Script(*[DOWN] * 110), retry=retry, max_in_flight=1)
    for each in (view, other_view(view, account="1999")):
        with pytest.raises(ServerError) as caught:
            await each.call(each.tally())(REQUEST)
    assert "retry budget" in caught.value.__notes__[0]
    assert (view.core.tally.requests, view.core.tally.retries) == (102, 100)


async def test_only_adaptive_calls_wait_for_the_adaptive_limit() -> None:
    send = Hanging()
    view = view_of(send, max_in_flight=8)
    assert view.adaptive_limit == START
    calls = [view.call(view.tally(), adaptive=True)] * 4
    tasks = [asyncio.create_task(call(REQUEST)) for call in calls]
    await until(lambda: send.in_flight == START)
    tasks += [asyncio.create_task(view.call(view.tally())(REQUEST)) for _ in range(3)]
    await until(lambda: send.in_flight == START + 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_adaptive_calls_raise_the_adaptive_limit() -> None:
    async def send(request: Request, /) -> Response:
        await asyncio.sleep(0)  # so that all of them are in flight at once
        return GOOD

    view = view_of(send, max_in_flight=8)
    call = view.call(view.tally(), adaptive=True)
    await asyncio.gather(*[call(REQUEST) for _ in range(FEW)])
    assert view.adaptive_limit == 2 * START


# Where and when it may be used


def test_another_loop_is_refused() -> None:
    view = view_of(Script(GOOD))

    async def use() -> None:
        view.check_usable()

    run(use())

    async def again() -> None:
        for refused in (view.check_usable, lambda: view.call(view.tally())):
            with pytest.raises(ConfigError, match="make another Client for another loop"):
                refused()
        with pytest.raises(ConfigError, match="another loop"):
            await view.core.aclose()

    run(again())


async def test_a_forked_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(Script(GOOD))
    view.call(view.tally())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ConfigError, match="another loop, thread or process"):
        view.call(view.tally())


async def test_closed_it_refuses_everything_and_may_be_closed_again() -> None:
    view = view_of(Script(GOOD))
    call = view.call(view.tally())
    await view.core.aclose()
    await view.core.aclose()
    for refused in (view.check_usable, lambda: view.call(view.tally())):
        with pytest.raises(ClientClosed):
            refused()
    with pytest.raises(ClientClosed):
        await call(REQUEST)
    with pytest.raises(ClientClosed):
        await view.sleep(1.0, asyncio.get_running_loop().create_future())


# Sleeps, tasks, closing


@in_virtual_time
async def test_a_sleep_ends_by_time_by_its_future_or_by_closing() -> None:
    view, loop = view_of(Script[Response]()), asyncio.get_running_loop()
    await view.sleep(5.0, loop.create_future())
    assert loop.time() == 5.0
    over: asyncio.Future[None] = loop.create_future()
    loop.call_at(7.0, over.set_result, None)
    await view.sleep(60.0, over)
    assert loop.time() == 7.0
    sleeps = [
        asyncio.create_task(view.core.sleep(60.0)),
        asyncio.create_task(view.sleep(60.0, loop.create_future())),
    ]
    await asyncio.sleep(1.0)
    over = loop.create_future()
    sleeps.append(asyncio.create_task(view.sleep(60.0, over)))
    await asyncio.sleep(0)
    over.set_result(None)  # in the loop iteration of the closing
    await view.core.aclose()
    await asyncio.gather(*sleeps)
    assert loop.time() == 8.0


@in_virtual_time
async def test_closing_cancels_the_tasks_and_waits_for_them() -> None:
    view, ends = view_of(Script[Response]()), list[str]()
    view.check_usable()

    async def work(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            ends.append("ended")

    short, long = view.spawn(work(1.0)), view.spawn(work(60.0))
    await asyncio.sleep(2.0)
    assert view.core.tasks == {long}
    await view.core.aclose()
    assert short.done()
    assert long.cancelled()
    assert ends == ["ended", "ended"]
    assert not view.core.tasks


@in_virtual_time
async def test_closing_ends_calls_that_wait_to_be_sent_and_before_a_retry() -> None:
    view = view_of(Script(REFUSED, DOWN), retry=RetryPolicy(base=20, cap=60))
    calls = [asyncio.create_task(view.call(view.tally())(REQUEST))]
    await asyncio.sleep(1)
    calls.append(asyncio.create_task(view.call(view.tally())(REQUEST)))  # the limiter pauses it
    await asyncio.sleep(1)
    await view.core.aclose()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ClientClosed, ClientClosed]
    assert asyncio.get_running_loop().time() == 2.0


async def test_closing_closes_only_an_owned_transport() -> None:
    for owned in (True, False):
        transport = HttpTransport(settings())
        view = view_of(transport, transport if owned else None)
        await view.core.aclose()  # before any use, too
        if owned:
            with pytest.raises(ClientClosed):
                await transport(REQUEST)
        else:
            await transport.aclose()


def test_a_view_shows_its_settings_to_its_crawls() -> None:
    view = view_of(Script[Response](), max_in_flight=7)
    assert view.max_in_flight == 7
    assert view.scope == ("https://host", "app", "")
    assert other_view(view, account="1999").scope == ("https://host", "app", "1999")
    assert abs(view.clock() - time.monotonic()) < 60
