"""The pause that all calls of a client share after a refusal. No waiting and no clock."""

from __future__ import annotations

import math
from collections.abc import Callable

from .._errors import ClientClosed, RateLimited

#: Jitter lengthens a wait that the server asked for by up to this share.
_JITTER = 0.1
#: Differences between times up to this are rounding.
_ROUNDING = 0.001
#: The first wait after a refusal of everything, as a share of the base; and how it grows. What is
#: waited for is as a rule the end of a second, so that a short first wait loses little time; where
#: it is the end of a minute, waits that double end long after it.
_FIRST, _GROWTH = 1 / 4, 1.5


class Backoff:
    """*ends*: no call is sent before.

    *base* and *cap* bound the waits, in seconds; *jitter* is uniform over [0, 1).
    """

    def __init__(self, base: float, cap: float, jitter: Callable[[], float]) -> None:
        self.cap = cap
        self.ends = 0.0
        self._base = base
        self._jitter = jitter
        self._ends_unjittered = 0.0  # the same, less the jitter on top of the server's own wait
        self._in_a_row = 0

    def obey(self, retry_after: float, now: float) -> None:
        """Pause for the seconds that the server asked for, and jitter, unless it is longer already.

        Jitter does not lengthen a wait beyond the cap.
        """
        if now + retry_after > self._ends_unjittered:
            self._ends_unjittered = now + retry_after
            jitter = self._jitter() * min(self.cap, self._base, _JITTER * retry_after)
            wait = max(retry_after, min(retry_after + jitter, self.cap))
            self.ends = max(self.ends, now + wait)

    def grow(self, now: float) -> None:
        """The server refused everything and did not say until when: exponential, full jitter."""
        # The exponent is bounded: 1.5 ** 1751 is an OverflowError.
        most = self._base * _FIRST * _GROWTH ** min(self._in_a_row, 64)
        wait = self._jitter() * min(self.cap, most)
        self._in_a_row += 1
        self.ends = max(self.ends, now + wait)
        self._ends_unjittered = max(self._ends_unjittered, now + wait)

    def follow(self, seconds: float, now: float) -> None:
        """Pause for the rest of a pause that clients share, which spaces what comes after it."""
        self.ends = max(self.ends, now + seconds)
        self._ends_unjittered = max(self._ends_unjittered, now + seconds)

    def reset(self) -> None:
        """A call was let through: the next backoff starts at its shortest again."""
        self._in_a_row = 0

    def close(self) -> None:
        """Pause for ever."""
        self.ends = math.inf

    def check(self, endpoint: str, cap: float, now: float) -> None:
        """Raise RateLimited if the pause is longer than *cap* seconds, ClientClosed if for ever."""
        if self.ends == math.inf:
            raise ClientClosed("the client is closed")
        if cap < self.least_cap(now):
            wait = self.ends - now
            raise RateLimited(
                f"{endpoint}: not sent: the server refused a request, so that all calls pause for "
                f"another {wait:.0f} s, and RetryPolicy.cap is {cap:g} s",
                endpoint=endpoint,
                retry_after=wait,
            )

    def least_cap(self, now: float) -> float:
        """The least cap of a caller that still waits: without jitter, which is chance."""
        return self._ends_unjittered - now - _ROUNDING
