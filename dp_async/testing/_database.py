"""How the simulated server's database behaves: one field for each behaviour, all of them off.

Values and arithmetic alone: no rows, no requests, no clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal, NamedTuple, Self

from dp_async import ConfigError

from ._arguments import choice, number

#: Times are whole microseconds since the epoch; the API shows seconds.
SECOND = 1_000_000


class Delay(NamedTuple):
    """A *share* of the commits takes *least* to *most* seconds."""

    share: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Behaviours of a database behind the lists, for ``Simulator(database=...)``.

    - *commits*: a write becomes visible so long after its stamp: shares of a distribution.
    - *times*: whole ``"seconds"``; or microseconds, which order the rows, and which the API shows
      as seconds, ``"cut"`` or ``"rounded"``.
    - *ties*: rows of one time, as stored, come by ``"id"``, by ``"id descending"``, or
      ``"unstable"``: in another order in each answer. With microseconds, rows of one second have
      a hidden order.
    - *counted*: the rows are counted by a query ``"after"`` that of the page, or ``"before"`` it.
    - *replicas*: servers that answer in turns with the primary, each so many seconds behind.
    - *stampers*: each write is stamped by one of these clocks, which are so many seconds ahead.
    - *clock_steps*: pairs; so many seconds after the start, the clocks that stamp are moved by so
      many. ``SimulatedList.move_clock`` moves them at once.
    - *unstamped*: the share of updates that leave the update time as it is, so that rows enter and
      leave filters without a trace. ``SimulatedList.update_unstamped`` is one of them.
    - *echoes_page_size*: if False, an answer names the page size of the request even where the
      server gives fewer rows.

    A bulk import, rows of one time that become visible at once, is ``SimulatedList.insert_many``,
    or ``Simulator.writing(imports=...)``.
    """

    commits: tuple[Delay, ...] = ()
    times: Literal["seconds", "cut", "rounded"] = "seconds"
    ties: Literal["id", "id descending", "unstable"] = "id"
    counted: Literal["after", "before"] = "after"
    replicas: tuple[float, ...] = ()
    stampers: tuple[float, ...] = (0.0,)
    clock_steps: tuple[tuple[float, float], ...] = ()
    unstamped: float = 0.0
    echoes_page_size: bool = True

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        choice("times", self.times, ("seconds", "cut", "rounded"))
        choice("ties", self.ties, ("id", "id descending", "unstable"))
        choice("counted", self.counted, ("after", "before"))
        for share, least, most in self.commits:
            number("a share of commits", share, 0)
            number("a delay of commits", least, 0)
            number("a delay of commits", most, least)
        if self.commits and not sum(delay[0] for delay in self.commits):
            raise ConfigError("a share of commits must be above 0")
        for lag in self.replicas:
            number("a lag of replicas", lag, 0)
        if not self.stampers:
            raise ConfigError("stampers must hold a clock, such as the default (0.0,)")
        for ahead in self.stampers:
            number("an offset of stampers", ahead, -inf)
        for after, by in self.clock_steps:
            number("the moment of a step of clock_steps", after, 0)
            number("a step of clock_steps", by, -inf)
        number("unstamped", self.unstamped, 0, 1)

    @classmethod
    def postgresql(cls) -> Self:
        """A service over PostgreSQL whose commits take up to 2 s, as a crawl takes for granted.

        Commits take milliseconds, one in twenty 0.3 to 1.6 s; times are microseconds, shown cut.
        """
        return cls(commits=(Delay(0.95, 0.001, 0.02), Delay(0.05, 0.3, 1.6)), times="cut")

    def delay(self, random: Random) -> float:
        """Seconds until a write that is stamped now becomes visible."""
        shares = [delay[0] for delay in self.commits]
        _, least, most = random.choices(self.commits, shares)[0] if shares else (1.0, 0.0, 0.0)
        return random.uniform(least, most) if shares else 0.0

    def stored(self, moment: float) -> int:
        """The time that a row gets which is stamped at *moment*, in seconds since the epoch."""
        if self.times == "seconds":
            return int(moment) * SECOND
        return int(moment * SECOND)

    def shown(self, time: int) -> int:
        """The second that the API shows for a row's *time*."""
        return (time + (SECOND // 2 if self.times == "rounded" else 0)) // SECOND

    def hidden(self, second: int, part: float) -> int:
        """A time that is shown as *second*; *part*, from 0 to 1, says where within it."""
        if self.times == "seconds":
            return second * SECOND
        return int((second + part) * SECOND) - (SECOND // 2 if self.times == "rounded" else 0)


class Stamps:
    """The clocks that stamp writes: *clock* is the true time, in seconds since the epoch."""

    def __init__(self, database: Database, clock: Callable[[], float], random: Random) -> None:
        self._database = database
        self._clock = clock
        self._random = random
        self._offset = 0.0
        self._start = clock() if database.clock_steps else 0.0

    def move(self, seconds: float) -> None:
        """Moves all clocks forward, or back."""
        self._offset += seconds

    def next(self) -> float:
        """The moment that the next write carries, in seconds since the epoch."""
        now = self._clock()
        steps = self._database.clock_steps
        passed = sum(by for after, by in steps if now - self._start >= after)
        return now + passed + self._offset + self._random.choice(self._database.stampers)
