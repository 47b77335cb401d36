"""What a client counts: requests, retries, throttles, requests in flight. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


class Tally:
    """Counts requests; everything counted here is counted in *parent* too."""

    __slots__ = ("in_flight", "max_in_flight", "parent", "requests", "retries", "throttles")

    def __init__(self, parent: Tally | None = None) -> None:
        self.parent = parent
        self.requests = self.retries = self.throttles = 0
        self.in_flight = self.max_in_flight = 0

    def began(self) -> None:
        """A request is sent."""
        tally: Tally | None = self
        while tally is not None:
            tally.requests += 1
            tally.in_flight += 1
            if tally.in_flight > tally.max_in_flight:
                tally.max_in_flight = tally.in_flight
            tally = tally.parent

    def ended(self) -> None:
        """A request was answered, failed or was cancelled."""
        tally: Tally | None = self
        while tally is not None:
            tally.in_flight -= 1
            tally = tally.parent

    def throttled(self) -> None:
        """A request was answered 429."""
        self.throttles += 1
        if self.parent is not None:
            self.parent.throttled()

    def retried(self) -> None:
        """A call is about to be repeated."""
        self.retries += 1
        if self.parent is not None:
            self.parent.retried()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """Counts of a client and its views, and what its refusals taught it.

    - *requests* were sent, *retries* of them to repeat a failed one; *throttles* were answered 429.
      *in_flight*: requests in flight now.
    - *limit*: how many requests the server works on at once; *pace*: how many it accepts a second.
      None where no refusal has shown it.
    - *pause*: seconds until requests are sent again, 0 while nothing is paused.
    """

    requests: int
    retries: int
    throttles: int
    in_flight: int
    limit: int | None = None
    pace: float | None = None
    pause: float = 0.0
