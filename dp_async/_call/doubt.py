"""What explains a refusal? Counts the answers to all that was in flight with it.

No waiting and no clock: every method is given the time, in seconds.
"""

from __future__ import annotations

#: A refusal among at least so many good answers may be chance.
_CHANCE = 4
#: Seconds after which answers that are still missing are not waited for: they may never come.
_LONGEST = 5.0


class Doubt:
    """The answers so far to what was *in_flight* at a refusal at *began*.

    *just_before*: good answers that came with the refusal, to requests that the server worked on
    when it refused. *retry_after*: the wait that the server asked for, in seconds.
    """

    def __init__(self, in_flight: int, just_before: int, retry_after: float, began: float) -> None:
        self.in_flight = in_flight
        self.just_before = just_before
        self.retry_after = retry_after
        self.ends = began + _LONGEST
        self.good = self.refused = 0

    def is_over(self, in_flight: int, now: float, pause_ends: float) -> bool:
        """Whether enough is known with *in_flight* still unanswered: all of them while a pause
        lasts, since waiting costs nothing then; else three quarters, the others may take long.
        """
        if now >= self.ends:
            return True
        return in_flight <= (0 if now < pause_ends else (self.in_flight - 1) // 4)

    def add_just_before(self) -> None:
        """Count what came with the refusal, too."""
        self.good = self.just_before
        self.in_flight = self.good + self.refused

    @property
    def at_once(self) -> int:
        """How many were let through: those not answered yet are, as a refusal takes no longer."""
        return self.in_flight - self.refused if self.good else 0

    @property
    def may_be_chance(self) -> bool:
        """Whether so few were refused that it says nothing."""
        return self.refused == 1 or self.refused * _CHANCE <= self.good
