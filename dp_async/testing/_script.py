"""Which request meets which fault.

No sockets and no answers. Randomness comes from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from dp_async import ConfigError

from ._arguments import number, whole
from ._faults import AnswerFault, Fault, PageFault, WireFault
from ._rows import Endpoint, kind_named


@dataclass(slots=True)
class _Line:
    """A fault, for how many requests more, for which ones, and how many go before it."""

    fault: Fault
    left: int | None
    endpoint: Endpoint | None
    page: int | None
    probability: float | None
    after: int

    def matches(self, endpoint: str, page: int | None) -> bool:
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
        endpoint: Endpoint | None,
        page: int | None,
        probability: float | None,
        after: int = 0,
    ) -> None:
        """Adds a line at the end; see ``Simulator.fail``. Raises ConfigError."""
        if not isinstance(fault, WireFault | AnswerFault | PageFault):
            raise ConfigError(f"fault must be a fault such as Html() or Reset(), not {fault!r}")
        if endpoint is not None:
            kind_named(endpoint)
        for name, value in (("times", times), ("page", page)):
            if value is not None:
                whole(name, value, 1)
        if probability is not None:
            number("probability", probability, 0, 1)
        whole("after", after, 0)
        self._lines.append(_Line(fault, times, endpoint, page, probability, after))

    def clear(self) -> None:
        """Removes every line."""
        self._lines.clear()

    def take(self, endpoint: str, page: int | None) -> Fault | None:
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
