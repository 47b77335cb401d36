"""One time limit for many attempts, all equally long, with a single timer.

Knows no request. It does what ``asyncio.timeout`` does, for thousands of attempts a second: an
object and a timer for each would cost a twentieth of all the work on a page.
"""

from __future__ import annotations

import asyncio


class Deadline:
    """An attempt under way: its task, and when that is cancelled."""

    __slots__ = ("cancelling", "due", "expired", "task")

    def __init__(self, task: asyncio.Task[object], due: float) -> None:
        self.task = task
        self.due = due
        self.cancelling = task.cancelling()
        self.expired = False


class Deadlines:
    """At most *seconds* for each attempt; the timer is set for the one that is due first.

    As with ``asyncio.timeout``, a task that is also cancelled from elsewhere stays cancelled: that
    is no timeout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Deadline, None] = {}  # in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Deadline:
        """Cancel the calling task once its time is up, unless ``end`` is called before."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        deadline = Deadline(task, loop.time() + self._seconds)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.due, self._tick, loop)
        return deadline

    def end(self, deadline: Deadline) -> bool:
        """The attempt is over; call it once. True if it timed out and nothing else cancelled it."""
        del self._running[deadline]
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return deadline.expired and deadline.task.uncancel() <= deadline.cancelling

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for deadline in self._running:
            if deadline.due > loop.time():
                self._timer = loop.call_at(deadline.due, self._tick, loop)
                return
            if not deadline.expired:
                deadline.expired = True
                deadline.task.cancel()
