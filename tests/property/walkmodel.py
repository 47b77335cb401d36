"""A crawl over a small list that changes while it is read: the real ``Walk``, a scripted server.

No network, no clock, no tasks. A case is a plain value: the list, the options of the crawl, and a
script of writes and answers. After the script nothing is written, and answers come in order.
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


class Event(NamedTuple):
    """What happens next. *which* counts modulo the requests or rows, *stamp* modulo the stamps."""

    kind: Kind
    which: int = 0
    stamp: int = 0


@dataclass(frozen=True)
class Case:
    """One crawl: a list on *server* that begins as *start*."""

    server: Server
    start: Moment
    options: CrawlOptions
    concurrency: int = 1
    eager: bool = True
    """Request up to *concurrency* pages at once, as if the consumer keeps up."""
    largest: int | None = None
    """The largest page of the server, which echoes it."""
    flaws: Mapping[int, Flaw] = field(default_factory=dict[int, Flaw])
    script: tuple[Event, ...] = ()
    calm_after: int | None = None
    """The pass after which nothing is written any more."""

    @property
    def size(self) -> int:
        """Rows a page."""
        sizes = (self.options.page_size, self.largest, self.options.limit or None)
        return min(size for size in sizes if size is not None)

    @property
    def pages(self) -> int:
        """Pages that the list fills at first."""
        return -(-len(self.start.rows) // self.size)


@dataclass
class Request:
    """A page under way. The server takes its rows and its total at different moments."""

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
    beyond_limit: bool = False
    """More pages were requested than a limit within the list can need."""
    error: PaginationError | None = None

    @property
    def rule(self) -> str | None:
        return self.decision.rule if isinstance(self.decision, Complete) else None

    @property
    def lost(self) -> frozenset[int]:
        """Rows that were in the list all the time and were not delivered."""
        return self.moment.stayed - set(self.delivered) - self.bad

    @property
    def repeated(self) -> list[int]:
        return [number for number, times in Counter(self.delivered).items() if times > 1]


class TooMany(AssertionError):
    """The walk does not end."""


def refs_at_most(case: Case) -> int:
    """More than a walk over an honest list may need: each write may cost some repairs."""
    writes = sum(event.kind in ("insert", "update", "drop", "enter") for event in case.script)
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
            for event in self.case.script:
                self._fill()
                if self.ended:
                    break
                self._do(event)
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
            outcome.beyond_limit |= len(outcome.delivered) + coming >= limit
        if len(outcome.refs) > refs_at_most(self.case):
            raise TooMany(f"{len(outcome.refs)} requests: {outcome.refs}")
        self.under_way.append(Request(ref, self.walk.tick()))
        return True

    @property
    def _unanswered(self) -> int:
        return sum(request.answered is None for request in self.under_way)

    @property
    def _is_enough(self) -> bool:
        limit = self.case.options.limit
        return limit is not None and len(self.outcome.delivered) >= limit

    def _do(self, event: Event) -> None:
        if event.kind == "plan":
            self._plan()
        elif event.kind == "go":
            if self.under_way:
                self._advance(event.which % len(self.under_way))
        elif event.kind == "fail":
            if self.under_way:  # the same page is requested once more
                failed = self.under_way.pop(event.which % len(self.under_way))
                self.under_way.append(Request(failed.ref, self.walk.tick()))
        else:
            self._write(event)

    def _write(self, event: Event) -> None:
        if self.case.calm_after is not None and self.walk.evidence.passes > self.case.calm_after:
            return
        moment, server = self.outcome.moment, self.case.server
        stamps = server.stamps(moment.newest)
        stamp = stamps[event.stamp % len(stamps)]
        touch = moment.writes + 1
        rows = moment.outside if event.kind == "enter" else moment.rows
        if event.kind == "insert":
            new = 1 + max((row.id for row in (*moment.rows, *moment.outside)), default=0)
            moment = moment.put(Row(new, stamp, stamp, touch))
        elif not rows:
            return
        else:
            row = sorted(rows)[event.which % len(rows)]
            if event.kind == "drop":
                moment = moment.drop(row)
            elif (
                event.kind == "update" or row.updated != stamp
            ):  # the count rule assumes a new time
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
            # A short page needs no second query for its total. A size that is cut without an echo
            # would be hidden by a total of another moment.
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
        else:  # perhaps much later: an answer waits until the consumer is ready for it
            del self.under_way[which]
            self._learn(request, request.answered, request.rows, request.total)

    def _size(self, ref: PageRef) -> int:
        return ref.size if self.case.largest is None else min(ref.size, self.case.largest)

    def _learn(self, request: Request, answered: int, shown: Shown, total: int) -> None:
        size, number = self._size(request.ref), request.ref.num - 1
        if not self.walk.evidence.passes:
            self.first_total = total
        rows = answer(shown, self.case.flaws, number, size, total)
        result = self.walk.learn(request.ref, request.sent, answered, rows)
        flaws = self.case.flaws
        self.outcome.bad |= {row.id for row in shown if flaws.get(row.id) == "unreadable"}
        self.outcome.delivered += result.fresh


def answer(
    shown: Shown, flaws: Mapping[int, Flaw], number: int, size: int, total: int
) -> Rows[int]:
    """A page as the reader returns it; the items are the ids."""
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
    """Plays the case from its first request to its end."""
    return Course(case).play()


# Drawing


def draw_case(chance: Random) -> Case:
    """A case with writes, drawn from about the same space as ``cases`` in ``test_walk``."""
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
    events = chance.choices(KINDS, weights, k=chance.choice((20, 60, 200, 600)))
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
        script=tuple(Event(kind, chance.randrange(64), chance.randrange(64)) for kind in events),
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
