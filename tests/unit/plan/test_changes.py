"""Which rows are new, which are known, and the next watermark. No walk."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest
from msgspec import structs

from dp_async import PaginationError, Watermark
from dp_async._models import Page
from dp_async._page.reader import Rows
from dp_async._plan.changes import Changes
from dp_async._plan.ids import Ids
from dp_async._plan.known import CAPACITY, SHORT, Crowd, digest
from dp_async._proof.reads import Read

NONE = Ids()
SCOPE = "0123456789abcdef01234567"

Shown = tuple[int, int | None, str]
"""Id, update time and text of a row."""


def rows(*shown: Shown) -> Rows[str]:
    """An answer with these rows, whose items are their texts."""
    timed = [(number, time) for number, time, _ in shown if time is not None]
    count = len(shown)
    page = Page(
        content=[text for _, _, text in shown],
        number=0,
        size=10,
        total_elements=count,
        total_pages=1,
        number_of_elements=count,
        first=True,
        last=True,
        empty=not shown,
    )
    return Rows(
        page,
        count,
        [number for number, _, _ in shown],
        array("q", [number for number, _ in timed]),
        array("q", [time for _, time in timed]),
        array("q"),
    )


def read(updated: Sequence[int], created: Sequence[int] = ()) -> Read:
    ids = range(len(updated))
    return Read.of(
        sent=0,
        answered=1,
        offset=0,
        size=10,
        count=len(ids),
        total=100,
        ids=ids,
        updated=updated,
        created=created,
    )


def known(number: int, time: int, text: str) -> tuple[int, int, int]:
    return number, time, digest(number, time, text)


def mark_of(updated: int, *rows: tuple[int, int, int], compared: int = 98) -> Watermark:
    """The watermark that remembers *rows*, newest first; those below its last two seconds too."""
    recent = sum(time >= updated - 2 for _, time, _ in rows)
    digests = [digest for _, _, digest in rows]
    return Watermark.at(SCOPE, updated, digests, compared=compared, recent=recent)


MARK = mark_of(100, known(1, 100, "a"), known(2, 99, "b"), known(3, 98, "c"))


def remembers(mark: Watermark, *rows: tuple[int, int, int]) -> bool:
    """Whether *mark* remembers just these *rows*, one by one."""
    return sorted(mark.digests) == sorted(key[2] & SHORT for key in rows)


def taken(changes: Changes, *shown: Shown) -> list[str]:
    """The new items of one answer, all delivered."""
    answer = rows(*shown)
    seen = Ids()
    changes.note(answer, seen)
    fresh, keys, _ = changes.sift(answer, seen)
    changes.delivered(keys)
    return fresh


def test_rows_that_are_unknown_or_changed_are_new_down_to_the_floor() -> None:
    changes = Changes(MARK, 2)
    assert changes.floor == 98
    shown: list[Shown] = [
        (4, 103, "new"),
        (5, 100, "of a second that was seen"),
        (1, 100, "a"),
        (2, 99, "b, changed within its second"),
        (6, 98, "late"),
        (3, 98, "c"),
        (7, 97, "old"),
        (8, None, "without a time"),
    ]
    assert taken(changes, *shown) == [
        "new",
        "of a second that was seen",
        "b, changed within its second",
        "late",
    ]


def test_allowed_lateness_is_rounded_up_to_whole_seconds() -> None:
    assert Changes(MARK, 1.2).floor == 98
    assert Changes(MARK, 0).floor == 100


def test_the_first_version_of_a_row_is_delivered_once() -> None:
    changes, seen = Changes(MARK, 2), Ids()
    first, again = rows((4, 101, "one"), (1, 100, "a")), rows((4, 102, "two"), (1, 101, "a2"))
    changes.note(first, seen)
    assert changes.sift(first, seen)[0] == ["one"]
    changes.note(again, seen)
    assert changes.sift(again, seen) == (["a2"], [known(1, 101, "a2")], 1)
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    assert mark.updated == 101  # the newest when the crawl began
    assert remembers(mark, known(1, 101, "a2"), known(4, 101, "one"))  # row 2 was not shown
    assert taken(Changes(mark, 2), (4, 102, "two"), (1, 101, "a2")) == ["two"]


def test_a_watermark_never_goes_back() -> None:
    for shown in ([(7, 50, "old")], []):
        changes = Changes(MARK, 2)
        assert taken(changes, *shown) == []
        mark = changes.watermark(SCOPE, covered=True)
        assert mark is not None
        assert mark.updated == MARK.updated


def test_a_possible_gap_keeps_the_watermark_and_adds_what_was_delivered() -> None:
    changes = Changes(MARK, 2)
    assert taken(changes, (4, 200, "new"), (1, 150, "a2")) == ["new", "a2"]
    mark = changes.watermark(SCOPE, covered=False)
    assert mark is not None
    assert (mark.updated, mark.compared, mark.recent) == (100, 98, 5)
    added = [known(4, 200, "new"), known(1, 150, "a2")]
    rows_before = [known(1, 100, "a"), known(2, 99, "b"), known(3, 98, "c")]
    assert remembers(mark, *added, *rows_before)


def test_only_delivered_rows_are_added() -> None:
    changes = Changes(MARK, 2)
    answer = rows((5, 201, "x"), (4, 200, "y"))
    _, keys, _ = changes.sift(answer, Ids())
    changes.delivered(keys[:1])
    mark = changes.watermark(SCOPE, covered=False)
    assert mark is not None
    assert taken(Changes(mark, 2), (5, 201, "x"), (4, 200, "y")) == ["y"]


NEWEST = [known(1, 100, "a"), known(2, 99, "b"), known(5, 98, "e")]


@pytest.mark.parametrize("after", [None, Watermark.start(SCOPE)])
def test_the_watermark_of_a_whole_list_has_its_newest_seconds(after: Watermark | None) -> None:
    changes = Changes(after, 2)
    assert changes.floor is None
    assert changes.oldest == -float("inf")
    changes.note(rows((1, 100, "a"), (2, 99, "b"), (3, None, "?"), (4, 97, "d")), NONE)
    changes.note(rows((2, 101, "b2"), (5, 98, "e")), {2})
    changes.note(rows((6, 90, "f")), NONE)
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    assert (mark.updated, mark.recent) == (100, 3)
    assert {key[2] & SHORT for key in NEWEST} <= {*mark.digests}
    assert changes.watermark(SCOPE, covered=False) == after


def test_the_watermark_of_an_empty_list_is_the_start() -> None:
    changes = Changes(None, 2)
    changes.note(rows(), NONE)
    changes.note(rows((1, 100, "a")), NONE)
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    assert mark.updated == 0
    assert Changes(mark, 2).floor is None


def test_rows_without_times_have_no_watermark() -> None:
    changes = Changes(None, 2)
    changes.note(rows((1, None, "a")), NONE)
    assert changes.watermark(SCOPE, covered=True) is None


Times = tuple[list[int], list[int]]
"""Update and create times of a page."""

ORDERS: list[tuple[list[Times], bool]] = [
    ([([9, 8, 8, 7], [])], True),
    ([([7, 9, 8], [3, 2, 1])], True),
    ([([9, 8, 7], []), ([6, 7], [])], False),
    ([([7, 8], [1, 2])], False),
    ([([9, 8, 7], [1, 2, 3]), ([6, 7], [2, 1])], False),
    ([([], [])], True),
]


@pytest.mark.parametrize(("pages", "sorted_"), ORDERS)
def test_a_list_must_be_sorted_newest_first(pages: list[Times], sorted_: bool) -> None:
    reads = [read(updated, created) for updated, created in pages]
    whole, new = Changes(None, 2), Changes(MARK, 2)
    for each in reads:
        whole.check(each)
    whole.note(rows((1, 100, "a")), NONE)
    assert (whole.watermark(SCOPE, covered=True) is not None) is sorted_
    if sorted_:
        for each in reads:
            new.check(each)
    else:
        with pytest.raises(PaginationError, match="not sorted newest first"):
            for each in reads:
                new.check(each)


def test_a_first_page_without_update_times_is_refused() -> None:
    bare = structs.replace(read([], []), count=3)
    Changes(None, 2).check(bare)
    changes = Changes(MARK, 2)
    with pytest.raises(PaginationError, match="no row at the head of the list has an update time"):
        changes.check(bare)
    assert taken(changes, (4, 101, "new")) == ["new"]
    changes.check(bare)  # pages further down may lack them


def test_the_floor_is_reached_by_a_page_that_goes_on_below() -> None:
    changes = Changes(MARK, 2)
    for updated in ([120, 99], [99, 98]):
        changes.check(read(updated, updated))
        assert not changes.reached
    changes.check(read([98, 97]))
    assert changes.reached


def test_by_create_time_the_floor_is_reached_by_that() -> None:
    changes = Changes(MARK, 2)
    changes.check(read([110, 60, 105], [104, 103, 102]))
    assert not changes.reached
    changes.check(read([103, 104], [99, 97]))
    assert changes.reached


# Rows dated in the future


def noted(
    after: Watermark | None, now: float, *pages: Sequence[Shown], by_update: bool = True
) -> tuple[Changes, Watermark]:
    """The changes of *pages*, and the watermark after them."""
    changes, seen = Changes(after, 2), Ids()
    changes.check(read([9, 8, 7], [1, 2, 1]) if by_update else read([7, 9, 8], [3, 2, 1]))
    for shown in pages:
        answer = rows(*shown)
        changes.note(answer, seen, now)
        _, keys, _ = changes.sift(answer, seen)
        changes.delivered(keys)
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    return changes, mark


FUTURE: Shown = (9, 5000, "from the future")
AHEAD = known(9, 5000, "from the future")


def test_no_watermark_is_newer_than_the_servers_clock() -> None:
    _, mark = noted(MARK, 103, [FUTURE, (8, 104, "h"), (7, 102, "g"), (1, 100, "a"), (6, 90, "f")])
    assert mark.updated == 102
    new = [known(7, 102, "g"), known(8, 104, "h"), AHEAD]
    assert {key[2] & SHORT for key in [known(1, 100, "a"), *new]} <= {*mark.digests}


def test_a_row_dated_in_the_future_comes_once_a_version_and_hides_no_later_row() -> None:
    _, mark = noted(MARK, 103, [FUTURE, (1, 100, "a"), (6, 90, "f")])
    assert mark.updated == 100
    changes = Changes(mark, 2)
    assert taken(changes, FUTURE, (5, 101, "later"), (1, 100, "a")) == ["later"]
    assert taken(Changes(mark, 2), (9, 6000, "again")) == ["again"]


def test_a_row_of_the_future_that_is_gone_leaves_the_watermark() -> None:
    _, mark = noted(MARK, 103, [FUTURE, (1, 100, "a")])
    assert AHEAD[2] & SHORT in mark.digests
    shown: list[Shown] = [(1, 100, "a"), (6, 90, "f")]
    # By create time, it may stand further down.
    assert AHEAD[2] & SHORT not in noted(mark, 104, shown)[1].digests
    mark = structs.replace(mark, by_create=True)
    assert AHEAD[2] & SHORT in noted(mark, 104, shown, by_update=False)[1].digests


def test_below_rows_of_the_future_only_the_newest_row_counts_up_to_a_minute_ago() -> None:
    # The rows were read before the answer was dated.
    for now, updated in ((1000, 120), (160, 100)):
        _, mark = noted(Watermark.start(SCOPE), now, [FUTURE], [(5, 120, "e"), (4, 10, "d")], [])
        assert mark.updated == updated
        assert AHEAD[2] & SHORT in mark.digests


def test_the_page_that_shows_where_the_future_ends_has_the_newest_row() -> None:
    # Whatever entered since is found, since all pages below that one are read after it.
    later: list[Shown] = [(7, 150, "g"), (6, 140, "f")]
    _, mark = noted(None, 1000, [FUTURE], later, [(8, 5000, "h"), (5, 120, "e")], later)
    assert mark.updated == 120


def test_a_list_of_the_future_has_the_watermark_of_a_minute_ago() -> None:
    _, mark = noted(None, 1000, [FUTURE])
    assert mark.updated == 940
    assert remembers(mark, AHEAD)
    assert noted(None, 7, [FUTURE])[1] == Watermark.start(SCOPE)
    assert noted(MARK, 130, [FUTURE])[1].updated == 100


@pytest.mark.parametrize(("now", "starts_over"), [(40, False), (39, True)])
def test_a_watermark_ahead_of_the_servers_clock_does_not_count(now: int, starts_over: bool) -> None:
    shown: list[Shown] = [(1, 100, "a"), (5, 60, "e"), (6, 30, "f"), (4, 20, "d")]
    changes, mark = noted(MARK, now, shown)
    assert bool(changes.started_over) is starts_over
    if not starts_over:  # the clocks of two servers may differ so much
        assert (mark.updated, changes.oldest) == (100, 98)
        return
    assert changes.started_over == "the watermark is 61 s ahead of the server's clock"
    assert (mark.updated, changes.oldest) == (30, -float("inf"))
    assert {known(5, 60, "e")[2] & SHORT, known(6, 30, "f")[2] & SHORT} <= {*mark.digests}
    possible_gap = changes.watermark(SCOPE, covered=False)
    assert possible_gap is not None
    assert possible_gap.updated == 0


# Beyond the allowed lateness, and more than there is room for


def test_a_row_that_was_not_delivered_is_new_as_far_as_rows_were_compared() -> None:
    keys = [known(1, 100, "a"), known(2, 90, "b"), known(3, 80, "c")]
    mark = mark_of(100, *keys, compared=80)
    shown: list[Shown] = [(1, 100, "a"), (2, 90, "changed"), (4, 85, "late"), (3, 80, "c")]
    assert taken(Changes(mark, 2), *shown, (5, 79, "not compared")) == ["changed", "late"]


def test_a_page_that_goes_on_below_the_lateness_is_remembered() -> None:
    changes = Changes(None, 2)
    page: list[Shown] = [(1, 100, "a"), (2, 90, "b"), (3, 80, "c")]
    answer = rows(*page)
    answer.page = structs.replace(answer.page, last=False)
    changes.note(answer, NONE)
    assert changes.shows_recent
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    assert (mark.compared, mark.recent) == (81, 1)  # more rows of the second 80 may follow
    assert remembers(mark, known(1, 100, "a"), known(2, 90, "b"))


def test_rows_for_which_there_is_no_room_are_not_compared() -> None:
    changes = Changes(None, 2)
    changes.note(rows(*((number, 1000 - number, "") for number in range(300))), NONE)
    mark = changes.watermark(SCOPE, covered=True)
    assert mark is not None
    assert (len(mark.digests), mark.compared) == (CAPACITY, 1000 - CAPACITY + 1)


def test_a_page_of_one_second_does_not_show_all_of_it() -> None:
    changes = Changes(None, 2)
    answer = rows(*((number, 100, "") for number in range(10)))
    answer.page = structs.replace(answer.page, last=False)
    changes.note(answer, NONE)
    assert not changes.shows_recent


def test_what_was_delivered_over_a_possible_gap_is_remembered_as_far_as_there_is_room() -> None:
    new: list[Shown] = [(1000 + number, 200 + number // 50, "") for number in range(1_000)]
    changes = Changes(mark_of(100, *(known(n, 100 - n, "") for n in range(100))), 2)
    assert len(taken(changes, *new)) == 1_000
    mark = changes.watermark(SCOPE, covered=False)
    assert mark is not None
    assert len(mark.to_json()) <= 2_000
    assert sum(crowd.count for crowd in mark.crowds) + len(mark.digests) == 1_000 + 3
    full = Changes(mark, 2)
    more: list[Shown] = [(5000 + number, 300 + number, "") for number in range(500)]
    assert len(taken(full, *more)) == 500
    again = full.watermark(SCOPE, covered=False)
    assert again is not None
    assert len(again.to_json()) <= 2_000


def test_the_rows_held_back_come_at_the_end() -> None:
    crowd = Crowd.of([(100, digest(number, 100, "x")) for number in range(3)])
    mark = Watermark.at(SCOPE, 100, [], [crowd], compared=98, recent=3)
    changes, seen = Changes(mark, 2), Ids()
    seen.add(1)
    assert changes.sift(rows((0, 100, "x"), (1, 100, "x")), seen) == ([], [], 0)
    assert changes.remaining(seen) == (["x"], [known(0, 100, "x")], 1)
    assert changes.remaining(seen) == ([], [], 0)
