"""When the next request may be sent: evenly, at the configured rate or the one learned.

No waiting and no clock: every method is given the time, in seconds. Slots (send times) follow GCRA
with next to no tolerance, since a server without a burst (nginx's ``limit_req``) refuses the second
of two requests that come together. The learned rate recovers along a cubic, as the window of CUBIC
does (RFC 9438, section 4.2).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

#: A coarse timer is late by up to so many seconds: asyncio's rounds up to a millisecond. A slot
#: taken so late does not delay the next, which keeps the full rate on average.
TIMER = 0.002
#: The first guess at a pace, at least: pauses may have left few good answers to count.
_LEAST = 5
#: Seconds until the pace is back at the learned rate, the plateau of the cubic; more where a
#: refusal costs a pause, less for the first guess, which counts a second that was not full.
_PLATEAU, _PLATEAU_PAUSED = 2.0, 5.0
_GUESS, _GUESS_PAUSED = 0.5, 1.3
#: Seconds of a pause that make it one that the server asked for.
_PAUSED = 0.5
#: The cubic starts at so much less than the learned rate, and has so much more a plateau after it.
_BELOW, _ABOVE = 0.05, 0.15
#: A pace is forgotten at so many times the learned rate, and with so few of it in use.
_FAR, _UNUSED = 4, 0.5
#: A pace holds requests back where at least so much of it is in use.
_IN_USE = 0.7
#: The slowest pace, a second.
_SLOWEST = 0.1


@dataclass(slots=True)
class Learned:
    """A *rate* that the server was seen to allow, in requests a second.

    Learned at *began*; requests are sent again since *resumed*; *good* answers came since *began*.
    """

    rate: float
    began: float
    resumed: float
    plateau: float
    good: int = 0

    def at(self, now: float) -> float:
        """The rate to try at *now*."""
        x = max(0.0, now - self.resumed) / self.plateau - 1
        return max(_SLOWEST, self.rate * (1 + (_BELOW if x < 0 else _ABOVE) * x**3))

    def lowered(self, now: float, resumed: float, last_second: int) -> Learned:
        """The pace after another refusal, with so many good answers in the last second.

        The server let through what came since the last refusal, a little less where a pause gave
        away what it would have allowed; it does not allow what was tried.
        """
        most = min(self.at(now), last_second)
        whole = now - self.began
        rate = most if whole < 1 else math.sqrt(self.good / whole * max(most, self.good / whole))
        plateau = _PLATEAU if resumed - now < _PAUSED else _PLATEAU_PAUSED
        return Learned(rate, now, resumed, plateau)


class Pace:
    """Slots at *rate* a second or at the *learned* pace, whichever is slower; unlimited if neither.

    No second holds more than ``floor(rate) + 1`` slots.
    """

    def __init__(self, rate: float = math.inf) -> None:
        self.next_slot = 0.0
        self.is_limited = rate < math.inf
        self.learned: Learned | None = None
        self._rate = rate
        self._accepted: deque[float] = deque()  # times of the last second's good answers

    def take_slot(self, now: float) -> None:
        """A request is sent at *now*."""
        if self.is_limited:
            rate = self.at(now)
            tolerance = min(TIMER, (math.floor(rate) + 1 - rate) / rate)
            self.next_slot = max(self.next_slot, now - tolerance) + 1 / rate

    def at(self, now: float) -> float:
        """The pace at *now*, in requests a second."""
        if self.learned is None:
            return self._rate
        return min(self._rate, self.learned.at(now))

    def accepted(self, now: float) -> None:
        """A good answer came."""
        accepted, learned = self._accepted, self.learned
        accepted.append(now)
        while accepted[0] < now - 1:
            accepted.popleft()
        if learned is not None:
            learned.good += 1
            tried = learned.at(now)
            if tried > _FAR * learned.rate and len(accepted) < _UNUSED * tried:
                self.learned = None  # it holds nothing back
                self.is_limited = self._rate < math.inf

    def accepted_since(self, time: float) -> int:
        """How many good answers came since *time*, of those of the last second."""
        return sum(each >= time for each in self._accepted)

    def binds(self, now: float) -> bool:
        """Whether a learned pace holds requests back."""
        return self.learned is not None and len(self._accepted) >= _IN_USE * self.learned.at(now)

    def refused(self, now: float, resumed: float) -> None:
        """The server refused at *now*, by rate; requests are sent again from *resumed* on."""
        accepted, learned = self._accepted, self.learned
        while accepted and accepted[0] < now - 1:
            accepted.popleft()
        if learned is None:
            if accepted:
                plateau = _GUESS if resumed - now < _PAUSED else _GUESS_PAUSED
                self.learned = Learned(max(len(accepted), _LEAST), now, resumed, plateau)
                self.is_limited = True
        elif learned.good:
            self.learned = learned.lowered(now, resumed, len(accepted))
        else:
            learned.resumed = resumed
