"""Concurrent jobs, ordered results, bounded memory.

Knows no page, no list and no HTTP: *plan* names the next job, *fetch* does it. A worker task does
one job after another and ends when there is none. No task group, cancel scope or lock stays open
while the consumer has control (PEP 789).

A result that the consumer waits for is built (a page is decoded) just before delivery: building
ahead evicts the current page from the CPU cache (about 5 % a page). All others are built as soon as
they arrive, in time nobody waits for.
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


AT_ONCE = 8
"""Results that were ready which the consumer gets before others may run."""


class _Slot(Generic[J, P]):
    """A job in the window and its outcome: once it is *done*, a result or an error."""

    __slots__ = ("builder", "done", "error", "job", "result")

    def __init__(self, job: J) -> None:
        self.job = job
        self.done = False
        self.builder: Callable[[], P] | None = None  # until the result is built
        self.result: P | None = None
        self.error: BaseException | None = None

    def build(self) -> None:
        """Build the result, if that is still to be done; an exception becomes the job's error."""
        builder, self.builder = self.builder, None
        if builder is not None:
            try:
                self.result = builder()
            except Exception as error:
                self.error = error


class _Window(Generic[J, P]):
    """The jobs begun and not yet delivered, in the plan's order: at most *size*, done or not.

    *failed* jobs are to be done again. *has_error*: the consumer has not seen an error yet.
    """

    def __init__(self, plan: Callable[[], J | None], size: int, ordered: bool) -> None:
        self.plan = plan
        self.size = size
        self._ordered = ordered
        self.slots: deque[_Slot[J, P]] = deque()
        self.failed: deque[_Slot[J, P]] = deque()
        self.has_error = False

    def next_slot(self, consumer_waits: bool) -> _Slot[J, P] | None:
        """The next job to begin, if any: a failed one once the consumer is back, else a new one."""
        if self.failed:
            return self.failed.popleft() if consumer_waits else None
        if self.has_error or len(self.slots) >= self.size or (job := self.plan()) is None:
            return None
        slot: _Slot[J, P] = _Slot(job)  # subscripting the class in the call takes 5 times as long
        self.slots.append(slot)
        return slot

    def ready(self) -> _Slot[J, P] | None:
        """The slot to deliver, if it is done: the first, or any if order does not matter."""
        for slot in self.slots:
            if slot.done:
                return slot
            if self._ordered:
                break
        return None

    def is_next(self, slot: _Slot[J, P]) -> bool:
        """Whether no unfinished job has to be delivered before *slot*."""
        for other in self.slots if self._ordered else ():
            if other is slot:
                break
            if not other.done:
                return False
        return True


