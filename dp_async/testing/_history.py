"""What became visible in a list, and when: the truth that crawls are compared with.

It is told of each write; it reads no rows itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ._rows import Row


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a list's history, from ``SimulatedList.mark``. Opaque."""

    at: int


@dataclass(frozen=True, slots=True)
class Change:
    """A write: the row *key* as it was and is, None where there is none.

    *moment* is when the primary began to show it, in seconds since the epoch.
    """

    moment: float
    key: int
    before: Row | None
    after: Row | None


class History:
    """The writes since the first mark, in the order they became visible."""

    def __init__(self) -> None:
        self._changes: list[Change] | None = None

    def add(self, change: Change) -> None:
        """Keeps a write, once there is a mark to look back to."""
        if self._changes is not None:
            self._changes.append(change)

    def mark(self) -> Mark:
        """This moment."""
        if self._changes is None:
            self._changes = []
        return Mark(len(self._changes))

    def since(self, mark: Mark) -> list[Change]:
        """The writes since *mark*."""
        return (self._changes or [])[mark.at :]

    def present(self, mark: Mark, now: set[int], matches: Callable[[Row], bool]) -> set[int]:
        """Which of the ids that match *now* matched all the time since *mark*."""
        left = {
            change.key
            for change in self.since(mark)
            if change.before is None or not matches(change.before)
        }
        return now - left
