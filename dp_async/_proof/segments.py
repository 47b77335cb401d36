"""Orders in which a list may be sorted, and reads as parts of a chain in one of them.

Facts only: how chains go is in ``links``, which pages join within one second in ``ties``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from .reads import Column, Read, is_first, is_last
from .steps import AT_ONCE, finished, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .steps import Steps


class Order(NamedTuple):
    """A way in which the list may be sorted."""

    by_create: bool
    descending: bool
    down_to: float = -inf
    """Rows older than this are not wanted."""
    keeps_ties: bool = True
    """Whether rows with one time may be trusted to keep their order; see 6 in ``certificate``."""

    def column(self, read: Read) -> Column | None:
        return read.by_create if self.by_create else read.by_update

    def is_head(self, read: Read) -> bool:
        """Whether the read reaches the newest row of the list."""
        return is_first(read) if self.descending else is_last(read)

    def is_tail(self, read: Read) -> bool:
        """Whether the read reaches the oldest row of the list, or shows one that is not wanted."""
        column = self.column(read)
        if column and column.oldest < self.down_to:
            return True
        return is_last(read) if self.descending else is_first(read)


class Segment(Struct, gc=False, eq=False):  # one for each page: no collection has to visit them
    """A read as a part of a chain.

    A chain comes from a read that shows a row older than *horizon*. A row that joins two pages
    within one second is older than *age*. Both are infinite where no row moves.
    """

    read: Read
    column: Column
    horizon: float
    age: float

    @property
    def entry(self) -> float:
        """P links down to this one, by (a) and (b), if P shows a row older than this time."""
        return entry_of(self.column, self.horizon)

    @property
    def oldest(self) -> int:
        return self.column.oldest


def entry_of(column: Column, horizon: float) -> float:
    return min(column.newest, horizon)


def segments(reads: Sequence[Read], bounds: Sequence[float], order: Order) -> Steps[list[Segment]]:
    """The reads that show times as segments; *bounds* are their horizons."""
    found: list[Segment] = []
    for number, (read, horizon) in enumerate(zip(reads, bounds, strict=True)):
        if not number % AT_ONCE:
            yield
        if column := order.column(read):
            bound = update_horizon(horizon, order)
            found.append(Segment(read, column, bound, bound))
    return found


def update_horizon(horizon: float, order: Order) -> float:
    """Clause (a): rows older than this do not move. In a list by create time none does."""
    return inf if order.by_create else horizon


def downward(found: Sequence[Segment], order: Order) -> Steps[list[Segment]]:
    """*found* in the order in which a chain can reach them; those of one second by their place."""
    sign = 1 if order.descending else -1

    def entry(segment: Segment) -> float:
        return -segment.entry

    def offset(segment: Segment) -> int:
        return sign * segment.read.offset

    # Two keys of plain numbers: the garbage collector would visit the pairs.
    entries = yield from mapped(entry, found)
    offsets = yield from mapped(offset, found)
    places = sorted(range(len(found)), key=offsets.__getitem__)
    yield
    places.sort(key=entries.__getitem__)
    yield
    return list(map(found.__getitem__, places))


class Orders:
    """The orders that no answer contradicts, as answers come in: a chain has to hold for each."""

    def __init__(self) -> None:
        self._updates = _Sorted()
        self._creates = _Sorted()

    def add(self, read: Read) -> None:
        """Take in one more read."""
        for column, shown in (
            (self._updates, read.by_update),
            (self._creates, read.by_create),
        ):
            if shown is not None:
                column.is_shown = True
                column.falling = column.falling and shown.falling
                column.rising = column.rising and shown.rising

    def possible(self) -> list[Order]:
        """The orders, none before a read shows times."""
        updates, creates = self._updates.directions(), self._creates.directions()
        return [
            *(Order(False, descending) for descending in updates),
            *(Order(True, descending, keeps_ties=bool(updates)) for descending in creates),
        ]


class _Sorted(Struct):
    """Whether one column is shown, and never rises or never falls on a page."""

    is_shown: bool = False
    falling: bool = True
    rising: bool = True

    def directions(self) -> list[bool]:
        """Those in which the list may be sorted by it, as ``Order.descending``."""
        found = ((True, self.falling), (False, self.rising))
        return [descending for descending, holds in found if self.is_shown and holds]


def possible_orders(reads: Sequence[Read]) -> list[Order]:
    """The orders that no answer contradicts."""
    return finished(orders_in_steps(reads))


def orders_in_steps(reads: Sequence[Read]) -> Steps[list[Order]]:
    """``possible_orders``, none of whose steps takes long."""
    found = Orders()
    for number, read in enumerate(reads):
        if not number % AT_ONCE:
            yield
        found.add(read)
    return found.possible()


def wanted_orders(reads: Sequence[Read], down_to: float) -> Sequence[Order]:
    """The possible orders; with a *down_to*, only those that are newest first."""
    return wanted_of(possible_orders(reads), down_to)


def wanted_of(orders: Sequence[Order], down_to: float) -> Sequence[Order]:
    """Those of *orders* that are wanted."""
    if down_to == -inf:
        return orders
    return [order._replace(down_to=down_to) for order in orders if order.descending]
