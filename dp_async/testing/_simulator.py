"""The simulator: lists, answers, faults and delays put together, on a socket or in process.

It decides when things happen; how a request is answered, altered and sent is up to the other files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from math import inf
from random import Random
from typing import ClassVar, Literal, Self, TypeVar

from dp_async import Request, Response, Settings

from ._answers import INTERNAL_HOST, INTERNAL_TRACE, Api, Rules
from ._arguments import called, number
from ._database import Database
from ._faults import Fault, Throttle, WireFault
from ._in_process import deliver_in_process
from ._lists import SimulatedList
from ._load import Load
from ._requests import RequestLog, SeenRequest
from ._rows import ENDPOINTS, Endpoint, kind_named
from ._running import Running
from ._script import Script
from ._wire import HOST
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
    - *database*: how the server's database behaves: ``Database.postgresql()``, or one by one.
    - *clock*: seconds since the epoch; the newest row to begin with is of 1,689,239,845.
    - *remember*: keep ``requests``; turn it off for a server that runs for long.

    Raises ConfigError for any other value. ``internals`` are texts in the answers that a client
    must never show or log.
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
        database: Database | None = None,
        clock: Callable[[], float] = time.time,
        remember: bool = True,
    ) -> None:
        def now() -> float:
            return clock() + skew

        called("clock", clock)
        number("skew", skew, -inf)
        database = database or Database()
        self._lists: dict[Endpoint, SimulatedList] = {
            endpoint: SimulatedList(
                endpoint, rows, clock=now, lateness=lateness, database=database, seed=seed
            )
            for endpoint, rows in zip(ENDPOINTS, (works, messages), strict=True)
        }
        self._api = Api(
            Rules(
                app_id=app_id,
                app_secret=app_secret,
                auth_template=auth_template,
                timestamp_unit=timestamp_unit,
                accounts=accounts,
                tolerance=tolerance,
                max_page_size=max_page_size,
                echoes_page_size=database.echoes_page_size,
                shape=shape,
                http_errors=http_errors,
            ),
            self._lists,
            now=now,
            random=Random(f"{seed} ids"),
        )
        self._script = Script(Random(f"{seed} faults"))
        self._load = Load(
            latency=latency,
            jitter=jitter,
            capacity=capacity,
            service=service,
            limit_rate=limit_rate,
            random=Random(f"{seed} latency"),
        )
        self._log = RequestLog(keep=remember)
        self._seed = seed
        self._writers = 0
        self._running = Running(self._exchange, port)
        self._settings(f"http://{HOST}")  # raises for a secret or template that no client can have

    # Running

    async def __aenter__(self) -> Self:
        await self._running.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._running.stop()

    def __repr__(self) -> str:
        if not hasattr(self, "_running"):  # in a traceback of the constructor
            return object.__repr__(self)
        rows = ", ".join(f"{len(each):,} rows in {name}" for name, each in self._lists.items())
        return f"<Simulator {self._running.where}: {rows}, {self.served:,} requests>"

    @property
    def works(self) -> SimulatedList:
        """The list of works: read it, and write to it."""
        return self._lists["work_list"]

    @property
    def messages(self) -> SimulatedList:
        """The list of messages: read it, and write to it."""
        return self._lists["msg_list"]

    @property
    def url(self) -> str:
        """The base URL. Raises SimulatorMisused while the simulator is not running."""
        return self._running.url

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
            fault, times=times, endpoint=endpoint, page=page, probability=probability, after=after
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
        imports: float = 0.0,
        import_size: int = 500,
        even: bool = False,
        seed: int | None = None,
    ) -> AbstractAsyncContextManager[Writes]:
        """Writes to the list *endpoint* while the block runs; rates are per second.

        Updates and deletes choose a random row; an update changes its status. An import inserts
        *import_size* rows at one time (``SimulatedList.insert_many``). Writes are a Poisson
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
            imports=imports,
            import_size=import_size,
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
        async with self._load.serving() as accepted:
            taken = self._script.take(seen.endpoint, seen.page_num) if accepted else Throttle()
            seen.fault = taken
            return self._api.answer(request, taken)
