"""A small list that changes while it is read, and every way to read it within bounds.

It knows which rows were there all the time, and judges the certificate by that. No network, no
clock; randomness is seeded.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, permutations, product
from random import Random
from typing import TYPE_CHECKING, Literal, NamedTuple

from dp_async._proof import certificate
from dp_async._proof.decision import Complete
from dp_async._proof.reads import Read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


class Row(NamedTuple):
    id: int
    updated: int
    created: int
    touch: int = 0
    """The number of the last write to it: the order within a second, which times do not show."""


Rows = tuple[Row, ...]


class Page(NamedTuple):
    number: int
    size: int

    @property
    def offset(self) -> int:
        return self.number * self.size


@dataclass(frozen=True)
class Server:
    """How the list is sorted and written."""

    allowed_lateness: int = 0
    """By how many seconds a write may be stamped before the newest time ever shown."""
    order: Literal["update", "create", "id"] = "update"
    descending: bool = True
    ties: Literal["id", "hidden", "random"] = "id"
    clamp: int | None = None
    """The largest number of rows on a page; the answer does not echo it."""
    ahead: int = 0
    """By how many seconds more than one a write may be stamped after the newest time ever shown."""

    def key(self, row: Row) -> tuple[int, int]:
        time = {"update": row.updated, "create": row.created, "id": 0}[self.order]
        tie = row.touch if self.ties == "hidden" and self.order == "update" else -row.id
        # ids ascend within a second either way up, as in the samples
        if self.descending:
            return -time, -tie
        return time, tie if self.ties == "hidden" else -tie

    def orders(self, rows: Iterable[Row]) -> Iterator[Rows]:
        """Every order in which the server may show *rows* now."""
        ordered = sorted(rows, key=self.key)
        if self.ties != "random":
            yield tuple(ordered)
            return
        seconds = [list(group) for _, group in groupby(ordered, key=lambda row: self.key(row)[0])]
        for parts in product(*(permutations(second) for second in seconds)):
            yield tuple(row for part in parts for row in part)

    def any_order(self, rows: Rows, chance: Random) -> Rows:
        if self.ties != "random":
            return tuple(sorted(rows, key=self.key))
        shuffled = chance.sample(rows, len(rows))
        return tuple(sorted(shuffled, key=lambda row: self.key(row)[0]))

    def stamps(self, newest: int) -> range:
        return range(newest - self.allowed_lateness, newest + 2 + self.ahead)

    def answer(self, rows: Rows, page: Page) -> Rows:
        size = page.size if self.clamp is None else min(page.size, self.clamp)
        return rows[page.number * size : page.number * size + size]


class Moment(NamedTuple):
    """The list between two events."""

    rows: Rows
    outside: Rows
    """Rows that left the list, or that a filter has kept out from the start."""
    newest: int
    """The newest update time ever shown."""
    writes: int
    stayed: frozenset[int]
    """Ids in the list from the start until now."""

    @classmethod
    def start(cls, rows: Rows, outside: Rows = ()) -> Moment:
        newest = max((row.updated for row in rows), default=0)
        return cls(rows, outside, newest, 0, frozenset(row.id for row in rows))

    def put(self, row: Row) -> Moment:
        """Insert a row, update it or let it enter."""
        others = tuple(other for other in self.rows if other.id != row.id)
        outside = tuple(other for other in self.outside if other.id != row.id)
        newest = max(self.newest, row.updated)
        return Moment((*others, row), outside, newest, self.writes + 1, self.stayed)

    def drop(self, row: Row) -> Moment:
        others = tuple(other for other in self.rows if other.id != row.id)
        outside = (*self.outside, row)
        return Moment(others, outside, self.newest, self.writes + 1, self.stayed - {row.id})

    def writes_next(self, server: Server) -> Iterator[Moment]:
        touch = self.writes + 1
        new = 1 + max((row.id for row in (*self.rows, *self.outside)), default=0)
        for row in self.rows:
            yield self.drop(row)
        for stamp in server.stamps(self.newest):
            yield self.put(Row(new, stamp, stamp, touch))
            for row in self.rows:
                yield self.put(row._replace(updated=stamp, touch=touch))
            for row in self.outside:
                if row.updated != stamp:  # assumption 5, of the count rule
                    yield self.put(row._replace(updated=stamp, touch=touch))


@lru_cache(maxsize=100_000)
def taken(tick: int, page: Page, rows: Rows, total: int) -> Read:
    """A read that nothing else overlaps in time."""
    return Read.of(
        sent=2 * tick,
        answered=2 * tick + 1,
        offset=page.offset,
        size=page.size,
        count=len(rows),
        total=total,
        ids=[row.id for row in rows],
        updated=[row.updated for row in rows],
        created=[row.created for row in rows],
    )


Answer = tuple[Page, Rows, int]
"""A page, the rows in the server's answer, and its total."""


