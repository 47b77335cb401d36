"""The pace at a server whose limit another client uses up at any moment, so that slower is no help.

No waiting and no clock. About the same share of the requests is refused then, however few are sent.
So the pace is changed from time to time, faster and slower in turn, and of the two paces the faster
is kept if it is worth it: it lets through at least half of what it sends more (a trial, as in PCC:
Dong et al., NSDI 2015).
"""

from __future__ import annotations

#: A pace that is tried is so many times the other; the faster is kept if so many times as much is
#: let through.
_STEP, _GAIN = 1.5, 1.25
#: Answers by which a pace is judged, and at most between two trials: they are doubled after each
#: that changed nothing.
_ENOUGH, _LONGEST = 24, 96
#: The share that is refused, at least and at most. With fewer refused, the other client is gone;
#: with more, the server must allow less than before.
_LEAST, _MOST = 0.03, 0.45


class Contested:
    """*rate*: requests a second, of which about *share* are refused; *tried*: the rate to send at.

    *is_over*: the pace is contested no longer.
    """

    def __init__(self, rate: float, share: float) -> None:
        self.rate = rate
        self.share = share
        self.is_over = False
        self._trial = 1.0  # times the rate
        self._next = _STEP
        self._good = self._refused = 0
        self._enough = _ENOUGH

    @property
    def tried(self) -> float:
        return self.rate * self._trial

    def answered(self, *, good: bool) -> None:
        """The server let a request through, or refused it."""
        self._good += good
        self._refused += not good
        if self._refused - self._good > _MOST * _ENOUGH:
            self.is_over = True  # do not wait for the rest
        elif self._good + self._refused >= (self._enough if self._trial == 1 else _ENOUGH):
            share = self._refused / (self._good + self._refused)
            self._good = self._refused = 0
            if self._trial == 1:
                self.share, self._trial = share, self._next
                self.is_over = not _LEAST <= share <= _MOST
            else:
                self._judge(share)

    def _judge(self, share: float) -> None:
        """End the trial, of which *share* was refused."""
        is_faster = self._trial > 1
        fast, slow = (share, self.share) if is_faster else (self.share, share)
        is_worth_it = (1 - fast) * _STEP >= (1 - slow) * _GAIN
        if is_worth_it == is_faster:  # go on in this direction
            self.rate, self.share, self._enough = self.tried, share, _ENOUGH
        else:
            self._enough = min(_LONGEST, 2 * self._enough)
            self._trial, self._next = 1.0, 1 / self._next
