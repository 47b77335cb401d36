"""The simulator: lists, answers, faults and delays put together, on a socket or in process.

It decides when things happen; how a request is answered, altered and sent is up to the other files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeVar

from dp_async import Request, Response, Settings

from ._answers import INTERNAL_HOST, INTERNAL_TRACE, Api, Rules
from ._arguments import SimulatorMisused
from ._faults import Fault, Throttle, WireFault
from ._in_process import deliver_in_process
from ._lists import SimulatedList
from ._load import Latency, RateLimit, Workers, wait
from ._requests import RequestLog, SeenRequest
from ._rows import Endpoint, kind_named
from ._script import Script
from ._wire import HOST, Server
from ._writer import Writes, writing

T = TypeVar("T")


class Simulator:
    """The documented API on ``http://127.0.0.1``, over made-up rows that can be written to.

    ::

        async with Simulator(works=1070, messages=530) as simulator:
            async with Client(simulator.settings) as client:
                ...

    Without ``async with`` there is no server, but
    ``Client(simulator.in_process_settings, send=simulator.send)`` gets the answers in process.

    - *works*, *messages*: rows to begin with; the first 20 of each are the documented ones.
    - *port*: where to listen; 0 for any free port.
    - *latency*, *jitter*: response times are log-normal; these are the median in seconds and sigma.
      The rows are read at a random moment in between.
    - *capacity*, *service*: the server works on this many requests at once, for *service* seconds
      each; the others queue.
    - *limit_rate*: requests answered in each second of the event loop's time; the others get a 429.
    - *seed*: for all random choices.
    - *app_id*, *app_secret*, *auth_template*, *timestamp_unit*: what a signature is made of.
    - *accounts*: the sub-accounts that exist; None for any. All see the same rows.
    - *tolerance*, *skew*: seconds by which a timestamp may be off, and by which the server's clock
      is ahead.
    - *max_page_size*: larger pages are cut to this, silently; None for no limit.
    - *shape*: "nested" answers as later versions of Spring Data do.
    - *http_errors*: an envelope's error code is the HTTP status too, instead of 200.
    - *lateness*: a row becomes visible up to this many seconds after its update time.
    - *clock*: seconds since the epoch.
    - *remember*: keep ``requests``; turn it off for a server that runs for long.

    ``internals`` are texts in the answers that a client must never show or log.
    """

    internals: ClassVar[tuple[str, str]] = (INTERNAL_HOST, INTERNAL_TRACE)

    def __init__(
        self,
        *,
        works: int = 1070,
        messages: int = 530,
        port: int = 0,
        latency: float = 0.0,
        jitter: float = 0.0,
        capacity: int | None = None,
        service: float = 0.0,
        limit_rate: int | None = None,
        seed: int = 0,
        app_id: str = "simulated-app",
        app_secret: str = "simulated-secret",
        auth_template: str = "{app_id}{app_secret}{timestamp}",
        timestamp_unit: Literal["ms", "s"] = "ms",
        accounts: Collection[str] | None = None,
        tolerance: float = 300.0,
        skew: float = 0.0,
        max_page_size: int | None = 100,
        shape: Literal["flat", "nested"] = "flat",
        http_errors: bool = False,
        lateness: float = 0.0,
        clock: Callable[[], float] = time.time,
        remember: bool = True,
    ) -> None:
        def now() -> float:
            return clock() + skew

        #: The two lists: read them, and write to them.
        self.works = SimulatedList("work_list", works, clock=now, lateness=lateness, seed=seed)
        self.messages = SimulatedList("msg_list", messages, clock=now, lateness=lateness, seed=seed)
        lists = (self.works, self.messages)
        self._lists: dict[Endpoint, SimulatedList] = {rows.kind.endpoint: rows for rows in lists}
        self._api = Api(
            Rules(
                app_id=app_id,
                app_secret=app_secret,
                auth_template=auth_template,
                timestamp_unit=timestamp_unit,
                accounts=accounts,
                tolerance=tolerance,
                max_page_size=max_page_size,
                shape=shape,
                http_errors=http_errors,
            ),
            self._lists,
            now=now,
            random=Random(f"{seed} ids"),
        )
        self._script = Script(Random(f"{seed} faults"))
        self._latency = Latency(latency, jitter, Random(f"{seed} latency"))
        self._workers = Workers(capacity, service)
        self._rate = RateLimit(limit_rate)
        self._log = RequestLog(keep=remember)
        self._seed = seed
        self._writers = 0
        self._port = port
        self._server: Server | None = None
        self._closed = False

    # Running

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise SimulatorMisused("this simulator is already running")
        server = Server(self._exchange, self._port)
        await server.start()
        self._server, self._closed = server, False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._closed = True
            await server.close()

    @property
    def url(self) -> str:
        """The base URL. Raises SimulatorMisused while the simulator is not running."""
        if self._server is None:
            state = "was closed" if self._closed else "is not running"
            raise SimulatorMisused(
                f"this simulator {state}, so it has no address: use its url and settings within"
                " `async with Simulator(...) as simulator:`; without a server, pass"
                " Client(simulator.in_process_settings, send=simulator.send)"
            )
        return f"http://{HOST}:{self._server.port}"

    @property
    def settings(self) -> Settings:
        """Settings for clients of the running server. Raises SimulatorMisused if it is not."""
        return self._settings(self.url)

    @property
    def in_process_settings(self) -> Settings:
        """Settings for a client whose ``send`` is this simulator's, which needs no server."""
        return self._settings(f"http://{HOST}")

    def _settings(self, base_url: str) -> Settings:
        rules = self._api.rules
        return Settings(
            base_url=base_url,
            app_id=rules.app_id,
            app_secret=rules.app_secret,
            auth_template=rules.auth_template,
            timestamp_unit=rules.timestamp_unit,
        )

    async def send(self, request: Request, /) -> Response:
        """Answers in process, with the same delays and faults and no sockets: a ``Send``.

        Raises TransportError or ResponseTooLarge where a fault makes an HTTP client raise them.
        ``Hang`` and ``Drip`` wait for ever.
        """
        await asyncio.sleep(0)  # no answer comes in the iteration of the loop that sent the request
        return await self._exchange(request, deliver_in_process)

    # What it has seen

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests so far, in the order they came; empty with ``remember=False``."""
        return self._log.requests

    @property
    def served(self) -> int:
        """How many requests came so far."""
        return self._log.served

    @property
    def in_flight(self) -> int:
        """How many requests are unanswered now."""
        return self._log.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest value that ``in_flight`` ever had."""
        return self._log.max_in_flight

    # Faults and writes

    def fail(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        endpoint: Endpoint | None = None,
        page: int | None = None,
        probability: float | None = None,
        after: int = 0,
    ) -> None:
        """Applies *fault* to the next *times* answers (None: all), in the order of these calls.

        *endpoint* (``"work_list"``, ``"msg_list"``), *page* (the request's ``pageNum``) and
        *probability* select requests; the first *after* of them are answered without the fault.
        One request gets one fault: the first that matches. Raises ConfigError.
        """
        self._script.add(
            fault,
            times=times,
            endpoint=endpoint,
            page=page,
            probability=probability,
            after=after,
        )

    def heal(self) -> None:
        """Removes all faults."""
        self._script.clear()

    def writing(
        self,
        endpoint: Endpoint,
        *,
        inserts: float = 0.0,
        updates: float = 0.0,
        deletes: float = 0.0,
        even: bool = False,
        seed: int | None = None,
    ) -> AbstractAsyncContextManager[Writes]:
        """Writes to the list *endpoint* while the block runs; rates are per second.

        Updates and deletes choose a random row; an update changes its status. Writes are a Poisson
        process, or evenly spaced with *even*. ``async with`` gives the numbers of writes so far.
        Raises ConfigError.
        """
        kind_named(endpoint)
        self._writers += 1
        return writing(
            self._lists[endpoint],
            inserts=inserts,
            updates=updates,
            deletes=deletes,
            even=even,
            random=Random(f"{self._seed} writer {self._writers}" if seed is None else seed),
        )

    # One exchange

    async def _exchange(
        self, request: Request, deliver: Callable[[Response, WireFault | None], Awaitable[T]], /
    ) -> T:
        with self._log.track(request) as seen:
            response = await self._answer(request, seen)
            broken = seen.fault if isinstance(seen.fault, WireFault) else None
            delivered = await deliver(response, broken)
            if broken is None:
                seen.status = response.status
            return delivered

    async def _answer(self, request: Request, seen: SeenRequest) -> Response:
        before, after = self._latency.draw()
        await wait(before)
        if self._rate.accept(asyncio.get_running_loop().time()):
            async with self._workers.serving():
                seen.fault = self._script.take(seen.endpoint, seen.page_num)
                response = self._api.answer(request, seen.fault)
        else:
            seen.fault = Throttle()
            response = self._api.answer(request, seen.fault)
        await wait(after)
        return response
