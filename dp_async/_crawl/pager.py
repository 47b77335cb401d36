"""Jobs run concurrently, their results handed out one at a time, within a window.

Knows no page, no list and no HTTP: a *plan* names the next job, *fetch* does it. A task does jobs
one after another, for as long as there is one at once; nothing is open across a hand-out: no task
group, no cancel scope, no lock, no permit.

What came is made into a result as late as that costs nobody time: just before it is handed out.
Else the next results would be made first, and whoever looks at this one finds it no longer in the
processor's caches, which costs a twentieth of all that is done for a page.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Generic, TypeVar, cast

import anyio

from .._errors import ClientClosed, ConfigError

J = TypeVar("J")
P = TypeVar("P")


class _Slot(Generic[J, P]):
    """A place in the window: a job, and what came of it once it is *done*."""

    __slots__ = ("came", "done", "error", "job", "result")

    def __init__(self, job: J) -> None:
        self.job = job
        self.done = False
        self.came: Callable[[], P] | None = None  # what makes the result, until that is made
        self.result: P | None = None
        self.error: BaseException | None = None

    def make(self) -> None:
        """Make the result of what came, or the error of that."""
        came, self.came = self.came, None
        if came is not None:
            try:
                self.result = came()
            except Exception as error:
                self.error = error


class Pager(Generic[J, P]):
    """The results for each job of *plan*, in the plan's order (or as they come in).

    *fetch* does a job, and returns what makes the result of what came. *plan* is asked again
    whenever there is room; its None means: nothing now, perhaps after the next result. The end is
    reached when it has nothing and nothing is held. At most *concurrency* jobs are under way and at
    most *window* are held, done or not; both may be changed any time.

    A job's error is raised once, in its place; the next call does that job again. A caller's
    timeout or cancellation loses nothing. Raises ClientClosed when closed while waiting.
    """

    def __init__(
        self,
        plan: Callable[[], J | None],
        fetch: Callable[[J], Coroutine[object, object, Callable[[], P]]],
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
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
        self._running: dict[asyncio.Task[None], _Slot[J, P]] = {}  # what each does now
        self._failed = False
        self._filling = False
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
            while True:
                self._refuse_broken()
                self._fill()
                slot = self._ready()
                if slot is not None:
                    return self._take(slot)
                if not self._slots:
                    return None
                # A future of our own, not a task: a caller's cancellation must not reach the task.
                if self._loop is None:
                    self._loop = asyncio.get_running_loop()
                self._wake = self._loop.create_future()
                await self._wake
        finally:
            self._waiting = False

    def _ready(self) -> _Slot[J, P] | None:
        """The slot to hand out, if it is done: the first, or any if order does not matter."""
        for slot in self._slots:
            if slot.done:
                return slot
            if self._ordered:
                break
        return None

    def _take(self, slot: _Slot[J, P]) -> P:
        try:
            slot.make()
        except BaseException as raised:  # by Ctrl-C: without a result it would look like the end
            slot.error = raised
        error, slot.error = slot.error, None
        if isinstance(error, asyncio.CancelledError):  # by whoever ends the loop
            self.cancel()
            raise ClientClosed("the crawl was cancelled from outside")
        if error is not None:
            slot.done = False
            self._again.append(slot)
            self._failed = False
            raise error
        self._slots.remove(slot)
        self._fill()
        return cast("P", slot.result)

    def _fill(self) -> None:
        """Start what fits."""
        if self._filling:  # an eager task did its job while it was begun: the loop below goes on
            return
        self._filling = True
        try:
            while len(self._running) < self.concurrency and (slot := self._following()) is not None:
                task = self._spawn(self._work(slot))
                task.add_done_callback(self._ended)
                if not task.done():  # as an eager one may be, or be at another job
                    self._running.setdefault(task, slot)
        finally:
            self._filling = False

    def _following(self) -> _Slot[J, P] | None:
        """What to do now: what is to be redone once the consumer is back, else what comes next."""
        if self.closed:
            return None
        if self._again:
            return self._again.popleft() if self._waiting else None
        if self._failed or len(self._slots) >= self.window or (job := self._plan()) is None:
            return None
        slot: _Slot[J, P] = _Slot(job)  # subscripted in a call, it takes five times the time
        self._slots.append(slot)
        return slot

    async def _work(self, slot: _Slot[J, P]) -> None:
        """Do this job, then one after another, for as long as there is one at once."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._running[task] = slot  # else an eager one that is cancelled at once was never heard of
        following: _Slot[J, P] | None = slot
        while following is not None:
            slot = following
            try:
                slot.came = await self._fetch(slot.job)
            except Exception as error:
                # Without this frame, which may live on: whoever clears those of an error it has
                # caught, as unittest does, would end the task in the midst of another job.
                slot.error = error.with_traceback(
                    error.__traceback__ and error.__traceback__.tb_next
                )
            slot.done = True
            if not self._is_awaited(slot):
                slot.make()
            self._failed |= slot.error is not None  # no new jobs until the consumer has seen it
            following = self._go_on(task)

    def _is_awaited(self, slot: _Slot[J, P]) -> bool:
        """Whether the consumer waits, and nothing else has to be done before it gets this one."""
        if not (self._waiting and self._ordered):
            return self._waiting
        return next(each for each in self._slots if each is slot or not each.done) is slot

    def _go_on(self, task: asyncio.Task[None]) -> _Slot[J, P] | None:
        """What *task*, which has just done a job, does next; None to end it."""
        following: _Slot[J, P] | None = None
        try:
            if len(self._running) <= self.concurrency:
                following = self._following()
            if following is None:
                self._running.pop(task, None)
            else:
                self._running[task] = following
                self._fill()
        except Exception as error:  # a bug, and the consumer's to see: here nobody would
            following = None
            self._running.pop(task, None)
            self._bug = error
            self._rouse()
        if self._wake is not None and self._ready() is not None:
            self._rouse()
        return following

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Of a task that was cancelled, perhaps before it began: the consumer is to hear of it."""
        slot = self._running.pop(task, None)
        if slot is not None:
            slot.error = asyncio.CancelledError() if task.cancelled() else task.exception()
            slot.done = self._failed = True
            self._rouse()  # also to start what waited for this one's place

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
