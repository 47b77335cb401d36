"""Which ids were seen, and which items of a page are fresh. Plans no page."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TypeVar

from .._page.reader import Rows
from .changes import Changes
from .ids import Ids, Kept
from .known import Key

T = TypeVar("T")


class Seen:
    """The ids seen so far; *unique* counts the items that were fresh.

    *added*: the ids of the last page, where all of them were fresh; else None.
    With *verify* off nothing is remembered, and every item is fresh.
    """

    def __init__(self, changes: Changes, *, verify: bool) -> None:
        self.ids = Ids()
        self.added: Kept | None = None
        self.unique = 0
        self._changes = changes
        self._verify = verify

    def sift(
        self, rows: Rows[T], there: Set[int] | None = None
    ) -> tuple[list[T], Sequence[Key], int]:
        """The items not seen before, what a watermark knows them by, and how many were repeated.

        *there*: the ids of *rows* that were seen before, if that is known.
        """
        content, ids = rows.page.content, rows.ids
        if not self._verify:
            self.unique += len(content)
            return content, (), 0
        if self._changes.floor is not None:
            new, keys, repeated = self._changes.sift(rows, self.ids)
            self.unique += len(new)
            return new, keys, repeated
        fresh = content
        added = self.ids.extend(ids, there)
        self.added = added if added.count == len(ids) else None
        if self.added is None:  # some were seen before, or are on this page twice
            wanted, fresh = self.ids.last(added.count), list[T]()
            for item, number in zip(content, ids, strict=True):
                if number in wanted:
                    wanted.remove(number)
                    fresh.append(item)
        self.unique += len(fresh)
        return fresh, (), len(content) - len(fresh)
