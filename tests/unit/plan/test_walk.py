"""A walk asked page by page over a scripted list: what it asks for, when it ends, what it refuses.

The list stands still but for what a test does to it before an answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from msgspec import structs

from dp_async import CrawlOptions, PaginationError, Watermark
from dp_async._models import Page
from dp_async._page.reader import Rows
from dp_async._plan.checkpoint import Checkpoint
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import PageResult, Walk
from dp_async._proof.decision import Complete, Decision, Missing, Unprovable

Row = tuple[int, int]
"""Id and time."""


def rows(number: int, *, first: int = 100_000, apart: int = 10) -> list[Row]:
    """*number* rows, newest first, *apart* seconds apart; ids ascend."""
    return [(place + 1, first - apart * place) for place in range(number)]


def at(*times: int) -> list[Row]:
    return [(place + 1, time) for place, time in enumerate(times)]


def page(shown: Sequence[Row], num: int, size: int, total: int, *, timed: bool = True) -> Rows[int]:
    """An answer: *shown* as page *num*."""
    pages = -(-total // size)
    ids = [number for number, _ in shown]
    times = array("q", [time for _, time in shown] if timed else [])
    keyed = array("q", ids if timed else [])
    content = Page(
        content=ids,
        number=num - 1,
        size=size,
        total_elements=total,
        total_pages=pages,
        number_of_elements=len(shown),
        first=num == 1,
        last=num >= pages,
        empty=not shown,
    )
    return Rows(content, len(shown), ids, keyed, times, times)


class List:
    """A list that answers; *before* is called with the count of answers so far and may write.

    *echoed* is its largest page; *total* what it claims to hold, if that is a lie; *changes* are
    made to every answer's numbers.
    """

    def __init__(
        self,
        content: Iterable[Row],
        *,
        echoed: int = 10_000,
        total: int | None = None,
        timed: bool = True,
        before: Callable[[List, int], object] = lambda served, number: None,
        **changes: Any,
    ) -> None:
        self.rows = list(content)
        self.echoed = echoed
        self.total = total
        self.timed = timed
        self.before = before
        self.changes = changes
        self.answers = 0

    def __call__(self, ref: PageRef) -> Rows[int]:
        self.before(self, self.answers)
        self.answers += 1
        size = min(ref.size, self.echoed)
        total = len(self.rows) if self.total is None else self.total
        shown = self.rows[(ref.num - 1) * size : ref.num * size]
        told = page(shown, ref.num, size, total, timed=self.timed)
        return replace(told, page=structs.replace(told.page, **self.changes))

    # What may happen to it

    def insert(self, number: int = 1) -> None:
        """New rows at the head, each a second after the newest."""
        for _ in range(number):
            highest = max((key for key, _ in self.rows), default=0)
            newest = self.rows[0][1] if self.rows else 0
            self.rows.insert(0, (highest + 1, newest + 1))

    def touch(self, place: int) -> None:
        """The row at *place* is updated, and so moves to the head."""
        key, _ = self.rows.pop(place)
        self.rows.insert(0, (key, self.rows[0][1] + 1))

    def drop(self, start: int, end: int | None = None) -> None:
        del self.rows[start : start + 1 if end is None else end]


def options(size: int = 5, **changes: Any) -> CrawlOptions:
    return CrawlOptions(page_size=size, **changes)


class Crawl:
    """One walk, from its first ask to its end, one page at a time."""

    def __init__(self, walk: Walk[int], served: Callable[[PageRef], Rows[int]]) -> None:
        self.walk = walk
        self.refs: list[PageRef] = []
        self.steps: list[PageResult[int]] = []
        while (ref := walk.plan()) is not None:
            assert len(self.refs) < 5000
            self.refs.append(ref)
            sent = walk.tick()
            self.steps.append(walk.learn(ref, sent, walk.tick(), served(ref)))
            walk.delivered(self.steps[-1], len(self.steps[-1].fresh))

    @property
    def items(self) -> list[int]:
        return [number for step in self.steps for number in step.fresh]

    @property
    def decision(self) -> Decision | None:
        return self.walk.evidence.decision

    @property
    def rule(self) -> str | None:
        return self.decision.rule if isinstance(self.decision, Complete) else None


def crawl(served: Callable[[PageRef], Rows[int]], size: int = 5, **changes: Any) -> Crawl:
    return Crawl(Walk(options(size, **changes)), served)


# Lists at rest


@pytest.mark.parametrize(
    ("length", "refs"),
    [
        (0, [(1, 5)]),
        (4, [(1, 5)]),
        (5, [(1, 5), (2, 5), (1, 5)]),
        (7, [(1, 5), (2, 5), (1, 5)]),
        (10, [(1, 5), (3, 5), (2, 5), (1, 5)]),
        (14, [(1, 5), (3, 5), (2, 5), (1, 5)]),
    ],
)
def test_both_ends_then_the_middle_then_page_1_again(
    length: int, refs: list[tuple[int, int]]
) -> None:
    done = crawl(List(rows(length)))
    assert done.refs == refs
    assert done.rule == ("count" if length >= 5 else "single page")
    assert sorted(done.items) == list(range(1, length + 1))
    assert done.walk.evidence.passes == 1
    assert not done.walk.evidence.drifted


def test_the_last_page_is_held_and_the_closing_one_is_late() -> None:
    done = crawl(List(rows(12)))
    assert [(step.ref.num, step.deferred, step.after_pass) for step in done.steps] == [
        (1, False, False),
        (3, True, False),
        (2, False, False),
        (1, False, True),
    ]
    assert done.steps[-1].repeated == 5


def test_nothing_is_planned_before_the_first_answer() -> None:
    walk: Walk[int] = Walk(options())
    assert walk.plan() == (1, 5)
    assert walk.plan() is None


def test_pages_are_planned_ahead_of_their_answers() -> None:
    walk: Walk[int] = Walk(options())
    served = List(rows(22))

    def take(ref: PageRef | None) -> None:
        assert ref is not None
        walk.learn(ref, walk.tick(), walk.tick(), served(ref))

    take(walk.plan())
    last = walk.plan()
    assert last == (5, 5)
    assert walk.plan() is None  # the middle waits for the last page
    take(last)
    middle = [walk.plan(), walk.plan(), walk.plan()]
    assert middle == [(2, 5), (3, 5), (4, 5)]
    assert walk.plan() is None  # page 1 again waits for all of it
    for ref in reversed(middle):
        take(ref)
    take(walk.plan())
    assert walk.plan() is None
    assert isinstance(walk.evidence.decision, Complete)


def test_the_echoed_size_plans_the_rest() -> None:
    done = crawl(List(rows(12), echoed=5), 100)
    assert done.refs == [(1, 100), (3, 5), (2, 5), (1, 5)]
    assert done.rule == "count"


def test_a_size_that_is_not_echoed_is_taken_as_asked() -> None:
    done = crawl(List(rows(12), size=0))
    assert done.refs == [(1, 5), (3, 5), (2, 5), (1, 5)]
    assert done.rule == "count"


def test_an_ascending_list() -> None:
    done = crawl(List(reversed(rows(12))))
    assert done.rule == "count"
    assert len(done.refs) == 4


def test_a_list_in_no_order() -> None:
    done = crawl(List(at(50, 90, 10, 70, 30, 20, 40, 35, 80, 15, 45, 60)), allowed_lateness=0.0)
    assert done.rule == "count"
    assert len(done.items) == 12


def test_rows_without_times_prove_nothing() -> None:
    done = crawl(List(rows(30), timed=False))
    assert isinstance(done.decision, Unprovable)
    assert len(done.items) == 30
    assert done.walk.evidence.passes == 3


def test_rows_without_times_end_with_an_overlap_too() -> None:
    done = crawl(List(rows(30), timed=False), overlap=1)
    assert isinstance(done.decision, Unprovable)
    assert len(done.items) == 30
    assert len(done.refs) < 90


def test_more_rows_of_one_second_than_a_page_holds_are_read_twice() -> None:
    done = crawl(List(at(*[100] * 30)))
    assert done.rule == "count"
    assert done.walk.evidence.passes == 2
    assert len(done.refs) <= 2 * 8


# Not verified, limited


def test_without_verification_each_page_is_read_once() -> None:
    done = crawl(List(rows(12)), verify=False)
    assert done.refs == [(1, 5), (2, 5), (3, 5)]
    assert done.decision is None
    done = crawl(List(at(9, 9, 9)[:1] * 12), verify=False)  # even one id all over
    assert len(done.items) == 12


def test_without_verification_the_plan_grows_with_the_total() -> None:
    def grow(served: List, number: int) -> None:
        if number == 2:
            served.rows += [(99 + place, 1) for place in range(6)]

    done = crawl(List(rows(12), before=grow), verify=False)
    assert len(done.refs) == 4
    assert done.walk.evidence.drifted


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6, 12, 17, 18])
def test_no_page_is_asked_for_that_the_limit_does_not_need(limit: int) -> None:
    done = crawl(List(rows(18)), limit=limit)
    size = min(5, max(limit, 1))
    assert done.refs == [(num + 1, size) for num in range(-(-limit // size))]
    assert done.items[:limit] == list(range(1, limit + 1))
    assert done.decision is None or limit == 0


def test_a_limit_that_repeated_rows_leave_short_asks_for_one_more() -> None:
    def shift(served: List, number: int) -> None:
        if number == 1:
            served.insert(2)

    done = crawl(List(rows(18), before=shift), limit=10)
    assert done.refs == [(1, 5), (2, 5), (3, 5)]
    assert len(done.items) == 13


def test_a_limit_beyond_the_list_is_a_whole_crawl() -> None:
    assert crawl(List(rows(12)), limit=13).rule == "count"
    assert crawl(List(rows(3)), limit=13).rule == "single page"


@pytest.mark.parametrize("answers", [2, 3, 8])
@pytest.mark.parametrize("at_the_head", [True, False])
def test_a_limit_that_the_list_grows_over_ends_the_crawl(answers: int, at_the_head: bool) -> None:
    def grow(served: List, number: int) -> None:
        if number != answers:
            return
        if at_the_head:
            served.insert(12)
        else:
            served.rows += [(1000 + place, 5) for place in range(12)]

    done = crawl(List(rows(42), before=grow), limit=45)
    assert len(done.items) >= 45 or done.rule is not None
    fresh = [len(step.fresh) for step in done.steps]
    assert sum(fresh[:-1]) < 45 or done.rule is not None  # nothing was asked for after that


# Lists that move


def test_a_list_that_empties_meanwhile() -> None:
    def empty(served: List, number: int) -> None:
        if number == 2:
            served.rows.clear()

    done = crawl(List(rows(22), before=empty))
    assert done.rule == "single page"
    assert len(done.refs) < 12


def test_a_list_that_shrinks_below_a_page() -> None:
    def shrink(served: List, number: int) -> None:
        if number == 2:
            served.drop(3, 99)

    done = crawl(List(rows(22), before=shrink))
    assert done.rule == "single page"
    assert set(done.items) >= {1, 2, 3}


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("overlap", ["auto", 0, 2])
def test_a_list_that_grows_by_pages(number: int, overlap: object) -> None:
    def grow(served: List, answers: int) -> None:
        if answers == number:
            served.insert(12)

    done = crawl(List(rows(42), before=grow), overlap=overlap)
    assert done.rule is not None
    assert len(done.items) == len(set(done.items))
    assert set(done.items) >= set(range(1, 43))
    assert done.walk.evidence.drifted


def test_a_list_that_has_rested_for_long_and_then_grows_is_not_searched_beyond_its_end() -> None:
    def grow(served: List, answers: int) -> None:
        if answers == 3:
            newest = served.rows[0][1] + 86_400
            served.rows[:0] = [(1000 + place, newest - place) for place in range(25)]

    done = crawl(List(rows(42), echoed=10, before=grow), size=10, max_passes=5)
    assert done.rule is not None
    assert max(ref.start for ref in done.refs) <= 70
    assert len(done.refs) < 60


@pytest.mark.parametrize("overlap", ["auto", 0, 1, 2])
@pytest.mark.parametrize("place", [0, 7, 23, 40])
def test_a_row_that_moves_up_while_the_list_is_read(place: int, overlap: object) -> None:
    def touch(served: List, answers: int) -> None:
        if answers in (3, 5):
            served.touch(place)

    done = crawl(List(rows(41), before=touch), overlap=overlap)
    assert done.rule is not None
    assert set(done.items) == set(range(1, 42))


def test_an_ascending_list_that_moves() -> None:
    def grow(served: List, answers: int) -> None:
        if answers in (2, 4):
            served.rows.append((len(served.rows) + 1, served.rows[-1][1] + 5))

    for overlap in ("auto", 2):
        done = crawl(List(reversed(rows(33)), before=grow), overlap=overlap, max_passes=5)
        assert done.rule is not None
        assert set(done.items) >= set(range(1, 34))


def test_a_list_that_moves_on_by_pages_from_answer_to_answer_is_not_called_complete() -> None:
    def stir(served: List, answers: int) -> None:
        served.insert(12)
        served.drop(-12, len(served.rows))

    done = crawl(List(rows(33), before=stir))
    assert isinstance(done.decision, Missing)
    assert done.walk.evidence.passes == 3
    assert len(done.refs) < 150


def test_a_pass_alone_mends_nothing() -> None:
    def grow(served: List, answers: int) -> None:
        if answers == 3:
            served.insert(7)

    done = crawl(List(rows(33), before=grow), max_passes=1, overlap=0)
    assert done.walk.evidence.passes == 1
    assert done.rule is None


@pytest.mark.parametrize("largest", [5, 7, 12, 20, 1000])
def test_a_wider_page_1_may_be_answered_smaller(largest: int) -> None:
    def grow(served: List, answers: int) -> None:
        if answers in (2, 4, 6):
            served.insert(1)

    done = crawl(List(rows(42), echoed=largest, before=grow))
    assert done.rule is not None
    assert set(done.items) >= set(range(1, 43))
    widest = max(ref.size for ref in done.refs if ref.num == 1)
    assert widest == 20
    assert all(ref.size <= largest for ref in done.refs if ref.num > 1)


@pytest.mark.parametrize("total", [0, 5, 12, 40])
def test_totals_that_lie_are_not_believed_against_the_rows(total: int) -> None:
    done = crawl(List(rows(22), total=total, total_pages=1))
    if done.rule is not None:
        assert len(done.items) == 22
    assert len(done.refs) < 200


def test_a_first_page_without_times_and_a_list_that_moves() -> None:
    """Nothing tells how young the list was as the crawl began."""
    content = rows(42)

    def served(ref: PageRef) -> Rows[int]:
        if ref.num == 3:
            content.insert(0, (len(content) + 1, content[0][1] + 1))
        shown = content[ref.start : ref.end]
        return page(shown, ref.num, ref.size, len(content), timed=ref != (1, 5))

    done = crawl(served, overlap=0)
    assert set(done.items) >= set(range(1, 43))
    assert len(done.refs) < 100


# Going on where another crawl stopped


def stopped(content: Sequence[Row], **changes: Any) -> Checkpoint:
    """After 3 pages of 5 rows."""
    told: dict[str, Any] = {
        "scope": "",
        "size": 5,
        "pages": 3,
        "total": len(content),
        "head": content[0],
        "unique": 15,
    }
    return Checkpoint(**(told | changes))


def test_the_rest_of_a_list_that_is_as_it_was() -> None:
    content = rows(32)
    done = Crawl(Walk(options(), stopped(content)), List(content))
    assert done.refs == [(1, 5), (7, 5), (4, 5), (5, 5), (6, 5), (1, 5)]
    assert done.walk.progress.resumed
    assert not done.walk.progress.started_over
    assert set(done.items) >= set(range(16, 33))


@pytest.mark.parametrize(
    "changes", [{"total": 31}, {"head": (7, 1)}, {"size": 4}, {"pages": 0}, {"head": None}]
)
def test_all_of_a_list_that_is_not_as_it_was(changes: dict[str, Any]) -> None:
    content = rows(32)
    done = Crawl(Walk(options(), stopped(content, **changes)), List(content))
    assert done.walk.progress.started_over
    assert not done.walk.progress.resumed
    assert done.rule == "count"
    assert sorted(done.items) == list(range(1, 33))


@pytest.mark.parametrize("answers", [1, 2, 4, 5])
def test_all_of_a_list_that_moves_while_the_rest_is_read(answers: int) -> None:
    def touch(served: List, number: int) -> None:
        if number == answers:
            served.touch(4)

    content = rows(32)
    before = stopped(content)
    done = Crawl(Walk(options(max_passes=5), before), List(content, before=touch))
    assert done.walk.progress.started_over
    assert not done.walk.progress.resumed
    assert done.rule is not None
    assert sorted(done.items) == list(range(1, 33))


def test_the_head_of_a_list() -> None:
    assert Walk[int](options()).evidence.head is None
    assert crawl(List([])).walk.evidence.head is None
    assert crawl(List(rows(3, first=77))).walk.evidence.head == (1, 77)


# Guards


def refused(ref: PageRef, rows: Rows[int], match: str, **changes: Any) -> None:
    walk: Walk[int] = Walk(options(5, **changes))
    served = List([(place, 999 - place) for place in range(100, 130)])
    while (planned := walk.plan()) != ref:
        assert planned is not None
        walk.learn(planned, walk.tick(), walk.tick(), served(planned))
    with pytest.raises(PaginationError, match=match):
        walk.learn(ref, walk.tick(), walk.tick(), rows)


def test_another_page_than_asked_for() -> None:
    refused(PageRef(1, 5), page(rows(5), 2, 5, 30), "answered with page 2")
    refused(PageRef(2, 5), page(rows(5), 1, 5, 30), "answered with page 1")


def test_another_size_than_asked_for() -> None:
    refused(PageRef(1, 5), page(rows(5), 1, 7, 30), "size of 7")
    refused(PageRef(2, 5), page(rows(4), 2, 4, 30), "its place in the list is not known")


def test_more_rows_than_asked_for() -> None:
    refused(PageRef(1, 5), page(rows(6), 1, 5, 30), "more rows than")
    refused(PageRef(2, 5), page(rows(6), 2, 5, 30), "more rows than")
    refused(PageRef(1, 5), page(rows(5), 1, 4, 30), "more rows than")


def test_a_refused_answer_may_be_asked_for_again() -> None:
    walk: Walk[int] = Walk(options())
    ref = walk.plan()
    assert ref is not None
    with pytest.raises(PaginationError):
        walk.learn(ref, walk.tick(), walk.tick(), page(rows(5), 2, 5, 30))
    walk.learn(ref, walk.tick(), walk.tick(), page(rows(5), 1, 5, 30))
    assert walk.plan() is not None


def test_the_same_rows_whatever_page_is_asked_for() -> None:
    def same(ref: PageRef) -> Rows[int]:
        return page(rows(ref.size), ref.num, ref.size, 500)

    for verify in (True, False):
        with pytest.raises(PaginationError, match=r"the same rows under .* \[\d+, \d+, \d+\]$"):
            crawl(same, verify=verify)


@pytest.mark.parametrize("verify", [True, False])
def test_a_list_that_grows_without_end(verify: bool) -> None:
    def grow(served: List, answers: int) -> None:
        last = served.rows[-1]
        served.rows += [(last[0] + place, last[1]) for place in range(1, 8)]

    with pytest.raises(PaginationError, match="grows"):
        crawl(List(rows(22), before=grow), verify=verify)


# What is new since a watermark

SCOPE = "0123456789abcdef01234567"


def at_rest(served: List, answers: int) -> None:
    """Nothing happens any more."""


def marked(served: List, **changes: Any) -> Watermark:
    """The watermark of all there is."""
    done = Crawl(Walk(options(**changes), after=Watermark.start(SCOPE)), served)
    mark = done.walk.watermark(SCOPE)
    assert mark is not None
    return mark


def since(
    mark: Watermark, served: Callable[[PageRef], Rows[int]], size: int = 5, **changes: Any
) -> Crawl:
    return Crawl(Walk(options(size, **changes), after=mark), served)


def next_mark(done: Crawl) -> Watermark:
    mark = done.walk.watermark(SCOPE)
    assert mark is not None
    return mark


def test_nothing_new_is_one_page() -> None:
    served = List(rows(500))
    mark = marked(served)
    done = since(mark, served)
    assert done.refs == [(1, 5)]
    assert done.rule == "single page"
    assert not done.items
    assert next_mark(done) == mark


def test_a_small_page_comes_first() -> None:
    served = List(rows(500))
    mark = marked(served)
    assert since(mark, served, 100).refs == [(1, 21)]  # one of them is known
    served.insert(30)
    done = since(mark, served, 100)
    assert done.refs == [(1, 21), (1, 100)]
    assert done.items == [*range(530, 500, -1)]
    assert done.rule == "single page"


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
    assert sorted(done.items) == [51, 151, *range(501, 551)]
    assert done.rule == "link"
    assert next_mark(done).updated == served.rows[0][1]
    assert not since(next_mark(done), served).items


def test_a_row_that_moves_to_the_head_meanwhile_is_found_there() -> None:
    def touch(served: List, answers: int) -> None:
        if answers == 2:
            served.touch(22)  # new, and not read yet

    served = List(rows(500))
    mark = marked(served)
    served.insert(40)
    served.answers, served.before = 0, touch
    done = since(mark, served)
    assert sorted(done.items) == [*range(501, 541)]
    assert isinstance(done.decision, Complete)
    served.before = at_rest
    assert since(next_mark(done), served).items == []


def test_a_row_that_changes_after_it_came_is_the_next_walks() -> None:
    def touch(served: List, answers: int) -> None:
        if answers == 2:
            served.touch(1)  # read and delivered

    served = List(rows(500))
    mark = marked(served)
    served.insert(40)
    served.answers, served.before = 0, touch
    done = since(mark, served)
    assert sorted(done.items) == [*range(501, 541)]
    assert since(next_mark(done), served).items == [539]


def test_what_comes_in_without_end_leaves_it_incomplete_and_the_watermark_moves_on() -> None:
    def insert(served: List, answers: int) -> None:
        # So slow a clock that the widest page spans less time than rows may take to settle.
        second = 200_000 + answers // 100
        served.rows[:0] = [(max(served.rows)[0] + 1, second), (max(served.rows)[0] + 2, second)]
        served.rows.sort(key=lambda row: (-row[1], row[0]))

    served = List(rows(500))
    mark = marked(served)
    for _ in range(60):
        insert(served, 0)
    served.answers, served.before = 0, insert
    done = since(mark, served)
    assert not isinstance(done.decision, Complete)
    assert done.walk.progress.finished
    moved = next_mark(done)
    assert moved.updated >= 200_000
    served.before = at_rest
    rest = since(moved, served, 50)
    assert {*done.items, *rest.items} == {number for number, _ in served.rows} - {*range(1, 501)}
    assert not {*done.items} & {*rest.items}


def test_what_leaves_a_gap_keeps_the_watermark_and_adds_what_was_delivered() -> None:
    served = List(rows(500), echoed=20)
    mark = marked(served)
    newest = served.rows[0][1]
    new = [(number, newest + 5) for number in range(600, 650)]
    served.rows = new + served.rows

    # More than a page of one second, in no order that stays.
    def shuffle(served: List, answers: int) -> None:
        served.rows[:50] = Random(answers).sample(new, 50)

    served.before = shuffle
    done = since(mark, served)
    assert isinstance(done.decision, Unprovable)
    kept = next_mark(done)
    assert kept.updated == mark.updated
    assert {key[0] for key in kept.keys} == {*done.items, 1}
    served.before, served.echoed = at_rest, 100
    again = since(kept, served, 100)
    assert {*done.items, *again.items} == {*range(600, 650)}
    assert not {*done.items} & {*again.items}


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6, 20, 29])
def test_a_limit_short_of_all_that_is_new_proves_nothing(limit: int) -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(30)
    done = since(mark, served, limit=limit)
    assert not done.walk.progress.finished
    assert len(done.items) >= limit
    assert next_mark(done).updated == mark.updated


def test_a_limit_of_all_that_is_new_is_no_limit() -> None:
    served = List(rows(500))
    mark = marked(served)
    served.insert(3)
    done = since(mark, served, limit=3)
    assert done.walk.progress.finished
    assert next_mark(done).updated > mark.updated


def test_a_list_of_few_rows_is_read_to_its_end() -> None:
    served = List(rows(3))
    mark = marked(served)
    served.rows = [(10 + place, 100_000) for place in range(9)] + served.rows
    done = since(mark, served)
    assert sorted(done.items) == [*range(10, 19)]
    assert next_mark(done).updated == mark.updated


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
    served.rows.reverse()  # the page that was refused may be asked for again
    walk.learn(PageRef(1, 5), walk.tick(), walk.tick(), served(PageRef(1, 5)))


def test_a_whole_crawl_has_a_watermark_of_its_own() -> None:
    served = List(rows(40))
    assert crawl(served).walk.watermark(SCOPE) == marked(served)
    assert crawl(served, limit=10).walk.watermark(SCOPE) is None
    assert crawl(served, verify=False).walk.watermark(SCOPE) is None
    served.rows.reverse()
    assert crawl(served).walk.watermark(SCOPE) is None


def test_the_newest_end_is_asked_for_no_wider_than_the_server_gives() -> None:
    def insert(served: List, answers: int) -> None:
        served.rows[:0] = [(1000 + answers, 200_000)]

    served = List(rows(500), echoed=12)
    mark = marked(served)
    for _ in range(30):
        insert(served, -len(served.rows))
    served.before = insert
    done = since(mark, served)
    heads = {ref.size for ref in done.refs if ref.num == 1}
    assert heads == {5, 20, 12}


def test_what_cannot_be_proven_at_rest_is_not_read_again_and_again() -> None:
    served = List(rows(500), echoed=20)
    mark = marked(served)
    new = [(1000 + place, 100_006) for place in range(30)]
    new += [(2000 + place, 100_005) for place in range(30)]
    served.rows[:0] = new  # a page of them spans less time than rows may take to settle

    def answer(ref: PageRef) -> Rows[int]:
        told = served(ref)
        if 1 not in told.ids:
            return told
        place = told.ids.index(1)  # the row below has no update time: they cannot be counted
        keyed, times = told.keyed[:], told.updated[:]
        del keyed[place], times[place]
        return replace(told, keyed=keyed, updated=times, created=times)

    done = since(mark, answer, 20)
    assert isinstance(done.decision, Missing)
    assert len(done.refs) <= 15
    assert sorted(done.items) == sorted(number for number, _ in new)
    assert next_mark(done).updated == 100_006


@pytest.mark.parametrize(("burst", "refs"), [(19, 1), (20, 3), (21, 3), (50, 4), (110, 7)])
def test_where_one_second_fills_pages_the_known_rows_are_counted(burst: int, refs: int) -> None:
    served = List(rows(500))
    served.rows[:0] = [(1000 + place * 7 % 997, 200_000) for place in range(burst)]
    mark = marked(served)
    assert len(mark.keys) == burst
    done = since(mark, served, 20)
    assert done.items == []
    assert len(done.refs) == refs
    assert isinstance(done.decision, Complete)
    assert next_mark(done) == mark


def test_what_comes_beside_known_rows_that_fill_pages_is_found_newest_first() -> None:
    served = List(rows(500))
    served.rows[:0] = [(1000 + place * 7 % 997, 200_000) for place in range(50)]
    mark = marked(served)
    served.rows.insert(45, (3000, 200_000))
    served.rows.insert(25, (3001, 200_000))
    served.rows.insert(0, (3002, 200_001))
    done = since(mark, served, 20)
    assert sorted(done.items) == [3000, 3001, 3002]
    assert [step.fresh for step in done.steps if step.deferred] == [[3000]]
    assert isinstance(done.decision, Complete)
    assert next_mark(done).updated == 200_001


def test_a_row_that_became_new_is_not_counted_for_one_that_was_not_read() -> None:
    def write(served: List, answers: int) -> None:
        if answers == 2:  # the page below was read
            served.touch(50)
        if answers == 3:  # and page 1 again
            served.touch([number for number, _ in served.rows].index(3000))

    served = List(rows(500), echoed=20)
    served.rows[:0] = [(1000 + place * 7 % 997, 200_000) for place in range(45)]
    mark = marked(served)
    served.rows.insert(25, (3000, 200_000))
    served.before, served.answers = write, 0
    done = since(mark, served, 20)
    assert done.refs[:5] == [(1, 20), (3, 18), (1, 20), (2, 20), (1, 80)]
    assert len(done.items) == 2
    assert 3000 in done.items
