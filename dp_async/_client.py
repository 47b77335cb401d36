"""The composition root: binds the endpoints to a ``Call``, owns the session and the tasks.

No paging, no parsing, no HTTP. Everything the layers need is put together here and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from msgspec import Struct

from ._adaptive import Adaptive
from ._auth import Clock, Md5Signer, Signing, hidden, identity, signed
from ._endpoints import MESSAGES, WORKS, ListEndpoint
from ._envelope import checked
from ._errors import ClientClosed, ConfigError
from ._gate import Gate
from ._http import Call, Send, Sign
from ._limits import adapted, limited, timed
from ._listing import Listing
from ._models import Message, Page, ReadStatus, SortOrder, Work, WorkStatus
from ._observe import Observers
from ._pager import ended
from ._report import Attempt, ClientStats, Tally
from ._retry import Budget, retrying
from ._settings import CrawlOptions, Settings, instance
from ._transport import HttpTransport

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
R = TypeVar("R", bound=Struct)


_ELSEWHERE = (
    "a client belongs to the event loop it was first used in: "
    "make another Client for another loop, thread or process"
)


class _Core:
    """What a client and all its views share: the exchange, the gate, the tasks, the counts."""

    def __init__(
        self, settings: Settings, send: Send, sign: Sign, owned: HttpTransport | None
    ) -> None:
        self.settings = settings
        self.tally = Tally()
        self.tasks: set[asyncio.Task[object]] = set()
        self.observers = Observers()
        self.adaptive = Adaptive(settings.max_in_flight)
        self._send = send
        self._owned = owned
        self._sign = sign
        self._clock = Clock()
        self._budget = Budget()
        self._gates: tuple[Gate, Gate] | None = None  # for all calls; for those that adapt, before
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._sleeping: set[asyncio.Future[None]] = set()
        self._closed = False

    def enter(self) -> None:
        """Refuse to work when closed, or outside the loop and the process of the first use."""
        if self._closed:
            raise ClientClosed("the client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        elif self._loop is not loop:
            raise ConfigError(_ELSEWHERE)

    def call(self, settings: Settings, tally: Tally, adaptive: bool) -> Call:
        """The way of a request, inside out: signed after all waiting, so that its time is fresh."""
        self.enter()
        if self._process != os.getpid():  # asked here, and not for each page: it is a system call
            raise ConfigError(_ELSEWHERE)
        gate, narrow = self._doors()
        call = checked(timed(self._send, settings.timeout), self.observers, hidden(settings))
        call = signed(call, Signing(self._sign, identity(settings)), self._clock)
        if adaptive:
            call = adapted(limited(call, gate, tally, self.adaptive), narrow, self.adaptive)
        else:
            call = limited(call, gate, tally)
        return retrying(
            call, settings.retry, tally, self._budget, clock=time.monotonic, sleep=self.sleep
        )

    def _doors(self) -> tuple[Gate, Gate]:
        if self._gates is None:  # a loop is running only now
            settings, retry = self.settings, self.settings.retry
            self._gates = (
                Gate(settings.max_in_flight, rate=settings.rate, base=retry.base, cap=retry.cap),
                Gate(settings.max_in_flight),
            )
            self._gates[1].room = self.adaptive.limit
        return self._gates

    async def sleep(self, seconds: float, until: asyncio.Future[None] | None = None) -> None:
        """Sleep, but no longer than *until* that has a result, or the client is closed."""
        self.enter()
        assert self._loop is not None
        over = self._loop.create_future() if until is None else until
        timer = self._loop.call_later(seconds, _wake, over)
        self._sleeping.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._sleeping.discard(over)

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def aclose(self) -> None:
        if self._loop is not None and not self._closed:
            self.enter()
        self._closed = True
        for task in self.tasks:
            task.cancel()
        for gate in self._gates or ():
            gate.close()
        for over in self._sleeping:
            _wake(over)
        await ended(list(self.tasks))
        if self._owned is not None:
            await self._owned.aclose()


def _wake(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


class _View:
    """One account's way through the core: what a listing runs on."""

    def __init__(self, core: _Core, settings: Settings) -> None:
        self.core = core
        self.settings = settings

    @property
    def max_in_flight(self) -> int:
        return self.settings.max_in_flight

    @property
    def scope(self) -> tuple[str, ...]:
        settings = self.settings
        return settings.base_url, settings.app_id, settings.account or ""

    def enter(self) -> None:
        self.core.enter()

    @property
    def adaptive_limit(self) -> int:
        return self.core.adaptive.limit

    def tally(self) -> Tally:
        return Tally(self.core.tally)

    def call(self, tally: Tally, *, adaptive: bool = False) -> Call:
        return self.core.call(self.settings, tally, adaptive)

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        return self.core.spawn(work)

    async def sleep(self, seconds: float, until: asyncio.Future[None]) -> None:
        await self.core.sleep(seconds, until)

    def clock(self) -> float:
        return time.monotonic()


