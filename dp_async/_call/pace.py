"""When the next request may be sent: evenly, at the configured rate or the one learned.

No waiting and no clock: every method is given the time, in seconds. Slots (send times) follow GCRA
with next to no tolerance, since a server without a burst (nginx's ``limit_req``) refuses the second
of two requests that come together. The learned rate recovers along a cubic, as the window of CUBIC
does (RFC 9438, section 4.2).

Not every refusal says that the pace is too high: another client may use up the server's limit at
any moment. If a pace that was lowered again and again is refused as soon as before, slower does not
help: it goes back to what it was (as CUBIC's undo, RFC 9438, section 4.9), and is contested.
"""

from __future__ import annotations

import math
from collections import deque

from msgspec import Struct

from .contested import Contested

#: A slot taken up to so many seconds late does not delay those after it, which keeps the full rate
#: on average: asyncio's timers are late by up to a millisecond, the event loop by more at times.
LATE = 0.004
#: To make up for that, two requests are closer than the rate says by so many seconds at most: a
#: server without a burst refuses one that is early.
EARLY = 0.001
#: The first guess at a pace, at least: pauses may have left few good answers to count.
_LEAST = 5
#: Seconds until the pace is back at the learned rate, the plateau of the cubic; more where a
#: refusal costs a pause. Less for the first guess, which counts a second that was not full: from
#: there it is doubled with each refusal.
_PLATEAU, _PLATEAU_PAUSED = 2.0, 5.0
_GUESS, _GUESS_PAUSED = 0.5, 0.7
#: Seconds of a pause that make it one that the server asked for.
_PAUSED = 0.5
#: The pace after a refusal with too few answers since the last for a mean, of what was tried.
_LOWERED = 0.85
#: Good answers count less for the mean as they are older, by so many seconds to the e-th part: what
#: came long before says nothing of a limit that has changed.
_RECENT = 10.0
#: Refusals in a row, each before so many good answers, after which slower does not help. A server's
#: own limit stops to refuse sooner: the fifth pace is half of the first (0.85 to the fourth).
_IN_A_ROW, _SOON = 5, 20
#: The cubic starts at so much less than the learned rate, and has so much more a plateau after it.
_BELOW, _ABOVE = 0.05, 0.15
#: A pace is forgotten at so many times the learned rate, and with so few of it in use.
_FAR, _UNUSED = 4, 0.5
#: A pace holds requests back where at least so much of it is in use.
_IN_USE = 0.7
#: The slowest pace, a second.
_SLOWEST = 0.1


class Learned(Struct):
    """A *rate* that the server was seen to allow, in requests a second.

    Learned at *began*, since when *good* answers came; requests are sent again since *resumed*.
    *recent*: the same answers, each counted less as it gets older, as of *counted*. *contested*:
    set while slower does not help.
    """

    rate: float
    began: float
    resumed: float
    plateau: float
    good: int = 0
    recent: float = 0.0
    counted: float = 0.0
    contested: Contested | None = None

    def at(self, now: float) -> float:
        """The rate to try at *now*."""
        if self.contested is not None:
            return self.contested.tried
        x = max(0.0, now - self.resumed) / self.plateau - 1
        return max(_SLOWEST, self.rate * (1 + (_BELOW if x < 0 else _ABOVE) * x**3))

    @property
    def is_blind(self) -> bool:
        """Whether this is the least guess, and a refusal does not say yet that it is too fast."""
        return self.rate <= _LEAST and self.plateau == _GUESS and self.good < _SOON

    def accepted(self, now: float) -> None:
        """A good answer came."""
        self.good += 1
        self.recent = 1 + self.recent * math.exp((self.counted - now) / _RECENT)
        self.counted = now

    def mean(self, now: float) -> float:
        """The good answers a second since it was learned, the recent ones before all."""
        recent = self.recent * math.exp((self.counted - now) / _RECENT)
        return recent / _RECENT / (1 - math.exp((self.began - now) / _RECENT))

    def lowered(self, now: float, resumed: float, last_second: int) -> Learned:
        """The pace after another refusal, with so many good answers in the last second.

        The server let through what came since the last refusal, a little less where a pause gave
        away what it would have allowed; it does not allow what was tried.
        """
        tried = self.at(now)
        if self.good < _SOON:
            rate = _LOWERED * tried
        elif self.plateau < _PLATEAU:  # a guess, which grew too quickly for a mean
            rate = min(_LOWERED * tried, last_second)
        else:
            mean = self.mean(now)
            rate = math.sqrt(mean * max(min(tried, last_second), mean))
        plateau = min(2 * self.plateau, _PLATEAU) if resumed - now < _PAUSED else _PLATEAU_PAUSED
        if self.good < _SOON:
            plateau = min(plateau, self.plateau)
        return Learned(rate, now, resumed, plateau)


