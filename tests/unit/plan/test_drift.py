"""How far pages overlap, by how the list was seen to slip."""

from __future__ import annotations

from dp_async._plan.drift import LEAST_OVERLAP, Drift


def test_pages_share_more_rows_the_further_they_slip() -> None:
    drift = Drift()
    assert drift.overlap == LEAST_OVERLAP
    drift.slipped(8)
    assert drift.slip == 1
    assert drift.overlap == LEAST_OVERLAP + 2
    drift.slipped(1)
    assert drift.slip == 1
    drift.slipped(0)
    assert drift.slip == 0.875
    assert drift.times == 0


def test_a_page_across_boundaries_shows_a_quarter_of_a_page_on_both_sides_or_more() -> None:
    drift = Drift()
    assert [drift.joining(size) for size in (4, 20, 100)] == [2, 5, 25]
    drift.slipped(80)
    assert [drift.joining(size) for size in (20, 100)] == [10, 25]
