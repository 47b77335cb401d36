"""The rows of an answer that have times, and the places that these give them in the list.

Pure values. Knows nothing of what was delivered before.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Generic, NamedTuple, TypeVar

from .._page.reader import Rows
from .._proof.reads import Read

T = TypeVar("T")

LOWEST = -(2**53)
"""Below any time."""


class Row(NamedTuple, Generic[T]):
    """A row of an answer with an id and an update time; *created*: None where it is not shown."""

    number: int
    updated: int
    created: int | None
    item: T


class Order(NamedTuple):
    """How the list is sorted, newest first: *by_update*, *by_create*, or not known which of both.

    *by_update*: no answer contradicts it. *by_create*: the same; None before any create time.
    """

    by_update: bool = True
    by_create: bool | None = None

    def after(self, read: Read) -> Order:
        """What is left of it by *read*."""
        update, create = read.by_update, read.by_create
        by_create = self.by_create
        if create is not None:
            by_create = by_create is not False and create.falling
        return Order(self.by_update and (update is None or update.falling), by_create)

    @property
    def is_newest_first(self) -> bool:
        return self.by_update or bool(self.by_create)

    def places(self, updated: int, created: int | None) -> list[int]:
        """The times by which a row may be sorted; ``LOWEST`` where that is not shown."""
        return [
            *([updated] if self.by_update else ()),
            *([LOWEST if created is None else created] if self.by_create else ()),
        ]


def timed(rows: Rows[T]) -> Iterable[Row[T]]:
    """The rows that have an id, an update time and an item, with their create times if shown."""
    created: Iterable[int | None] = rows.created or repeat(None)
    times = dict(zip(rows.keyed, zip(rows.updated, created, strict=False), strict=True))
    for number, item in zip(rows.ids, rows.page.content, strict=True):
        if number in times:
            yield Row(number, *times[number], item)
