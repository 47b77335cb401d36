"""The crawl of what is new since a watermark: how far down it reads, and what it then knows."""

from __future__ import annotations

from array import array
from itertools import pairwise
from random import Random

import pytest
from msgspec import structs

from dp_async import PaginationError, Watermark
from dp_async._page.reader import Rows
from dp_async._plan.page_ref import PageRef
from dp_async._plan.repair import CLOSINGS
from dp_async._plan.walk import Walk
from dp_async._proof.decision import Complete, Unprovable
from tests.unit.plan.scripted_list import (
    SCOPE,
    Crawl,
    List,
    Row,
    answer,
    marked,
    options,
    rows,
    since,
    touching,
)


def one_second(number: int) -> list[Row]:
    """*number* rows that carry one second, newer than all others, in no order."""
    return [(1000 + place * 7 % 997, 200_000) for place in range(number)]


# First reads


def test_nothing_new_costs_one_page() -> None:
    served = List(rows(500))
    mark = marked(served)
    done = since(mark, served)
    assert done.refs == [(1, 5)]
    assert done.rule == "single page"
    assert done.walk.progress.finished
    assert not done.items
    assert done.mark == mark


def test_a_small_page_comes_first() -> None:
    served = List(rows(500))
    mark = marked(served)
    assert since(mark, served, 100).refs == [(1, 21)]  # one of them is known
    served.insert(30)
    done = since(mark, served, 100)
    assert done.refs == [(1, 21), (1, 100)]
    assert done.items == [*range(530, 500, -1)]
    assert done.rule == "single page"
    assert not done.walk.evidence.drifted


def test_the_first_page_of_full_size_sets_the_size() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(30)
    served.largest = 25
    done = since(mark, served, 100)
    assert done.refs[:2] == [(1, 21), (1, 100)]
    assert done.walk.evidence.size == 25
    assert all(ref.size <= 25 for ref in done.refs if ref.num > 1)
    assert isinstance(done.decision, Complete)


def test_from_an_empty_list_all_is_new() -> None:
    served = List([])
    mark = marked(served)
    assert mark == Watermark.start(SCOPE)
    served.rows = rows(12)
    assert sorted(since(mark, served).items) == [*range(1, 13)]


@pytest.mark.parametrize("start", [True, False])
def test_a_list_that_is_not_newest_first_is_refused(start: bool) -> None:
    served = List(rows(40))
    mark = Watermark.start(SCOPE) if start else marked(served)
    served.rows.reverse()
    walk: Walk[int] = Walk(options(), after=mark)
    with pytest.raises(PaginationError, match="not sorted newest first"):
        Crawl(walk, served)
    served.rows.reverse()  # the page that was refused may be requested again
    answer(walk, PageRef(1, 5), served(PageRef(1, 5)))


# Down to what is known


def test_pages_lead_down_to_what_is_known_and_the_newest_end_comes_last() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(50)
    for place in (100, 200):
        served.touch(place)
    done = since(mark, served, 10)
    assert done.refs[0] == (1, 10)
    assert done.refs[-1] == (1, 40)
    assert len(done.refs) <= 15
    *down, end = done.results
    assert end.after_pass
    assert not any(result.after_pass or result.deferred for result in down)
    for above, below in pairwise(result.ref for result in down):
        assert below.start < above.end < below.end
    assert sorted(done.items) == [51, 151, *range(501, 551)]
    assert done.rule == "link"
    assert not done.walk.evidence.drifted
    assert done.mark.updated == served.rows[0][1]
    assert not since(done.mark, served).items


def test_one_more_page_is_requested_at_once_for_each_that_was_read() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(400)
    walk: Walk[int] = Walk(options(10), after=mark)
    answer(walk, walk.plan(), served(PageRef(1, 10)))
    for number in (1, 2, 4, 8):
        refs = [walk.plan() for _ in range(number)]
        assert None not in refs
        assert walk.plan() is None
        for ref in refs:
            assert ref is not None
            answer(walk, ref, served(ref))