@dataclass
class Findings:
    """What a search saw: states judged, certificates by rule, and how the false ones came about."""

    states: int = 0
    complete: Counter[str] = field(default_factory=Counter[str])
    false: list[tuple[str, Moment, tuple[Answer, ...]]] = field(
        default_factory=list[tuple[str, Moment, tuple[Answer, ...]]]
    )


@dataclass
class Search:
    """Reads lists by plans, with up to *writes* writes at any place in between."""

    server: Server
    writes: int
    first_only: bool = False
    """Stop at the first false certificate."""
    findings: Findings = field(default_factory=Findings)
    next_pages: dict[tuple[Page, ...], list[Page]] = field(
        default_factory=dict[tuple[Page, ...], list[Page]]
    )
    judged: dict[tuple[int, ...], str | None] = field(
        default_factory=dict[tuple[int, ...], str | None]
    )
    names: dict[Answer, int] = field(default_factory=dict[Answer, int])
    answers: list[Answer] = field(default_factory=list[Answer])

    def run(self, start: Moment, plans: Iterable[tuple[Page, ...]]) -> None:
        """Read the list from *start* on by each of *plans*, and judge after each answer."""
        self.next_pages.clear()
        for plan in plans:
            for place, page in enumerate(plan):
                pages = self.next_pages.setdefault(plan[:place], [])
                if page not in pages:
                    pages.append(page)
        self.judged.clear()
        self._read(start, (), (), 0)

    def _read(
        self, moment: Moment, plan: tuple[Page, ...], seen: tuple[int, ...], written: int
    ) -> None:
        for rows in self.server.orders(moment.rows):
            for page in self.next_pages.get(plan, ()):
                answer = self._name((page, self.server.answer(rows, page), len(rows)))
                self._judge(moment, (*seen, answer))
                self._write(moment, (*plan, page), (*seen, answer), written)

    def _write(
        self, moment: Moment, plan: tuple[Page, ...], seen: tuple[int, ...], written: int
    ) -> None:
        if plan not in self.next_pages or (self.first_only and self.findings.false):
            return
        self._read(moment, plan, seen, written)
        if written < self.writes:
            for following in moment.writes_next(self.server):
                self._write(following, plan, seen, written + 1)

    def _name(self, answer: Answer) -> int:
        if answer not in self.names:
            self.names[answer] = len(self.answers)
            self.answers.append(answer)
        return self.names[answer]

    def _judge(self, moment: Moment, seen: tuple[int, ...]) -> None:
        self.findings.states += 1
        if seen not in self.judged:
            self.judged[seen] = self._rule(seen)
        rule = self.judged[seen]
        if rule is not None:
            self.findings.complete[rule] += 1
            answers = tuple(self.answers[name] for name in seen)
            if not moment.stayed <= {row.id for _, rows, _ in answers for row in rows}:
                self.findings.false.append((rule, moment, answers))

    def _rule(self, seen: tuple[int, ...]) -> str | None:
        reads = [taken(tick, *self.answers[name]) for tick, name in enumerate(seen)]
        decision = certificate.decide(reads, self.server.allowed_lateness)
        return decision.rule if isinstance(decision, Complete) else None


def pages(*number_and_size: tuple[int, int]) -> tuple[Page, ...]:
    return tuple(Page(number, size) for number, size in number_and_size)


def any_order(choice: Iterable[Page], reads: int) -> list[tuple[Page, ...]]:
    """Every sequence of *reads* pages."""
    return list(product(choice, repeat=reads))


def closed(choice: Iterable[Page], last: Page) -> list[tuple[Page, ...]]:
    """Every order of the pages, then *last*."""
    return [(*order, last) for order in permutations(choice)]


def starts(
    length: int, gaps: Iterable[int] = (0, 1), *, ids: Literal["up", "down", "any"] = "up"
) -> Iterator[Moment]:
    """Lists of *length* rows, each older than the one above by one of *gaps*."""
    names = tuple(range(1, length + 1))
    numberings = {"up": [names], "down": [names[::-1]], "any": list(permutations(names))}[ids]
    for distances in product(gaps, repeat=length - 1):
        times = [10 - sum(distances[:place]) for place in range(length)]
        for numbering in numberings:
            rows = (Row(i, t, t) for i, t in zip(numbering, times, strict=True))
            yield Moment.start(tuple(rows))


