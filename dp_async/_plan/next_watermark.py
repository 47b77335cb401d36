"""The next watermark: which of the rows shown or delivered it remembers, in a bounded size.

Pure functions. What changed, and whether a gap is possible, is decided in ``changes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .known import CAPACITY, CROWD_COST, SHORT, summary
from .order import Order, Row
from .watermark import Watermark


def mark_at(
    scope: str,
    newest: int,
    shown: Iterable[Row[int]],
    order: Order,
    floor: int,
    compared: int,
    before: Sequence[int],
) -> Watermark:
    """The watermark at the time *newest*, once all older changes were delivered.

    - *shown*: the rows near it, whose items are their digests.
    - *floor*: from this place on, rows are wanted again. *compared*: down to there, all were shown.
    - *before*: digests that the last watermark remembers.
    """
    wanted: list[tuple[int, int]] = []
    below: list[tuple[int, int]] = []
    others: list[int] = []
    for row in shown:
        places = order.places(row.updated, row.created)
        if places[0] >= floor:
            wanted.append((places[0], row.item))
        elif max(places) >= compared:
            below.append((max(places), row.item))
        elif row.updated >= floor:
            others.append(row.item)
    single, crowds = summary(wanted, CAPACITY)
    space = CAPACITY - CROWD_COST * len(crowds)
    single = [*single, *others][:space]
    space -= len(single)
    below.sort(reverse=True)
    if len(below) > space:
        compared = below[space][0] + 1
        below = [row for row in below if row[0] >= compared]
    single += [digest for _, digest in below]
    if not order.by_update:
        # A row that was not shown is gone, or by create time it stands further down.
        known = {digest & SHORT for digest in single}
        single += [one for one in before if one not in known]
    return Watermark.at(
        scope,
        newest,
        single[: CAPACITY - CROWD_COST * len(crowds)],
        crowds,
        compared=compared,
        recent=len(wanted) + len(others),
        by_create=order.by_create is not False,
    )


def mark_after(
    after: Watermark, delivered: Sequence[tuple[int, int]], floor: int, *, by_update: bool
) -> Watermark:
    """*after*, with times and digests of what was *delivered* since, as far as it has space.

    Rows for which there is none come again. From *floor* on, rows are wanted again.
    """
    single, crowds, compared = after.digests, [*after.crowds], after.compared

    def space() -> int:
        return CAPACITY - len(single) - CROWD_COST * len(crowds)

    if len(delivered) > space():  # the rows that are not wanted again make space
        del single[max(after.recent - sum(crowd.count for crowd in crowds), 0) :]
        compared = max(compared, floor)
    if space() >= CROWD_COST and by_update:
        more, new = summary(delivered, space())
    else:
        more, new = [digest for _, digest in delivered][: space()], []
    return Watermark.at(
        after.scope,
        after.updated,
        [*more, *single],
        [*crowds, *new],
        compared=compared,
        recent=after.recent + len(delivered),
        by_create=after.by_create,
    )
