"""A whole crawl over a small list that changes while it is read: the real ``Walk``, a drawn course.

No network, no clock, no tasks. A case is a plain value: the list, how it is asked, and a script of
what happens when. After the script nothing is written any more and answers come in turn.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from dp_async import CrawlOptions, PaginationError
from dp_async._models import Page
from dp_async._page.reader import Rows
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import Walk
from dp_async._proof.decision import Complete, Decision
from tests.property.listmodel import Moment, Row, Server
from tests.property.listmodel import Page as Place
from tests.property.listmodel import Rows as Shown

Kind: TypeAlias = Literal["go", "plan", "fail", "insert", "update", "drop", "enter"]
Flaw: TypeAlias = Literal["nameless", "unreadable", "timeless"]

KINDS: tuple[Kind, ...] = ("go", "plan", "fail", "insert", "update", "drop", "enter")
FLAWS: tuple[Flaw, ...] = ("nameless", "unreadable", "timeless")


class Deed(NamedTuple):
    """What happens next; *which* request or row, and *stamp* of a write, count modulo what is."""

    kind: Kind
    which: int = 0
    stamp: int = 0


@dataclass(frozen=True)
class Case:
    """One crawl: a list on *server*, from *start* on."""

    server: Server
    start: Moment
    options: CrawlOptions
    concurrency: int = 1
    eager: bool = True
    """Ask for more as soon as there is room, as a crawl whose consumer keeps up."""
    largest: int | None = None
    """Rows a page holds at most, echoed."""
    flaws: Mapping[int, Flaw] = field(default_factory=dict[int, Flaw])
    script: tuple[Deed, ...] = ()
    calm_after: int | None = None
    """The pass after which nothing is written any more."""

    @property
    def size(self) -> int:
        """The size of its pages."""
        sizes = (self.options.page_size, self.largest, self.options.limit or None)
        return min(size for size in sizes if size is not None)

    @property
    def pages(self) -> int:
        """Pages that the list fills before anything happens."""
        return -(-len(self.start.rows) // self.size)


@dataclass
class Request:
    """An ask under way: the rows and the total are taken at moments of their own."""

    ref: PageRef
    sent: int
    rows: Shown | None = None
    total: int | None = None
    answered: int | None = None


@dataclass
class Outcome:
    """What came of a case."""

    moment: Moment
    refs: list[PageRef] = field(default_factory=list[PageRef])
    delivered: list[int] = field(default_factory=list[int])
    bad: set[int] = field(default_factory=set[int])
    decision: Decision | None = None
    passes: int = 0
    wanted_too_much: bool = False
    """More was asked than a limit within the list can need."""
    error: PaginationError | None = None

    @property
    def rule(self) -> str | None:
        return self.decision.rule if isinstance(self.decision, Complete) else None

    @property
    def lost(self) -> frozenset[int]:
        """Rows that were there all the time and did not come."""
        return self.moment.stayed - set(self.delivered) - self.bad

    @property
    def repeated(self) -> list[int]:
        return [number for number, times in Counter(self.delivered).items() if times > 1]


class TooMany(AssertionError):
    """The walk does not end."""


def refs_at_most(case: Case) -> int:
    """No walk over an honest list may need more: each write may cost some mending."""
    writes = sum(deed.kind in ("insert", "update", "drop", "enter") for deed in case.script)
    return 60 + 6 * case.options.max_passes * (case.pages + writes + 4)


class Course:
    """A case being played."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.walk: Walk[int] = Walk(case.options)
        self.chance = Random(0)
        self.under_way: list[Request] = []
        self.outcome = Outcome(case.start)
        self.first_total = 0
        self.ended = False

    def play(self) -> Outcome:
        outcome = self.outcome
        try:
            for deed in self.case.script:
                self._fill()
                if self.ended:
                    break
                self._do(deed)
            while not self.ended:
                self._fill()
                if self.under_way:
                    self._advance(0)
        except PaginationError as error:
            outcome.error = error
        outcome.decision = self.walk.evidence.decision
        outcome.passes = self.walk.evidence.passes
        return outcome

    def _fill(self) -> None:
        while self.case.eager and self._unanswered < self.case.concurrency:
            if not self._plan():
                return
        if not self.under_way:
            self._plan()

    def _plan(self) -> bool:
        if self._unanswered >= self.case.concurrency or self._is_enough:
            self.ended = self.ended or (self._is_enough and not self.under_way)
            return False
        coming = sum(request.ref.size for request in self.under_way)
        ref = self.walk.plan()
        if ref is None:
            self.ended = not self.under_way
            return False
        outcome, limit = self.outcome, self.case.options.limit
        outcome.refs.append(ref)
        if limit is not None and limit <= self.first_total and self.walk.evidence.passes == 1:
            outcome.wanted_too_much |= len(outcome.delivered) + coming >= limit
        if len(outcome.refs) > refs_at_most(self.case):
            raise TooMany(f"{len(outcome.refs)} asks: {outcome.refs}")
        self.under_way.append(Request(ref, self.walk.tick()))
        return True

    @property
    def _unanswered(self) -> int:
        return sum(request.answered is None for request in self.under_way)

    @property
    def _is_enough(self) -> bool:
        limit = self.case.options.limit
        return limit is not None and len(self.outcome.delivered) >= limit

    def _do(self, deed: Deed) -> None:
        if deed.kind == "plan":
            self._plan()
        elif deed.kind == "go":
            if self.under_way:
                self._advance(deed.which % len(self.under_way))
        elif deed.kind == "fail":
            if self.under_way:  # the same page is asked for once more
                failed = self.under_way.pop(deed.which % len(self.under_way))
                self.under_way.append(Request(failed.ref, self.walk.tick()))
        else:
            self._write(deed)

    def _write(self, deed: Deed) -> None:
        if self.case.calm_after is not None and self.walk.evidence.passes > self.case.calm_after:
            return
        moment, server = self.outcome.moment, self.case.server
        stamps = server.stamps(moment.newest)
        stamp = stamps[deed.stamp % len(stamps)]
        touch = moment.writes + 1
        rows = moment.outside if deed.kind == "enter" else moment.rows
        if deed.kind == "insert":
            new = 1 + max((row.id for row in (*moment.rows, *moment.outside)), default=0)
            moment = moment.put(Row(new, stamp, stamp, touch))
        elif not rows:
            return
        else:
            row = sorted(rows)[deed.which % len(rows)]
            if deed.kind == "drop":
                moment = moment.drop(row)
            elif deed.kind == "update" or row.updated != stamp:  # the count rule's assumption
                moment = moment.put(row._replace(updated=stamp, touch=touch))
            else:
                return
        self.outcome.moment = moment

    def _advance(self, which: int) -> None:
        request, case = self.under_way[which], self.case
        place = Place(request.ref.num - 1, self._size(request.ref))
        if request.rows is None:
            shown = case.server.any_order(self.outcome.moment.rows, self.chance)
            request.rows = case.server.answer(shown, place)
            # A page that ends before its end needs no second query; where a size is cut without
            # echo, a total of another moment would hide that.
            if len(request.rows) < place.size and (request.rows or not place.offset):
                request.total = place.offset + len(request.rows)
            if case.server.clamp is not None:
                request.total = len(shown)
        elif request.total is None:
            request.total = len(self.outcome.moment.rows)
            if request.rows and place.offset + place.size > request.total:
                request.total = place.offset + len(request.rows)
        elif request.answered is None:
            request.answered = self.walk.tick()
        else:  # perhaps much later: an answer may wait until the consumer comes for it
            del self.under_way[which]
            self._learn(request, request.answered, request.rows, request.total)

    def _size(self, ref: PageRef) -> int:
        return ref.size if self.case.largest is None else min(ref.size, self.case.largest)

    def _learn(self, request: Request, answered: int, shown: Shown, total: int) -> None:
        size, number = self._size(request.ref), request.ref.num - 1
        if not self.walk.evidence.passes:
            self.first_total = total
        rows = answer(shown, self.case.flaws, number, size, total)
        step = self.walk.learn(request.ref, request.sent, answered, rows)
        flaws = self.case.flaws
        self.outcome.bad |= {row.id for row in shown if flaws.get(row.id) == "unreadable"}
        self.outcome.delivered += step.fresh


