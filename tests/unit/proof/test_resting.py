"""Read by read, the count rule proves what it proves of all reads, for a list at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dp_async._proof.certificate import decide
from dp_async._proof.counts import count_rule_static
from dp_async._proof.decision import Complete
from dp_async._proof.reads import Read, horizons, with_true_sizes
from dp_async._proof.resting import FEW, Resting
from dp_async._proof.steps import finished

from .lists import listed, page

ROWS = listed(12)


def taken(reads: list[Read], lateness: float = 1.0) -> Resting:
    resting = Resting(lateness)
    for read in reads:
        resting.add(read)
    return resting


@given(
    st.lists(
        st.tuples(st.integers(0, 13), st.integers(1, 6), st.integers(0, 4), st.booleans()),
        max_size=9,
    ),
    st.integers(8, 13),
    st.sampled_from([0.0, 1.0, 4.0]),
)
def test_it_proves_nothing_that_all_reads_together_do_not(
    drawn: list[tuple[int, int, int, bool]], distinct: int, lateness: float
) -> None:
    reads = [
        replace(one, sent=max(one.sent - early, 0), date=1010.0 if dated else None)
        for tick, (offset, size, early, dated) in enumerate(drawn)
        for one in [page(tick, ROWS, offset, size)]
    ]
    found = finished(taken(reads, lateness).decide(distinct))
    if found is None or not reads:
        return
    true = with_true_sizes(reads)
    margin = finished(count_rule_static(true, horizons(true, lateness), distinct))
    assert margin is not None
    assert found.margin <= lateness + margin


@pytest.mark.parametrize("lateness", [0.0, 2.0])
def test_a_crawl_of_a_list_at_rest_is_proven_alike(lateness: float) -> None:
    order = [0, 12, 9, 6, 3, 0]
    reads = [page(tick, ROWS, offset, 3) for tick, offset in enumerate(order)]
    found = finished(taken(reads, lateness).decide(12))
    assert isinstance(found, Complete)
    assert found == decide(reads, lateness, 12)


def test_rows_that_are_missing_or_young_are_not_proven() -> None:
    reads = [page(tick, ROWS, offset, 3) for tick, offset in enumerate([0, 12, 9, 6, 3])]
    assert finished(taken(reads).decide(11)) is None
    assert finished(taken(reads, lateness=5.0).decide(12)) is None
    young = [page(0, ROWS, 12, 3), *reads[2:], page(6, ROWS, 0, 3)]
    assert finished(taken(young).decide(12)) is None


def test_a_whole_list_on_one_page_is_another_proof() -> None:
    assert finished(taken([page(0, ROWS, 0, 13)]).decide(12)) is None


def test_a_last_page_that_was_read_after_many_others_is_left_to_all_reads() -> None:
    reads = [page(tick, ROWS, 0, 3) for tick in range(FEW + 2)]
    assert finished(taken([*reads, page(FEW + 3, ROWS, 12, 3)]).decide(12)) is None
    late = [page(0, ROWS, 12, 3), *(page(tick, ROWS, 0, 3) for tick in range(1, FEW + 3))]
    assert finished(taken(late, 9.0).decide(3)) is None
