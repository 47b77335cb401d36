"""Writes that were made and are not visible to readers yet.

It keeps them in order; when each becomes visible is decided outside.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ._rows import Row


class PendingWrites:
    """A queue of writes by the time at which they become visible; None as a row is a delete."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Row | None]] = []  # due, serial, key, row
        self._newest: dict[int, tuple[float, int, Row | None]] = {}  # by key: due, serial, row
        self._serial = 0

    def __contains__(self, key: int) -> bool:
        return key in self._newest

    def newest(self, key: int) -> Row | None:
        """The row as the last pending write leaves it. Raises KeyError if none is pending."""
        return self._newest[key][2]

    def add(self, due: float, key: int, row: Row | None) -> None:
        """Queues a write; it is not due before an earlier one to the same row."""
        if key in self._newest:
            due = max(due, self._newest[key][0])
        self._serial += 1
        self._newest[key] = (due, self._serial, row)
        heapq.heappush(self._heap, (due, self._serial, key, row))

    def pop_due(self, now: float) -> Iterator[tuple[int, Row | None]]:
        """The writes that are due, in their order; each leaves the queue as it is taken."""
        while self._heap and self._heap[0][0] <= now:
            _, serial, key, row = heapq.heappop(self._heap)
            if self._newest[key][1] == serial:
                del self._newest[key]
            yield key, row
