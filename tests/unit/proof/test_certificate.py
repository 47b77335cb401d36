"""What ``decide`` makes of both rules. That it is never wrong is tried in ``tests/property``."""

from __future__ import annotations

from math import inf

import pytest

from dp_async._proof.certificate import decide
from dp_async._proof.decision import Complete, Decision, Missing, Unprovable
from dp_async._proof.reads import Read

from .lists import ALLOWED_LATENESS, listed, page, read


def rule(decision: Decision) -> str | None:
    return decision.rule if isinstance(decision, Complete) else None


def test_nothing_read_proves_nothing() -> None:
    assert decide([], ALLOWED_LATENESS) == Unprovable("nothing was read")


@pytest.mark.parametrize("rows", [0, 3])
def test_a_list_on_one_page(rows: int) -> None:
    decision = decide([page(0, listed(rows), 0, 5)], ALLOWED_LATENESS)
    assert decision == Complete("single page", "the whole list came in one answer", inf)


def test_a_short_page_1_that_says_more_follow_is_not_the_list() -> None:
    assert rule(decide([read(0, 0, 200, listed(3), total=4)], ALLOWED_LATENESS)) is None


def test_a_short_page_is_an_end_only_if_the_server_gave_more_elsewhere() -> None:
    rows = listed(6)
    reads = [page(0, rows, 0, 2), page(1, rows, 1, 2), page(2, rows, 2, 2), page(3, rows, 4, 4)]
    decision = decide([*reads, page(4, rows, 0, 2)], 0)
    assert isinstance(decision, Missing)
    assert decision.tail


def test_a_static_list_is_counted() -> None:
    rows = listed(7)
    reads = [page(tick, rows, offset, 3) for tick, offset in enumerate((0, 6, 3, 0))]
    counted = Complete("count", "as many rows were read as the list held at one moment", 2)
    assert decide(reads, ALLOWED_LATENESS) == counted
    assert decide(reads, ALLOWED_LATENESS, distinct=7) == counted
    assert decide(reads, ALLOWED_LATENESS, distinct=6) == counted  # counted once more, in full
    for distinct in (None, 7):
        assert rule(decide(reads[:3], ALLOWED_LATENESS, distinct)) is None


@pytest.mark.parametrize(("now", "expected"), [(20, None), (inf, "count")])
def test_a_row_dated_in_the_future_does_not_make_new_rows_old(
    now: float, expected: str | None
) -> None:
    # Row 4 is never read. Row 11 came after the last page was read, and must not count in its
    # place; without a clock, the row of the future says that it was there before.
    future = (99, 5000)
    reads = [
        read(0, 0, 3, [future, (10, 10), (9, 9)], total=8, now=now),
        read(1, 6, 3, [(3, 3), (2, 2)], total=8, now=now),
        read(2, 3, 3, [(8, 8), (7, 7), (5, 5)], total=8, now=now),
        read(3, 0, 3, [future, (11, 11), (10, 10)], total=8, now=now),
    ]
    for distinct in (None, 9, 8):
        assert rule(decide(reads, 0, distinct)) == expected


def test_links_spare_the_full_count() -> None:
    rows = listed(9)
    reads = [page(tick, rows, offset, 4) for tick, offset in enumerate((0, 8, 6, 4, 2, 0))]
    assert rule(decide(reads, 0)) == "link"
    assert rule(decide(reads, 0, distinct=9)) == "count"


def test_a_list_in_no_order_needs_two_passes() -> None:
    rows = [(1, 9), (2, 5), (3, 1), (4, 8), (5, 2)]
    passes = [page(tick, rows, offset, 2) for tick, offset in enumerate((0, 2, 4, 0, 2, 4))]
    for pages in (3, 4):
        decision = decide(passes[:pages], ALLOWED_LATENESS)
        assert isinstance(decision, Unprovable)
        assert "not sorted" in decision.reason
    assert rule(decide(passes, ALLOWED_LATENESS)) == "count"


# Only the rows down to a time


def test_one_answer_that_reaches_further_down_holds_all_that_is_wanted() -> None:
    head = page(0, listed(20), 0, 5)  # from 1000 down to 996
    decision = decide([head], ALLOWED_LATENESS, down_to=997)
    assert decision == Complete(
        "single page", "one answer holds all that is newer than what was known", inf
    )
    assert rule(decide([head], ALLOWED_LATENESS, down_to=996)) is None
    assert rule(decide([page(0, listed(20), 5, 5)], ALLOWED_LATENESS, down_to=998)) is None


def test_wanted_rows_are_linked_or_counted() -> None:
    rows = listed(40)
    pages = [page(tick, rows, offset, 5) for tick, offset in enumerate((0, 3, 6, 9, 0))]
    assert rule(decide(pages, ALLOWED_LATENESS, down_to=988)) == "link"
    plain = [page(tick, rows, offset, 5) for tick, offset in enumerate((5, 0))]
    known = frozenset(rows[:5])
    assert rule(decide(plain, ALLOWED_LATENESS, down_to=993)) is None
    assert decide(plain, ALLOWED_LATENESS, down_to=993, known=known) == Complete(
        "count", "as many rows were read as were newer than what was known", inf
    )


# Cost


class Time(int):
    """A time that counts how often any is compared."""

    compared = 0

    def __neg__(self) -> Time:
        return Time(-int(self))

    def __lt__(self, other: int) -> bool:
        Time.compared += 1
        return super().__lt__(other)

    def __gt__(self, other: int) -> bool:
        Time.compared += 1
        return super().__gt__(other)


def comparisons(number: int) -> int:
    """How many comparisons of times decide over that many reads, with a gap after each."""
    reads = [
        Read.of(
            sent=2 * tick,
            answered=2 * tick + 1,
            offset=2 * tick,
            size=2,
            count=2,
            total=2 * number,
            ids=[2 * tick, 2 * tick + 1],
            updated=(times := [Time(-2 * tick), Time(-2 * tick - 1)]),
            created=times,
        )
        for tick in range(number)
    ]
    Time.compared = 0
    decision = decide(reads, ALLOWED_LATENESS)
    assert isinstance(decision, Missing)
    assert len(decision.gaps) == number - 1
    return Time.compared


def test_the_cost_grows_about_as_the_number_of_reads() -> None:
    few, many = comparisons(100), comparisons(800)
    assert 800 < many < 16 * few  # 64 times as many if each read was compared with each