class Client:
    """The API, for one app: its endpoints as coroutines, its lists as listings.

    ``async with Client(settings) as client``, or ``await client.aclose()`` at the end. It belongs
    to the event loop it is first used in; any number of tasks may use it at once, and it may be
    entered in one task and left in another.

    - *session*: an ``aiohttp.ClientSession`` of yours, for a proxy or an own CA; it stays yours.
    - *sign*: another way to sign than md5 by ``Settings.auth_template``.
    - *send*: another HTTP exchange, or a wrapper round an ``HttpTransport``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        sign: Sign | None = None,
        send: Send | None = None,
    ) -> None:
        instance("settings", settings, Settings)
        if session is not None and send is not None:
            raise ConfigError("session and send exclude each other: a send has its own exchange")
        signer = sign or Md5Signer(
            app_id=settings.app_id,
            app_secret=settings.app_secret,
            template=settings.auth_template,
            unit=settings.timestamp_unit,
        )
        own = HttpTransport(settings, session)  # opens nothing until it is used
        core = _Core(settings, send or own, signer, None if send else own)
        self._view = _View(core, settings)
        self._owner = True

    @classmethod
    def from_env(cls) -> Self:
        """A client with ``Settings.from_env()``. Raises ConfigError, naming what is missing."""
        return cls(Settings.from_env())

    def for_account(self, account: str | None) -> Self:
        """The same client, asking for another sub-account (None: the main account).

        A cheap view: connections, limits and tasks are shared, and closing it closes nothing.
        """
        settings = self._view.settings.with_account(account)
        view = object.__new__(type(self))
        view._view = _View(self._view.core, settings)
        view._owner = False
        return view

    @property
    def stats(self) -> ClientStats:
        """What the client and all its views have sent."""
        tally = self._view.core.tally
        return ClientStats(
            requests=tally.requests,
            retries=tally.retries,
            throttles=tally.throttles,
            in_flight=tally.in_flight,
        )

    def observe(self, told: Callable[[Attempt], object]) -> None:
        """Have *told* called with each request's ``Attempt`` once it was answered or has failed.

        Those of all views, as long as the client lives. It is called inside the event loop and must
        not wait; an exception it raises is logged and dropped. Raises ConfigError for what cannot
        be called.
        """
        if not callable(told):
            raise ConfigError(f"observe() needs a callable, not {type(told).__name__}")
        self._view.core.observers.add(told)

    async def work_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        name: str | None = None,
        sort: SortOrder | str | None = None,
        status: WorkStatus | str | None = None,
    ) -> Page[Work]:
        """One page of the works; *page_num* counts from 1. Filters as in ``works``."""
        return await self.works(name=name, sort=sort, status=status).page(page_num, page_size)

    async def msg_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        read_status: ReadStatus | str | None = None,
    ) -> Page[Message]:
        """One page of the messages; *page_num* counts from 1. Filters as in ``messages``."""
        return await self.messages(read_status=read_status).page(page_num, page_size)

    def works(
        self,
        *,
        name: str | None = None,
        status: WorkStatus | str | None = None,
        sort: SortOrder | str | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Work]:
        """The account's works, newest update first unless *sort* says otherwise.

        *name* is searched for inside the names; *status* must match. Sends nothing until iterated.
        Raises ConfigError for a filter of the wrong type.
        """
        return self._list(WORKS, options, name=name, status=status, sort=sort)

    def messages(
        self,
        *,
        read_status: ReadStatus | str | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Message]:
        """The account's messages, newest first. Sends nothing until iterated.

        Raises ConfigError for a filter of the wrong type.
        """
        return self._list(MESSAGES, options, read_status=read_status)

    def _list(
        self, endpoint: ListEndpoint[R, Struct], options: CrawlOptions | None, **filters: object
    ) -> Listing[R]:
        options = CrawlOptions() if options is None else options
        instance("options", options, CrawlOptions)
        return Listing(endpoint, endpoint.ask(filters), endpoint.model, options, self._view)

    async def aclose(self) -> None:
        """End what is under way and close the session, unless it was passed in. Twice is fine."""
        if self._owner:
            await self._view.core.aclose()

    async def __aenter__(self) -> Self:
        self._view.enter()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client({self._view.settings!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client holds connections and cannot be pickled: pickle its Settings")
