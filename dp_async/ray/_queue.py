"""Which worker gets which app: the largest first, and to each worker its share. It runs nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from ._apps import App


class Queue:
    """The apps that wait, and what each of the *workers* is syncing, at most *at_once* apps.

    The apps are assigned round-robin, the largest first: neighbours in the caller's list may well
    have changed together. No worker gets the next app while it syncs its share of all accounts:
    else the first one that is ready would take the apps of all.
    """

    def __init__(self, apps: Sequence[App], workers: int, at_once: int) -> None:
        largest = sorted(apps, key=lambda app: -app.size)
        self._waiting = [deque(largest[number::workers]) for number in range(workers)]
        self._share = sum(app.size for app in apps) / workers
        self._apps = Counter[int]()
        self._accounts = Counter[int]()
        self.at_once = min(at_once, len(apps))
        self.left = len(apps)

    def take(self, worker: int) -> App | None:
        """The next app for *worker*; None if it has enough, or none waits.

        A worker whose own apps are all taken gets one of the worker with the most that wait.
        """
        full = self._apps[worker] >= self.at_once or self._accounts[worker] >= self._share
        waiting = self._waiting[worker] or max(self._waiting, key=len)
        if full or not waiting:
            return None
        app = waiting.popleft()
        self._apps[worker] += 1
        self._accounts[worker] += app.size
        return app

    def done(self, worker: int, app: App) -> None:
        """*worker* has ended with *app*."""
        self._apps[worker] -= 1
        self._accounts[worker] -= app.size
        self.left -= 1
