"""The simulator on a socket: HTTP on loopback, and the faults that break the exchange.

The only file here that imports aiohttp. Answers and faults are decided elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from aiohttp import web

from dp_async import Request, Response

from ._faults import Bomb, Drip, Endless, HalfBody, Hang, Reset, WireFault

HOST = "127.0.0.1"
MIB = 1 << 20

Deliver: TypeAlias = Callable[[Response, WireFault | None], Awaitable[web.StreamResponse]]
Break: TypeAlias = Callable[[web.BaseRequest, WireFault, Response], Awaitable[web.StreamResponse]]


class Exchange(Protocol):
    """Answers a request, and passes the answer and the fault that breaks it to *deliver*."""

    async def __call__(self, request: Request, deliver: Deliver, /) -> web.StreamResponse: ...


class Server:
    """An HTTP server on loopback; after ``start``, *port* is the bound port."""

    def __init__(self, exchange: Exchange, port: int) -> None:
        self.port = port
        self._exchange = exchange
        self._handlers: set[asyncio.Task[object]] = set()
        # Cancel the handler of a client that has disconnected: nobody waits for its answer.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Binds the port and listens. Raises OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stops listening and cancels every exchange, hung ones too."""
        for site in self._runner.sites:
            await site.stop()
        for handler in self._handlers:
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)
        await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            request = Request(
                endpoint="",
                method=http.method,
                target=http.raw_path,
                headers={name.lower(): value for name, value in http.headers.items()},
                body=await http.read(),
            )

            async def deliver(response: Response, fault: WireFault | None) -> web.StreamResponse:
                if fault is not None:
                    return await BREAKS[type(fault)](http, fault, response)
                return web.Response(
                    status=response.status, headers=response.headers, body=response.body
                )

            return await self._exchange(request, deliver)
        finally:
            self._handlers.discard(task)


async def _begin(http: web.BaseRequest, good: Response, length: int | None) -> web.StreamResponse:
    """Sends the headers of *good*, with a body of *length* bytes, or chunked for None."""
    stream = web.StreamResponse(status=good.status, headers=good.headers)
    stream.content_length = length
    if length is None:
        stream.enable_chunked_encoding()
    await stream.prepare(http)
    return stream


def _hang_up(http: web.BaseRequest, *, reset: bool) -> None:
    transport = http.transport
    assert transport is not None  # a client that disconnects first cancels the handler
    if reset:
        linger = struct.pack("ii", 1, 0)  # a linger time of 0: the kernel sends RST
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    else:
        transport.close()


async def _reset(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    _hang_up(http, reset=True)
    return web.Response()


async def _half(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    stream = await _begin(http, good, len(good.body))
    await stream.write(good.body[: len(good.body) // 2])
    _hang_up(http, reset=False)
    return stream


async def _drip(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    assert isinstance(fault, Drip)
    stream = await _begin(http, good, len(good.body))
    for at in range(len(good.body)):
        await stream.write(good.body[at : at + 1])
        await asyncio.sleep(fault.interval)
    return stream


async def _hang(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


async def _bomb(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    """Repeats one compressed MiB of zeros: a full flush makes the block independent."""
    assert isinstance(fault, Bomb)
    zeros = bytes(MIB)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    times = -(-fault.size // MIB)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    length = len(head) + times * len(block) + 2 + 8
    gzipped = {**good.headers, "content-encoding": "gzip"}
    good = Response(status=good.status, headers=gzipped)
    stream = await _begin(http, good, length)
    await stream.write(head)
    check = 0
    for _ in range(times):
        check = zlib.crc32(zeros, check)
        await stream.write(block)
        await asyncio.sleep(0)
    await stream.write(b"\x03\x00" + struct.pack("<II", check, times * MIB & 0xFFFFFFFF))
    return stream


async def _endless(http: web.BaseRequest, fault: WireFault, good: Response) -> web.StreamResponse:
    stream = await _begin(http, good, None)
    while True:
        await stream.write(b" " * 65536)
        await asyncio.sleep(0)


BREAKS: dict[type[WireFault], Break] = {
    Reset: _reset,
    HalfBody: _half,
    Drip: _drip,
    Hang: _hang,
    Bomb: _bomb,
    Endless: _endless,
}
