"""The way down over pages: what it lacks, and what it leans on. ``test_links`` tests its rules."""

from __future__ import annotations

import pytest

from dp_async._proof.descent import Descent, descended
from dp_async._proof.segments import Order, segments
from dp_async._proof.steps import finished

from .lists import listed, page

FALLING = Order(by_create=False, descending=True)
ROWS = [(0, 20), *((number, 9) for number in range(1, 20)), (20, 3)]


def down(*places: tuple[int, int], rows: list[tuple[int, int]] = ROWS) -> Descent:
    """The way down from the first of the pages at *places*, each of some rows from an offset on."""
    reads = [page(tick, rows, start, size) for tick, (start, size) in enumerate(places)]
    found = finished(segments(reads, [15.0] * len(reads), FALLING))
    return finished(descended(found[0], found, FALLING))


def test_no_pages_lead_nowhere() -> None:
    descent = finished(descended(None, [], FALLING))
    assert (descent.holds, descent.gaps, descent.arrived) == (False, [], False)


def test_pages_that_overlap_by_time_need_no_ties() -> None:
    descent = down((0, 4), (3, 5), (7, 5), rows=listed(12))
    assert not descent.holds  # each begins with the time that the one above ends with
    assert [gap.below.offset for gap in descent.gaps] == [3, 7]
    assert not descent.joins


@pytest.mark.parametrize(
    ("places", "keeps"),
    [
        (((0, 9), (4, 9), (8, 14)), True),
        (((0, 7), (5, 9), (12, 10)), None),  # two pairs
        (((0, 9), (4, 5), (4, 9), (8, 14)), True),
    ],
)
def test_joins_lean_on_rows_that_keep_their_order(
    places: tuple[tuple[int, int], ...], keeps: bool | None
) -> None:
    descent = down(*places)
    assert descent.holds
    assert len(descent.joins) >= 2
    assert finished(descent.keeps_order()) is keeps
