"""The guide's feed and web apps under real servers, with clients that disconnect early.

Each runs as it stands there, over HTTP, in an event loop whose clock skips idle time.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import anyio
import pytest
import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Route

from dp_async import (
    AttemptTimeout,
    Client,
    ClientClosed,
    ConfigError,
    DpError,
    PaginationError,
    RateLimited,
    RetryPolicy,
    ServerError,
    TransportError,
    Watermark,
)
from dp_async.testing import (
    AuthFailure,
    Fault,
    Hang,
    Html,
    Malformed,
    Reset,
    Simulator,
    Throttle,
    WrongCode,
)
from tests.support.examples import example as code_of
from tests.support.loopback import (
    LoopbackLoop,
    connections,
    nothing_left,
    permits_in_use,
    pool,
    quietly,
)


def example(holding: str) -> ModuleType:
    """The example that contains *holding*, as a module."""
    module = ModuleType("example")
    exec(compile(code_of(holding), "example.py", "exec"), vars(module))
    return module


async def soon(condition: Callable[[], bool]) -> None:
    """Run the loop until *condition* holds; fails after 1,000 iterations."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition never held")


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop, without those that serve the simulator's connections."""
    return {task for task in asyncio.all_tasks() if "<RequestHandler." not in repr(task)}


@asynccontextmanager
async def simulated(
    monkeypatch: pytest.MonkeyPatch, works: int = 300
) -> AsyncGenerator[Simulator, None]:
    """A simulator whose settings are in the environment."""
    async with Simulator(works=works, latency=0.02, tolerance=1e12) as simulator:
        settings = simulator.settings
        monkeypatch.setenv("DP_BASE_URL", settings.base_url)
        monkeypatch.setenv("DP_APP_ID", settings.app_id)
        monkeypatch.setenv("DP_APP_SECRET", settings.app_secret)
        yield simulator


# The feed


def test_the_feed_continues_from_its_file_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        follow = example("async def follow")
        kept = tmp_path / "watermark.json"
        async with simulated(monkeypatch) as simulator, Client.from_env() as client:

            async def session() -> set[int]:
                with anyio.move_on_after(30):
                    await follow.follow(client, kept)
                lines = capsys.readouterr().out.splitlines()
                return {int(line.split()[0]) for line in lines}

            watching = asyncio.create_task(session())
            await asyncio.sleep(10)
            first = {simulator.works.insert() for _ in range(3)}
            assert await watching == first
            between = {simulator.works.insert() for _ in range(30)}
            assert await session() == between
            assert await session() == set()
            await nothing_left(client)

    quietly(main(), LoopbackLoop)


# FastAPI, under uvicorn


