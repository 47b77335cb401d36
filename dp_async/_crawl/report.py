"""What a crawl reports: its counts, its verdict (complete or not, and why), and the error of it.

Reads the state of a crawl and changes none of it; no clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias, TypeVar

from .._call.stats import Tally
from .._errors import DpError
from .._page.reader import BadItem
from .._plan.walk import Walk
from .._settings import CrawlOptions
from .delivery import Delivery

T = TypeVar("T")

#: How far a crawl is. Until it has ended, this is the reason why it has no verdict.
Phase: TypeAlias = Literal["not started", "not finished", "stopped early", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlReport:
    """The state of a crawl at the moment you read it.

    - *complete*: True, proven; False, not; None, not finished, stopped early or not verified.
      *reason* says why, in words.
    - *margin*: the proof holds even if rows become visible so many seconds after the update time
      they carry, or up to ``CrawlOptions.allowed_lateness`` if that is more than a whole number;
      ``inf`` where it does not matter, None without a proof.
    - *items*, *pages*: delivered to the consumer. *requests*: HTTP requests sent, of which
      *retries* repeated one that failed.
    - *passes*: the pass over the list, plus the rounds of repair after it.
    - *duplicates*: rows read more than once within a pass, overlaps included; each is delivered
      once. *bad_items*: rows that could not be read and were kept apart.
    - *total_elements*: the last total the server gave; *drifted*: the list changed during the
      crawl.
    - *max_in_flight*: the most requests of this crawl in flight at once.
    - *elapsed*: seconds from the first request to the end, or until now.
    """

    complete: bool | None
    reason: str
    margin: float | None
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

    @property
    def summary(self) -> str:
        """One line: the counts, the verdict, and its reason."""
        if not self.requests:
            return self.reason
        requests = "1 request" if self.requests == 1 else f"{self.requests:,} requests"
        counts = f"{self.items:,} of {self.total_elements:,} items by {requests}"
        verdict = {True: "complete: ", False: "not complete: ", None: ""}[self.complete]
        return f"{counts}, {verdict}{self.reason}"


class IncompleteCrawl(DpError):
    """The crawl ended and is known not to be complete. ``report`` says why."""

    def __init__(self, report: CrawlReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return f"the crawl is not complete: {self.report.reason}"


def make_report(
    phase: Phase,
    walk: Walk[T],
    delivery: Delivery[T],
    tally: Tally,
    options: CrawlOptions,
    *,
    waiting: int,
    elapsed: float,
    unstamped: str = "",
) -> CrawlReport:
    """The report of a crawl; *waiting* items of the last page are not delivered yet.

    *unstamped*: the filter that rows enter without a new update time, if there is one.
    """
    complete, reason = verdict(phase, walk, delivery.bad.values(), options, unstamped)
    return CrawlReport(
        complete=complete,
        reason=reason,
        margin=walk.evidence.margin if complete else None,
        items=delivery.items - waiting,
        pages=delivery.pages,
        requests=tally.requests,
        retries=tally.retries,
        passes=walk.evidence.passes,
        duplicates=delivery.duplicates,
        bad_items=len(delivery.bad),
        total_elements=walk.evidence.total,
        drifted=walk.evidence.drifted,
        max_in_flight=tally.max_in_flight,
        elapsed=elapsed,
    )


def verdict(
    phase: Phase,
    walk: Walk[T],
    bad: Collection[BadItem],
    options: CrawlOptions,
    unstamped: str = "",
) -> tuple[bool | None, str]:
    """Whether a crawl is complete (None: not known), and why."""
    if phase != "ended":
        return None, phase
    if not options.verify:
        return None, "not verified"
    if walk.progress.resumed:
        return None, "resumed: the pages before the checkpoint were not read again"
    if walk.evidence.decision is None or not walk.progress.finished:
        return None, f"stopped at the limit of {options.limit} items"
    nameless = sum(item.id is None for item in bad)
    if nameless:
        return False, f"{nameless} rows have no id that can be read: see bad_items"
    if unstamped and walk.evidence.complete and walk.evidence.changes.floor is not None:
        return None, (
            f"a row may enter {unstamped} without a new update time, "
            "and then stands below the newest rows, where it was not looked for"
        )
    if unstamped and walk.evidence.complete and walk.evidence.margin != inf:
        return None, (
            f"a row may enter {unstamped} without a new update time, "
            "so one that came in while the list was read cannot be told from the others"
        )
    reason = walk.evidence.decision.reason
    started_over = walk.progress.started_over or walk.evidence.changes.started_over
    if started_over:
        reason += f" (started over: {started_over})"
    return walk.evidence.complete, reason
