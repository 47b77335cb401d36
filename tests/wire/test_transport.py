"""The transport sends a request as it is, and returns a Response or raises one of our errors."""

from __future__ import annotations

import asyncio
import errno
import gzip
import logging
import re
import socket
import ssl
import struct
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_reqrep import ConnectionKey
from aioresponses import aioresponses
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from dp_async import (
    AttemptTimeout,
    AuthError,
    BadRequest,
    Client,
    ClientClosed,
    ConfigError,
    DpError,
    HttpTransport,
    Page,
    Request,
    Response,
    ResponseTooLarge,
    RetryPolicy,
    Settings,
    TransportError,
)
from dp_async._errors import may_pass, may_retry_now
from dp_async.testing import Bomb, Drip, Endless, Fault, Hang, HugeHeader, Reset, Simulator
from tests.support.fake_server import answer
from tests.support.samples import REQUEST, SECRET, settings

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
HI = OK + b"content-length: 2\r\n\r\nhi"

SECRETIVE = Request(
    endpoint="work_list",
    method="POST",
    target=f"/path?name={SECRET}",
    headers={"authorization": SECRET, "app_id": SECRET, "account": SECRET},
    body=SECRET.encode(),
)


def whole(data: bytes) -> bool:
    """Whether *data* is a whole request."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def hang_up(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        linger = struct.pack("ii", 1, 0)  # no lingering: the kernel sends RST
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.close()


class Wire:
    """A server that answers every request with *answer*, or resets the connection if it is None.

    It answers none before it has received *hold* requests.
    """

    def __init__(self) -> None:
        self.answer: bytes | None = HI
        self.received: list[bytes] = []
        self.port = 0
        self.hold = 1
        self._enough = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(65536)
        while data[:1].isupper() and not whole(data):
            data += await reader.read(65536)
        self.received.append(data)
        if len(self.received) >= self.hold:
            self._enough.set()
        await self._enough.wait()
        writer.write(self.answer or b"")
        hang_up(writer, reset=self.answer is None)

    def release(self) -> None:
        """Answer all requests."""
        self._enough.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def head(self, number: int = 0) -> list[bytes]:
        """The lines of the head of a request."""
        return self.received[number].partition(b"\r\n\r\n")[0].split(b"\r\n")

    def transport(
        self, session: aiohttp.ClientSession | None = None, **changes: Any
    ) -> HttpTransport:
        return HttpTransport(settings(**{"base_url": self.url, **changes}), session)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    yield wire
    server.close()
    await server.wait_closed()


async def failure(sending: Awaitable[Response]) -> DpError:
    """The error of *sending*, after checking that it shows no secret and no aiohttp error."""
    with pytest.raises(DpError) as caught:
        await sending
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    shown = f"{error} {error!r} {error.args} {vars(error)}"
    assert SECRET not in shown
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "aiohttp" not in shown.replace("the aiohttp session is closed", "")
    return error


# Requests


async def test_the_header_names_are_the_ones_given(wire: Wire) -> None:
    headers = {
        "req_from": "C",
        "app_id": "app",
        "account": "1999",
        "timestamp": "1689239796500",
        "authorization": "900150983cd24fb0d6963f7d28e17f72",
    }
    request = Request(endpoint="work_list", method="GET", target="/path", headers=headers)
    async with wire.transport() as transport:
        await transport(request)
    for name, value in headers.items():
        assert wire.head().count(f"{name}: {value}".encode()) == 1


@pytest.mark.parametrize("prefix", ["", "/prefix", "/a%2fb"])
@pytest.mark.parametrize(
    "target",
    [
        "/path",
        "/path?pageNum=1&pageSize=20",
        "/path?name=%E4%BD%9C%20%2B%26%25&x=",
        "/path?name=%7e%7E%41+b&b=1&a=2&a=1",
        "/a%2Fb/../c/./d//e?a",
        "/path?q='\"<>{}|\\^`[]",
    ],
)
async def test_the_target_is_sent_byte_for_byte(wire: Wire, prefix: str, target: str) -> None:
    async with wire.transport(base_url=wire.url + prefix) as transport:
        await transport(Request(endpoint="work_list", method="GET", target=target))
    assert wire.head()[0] == f"GET {prefix}{target} HTTP/1.1".encode()


async def test_a_post_sends_its_body(wire: Wire) -> None:
    body = '{"pageNum":1,"readStatus":"已"}'.encode()
    request = Request(
        endpoint="msg_list",
        method="POST",
        target="/path",
        headers={"content-type": "application/json"},
        body=body,
    )
    async with wire.transport() as transport:
        await transport(request)
    assert wire.head()[0] == b"POST /path HTTP/1.1"
    assert wire.head().count(b"content-type: application/json") == 1
    assert wire.received[0].partition(b"\r\n\r\n")[2] == body


async def test_a_get_sends_no_body(wire: Wire) -> None:
    async with wire.transport() as transport:
        await transport(REQUEST)
    names = [line.partition(b":")[0].lower() for line in wire.head()]
    assert b"content-length" not in names
    assert b"content-type" not in names
    assert wire.received[0].endswith(b"\r\n\r\n")


async def test_cookies_are_not_kept(wire: Wire) -> None:
    wire.answer = OK + b"set-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n"
    async with wire.transport(base_url=f"http://localhost:{wire.port}") as transport:
        await transport(REQUEST)
        await transport(REQUEST)
    assert not any(line.lower().startswith(b"cookie") for line in wire.head(1))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(wire: Wire, status: int) -> None:
    where = f"HTTP/1.1 {status} Moved\r\nlocation: {wire.url}/other\r\n".encode()
    wire.answer = where + b"connection: close\r\ncontent-length: 0\r\n\r\n"
    async with wire.transport() as transport:
        answer = await transport(SECRETIVE)
    assert (answer.status, len(wire.received)) == (status, 1)
    assert answer.headers["location"] == f"{wire.url}/other"


# Responses

ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "good": (HI, 200, b"hi"),
    "an error": (HI.replace(b"200 OK", b"503 No"), 503, b"hi"),
    "no length": (OK + b"\r\nhi", 200, b"hi"),
    "chunks": (OK + b"transfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", 200, b"hi"),
    "gzip": (OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"hi" * 99), 200, b"hi" * 99),
    "no content": (b"HTTP/1.1 204 No\r\nconnection: close\r\n\r\n", 204, b""),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HI, 200, b"hi"),
    "odd header": (OK + b"x: \xff\xfe\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi"),
    "odd cookie": (OK + b"set-cookie: \xff;;=\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi"),
    "odd reason": (HI.replace(b"OK", b"\xff\xfe"), 200, b"hi"),
    "odd charset": (OK + b"content-type: a; charset=\xff\r\ncontent-length: 0\r\n\r\n", 200, b""),
    "bad redirect": (
        b"HTTP/1.1 302 F\r\nlocation: http://[\xff\r\nconnection: close\r\n\r\n",
        302,
        b"",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_any_http_answer_is_a_response(wire: Wire, name: str) -> None:
    wire.answer, status, body = ANSWERS[name]
    async with wire.transport() as transport:
        answer = await transport(REQUEST)
    assert (answer.status, answer.body) == (status, body)
    assert all(header == header.lower() for header in answer.headers)


async def test_header_names_are_lower_case(wire: Wire) -> None:
    wire.answer = OK + b"Retry-After: 7\r\nDATE: now\r\ncontent-length: 0\r\n\r\n"
    async with wire.transport() as transport:
        answer = await transport(REQUEST)
    assert (answer.headers["retry-after"], answer.headers["date"]) == ("7", "now")


CUT = "cut off or damaged"
NOT_HTTP = "not valid HTTP"

BROKEN: dict[str, tuple[bytes | None, str]] = {
    "nothing": (b"", "without an answer; if its port expects TLS, write base_url with https://"),
    "reset": (None, "the connection broke"),
    "only 100s": (b"HTTP/1.1 100 Continue\r\n\r\n" * 5, "closed the connection without an answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-", "closed the connection without an answer"),
    "half a body": (OK + b"content-length: 9\r\n\r\nhi", CUT),
    "half a chunk": (OK + b"transfer-encoding: chunked\r\n\r\n9\r\nhi", CUT),
    "no last chunk": (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", CUT),
    "bad gzip": (OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello", CUT),
    "bad deflate": (OK + b"content-encoding: deflate\r\ncontent-length: 5\r\n\r\nhello", CUT),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", NOT_HTTP),
    "HTTP 0.9": (b"<html>hello</html>", NOT_HTTP),
    "HTTP 2": (b"HTTP/2 200\r\n\r\n", NOT_HTTP),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x50", "expects TLS: write base_url with https://"),
    "bad status": (b"HTTP/1.1 abc OK\r\n\r\n", NOT_HTTP),
    "bad length": (OK + b"content-length: -2\r\n\r\nhi", NOT_HTTP),
    "two lengths": (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi", NOT_HTTP),
    "NUL": (OK + b"x: \x00\r\n\r\n", NOT_HTTP),
    "long header": (OK + b"x: " + b"a" * 9_000 + b"\r\n\r\n", "longer headers"),
    "many headers": (OK + b"x: a\r\n" * 50_000 + b"\r\n", "more or longer headers"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_anything_but_http_is_a_transport_error(wire: Wire, name: str) -> None:
    wire.answer, text = BROKEN[name]
    async with wire.transport() as transport:
        error = await failure(transport(SECRETIVE))
        assert type(error) is TransportError
        assert error.endpoint == "work_list"
        assert str(error).startswith("work_list: ")
        assert text in str(error)
        wire.answer = HI
        assert (await transport(SECRETIVE)).body == b"hi"


LARGE: dict[str, bytes] = {
    "plain": OK + b"content-length: 1001\r\n\r\n" + b"a" * 1001,
    "announced": OK + b"content-length: 1000000000000\r\n\r\n" + b"a" * 5000,
    "endless": OK + b"\r\n" + b"a" * 5000,
    "chunks": OK + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000,
    "a bomb": OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(10_000_000)),
}


@pytest.mark.parametrize("name", LARGE)
async def test_an_answer_that_is_too_long_is_refused(wire: Wire, name: str) -> None:
    wire.answer = LARGE[name]
    async with wire.transport(max_response_bytes=1000) as transport:
        error = await failure(transport(SECRETIVE))
        assert type(error) is ResponseTooLarge
        assert "max_response_bytes=1000" in str(error)
        wire.answer = HI
        assert (await transport(SECRETIVE)).body == b"hi"


async def test_an_answer_may_be_as_long_as_the_setting(wire: Wire) -> None:
    wire.answer = OK + b"\r\n" + b"a" * 1000
    async with wire.transport(max_response_bytes=1000) as transport:
        assert len((await transport(REQUEST)).body) == 1000


# No connection


@asynccontextmanager
async def to(base_url: str) -> AsyncGenerator[HttpTransport]:
    async with HttpTransport(settings(base_url=base_url, allow_http=True)) as transport:
        yield transport


async def test_a_refused_connection_names_host_and_port() -> None:
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with to(f"http://127.0.0.1:{port}") as transport:
            error = await failure(transport(SECRETIVE))
    assert type(error) is TransportError
    assert f"no connection to 127.0.0.1:{port} (" in str(error)
    assert str(error).endswith("; check base_url")


async def test_an_unknown_host_is_named() -> None:
    async with to("http://nonexistent.invalid") as transport:
        error = await failure(transport(SECRETIVE))
    assert type(error) is TransportError
    assert "no connection to nonexistent.invalid:80 (" in str(error)


async def test_https_to_a_port_of_http_is_a_transport_error(wire: Wire) -> None:
    async with to(f"https://127.0.0.1:{wire.port}") as transport:
        error = await failure(transport(SECRETIVE))
    assert type(error) is TransportError
    assert "TLS" in str(error)


@pytest.mark.parametrize("host", ["127.999.9.9", "127.0.0.1."])
async def test_an_invalid_host_is_one_of_our_errors(host: str) -> None:
    async with to(f"http://{host}:1") as transport:
        await failure(transport(SECRETIVE))


async def test_the_pool_does_not_limit_requests(wire: Wire) -> None:
    wire.hold = 150  # more than aiohttp's own pool allows
    async with wire.transport() as transport:
        answers = await asyncio.gather(*(transport(REQUEST) for _ in range(wire.hold)))
    assert len(answers) == wire.hold


# Single requests and the free retry


async def call_works(client: Client) -> Page[Any]:
    return await client.work_list()


async def call_messages(client: Client) -> Page[Any]:
    return await client.msg_list()


Way: TypeAlias = Callable[[Client], Awaitable[Page[Any]]]

either_list = pytest.mark.parametrize("call", [call_works, call_messages], ids=["GET", "POST"])


@either_list
@pytest.mark.parametrize("attempts", [1, 3])
async def test_an_attempt_is_one_request(wire: Wire, call: Way, attempts: int) -> None:
    wire.answer = None
    retry = RetryPolicy(attempts=attempts, base=0)
    async with Client(settings(base_url=wire.url, retry=retry)) as client:
        with pytest.raises(TransportError) as caught:
            await call(client)
    assert len(wire.received) == caught.value.attempts == attempts
    assert client.stats.requests == attempts
    assert client.stats.retries == attempts - 1


class Stale:
    """A server that answers one request a connection, and closes or resets it at the next one."""

    def __init__(self, *, reset: bool) -> None:
        self.connections: list[int] = []  # the requests on each
        self.port = 0
        self._reset = reset
        body = answer([], 1, 20).body
        self._answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(1)
        data = b""
        while not whole(data):
            data += await reader.read(65536)
        writer.write(self._answer)
        if not await reader.read(1):
            writer.close()  # the client closed it
            return
        self.connections[number] += 1
        hang_up(writer, reset=self._reset)

    @property
    def settings(self) -> Settings:
        return settings(base_url=f"http://127.0.0.1:{self.port}", retry=RetryPolicy(attempts=1))


@asynccontextmanager
async def stale(*, reset: bool) -> AsyncGenerator[Stale]:
    serving = Stale(reset=reset)
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    serving.port = server.sockets[0].getsockname()[1]
    async with server:
        yield serving


@either_list
@pytest.mark.parametrize("reset", [False, True])
async def test_a_request_on_a_stale_connection_is_retried_at_once(call: Way, reset: bool) -> None:
    async with stale(reset=reset) as server, Client(server.settings) as client:
        for calls in range(1, 5):
            assert (await call(client)).total_elements == 0
            # Each call but the first finds the last connection closed.
            assert server.connections == [2] * (calls - 1) + [1]
            assert client.stats.requests == sum(server.connections)
            assert client.stats.retries == calls - 1


@pytest.mark.parametrize("reset", [False, True])
async def test_only_a_connection_that_has_served_may_be_stale(wire: Wire, reset: bool) -> None:
    wire.answer = None if reset else b""
    async with wire.transport() as transport:
        for _ in range(3):
            error = await failure(transport(SECRETIVE))
            assert isinstance(error, TransportError)
            assert not may_retry_now(error)
    async with stale(reset=reset) as server, HttpTransport(server.settings) as transport:
        await transport(REQUEST)
        error = await failure(transport(SECRETIVE))
        assert isinstance(error, TransportError)
        assert may_retry_now(error)


async def test_a_connection_that_the_server_closes_is_not_counted_as_idle(wire: Wire) -> None:
    async with wire.transport() as transport:
        await transport(REQUEST)  # the answer says "connection: close"
        wire.answer = None
        error = await failure(transport(SECRETIVE))
    assert isinstance(error, TransportError)
    assert not may_retry_now(error)


async def test_an_outage_is_not_multiplied() -> None:
    calls = 250
    async with Simulator(works=20, messages=20) as simulator:
        retry = RetryPolicy(base=1e-6)
        async with Client(replace(simulator.settings, retry=retry)) as client:
            await client.work_list()
            simulator.fail(Reset(), times=None)
            for number in range(calls):
                with pytest.raises(TransportError):
                    await (call_messages if number % 2 else call_works)(client)
    assert calls + 100 <= simulator.served - 1 <= calls + 102  # the budget, and one free retry
    assert client.stats.requests == simulator.served


# Clocks


@either_list
@pytest.mark.parametrize("skew", [3600, -86400])
@pytest.mark.parametrize("http_errors", [False, True])
async def test_a_wrong_clock_costs_one_request_and_one_warning(
    call: Way, skew: float, http_errors: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator(works=3, messages=3, skew=skew, http_errors=http_errors) as simulator:
        once = replace(simulator.settings, retry=RetryPolicy(attempts=1))
        async with Client(once) as client:
            for requests, each in enumerate([call, call, call_works, call_messages], start=2):
                assert len(await each(client)) == 3
                assert simulator.served == client.stats.requests == requests
            assert client.stats.retries == 1
            assert len(await call(client.for_account("1999"))) == 3
            assert simulator.served == 6
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.levelname == "WARNING"
    assert "this machine's clock is " in record.getMessage()


async def test_a_jumping_clock_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    ahead = [600.0, -600.0, 0.0]
    async with Simulator(works=3, clock=lambda: time.time() + ahead[0]) as simulator:
        async with Client(simulator.settings) as client:
            for jumps in (1, 2, 3):
                await client.work_list()
                assert simulator.served == 2 * jumps
                ahead.append(ahead.pop(0))
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@either_list
async def test_a_wrong_secret_is_found_despite_a_wrong_clock(
    call: Way, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator(skew=3600) as simulator:
        async with Client(replace(simulator.settings, app_secret="another")) as client:
            for requests, attempts in ((2, 2), (3, 1)):  # in vain: not corrected again at once
                with pytest.raises(AuthError) as caught:
                    await call(client)
                assert (simulator.served, caught.value.attempts) == (requests, attempts)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# Limits, through a client

HEAVY: list[tuple[Fault, float, type[DpError]]] = [
    (Bomb(1 << 30), 30, ResponseTooLarge),
    (Endless(), 30, ResponseTooLarge),
    (HugeHeader(1 << 20), 30, TransportError),
    (Drip(), 0.1, AttemptTimeout),
    (Hang(), 0.1, AttemptTimeout),
]


@either_list
@pytest.mark.parametrize(("fault", "timeout", "kind"), HEAVY, ids=lambda value: repr(value))
async def test_an_answer_beyond_a_limit_is_an_error(
    call: Way, fault: Fault, timeout: float, kind: type[DpError]
) -> None:
    async with Simulator(works=20, messages=20) as simulator:
        simulator.fail(fault, times=None)
        given = replace(
            simulator.settings,
            timeout=timeout,
            max_response_bytes=1 << 20,
            retry=RetryPolicy(attempts=1),
        )
        async with Client(given) as client:
            for _ in range(2):
                with pytest.raises(DpError) as caught:
                    await call(client)
                assert type(caught.value) is kind
            assert simulator.served == 2
            if timeout > 1:
                simulator.heal()
                assert len(await call(client)) == 20


# Sessions


async def test_a_session_s_defaults_do_not_apply_and_it_is_not_closed(wire: Wire) -> None:
    wire.answer = HI.replace(b"200 OK", b"500 No")
    async with aiohttp.ClientSession(
        base_url="http://simulator_in_thread.invalid/prefix/",
        headers={"Authorization": "theirs", "App_Id": "theirs", "x-own": "1"},
        timeout=aiohttp.ClientTimeout(total=1e-9, sock_read=1e-9),
        raise_for_status=True,
    ) as session:
        async with wire.transport(session) as transport:
            answer = await transport(SECRETIVE)
        assert not session.closed
        async with session.get(wire.url, raise_for_status=False, timeout=None):
            pass
    assert (answer.status, answer.body) == (500, b"hi")
    names = [line.lower().partition(b":")[0] for line in wire.head()]
    assert (names.count(b"authorization"), names.count(b"app_id")) == (1, 1)
    assert f"authorization: {SECRET}".encode() in [line.lower() for line in wire.head()]
    assert b"x-own: 1" in wire.head()


async def test_a_session_that_does_not_decompress_is_overruled(wire: Wire) -> None:
    wire.answer = ANSWERS["gzip"][0]
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        assert (await wire.transport(session)(REQUEST)).body == b"hi" * 99


@pytest.mark.parametrize(("status", "requests"), [(407, 1), (502, 3)])
async def test_a_refusal_of_a_proxy_is_repeated_only_if_it_may_pass(
    wire: Wire, status: int, requests: int
) -> None:
    wire.answer = f"HTTP/1.1 {status} No\r\nconnection: close\r\n\r\n".encode()
    given = settings(base_url="https://api.example.com", retry=RetryPolicy(attempts=3, base=0))
    async with aiohttp.ClientSession(proxy=wire.url) as session:
        async with Client(given, session=session) as client:
            with pytest.raises(TransportError, match=rf"proxy refused .* \({status}\)") as caught:
                await client.work_list()
    assert caught.value.attempts == len(wire.received) == requests
    assert wire.head()[0] == b"CONNECT api.example.com:443 HTTP/1.1"


async def test_a_proxy_s_407_for_http_has_its_hint(wire: Wire) -> None:
    wire.answer = b"HTTP/1.1 407 No\r\nconnection: close\r\n\r\n"
    async with aiohttp.ClientSession(proxy=wire.url) as session:
        async with Client(settings(base_url=wire.url), session=session) as client:
            with pytest.raises(BadRequest, match="A proxy wants credentials"):
                await client.work_list()
    assert len(wire.received) == 1


async def test_a_session_s_own_raise_for_status_is_not_called(wire: Wire) -> None:
    async def refuse(answer: aiohttp.ClientResponse) -> None:
        raise AssertionError

    async with aiohttp.ClientSession(raise_for_status=refuse) as session:
        assert (await wire.transport(session)(REQUEST)).status == 200


@either_list
async def test_a_session_s_middlewares_run(call: Way) -> None:
    seen: list[str] = []

    async def own(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        seen.append(request.method)
        request.headers["x-own"] = "1"
        return await handler(request)

    async with Simulator(works=3, messages=3) as simulator:
        async with aiohttp.ClientSession(middlewares=(own,)) as session:
            async with Client(simulator.settings, session=session) as client:
                for requests in (1, 2):
                    assert len(await call(client)) == 3
                    assert len(seen) == simulator.served == client.stats.requests == requests
            async with session.get(simulator.url):
                assert len(seen) == 3
        assert [request.headers["x-own"] for request in simulator.requests] == ["1"] * 3


async def test_a_session_keeps_aiohttp_s_own_retry(wire: Wire) -> None:
    wire.answer = None
    async with aiohttp.ClientSession() as session:
        async with wire.transport(session) as transport:
            error = await failure(transport(REQUEST))
    assert isinstance(error, TransportError)
    assert not may_retry_now(error)
    assert len(wire.received) == 2  # aiohttp sends a GET again


@pytest.mark.parametrize("session", [7, "session", aiohttp.ClientSession, object()])
def test_a_session_of_another_type_is_refused(session: Any) -> None:
    with pytest.raises(ConfigError, match=r"session must be a.* ClientSession, not "):
        HttpTransport(settings(), session)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_session_with_an_auth_is_refused() -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("user")) as session:
        with pytest.raises(ConfigError, match="session must not have an auth"):
            HttpTransport(settings(), session)


NETRC = f"machine 127.0.0.1 login joe password {SECRET}\n"
LONG = f"http://{'a' * 64}.example.com:3128"
#: The arguments of a session that cannot work, the environment, and words of the error.
UNUSABLE: dict[str, tuple[dict[str, Any], dict[str, str], list[str]]] = {
    "netrc": ({"trust_env": True}, {"NETRC": NETRC}, [".netrc", "trust_env=True"]),
    "netrc default": (
        {"trust_env": True},
        {"NETRC": "default login joe password pw\n"},
        [".netrc", "trust_env=True"],
    ),
    "netrc no text": ({"trust_env": True}, {"NETRC": "\udcff"}, [".netrc", "trust_env=True"]),
    "proxy no URL": ({"proxy": f"http://[{SECRET}"}, {}, ["proxy", "http://host:port"]),
    "proxy no scheme": ({"proxy": "127.0.0.1:3128"}, {}, ["proxy", "http://host:port"]),
    "proxy of another kind": ({"proxy": "socks5://127.0.0.1"}, {}, ["proxy", "http://host:port"]),
    "proxy host": ({"proxy": LONG}, {}, ["proxy"]),
    "proxy type": ({"proxy": 7}, {}, ["proxy"]),
    "proxy auth": ({"proxy": "http://127.0.0.1:1", "proxy_auth": ("a", SECRET)}, {}, ["proxy"]),
    "HTTP_PROXY no URL": (
        {"trust_env": True},
        {"http_proxy": f"http://{SECRET}:pw@host:99999"},
        ["HTTP_PROXY", "trust_env=True"],
    ),
    "HTTP_PROXY no scheme": ({"trust_env": True}, {"http_proxy": "proxy:3128"}, ["HTTP_PROXY"]),
    "HTTP_PROXY host": ({"trust_env": True}, {"http_proxy": LONG}, ["HTTP_PROXY"]),
    "header": ({"headers": {"x": f"{SECRET}\nb"}}, {}, ["headers"]),
    "header type": ({"headers": {"x": 7}}, {}, ["headers"]),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", UNUSABLE)
async def test_a_session_that_can_send_nothing_is_refused(
    name: str, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, environment, words = UNUSABLE[name]
    for variable in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        if variable == "NETRC":
            file = tmp_path / "netrc"
            file.write_bytes(value.encode(errors="surrogateescape"))
            value = str(file)
        monkeypatch.setenv(variable, value)
    async with aiohttp.ClientSession(**given) as session:
        error = await failure(wire.transport(session)(replace(SECRETIVE, method="GET", body=b"")))
    assert type(error) is ConfigError
    for word in words:
        assert word in str(error)
    assert not wire.received


async def test_a_login_of_netrc_is_no_conflict_without_an_authorization(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(NETRC)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with aiohttp.ClientSession(trust_env=True) as session:
        assert (await wire.transport(session)(REQUEST)).body == b"hi"


def test_a_session_of_another_loop_is_refused() -> None:
    async def made() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = asyncio.run(made())

    async def use() -> None:
        error = await failure(HttpTransport(settings(), session)(SECRETIVE))
        assert type(error) is ConfigError
        assert "event loop" in str(error)
        await session.close()

    asyncio.run(use())


@pytest.mark.parametrize("kind", [ValueError, TypeError, AssertionError, RuntimeError, KeyError])
async def test_a_mistake_in_a_middleware_is_raised_as_it_is(
    wire: Wire, kind: type[Exception]
) -> None:
    mistake = kind("bug")

    async def broken(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        raise mistake

    async with aiohttp.ClientSession(middlewares=(broken,)) as session:
        with pytest.raises(kind) as caught:
            await wire.transport(session)(REQUEST)
    assert caught.value is mistake


async def test_a_session_closed_as_the_request_begins_is_client_closed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiohttp.ClientSession() as session:
        transport = wire.transport(session)
        monkeypatch.setattr(transport, "_open", lambda: session)  # it was open when it was checked
    assert type(await failure(transport(SECRETIVE))) is ClientClosed


async def test_closing_during_a_request_is_client_closed(wire: Wire) -> None:
    wire.hold, wire.answer = 2, b""
    transport = wire.transport()
    sending = asyncio.ensure_future(failure(transport(SECRETIVE)))
    while not wire.received:
        await asyncio.sleep(0)
    await transport.aclose()
    wire.release()
    assert type(await sending) is ClientClosed


async def test_a_closed_session_is_client_closed(wire: Wire) -> None:
    async with aiohttp.ClientSession() as session:
        transport = wire.transport(session)
    assert type(await failure(transport(SECRETIVE))) is ClientClosed
    assert not wire.received


@pytest.mark.parametrize("used", [True, False])
async def test_a_closed_transport_stays_closed(wire: Wire, used: bool) -> None:
    transport = wire.transport()
    if used:
        await transport(REQUEST)
    await transport.aclose()
    await transport.aclose()
    assert type(await failure(transport(SECRETIVE))) is ClientClosed
    assert len(wire.received) == used


def test_a_transport_can_be_created_without_a_loop() -> None:
    HttpTransport(settings())


# Each error of aiohttp, as aiohttp raises it

KEY = ConnectionKey("api.example.com", 443, True, True, None, None, None)
PROXY_KEY = ConnectionKey("proxy.example.com", 3128, False, True, None, None, None)


def expired() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(SECRET)
    error.verify_code = 10
    return error


INFO = aiohttp.RequestInfo(
    URL(f"https://host/?name={SECRET}"),
    "GET",
    CIMultiDictProxy(CIMultiDict({"authorization": SECRET})),
    URL(f"https://host/?name={SECRET}"),
)
RAISED: list[tuple[Exception, type[DpError], str]] = [
    (aiohttp.InvalidURL(SECRET), ConfigError, "base_url is not an address"),
    (TimeoutError(SECRET), AttemptTimeout, "work_list: the connection timed out"),
    (aiohttp.ServerTimeoutError(SECRET), AttemptTimeout, "the connection timed out"),
    (aiohttp.ConnectionTimeoutError(SECRET), AttemptTimeout, "the connection timed out"),
    (aiohttp.SocketTimeoutError(SECRET), AttemptTimeout, "the connection timed out"),
    (
        aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError(SECRET)),
        TransportError,
        "the certificate of api.example.com was not accepted",
    ),
    (
        aiohttp.ClientConnectorCertificateError(KEY, expired()),
        TransportError,
        "the certificate of api.example.com has expired",
    ),
    (
        aiohttp.ClientOSError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert"),
        TransportError,
        "client certificate (mTLS)",
    ),
    (
        UnixClientConnectorError("/run/api.sock", KEY, OSError(2, "No such file")),
        TransportError,
        "no connection to the socket /run/api.sock; check the connector",
    ),
    (
        aiohttp.ClientConnectorDNSError(PROXY_KEY, OSError(-2, "Name or service not known")),
        TransportError,
        "no connection to the proxy proxy.example.com:3128 (Name or service not known); check the",
    ),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "no")), TransportError, "TLS"),
    (
        aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")),
        TransportError,
        "no connection to api.example.com:443 (Name or service not known); check base_url",
    ),
    (
        aiohttp.ClientConnectorError(KEY, OSError()),
        TransportError,
        "no connection to api.example.com:443 (OSError)",
    ),
    (
        aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, "Refused")),
        TransportError,
        "no connection to the proxy api.example.com:443 (Refused); check the proxy",
    ),
    (aiohttp.ServerDisconnectedError(SECRET), TransportError, "closed the connection without"),
    (aiohttp.ClientPayloadError(SECRET), TransportError, "cut off or damaged"),
    (
        aiohttp.ClientResponseError(INFO, (), status=400, message=SECRET),
        TransportError,
        "not valid HTTP",
    ),
    (aiohttp.ClientHttpProxyError(INFO, (), status=407), TransportError, "A proxy wants"),
    (
        aiohttp.ServerFingerprintMismatch(b"a", b"b", "host", 1),
        TransportError,
        "the connection broke (ServerFingerprintMismatch)",
    ),
    (
        aiohttp.ClientOSError(errno.ECONNRESET, SECRET),
        TransportError,
        "the connection broke (ClientOSError)",
    ),
    (
        ConnectionResetError(errno.ECONNRESET, SECRET),
        TransportError,
        "the connection broke (ConnectionResetError)",
    ),
    (OSError(SECRET), TransportError, "the connection broke (OSError)"),
    (aiohttp.ClientError(SECRET), TransportError, "the connection broke (ClientError)"),
]


@asynccontextmanager
async def mocked(**answer: Any) -> AsyncGenerator[HttpTransport]:
    """A transport whose aiohttp answers every request with *answer*."""
    with aioresponses() as mock:
        mock.post(re.compile("."), **answer)  # pyright: ignore[reportUnknownMemberType]  # theirs
        async with to("https://api.example.com") as transport:
            yield transport


async def raising(error: BaseException) -> Response:
    async with mocked(exception=error) as transport:
        return await transport(SECRETIVE)


@pytest.mark.parametrize(("error", "kind", "text"), RAISED, ids=lambda value: type(value).__name__)
async def test_each_error_of_aiohttp_becomes_one_of_ours(
    error: Exception, kind: type[DpError], text: str
) -> None:
    ours = await failure(raising(error))
    assert type(ours) is kind
    assert text in str(ours)
    lasts = isinstance(error, aiohttp.ClientConnectorCertificateError) or any(
        words in text for words in ("mTLS", "A proxy wants")
    )
    assert may_pass(ours) is (kind is not ConfigError and not lasts)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), ValueError("bug"), KeyboardInterrupt()]
)
async def test_any_other_exception_is_raised_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await raising(error)
    assert caught.value is error


async def test_the_arguments_for_aiohttp() -> None:
    seen: dict[str, Any] = {}

    def listen(url: URL, **given: Any) -> None:
        seen.update(given)

    async with mocked(status=418, body=b"{}", callback=listen) as transport:
        answer = await transport(SECRETIVE)
    assert (answer.status, answer.body) == (418, b"{}")
    assert answer.headers["content-type"] == "application/json"
    assert seen["allow_redirects"] is False
    assert seen["auto_decompress"] is True
    assert seen["headers"] == SECRETIVE.headers
    assert seen["data"] == SECRETIVE.body
