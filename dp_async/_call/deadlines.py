"""One time limit for many attempts, all equally long, with a single timer.

Knows no request. It does what ``asyncio.timeout`` does, for thousands of attempts a second: an
object and a timer for each would cost a twentieth of all the work on a page.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct


class Deadline(Struct, eq=False):
    """An attempt under way: its task, and when that is cancelled.

    *cancelling*: how often the task was cancelled before.
    """

    task: asyncio.Task[object]
    due: float
    cancelling: int
    expired: bool = False


class Deadlines:
    """At most *seconds* for each attempt; the timer is set for the one that is due first.

    Create it in a running loop. As with ``asyncio.timeout``, a task that is also cancelled from
    elsewhere stays cancelled: that is no timeout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._running: dict[Deadline, None] = {}  # in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Deadline:
        """Cancel the calling task once its time is up, unless ``end`` is called before."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        deadline = Deadline(task, self._loop.time() + self._seconds, task.cancelling())
        self._running[deadline] = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline.due, self._tick)
        return deadline

    def end(self, deadline: Deadline) -> bool:
        """The attempt is over; call it once. True if it timed out and nothing else cancelled it."""
        del self._running[deadline]
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return deadline.expired and deadline.task.uncancel() <= deadline.cancelling

    def _tick(self) -> None:
        self._timer = None
        for deadline in self._running:
            if deadline.due > self._loop.time():
                self._timer = self._loop.call_at(deadline.due, self._tick)
                return
            if not deadline.expired:
                deadline.expired = True
                deadline.task.cancel()
