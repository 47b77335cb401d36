"""What is remembered of the rows that were delivered: single digests, and crowds."""

from __future__ import annotations

from random import Random

import pytest

from dp_async._plan.known import (
    CAPACITY,
    CROWD_COST,
    SHORT,
    Crowd,
    Key,
    KnownRows,
    digest,
    summary,
)


def key(number: int, time: int = 100) -> Key:
    return number, time, digest(number, time, "item")


def places(*rows: tuple[int, int]) -> list[tuple[int, int]]:
    """Places and digests of *rows*, which are ids and times."""
    return [(time, digest(number, time, "item")) for number, time in rows]


def crowd_of(*keys: Key) -> Crowd:
    return Crowd.of([(time, digest) for _, time, digest in keys])


def sifted(known: KnownRows[str], *keys: Key) -> list[int]:
    """The ids of the rows that are new by now."""
    return [new[0] for one in keys for new, _ in known.sift(one, one[1], "item")]


def test_a_digest_is_the_same_in_any_process() -> None:
    assert digest(1, 2, {"a": [1, None]}) == digest(1, 2, {"a": [1, None]}) == 1859390936031288056
    assert len({digest(1, 2, "a"), digest(1, 2, "b"), digest(1, 3, "a"), digest(2, 2, "a")}) == 4
    some = {"one", "two", "three", "four"}  # a set has another order in each process
    assert digest(1, 2, some) == digest(1, 2, sorted(some))
    assert all(digest(number, 0, None) < 2**63 for number in range(100))


def test_rows_that_fit_stay_single_newest_first() -> None:
    rows = places((1, 98), (2, 100), (3, 99))
    single, crowds = summary(rows, 3)
    assert single == [digest for _, digest in sorted(rows, reverse=True)]
    assert not crowds


def test_the_most_crowded_time_is_remembered_as_a_whole_and_the_newest_rows_are_not() -> None:
    crowd = places(*((1000 + place, 100) for place in range(20_000)))
    rows = [*places((1, 101), (2, 102), (3, 99)), *crowd]
    Random(7).shuffle(rows)
    single, crowds = summary(rows, CAPACITY)
    assert len(single) == 3
    total = sum(digest for _, digest in crowd) % 2**63
    assert crowds == [Crowd(100, 100, 20_000, total)]


def test_busy_seconds_become_crowds_from_the_oldest_on() -> None:
    rows = places(*((1000 + place, 100 + place // 60) for place in range(660)))
    single, crowds = summary(rows, CAPACITY)
    assert len(single) + CROWD_COST * len(crowds) <= CAPACITY
    assert len(single) >= 120  # two whole seconds
    assert max(crowd.newest for crowd in crowds) == 110 - len(single) // 60
    assert len(single) + sum(crowd.count for crowd in crowds) == 660


def test_many_seconds_of_few_rows_share_a_crowd() -> None:
    rows = places(*((place, 3 * place) for place in range(5_000)))
    single, crowds = summary(rows, CAPACITY)
    assert len(single) + CROWD_COST * len(crowds) <= CAPACITY
    assert len(single) + sum(crowd.count for crowd in crowds) == 5_000
    assert all(crowd.newest > crowd.oldest for crowd in crowds)


def test_single_rows_are_known_in_their_version_alone() -> None:
    known = KnownRows[str]([digest & SHORT for _, _, digest in (key(1), key(2))], [])
    other = (1, 100, digest(1, 100, "changed"))
    assert sifted(known, key(1), other, key(3)) == [1, 3]
    assert known.known == {(1, 100)}


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_is_known_once_all_of_it_was_read_in_any_order(seed: int) -> None:
    keys = [key(number) for number in range(50)]
    known = KnownRows[str]([], [crowd_of(*keys)])
    again = [*keys, *keys[:9]]
    Random(seed).shuffle(again)
    assert sifted(known, *again) == []
    assert known.known == {(number, 100) for number in range(50)}
    assert sifted(known, key(50), keys[3], key(51, 99), key(52, 101)) == [50, 51, 52]
    assert known.remaining() == []


def test_a_crowd_with_another_row_is_new_as_a_whole() -> None:
    keys = [key(number) for number in range(5)]
    known = KnownRows[str]([], [crowd_of(*keys)])
    assert sifted(known, key(9), *keys[:3]) == []
    assert sifted(known, *keys[3:]) == [9, 0, 1, 2, 3, 4]
    assert sifted(known, *keys[:4]) == []  # delivered
    assert not known.known


def test_a_crowd_that_lacks_a_row_is_new_once_no_more_is_read() -> None:
    first, second = [key(1, 90), key(2, 90)], [key(3), key(4), key(5)]
    known = KnownRows[str]([], [crowd_of(*first), crowd_of(*second)])
    assert sifted(known, first[0], *second[:2]) == []
    assert [new[0] for new, _ in known.remaining()] == [3, 4, 1]
    assert known.remaining() == []


def test_another_version_of_a_row_that_is_held_back_comes_at_once_and_alone() -> None:
    keys = [key(number) for number in range(3)]
    newer = (1, 100, digest(1, 100, "newer"))
    known = KnownRows[str]([], [crowd_of(*keys)])
    assert sifted(known, keys[0], keys[1]) == []
    assert sifted(known, newer) == [1]
    assert sifted(known, (1, 100, digest(1, 100, "newest"))) == [1]  # left to who has seen it
    assert sifted(known, keys[2]) == []
    assert known.known == {(0, 100), (1, 100), (2, 100)}
    moved = key(2, 105)
    assert sifted(known, moved) == [2]
