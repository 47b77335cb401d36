"""An event loop in virtual time that serves its own sockets, and what a client leaves behind."""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from dp_async import Client
from tests.support.fake_server import until

# A loop for both ends of a socket


class Advancing(selectors.SelectSelector):
    """Waits a *moment* for data on loopback; if none comes, advances the time to the next timer."""

    moment = 0.005
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else min(timeout, self.moment))
        if not ready and timeout:
            self.now += timeout
        return ready


class LoopbackLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, from 0, that serves sockets of this process too."""

    def __init__(self, selector: Advancing | None = None) -> None:
        self._advancing = Advancing() if selector is None else selector
        super().__init__(self._advancing)

    def time(self) -> float:
        return self._advancing.now


class _Noise(logging.Handler):
    """Warnings of asyncio and aiohttp's client.

    Ignored are those of the server, whose clients hang up, and of the guide's app about failures.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in ("app", "dp_async", "aiohttp.server"):
            self.heard.append(record.getMessage())


def quietly(
    main: Coroutine[object, object, None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = LoopbackLoop,
) -> None:
    """Run *main*, which must leave no task and cause no warning."""
    noise = _Noise()
    logging.getLogger().addHandler(noise)

    async def alone() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.heard.append(context))
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(alone())
    finally:
        logging.getLogger().removeHandler(noise)
    assert not noise.heard


# Nothing is left


def own_tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop that are not those of the simulator's server."""
    return {task for task in asyncio.all_tasks() if "<RequestHandler." not in repr(task)}


def connections() -> int:
    """How many connections the simulator's server has open: a task each."""
    return sum("<RequestHandler.start()" in repr(task) for task in asyncio.all_tasks())


def pool(client: Client) -> tuple[int, int]:
    """How many connections a client has in use, and how many idle."""
    transport = client._view.core._owned  # pyright: ignore[reportPrivateUsage]
    session = transport._session if transport else None  # pyright: ignore[reportPrivateUsage]
    if session is None or session.connector is None:
        return 0, 0
    connector = session.connector
    idle = connector._conns.values()  # pyright: ignore[reportPrivateUsage]
    in_use = connector._acquired  # pyright: ignore[reportPrivateUsage]
    return len(in_use), sum(kept[0].is_connected() for each in idle for kept in each)


def permits_in_use(client: Client) -> list[int]:
    """The requests in flight by each of a client's limiters."""
    limiters = client._view.core._limiters  # pyright: ignore[reportPrivateUsage]
    return [limiter.in_flight for limiter in limiters or ()]


def sleeping(client: Client) -> int:
    """How many calls wait before a retry."""
    return len(client._view.core._sleeping)  # pyright: ignore[reportPrivateUsage]


async def nothing_left(client: Client) -> None:
    """No task, no permit, no sleeper, and no connection outside the pool."""
    await until(lambda: own_tasks() == {asyncio.current_task()})
    assert client.stats.in_flight == 0
    assert not any(permits_in_use(client))
    assert not sleeping(client)
    await until(lambda: pool(client) == (0, connections()))


async def still_works(client: Client) -> None:
    """The client's next calls succeed."""
    assert len(await client.work_list()) == 20
    assert len(await client.msg_list()) == 20
    await nothing_left(client)
