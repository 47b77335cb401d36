"""The cells of the benchmark ``load``: which servers it crawls, at which concurrency.

A cell is a kind of server, the conditions it is met under, and a concurrency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from random import Random
from typing import Any, Literal, TypeAlias

from benchmarks.crawling import MOST, Concurrency, Fixed
from benchmarks.refusing import Bucket, Queue, Server, Shared, Sliding, Slots, Window
from benchmarks.site import Answering, Site

Rival: TypeAlias = Literal["", "even", "bursts"]

SIGMA = 0.3


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to set a limit; *at_once*: it limits the number in flight, and not the rate.

    *refuses*: whether it ever does. *cap* is the ``RetryPolicy.cap`` that its waits need.
    """

    server: Callable[[], Server]
    at_once: int | None = None
    refuses: bool = True
    cap: float = 20.0
    retry_after: Callable[[float], float] = lambda wait: 1.0


KINDS = {
    "50 in a calendar second": Kind(lambda: Window(50)),
    "600 in any minute": Kind(lambda: Sliding(600, 60.0), cap=120.0, retry_after=math.ceil),
    "50 a second, burst 1": Kind(lambda: Bucket(50, 1)),
    "50 a second, burst 20": Kind(lambda: Bucket(50, 20)),
    "50 a second, burst 100": Kind(lambda: Bucket(50, 100)),
    "4 at once": Kind(lambda: Slots(4), at_once=4),
    "8 at once": Kind(lambda: Slots(8), at_once=8),
    "32 at once": Kind(lambda: Slots(32), at_once=32),
    "8 workers, queue": Kind(lambda: Queue(8), at_once=8, refuses=False),
    "8 workers, queue of 100 ms": Kind(lambda: Queue(8, 0.1), at_once=8),
}
CONCURRENCIES: tuple[Concurrency, ...] = (8, 32, "auto")
LATENCIES = (0.02, 0.05, 0.08)
RIVALS: tuple[Rival, ...] = ("", "even", "bursts")
#: What is tried to find the best fixed setting, as shares of what the server allows.
RATES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0, 1.05, 1.1, 1.2)
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 28, 30, 32, 34, 36, 40, 48, MOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell; *slow*: a refusal takes as long as an answer."""

    kind: str
    concurrency: Concurrency
    retry_after: bool
    status: int
    latency: float
    rival: Rival
    slow: bool

    def __str__(self) -> str:
        parts = [self.kind, f"{self.latency * 1000:.0f} ms"]
        if KINDS[self.kind].refuses:
            parts.append(f"{self.status}{' slow' if self.slow else ''}")
            parts += ["Retry-After"] if self.retry_after else []
        parts += [f"rival: {self.rival}"] if self.rival else []
        return ", ".join(parts)

    @property
    def is_plain(self) -> bool:
        """Whether nothing makes it harder than its kind is: 50 ms, alone, a plain 429 at once."""
        conditions = (self.latency, self.rival, self.status, self.slow, self.retry_after)
        return conditions == (0.05, "", 429, False, False)

    @property
    def most_refused(self) -> float:
        """The share of requests that may be refused."""
        kind = KINDS[self.kind]
        return 0.08 if self.burst_1 or (kind.at_once and self.rival) else 0.05

    @property
    def least(self) -> float:
        """The least share of the best fixed setting, or of the server's rate at burst 1."""
        if self.burst_1:
            return 0.6
        if self.is_easy:
            return 0.95
        if self.retry_after:
            return 0.7 if "burst" in self.kind else 0.75
        return 0.85

    @property
    def is_easy(self) -> bool:
        """Whether there is nothing to learn: the server has room for all, or a queue."""
        kind = KINDS[self.kind]
        if kind.at_once is None or not kind.refuses:
            return not kind.refuses
        fitting = kind.at_once * (0.7 if self.rival else 1)
        return self.concurrency != "auto" and self.concurrency <= fitting

    @property
    def burst_1(self) -> bool:
        return self.kind.endswith("burst 1")

    @property
    def allows(self) -> float:
        """The requests a second that the server has for this client, in the long run."""
        return self._server(0).allows(self.work)

    @property
    def work(self) -> float:
        """The mean seconds that a request is worked on."""
        return self.latency * math.exp(SIGMA**2 / 2) * 0.8

    @property
    def fixed(self) -> list[Fixed]:
        """The fixed settings to try."""
        widest = MOST if self.concurrency == "auto" else self.concurrency
        numbers = [number for number in NUMBERS if number <= widest]
        if at_once := KINDS[self.kind].at_once:
            least, most = min(at_once, widest) / 3, 1.5 * at_once
            return [Fixed(number) for number in numbers if least <= number <= most]
        rates = [Fixed(MOST, share * self.allows) for share in RATES]
        return [*rates, *(Fixed(number) for number in (1, 2, 4, 8))]

    def _server(self, seed: int) -> Server:
        server = KINDS[self.kind].server()
        if not self.rival:
            return server
        return Shared(server, Random(seed), self.work, bursts=self.rival == "bursts")

    def site(self, pages: int, seed: int) -> Site:
        """The server, as it is at the start."""
        kind, random = KINDS[self.kind], Random(seed)
        return Site(
            pages,
            self._server(seed),
            Answering(
                seconds=lambda: self.latency * random.lognormvariate(0, SIGMA),
                status=self.status,
                retry_after=kind.retry_after if self.retry_after else None,
                slow=self.slow,
                early=not self.slow or kind.at_once is not None,
            ),
        )


FACTORS: dict[str, Sequence[Any]] = {
    "kind": list(KINDS),
    "concurrency": CONCURRENCIES,
    "retry_after": (False, True),
    "status": (429, 503),
    "latency": LATENCIES,
    "rival": RIVALS,
    "slow": (False, True),
}


def every() -> list[Cell]:
    """All cells. Where a server never refuses, how it would is left out."""
    cells = [
        Cell(**dict(zip(FACTORS, values, strict=True))) for values in product(*FACTORS.values())
    ]
    return [
        cell
        for cell in cells
        if KINDS[cell.kind].refuses
        or (cell.status, cell.retry_after, cell.slow) == (429, False, False)
    ]


def chosen() -> list[Cell]:
    """About 80 cells: each kind under plain conditions at each concurrency, and so many others that
    two of them have each pair of two factors' values, and one has each kind and concurrency with
    and without ``Retry-After``.
    """
    cells = every()
    groups = {cell: _groups(cell) for cell in cells}
    left = {group: 1 if len(group) == 3 else 2 for cell in cells for group in groups[cell]}
    picked = {cell for cell in cells if cell.is_plain}
    others = [cell for cell in cells if not cell.is_plain]
    Random(1).shuffle(others)  # so that ties are not broken in favour of the first values
    while True:
        gains = [sum(left[group] > 0 for group in groups[cell]) for cell in others]
        if not max(gains):
            return [cell for cell in cells if cell in picked]
        cell = others.pop(gains.index(max(gains)))
        picked.add(cell)
        for group in groups[cell]:
            left[group] -= 1


def _groups(cell: Cell) -> list[tuple[tuple[str, object], ...]]:
    values = [(name, getattr(cell, name)) for name in FACTORS]
    return [*combinations(values, 2), tuple(values[:3])]