def answer(
    shown: Shown, flaws: Mapping[int, Flaw], number: int, size: int, total: int
) -> Rows[int]:
    """A page as the reader makes it of what was sent; the items are the ids."""
    content = [row.id for row in shown if flaws.get(row.id) not in ("nameless", "unreadable")]
    keyed = [row for row in shown if flaws.get(row.id) not in ("nameless", "timeless")]
    pages = -(-total // size)
    page = Page(
        content=content,
        number=number,
        size=size,
        total_elements=total,
        total_pages=pages,
        number_of_elements=len(shown),
        first=number == 0,
        last=number + 1 >= pages,
        empty=not shown,
    )
    return Rows(
        page,
        len(shown),
        content,
        array("q", (row.id for row in keyed)),
        array("q", (row.updated for row in keyed)),
        array("q", (row.created for row in keyed)),
    )


def play(case: Case) -> Outcome:
    """The case from its first ask to its end."""
    return Course(case).play()


# Drawing


def draw_case(chance: Random) -> Case:
    """A case with writes, over much the same ground as the strategy in ``test_walk``."""
    order: Literal["update", "create", "id"] = chance.choice(
        ("update", "update", "update", "create", "id")
    )
    server = Server(
        allowed_lateness=chance.choice((0, 0, 1, 2)),
        order=order,
        descending=chance.random() < 0.75,
        ties=chance.choice(("id", "id", "hidden", "random")),
        clamp=chance.choice((*[None] * 15, 2)),
        ahead=chance.choice((0, 0, 2, 5, 400)),
    )
    length = chance.randint(0, 40)
    start = draw_start(chance, length)
    size = chance.randint(2, 6)
    flawed = chance.random() < 0.1
    options = CrawlOptions(
        page_size=size,
        allowed_lateness=server.allowed_lateness,
        max_passes=chance.choice((1, 2, 3, 3)),
        overlap=chance.choice(("auto", "auto", "auto", 0, 1, size // 2)),
        limit=chance.randint(1, 45) if chance.random() < 0.1 else None,
    )
    paces = chance.choice(((0, 0, 0), (1, 0, 0), (1, 1, 1), (3, 3, 3), (0, 2, 1), (8, 8, 8)))
    weights = (30, chance.choice((0, 10)), chance.choice((0, 1)), *paces, chance.choice((0, 1)))
    deeds = chance.choices(KINDS, weights, k=chance.choice((20, 60, 200, 600)))
    return Case(
        server=server,
        start=start,
        options=options,
        concurrency=chance.choice((1, 1, 2, 3, 5, 10)),
        eager=chance.random() < 0.7,
        largest=chance.choice((None, None, None, size, 2 * size, max(1, size - 2))),
        flaws={row.id: chance.choice(FLAWS) for row in start.rows if chance.random() < 0.05}
        if flawed
        else {},
        script=tuple(Deed(kind, chance.randrange(64), chance.randrange(64)) for kind in deeds),
    )


def draw_start(chance: Random, length: int) -> Moment:
    span = chance.choice((1, 4, 20, 200, 1000))
    times = sorted(chance.choices(range(span), k=length), reverse=True)
    ids = list(range(1, length + 4))
    if chance.random() < 0.5:
        chance.shuffle(ids)
    gap = chance.choice((0, 0, 3))
    rows = tuple(
        Row(number, time, time - chance.choice((0, gap)), -time)
        for number, time in zip(ids, times, strict=False)
    )
    return Moment.start(rows, tuple(Row(number, -1, -1) for number in ids[length:]))
