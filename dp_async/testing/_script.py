"""Which request meets which fault.

No sockets and no answers. Randomness comes from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ._faults import Fault


@dataclass(slots=True)
class _Line:
    """A fault, for how many requests more, for which ones, and how many go before it."""

    fault: Fault
    left: int | None
    endpoint: str | None
    page: int | None
    probability: float | None
    after: int

    def matches(self, endpoint: str | None, page: int | None) -> bool:
        return self.endpoint in (None, endpoint) and self.page in (None, page)


class Script:
    """The faults still to come, in the order they were added."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lines: list[_Line] = []

    def add(
        self,
        fault: Fault,
        *,
        times: int | None,
        endpoint: str | None,
        page: int | None,
        probability: float | None,
        after: int = 0,
    ) -> None:
        """Adds a line at the end; see ``Simulator.fail``. Raises ValueError."""
        if type(after) is not int or after < 0:
            raise ValueError(f"after must be a whole number of at least 0, not {after!r}")
        self._lines.append(_Line(fault, times, endpoint, page, probability, after))

    def clear(self) -> None:
        """Removes every line."""
        self._lines.clear()

    def take(self, endpoint: str | None, page: int | None) -> Fault | None:
        """The fault for this request, which counts as used, or None."""
        for line in self._lines:
            if not line.matches(endpoint, page):
                continue
            if line.after:
                line.after -= 1
                continue
            if line.probability is not None and self._random.random() >= line.probability:
                continue
            if line.left is not None:
                line.left -= 1
                if line.left == 0:
                    self._lines.remove(line)
            return line.fault
        return None