def test_a_new_row_that_moves_to_the_head_is_found_there() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(40)
    served.begin(touching(22, 2))  # new, and not read yet
    done = since(mark, served)
    assert sorted(done.items) == [*range(501, 541)]
    assert isinstance(done.decision, Complete)
    served.begin()
    assert since(done.mark, served).items == []


def test_a_row_that_changes_after_its_delivery_belongs_to_the_next_crawl() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(40)
    served.begin(touching(1, 2))  # read and delivered
    done = since(mark, served)
    assert sorted(done.items) == [*range(501, 541)]
    assert since(done.mark, served).items == [539]


def test_a_list_of_few_rows_is_read_to_its_end() -> None:
    served = List(rows(3))
    mark = marked(served)
    served.rows = [(10 + place, 100_000) for place in range(9)] + served.rows
    done = since(mark, served)
    assert sorted(done.items) == [*range(10, 19)]
    assert done.mark.updated == mark.updated


def test_neighbours_that_share_no_row_are_read_once_more() -> None:
    """Rows leave while it goes down, so that the next page begins too far down."""

    def delete(served: List, answers: int) -> None:
        if answers == 2:
            served.drop(0, 6)

    served = List(rows(500))
    mark = marked(served)
    served.insert(60)
    served.begin(delete)
    done = since(mark, served, 10)
    deferred = [result.ref for result in done.results if result.deferred]
    assert len(deferred) == 1
    assert deferred[0].start < 12 < deferred[0].end
    assert set(done.items) == {*range(501, 561)}
    assert isinstance(done.decision, Complete)


# Lists that change


def test_a_list_that_grows_without_end_is_incomplete_but_its_watermark_advances() -> None:
    def insert(served: List, answers: int) -> None:
        # So slow a clock that the widest page spans less than the allowed lateness.
        second = 200_000 + answers // 100
        served.rows[:0] = [(max(served.rows)[0] + 1, second), (max(served.rows)[0] + 2, second)]
        served.rows.sort(key=lambda row: (-row[1], row[0]))

    served = List(rows(500))
    mark = marked(served)
    for _ in range(60):
        insert(served, 0)
    served.begin(insert)
    done = since(mark, served)
    assert not isinstance(done.decision, Complete)
    assert done.walk.progress.finished
    ends = [place for place, ref in enumerate(done.refs) if ref == (1, 80)]
    closings = [place for place in ends if place - 2 in ends]
    assert 5 <= len(closings) <= CLOSINGS  # until a second is over
    for place in closings:  # what was read a moment before links to the end
        below = done.refs[place - 1]
        assert below.start < 80 < below.end
    assert done.mark.updated >= 200_000
    served.begin()
    remaining = since(done.mark, served, 50)
    new = {number for number, _ in served.rows} - {*range(1, 501)}
    assert {*done.items, *remaining.items} == new
    assert not {*done.items} & {*remaining.items}


def test_a_gap_keeps_the_watermark_and_adds_what_was_delivered() -> None:
    served = List(rows(500), largest=20)
    mark = marked(served)
    newest = served.rows[0][1]
    new = [(number, newest + 5) for number in range(600, 650)]
    served.rows = [(700, newest + 50), *new, *served.rows]

    # More than a page of one second, in no order that stays.
    def shuffle(served: List, answers: int) -> None:
        served.rows[1:51] = Random(answers).sample(new, 50)

    served.begin(shuffle)
    done = since(mark, served)
    assert isinstance(done.decision, Unprovable)
    assert done.mark.updated == mark.updated
    assert done.mark.recent == len({*done.items, 1})
    served.largest = 100
    served.begin()
    again = since(done.mark, served, 100)
    assert {*done.items, *again.items} == {*range(600, 650), 700}
    assert not {*done.items} & {*again.items}


