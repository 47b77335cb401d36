"""What is new on a list, again and again: a walk since the last watermark, then a rest.

Knows no page number and no HTTP. Nothing is open across a hand-out but a crawl, which has a window.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Generic, Self, TypeVar

from ._crawl.crawl import Crawl
from ._crawl.pager import Pager
from ._crawl.runtime import Runtime
from ._errors import (
    ClientClosed,
    ConfigError,
    PaginationError,
    RateLimited,
    ServerError,
    TransportError,
)
from ._plan.watermark import Watermark

T = TypeVar("T")

log = logging.getLogger("dp_async")

#: Seconds to which the rests grow while nothing works, unless the interval is longer.
LONGEST_REST = 30.0


class Watch(Generic[T]):
    """The rows that are new or were updated, for as long as it is iterated; it has one consumer.

    A row comes each time it is seen to have changed, in the version it then has; those of one look
    at the list newest first. A timeout round ``anext`` loses nothing. No answer, 429 and 5xx are
    waited out, with a warning in the log. Other errors are raised once; the next call waits, and
    then goes on. ``async with`` ends its requests promptly; whoever waits then gets ClientClosed.
    """

    def __init__(
        self,
        mark: Callable[[], Coroutine[object, object, Watermark | None]],
        since: Callable[[Watermark | None], Crawl[T]],
        runtime: Runtime,
        interval: float,
        watermark: Watermark | None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._mark = mark
        self._since = since
        self._runtime = runtime
        self._interval = interval
        self._jitter = jitter
        self._watermark = watermark
        self._begun = watermark is not None
        # A task of its own, as a crawl's pages are: a short timeout must not begin it ever anew.
        once = iter([True])
        self._beginning = Pager[bool, tuple[Watermark | None]](
            lambda: next(once, None),
            self._begin,
            runtime.spawn,
            concurrency=1,
            window=1,
        )
        self._crawl: Crawl[T] | None = None  # this look at the list; None between two of them
        self._items: deque[T] = deque()
        self._due = 0.0  # when to ask next, in the loop's time
        self._failures = 0  # in a row
        self._vain = 0  # looks in a row that found nothing and were not proven complete
        self._resting: asyncio.Future[None] | None = None  # has a result at the end of a rest
        self._busy = False
        self._closed = False

    @property
    def watermark(self) -> Watermark | None:
        """How far it has come: keep it, and go on with ``watch(since=...)`` after a restart.

        It moves on with the last row of each look at the list, never beyond what was delivered. So
        after a restart rows may come again, and none is left out. None before the first look.
        """
        return self._watermark

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._busy:
            raise ConfigError("a watch has one consumer: it was asked for two items at once")
        self._busy = True
        try:
            self._refuse_closed()
            while not self._has_item:
                await self._rest()
                await self._go_on()
        finally:
            self._busy = False
        return self._items.popleft()

    @property
    def _has_item(self) -> bool:
        """Whether there is one to hand out.

        The last one waits until it is known whether it ends the look, as the watermark moves on
        with it; not through an outage.
        """
        waits = 0 if self._crawl is None or self._failures else 1
        return len(self._items) > waits

    async def _rest(self) -> None:
        """Return when the next request is due. Raises ClientClosed as soon as one is not to be."""
        self._runtime.check_usable()
        loop = asyncio.get_running_loop()
        while (left := self._due - loop.time()) > 0:
            self._resting = loop.create_future()
            await self._runtime.sleep(left, self._resting)
            self._refuse_closed()

    async def _go_on(self) -> None:
        """One page further. Raises what does not pass by itself."""
        try:
            await self._step()
        except ClientClosed:
            raise
        except Exception as error:
            seconds = self._put_off(error)
            if isinstance(error, PaginationError):
                await self._drop()
            if not isinstance(error, TransportError | RateLimited | ServerError):
                raise
            log.warning("a watch waits for %.1f s: %s", seconds, error)

    async def _step(self) -> None:
        if not self._begun:
            begun = await self._beginning()
            assert begun is not None
            (self._watermark,) = begun
            self._begun = True
            self._failures = 0
            self._put_off(None)
            return
        if self._crawl is None:
            self._crawl = self._since(self._watermark)
        page = await self._crawl.next_page()
        self._failures = 0
        if page is not None:
            self._items.extend(page.content)
            return
        crawl, self._crawl = self._crawl, None
        report = crawl.report
        self._vain = self._vain + 1 if report.complete is False and not report.items else 0
        self._put_off(None)
        self._watermark = crawl.watermark  # what is held is handed out next, nothing in between

    async def _begin(self, _: bool) -> Callable[[], tuple[Watermark | None]]:
        mark = await self._mark()
        return lambda: (mark,)

    def _put_off(self, error: Exception | None) -> float:
        """The seconds until the next request is due: an interval, or more while nothing works."""
        grown = self._interval * 2.0 ** min(self._failures + self._vain, 16)
        seconds = max(self._interval, min(grown, LONGEST_REST)) * (0.9 + 0.2 * self._jitter())
        self._failures += error is not None
        self._due = asyncio.get_running_loop().time() + seconds
        return seconds

    async def _drop(self) -> None:
        """Give up this look at the list: the next one goes on from the watermark."""
        self._items.clear()
        if self._crawl is not None:
            crawl, self._crawl = self._crawl, None
            await crawl.aclose()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosed("the watch is closed")

    async def aclose(self) -> None:
        """End it; returns when none of its requests is under way. Twice is fine."""
        self._closed = True
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)
        await (self._beginning if self._crawl is None else self._crawl).aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
