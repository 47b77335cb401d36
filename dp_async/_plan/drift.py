"""How a list was seen to change under a crawl, and how far pages overlap for it. Plans no page."""

from __future__ import annotations

LEAST_OVERLAP = 4


class Drift:
    """How the list was seen to change under the crawl.

    *times*: how often a change was noticed. *slip*: by how many rows two pages shift against each
    other between their reads, a moving mean.
    """

    def __init__(self) -> None:
        self.times = 0
        self.slip = 0.0

    def slipped(self, rows: int) -> None:
        """Two pages were found to have shifted by *rows* against each other."""
        self.slip += (rows - self.slip) / 8

    @property
    def overlap(self) -> int:
        """Rows that neighbouring pages should share, so that they still do when both are read."""
        return LEAST_OVERLAP + round(2 * self.slip)

    def joining(self, size: int) -> int:
        """Rows on both sides of each boundary that a page across several should show.

        At least a quarter of the *size* of a page, since it is read later than they were.
        """
        return min(max(self.overlap, size // 4), size // 2)