def test_the_newest_end_is_requested_no_wider_than_the_server_allows() -> None:
    def insert(served: List, answers: int) -> None:
        served.rows[:0] = [(1000 + answers, 200_000)]

    served = List(rows(500), largest=12)
    mark = marked(served)
    for _ in range(30):
        insert(served, -len(served.rows))
    served.before = insert
    done = since(mark, served)
    assert {ref.size for ref in done.refs if ref.num == 1} == {5, 20, 12}


def test_a_list_that_cannot_be_proven_is_not_read_again_and_again() -> None:
    served = List(rows(500), largest=20)
    mark = marked(served)
    new = [(1000 + place, 100_006) for place in range(30)]
    new += [(2000 + place, 100_005) for place in range(30)]
    served.rows[:0] = new  # a page of them spans less than the allowed lateness

    def serve(ref: PageRef) -> Rows[int]:
        shown = served(ref)
        if 1 not in shown.ids:
            return shown
        place = shown.ids.index(1)  # the row has no update time: known rows cannot be counted
        keyed, times = shown.keyed[:], array("q", shown.updated)
        del keyed[place], times[place]
        return structs.replace(shown, keyed=keyed, updated=times, created=times)

    done = since(mark, serve, 20)
    assert isinstance(done.decision, Unprovable)
    assert len(done.refs) <= 15
    assert sorted(done.items) == sorted(number for number, _ in new)
    assert done.mark.updated == 100_006


# Limits


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 20, 29])
def test_a_limit_short_of_all_that_is_new_proves_nothing(limit: int) -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(30)
    done = since(mark, served, limit=limit)
    assert not done.walk.progress.finished
    assert len(done.items) >= limit
    assert done.items[:limit] == [*range(530, 530 - limit, -1)]
    assert done.mark.updated == mark.updated


def test_a_limit_of_all_that_is_new_is_no_limit() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(3)
    done = since(mark, served, limit=3)
    assert done.walk.progress.finished
    assert done.mark.updated > mark.updated


def test_a_limit_reads_no_second_page_once_it_is_reached() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(30)
    assert since(mark, served, 100, limit=21).refs == [(1, 21)]


# Known rows that fill pages


@pytest.mark.parametrize(("burst", "refs"), [(19, 1), (20, 3), (21, 3), (50, 4), (110, 7)])
def test_known_rows_of_one_second_that_fill_pages_are_counted(burst: int, refs: int) -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(burst)
    mark = marked(served)
    assert mark.recent == burst
    done = since(mark, served, 20)
    assert done.items == []
    assert len(done.refs) == refs
    assert isinstance(done.decision, Complete)
    assert not done.walk.evidence.drifted
    assert (done.mark.updated, done.mark.recent) == (mark.updated, burst)


def test_new_rows_among_known_ones_that_fill_pages_are_found_newest_first() -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(50)
    mark = marked(served)
    served.rows.insert(45, (3000, 200_000))
    served.rows.insert(25, (3001, 200_000))
    served.rows.insert(0, (3002, 200_001))
    done = since(mark, served, 20)
    assert sorted(done.items) == [3000, 3001, 3002]
    assert [result.fresh for result in done.results if result.deferred] == [[3000]]
    assert not done.walk.evidence.drifted
    assert isinstance(done.decision, Complete)
    assert done.mark.updated == 200_001


def test_known_rows_are_not_read_again_if_the_page_below_does_not_reach_them() -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(50)
    mark = marked(served)
    served.rows[20:20] = [(5000 + place, 200_000) for place in range(60)]
    done = since(mark, served, 20)
    below, following = done.results[1:3]
    assert below.deferred
    assert below.ref.start < 50 < below.ref.end
    assert following.ref.num > 1
    assert not following.deferred
    assert sorted(done.items) == [*range(5000, 5060)]