@dataclass
class Served:
    """An app that is served, with its *client* of the simulator."""

    url: str
    client: Client
    simulator: Simulator
    server: uvicorn.Server
    browser: aiohttp.ClientSession

    async def events(self, response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
        """The next events of a feed, with their ``id`` and ``data``."""
        found: list[dict[str, Any]] = []
        event: dict[str, Any] = {}
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\n")
            if not line and event:
                found.append(event)
                event = {}
            elif line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = json.loads(value) if name == "data" else value
        return found


def under_uvicorn(
    test: Callable[[Served], Coroutine[object, object, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run *test* against the example; nothing may be open afterwards."""

    async def main() -> None:
        app = example("from fastapi.sse import").app
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        async with simulated(monkeypatch) as simulator:
            serving = asyncio.create_task(server.serve())
            await soon(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with aiohttp.ClientSession() as browser:
                url = f"http://127.0.0.1:{port}"
                await test(Served(url, app.state.client, simulator, server, browser))
            server.should_exit = True
            await serving
            await soon(lambda: not connections())
        gc.collect()  # an unclosed object warns in this test, not in a later one

    quietly(main(), LoopbackLoop)


async def nothing_open(served: Served, before: set[asyncio.Task[Any]]) -> None:
    """No task more than *before*, no request in flight, no permit, no connection in use."""
    await soon(lambda: tasks() <= before)
    await soon(lambda: not served.server.server_state.connections)
    assert served.client.stats.in_flight == 0
    assert not any(permits_in_use(served.client))
    assert pool(served.client)[0] == 0


def test_the_paged_endpoint_refuses_an_invalid_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        async with served.browser.get(f"{served.url}/works?page=2") as response:
            page = await response.json()
        ids = [row["digitalPersonWorksId"] for row in page["content"]]
        assert ids == served.simulator.works.ids()[20:40]
        sent = len(served.simulator.requests)
        async with served.browser.get(f"{served.url}/works?page=0") as response:
            assert response.status == 422
        assert len(served.simulator.requests) == sent

    under_uvicorn(test, monkeypatch)


def test_a_page_is_in_camel_case_with_offsets_as_openapi_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        async with served.browser.get(f"{served.url}/works") as response:
            page = await response.json()
        async with served.browser.get(f"{served.url}/openapi.json") as response:
            schemas = (await response.json())["components"]["schemas"]
        assert page.keys() == schemas["Page_Work_"]["properties"].keys()
        for row in page["content"]:
            assert row.keys() == schemas["Work"]["properties"].keys()
            assert row["createTime"].endswith("+08:00")

    under_uvicorn(test, monkeypatch)


#: What the platform does, and the status and header of the app's answer.
FAILURES: list[tuple[Fault, int, str | None]] = [
    (Html(502), 502, None),
    (AuthFailure(), 502, None),
    (WrongCode(code=500), 502, None),
    (Malformed(), 502, None),
    (Throttle(retry_after=90), 503, "90"),
    (Hang(), 504, None),
]


@pytest.mark.parametrize(("fault", "status", "wait"), FAILURES)
def test_a_failure_of_the_platform_has_its_status(
    fault: Fault, status: int, wait: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(served: Served) -> None:
        served.simulator.fail(fault, times=None)
        async with served.browser.get(f"{served.url}/works") as response:
            assert (response.status, response.headers.get("Retry-After")) == (status, wait)
            assert response.content_type == "application/json"
        served.simulator.heal()

    under_uvicorn(test, monkeypatch)


ERRORS: list[tuple[Exception, int, str | None]] = [
    (TransportError("no answer"), 502, None),
    (PaginationError("the pages contradict each other"), 502, None),
    (RateLimited("429", status=429), 503, "1"),
    (ServerError("503", status=503, retry_after=7), 503, "7"),
    (ClientClosed("the client is closed"), 503, "1"),
    (AttemptTimeout("one attempt"), 504, None),
    (TimeoutError(), 504, None),
    (ConfigError("a mistake"), 500, None),
]


@pytest.mark.parametrize(("error", "status", "wait"), ERRORS)
def test_starlette_and_aiohttp_give_each_error_its_status(
    error: Exception, status: int, wait: str | None
) -> None:
    async def raising(request: Any) -> Any:
        raise error

    async def main() -> None:
        failed = example("from fastapi.sse import").failed
        app = Starlette(
            routes=[Route("/", raising)],
            exception_handlers={DpError: failed, TimeoutError: failed},
        )
        config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await soon(lambda: server.started)
        statuses = example("from aiohttp import web").statuses

        async def handler(request: web.Request) -> web.Response:
            with statuses():
                return web.Response(text=await raising(request))

        other = web.Application()
        other.router.add_get("/", handler)
        runner = web.AppRunner(other)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as browser:
            ports = server.servers[0].sockets[0].getsockname()[1], runner.addresses[0][1]
            for port in ports:
                async with browser.get(f"http://127.0.0.1:{port}/") as response:
                    assert (response.status, response.headers.get("Retry-After")) == (status, wait)
        await runner.cleanup()
        server.should_exit = True
        await serving
        await soon(lambda: not connections())

    quietly(main(), LoopbackLoop)


def test_one_short_attempt_and_a_limit_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with simulated(monkeypatch) as simulator, Client.from_env() as client:
            simulator.fail(Hang())
            short = client.with_options(timeout=2, retry=RetryPolicy(attempts=1, cap=1))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            with pytest.raises(AttemptTimeout):
                await short.work_list()
            assert loop.time() - begun == pytest.approx(2, abs=0.5)
            simulator.fail(Throttle(retry_after=5))
            with pytest.raises(RateLimited, match="5"):
                await short.work_list()
            simulator.fail(Hang(), times=None)
            begun = loop.time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await client.work_list()
            assert loop.time() - begun == pytest.approx(10, abs=0.5)

    quietly(main(), LoopbackLoop)


@pytest.mark.slow
def test_the_feed_sends_changes_and_a_disconnect_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        before = tasks()
        rows = served.simulator.works
        async with served.browser.get(f"{served.url}/feed") as response:
            assert response.content_type == "text/event-stream"
            await soon(lambda: len(served.simulator.requests) == 1)
            await asyncio.sleep(1)
            new = rows.insert()
            (event,) = await served.events(response, 1)
            assert event["data"]["digitalPersonWorksId"] == new
        # The client disconnected while the feed waited for its next poll.
        await nothing_open(served, before)
        missed = {rows.insert() for _ in range(50)}
        headers = {"last-event-id": event["id"]}
        async with served.browser.get(f"{served.url}/feed", headers=headers) as response:
            events = await served.events(response, 50)
            assert {each["data"]["digitalPersonWorksId"] for each in events} == missed
        await nothing_open(served, before)
        sent = len(served.simulator.requests)
        await asyncio.sleep(100)
        assert len(served.simulator.requests) == sent

    under_uvicorn(test, monkeypatch)


def test_a_foreign_last_event_id_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        other = Watermark(scope="0" * 24, updated=0).to_json()
        for last in ("nonsense", other):
            headers = {"last-event-id": last}
            async with served.browser.get(f"{served.url}/feed", headers=headers) as response:
                assert response.status == 400
                assert "bad event id" in (await response.json())["detail"]
        assert not served.simulator.requests

    under_uvicorn(test, monkeypatch)


def test_an_event_id_fits_into_a_header_however_much_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        rows = served.simulator.works
        async with served.browser.get(f"{served.url}/feed") as response:
            await soon(lambda: len(served.simulator.requests) == 1)
            await asyncio.sleep(1)
            new = {rows.insert(updateTime="2099-01-01 00:00:00") for _ in range(400)}
            events = await served.events(response, 400)
            assert {each["data"]["digitalPersonWorksId"] for each in events} == new
            assert len(events[-1]["id"]) <= 2_000
        rows.insert()
        headers = {"last-event-id": events[-1]["id"]}
        async with served.browser.get(f"{served.url}/feed", headers=headers) as response:
            assert len(await served.events(response, 1)) == 1

    under_uvicorn(test, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("events", [0, 150])
def test_a_disconnect_during_a_catch_up_closes_it(
    events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(served: Served) -> None:
        before = tasks()
        rows = served.simulator.works
        async with served.browser.get(f"{served.url}/feed") as response:
            await soon(lambda: len(served.simulator.requests) == 1)
            await asyncio.sleep(1)
            for _ in range(400):
                rows.insert()
                await asyncio.sleep(0.01)
            # The poll may have begun before the last insert: its time is random.
            await soon(lambda: len(served.simulator.requests) > 1)
            assert len(await served.events(response, events)) == events
            response.close()
        await nothing_open(served, before)

    under_uvicorn(test, monkeypatch)


def test_a_server_that_stops_ends_its_feeds_and_closes_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(served: Served) -> None:
        feeds = [await served.browser.get(f"{served.url}/feed") for _ in range(3)]
        await soon(lambda: len(served.simulator.requests) == 3)
        served.server.should_exit = True
        for feed in feeds:
            with pytest.raises(aiohttp.ClientError):
                while await feed.content.readline():
                    pass
                raise aiohttp.ClientPayloadError  # or it ended as it should
            # After an error a response keeps its connection until it is closed.
            feed.close()
        await soon(lambda: served.client.stats.in_flight == 0)
        assert pool(served.client) == (0, 0)

    under_uvicorn(test, monkeypatch)


# aiohttp.web


@asynccontextmanager
async def under_aiohttp(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Any, ...], None]:
    """The address of the example's download, its client and the simulator."""
    module = example("from aiohttp import web")
    app = module.make_app()
    async with simulated(monkeypatch, works=3_000) as simulator:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as browser:
            url = f"http://{host}:{port}/works.ndjson"
            yield browser, url, app[module.CLIENT], simulator
        await runner.cleanup()
        await soon(lambda: not connections())


def test_the_download_is_the_list_as_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with under_aiohttp(monkeypatch) as (browser, url, client, simulator):
            async with browser.get(url) as response:
                lines = (await response.text()).splitlines()
            ids = [json.loads(line)["digitalPersonWorksId"] for line in lines]
            assert ids == simulator.works.ids()
            await soon(lambda: tasks() == {asyncio.current_task()})
            assert client.stats.in_flight == 0

    quietly(main(), LoopbackLoop)


def test_a_download_that_fails_has_a_status_or_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with under_aiohttp(monkeypatch) as (browser, url, client, simulator):
            simulator.fail(AuthFailure())
            async with browser.get(url) as response:
                assert response.status == 502
            simulator.fail(AuthFailure(), page=20)
            with pytest.raises(aiohttp.ClientPayloadError):
                async with browser.get(url) as response:
                    assert response.status == 200
                    await response.read()
            await soon(lambda: tasks() == {asyncio.current_task()})
            assert client.stats.in_flight == 0

    quietly(main(), LoopbackLoop)


def test_a_disconnect_during_a_download_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with under_aiohttp(monkeypatch) as (browser, url, client, simulator):
            async with browser.get(url) as response:
                await response.content.readline()
                response.close()
            await soon(lambda: tasks() == {asyncio.current_task()})
            await soon(lambda: pool(client)[0] == 0)
            assert not any(permits_in_use(client))
            assert len(simulator.requests) < 30  # the whole list has 31

    quietly(main(), LoopbackLoop)


# A library


async def test_the_library_passes_errors_through() -> None:
    async with Simulator(works=300) as simulator:
        settings = replace(simulator.settings, retry=RetryPolicy(attempts=1))
        minutes = example("async def minutes").minutes
        async with Client(settings) as client:
            finished = [simulator.works.row(key) for key in simulator.works.ids(status="SUCCESS")]
            truth = sum(float(str(row["duration"] or 0)) for row in finished) / 60
            assert await minutes(client) == pytest.approx(truth)
            assert truth > 0
            assert await minutes(client, "19900000001") == pytest.approx(truth)
            simulator.fail(Reset(), times=None)
            with pytest.raises(TransportError):
                await minutes(client)
