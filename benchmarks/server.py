"""A server that costs next to no CPU: answers rendered beforehand, on a bare asyncio protocol.

It runs in a process of its own and checks nothing. It answers as ``dp_async.testing`` does, with
log-normal latencies of median *latency* and sigma *jitter*. They are drawn in the order of the
requests, so that ``latencies`` can reproduce them.

Benchmarks of limits and faults use the simulator itself, also in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import re
import selectors
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from random import Random
from typing import Any, TypeAlias

from msgspec import Raw

from benchmarks.apart import SPAWN, pin
from benchmarks.tls import server_context
from dp_async import Client, Request, Response, Settings
from dp_async.testing import Fault, Simulator

HOST = "127.0.0.1"
SIZE = 100

#: The page's number and size, in a query string or a body.
_PAGE_QUERY = re.compile(rb"pageNum\W+(\d+)\W+pageSize\W+(\d+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_HEAD = (
    "HTTP/1.1 200 OK\r\ncontent-type: application/json;charset=UTF-8\r\ncontent-length: {}\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

Key: TypeAlias = tuple[bytes, bytes, bytes]


@contextmanager
def served(
    works: int = 0,
    messages: int = 0,
    *,
    size: int = SIZE,
    latency: float = 0.0,
    jitter: float = 0.0,
    chain: bytes = b"",
) -> Generator[Settings]:
    """Run a server with so many *works* and *messages*; yields the settings for its clients.

    With a *chain*, a key and its certificates as PEM, it uses TLS.
    """
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(
        target=_run, args=(theirs, works, messages, size, latency, jitter, chain), daemon=True
    )
    process.start()
    theirs.close()
    try:
        known = Simulator(works=0, messages=0).in_process_settings
        url = f"{'https' if chain else 'http'}://{HOST}:{ours.recv()}"
        yield Settings(base_url=url, app_id=known.app_id, app_secret=known.app_secret)
    finally:
        process.terminate()
        process.join()


def latencies(latency: float, jitter: float) -> Iterator[float]:
    """The latencies of a server, in the order of its requests."""
    random = Random("latencies")
    while True:
        yield latency * random.lognormvariate(0, jitter)


def _run(
    ready: Connection,
    works: int,
    messages: int,
    size: int,
    latency: float,
    jitter: float,
    chain: bytes,
) -> None:
    pin(client=False)

    async def serve() -> None:
        answers = await _rendered(Simulator(works=works, messages=messages, remember=False), size)
        gc.collect()
        gc.freeze()
        waits = latencies(latency, jitter) if latency else None
        loop = asyncio.get_running_loop()
        tls = server_context(chain) if chain else None
        server = await loop.create_server(lambda: _Connection(answers, waits), HOST, ssl=tls)
        ready.send(server.sockets[0].getsockname()[1])
        loop.add_reader(ready.fileno(), sys.exit)  # the parent has ended
        await server.serve_forever()

    # epoll rounds timeouts up to whole milliseconds, which would distort a latency of 50 ms.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(serve())


async def _rendered(simulator: Simulator, size: int) -> Mapping[Key, bytes]:
    """Every page of both lists, the empty page after the last, and each smaller first page."""
    answers: dict[Key, bytes] = {}

    async def keep(request: Request, /) -> Response:
        response = await simulator.send(request)
        key = _key(f"{request.target} {request.body.decode()}".encode())
        assert key is not None
        answers[key] = _HEAD.format(len(response.body)).encode() + response.body
        return response

    async with Client(simulator.in_process_settings, send=keep) as client:
        for listing, rows in (
            (client.works().typed(Raw), simulator.works),
            (client.messages().typed(Raw), simulator.messages),
        ):
            for num in range(1, -(-len(rows) // size) + 2):
                await listing.page(num, size)
            for small in range(1, size):  # the first page of a crawl that knows the other rows
                await listing.page(1, small)
    return answers


def _key(request: bytes) -> Key | None:
    found = _PAGE_QUERY.search(request)
    kind = b"workList" if b"/workList" in request else b"msgList"
    return (kind, found[1], found[2]) if found else None


class _Connection(asyncio.Protocol):
    """One keep-alive connection: answers each request after its latency."""

    transport: asyncio.Transport

    def __init__(self, answers: Mapping[Key, bytes], waits: Iterator[float] | None) -> None:
        self._answers = answers
        self._waits = waits
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            length = _LENGTH.search(self._buffer, 0, end)
            end += int(length[1]) if length else 0
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        key = _key(request)
        answer = _NOT_FOUND if key is None else self._answers.get(key, _NOT_FOUND)
        if self._waits is None:
            self.transport.write(answer)
        else:
            asyncio.get_running_loop().call_later(next(self._waits), self.transport.write, answer)


# The simulator in another process


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A simulator in another process."""

    settings: Settings
    _line: Connection

    @property
    def served(self) -> int:
        """The requests it has received, by its own count."""
        self._line.send(None)
        count: int = self._line.recv()
        return count


@contextmanager
def simulated(
    faults: Sequence[tuple[Fault, float]] = (),
    *,
    after: int = 0,
    page: int | None = None,
    writes: Mapping[str, float] | None = None,
    **knobs: Any,
) -> Generator[Elsewhere]:
    """Run a simulator with these *knobs* in a process of its own.

    Each of *faults* hits its share of the requests that follow the first *after*, or of those for
    this *page* alone; *writes* are per second, all the time.
    """
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(
        target=_simulate,
        args=(theirs, list(faults), after, page, dict(writes or {}), knobs),
        daemon=True,
    )
    process.start()
    theirs.close()
    try:
        yield Elsewhere(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def trouble(
    simulator: Simulator,
    faults: Sequence[tuple[Fault, float]],
    after: int = 0,
    page: int | None = None,
) -> None:
    """Let each of *faults* hit its share of requests; a request meets one fault at most."""
    left = 1.0
    for fault, share in faults:
        simulator.fail(fault, times=None, page=page, probability=share / left, after=after)
        left -= share


def _simulate(
    line: Connection,
    faults: list[tuple[Fault, float]],
    after: int,
    page: int | None,
    writes: dict[str, Any],
    knobs: dict[str, Any],
) -> None:
    pin(client=False)

    def tell() -> None:
        try:
            line.recv()
        except EOFError:
            raise SystemExit from None  # the parent has ended
        line.send(simulator.served)

    async def serve() -> None:
        async with simulator, simulator.writing("work_list", **writes):
            loop = asyncio.get_running_loop()
            loop.add_reader(line.fileno(), tell)
            line.send(simulator.settings)
            await loop.create_future()

    simulator = Simulator(remember=False, **knobs)
    trouble(simulator, faults, after, page)
    asyncio.run(serve())
