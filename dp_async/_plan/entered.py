"""Which pages show only rows that entered since the crawl began. Plans no page."""

from __future__ import annotations

from math import inf

from .._proof.reads import Read, is_last
from .evidence import Evidence


def is_new(evidence: Evidence, read: Read) -> bool:
    """Whether every row of *read* entered since the crawl began."""
    return seconds_above_start(evidence, read) >= 0


def seconds_above_start(evidence: Evidence, read: Read) -> float:
    """How many seconds newer *read* is, at its end, than any row when the crawl began.

    Allowed lateness counts as newer. Negative if *read* ends lower, or if that is not known.
    """
    shown, first = read.by_update, newest_at_first(evidence)
    if not shown or first is None:
        return -1
    return shown.oldest - (first - evidence.options.allowed_lateness)


def newest_at_first(evidence: Evidence) -> float | None:
    """The newest update time when the newest end was first read; None if that is not known."""
    first: Read | None = evidence.reads[0]
    if evidence.is_ascending:
        first = next((read for read in evidence.reads if is_last(read)), None)
    return first.newest_past if first and first.newest_past > -inf else None
