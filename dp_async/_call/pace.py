"""When the next request may be sent: evenly, at the configured rate or the one learned.

No waiting and no clock: every method is given the time, in seconds. Slots (send times) follow GCRA;
the learned rate recovers along a cubic, as the window of CUBIC does (RFC 9438, section 4.2).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

#: A pace is learned from at least this many good answers in the second before a refusal.
_LEAST = 5
#: Seconds until the pace is back at the learned rate: the first plateau. A later one is twice as
#: long as the pace before it lasted, within these bounds.
_PLATEAU, _LONGEST = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Learned:
    """A *rate* that the server was seen to allow, in requests a second.

    The server refused at *refused*; requests are sent again since *resumed*.
    """

    rate: float
    refused: float
    resumed: float
    plateau: float = _PLATEAU

    def at(self, now: float) -> float:
        """The rate to try at *now*: 0.95 of the learned one at first, all of it after one plateau,
        1.05 after two, 1.4 after three.
        """
        return self.rate * (1 + 0.05 * ((now - self.resumed) / self.plateau - 1) ** 3)

    def plus_half(self) -> Learned:
        """The same pace with one more good answer, to a request in flight at the refusal.

        It may belong to the second that was counted or to the next one, so it counts half.
        """
        return replace(self, rate=self.rate + 0.5)

    def lowered(self, rate: float, now: float, resumed: float) -> Learned:
        """The pace after another refusal, with *rate* good answers in the second before it.

        A pace refused soon is lowered most: the server allows less than its average over the pause
        and the time after it.
        """
        lasted, waited = now - self.resumed, self.resumed - self.refused
        rate = min(rate, self.at(now)) * (1 - 0.3 * waited / (lasted + waited))
        return Learned(rate, now, resumed, min(_LONGEST, max(_PLATEAU, 2 * lasted)))


class Pace:
    """Slots at *rate* a second or at the learned pace, whichever is slower; unlimited if neither.

    A late slot is caught up (GCRA's tolerance), so that a loop's coarse timers do not lower the
    rate, but no second holds more than ``floor(rate) + 1`` slots.
    """

    def __init__(self, rate: float = math.inf) -> None:
        self.next_slot = 0.0
        self._rate = rate
        self._accepted: deque[float] = deque()  # times of the last second's good answers
        self._learned: Learned | None = None
        self._counts_in_flight = False  # good answers to earlier requests still raise the pace

    @property
    def is_limited(self) -> bool:
        return self._rate < math.inf or self._learned is not None

    def take_slot(self, now: float) -> None:
        """A request is sent at *now*."""
        if self.is_limited:
            rate = self._rate_at(now)
            tolerance = (math.floor(rate) + 1 - rate) / rate
            self.next_slot = max(self.next_slot, now - tolerance) + 1 / rate

    def accepted(self, now: float, *, before_refusal: bool) -> None:
        """A good answer came; *before_refusal*: to a request sent before the last refusal."""
        self._accepted.append(now)
        self._forget_before(now - 1)
        if before_refusal and self._counts_in_flight and self._learned is not None:
            self._learned = self._learned.plus_half()

    def resumed(self) -> None:
        """A request sent after the refusal was not refused: the count for it is over."""
        self._counts_in_flight = False

    def refused(self, now: float, resumed: float) -> None:
        """The server refused at *now*; requests are sent again from *resumed* on."""
        self._forget_before(now - 1)
        rate = len(self._accepted)
        if rate < _LEAST:
            return
        # Later paces are sent evenly, so what is in flight then is no burst to be counted.
        self._counts_in_flight = self._learned is None
        self._learned = (
            Learned(rate, now, resumed)
            if self._learned is None
            else self._learned.lowered(rate, now, resumed)
        )

    def _rate_at(self, now: float) -> float:
        if self._learned is None:
            return self._rate
        rate = self._learned.at(now)
        if rate > 10 * self._learned.rate:  # too long ago to say what the server allows
            self._learned = None
        return min(self._rate, rate)

    def _forget_before(self, time: float) -> None:
        while self._accepted and self._accepted[0] < time:
            self._accepted.popleft()