def test_known_rows_are_not_counted_under_a_limit() -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(50)
    mark = marked(served)
    served.insert(1)
    done = since(mark, served, 20, limit=2)
    assert not any(result.deferred for result in done.results)
    assert done.items[0] == max(served.rows, key=lambda row: row[1])[0]


def test_known_rows_are_not_counted_if_a_whole_page_is_new() -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(50)
    mark = marked(served)
    served.insert(20)
    done = since(mark, served, 20)
    assert done.refs[1].num == 2
    assert not done.results[1].deferred
    assert len(done.items) == 20


def test_a_row_that_became_new_does_not_count_for_one_that_was_not_read() -> None:
    def write(served: List, answers: int) -> None:
        if answers == 2:  # the page below was read
            served.touch(50)
        if answers == 3:  # and page 1 again
            served.touch([number for number, _ in served.rows].index(3000))

    served = List(rows(500), largest=20)
    served.rows[:0] = one_second(45)
    mark = marked(served)
    served.rows.insert(25, (3000, 200_000))
    served.begin(write)
    done = since(mark, served, 20)
    assert done.refs[:5] == [(1, 20), (3, 18), (1, 20), (2, 20), (1, 80)]
    assert len(done.items) == 2
    assert 3000 in done.items


# Rows dated in the future

CLOCK = 100_005


@pytest.mark.parametrize(
    ("future", "size", "requests"), [(3, 20, 1), (30, 20, 4), (450, 20, 25), (450, 100, 6)]
)
def test_rows_dated_in_the_future_cost_their_pages_at_each_poll(
    future: int, size: int, requests: int
) -> None:
    ahead = [(9000 + place, 500_000 - place) for place in range(future)]
    served = List([*ahead, *rows(500)])
    first = Crawl(Walk(options(size), after=Watermark.start(SCOPE)), served, CLOCK)
    assert len(first.items) == future + 500
    done = Crawl(Walk(options(size), after=first.mark), served, CLOCK)
    assert (done.items, len(done.refs)) == ([], requests)
    served.rows.insert(future, (9999, CLOCK))
    done = Crawl(Walk(options(size), after=done.mark), served, CLOCK)
    assert (done.items, len(done.refs)) == ([9999], requests)
    assert done.mark.updated <= CLOCK


def test_new_rows_of_the_future_that_fill_pages_are_proven_in_an_unchanged_list() -> None:
    served = List(rows(500))
    mark = marked(served)
    ahead = [(9000 + place, 500_000 - place) for place in range(45)]
    served.rows = [*ahead, *served.rows]
    done = Crawl(Walk(options(20), after=mark), served, CLOCK)
    assert sorted(done.items) == sorted(number for number, _ in ahead)
    assert done.rule == "count"
    assert len(done.refs) == 7


def test_a_watermark_ahead_of_the_servers_clock_reads_the_list_again() -> None:
    served = List(rows(100))
    ahead = Watermark.at(SCOPE, CLOCK + 3600, [], compared=CLOCK + 3600, recent=0)
    done = Crawl(Walk(options(20), after=ahead), served, CLOCK)
    assert sorted(done.items) == list(range(1, 101))
    assert done.rule is not None
    assert done.mark.updated == 100_000


# A second with more rows than a watermark holds


def test_a_crowded_second_is_new_no_more_until_it_changes_and_then_once() -> None:
    served = List(rows(500))
    served.rows[:0] = one_second(400)
    mark = marked(served)
    assert [crowd.count for crowd in mark.crowds] == [400]
    done = since(mark, served, 50)
    assert (done.items, done.mark.crowds) == ([], mark.crowds)
    served.drop(7)
    lacking = since(done.mark, served, 50)
    assert sorted(lacking.items) == sorted(number for number, _ in served.rows[:399])
    assert isinstance(lacking.decision, Complete)
    assert since(lacking.mark, served, 50).items == []
    limited = since(done.mark, served, 50, limit=5)
    assert limited.mark.updated == mark.updated
    assert not limited.walk.progress.finished
