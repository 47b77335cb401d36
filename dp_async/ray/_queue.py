"""Which worker gets which app: the largest first, and to each worker its share. It runs nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from ._apps import App


class Queue:
    """The apps that wait, and what each of the *workers* has in hand, at most *at_once* apps.

    No worker gets the next app while it has its share of all accounts in hand: else the first one
    that is ready would take all the large apps. The apps are dealt like cards: those beside each
    other in the caller's list often have as much to do.
    """

    def __init__(self, apps: Sequence[App], workers: int, at_once: int) -> None:
        largest = sorted(apps, key=lambda app: -app.size)
        self._hands = [deque(largest[number::workers]) for number in range(workers)]
        self._share = sum(app.size for app in apps) / workers
        self._apps = Counter[int]()
        self._accounts = Counter[int]()
        self.at_once = min(at_once, len(apps))
        self.left = len(apps)

    def take(self, worker: int) -> App | None:
        """The next app for *worker*; None if it has enough, or none waits.

        One whose own hand is empty takes from the fullest.
        """
        full = self._apps[worker] >= self.at_once or self._accounts[worker] >= self._share
        hand = self._hands[worker] or max(self._hands, key=len)
        if full or not hand:
            return None
        app = hand.popleft()
        self._apps[worker] += 1
        self._accounts[worker] += app.size
        return app

    def done(self, worker: int, app: App) -> None:
        """*worker* has ended with *app*."""
        self._apps[worker] -= 1
        self._accounts[worker] -= app.size
        self.left -= 1
