"""Trial of the certificate: every small crawl within bounds, random larger ones, broken rules.

No server: ``listmodel`` knows what the list held. By default a part of the small crawls is tried;
the slow tests try all. ``python -m tests.property.test_certificate_exhaustive WRITES TRIALS`` adds
WRITES writes to each family, and tries that many other random crawls.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from math import floor, inf
from typing import TYPE_CHECKING

import pytest

from dp_async._proof import certificate, counts, descent, links, reads, segments, ties
from dp_async._proof.decision import Complete
from dp_async._proof.reads import Column, Read, newest
from dp_async._proof.segments import Order, Segment
from dp_async._proof.steps import Steps
from tests.property.listmodel import (
    Findings,
    Moment,
    Page,
    Row,
    Search,
    Server,
    any_order,
    closed,
    draw_trial,
    pages,
    starts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Family:
    """Lists, the plans by which they are read, and how many writes there are in between."""

    server: Server
    starts: Callable[[], Iterable[Moment]]
    plans: Sequence[tuple[Page, ...]]
    writes: int
    expected: str = "link"
    """The rule that must certify at least *floor* crawls: else the trial would show nothing."""

    floor: int = 100

    def search(self, *, part: int = 1, first_only: bool = False) -> Findings:
        """All crawls, or one in *part*: each list is then read by another part of the plans."""
        search = Search(self.server, self.writes, first_only)
        for place, start in enumerate(self.starts()):
            search.run(start, self.plans[place % part :: part])
            if first_only and search.findings.false:
                break
        return search.findings


TRIALS = 4000
SHARED = closed(pages((0, 3), (1, 2), (1, 3)), Page(0, 3))
"""Five rows on pages that share one row each; page 1 also closes the crawl."""
WIDE = closed(pages((0, 4), (1, 3), (1, 4)), Page(0, 4))
"""Six rows on pages that share at least one."""

FAMILIES = {
    "any read at any time": Family(
        Server(), lambda: starts(3), any_order(pages((0, 2), (1, 2), (0, 1), (2, 1)), 4), 1, "count"
    ),
    "any read, late rows": Family(
        Server(allowed_lateness=1),
        lambda: starts(3, (1, 2)),
        any_order(pages((0, 2), (1, 2)), 4),
        1,
        "count",
    ),
    "any read, random ties": Family(
        Server(ties="random"), lambda: starts(3), any_order(pages((0, 2), (1, 2)), 3), 1, "count"
    ),
    "shared rows": Family(Server(), lambda: starts(5), SHARED, 1),
    "shared rows, two writes": Family(Server(), lambda: starts(5, (1,)), SHARED, 2),
    "shared rows, late rows": Family(
        Server(allowed_lateness=1, ahead=1), lambda: starts(5, (0, 2)), SHARED, 1
    ),
    "shared rows, ids the other way": Family(
        Server(), lambda: starts(4, (0, 2), ids="down"), SHARED, 1, "count"
    ),
    "hidden seconds": Family(Server(ties="hidden"), lambda: starts(6, (0, 1), ids="down"), WIDE, 1),
    "ascending": Family(
        Server(descending=False),
        lambda: starts(5),
        closed(pages((0, 3), (1, 2), (1, 3)), Page(1, 3)),
        1,
    ),
    "by create time": Family(Server(order="create"), lambda: starts(5), SHARED, 1),
    "by no time": Family(
        Server(order="id"),
        lambda: starts(4, (1, 3), ids="any"),
        [(*pages((0, 3), (1, 3)), *middle, *pages((0, 3))) for middle in (pages((1, 3)), ())],
        1,
        "count",
    ),
    "a clamp that is not echoed": Family(
        Server(clamp=2),
        lambda: starts(5),
        any_order(pages((0, 3), (1, 3), (2, 3)), 3),
        1,
        floor=0,
    ),
}


def trust_ties(server: Server, patch: pytest.MonkeyPatch) -> None:
    """Lists are too short to show whether ties keep their order: one shared row does if they do."""
    patch.setattr(ties, "SHARED", 1000 if server.ties == "random" else 1)
    patch.setattr(ties, "AGREEING", 0)


@pytest.mark.parametrize("part", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_false_certificate_in_small_crawls(
    name: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = FAMILIES[name]
    trust_ties(family.server, monkeypatch)
    findings = family.search(part=part)
    assert not findings.false[:1]
    assert findings.complete[family.expected] >= family.floor // part


def judge(seeds: Iterable[int]) -> tuple[Counter[tuple[str, bool]], list[int]]:
    """Certificates by rule and by whether the list changed, and the seeds of false ones."""
    complete: Counter[tuple[str, bool]] = Counter()
    false: list[int] = []
    for seed in seeds:
        trial = draw_trial(seed)
        decision = certificate.decide(trial.reads, trial.server.allowed_lateness)
        if not isinstance(decision, Complete):
            continue
        if decision.rule == "link" and trial.server.order == "id":
            continue  # assumption 4 does not hold, though few rows may look sorted by time
        if trial.server.ties == "random" and "keep their order" in decision.reason:
            continue  # nor does 6, though few rows may look stable
        complete[decision.rule, bool(trial.moment.writes)] += 1
        if trial.lost:
            false.append(seed)
    return complete, false


@pytest.mark.parametrize("trials", [500, pytest.param(TRIALS, marks=pytest.mark.slow)])
def test_no_false_certificate_in_random_crawls(trials: int) -> None:
    once_false = 49260  # a size cut without echo, and no page 1 of that size to show it
    complete, false = judge([once_false, *range(trials)])
    assert not false
    for rule in ("single page", "link", "count"):
        assert complete[rule, True] >= trials // 200
        assert complete[rule, False] >= trials // 300


class Tape:
    """A list, newest first, that a test writes to and reads; *stayed* was there all the time."""

    def __init__(self, *rows: tuple[int, int], by_create: bool = False) -> None:
        """*rows* are ids and times, in the order of the list."""
        self.rows = [Row(i, time, time) for i, time in rows]
        self.stayed = {i for i, _ in rows}
        self.reads: list[Read] = []
        self.by_create = by_create
        self.ticks = count()

    def put(self, row: int, time: int) -> None:
        """Insert a row or update it; it then stands below all rows with its time."""
        created = next((old.created for old in self.rows if old.id == row), time)
        kept = [(old if old.id != row else None) for old in self.rows]
        if self.by_create and None in kept:
            self.rows = [old or Row(row, time, created) for old in kept]
        else:
            self.rows = [old for old in kept if old] + [Row(row, time, created)]
            self.rows.sort(key=lambda old: -old.updated)

    def drop(self, row: int) -> None:
        self.rows = [old for old in self.rows if old.id != row]
        self.stayed.discard(row)

    def send(self) -> int:
        return next(self.ticks)

    def take(self, number: int, size: int) -> tuple[Page, tuple[Row, ...], int]:
        page = Page(number, size)
        return page, tuple(self.rows[page.offset : page.offset + size]), len(self.rows)

    def answer(self, sent: int, page: Page, rows: Sequence[Row], total: int) -> None:
        self.reads.append(
            Read.of(
                sent=sent,
                answered=next(self.ticks),
                offset=page.offset,
                size=page.size,
                count=len(rows),
                total=total,
                ids=[row.id for row in rows],
                updated=[row.updated for row in rows],
                created=[row.created for row in rows] if self.by_create else [],
            )
        )

    def read(self, number: int, size: int) -> None:
        self.answer(self.send(), *self.take(number, size))

    @property
    def lost(self) -> set[int]:
        return self.stayed.difference(*(read.ids for read in self.reads))


Y = 6
"""The row that each story loses."""


def stamp_in_the_past() -> Tape:
    """A row above the last page gets a time one second ago, and falls below page 1."""
    tape = Tape((1, 9), (2, 9), (Y, 9), (7, 9), (8, 9), (3, 8))
    tape.read(1, 4)
    tape.put(Y, 8)
    tape.read(0, 5)
    return tape


def stamp_in_the_past_then_new_row() -> Tape:
    """The same, but page 1 shows a time that makes that one look old."""
    tape = Tape((1, 9), (2, 9), (Y, 9), (7, 9), (8, 9), (3, 8))
    tape.read(1, 4)
    tape.put(Y, 8)
    tape.put(10, 20)
    tape.read(0, 6)
    return tape


def full_page_at_the_end() -> Tape:
    """A row is deleted after the rows of a full page are read and before its total is counted."""
    tape = Tape((1, 10), (2, 9), (3, 8), (4, 7), (Y, 6))
    page, rows, _ = tape.take(0, 4)
    tape.drop(1)
    tape.answer(tape.send(), page, rows, len(tape.rows))
    return tape


def reordered(second: tuple[int, ...], *others: tuple[int, ...]) -> Tape:
    """Rows of one second below another row. Page 1, read last, shows four of them, then come 8, Y.

    Page 2 shows the last two of *second*, another order of them. *others* are shown by page 1.
    """
    tape = Tape((1, 20), *((row, 9) for row in (3, 4, 5, 7, 8, Y)), (2, 3))
    orders = [(1, second), *((0, order) for order in others), (0, (3, 4, 5, 7, 8, Y))]
    tape.read(0, 1)
    for number, order in orders:
        tape.rows = [Row(1, 20, 20), *(Row(row, 9, 9) for row in order), Row(2, 3, 3)]
        tape.read(number, 5)
    return tape


def swapped_once() -> Tape:
    """Pages that join, and a third one that shows that rows of their second change places."""
    return reordered((3, 4, Y, 8, 5, 7), (3, 5, 4, 7, 8, Y))


def order_by_chance() -> Tape:
    """Pages that share two rows, which another order of the second leaves as they were."""
    return reordered((3, 4, 8, Y, 5, 7))


def one_shared_row() -> Tape:
    """Pages that share one row, which shows no order."""
    return reordered((3, 4, 5, Y, 7, 8))


def shared_rows_apart() -> Tape:
    """A page begins with a row of another, and then shows one that was not below it."""
    return reordered((3, 4, Y, 7, 5, 8))


def one_second() -> Tape:
    """Two pages meet within one second, and a row of that second lies between them."""
    tape = Tape((9, 20), (8, 15), (5, 9), (Y, 9), (3, 9), (2, 9))
    tape.read(0, 3)
    tape.read(1, 4)
    tape.read(0, 3)
    return tape


def page_1_read_first() -> Tape:
    """A row moves to the head after page 1 was read."""
    tape = Tape((1, 10), (2, 9), (3, 8), (4, 7), (Y, 6))
    tape.read(0, 4)
    tape.put(Y, 11)
    tape.read(1, 3)
    return tape


def page_1_answered_last() -> Tape:
    """The same, but the answer with page 1 arrives last."""
    tape = Tape((1, 10), (2, 9), (3, 8), (4, 7), (Y, 6))
    sent, early = tape.send(), tape.take(0, 4)
    tape.put(Y, 11)
    tape.read(1, 3)
    tape.answer(sent, *early)
    return tape


def no_page_1() -> Tape:
    tape = Tape((1, 10), (2, 9), (Y, 8), (3, 7), (4, 6), (5, 5))
    tape.read(1, 4)
    tape.read(1, 3)
    return tape


def no_last_page() -> Tape:
    tape = Tape((1, 10), (2, 9), (Y, 8))
    tape.read(0, 2)
    tape.read(0, 2)
    return tape


def sorted_by_create_time() -> Tape:
    """An update that moves no row makes the last page look as if it reached page 1."""
    tape = Tape((1, 10), (2, 9), (3, 8), (Y, 7), (4, 6), (5, 5), by_create=True)
    tape.put(4, 20)
    tape.read(1, 4)
    tape.read(0, 3)
    return tape


def new_row_for_an_old_one() -> Tape:
    """A row inserted after the last page was read makes the count right."""
    tape = Tape((1, 10), (2, 9), (3, 8), (Y, 7), (4, 6))
    tape.read(0, 2)
    tape.read(2, 2)
    tape.put(11, 11)
    tape.read(1, 2)
    tape.read(0, 2)
    return tape


def row_left_and_returned() -> Tape:
    """A row that was absent when the last page was read makes the count right."""
    tape = Tape((1, 10), (2, 9), (Y, 8), (3, 7))
    tape.read(0, 2)
    tape.drop(1)
    tape.read(1, 2)
    tape.put(1, 11)
    tape.read(0, 2)
    return tape


def row_gone_before_the_end() -> Tape:
    """A row that left before the last page was read makes the count right."""
    tape = Tape((1, 10), (2, 9), (3, 8), (Y, 7), (4, 6))
    tape.read(2, 1)
    tape.drop(3)
    tape.read(1, 3)
    tape.read(0, 2)
    return tape


# Broken clauses


def no_lateness(allowed_lateness: float) -> int:
    return 0


def no_horizon(horizon: float, order: Order) -> float:
    return inf


def at_the_horizon(horizon: float, order: Order) -> float:
    return horizon + 1


def of_any_read(
    reads: Sequence[Read], allowed_lateness: float, *, dated: bool = True
) -> Steps[list[float]]:
    yield
    return [max(map(newest, reads)) - allowed_lateness for _ in reads]


def full_is_short(read: Read) -> bool:
    return read.count <= read.size


def none_follow(read: Read) -> bool:
    return False


def echoed_sizes(reads: Sequence[Read]) -> Sequence[Read]:
    return reads


def as_new_is_newer(column: Column, horizon: float) -> float:
    return min(column.newest + 1, horizon)


def never_swapped(pages: Iterable[Sequence[int]]) -> bool:
    return False


def any_rows(upper: Sequence[int], lower: Sequence[int]) -> bool:
    return True


def whenever(segments: Sequence[Segment], closing: Read) -> Sequence[Segment]:
    return segments


def answered_first(first: Read, second: Read) -> bool:
    return first.answered < second.answered


def any_two(first: Read, second: Read) -> bool:
    return True


def any_page(order: Order, read: Read) -> bool:
    return True


def by_update_time(reads: Sequence[Read]) -> Steps[list[Order]]:
    yield
    return [Order(by_create=False, descending=True)]


def any_time(time: float, horizon: float) -> bool:
    return True


def with_any_time(reads: Iterable[Read], horizon: float) -> set[tuple[int, int]]:
    return {(row, time) for read in reads for row in read.ids for time in range(30)}


STORIES: dict[str, tuple[Callable[[], Tape], float, str, object]] = {
    "lateness": (stamp_in_the_past, 1, "in_seconds", no_lateness),
    "lateness in whole seconds": (stamp_in_the_past, 0.5, "in_seconds", floor),
    "P's oldest is older than the horizon": (stamp_in_the_past, 1, "update_horizon", no_horizon),
    "and not as new as the horizon": (stamp_in_the_past, 1, "update_horizon", at_the_horizon),
    "the horizon comes from reads before": (
        stamp_in_the_past_then_new_row,
        1,
        "horizons_in_steps",
        of_any_read,
    ),
    "a full page is not the last": (full_page_at_the_end, 0, "is_short", full_is_short),
    "Q's first is newer, not as new": (one_second, 0, "entry_of", as_new_is_newer),
    "or shares rows, not only one": (one_shared_row, 0, "SHARED", 1),
    "where enough rows kept their order": (order_by_chance, 0, "AGREEING", 0),
    "with none between": (shared_rows_apart, 0, "is_continued", any_rows),
    "where none changed places": (swapped_once, 0, "are_swapped", never_swapped),
    "page 1 sent after the others": (page_1_read_first, 0, "usable", whenever),
    "reads that overlap have no order": (page_1_answered_last, 0, "is_before", answered_first),
    "from the newest end": (no_page_1, 0, "is_head", any_page),
    "to the oldest end": (no_last_page, 0, "is_tail", any_page),
    "every possible order": (sorted_by_create_time, 0, "orders_in_steps", by_update_time),
    "rows older than the horizon": (new_row_for_an_old_one, 0, "is_old", any_time),
    "or rows read before with that time": (row_left_and_returned, 0, "seen_young", with_any_time),
    "rows read after the last page": (row_gone_before_the_end, 0, "is_before", any_two),
}
"""For each clause: a story that loses a row, allowed_lateness, and the clause, broken."""


def replace_rule(monkeypatch: pytest.MonkeyPatch, function: str, broken: object) -> None:
    """Put *broken* in the place of *function* in every file that uses it."""
    owners = [
        owner
        for owner in (reads, segments, ties, descent, links, Order, counts, certificate)
        if hasattr(owner, function)
    ]
    assert owners
    for owner in owners:
        monkeypatch.setattr(owner, function, broken)


@pytest.mark.parametrize("clause", STORIES)
def test_each_broken_clause_gives_a_false_certificate(
    clause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, allowed_lateness, function, broken = STORIES[clause]
    tape = story()
    assert Y in tape.lost
    if function != "AGREEING":  # the lists are too short to show it
        monkeypatch.setattr(ties, "AGREEING", 0)
    assert not isinstance(certificate.decide(tape.reads, allowed_lateness), Complete)
    replace_rule(monkeypatch, function, broken)
    assert isinstance(certificate.decide(tape.reads, allowed_lateness), Complete)


@pytest.mark.parametrize(
    ("family", "function", "broken"),
    [
        ("a clamp that is not echoed", "more_follow", none_follow),
        ("a clamp that is not echoed", "with_true_sizes", echoed_sizes),
        ("shared rows", "usable", whenever),
        ("shared rows, late rows", "update_horizon", no_horizon),
    ],
)
def test_the_search_finds_a_broken_clause(
    family: str, function: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_ties(FAMILIES[family].server, monkeypatch)
    replace_rule(monkeypatch, function, broken)
    assert FAMILIES[family].search(first_only=True).false


def main(writes: int, trials: int) -> None:
    """Report the families with *writes* more writes each, and *trials* other random crawls."""
    for name, family in FAMILIES.items():
        with pytest.MonkeyPatch.context() as patch:
            trust_ties(family.server, patch)
            findings = replace(family, writes=family.writes + writes).search()
        found = f"{findings.states} states, {dict(findings.complete)}"
        sys.stdout.write(f"{name}: {found}, {len(findings.false)} false {findings.false[:1]}\n")
        sys.stdout.flush()
    complete, false = judge(range(TRIALS, TRIALS + trials))
    sys.stdout.write(f"{trials} random crawls, {dict(complete)}, false {false}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
