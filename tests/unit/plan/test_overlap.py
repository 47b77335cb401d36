"""The frontier of a pass: how far it has come, which pages share rows, which are read once more."""

from __future__ import annotations

from itertools import permutations

import pytest

from dp_async._plan.drift import Drift
from dp_async._plan.overlap import Frontier
from dp_async._plan.page_ref import PageRef
from dp_async._proof.reads import Read


def frontier_of(size: int = 10, edge: int = 10) -> tuple[Frontier, Drift]:
    drift = Drift()
    return Frontier(drift, size, edge), drift


def read(*ids: int) -> Read:
    """A read of rows with these ids."""
    return Read.of(
        sent=0,
        answered=1,
        offset=0,
        size=10,
        count=len(ids),
        total=100,
        ids=ids,
        updated=ids,
        created=(),
    )


def shown(ref: PageRef) -> Read:
    """What *ref* shows of a list whose ids are its offsets."""
    return read(*range(ref.start, ref.end))


def repairs(frontier: Frontier) -> list[PageRef]:
    """All pages that are to be read once more."""
    found: list[PageRef] = []
    while (ref := frontier.repair()) is not None:
        found.append(ref)
    return found


def test_plain_pages_share_no_row() -> None:
    frontier, _ = frontier_of(edge=20)
    assert [frontier.plain(), frontier.plain()] == [(3, 10), (4, 10)]
    assert frontier.edge == 40
    assert not frontier.overlapping
    assert repairs(frontier) == []


def test_a_plain_page_begins_where_the_page_of_the_edge_does() -> None:
    frontier, _ = frontier_of(edge=13)
    assert frontier.plain() == (2, 10)
    assert frontier.edge == 20


def test_once_pages_overlap_each_boundary_above_is_read_once_more() -> None:
    frontier, _ = frontier_of(edge=40)
    frontier.overlap()
    assert frontier.overlapping
    assert list(frontier.unjoined) == [10, 20, 30]
    assert repairs(frontier) == []
    frontier.join(10)
    assert not frontier.unjoined
    found = repairs(frontier)
    assert sorted(found, key=lambda ref: ref.start) == [(2, 7), (3, 8), (4, 9)]
    for ref, boundary in zip(sorted(found), (10, 20, 30), strict=True):
        assert ref.start < boundary < ref.end
    assert frontier.deferred == set(found)


def test_a_wide_page_reads_several_boundaries_once_more() -> None:
    frontier, drift = frontier_of(size=20, edge=400)
    frontier.overlap()
    frontier.join(80)
    found = repairs(frontier)
    assert len(found) <= 8
    for boundary in range(20, 400, 20):
        assert any(ref.start <= boundary - 5 <= boundary + 5 <= ref.end for ref in found)
    frontier, drift = frontier_of(size=20, edge=400)
    frontier.overlap()
    drift.slip = 9.0  # so much room that a page has place for few of them
    frontier.join(40)
    assert len(repairs(frontier)) > 10


def test_a_page_is_deferred_once_it_is_requested() -> None:
    frontier, _ = frontier_of(edge=30)
    frontier.overlap()
    frontier.join(10)
    deferred = frontier.deferred
    assert not deferred
    assert frontier.repair() in deferred
    assert len(deferred) == 1


@pytest.mark.parametrize(("overlap", "ref"), [(0, (2, 10)), (4, (2, 6)), (5, (2, 6)), (9, (2, 6))])
def test_the_next_page_shares_rows_but_no_more_than_half(
    overlap: int, ref: tuple[int, int]
) -> None:
    frontier, _ = frontier_of()
    assert frontier.advance(overlap) == ref
    assert frontier.edge == PageRef(*ref).end
    frontier, _ = frontier_of(edge=15)
    assert frontier.advance(9) == (2, 10)


def test_pages_that_share_what_is_meant_need_no_repair() -> None:
    frontier, drift = frontier_of()
    refs = [frontier.advance(4) for _ in range(4)]
    for ref in refs:
        frontier.learned(ref, shown(ref))
    assert repairs(frontier) == []
    assert drift.slip == 0


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_neighbours_that_share_no_row_are_repaired_once(order: tuple[int, ...]) -> None:
    frontier, drift = frontier_of()
    refs = [frontier.advance(4) for _ in range(3)]
    reads = [shown(refs[0]), read(*range(500, 510)), shown(refs[2])]
    for place in order:
        frontier.learned(refs[place], reads[place])
    found = repairs(frontier)
    assert len(found) == 2
    for ref in refs[:2]:
        assert any(again.start < ref.end < again.end for again in found)
    slip = drift.slip
    assert slip > 0
    frontier.learned(refs[1], reads[1])
    assert repairs(frontier) == []
    assert drift.slip > slip


def test_the_slip_is_how_many_rows_neighbours_share_more_or_less_than_meant() -> None:
    for shift, slip in ((0, 0), (2, 2), (-2, 2)):
        frontier, drift = frontier_of()
        above, below = frontier.advance(4), frontier.advance(4)
        assert above.end - below.start == 4
        frontier.learned(above, shown(above))
        frontier.learned(below, read(*range(below.start + shift, below.end)))
        assert drift.slip == slip / 8
        assert repairs(frontier) == []


def test_other_pages_are_not_compared() -> None:
    frontier, drift = frontier_of()
    plain = frontier.plain()
    frontier.overlap()
    frontier.join(10)
    again = frontier.repair()
    below = frontier.advance(4)
    assert again is not None
    frontier.learned(plain, read(1))
    frontier.learned(again, read(2))
    frontier.learned(below, read(3))
    assert repairs(frontier) == []
    assert drift.slip == 0
