"""How many requests the server works on at once, learned from which of them it refuses.

No waiting and no clock: every method is given the time, in seconds.

The limit starts at ``START`` and grows by half each round, as in TCP's slow start (RFC 5681), until
a refusal shows how many the server takes. It is then held, and grows by one (additive increase): a
refusal of that one costs little and takes it back, and the limit is held twice as long.
"""

from __future__ import annotations

from msgspec import Struct

#: Requests in flight at once at first: a server that takes few refuses few of them.
START = 16
#: More in flight for each good answer at first: all that is in flight when a burst is used up is
#: refused at once.
_GROWTH = 0.5
#: Seconds for which a limit is held at first and at most: one refusal in two seconds is no matter.
_HOLD, _LONGEST = 1.0, 2.0
#: The same where a try costs a pause: so many for each second of the ``Retry-After``, and at most.
_HOLD_PER_SECOND, _LONGEST_PAUSED = 8.0, 30.0
#: Seconds for which a number in flight counts as proven.
_LATELY = 5.0
#: A number that was estimated, or proven, may be so much off.
_OFF = 0.6
#: A number is contradicted if so many times as many, and so many more, were in flight before the
#: next refusal: a limit of the rate passes for one of the number while a burst lasts. Another
#: client that pauses leaves room for as many as that.
_FAR, _BEYOND = 1.5, 3
#: It is contradicted, too, if less than so much of what was proven is refused, where a refusal
#: costs a pause: another client takes the smaller part.
_MINE = 0.75
#: Seconds for which nothing is taken for a number after that.
_CONTRADICTED = 5.0
#: A number that is refused, though it was learned, is shared with another client. It is lowered to
#: so much where each refusal costs a pause, and held until that costs so many times as much as the
#: pause: one instead of two halves the throughput, which is worth a pause soon.
_SHARED, _WORTH = 0.8, 2


class Permit(Struct, frozen=True):
    """A request in flight: the *nth* at once when it was sent at *sent*, in this *generation*."""

    generation: int
    sent: float
    nth: int


class Places:
    """*limit*: the most requests to have in flight, from 1 to *ceiling*; a fraction grows.

    *learned*: how many the server works on at once, 0 if unknown; *estimated*: this is not proven
    yet. *proven*: so many were in flight lately with no refusal in that round and the next.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit: float = min(START, ceiling)
        self.learned = 0
        self.proven = 0
        self._contradicted_until = 0.0
        self._estimated = False
        self._best = 0  # the most that was proven since there is a number
        self._proven_at = 0.0
        self._most = 0  # in flight at once in this round
        self._round = 0.0  # an answer to a request sent since then begins the next round
        self._grows = 0.0  # not before
        self._hold = _HOLD

    def passed(self, permit: Permit, now: float) -> None:
        """A good answer came, to a request sent after the last refusal."""
        nth, limit = permit.nth, self.limit
        if permit.sent >= self._round:
            if self._most >= self.proven or now > self._proven_at + _LATELY:
                self.proven, self._proven_at = self._most, now
                if self._most >= self.learned:
                    self._estimated = False
                    if self.learned > self._best:
                        self._best = self.learned
            self._most, self._round = nth, now
        elif nth > self._most:
            self._most = nth
        if limit < self.ceiling:
            if not self.learned:
                if nth * 2 > limit:
                    self.limit = min(self.ceiling, limit + _GROWTH)
            elif nth + 1 > limit and now >= self._grows:
                self.limit = min(self.ceiling, limit + 1 / limit)

    def refused(self, nth: int, now: float, retry_after: float) -> bool:
        """The *nth* in flight was refused, the first of its generation.

        True if that explains itself: the limit had grown beyond what the server works on.
        """
        self._most, self._round = 0, now
        is_far = nth > _FAR * self.learned + _BEYOND
        if self.learned and (is_far or (retry_after and nth < _MINE * self._best)):
            self.forget(int(self.limit))
            if retry_after:
                self._contradicted_until = now + _CONTRADICTED
        if not 0 < self.learned < nth:
            return False
        self._hold_at(nth - 1, now, retry_after)
        self._estimated = False
        return True

    def is_contradicted(self, now: float) -> bool:
        """Whether a number was seen to be none lately, so that a refusal is one of the rate."""
        return now < self._contradicted_until

    def explain(self, at_once: int, in_flight: int, now: float) -> bool:
        """Whether a limit explains that of *in_flight* requests only *at_once* were let through."""
        if self.is_contradicted(now):
            return False
        if self._estimated:
            return at_once >= _OFF * self.learned
        if self.learned:
            return at_once > 0
        return in_flight > self.proven and at_once >= max(2, _OFF * self.proven)

    def estimate(self, at_once: int, now: float, retry_after: float) -> None:
        """The server works on about *at_once*."""
        before = self.learned
        if not before:
            at_once = max(at_once, self.proven)
        elif retry_after:
            at_once = max(1, min(at_once, int(_SHARED * before)))
        self._hold_at(at_once, now, retry_after)
        self._estimated = True
        if not retry_after:
            self._grows = now
        elif at_once < before:
            pauses = _WORTH * before / (before - at_once)
            self._grows = min(self._grows, now + retry_after * (1 + pauses))

    def forget(self, limit: int) -> None:
        """The server does not refuse by the number in flight. Go on with *limit*."""
        self.learned = self._best = 0
        self.limit = min(limit, self.ceiling)
        self._estimated = False

    def _hold_at(self, limit: int, now: float, retry_after: float) -> None:
        limit = max(1, min(limit, self.ceiling))
        hold = max(_HOLD, _HOLD_PER_SECOND * retry_after)
        longest = _LONGEST_PAUSED if retry_after else _LONGEST
        self._hold = min(longest, max(hold, 2 * self._hold)) if limit == self.learned else hold
        self._grows = now + self._hold
        self.learned = self.limit = limit
        self.proven = min(self.proven, limit)
