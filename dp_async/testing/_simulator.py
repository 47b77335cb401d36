"""The simulator itself: lists, answers, faults and waiting put together, on a socket or without.

How things are answered, spoilt or sent is decided in the files below; here is when.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeVar

from dp_async import Request, Response, ResponseTooLarge, Settings, TransportError

from ._answers import INTERNAL_HOST, INTERNAL_TRACE, Api, Refused, Rules, kind_of, understand
from ._faults import Bomb, Drip, Endless, Fault, Hang, Throttle, WireFault
from ._lists import SimulatedList
from ._script import Script
from ._wire import HOST, Server
from ._writer import Writes, writing

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class SeenRequest:
    """One request as the simulator saw it.

    *endpoint* is "" and *page_num* None where the request did not make sense. *headers* are under
    lower-case names and without ``authorization``. *started* and *ended* are the event loop's time;
    *ended* and *status* are None while it is under way, *status* also where no answer was sent.
    """

    endpoint: str
    page_num: int | None
    page_size: int | None
    filters: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    started: float
    ended: float | None = None
    status: int | None = None
    fault: Fault | None = None


class Simulator:
    """The documented API on ``http://127.0.0.1``, over made-up rows that may be written to.

    ::

        async with Simulator(works=1070, messages=530) as simulator:
            async with Client(simulator.settings) as client:
                ...

    Without entering it, ``Client(simulator.settings, send=simulator.send)`` is answered in process.

    - *works*, *messages*: rows to begin with; the first 20 of each are the documented ones.
    - *port*: where to listen; 0 for any free one.
    - *latency*, *jitter*: median seconds until an answer, and the sigma of its log-normal spread.
      The rows are read at some moment in between.
    - *capacity*, *service*: that many requests are worked on at once, each for *service* seconds;
      the others wait in line.
    - *limit_rate*: requests answered in each second of the loop's time; the others get a 429.
    - *seed*: of everything that is left to chance.
    - *app_id*, *app_secret*, *auth_template*, *timestamp_unit*: what signatures must be made of.
    - *accounts*: the sub-accounts that exist; None for any. All see the same rows.
    - *tolerance*, *skew*: how far a timestamp may be off, and how far the server's clock is ahead.
    - *max_page_size*: larger pages are cut to this, silently; None for no limit.
    - *shape*: "nested" answers as later versions of the server's framework do.
    - *http_errors*: refusals carry their code as the HTTP status too, instead of 200.
    - *late*: writes become visible up to so many seconds after the second they carry.
    - *clock*: seconds since the epoch.
    - *remember*: keep ``requests``; turn it off for a server that runs for long.

    ``internals`` are the texts in the answers that no client may ever show or log.
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
        late: float = 0.0,
        clock: Callable[[], float] = time.time,
        remember: bool = True,
    ) -> None:
        self._clock = clock
        self._skew = skew
        self.works = SimulatedList("workList", works, clock=self._now, late=late, seed=seed)
        self.messages = SimulatedList("msgList", messages, clock=self._now, late=late, seed=seed)
        self.requests: list[SeenRequest] = []
        self.served = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._remember = remember
        self._rules = Rules(
            app_id=app_id,
            app_secret=app_secret,
            auth_template=auth_template,
            timestamp_unit=timestamp_unit,
            accounts=accounts,
            tolerance=tolerance,
            max_page_size=max_page_size,
            shape=shape,
            http_errors=http_errors,
        )
        self._seed = seed
        self._api = Api(
            self._rules,
            {rows.kind.endpoint: rows for rows in (self.works, self.messages)},
            now=self._now,
            random=Random(f"{seed} ids"),
        )
        self._script = Script(Random(f"{seed} faults"))
        self._latency = latency
        self._jitter = jitter
        self._chance = Random(f"{seed} latency")
        self._service = service
        self._workers: AbstractAsyncContextManager[object] = (
            nullcontext() if capacity is None else asyncio.Semaphore(capacity)
        )
        self._limit_rate = limit_rate
        self._window = (0, 0)  # whole second, requests in it
        self._writers = 0
        self._port = port
        self._server: Server | None = None

    def _now(self) -> float:
        return self._clock() + self._skew

    # Running

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("this simulator is already running")
        server = Server(self._exchange, self._port)
        await server.start()
        self._server = server
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    @property
    def url(self) -> str:
        """The base URL; without a port, and with nobody there, while it is not running."""
        return f"http://{HOST}" if self._server is None else f"http://{HOST}:{self._server.port}"

    @property
    def settings(self) -> Settings:
        """Settings that this simulator accepts."""
        rules = self._rules
        return Settings(
            base_url=self.url,
            app_id=rules.app_id,
            app_secret=rules.app_secret,
            auth_template=rules.auth_template,
            timestamp_unit=rules.timestamp_unit,
        )

    async def send(self, request: Request, /) -> Response:
        """Answers in process, with the same waits and faults and no sockets: a ``Send``.

        Raises TransportError and ResponseTooLarge where a fault would make HTTP raise them; a
        hanging or dripping answer never comes.
        """
        await asyncio.sleep(0)  # an answer is never immediate
        return await self._exchange(request, _hand_over)

    # What goes wrong

    def fail(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        endpoint: str | None = None,
        page: int | None = None,
        probability: float | None = None,
        after: int = 0,
    ) -> None:
        """Spoils the next *times* answers (None: all) with *fault*, in the order of these calls.

        Only to *endpoint* (``"workList"``, ``"msgList"``), only for *page* (the ``pageNum`` asked),
        only with this *probability*, where given, and not to the first *after* requests that fit.
        One request meets one fault: the first that fits. Raises ValueError.
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
        """Forgets all faults."""
        self._script.clear()

    def writing(
        self,
        rows: SimulatedList | None = None,
        *,
        inserts: float = 0.0,
        updates: float = 0.0,
        deletes: float = 0.0,
        even: bool = False,
        seed: int | None = None,
    ) -> AbstractAsyncContextManager[Writes]:
        """Writes to *rows* (the works) while the block runs, at so many of each kind a second.

        Updates and deletes hit any row; an update changes the status. *even* spaces writes evenly,
        else they come as a Poisson process. The value of ``async with`` counts them.
        """
        self._writers += 1
        return writing(
            self.works if rows is None else rows,
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
        loop = asyncio.get_running_loop()
        seen = _seen(request, loop.time())
        if self._remember:
            self.requests.append(seen)
        self.served += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            response = await self._answer(request, seen)
            broken = seen.fault if isinstance(seen.fault, WireFault) else None
            delivered = await deliver(response, broken)
            if broken is None:
                seen.status = response.status
            return delivered
        finally:
            seen.ended = loop.time()
            self.in_flight -= 1

    async def _answer(self, request: Request, seen: SeenRequest) -> Response:
        delay = self._latency * self._chance.lognormvariate(0, self._jitter)
        there = delay * self._chance.random()
        await _wait(there)
        if self._limited(asyncio.get_running_loop().time()):
            seen.fault = Throttle()
            response = self._api.answer(request, seen.fault)
        else:
            async with self._workers:
                await _wait(self._service)
                seen.fault = self._script.take(seen.endpoint, seen.page_num)
                response = self._api.answer(request, seen.fault)
        await _wait(delay - there)
        return response

    def _limited(self, now: float) -> bool:
        if self._limit_rate is None:
            return False
        second, count = self._window
        count = count + 1 if second == int(now) else 1
        self._window = (int(now), count)
        return count > self._limit_rate


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


async def _hand_over(response: Response, fault: WireFault | None) -> Response:
    """What a client would have got from the wire."""
    if fault is None:
        return response
    if isinstance(fault, Hang | Drip):
        never: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        return await never
    if isinstance(fault, Bomb | Endless):
        raise ResponseTooLarge("the simulated answer is too large")
    raise TransportError("the simulated connection broke")


def _seen(request: Request, now: float) -> SeenRequest:
    kind = kind_of(request)
    seen = SeenRequest(
        endpoint="" if kind is None else kind.endpoint,
        page_num=None,
        page_size=None,
        filters={},
        headers={
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() != "authorization"
        },
        started=now,
    )
    try:
        asked = understand(request)
    except Refused:
        return seen
    seen.page_num, seen.page_size = asked.page_num, asked.page_size
    seen.filters = {name: value for name, value in asked.filters.items() if value}
    return seen


async def serve(
    simulator: Simulator, *, ready: Callable[[Simulator], object] = lambda simulator: None
) -> None:
    """Runs *simulator* until cancelled; *ready* is called once it listens."""
    async with simulator:
        ready(simulator)
        await asyncio.get_running_loop().create_future()
