"""Writes that were made and that a server does not show yet.

It keeps them in order; when each becomes visible is decided outside.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class Write(NamedTuple, Generic[V]):
    """The row *key* becomes *value* at the moment *due*; None deletes it."""

    due: float
    serial: int
    key: int
    value: V | None


class PendingWrites(Generic[V]):
    """A queue of writes by the moment at which they become visible."""

    def __init__(self) -> None:
        self._heap: list[Write[V]] = []
        self._newest: dict[int, Write[V]] = {}  # by key
        self._serial = 0

    def __contains__(self, key: int) -> bool:
        return key in self._newest

    def newest(self, key: int) -> V | None:
        """The row as the last pending write leaves it. Raises KeyError if none is pending."""
        return self._newest[key].value

    def add(self, due: float, key: int, value: V | None) -> None:
        """Queues a write; it is not due before an earlier one to the same row."""
        if key in self._newest:
            due = max(due, self._newest[key].due)
        self._serial += 1
        self._newest[key] = Write(due, self._serial, key, value)
        heapq.heappush(self._heap, self._newest[key])

    def pop_due(self, now: float) -> Iterator[Write[V]]:
        """The writes that are due, in their order; each leaves the queue as it is taken."""
        while self._heap and self._heap[0].due <= now:
            write = heapq.heappop(self._heap)
            if self._newest[write.key].serial == write.serial:
                del self._newest[write.key]
            yield write
