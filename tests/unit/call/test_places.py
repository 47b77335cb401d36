"""How many at once: slow start, what a refusal shows, holding, trying one more. Plain numbers."""

from __future__ import annotations

import pytest

from dp_async._call.places import START, Permit, Places


def rounds(places: Places, count: int, start: float = 0.0, wanted: int = 1000) -> list[int]:
    """So many rounds of 0.1 s with all let through; how many were in flight in each, all along."""
    sizes: list[int] = []
    for number in range(count):
        sent = start + number / 10
        size = min(wanted, int(places.limit))
        sizes.append(size)
        for _ in range(size):
            places.passed(Permit(0, sent, size), sent + 0.1)
    return sizes


def learned(limit: int, retry_after: float = 0.0) -> Places:
    """Places that were proven to be *limit* and refused one more at 1 s."""
    places = Places(64)
    places.estimate(limit, 0.0, 0.0)
    rounds(places, 3, wanted=limit)
    places.limit = limit + 1
    assert places.refused(limit + 1, 1.0, retry_after)
    assert (places.learned, places.limit, places.proven) == (limit, limit, limit)
    return places


@pytest.mark.parametrize(("ceiling", "first"), [(1, 1), (8, 8), (1000, START)])
def test_it_starts_low(ceiling: int, first: int) -> None:
    assert Places(ceiling).limit == first


def test_it_grows_quickly_until_a_refusal_while_it_is_used() -> None:
    sizes = rounds(Places(100), 10)
    assert sizes[:4] == [16, 24, 36, 54]
    assert sizes[-1] == 100
    assert rounds(Places(100), 10, wanted=8) == [8] * 10
    unused = Places(100)
    rounds(unused, 10, wanted=8)
    assert unused.limit == START


def test_what_is_in_flight_for_a_round_and_the_next_is_proven_for_a_while() -> None:
    places = Places(64)
    rounds(places, 1, wanted=12)
    assert places.proven == 0
    rounds(places, 2, 0.1, wanted=12)
    assert places.proven == 12
    rounds(places, 20, 0.3, wanted=3)
    assert places.proven == 12
    rounds(places, 3, 6.0, wanted=3)
    assert places.proven == 3


def test_the_most_in_flight_in_a_round_is_proven_by_the_next() -> None:
    places = Places(64)
    for sent, nth in ((0.0, 5), (0.01, 12), (0.02, 7)):
        places.passed(Permit(0, sent, nth), 0.1 + sent)
    assert places.proven == 0
    places.passed(Permit(0, 0.2, 3), 0.3)
    assert places.proven == 12


def test_after_a_refusal_the_round_begins_again() -> None:
    places = Places(64)
    rounds(places, 1, wanted=12)
    assert not places.refused(13, 0.1, 0.0)
    rounds(places, 2, 0.1, wanted=3)
    assert places.proven == 3


@pytest.mark.parametrize(
    ("at_once", "in_flight", "explained"),
    [(8, 16, True), (8, 8, False), (5, 16, True), (4, 16, False), (0, 16, False)],
)
def test_number_explains_a_refusal_with_more_in_flight_than_was_proven(
    at_once: int, in_flight: int, explained: bool
) -> None:
    places = Places(64)
    rounds(places, 3, wanted=8)
    assert places.explain(at_once, in_flight, 1.0) is explained


def test_an_estimate_is_contradicted_by_fewer_until_it_is_proven() -> None:
    places = Places(64)
    places.estimate(20, 0.0, 0.0)
    assert not places.explain(11, 20, 1.0)
    assert places.explain(12, 20, 1.0)
    rounds(places, 3, wanted=20)
    assert places.explain(1, 20, 1.0)
    assert not places.explain(0, 20, 1.0)


def test_an_estimate_is_proven_by_a_refusal_of_one_more() -> None:
    places = Places(64)
    places.estimate(20, 0.0, 0.0)
    assert places.refused(21, 1.0, 0.0)
    assert places.explain(1, 20, 1.0)


def test_an_estimate_is_not_below_what_was_proven() -> None:
    places = Places(64)
    rounds(places, 3, wanted=8)
    places.estimate(5, 1.0, 0.0)
    assert places.learned == 8
    places.estimate(5, 1.0, 0.0)
    assert (places.learned, places.proven) == (5, 5)
    places.estimate(0, 1.0, 0.0)
    assert places.learned == 1
    places.estimate(1000, 1.0, 0.0)
    assert places.learned == 64


def test_an_estimate_may_be_too_low_and_grows_at_once_unless_that_costs_a_pause() -> None:
    places = Places(64)
    places.estimate(4, 0.0, 0.0)
    assert rounds(places, 6) == [4, 4, 5, 6, 6, 7]
    places = Places(64)
    places.estimate(4, 1.0, 1.0)
    assert rounds(places, 70, 1.0) == [4] * 70
    assert rounds(places, 20, 9.0)[-1] > 4