class Pager(Generic[J, P]):
    """The results of the jobs of *plan*, in the plan's order (or as they arrive).

    *fetch* does a job and returns a function that builds its result. *plan* is called whenever the
    window has space; its None means nothing now, perhaps more after the next result. The end is
    reached when the plan has nothing and the window is empty. At most *concurrency* jobs are in
    progress and at most *window* are begun and not delivered; set ``concurrency`` and
    ``window.size`` at any time.

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
        self._fetch = fetch
        self._spawn = spawn
        self.concurrency = concurrency
        self.window: _Window[J, P] = _Window(plan, window, ordered)
        self._workers: dict[asyncio.Task[None], _Slot[J, P]] = {}  # each with its current job
        self._filling = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Future[None] | None = None
        self._waiting = False  # whether the consumer is in __call__
        self._at_once = 0  # results since others could run
        self._bug: Exception | None = None
        self.closed = False

    @property
    def running(self) -> bool:
        """Whether any worker task is alive."""
        return any(not task.done() for task in self._workers)

    async def __call__(self) -> P | None:
        """The next result, or None at the end. Lets others run after a few that were ready."""
        if self._waiting:
            raise ConfigError(
                "a crawl has one consumer: it was asked for the next page twice at once; "
                "let one task iterate it, and hand rows on by a queue"
            )
        self._waiting = True
        try:
            while True:
                self._check_usable()
                self._fill()
                slot = self.window.ready()
                if slot is not None and self._at_once < AT_ONCE:
                    self._at_once += 1
                    return self._take(slot)
                if slot is not None:
                    self._at_once = 0
                    await asyncio.sleep(0)
                    continue
                self._at_once = 0
                if not self.window.slots:
                    return None
                # A future and not a worker: cancelling the caller must not cancel the job.
                if self._loop is None:
                    self._loop = asyncio.get_running_loop()
                self._wake = self._loop.create_future()
                await self._wake
        finally:
            self._waiting = False

    def _take(self, slot: _Slot[J, P]) -> P:
        """The result of *slot*, which leaves the window; or its error, and the job is redone."""
        window = self.window
        try:
            slot.build()
        except BaseException as raised:  # Ctrl-C: no result would look like the end
            slot.error = raised
        error, slot.error = slot.error, None
        if isinstance(error, asyncio.CancelledError):  # from outside, as when the loop shuts down
            self.cancel()
            raise ClientClosed("the crawl was cancelled from outside")
        if error is not None:
            slot.done = False
            window.failed.append(slot)
            window.has_error = False
            raise error
        window.slots.remove(slot)
        self._fill()
        return cast("P", slot.result)

    def _fill(self) -> None:
        """Start workers until the concurrency or the window is used up, or no job is left."""
        if self._filling:  # called by an eager worker: the loop of the outer call goes on
            return
        self._filling = True
        try:
            while len(self._workers) < self.concurrency and not self.closed:
                slot = self.window.next_slot(self._waiting)
                if slot is None:
                    break
                task = self._spawn(self._work(slot))
                task.add_done_callback(self._worker_ended)
                if not task.done():  # an eager worker may have ended, or be at another job
                    self._workers.setdefault(task, slot)
        finally:
            self._filling = False

    async def _work(self, slot: _Slot[J, P]) -> None:
        """A worker: does this job, and then one after another while there is one at once."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._workers[task] = slot  # an eager worker cancelled at once would go unnoticed otherwise
        following: _Slot[J, P] | None = slot
        while following is not None:
            slot = following
            try:
                slot.builder = await self._fetch(slot.job)
            except Exception as error:
                # Drop this frame: clearing the frames of a caught error, as unittest does, would
                # end this worker in the middle of its next job.
                slot.error = error.with_traceback(
                    error.__traceback__ and error.__traceback__.tb_next
                )
            slot.done = True
            if not (self._waiting and self.window.is_next(slot)):
                slot.build()
            if slot.error is not None:
                self.window.has_error = True  # no new job starts until the consumer has seen it
            following = self._next_job(task)

    def _next_job(self, task: asyncio.Task[None]) -> _Slot[J, P] | None:
        """The next job of worker *task*, which has just done one; None to end it."""
        following: _Slot[J, P] | None = None
        try:
            if len(self._workers) <= self.concurrency and not self.closed:
                following = self.window.next_slot(self._waiting)
            if following is None:
                self._workers.pop(task, None)
            else:
                self._workers[task] = following
                self._fill()
        except Exception as error:  # a bug in the plan: raised to the consumer, who would hang
            following = None
            self._workers.pop(task, None)
            self._bug = error
            self._notify()
        if self._wake is not None and self.window.ready() is not None:
            self._notify()
        return following

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        """Deliver the end of a worker cancelled in a job, perhaps before it began, as an error."""
        slot = self._workers.pop(task, None)
        if slot is not None:
            slot.error = asyncio.CancelledError() if task.cancelled() else task.exception()
            slot.done = self.window.has_error = True
            self._notify()  # also to start a job that waited for this worker's place

    def _notify(self) -> None:
        """Wake the consumer, if it waits."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._wake = None

    def _check_usable(self) -> None:
        if self.closed:
            raise ClientClosed("the crawl is closed")
        if self._bug is not None:
            raise self._bug

    def cancel(self) -> None:
        """Close, and cancel all workers without waiting for them."""
        if not self.closed:
            self.closed = True
            # Both are methods of the owner, which holds this pager. Without that cycle, all that a
            # crawl holds is freed with the last reference to it, not by the garbage collector.
            del self._fetch, self.window.plan
        self._notify()
        for task in self._workers:
            task.cancel()

    async def aclose(self) -> None:
        """Close, and wait until all workers have ended, even if the caller is cancelled."""
        self.cancel()
        await ended(self._workers)


async def ended(tasks: Collection[asyncio.Task[P]]) -> None:
    """Return when all *tasks* have ended; a cancellation while waiting is raised after that.

    The shield keeps out anyio's cancel scopes, which cancel every wait again.
    """
    if all(task.done() for task in tasks):
        return  # the usual case; the first scope of a process imports all of anyio's backend
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
