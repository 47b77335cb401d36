"""The simulator on its socket, without a client of this library."""

import asyncio
import gzip
import json
import logging
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from hashlib import md5
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from dp_async.testing import (
    Bomb,
    Drip,
    Empty,
    Endless,
    HalfBody,
    Hang,
    Html,
    HugeHeader,
    Redirect,
    Reset,
    Simulator,
    SimulatorMisused,
    Throttle,
    serve,
)

INTERNAL_HOST = Simulator.internals[0]
VECTORS = Path(__file__).parent.parent / "vectors"
WORKS = "/openApiDigitalPerson/customer/workList"
MESSAGES = "/openApiDigitalPerson/customer/msgList"


def signed() -> dict[str, str]:
    timestamp = str(round(time.time() * 1000))
    auth = f"simulated-appsimulated-secret{timestamp}"
    return {
        "authorization": md5(auth.encode(), usedforsecurity=False).hexdigest(),
        "req_from": "C",
        "timestamp": timestamp,
        "app_id": "simulated-app",
    }


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=107, messages=53) as running:
        yield running


@pytest_asyncio.fixture
async def session(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url, auto_decompress=False) as own:
        yield own


def get(session: aiohttp.ClientSession, page: int = 1) -> Any:
    params = {"pageNum": page, "pageSize": 20}
    return session.get(WORKS, params=params, headers=signed(), allow_redirects=False)


