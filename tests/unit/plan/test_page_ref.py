"""Pages that cover given rows, compared with every page that exists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp_async._plan.page_ref import PageRef, across, around, at_end, following, pages, preceding

PLACES = st.integers(0, 2000)
SIZES = st.integers(1, 60)


def refs(size: int, place: int) -> Iterator[PageRef]:
    """Every page of at most *size* rows that holds *place*."""
    return (PageRef(place // each + 1, each) for each in range(1, size + 1))


def furthest(end: int, size: int, overlap: int) -> int:
    """The furthest end of a page that starts at or before ``end - overlap``."""
    # The best of each size is the one that holds the row: a later one starts after it.
    return max(ref.end for ref in refs(size, max(end - overlap, 0)))


@pytest.mark.parametrize(
    ("ref", "start", "end"),
    [
        (PageRef(1, 1), 0, 1),
        (PageRef(1, 100), 0, 100),
        (PageRef(3, 50), 100, 150),
        (PageRef(7, 13), 78, 91),
    ],
)
def test_a_page_is_a_range_of_rows(ref: PageRef, start: int, end: int) -> None:
    assert (ref.start, ref.end) == (start, end)
    assert ref.end - ref.start == ref.size


@given(PLACES, SIZES, st.integers(0, 100))
@example(end=10, size=10, overlap=5)
@example(end=1, size=1, overlap=1)
@example(end=0, size=5, overlap=3)
def test_the_following_page_reaches_as_far_as_possible(end: int, size: int, overlap: int) -> None:
    ref = following(end, size, overlap)
    assert ref.num >= 1
    assert 1 <= ref.size <= size
    assert ref.start <= end < ref.end
    # It overlaps as requested, or else as much as a page that reaches beyond *end* can.
    most = next(rows for rows in range(overlap, -1, -1) if furthest(end, size, rows) > end)
    assert ref.start <= max(end - most, 0)
    assert ref.end == furthest(end, size, most)


@given(PLACES, SIZES)
def test_without_an_overlap_a_full_page_follows(num: int, size: int) -> None:
    assert following(num * size, size, 0) == PageRef(num + 1, size)


@given(st.integers(0, 5000), st.integers(20, 200), st.integers(1, 10))
def test_following_pages_cover_the_list(total: int, size: int, overlap: int) -> None:
    overlap = min(overlap, size // 4)
    end, number = size, 1
    while end < total:
        ref = following(end, size, overlap)
        assert ref.start <= end - overlap
        end, number = ref.end, number + 1
    # They cost less than twice as many as pages that share nothing.
    assert number <= 1 + total / (size / 2)


def test_an_overlap_larger_than_any_page_is_reduced() -> None:
    assert following(10**6, 1, 10**6) == PageRef(10**6 + 1, 1)
    assert following(10**6, 3, 10**6).end > 10**6


@pytest.mark.parametrize(
    ("end", "size", "overlap", "ref"),
    [
        (100, 100, 0, PageRef(2, 100)),
        (100, 100, 4, PageRef(2, 96)),
        (192, 100, 4, PageRef(3, 94)),
        (50, 100, 50, PageRef(1, 100)),
        (10, 10, 5, PageRef(2, 6)),
        (2, 2, 1, PageRef(2, 2)),
        (1, 1, 0, PageRef(2, 1)),
    ],
)
def test_following(end: int, size: int, overlap: int, ref: PageRef) -> None:
    assert following(end, size, overlap) == ref


@given(st.integers(-50, 2000), SIZES)
@example(place=0, size=1)
@example(place=-1, size=100)
@example(place=1, size=2)
def test_the_page_around_a_place_has_the_best_margin(place: int, size: int) -> None:
    ref = around(place, size)
    place = max(place, 0)
    assert ref.num >= 1
    assert 1 <= ref.size <= size
    assert ref.start <= place < ref.end

    def margin(ref: PageRef) -> int:
        return min(place - ref.start, ref.end - place)

    assert margin(ref) == max(map(margin, refs(size, place)))


@pytest.mark.parametrize(
    ("place", "size", "ref"),
    [
        (0, 100, PageRef(1, 100)),
        (50, 100, PageRef(1, 100)),
        (100, 100, PageRef(2, 67)),
        (7, 1, PageRef(8, 1)),
    ],
)
def test_around(place: int, size: int, ref: PageRef) -> None:
    assert around(place, size) == ref


@pytest.mark.parametrize(
    ("total", "size", "number"),
    [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (5, 1, 5), (5, 0, 0), (0, 0, 0)],
)
def test_number_of_pages(total: int, size: int, number: int) -> None:
    assert pages(total, size) == number


@given(SIZES.filter(lambda size: size > 1), PLACES, st.integers(0, 30))
def test_the_page_before_a_place_reaches_as_far_as_half_a_page_can(
    size: int, start: int, overlap: int
) -> None:
    overlap = min(overlap, size // 2)
    ref = preceding(start, size, overlap)
    assert ref.end >= start + overlap
    assert size // 2 < ref.size <= size
    others = (
        PageRef(pages(max(start + overlap, 1), one), one) for one in range(size // 2 + 1, size + 1)
    )
    assert ref.start == min(other.start for other in others)


@given(SIZES.filter(lambda size: size > 5), PLACES)
def test_the_last_page_leaves_rows_free_and_shows_as_many_as_it_can(size: int, total: int) -> None:
    ref = at_end(total, size, size // 6)
    assert ref.start <= total < ref.end
    roomy = [
        one
        for each in range(size // 2 + 1, size + 1)
        if (one := PageRef(total // each + 1, each)).end - total > size // 6
    ]
    assert ref.start == min(one.start for one in roomy or [ref])


@given(st.sets(PLACES, max_size=30), SIZES, st.integers(1, 4), st.integers(0, 15))
@example({20, 40, 60, 80, 100, 120}, 20, 4, 5)
def test_pages_across_places_have_rows_on_both_sides_of_each(
    places: set[int], size: int, times: int, overlap: int
) -> None:
    overlap = min(overlap, size // 2)
    found = across(places, size, times * size, overlap)
    assert found == sorted(found, key=lambda ref: ref.start)
    assert len(found) <= len(places)
    for place in places:
        spans = [ref for ref in found if ref.start <= place <= ref.end]
        assert any(
            ref == around(place, size)
            or (ref.size <= times * size and place - ref.start >= overlap <= ref.end - place)
            for ref in spans
        )


def test_wide_pages_span_several_places_each() -> None:
    boundaries = range(100, 10_000, 100)
    assert len(across(boundaries, 100, 100, 25)) == len(boundaries)
    assert len(across(boundaries, 100, 200, 25)) <= len(boundaries) * 0.6
    assert len(across(boundaries, 100, 400, 25)) <= len(boundaries) * 0.3
