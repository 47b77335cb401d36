"""What a client gets in process where a fault breaks the exchange on the wire. No sockets."""

from __future__ import annotations

import asyncio

from dp_async import Response, ResponseTooLarge, TransportError

from ._faults import Bomb, Drip, Endless, Hang, WireFault


async def deliver_in_process(response: Response, fault: WireFault | None) -> Response:
    """The response, or what an HTTP client raises because of the fault."""
    if fault is None:
        return response
    if isinstance(fault, Hang | Drip):
        never: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        return await never
    if isinstance(fault, Bomb | Endless):
        raise ResponseTooLarge("the simulated answer is too large")
    raise TransportError("the simulated connection broke")