async def raw(simulator: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has sent a request for the first page."""
    port = int(simulator.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [f"GET {WORKS} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in signed().items())]
    writer.write("\r\n".join([*head, "", ""]).encode())
    return reader, writer


async def until(condition: Callable[[], bool]) -> None:
    """Runs the loop until *condition* is true; the test's timeout is the limit."""
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize("segment", ["workList", "msgList"])
async def test_the_documented_first_page(session: aiohttp.ClientSession, segment: str) -> None:
    sample = json.loads((VECTORS / f"{segment}.json").read_bytes())
    body = {"pageNum": 1, "pageSize": 20}
    sent = (
        get(session)
        if segment == "workList"
        else session.post(MESSAGES, json=body, headers=signed())
    )
    async with sent as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
        answer = json.loads(await response.read())
    assert answer["host"] == INTERNAL_HOST
    assert answer == sample | {"requestId": answer["requestId"], "host": INTERNAL_HOST}


async def test_raw_chinese_in_a_query(session: aiohttp.ClientSession) -> None:
    async with session.get(WORKS, params={"name": "未命名"}, headers=signed()) as response:
        names = {row["name"] for row in json.loads(await response.read())["data"]["content"]}
    assert names == {"未命名视频"}


async def test_unsigned(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    async with session.get(WORKS, headers={"req_from": "C"}) as response:
        assert (response.status, json.loads(await response.read())["code"]) == (200, 401)
    assert simulator.requests[0].headers["req_from"] == "C"


async def test_reset(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    simulator.fail(Reset())
    with pytest.raises(aiohttp.ClientOSError):  # a POST: aiohttp repeats a lost GET
        async with session.post(MESSAGES, json={}, headers=signed()):
            pass
    simulator.fail(Reset())
    reader, writer = await raw(simulator)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await until(lambda: not simulator.in_flight)
    assert [seen.status for seen in simulator.requests] == [None, None]
    async with get(session) as response:
        assert response.status == 200


async def test_half_a_body(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    simulator.fail(HalfBody())
    async with get(session) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    simulator.fail(HalfBody())
    reader, writer = await raw(simulator)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert len(body) == length // 2 > 0
    writer.close()


async def test_drip(simulator: Simulator) -> None:
    simulator.fail(Drip(interval=0.001))
    reader, writer = await raw(simulator)
    await reader.readuntil(b"\r\n\r\n")
    assert [await reader.read(1000) for _ in range(3)] == [b"{", b'"', b"c"]
    writer.close()


async def test_a_drip_ends_with_its_body(
    session: aiohttp.ClientSession, simulator: Simulator
) -> None:
    simulator.fail(Drip(interval=0))
    async with get(session, page=99) as response:
        assert json.loads(await response.read())["code"] == 200


async def test_a_hang_ends_when_the_client_disconnects(simulator: Simulator) -> None:
    simulator.fail(Hang())
    _, writer = await raw(simulator)
    await until(lambda: simulator.in_flight == 1)
    writer.close()
    await until(lambda: simulator.in_flight == 0)
    assert simulator.requests[0].ended is not None


async def test_a_bomb_is_valid_gzip(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    simulator.fail(Bomb(3_000_000))
    async with get(session) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        packed = await response.read()
    assert len(packed) < 10_000
    assert gzip.decompress(packed) == bytes(3 << 20)  # whole MiB; the checksum is right
    assert struct.unpack("<I", packed[-4:]) == (3 << 20,)


async def test_a_bomb_costs_the_server_little_memory(
    session: aiohttp.ClientSession, simulator: Simulator
) -> None:
    simulator.fail(Bomb(1 << 28))
    tracemalloc.start()
    try:
        async with get(session) as response:
            size = 0
            async for chunk in response.content.iter_chunked(65536):
                size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < 1 << 19
    assert peak < 16 << 20


async def test_an_endless_body(simulator: Simulator, session: aiohttp.ClientSession) -> None:
    simulator.fail(Endless())
    async with get(session) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert len(await response.content.readexactly(3 << 20)) == 3 << 20
    await until(lambda: simulator.in_flight == 0)


async def test_huge_header(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    simulator.fail(HugeHeader())
    with pytest.raises(aiohttp.ClientResponseError):
        async with get(session):
            pass


async def test_answers_without_a_page(session: aiohttp.ClientSession, simulator: Simulator) -> None:
    for fault in (Html(), Empty(), Throttle(3), Redirect()):
        simulator.fail(fault)
    async with get(session) as response:
        assert (response.status, response.content_type) == (502, "text/html")
    async with get(session) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with get(session) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
    async with get(session) as response:
        assert (response.status, response.headers["Location"][:17]) == (302, "http://127.0.0.1:")


async def test_the_server_s_date() -> None:
    async with (
        Simulator(skew=86400 * 365) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
        get(session) as response,
    ):
        assert int(response.headers["Date"].split()[3]) > time.gmtime().tm_year
        assert json.loads(await response.read())["code"] == 401


async def test_requests_in_flight_are_counted() -> None:
    async with Simulator(latency=0.01) as simulator:
        async with aiohttp.ClientSession(simulator.url) as own:

            async def once() -> int:
                async with get(own) as response:
                    return int(response.status)

            assert await asyncio.gather(*(once() for _ in range(8))) == [200] * 8
        assert simulator.max_in_flight == 8


async def test_closing_does_not_wait_for_exchanges(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    with caplog.at_level(logging.DEBUG):
        async with Simulator() as simulator:
            for fault in (Hang(), Drip(interval=3600), Endless()):
                simulator.fail(fault)
            connections = [await raw(simulator) for _ in range(3)]
            idle = await asyncio.open_connection("127.0.0.1", int(simulator.url.split(":")[2]))
            await until(lambda: simulator.in_flight == 3)
        assert simulator.in_flight == 0
    assert asyncio.all_tasks() == before
    for _, writer in (*connections, idle):
        writer.close()
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []


async def test_it_can_run_again_but_not_twice_at_once() -> None:
    simulator = Simulator()
    async with simulator:
        with pytest.raises(SimulatorMisused, match="already running"):
            await simulator.__aenter__()
        port = int(simulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with Simulator(port=port):
                pass  # pragma: no cover
    with pytest.raises(SimulatorMisused, match="was closed, so it has no address"):
        _ = simulator.settings
    await simulator.__aexit__(None, None, None)
    async with simulator, aiohttp.ClientSession(simulator.url) as session, get(session) as response:
        assert response.status == 200


async def test_the_same_port_again() -> None:
    async with Simulator() as simulator:
        port = int(simulator.url.rpartition(":")[2])
    async with Simulator(port=port) as simulator:
        assert simulator.url == f"http://127.0.0.1:{port}"


async def test_serve() -> None:
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    simulator = Simulator()
    task = asyncio.create_task(
        serve(simulator, ready=lambda running: listening.set_result(running.url))
    )
    async with aiohttp.ClientSession(await listening) as session, get(session) as response:
        assert response.status == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(SimulatorMisused, match="was closed"):
        _ = simulator.url


async def test_serve_without_a_callback() -> None:
    async with Simulator() as other:  # to know a free port
        port = int(other.url.rpartition(":")[2])
    task = asyncio.create_task(serve(Simulator(port=port)))
    writer: asyncio.StreamWriter | None = None
    while writer is None:
        await asyncio.sleep(0)
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    task.cancel()
    await asyncio.wait({task})