def test_a_refusal_of_one_more_is_explained_and_it_is_held_longer_each_time() -> None:
    places = learned(8)
    waits: list[float] = []
    now = 1.0
    for _ in range(7):
        began = now
        while int(places.limit) == 8:
            rounds(places, 1, now)
            now += 0.1
        waits.append(round(now - began))
        assert places.refused(9, now, 0.0)
    assert waits == [2] * 7  # the first is the second time


def test_a_number_is_undone_if_far_more_were_in_flight_before_the_next_refusal() -> None:
    for nth, explains in ((15, True), (16, False)):
        places = learned(8)
        places.limit = nth
        assert places.refused(nth, 5.0, 0.0) is explains
        assert places.learned == (14 if explains else 0)
        assert places.limit == (14 if explains else 16)


@pytest.mark.parametrize("nth", [16, 5, 3])
@pytest.mark.parametrize("retry_after", [1.0, 0.0])
def test_with_a_pause_a_number_that_is_undone_is_not_followed_by_another(
    nth: int, retry_after: float
) -> None:
    places = learned(8, retry_after)
    places.limit = 16
    assert not places.refused(nth, 5.0, retry_after)
    is_undone = nth == 16 or retry_after > 0  # 5 of 8: another client takes no more than a quarter
    assert places.learned == (0 if is_undone else 8)
    assert places.explain(max(2, nth - 1), 64, 5.0) is (retry_after == 0)
    places.forget(16)
    assert places.explain(12, 64, 9.9) is (retry_after == 0)
    assert places.explain(12, 64, 10.1)


def test_what_was_proven_counts_though_the_number_was_lowered_since() -> None:
    places = learned(8, retry_after=1.0)
    places.estimate(6, 1.0, 1.0)
    rounds(places, 3, 1.0)
    assert not places.refused(6, 2.0, 1.0)
    assert places.learned == 6  # three quarters
    places.estimate(4, 3.0, 1.0)
    assert not places.refused(4, 4.0, 1.0)
    assert places.learned == 0


def test_another_number_is_held_for_a_short_time_again() -> None:
    places = learned(8)
    places.limit = 9.0
    assert places.refused(9, 5.0, 0.0)
    places.limit = 12.0
    assert places.refused(12, 20.0, 0.0)
    assert places.limit == 11
    assert rounds(places, 9, 20.0) == [11] * 9
    assert rounds(places, 2, 21.0)[-1] == 11
    assert rounds(places, 2, 21.2)[-1] >= 12


def test_it_is_held_longer_where_a_refusal_costs_a_pause() -> None:
    places = learned(8, retry_after=1.0)
    assert rounds(places, 79, 1.0) == [8] * 79
    assert rounds(places, 5, 9.0)[-1] > 8


def test_where_it_costs_a_pause_it_is_held_up_to_half_a_minute() -> None:
    places = learned(8, retry_after=1.0)
    waits: list[float] = []
    now = 1.0
    for _ in range(4):
        began = now
        while int(places.limit) == 8:
            rounds(places, 1, now)
            now += 0.1
        waits.append(round(now - began))
        assert places.refused(9, now, 1.0)
    assert waits == [8, 16, 30, 30]


def test_a_number_that_another_client_shares_is_lowered_further_where_that_costs_a_pause() -> None:
    places = learned(20, retry_after=1.0)
    places.estimate(19, 1.0, 1.0)
    assert places.learned == 16
    assert rounds(places, 79, 1.0) == [16] * 79  # a fifth less for eight seconds
    places = learned(20)
    places.estimate(19, 1.0, 0.0)
    assert places.learned == 19


def test_one_instead_of_two_is_not_held_for_long() -> None:
    places = learned(2, retry_after=1.0)
    places.estimate(1, 1.0, 1.0)
    assert rounds(places, 49, 1.0) == [1] * 49  # a half less for four seconds after the pause
    assert rounds(places, 5, 6.0)[-1] > 1


def test_a_refusal_of_one_within_the_number_is_not_explained() -> None:
    assert not learned(8).refused(8, 2.0, 0.0)
    assert not Places(64).refused(17, 2.0, 0.0)


def test_a_number_that_is_contradicted_is_forgotten() -> None:
    places = learned(8)
    places.forget(30)
    assert (places.learned, places.limit) == (0, 30)
    places.forget(100)
    assert places.limit == 64


def test_what_was_proven_of_a_number_that_was_forgotten_says_nothing_of_the_next() -> None:
    places = learned(20, retry_after=1.0)
    places.forget(20)
    places.estimate(6, 2.0, 1.0)
    assert not places.refused(6, 3.0, 1.0)
    assert places.learned == 20
