"""One server of a list, and the writes that it does not show yet: none at the primary.

No clocks: the moments come from outside.
"""

from __future__ import annotations

from ._pending import PendingWrites
from ._table import Table, Version


class Server:
    """A server whose table is *lag* seconds behind the primary's."""

    def __init__(self, lag: float, table: Table) -> None:
        self.table = table
        self._lag = lag
        self._pending = PendingWrites[Version]()

    def replicate(self, moment: float, key: int, version: Version | None) -> None:
        """Takes a write that the primary shows since *moment*."""
        self._pending.add(moment + self._lag, key, version)

    def catch_up(self, now: float) -> None:
        """Shows what is due."""
        for write in self._pending.pop_due(now):
            self.table.put(write.key, write.value)
