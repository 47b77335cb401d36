"""How many requests to keep in flight: learned from latency, throughput and refusals.

Pure: it is told when a request is sent and how long the answer took. No waiting, no clock.

A server that can work on so many requests at once answers later, not more, when it gets more than
that. So a round's mean latency, which is what is in flight over what is answered, is compared with
that at little load, which is measured anew now and then: alike, and there is room for more; well
above, by more than chance explains, and there was a queue.
"""

from __future__ import annotations

from math import sqrt

START = 2
#: Latency, in that at little load: up to ROOM one more is tried, above FULL there was a queue, and
#: above TWICE a doubling was too much. GOAL is where to go back to.
ROOM, GOAL, FULL, TWICE = 1.1, 1.1, 1.3, 1.7
#: Answers a round must have, at least, but while it doubles.
ROUND = 32
#: Rounds between two looks at half the load; and at one at a time, which cannot be halved, until
#: two are tried again.
LOOK, ALONE = 25, 8
#: Latencies at little load that are kept.
KEPT = 256


class Adaptive:
    """*limit*: the requests to have in flight, from 1 to *ceiling*. Starts low and doubles."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = min(START, ceiling)
        self._little: list[float] = []  # latencies at little load
        self._doubling = True
        self._looking: int | None = None  # the limit to go back to after a look at half of it
        self._too_much: int | None = None  # a limit seen to be too high since the last look
        self._rounds = 0  # since the last look
        self._round = 0
        self._latencies: list[float] = []
        self._in_flight = 0
        self._full = False  # whether the limit was reached in this round

    def sent(self) -> int:
        """A request goes out; what it returns is for ``answered``."""
        self._in_flight += 1
        self._full = self._full or self._in_flight >= self.limit
        return self._round

    def answered(self, sent: int, seconds: float | None) -> None:
        """It came back after *seconds*; None where that says nothing: it failed or was cancelled.

        What was sent in an earlier round was sent at another limit, and does not count.
        """
        self._in_flight -= 1
        if seconds is None or sent != self._round:
            return
        self._latencies.append(max(seconds, 1e-6))  # it is divided by
        if len(self._latencies) >= (self.limit if self._doubling else max(self.limit, ROUND)):
            self._decide()

    def refused(self) -> None:
        """The server said that this was too much; the gate goes slower, what is known is kept."""
        limit = self._looking or self.limit
        self._doubling, self._looking = False, None
        self._start(limit)

    def _decide(self) -> None:
        """The next round's limit."""
        if self._looking is not None or self.limit == 1:
            self._little.clear()
        little = self._little or self._latencies
        ratio = _mean(self._latencies) / _mean(little)
        doubt = 2 * ratio * sqrt(_variance(self._latencies) + _variance(little))
        if (self._doubling and ratio < FULL) or not self._little:
            self._little = (self._little + self._latencies)[-KEPT:]
        self._rounds += 1
        if self._looking is not None:
            limit, self._looking = self._looking, None
        elif self._doubling and ratio - doubt < TWICE:
            limit = self.limit * 2 if self._full else self.limit
        elif self._doubling or ratio - doubt > FULL:
            self._doubling = False
            self._too_much = self.limit
            limit = min(self.limit - 1, round(self.limit * GOAL / ratio))
        elif self._rounds > (LOOK if self.limit > 1 else ALONE):
            self._rounds = 0
            self._too_much = None  # may have changed
            self._looking = self.limit if self.limit > 1 else None
            limit = self.limit // 2
        elif ratio < ROOM and self._full:
            limit = self.limit + max(1, self.limit // 8)
            if self._too_much is not None:
                limit = min(limit, self._too_much - 1)
        else:
            limit = self.limit
        self._start(limit)

    def _start(self, limit: int) -> None:
        """A new round, at this limit."""
        self.limit = max(1, min(limit, self.ceiling))
        self._doubling = self._doubling and self.limit < self.ceiling
        self._round += 1
        self._latencies.clear()
        self._full = False


def _mean(latencies: list[float]) -> float:
    # The standard library's own takes 2 ms to import, and its variance is computed in fractions.
    return sum(latencies) / len(latencies)


def _variance(latencies: list[float]) -> float:
    """The variance of their mean, in parts of it."""
    mean = _mean(latencies)
    return sum([(each / mean - 1) ** 2 for each in latencies]) / len(latencies) ** 2