@dataclass(frozen=True)
class Trial:
    """One crawl drawn from *seed*: up to 8 rows, 12 writes, requests that overlap in time."""

    seed: int
    server: Server
    length: int
    moment: Moment
    """The list at the end."""
    reads: tuple[Read, ...]

    @property
    def lost(self) -> frozenset[int]:
        return self.moment.stayed.difference(*(read.ids for read in self.reads))


def draw_server(chance: Random) -> Server:
    order: Literal["update", "create", "id"] = chance.choice(
        ("update", "update", "update", "create", "id")
    )
    return Server(
        allowed_lateness=chance.choice((0, 0, 1, 2)),
        order=order,
        descending=chance.random() < 0.7,
        ties=chance.choice(("id", "hidden", "random")),
        clamp=chance.choice((None, None, None, None, 2)),
        ahead=chance.choice((0, 2, 5)),
    )


def draw_plan(chance: Random, length: int, *, descending: bool) -> list[Page]:
    """Pages as a crawl reads them: both ends, everything between, then the newest end again."""
    size = chance.choice((2, 3, 4))
    ends = [Page(0, size), Page(length // size, size)]
    between = [Page(number, size) for number in range(1, length // size)]
    sizes = (2, 3, 4, 5)
    for _ in range(chance.choice((0, 3, 6, 9))):
        bridge = chance.choice(sizes)
        between.append(Page(chance.randrange(length // bridge + 1), bridge))
    if chance.random() < 0.3:
        between += between[: chance.randrange(4)]
    chance.shuffle(between)
    if chance.random() < 0.3:
        between.sort(key=lambda page: -page.offset if descending else page.offset)
    if chance.random() < 0.2:
        chance.shuffle(ends)
    closing = [ends[0]] if descending or chance.random() < 0.5 else [ends[1]]
    return [*ends, *between, *closing, *chance.choice(((), (ends[0],)))]


def draw_trial(seed: int) -> Trial:
    chance = Random(seed)
    server = draw_server(chance)
    length = chance.randint(2, 8)
    times = sorted(chance.choices(range(chance.choice((2, 8, 20))), k=length), reverse=True)
    ids = list(range(1, length + 3))
    chance.shuffle(ids)
    rows = [Row(i, t, t - chance.choice((0, 0, 3)), -t) for i, t in zip(ids, times, strict=False)]
    bad = {row.id for row in rows if chance.random() < 0.02}
    outside = tuple(Row(i, -1, -1) for i in ids[length:])
    moment = Moment.start(tuple(rows), outside)
    moment = moment._replace(stayed=moment.stayed - bad)
    width = chance.choice((0, 0, 5, 30))
    pace = chance.choice((0.0, 0.1, 0.3, 0.8))
    taken_at = 0
    spans: list[tuple[int, int, Page, Rows, int]] = []
    for page in draw_plan(chance, length, descending=server.descending):
        taken_at += 10
        shown = server.any_order(moment.rows, chance)
        moment = maybe_write(chance, server, moment, pace)
        # a second query counts the total, later; but if a clamp is not echoed, at the same moment
        total = len(shown) if server.clamp else len(moment.rows)
        rows_shown = server.answer(shown, page)
        if rows_shown and page.offset + page.size > total and not server.clamp:
            total = page.offset + len(rows_shown)
        sent, answered = taken_at - chance.randint(0, width), taken_at + chance.randint(0, width)
        spans.append((sent, answered, page, rows_shown, total))
        moment = maybe_write(chance, server, moment, pace)
        moment = maybe_write(chance, server, moment, pace)
    return Trial(seed, server, length, moment, tuple(as_reads(spans, bad)))


def maybe_write(chance: Random, server: Server, moment: Moment, pace: float) -> Moment:
    if chance.random() < pace and moment.writes < 12:
        return chance.choice(list(moment.writes_next(server)))
    return moment


def as_reads(
    spans: Sequence[tuple[int, int, Page, Rows, int]], bad: Collection[int]
) -> Iterator[Read]:
    """Reads with ticks for times: no two events share a tick, and requests precede answers."""
    events = sorted(
        [(span[0], 0, place) for place, span in enumerate(spans)]
        + [(span[1], 1, place) for place, span in enumerate(spans)]
    )
    ticks = {(kind, place): tick for tick, (_, kind, place) in enumerate(events)}
    for place, (_, _, page, rows, total) in enumerate(spans):
        good = [row for row in rows if row.id not in bad]
        yield Read.of(
            sent=ticks[0, place],
            answered=ticks[1, place],
            offset=page.offset,
            size=page.size,
            count=len(rows),
            total=total,
            ids=array("q", (row.id for row in good)),
            updated=array("q", (row.updated for row in good)),
            created=array("q", (row.created for row in good)),
        )
