"""Jobs run concurrently, their results handed out one at a time, within a window.

Knows no page, no list and no HTTP: a *plan* names the next job, *fetch* does it. One one-shot task
a job; nothing is open across a hand-out: no task group, no cancel scope, no lock, no permit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Generic, TypeVar

import anyio

from ._errors import ClientClosed, ConfigError

J = TypeVar("J")
P = TypeVar("P")


class _Slot(Generic[J, P]):
    """A place in the window: a job, and the task that does it (None: to be started, or redone)."""

    __slots__ = ("job", "task")

    def __init__(self, job: J) -> None:
        self.job = job
        self.task: asyncio.Task[P] | None = None


class Pager(Generic[J, P]):
    """The results of *fetch* for each job of *plan*, in the plan's order (or as they come in).

    *plan* is asked again whenever there is room; its None means: nothing now, perhaps after the
    next result. The end is reached when it has nothing and nothing is held. At most *concurrency*
    jobs are under way and at most *window* are held, done or not; both may be changed any time.

    A job's error is raised once, in its place; the next call does that job again. A caller's
    timeout or cancellation loses nothing. Raises ClientClosed when closed while waiting.
    """

    def __init__(
        self,
        plan: Callable[[], J | None],
        fetch: Callable[[J], Coroutine[object, object, P]],
        spawn: Callable[[Coroutine[object, object, P]], asyncio.Task[P]],
        *,
        concurrency: int,
        window: int,
        ordered: bool = True,
    ) -> None:
        self._plan = plan
        self._fetch = fetch
        self._spawn = spawn
        self.concurrency = concurrency
        self.window = window
        self._ordered = ordered
        self._slots: deque[_Slot[J, P]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Future[None] | None = None
        self._again: deque[_Slot[J, P]] = deque()  # failed, to be done once more
        self._running: set[asyncio.Task[P]] = set()
        self._failed = False
        self._bug: Exception | None = None
        self._waiting = False
        self.closed = False

    @property
    def running(self) -> bool:
        """Whether any task is under way."""
        return any(not task.done() for task in self._running)

    async def __call__(self) -> P | None:
        """The next result, or None at the end."""
        if self._waiting:
            raise ConfigError(
                "a crawl has one consumer: it was asked for the next page twice at once"
            )
        self._waiting = True
        try:
            return await self._next()
        finally:
            self._waiting = False

    async def _next(self) -> P | None:
        self._refuse_broken()
        self._fill()
        while (slot := self._ready()) is None:
            if not self._slots:
                if not self._running:
                    return None
                # All were handed out before the loop has come to their callbacks.
                self._running.clear()
                self._fill()
                continue
            # A future of our own, not the task: a caller's cancellation must not reach the task.
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._wake = self._loop.create_future()
            await self._wake
            self._refuse_broken()
            self._fill()
        return self._take(slot)

    def _ready(self) -> _Slot[J, P] | None:
        """The slot to hand out, if it is done: the first, or any if order does not matter."""
        for slot in self._slots:
            if slot.task is not None and slot.task.done():
                return slot
            if self._ordered:
                break
        return None

    def _take(self, slot: _Slot[J, P]) -> P:
        task = slot.task
        assert task is not None
        if task.cancelled():  # by whoever ends the loop
            self.cancel()
            raise ClientClosed("the crawl was cancelled from outside")
        if (error := task.exception()) is not None:
            slot.task = None
            self._again.append(slot)
            self._running.discard(task)  # its callback may be still to come: it is dealt with
            self._failed = False
            raise error
        self._slots.remove(slot)
        self._fill()
        return task.result()

    def _fill(self) -> None:
        """Start what fits: what is to be redone, if the consumer is back; then what comes next."""
        if self.closed:
            return
        while self._again and self._waiting and len(self._running) < self.concurrency:
            self._start(self._again.popleft())
        if self._failed:
            return
        while len(self._running) < self.concurrency and len(self._slots) < self.window:
            if (job := self._plan()) is None:
                break
            slot: _Slot[J, P] = _Slot(job)  # subscripted in a call, it takes five times the time
            self._slots.append(slot)
            self._start(slot)

    def _start(self, slot: _Slot[J, P]) -> None:
        slot.task = self._spawn(self._fetch(slot.job))
        self._running.add(slot.task)
        slot.task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[P]) -> None:
        if task not in self._running:
            return
        self._running.discard(task)
        # Asking for the exception also keeps asyncio from reporting it as never retrieved.
        if task.cancelled() or task.exception() is not None:
            self._failed = True  # no new jobs until the consumer has seen the error
        try:
            self._fill()
        except Exception as error:  # a bug, and the consumer's to see: here nobody would
            self._bug = error
            self._rouse()
        if self._wake is not None and self._ready() is not None:
            self._rouse()

    def _rouse(self) -> None:
        """Let a consumer that waits look again."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._wake = None

    def _refuse_broken(self) -> None:
        if self.closed:
            raise ClientClosed("the crawl is closed")
        if self._bug is not None:
            raise self._bug

    def cancel(self) -> None:
        """Close, and cancel what is under way, without waiting for it."""
        self.closed = True
        self._rouse()
        for task in self._running:
            task.cancel()

    async def aclose(self) -> None:
        """Close, and wait until nothing is under way, even if the caller is cancelled meanwhile."""
        self.cancel()
        await ended(self._running)


async def ended(tasks: Collection[asyncio.Task[P]]) -> None:
    """Return when all *tasks* have ended; a cancellation that comes meanwhile is raised then.

    The shield keeps anyio's cancel scopes out, which would cancel every wait anew.
    """
    if all(task.done() for task in tasks):
        return  # the usual end; the first scope of a process imports all of anyio's backend
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
