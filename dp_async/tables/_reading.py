"""One list of one account, crawled once: its rows in pieces, then what is left of the crawl.

Knows no destination and no other account.
"""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import pyarrow as pa
from msgspec import Raw, Struct

from .. import BadItem, Client, ConfigError, Crawl, CrawlReport, DpError, Listing, Watermark
from ._documented import key
from ._outcome import ListName
from ._reader import TableReader

S = TypeVar("S", bound=Struct)

#: Rows in one piece: a destination has a high cost for each piece, however small it is.
PIECE = 5_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a sync that both lists share. Raises ConfigError."""

    accounts: Sequence[str]
    full: bool
    reconcile: bool
    allowed_lateness: float
    at_once: int
    progress: Callable[[ListName, str, CrawlReport], object] | None

    def __post_init__(self) -> None:
        if type(self.at_once) is not int or self.at_once < 1:
            raise ConfigError("at_once must be a whole number, 1 or more")


@dataclass(frozen=True, slots=True)
class List(Generic[S]):
    """One of the two lists; *endpoint* is its name in errors."""

    name: ListName
    endpoint: str
    model: type[S]
    listing: Callable[[Client], Listing[S]]

    @property
    def key(self) -> str:
        """The column of the id."""
        return key(self.model)

    def since(
        self,
        client: Client,
        mark: Watermark | None,
        allowed_lateness: float,
        progress: Callable[[CrawlReport], object] | None = None,
    ) -> Crawl[Raw]:
        """A crawl of the raw rows after *mark*. Raises ConfigError for that of another list."""
        rows = self.listing(client).typed(Raw)
        return rows.since(mark, allowed_lateness=allowed_lateness, progress=progress)


class Reading(Generic[S]):
    """The list *of* an *account*, after *mark*: take the ``pieces``, then see what is left.

    *error*: the DpError that ended the crawl. *watermark*: where the next one goes on; None after
    an error. *report*, *bad_items*: the crawl's, with the rows that are no rows of a table.
    """

    def __init__(
        self, of: List[S], client: Client, account: str, plan: Plan, mark: Watermark | None
    ) -> None:
        self.account = account
        self.error: DpError | None = None
        self.report: CrawlReport
        self.bad_items: Sequence[BadItem] = ()
        self.watermark: Watermark | None = None
        self._of = of
        self._client = client
        self._plan = plan
        self._mark = mark
        keep = of.listing(client).options.on_bad_item == "keep"
        self._reader = TableReader(of.endpoint, of.model, keep=keep)

    async def pieces(self, own: Callable[[pa.Table], pa.Table]) -> AsyncGenerator[pa.Table, None]:
        """The rows, about PIECE at a time. A DpError ends them and is kept in ``error``.

        *own* gives a page's rows the columns of the destination's own.
        """
        kept: list[pa.Table] = []
        number = 0
        lateness = self._plan.allowed_lateness
        async with self._of.since(self._client, self._mark, lateness, self._progress) as crawl:
            try:
                async for page in crawl.pages():
                    if page.content:
                        kept.append(own(self._reader(page)))
                        number += kept[-1].num_rows
                    if number >= PIECE:
                        yield _joined(kept)
                        kept, number = [], 0
            except DpError as caught:
                self.error = caught
        if kept:
            yield _joined(kept)
        # The crawl itself goes now: its proof takes memory for each row.
        self.report = self._shown(crawl.report)
        self.bad_items = [*crawl.bad_items, *self._reader.bad_items]
        self.watermark = crawl.watermark if self.error is None else None

    def _shown(self, report: CrawlReport) -> CrawlReport:
        """The crawl's report, with the rows that are no rows of a table as bad ones."""
        bad = len(self._reader.bad_items)
        return replace(report, items=report.items - bad, bad_items=report.bad_items + bad)

    def _progress(self, report: CrawlReport) -> None:
        if self._plan.progress is not None:
            self._plan.progress(self._of.name, self.account, self._shown(report))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with all columns of *tables*; a column that a table lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")
