"""What is new on a list, poll after poll: each poll is a crawl since the last watermark.

Knows no page number and no HTTP. Nothing is open while the consumer has control but a crawl, whose
memory is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar

from ._call.observe import log
from ._crawl.crawl import Crawl
from ._crawl.pager import Pager
from ._crawl.runtime import Runtime
from ._errors import (
    ClientClosed,
    ConfigError,
    PaginationError,
    may_pass,
)
from ._misuse import AsyncEntered, AsyncIterated
from ._page.reader import BadItem
from ._plan.watermark import Watermark

T = TypeVar("T")

#: Seconds to which the backoff grows, unless the interval is longer.
MAX_BACKOFF = 30.0
#: Bad rows that are remembered, so that the callback gets each of them once.
REMEMBERED = 10_000


class Schedule:
    """When the next request is due: exponential backoff from *interval* on, jitter of ±10 %.

    *interval* is in seconds, *due* in the loop's time. *failures* are errors in a row; *fruitless*
    are polls in a row that found nothing and were not complete.
    """

    def __init__(self, interval: float, jitter: Callable[[], float]) -> None:
        self.interval = interval
        self._jitter = jitter
        self.due = 0.0
        self.failures = 0
        self.fruitless = 0

    def backoff(self, now: float) -> float:
        """Set *due*; the seconds until then: an interval, or more while polls do not work."""
        grown = self.interval * 2.0 ** min(self.failures + self.fruitless, 16)
        seconds = max(self.interval, min(grown, MAX_BACKOFF)) * (0.9 + 0.2 * self._jitter())
        self.due = now + seconds
        return seconds


class BadRows:
    """Calls *callback* with each bad row once, and again when the row has changed."""

    def __init__(self, callback: Callable[[BadItem], object]) -> None:
        self._callback = callback
        self._reported: dict[int | bytes, int] = {}  # the hash of each row, seen last at the end

    def report(self, rows: Iterable[BadItem]) -> None:
        """Call it for those of *rows* that are new; one for which it raises comes again."""
        for row in rows:
            key = row.raw if row.id is None else row.id
            version = hash(row.raw)
            if self._reported.get(key) != version:
                self._callback(row)
            self._reported.pop(key, None)
            self._reported[key] = version
            if len(self._reported) > REMEMBERED:
                del self._reported[next(iter(self._reported))]


class Watch(AsyncIterated, AsyncEntered, Generic[T]):
    """The rows that are new or were updated, for as long as it is iterated; it has one consumer.

    A row comes each time a poll sees that it changed, in its version of that moment; the rows of
    one poll come newest first. A timeout round ``anext`` loses nothing. Without an answer, and
    after 429 or 5xx, the watch logs a warning and tries again later. Other errors are raised once;
    the next call waits, and then goes on. ``async with`` ends its requests promptly; a waiting
    ``anext`` then raises ClientClosed.
    """

    def __init__(
        self,
        mark: Callable[[], Coroutine[object, object, Watermark | None]],
        since: Callable[[Watermark | None], Crawl[T]],
        runtime: Runtime,
        interval: float,
        watermark: Watermark | None,
        bad_rows: BadRows | None = None,
        name: str = "",
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._mark = mark
        self._since = since
        self._runtime = runtime
        self._schedule = Schedule(interval, jitter)
        self._watermark = watermark
        self._bad_rows = bad_rows
        self._name = name
        self._begun = watermark is not None
        # The first read runs in a task, as a crawl's pages do: a short timeout must not restart it.
        once = iter([True])
        self._first_read = Pager[bool, tuple[Watermark | None]](
            lambda: next(once, None),
            self._read_mark,
            runtime.spawn,
            concurrency=1,
            window=1,
        )
        self._crawl: Crawl[T] | None = None  # the poll in progress; None between two polls
        self._items: deque[T] = deque()
        self._waking: asyncio.Future[None] | None = None  # a result ends the wait for the next poll
        self._busy = False
        self._closed = False

    @property
    def watermark(self) -> Watermark | None:
        """Where to go on after a restart, with ``watch(since=...)``; None before the first read.

        It advances with the last row of each poll, never beyond what was delivered. So after a
        restart rows may come again, and none is left out.
        """
        return self._watermark

    def __repr__(self) -> str:
        schedule = self._schedule
        state = "no rows so far" if self._begun else "not started"
        if self._watermark is not None and self._watermark.updated:
            newest = datetime.fromtimestamp(self._watermark.updated, UTC)
            state = f"delivered up to {newest:%Y-%m-%d %H:%M:%S}"
        if schedule.failures:
            state += f", {schedule.failures} failed in a row"
        if self._closed:
            state = "closed"
        return f"<Watch of {self._name}, every {schedule.interval:g} s: {state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._busy:
            raise ConfigError(
                "a watch has one consumer: it was asked for two items at once; "
                "let one task iterate it, and hand rows on by a queue"
            )
        self._busy = True
        try:
            self._check_open()
            while not self._has_item:
                await self._wait_until_due()
                await self._poll()
        finally:
            self._busy = False
        return self._items.popleft()

    @property
    def _has_item(self) -> bool:
        """Whether an item can be delivered.

        Hold back the last item until the poll is known to be over: delivering it advances the
        watermark. During an outage it is delivered, and the watermark stays.
        """
        kept = 0 if self._crawl is None or self._schedule.failures else 1
        return len(self._items) > kept

    async def _wait_until_due(self) -> None:
        """Return when the next request is due. Raises ClientClosed as soon as this is closed."""
        self._runtime.check_usable()
        loop = asyncio.get_running_loop()
        while (left := self._schedule.due - loop.time()) > 0:
            self._waking = loop.create_future()
            await self._runtime.sleep(left, self._waking)
            self._check_open()

    async def _poll(self) -> None:
        """Read one more page. Raises errors that do not pass by themselves."""
        try:
            await self._read()
        except ClientClosed:
            raise
        except Exception as error:
            seconds = self._backoff()
            self._schedule.failures += 1
            if isinstance(error, PaginationError):
                await self._drop()
            if not may_pass(error):
                raise
            log(logging.WARNING, "a watch waits for %.1f s: %s", seconds, error)

    async def _read(self) -> None:
        schedule = self._schedule
        if not self._begun:
            first = await self._first_read()
            assert first is not None
            (self._watermark,) = first
            self._begun = True
            schedule.failures = 0
            self._backoff()
            return
        if self._crawl is None:
            self._crawl = self._since(self._watermark)
        page = await self._crawl.next_page()
        schedule.failures = 0
        if page is not None:
            self._items.extend(page.content)
        if self._bad_rows is not None:
            self._bad_rows.report(self._crawl.bad_items)
        if page is not None:
            return
        crawl, self._crawl = self._crawl, None
        report = crawl.report
        is_fruitless = report.complete is False and not report.items
        schedule.fruitless = schedule.fruitless + 1 if is_fruitless else 0
        self._backoff()
        self._watermark = crawl.watermark  # at most one item is left, and it is delivered next

    async def _read_mark(self, _: bool) -> Callable[[], tuple[Watermark | None]]:
        mark = await self._mark()
        return lambda: (mark,)

    def _backoff(self) -> float:
        return self._schedule.backoff(asyncio.get_running_loop().time())

    async def _drop(self) -> None:
        """Give up this poll: the next one starts from the watermark."""
        self._items.clear()
        if self._crawl is not None:
            crawl, self._crawl = self._crawl, None
            await crawl.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the watch is closed")

    async def aclose(self) -> None:
        """End the watch; returns when none of its requests is in flight. Twice is fine."""
        self._closed = True
        if self._waking is not None and not self._waking.done():
            self._waking.set_result(None)
        await (self._first_read if self._crawl is None else self._crawl).aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
