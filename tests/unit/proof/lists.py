"""Short lists, and reads of them, that a test spells out."""

from __future__ import annotations

from array import array
from math import inf
from typing import TYPE_CHECKING

from dp_async._proof.reads import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOWED_LATENESS = 2.0


def read(
    tick: int,
    offset: int,
    size: int,
    rows: Sequence[tuple[int, int]],
    *,
    total: int = 0,
    bad: int = 0,
    created: Sequence[int] | None = None,
    now: float = inf,
) -> Read:
    """A read at *tick* of *rows* as (id, update time), and *bad* rows without one of the two."""
    ids = array("q", (row for row, _ in rows))
    updated = array("q", (time for _, time in rows))
    return Read.of(
        sent=2 * tick,
        answered=2 * tick + 1,
        offset=offset,
        size=size,
        count=len(rows) + bad,
        total=total,
        ids=ids,
        updated=updated,
        created=updated if created is None else array("q", created),
        now=now,
    )


def listed(length: int, *, apart: int = 1) -> list[tuple[int, int]]:
    """Rows newest first, each *apart* seconds older than the one above, from 1000 down."""
    return [(place + 1, 1000 - place * apart) for place in range(length)]


def page(tick: int, rows: Sequence[tuple[int, int]], offset: int, size: int) -> Read:
    return read(tick, offset, size, rows[offset : offset + size], total=len(rows))
