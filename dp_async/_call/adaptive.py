"""How many requests to keep in flight: learned from latency and refusals.

Pure: no waiting, no clock; it is given each latency.

A gradient limit, after TCP Vegas: a server at its capacity queues, so more requests in flight raise
the latency and not the throughput. Each round's mean latency is compared with the baseline, the one
at little load. About equal: the limit grows. Higher by more than chance explains: there was a
queue, and the limit shrinks. The baseline is measured again from time to time, at half the limit.
"""

from __future__ import annotations

from math import sqrt

START = 2
#: Ratios of latency to baseline: up to GROW the limit grows, above QUEUED there was a queue, above
#: OVERSHOT a doubling went too far. A limit that shrinks aims at TARGET.
GROW, TARGET, QUEUED, OVERSHOT = 1.1, 1.1, 1.3, 1.7
#: Answers in a round, at least, except while the limit doubles.
ROUND = 32
#: Rounds until the baseline is measured again; at a limit of 1, which cannot be halved, until 2 is
#: tried again.
PROBE_EVERY, PROBE_EVERY_AT_ONE = 25, 8
#: Latencies that the baseline is made of, at most.
KEPT = 256


class Adaptive:
    """*limit*: the requests to have in flight, from 1 to *ceiling*. Starts low and doubles."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = min(START, ceiling)
        self._baseline: list[float] = []  # latencies
        self._doubling = True
        self._limit_after_probe: int | None = None  # set while the baseline is measured
        self._too_much: int | None = None  # a limit that had a queue since the last probe
        self._rounds = 0  # since the last probe
        self._round = 0
        self._latencies: list[float] = []  # of this round
        self._in_flight = 0
        self._full = False  # whether this round reached the limit

    def sent(self) -> int:
        """A request is sent. Returns its round, for ``answered``."""
        self._in_flight += 1
        self._full = self._full or self._in_flight >= self.limit
        return self._round

    def answered(self, sent: int, seconds: float | None) -> None:
        """A request of round *sent* ended after *seconds*; None if it failed or was cancelled.

        Only latencies of the current round count: earlier ones belong to another limit.
        """
        self._in_flight -= 1
        if seconds is None or sent != self._round:
            return
        self._latencies.append(max(seconds, 1e-6))  # it is divided by
        if len(self._latencies) >= (self.limit if self._doubling else max(self.limit, ROUND)):
            self._decide()

    def refused(self) -> None:
        """The server refused a request. The limiter slows down; the limit here only stops doubling,
        since a refusal may be of the rate and says nothing of latencies.
        """
        limit = self._limit_after_probe or self.limit
        self._doubling, self._limit_after_probe = False, None
        self._start_round(limit)

    def _decide(self) -> None:
        """Choose the next round's limit."""
        if self._limit_after_probe is not None or self.limit == 1:
            self._baseline.clear()
        baseline = self._baseline or self._latencies
        ratio = _mean(self._latencies) / _mean(baseline)
        doubt = 2 * ratio * sqrt(_variance(self._latencies) + _variance(baseline))
        if (self._doubling and ratio < QUEUED) or not self._baseline:
            self._baseline = (self._baseline + self._latencies)[-KEPT:]
        self._rounds += 1
        if self._limit_after_probe is not None:
            limit, self._limit_after_probe = self._limit_after_probe, None
        elif self._doubling and ratio - doubt < OVERSHOT:
            limit = self.limit * 2 if self._full else self.limit
        elif self._doubling or ratio - doubt > QUEUED:
            self._doubling = False
            self._too_much = self.limit
            limit = min(self.limit - 1, round(self.limit * TARGET / ratio))
        elif self._rounds > (PROBE_EVERY if self.limit > 1 else PROBE_EVERY_AT_ONE):
            self._rounds = 0
            self._too_much = None  # the server's capacity may have changed
            self._limit_after_probe = self.limit if self.limit > 1 else None
            limit = self.limit // 2
        elif ratio < GROW and self._full:
            limit = self.limit + max(1, self.limit // 8)
            if self._too_much is not None:
                limit = min(limit, self._too_much - 1)
        else:
            limit = self.limit
        self._start_round(limit)

    def _start_round(self, limit: int) -> None:
        self.limit = max(1, min(limit, self.ceiling))
        self._doubling = self._doubling and self.limit < self.ceiling
        self._round += 1
        self._latencies.clear()
        self._full = False


def _mean(latencies: list[float]) -> float:
    # Importing statistics takes 2 ms, and its variance is computed in fractions.
    return sum(latencies) / len(latencies)


def _variance(latencies: list[float]) -> float:
    """The variance of their mean, relative to the mean squared."""
    mean = _mean(latencies)
    return sum([(each / mean - 1) ** 2 for each in latencies]) / len(latencies) ** 2
