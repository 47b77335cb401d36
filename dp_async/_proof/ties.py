"""Which pages join within one second: those that share rows of it, in one order.

The docstring of ``certificate`` states clause (c), which this file checks. It knows one second at a
time; how chains go is in ``links``.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING

from .reads import is_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .segments import Segment
    from .steps import Steps

SHARED = 2
"""How many rows of one second two pages must share to join in it: one alone shows no order."""
AGREEING = 4
"""Pairs of rows that must have kept their order: by chance, two rows do so every second time."""
SEARCHED = 1000
"""Pages that are searched for them."""
PAIRS_AT_ONCE = 20
"""Pages that are compared in one step."""


class Second:
    """The pages that show rows of one *time*, and how they join.

    *entries* are the pages whose newest row has that time; *others* show it too, and are compared
    as well. *swapped*: two of them show two rows in opposite orders, so no page joins another.
    *agreed*: how many pairs of rows pages that end in different places show in one order.
    """

    def __init__(
        self, time: int, entries: Sequence[Segment], others: Iterable[Segment], *, descending: bool
    ) -> None:
        self.time = time
        self._descending = descending
        self._tops: dict[int, list[Segment]] = {}
        self._entered: set[int] = set()
        for entry in entries:
            self._tops.setdefault(self._rows(entry)[0], []).append(entry)
        old_enough = [segment for segment in (*entries, *others) if time < segment.age]
        self.swapped = are_swapped([self._rows(segment) for segment in old_enough])
        self.agreed = len(
            list(kept_order(map(self._rows, {end_of(one): one for one in old_enough}.values())))
        )

    def below(self, above: Segment) -> list[tuple[Segment, float]]:
        """The pages that *above* joins, by clause (c), each with the horizon that must be newer.

        *above* shows all rows of the second that are its last ones.
        """
        if self.swapped or above.oldest != self.time:
            return []
        rows = self._rows(above)
        found: list[tuple[Segment, float]] = []
        for place, row in enumerate(rows[: len(rows) - SHARED + 1]):
            for entry in self._tops.get(row, ()):
                horizon = joining_horizon(above, entry)
                if (
                    entry is not above
                    and self.time < horizon
                    and is_continued(rows[place:], self._rows(entry))
                ):
                    found.append((entry, horizon))
        return found

    def first_reach(self, segment: Segment) -> bool:
        """Note that a chain enters *segment*; whether none did before."""
        number = len(self._entered)
        self._entered.add(id(segment))
        return len(self._entered) > number

    def _rows(self, segment: Segment) -> list[int]:
        """The ids of the rows of this second, the newest first."""
        column = segment.column
        ids = [row for row, time in zip(column.ids, column.times, strict=True) if time == self.time]
        return ids if self._descending else ids[::-1]


def joining_horizon(above: Segment, below: Segment) -> float:
    """A row older than this was not updated between the two reads, nor after *below*."""
    return below.age if is_before(below.read, above.read) else min(above.age, below.age)


def is_continued(upper: Sequence[int], lower: Sequence[int]) -> bool:
    """Whether *lower* shows enough of *upper* again, and in one order; others have left since."""
    rows = set(lower)
    shared = [row for row in upper if row in rows]
    rows = set(shared)
    enough = len(shared) >= SHARED and 2 * len(shared) >= len(upper)
    return enough and shared == [row for row in lower if row in rows]


def are_swapped(pages: Iterable[Sequence[int]]) -> bool:
    """Whether two of *pages* show two rows in opposite orders."""
    return not all(kept_order(pages))


def kept_order(pages: Iterable[Sequence[int]]) -> Iterator[bool]:
    """For pairs of rows that two of *pages* show, whether they stand in one order.

    Each row is compared with its neighbour as the last page before showed both: enough to notice an
    order that depends on the page.
    """
    last: dict[int, tuple[int, int]] = {}
    for number, page in enumerate(pages):
        for upper, lower in pairwise([row for row in page if row in last]):
            if last[upper][0] == last[lower][0]:
                yield last[upper][1] < last[lower][1]
        last.update((row, (number, place)) for place, row in enumerate(page))


def keep_order(found: Sequence[Segment]) -> Steps[bool | None]:
    """Whether rows with one time keep their order on *found*; None if too few tell.

    *found* are sorted: neighbours are compared, until enough pairs agree. Only pages that end in
    different places tell, as one request may always be answered in one order.
    """
    agreed = 0
    for number, (first, second) in enumerate(pairwise(found[:SEARCHED])):
        if enough(agreed):
            break
        if not number % PAIRS_AT_ONCE:
            yield
        if end_of(first) != end_of(second):
            kept = list(chain.from_iterable(map(kept_order, ties_of(first, second))))
            if not all(kept):
                return False
            agreed += len(kept)
    return enough(agreed) or None


def enough(agreed: int) -> bool:
    """Whether so many pairs that agree show that rows with one time keep their order."""
    return agreed >= AGREEING


def end_of(segment: Segment) -> int:
    """Where the page ends."""
    return segment.read.offset + segment.read.count


def ties_of(first: Segment, second: Segment) -> Iterable[tuple[list[int], list[int]]]:
    """For each time older than both ages: its rows that both pages show, in the order of each."""
    shared = set(first.column.ids).intersection(second.column.ids)
    rows: dict[int, tuple[list[int], list[int]]] = {}
    if len(shared) > 1:
        age = min(first.age, second.age)
        for number, segment in enumerate((first, second)):
            for row, time in zip(segment.column.ids, segment.column.times, strict=True):
                if time < age and row in shared:
                    rows.setdefault(time, ([], []))[number].append(row)
    return rows.values()
