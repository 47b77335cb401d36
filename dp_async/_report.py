"""What is counted, what a client and a crawl say of themselves, and the error that carries it.

Plain values; no engine, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._errors import DpError


class Tally:
    """Counts what was sent; what is counted here is counted in *parent* too."""

    __slots__ = ("in_flight", "max_in_flight", "parent", "requests", "retries", "throttles")

    def __init__(self, parent: Tally | None = None) -> None:
        self.parent = parent
        self.requests = self.retries = self.throttles = 0
        self.in_flight = self.max_in_flight = 0

    def began(self) -> None:
        """A request is sent."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if self.parent is not None:
            self.parent.began()

    def ended(self) -> None:
        """A request was answered, failed or was cancelled."""
        self.in_flight -= 1
        if self.parent is not None:
            self.parent.ended()

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
    """What a client and its views have done: *in_flight* is now, the others since it was made.

    *requests* were sent, of which *retries* repeated a failed one; *throttles* were answered 429.
    """

    requests: int
    retries: int
    throttles: int
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request and what came of it, for whoever observes a client.

    *number* counts the attempts of one call from 1; *seconds* from sending until the whole answer.
    *status* is HTTP's and *code* that of an envelope that was good or said no, None where there was
    none; *error* is the name of the error's class, "" for a good answer.
    """

    endpoint: str
    number: int
    seconds: float
    status: int | None = None
    code: int | None = None
    request_id: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlReport:
    """Where a crawl stands, right at the moment it was asked for.

    - *complete*: True, proven; False, not; None, not finished, stopped early or not verified.
      *reason* says why, in words.
    - *items*, *pages*: delivered to the consumer. *requests*: HTTP requests sent, of which
      *retries* repeated one that failed.
    - *passes*: the pass over the list, and each round of mending after it.
    - *duplicates*: rows that came again within a pass, those of overlaps included, and were not
      delivered again. *bad_items*: rows that could not be read and were kept apart.
    - *total_elements*: the last total the server gave; *drifted*: it was seen to change.
    - *max_in_flight*: the most requests of this crawl under way at once.
    - *elapsed*: seconds from the first request to the end, or until now.
    """

    complete: bool | None
    reason: str
    items: int
    pages: int
    requests: int
    retries: int
    passes: int
    duplicates: int
    bad_items: int
    total_elements: int
    drifted: bool
    max_in_flight: int
    elapsed: float


class IncompleteCrawl(DpError):
    """The crawl ended and is known not to be complete. ``report`` says why."""

    def __init__(self, report: CrawlReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return f"the crawl is not complete: {self.report.reason}"
