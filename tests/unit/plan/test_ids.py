"""The ids seen, in shards: a set, whatever the ids are and however many shards they fill."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async._plan.ids import Ids, Kept

PAGES = st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=12)


@given(PAGES, st.integers(1, 9), st.booleans())
def test_it_is_a_set(pages: list[list[int]], most: int, asked: bool) -> None:
    ids, known = Ids(most), set[int]()
    kept: list[tuple[Kept, list[int]]] = []
    for page in pages:
        assert [number in ids for number in page] == [number in known for number in page]
        assert ids.among(page) == known.intersection(page)
        fresh = [number for number in dict.fromkeys(page) if number not in known]
        kept.append((ids.extend(page, ids.among(page) if asked else None), fresh))
        assert ids.last(len(fresh)) == set(fresh)
        known.update(page)
        assert len(ids) == len(known)
        assert sorted(ids) == sorted(known)
    for added, expected in kept:
        assert (list(added), len(added)) == (expected, len(expected))
        assert [added[place] for place in range(len(added))] == expected
        assert all(number in added for number in expected)
        assert -1 not in added


def test_one_id_is_added_once() -> None:
    ids = Ids()
    for number in (5, 5, 7):
        ids.add(number)
    assert sorted(ids) == [5, 7]
    assert 5 in ids
    assert 6 not in ids


@pytest.mark.parametrize("number", [0, 1, 5, 6])
def test_it_is_released_shard_by_shard(number: int) -> None:
    ids = Ids(2)
    for each in range(number):
        ids.extend([each])
    releases = 1
    while ids.release():
        releases += 1
    assert releases == max(1, -(-number // 2))
    assert (len(ids), list(ids)) == (0, [])


def test_a_full_shard_takes_27_bytes_for_each_id() -> None:
    ids = Ids()
    shard = ids.extend([0]).shard
    for start in range(1, 100_000, 100):
        ids.extend(range(start, start + 100))
    assert sys.getsizeof(shard.ids) <= 27.2 * len(shard.ids)
