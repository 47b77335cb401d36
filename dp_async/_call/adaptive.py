"""How many requests to keep in flight: learned from latency and refusals.

Pure: no waiting, no clock; it is given each latency.

A gradient limit, after TCP Vegas: a server at its capacity queues, so more requests in flight raise
the latency and not the throughput. Latencies at the limit are compared with the baseline, those at
about half of it. About equal: the limit grows. Higher by more than chance explains: the baseline is
measured anew, and then the limit too, since the server may have become slower for all. Higher
still: there is a queue, and the limit shrinks to what the server works on. Compared are means of
logarithms, in which a few answers that take very long weigh little.
"""

from __future__ import annotations

from math import exp, log, sqrt

START = 4
#: Ratios of latency to baseline: up to GROW the limit grows, above QUEUED there was a queue; above
#: FULL the half of the limit had a queue too. A limit that shrinks aims at TARGET.
GROW, TARGET, QUEUED, FULL = 1.1, 1.1, 1.3, 1.6
#: Standard errors that are chance: of one comparison in a thousand, and of the few while doubling.
CHANCE, CHANCE_DOUBLING = 2.0, 2.5
#: Answers in a round, at least, and at most where the limit is small; so many to a place.
FEW, ROUND, EACH = 8, 32, 8
#: Rounds until the baseline is measured again; at a limit of 1, which cannot be halved, until 2 is
#: tried again.
PROBE_EVERY, PROBE_EVERY_AT_ONE = 25, 8


class Adaptive:
    """*limit*: the requests to have in flight, from 1 to *ceiling*. Starts low and doubles."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = min(START, ceiling)
        self._baseline: list[float] = []  # logarithms of latencies
        self._doubling = True
        self._limit_after_probe: int | None = None  # set while the baseline is measured
        self._checking = False  # the baseline is fresh: this round decides
        self._too_much: int | None = None  # a limit that had a queue since the last probe
        self._rounds = 0  # since the last probe
        self._round = 0
        self._latencies: list[float] = []  # of this round, logarithms
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
        self._latencies.append(log(max(seconds, 1e-6)))
        if len(self._latencies) >= self._enough:
            self._decide()

    def refused(self) -> None:
        """The server refused a request: the limiter slows down, and here a new round begins, since
        a refusal says nothing of latencies, but its pause changes them.
        """
        limit = self._limit_after_probe or self.limit
        self._limit_after_probe, self._checking = None, False
        self._start_round(limit)

    @property
    def _enough(self) -> int:
        """The answers that make up this round."""
        limit = self.limit
        if self._doubling or self._limit_after_probe is not None:
            return max(limit, FEW)
        return max(limit, min(ROUND, max(FEW, EACH * limit)))

    def _decide(self) -> None:
        """Choose the next round's limit."""
        latencies = self._latencies
        self._rounds += 1
        if self._limit_after_probe is not None:
            limit, self._limit_after_probe = self._limit_after_probe, None
            self._baseline, self._checking = latencies, True
            self._start_round(limit)
            return
        if self.limit == 1 or not self._baseline:
            self._baseline = latencies
        ratio, chance = _compared(latencies, self._baseline)
        queued = ratio / exp(chance * (CHANCE_DOUBLING if self._doubling else CHANCE)) > QUEUED
        if self._doubling and not queued:
            self._baseline = latencies
            limit = self.limit * 2 if self._full else self.limit
        elif queued and (self._doubling or self._checking):
            self._doubling = self._checking = False
            self._too_much = self.limit
            self._rounds = PROBE_EVERY if ratio > FULL else 0
            limit = max(self.limit // 2, min(self.limit - 1, round(self.limit * TARGET / ratio)))
        elif queued or self._rounds > (PROBE_EVERY if self.limit > 1 else PROBE_EVERY_AT_ONE):
            self._rounds = 0
            self._too_much = None  # the server's capacity may have changed
            self._limit_after_probe = self.limit if self.limit > 1 else None
            limit = self.limit // 2
        else:
            self._checking = False
            limit = self.limit
            if ratio < GROW and self._full:
                limit += max(1, self.limit // 8)
                if self._too_much is not None:
                    limit = min(limit, self._too_much - 1)
        self._start_round(limit)

    def _start_round(self, limit: int) -> None:
        self.limit = max(1, min(limit, self.ceiling))
        self._doubling = self._doubling and self.limit < self.ceiling
        self._round += 1
        self._latencies = []
        self._full = False


def _compared(latencies: list[float], baseline: list[float]) -> tuple[float, float]:
    """The ratio of their geometric means, and the standard error of its logarithm."""
    mean, error = _mean(latencies)
    base, base_error = _mean(baseline)
    return exp(mean - base), sqrt(error + base_error)


def _mean(values: list[float]) -> tuple[float, float]:
    """The mean, and its variance. (Importing statistics takes 2 ms.)"""
    mean = sum(values) / len(values)
    return mean, sum([(each - mean) ** 2 for each in values]) / len(values) ** 2
