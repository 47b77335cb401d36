"""The composition root: assembles the layers of a call, and owns the session and the tasks.

No endpoint, no paging, no HTTP.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from functools import partial
from typing import NamedTuple, TypeVar

from ._call.adaptive import Adaptive
from ._call.auth import Clock, Signing, hidden, identity, signed
from ._call.envelope import checked
from ._call.limiter import Limiter
from ._call.limits import adapted, is_excused, limited, timed
from ._call.observe import Observers
from ._call.rate_limiter import RateLimiter
from ._call.retry import RetryBudget, retrying
from ._call.shared import SharedLimiter
from ._call.stats import ClientStats, Tally
from ._call.transport import HttpTransport
from ._crawl.pager import ended
from ._errors import ClientClosed, ConfigError
from ._http import Call, Send, Sign
from ._settings import Settings

T = TypeVar("T")

_WRONG_LOOP = (
    "a client belongs to the event loop it was first used in: "
    "make another Client for another loop, thread or process"
)


class _Limiters(NamedTuple):
    """A client's limiters: one for every call, and one in front of it for calls that adapt."""

    every: Limiter
    adaptive: Limiter


class Core:
    """What a client and all its views share: exchange, limiters, tasks, counts, observers."""

    def __init__(
        self,
        settings: Settings,
        send: Send,
        sign: Sign,
        owned: HttpTransport | None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self.settings = settings
        self.tally = Tally()
        self.tasks: set[asyncio.Task[object]] = set()
        self.observers = Observers()
        self.adaptive = Adaptive(settings.max_in_flight)
        self._send = send
        self._owned = owned
        self._sign = sign
        self._rate_limiter = rate_limiter
        self._clock = Clock()
        self._retry_budget = RetryBudget.of(settings.max_in_flight, settings.retry.attempts)
        self._limiters: _Limiters | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._sleeping: set[asyncio.Future[None]] = set()
        self._closed = False

    def check_usable(self) -> None:
        """Raise ClientClosed if closed, ConfigError outside the event loop of the first use."""
        if self._closed:
            raise ClientClosed("the client is closed: use it within its `async with`")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        elif self._loop is not loop:
            raise ConfigError(_WRONG_LOOP)

    def call(self, settings: Settings, tally: Tally, adaptive: bool) -> Call:
        """The layers of a call, from the inside out. Raises as ``check_usable``.

        Signing is inside all waiting, so that the timestamp of each attempt is fresh. The timeout,
        the retry policy and the cap on waits are those of *settings*, a view's own.
        """
        self.check_usable()
        if self._process != os.getpid():  # here, not in check_usable: a system call for each page
            raise ConfigError(_WRONG_LOOP)
        limiters, cap = self._client_limiters(), settings.retry.cap
        send = timed(self._send, settings.timeout)
        call = checked(send, self.observers, hidden(settings), time.time)
        call = signed(call, Signing(self._sign, identity(settings)), self._clock)
        call = limited(call, limiters.every, tally, self.adaptive if adaptive else None, cap=cap)
        if adaptive:
            call = adapted(call, limiters.adaptive, self.adaptive)
        return retrying(
            call,
            settings.retry,
            tally,
            self._retry_budget,
            clock=limiters.every.clock,
            sleep=self.sleep,
            excused=partial(is_excused, limiter=limiters.every, cap=cap),
        )

    def _client_limiters(self) -> _Limiters:
        """The limiters, created at the first call, when a loop is running."""
        if self._limiters is None:
            self._limiters = _Limiters(self._limiter(), Limiter(self.settings.max_in_flight))
            self._limiters.adaptive.limit = self.adaptive.limit
        return self._limiters

    def _limiter(self) -> Limiter:
        ceiling, rate, retry = self.settings.max_in_flight, self.settings.rate, self.settings.retry
        if self._rate_limiter is None:
            return Limiter(ceiling, rate=rate, base=retry.base, cap=retry.cap)
        return SharedLimiter(
            ceiling,
            rate_limiter=self._rate_limiter,
            spawn=self.spawn,
            rate=rate,
            base=retry.base,
            cap=retry.cap,
        )

    @property
    def stats(self) -> ClientStats:
        """The counts of all calls, and what the limiter learned."""
        tally = self.tally
        limit = pace = None
        pause = 0.0
        if self._limiters is not None and not self._closed:
            every = self._limiters.every
            (limit, pace), pause = every.learned, every.pause
        return ClientStats(
            requests=tally.requests,
            retries=tally.retries,
            throttles=tally.throttles,
            in_flight=tally.in_flight,
            limit=limit,
            pace=pace,
            pause=pause,
        )

    async def sleep(self, seconds: float, until: asyncio.Future[None] | None = None) -> None:
        """Return after *seconds*, or as soon as *until* has a result or the client is closed."""
        self.check_usable()
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
        """A task that ``aclose`` cancels if it has not ended by then."""
        assert self._loop is not None
        task = self._loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def aclose(self) -> None:
        """End all tasks, waits and sleeps, and close the transport if the client owns it.

        Calls in flight end with ClientClosed. Closing twice is fine. Raises ConfigError outside the
        client's event loop.
        """
        if self._loop is not None and not self._closed:
            self.check_usable()
        self._closed = True
        for task in self.tasks:
            task.cancel()
        for limiter in self._limiters or ():
            limiter.close()
        for over in self._sleeping:
            _wake(over)
        await ended(list(self.tasks))
        if self._owned is not None:
            await self._owned.aclose()


def _wake(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


class View:
    """One account's use of a client, with its own *settings*: the ``Runtime`` of its crawls."""

    def __init__(self, core: Core, settings: Settings) -> None:
        self.core = core
        self.settings = settings

    @property
    def max_in_flight(self) -> int:
        return self.settings.max_in_flight

    @property
    def scope(self) -> tuple[str, ...]:
        settings = self.settings
        return settings.base_url, settings.app_id, settings.account or ""

    def check_usable(self) -> None:
        self.core.check_usable()

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
