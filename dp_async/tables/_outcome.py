"""The result of one list of one account. A value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .. import BadItem, CrawlReport, DpError

ListName: TypeAlias = Literal["works", "messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one list of one account, before it is loaded.

    - *new* and *updated*: rows by comparison with the destination. *gone*: rows marked as gone.
    - *bad_items*: rows that could not be read and are not loaded, with ``on_bad_item="keep"``.
    - *reloaded*: whether all rows were loaded again because the destination, against what was kept,
      did not hold them.
    - *report*: the crawl's; it counts the bad rows too.
    - *error*: what ended the crawl early; the rows before it are loaded all the same, and come
      again in the next run.
    """

    resource: ListName
    app_id: str
    account: str
    new: int
    updated: int
    gone: int
    report: CrawlReport
    bad_items: Sequence[BadItem] = ()
    reloaded: bool = False
    error: DpError | None = None
