"""A time limit for each of many attempts, all equally long, by one timer.

Knows no request. It is ``asyncio.timeout`` for where there are thousands a second: an object and a
timer for each cost a twentieth of all that is done for a page.
"""

from __future__ import annotations

import asyncio


class Attempt:
    """What is under way, and the task that does it."""

    __slots__ = ("cancelling", "due", "expired", "task")

    def __init__(self, task: asyncio.Task[object], due: float) -> None:
        self.task = task
        self.due = due
        self.cancelling = task.cancelling()
        self.expired = False


class Deadlines:
    """So many *seconds* for each attempt; the timer is for the one that is due first.

    As with ``asyncio.timeout``, who cancels the task besides is heard: then it is no timeout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._attempts: dict[Attempt, None] = {}  # in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Attempt:
        """From now on: the calling task is cancelled when its time is over before it has ended."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        attempt = Attempt(task, loop.time() + self._seconds)
        self._attempts[attempt] = None
        if self._timer is None:
            self._timer = loop.call_at(attempt.due, self._tick, loop)
        return attempt

    def end(self, attempt: Attempt) -> bool:
        """To be called once, however it ended. True where its time was over, and that was all."""
        del self._attempts[attempt]
        if not self._attempts and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return attempt.expired and attempt.task.uncancel() <= attempt.cancelling

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for attempt in self._attempts:
            if attempt.due > loop.time():
                self._timer = loop.call_at(attempt.due, self._tick, loop)
                return
            if not attempt.expired:
                attempt.expired = True
                attempt.task.cancel()