class Pace:
    """Slots at *rate* a second or at the *learned* pace, whichever is slower; unlimited if neither.

    No second holds more than ``floor(rate) + 1`` slots.
    """

    def __init__(self, rate: float = math.inf) -> None:
        self.next_slot = 0.0
        self._even = 0.0  # the next slot, if none was taken late
        self.is_limited = rate < math.inf
        self.learned: Learned | None = None
        self._rate = rate
        self._accepted: deque[float] = deque()  # times of the last second's good answers
        self._before = 0.0  # the pace before the first of the refusals in a row
        self._in_a_row = 0
        self._between = 0  # good answers between them

    def take_slot(self, now: float) -> None:
        """A request is sent at *now*."""
        if self.is_limited:
            rate = self.at(now)
            tolerance = min(LATE, (math.floor(rate) + 1 - rate) / rate)
            self._even = max(self._even, now - tolerance) + 1 / rate
            self.next_slot = max(self._even, now + 1 / rate - EARLY)

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
        if learned is None:
            return
        learned.accepted(now)
        a_second_ago = now - 1
        unused = len(accepted) < _UNUSED * learned.at(a_second_ago)
        if learned.contested is not None:
            self._answered(learned, learned.contested, now, good=True)
        elif unused and a_second_ago >= learned.resumed and learned.at(now) > _FAR * learned.rate:
            self.learned = None  # it holds nothing back
            self.is_limited = self._rate < math.inf

    def accepted_since(self, time: float) -> int:
        """How many good answers came since *time*, of those of the last second."""
        return sum(each >= time for each in self._accepted)

    def binds(self, now: float) -> bool:
        """Whether a learned pace holds requests back."""
        return self.learned is not None and len(self._accepted) >= _IN_USE * self.learned.at(now)

    def rejected(self, sent: float, now: float) -> None:
        """The server refused a request of the time *sent*, for whatever reason."""
        learned = self.learned
        if learned is not None and learned.contested is not None and sent >= learned.began:
            self._answered(learned, learned.contested, now, good=False)

    def _answered(self, learned: Learned, contested: Contested, now: float, *, good: bool) -> None:
        contested.answered(good=good)
        learned.rate = contested.rate
        if contested.is_over:
            self.learned = Learned(contested.rate * (1 - contested.share), now, now, _GUESS)

    @property
    def is_contested(self) -> bool:
        """Whether slower was seen not to help."""
        return self.learned is not None and self.learned.contested is not None

    def expects(self, *, good: bool) -> bool:
        """Whether a refusal is no surprise; *good*: there were good answers since the last one."""
        return self.is_contested or (good and self.learned is not None and self.learned.is_blind)

    def is_beyond(self, now: float) -> bool:
        """Whether more is tried than the server was seen to allow."""
        return self.learned is not None and self.learned.at(now) >= self.learned.rate

    def refused(self, now: float, resumed: float) -> None:
        """The server refused at *now*, by rate; requests are sent again from *resumed* on."""
        accepted, learned = self._accepted, self.learned
        while accepted and accepted[0] < now - 1:
            accepted.popleft()
        if learned is None:
            if accepted:
                self._guess(len(accepted), now, resumed)
            return
        if not learned.good or learned.contested is not None:
            learned.resumed = resumed
        elif learned.is_blind:
            learned.resumed += resumed - now
        else:
            self._lower(learned, now, resumed)

    def _guess(self, accepted: int, now: float, resumed: float) -> None:
        """So many good answers came in the last second."""
        paused = resumed - now >= _PAUSED
        plateau = _GUESS_PAUSED if paused else _GUESS
        self.learned = Learned(max(accepted, _LEAST), now, resumed, plateau)
        self.is_limited = True
        self._in_a_row = 0

    def _lower(self, learned: Learned, now: float, resumed: float) -> None:
        tried = learned.at(now)
        if learned.good >= _SOON or not self._in_a_row:
            self._before, self._in_a_row, self._between = tried, 0, 0
        else:
            self._between += learned.good
        self._in_a_row += 1
        self.learned = learned.lowered(now, resumed, len(self._accepted))
        if self._in_a_row == _IN_A_ROW:
            share = _IN_A_ROW / (_IN_A_ROW + self._between)
            rate, self._in_a_row = max(tried, self._before), 0
            self.learned = Learned(rate, now, resumed, _PLATEAU, contested=Contested(rate, share))
