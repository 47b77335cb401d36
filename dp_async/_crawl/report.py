"""What is counted, what a client and a crawl say of themselves, and the error that carries it.

Plain values; no engine, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import DpError


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
