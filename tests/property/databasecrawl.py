"""Crawls of lists in a database, by the real ``Walk``, in virtual time: are certificates true?

No network and no tasks. ``python -m tests.property.databasecrawl FIRST LAST [BREACH ...]`` plays
the seeds from FIRST up to LAST and prints a table: with all assumptions kept, then with each of
them broken; half of these crawls are aimed, that is, writes fall on rows at the edges of pages.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import exp, inf, log
from random import Random
from statistics import mean, median
from typing import Literal, TypeAlias, get_args

from dp_async import CrawlOptions, PaginationError
from dp_async._models import Page
from dp_async._page.reader import Rows
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import Walk
from tests.property.database import HOUR, SECOND, Copy, Database, Row, Schema, Ties
from tests.property.databasewriter import Kind, Load, Writer, history

Breach: TypeAlias = Literal["kept", "late", "skewed", "replica", "5 s back", "hour back", "ties"]
"""Which assumption does not hold."""

BREACHES: tuple[Breach, ...] = get_args(Breach)
START = 1_790_000_000 * SECOND
WARM_UP = 20 * SECOND
CHINA = 8 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One crawl of a list of *rows* rows written at *past* a second before.

    *aims*: after how many answers of the database a write falls on the row below the page.
    """

    seed: int
    breach: Breach
    schema: Schema
    load: Load
    rows: int
    past: float
    options: CrawlOptions
    concurrency: int
    latency: float
    ordered: bool
    aims: frozenset[int] = frozenset()
    dated: bool = True


@dataclass(slots=True)
class Result:
    """What came of a case. *spans*: the list spans at least three times the lateness."""

    case: Case
    requests: int
    plain: int
    complete: bool
    false: bool
    twice: bool
    changed: bool
    spans: bool
    linkable: bool
    """A page of the largest size spans the lateness, and the time of two answers, at the pace of
    writes and imports."""
    error: str
    reason: str
    margin: float | None = None


@dataclass(slots=True)
class Sent:
    """A page under way."""

    ref: PageRef
    tick: int
    copy: Copy | None = None
    rows: list[Row] = field(default_factory=list[Row])
    total: int = 0
    answered: int | None = None
    date: int = 0


class Course:
    """A case being played."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chance = Random(f"{case.seed} {case.breach}")
        past = history(self.chance, case.schema, case.rows, case.past, START - WARM_UP)
        self.database = Database(case.schema, past)
        self.writer = Writer(self.database, case.load, self.chance, START - WARM_UP)
        self.walk: Walk[int] = Walk(case.options)
        self.events: list[tuple[int, int, str, Sent]] = []
        self.order = 0
        self.waiting: list[Sent] = []
        self.delivered: list[int] = []
        self.requests = self.taken = self.stages = 0
        self.opens = self.answered = START  # when a stage may begin, and when the last answer came
        self.now = START

    def play(self) -> Result:
        self.writer.until(START)
        self.database.mark()
        keys, schema = self.database.primary.rows.values(), self.case.schema
        times = [schema.shown(row.updated) for row in keys]
        spans = bool(times) and max(times) - min(times) >= 3 * self.case.options.allowed_lateness
        size = min(self.case.options.page_size, schema.largest)
        plain = max(1, -(-len(times) // size))
        writes, error = self.writer.writes, ""
        try:
            self._run()
        except PaginationError as caught:
            error = str(caught)
        decision = self.walk.evidence.decision
        complete = not error and self.walk.progress.finished and self.walk.evidence.complete
        counts = Counter(self.delivered)
        imported, seconds = self.case.load.imports
        pace = self.case.load.pace + imported / seconds
        return Result(
            case=self.case,
            requests=self.requests,
            plain=plain,
            complete=complete,
            false=complete and not self.database.stayed <= counts.keys(),
            twice=any(times > 1 for times in counts.values()),
            changed=self.writer.writes > writes,
            spans=spans,
            linkable=pace * (self.case.options.allowed_lateness + 1.5) <= schema.largest,
            error=error,
            reason=decision.reason if decision else "",
            margin=getattr(decision, "margin", None),
        )

    def _run(self) -> None:
        while True:
            self._fill()
            if not self.events:
                assert self.walk.over
                return
            self.now, _, kind, sent = heappop(self.events)
            self.writer.until(self.now)
            if kind == "rows":
                self._take(sent)
            elif kind == "count":
                sent.copy = sent.copy or self.database.next_copy()
                sent.total = len(sent.copy.keys)
            else:
                self._answer(sent)

    def _fill(self) -> None:
        window = 3 * self.case.concurrency
        while sum(one.answered is None for one in self.waiting) < self.case.concurrency:
            if len(self.waiting) >= window:
                return
            ref = self.walk.plan()
            if ref is None:
                return
            self.requests += 1
            if self.walk.stages > self.stages:
                self.stages = self.walk.stages
                self.opens = self.answered + round(self.case.options.replica_lag * SECOND)
            sent = Sent(ref, self.walk.sent())
            self.waiting.append(sent)
            latency = self.case.latency * exp(self.chance.gauss(0, 0.5))
            now = self.now if self.stages == 1 else max(self.now, self.opens)
            taken = now + round(latency * self.chance.uniform(0.3, 0.8))
            counted = taken + round(self.case.schema.counts * self.chance.random())
            self._at(max(taken, self.now), "rows", sent)
            self._at(max(counted, self.now), "count", sent)
            self._at(max(taken, counted, self.now) + round(0.2 * latency), "answer", sent)

    def _at(self, time: int, kind: str, sent: Sent) -> None:
        self.order += 1
        heappush(self.events, (time, self.order, kind, sent))

    def _size(self, ref: PageRef) -> int:
        return min(ref.size, self.case.schema.largest)

    def _take(self, sent: Sent) -> None:
        sent.copy = sent.copy or self.database.next_copy()
        size = self._size(sent.ref)
        start = (sent.ref.num - 1) * size
        sent.rows = sent.copy.page(start, size, self.chance)
        self.taken += 1
        if self.taken in self.case.aims:
            self._aim(start + size if self.case.schema.descending else start - 1)

    def _aim(self, place: int) -> None:
        """Write to the row at *place*, the next one that is not read, and maybe hide that."""
        row = self.database.primary.at(place)
        if row is None:
            return
        by = 0.0
        if self.case.breach == "late":
            by = self.chance.uniform(*self.case.load.delay)
        elif self.case.breach == "skewed":
            by = -min(self.case.load.skews)
        self.writer.write(self.now, "update", row.id, by)
        other: Kind | None = self.chance.choice(("delete", "insert", None))
        if other is not None:
            self.writer.write(self.now, other)
        self.writer.until(self.now)

    def _answer(self, sent: Sent) -> None:
        sent.answered = self.walk.tick()
        self.answered = self.now
        since, back = self.case.load.set_back
        is_back = self.now >= since and back < 60  # local time that is set back leaves the Date
        sent.date = (self.now - (round(back * SECOND) if is_back else 0)) // SECOND
        if self.case.ordered:
            while self.waiting and self.waiting[0].answered is not None:
                self._learn(self.waiting.pop(0))
        else:
            self.waiting.remove(sent)
            self._learn(sent)

    def _learn(self, sent: Sent) -> None:
        assert sent.answered is not None
        schema, shown = self.case.schema, sent.rows
        size, number = self._size(sent.ref), sent.ref.num - 1
        offset, echoed = number * size, size if schema.echoed else sent.ref.size
        total = sent.total
        if len(shown) < echoed and schema.echoed and (shown or not offset):
            total = offset + len(shown)  # a short page needs no second query
        pages = -(-total // echoed)
        ids = [row.id for row in shown]
        page = Page(
            content=ids,
            number=number,
            size=echoed,
            total_elements=total,
            total_pages=pages,
            number_of_elements=len(shown),
            first=number == 0,
            last=number + 1 >= pages,
            empty=not shown,
        )
        updated = array("q", (schema.shown(row.updated) for row in shown))
        created = array("q", (schema.shown(row.created) for row in shown))
        rows = Rows(page, len(shown), ids, array("q", ids), updated, created)
        date = sent.date - CHINA if self.case.dated else None
        now = inf if date is None else date
        result = self.walk.learn(sent.ref, sent.tick, sent.answered, rows, date, now)
        self.delivered += result.fresh


def play(case: Case) -> Result:
    return Course(case).play()


# Drawing


def between(chance: Random, low: float, high: float) -> float:
    """A number, as often in each part of a scale of powers."""
    return exp(chance.uniform(log(low), log(high)))


def draw(seed: int, breach: Breach = "kept", *, most: int = 20_000) -> Case:
    """A case drawn from *seed*, as servers are; every second one with a *breach* is aimed."""
    chance = Random(f"{breach} {seed}")
    rows = round(between(chance, 300, most))
    if chance.random() < 0.05:
        rows = chance.randint(0, 300)
    ties: Ties = chance.choice(("id up", "id up", "id down", "hidden", "hidden", "hidden", "any"))
    if breach == "ties":
        ties = chance.choice(("by page", "by page", "shuffled"))
    schema = Schema(
        ties=ties,
        descending=chance.random() < 0.75,
        by_create=chance.random() < 0.1 and breach in ("kept", "ties"),
        largest=chance.choice((50, 100, 200, 200)),
        echoed=chance.random() < 0.85,
        rounded=chance.random() < 0.25,
        counts=chance.choice((-1, 1, 1)) * chance.choice((1000, 5000, 20_000)),
        behind=1_500_000 if breach == "replica" else 0,
    )
    pace = 0.0 if chance.random() < 0.2 and breach == "kept" else between(chance, 0.1, 60)
    latency = between(chance, 0.03, 0.3) * SECOND
    concurrency = chance.choice((1, 2, 4, 8, 16))
    page_size = chance.choice((20, 50, 100, 100, 200))
    size = min(page_size, schema.largest)
    seconds = (rows / size + 6) * latency / concurrency / SECOND
    options = CrawlOptions(page_size=page_size)
    case = Case(
        seed=seed,
        breach=breach,
        schema=schema,
        load=draw_load(chance, breach, pace, seconds, aimed=bool(seed % 2)),
        rows=rows,
        past=max(between(chance, 0.001, 20), pace / 2 if chance.random() < 0.5 else 0),
        options=options,
        concurrency=concurrency,
        latency=latency,
        ordered=chance.random() < 0.7,
    )
    if breach == "kept" or not seed % 2:
        return case
    takes = 4 + rows // size
    aims = {chance.randint(1, takes) for _ in range(chance.randint(1, 4))}
    if chance.random() < 0.3:
        aims.add(takes)
    pace = 0.0 if chance.random() < 0.3 else pace
    return replace(case, aims=frozenset(aims), load=replace(case.load, pace=pace))


def draw_load(chance: Random, breach: Breach, pace: float, seconds: float, *, aimed: bool) -> Load:
    kinds: tuple[tuple[Kind, float], ...] = chance.choice(
        (
            (("insert", 1.0),),
            (("insert", 1.0), ("update", 1.0), ("delete", 1.0)),
            (("insert", 0.1), ("update", 1.0)),
            (("insert", 0.2), ("update", 1.0), ("delete", 0.3)),
            (("insert", 0.3), ("update", 1.0), ("leave", 1.0), ("enter", 1.0)),
        )
    )
    load = Load(
        pace=pace,
        kinds=kinds,
        skews=chance.choice(((0.0,), (0.0,), (-0.3, 0.3), (0.0, 0.4))),
        imports=(chance.choice((50, 200, 500)), between(chance, 2, 60))
        if pace and chance.random() < 0.15
        else (0, inf),
    )
    if breach == "late":
        return replace(load, delayed=0.0 if aimed else 0.05)
    if breach == "skewed":
        behind = chance.uniform(2.5, 5)
        return replace(load, skews=(0.0, -behind), lateness=behind + 0.5)
    if breach in ("5 s back", "hour back"):
        since = START + round(chance.uniform(-10, seconds) * SECOND)
        return replace(load, set_back=(since, 5.0 if breach == "5 s back" else HOUR / SECOND))
    return load


# Reports


def table(results: Iterable[Result]) -> str:
    """One line for each breach: how many crawls, certified, false, twice, and their requests."""
    lines: list[str] = []
    found = list(results)
    for breach in BREACHES:
        some = [one for one in found if one.case.breach == breach]
        if some:
            lines.append(f"{breach:10} {line(some)}")
        if breach != "kept":
            for aimed in (False, True):
                part = [one for one in some if bool(one.case.aims) is aimed]
                if part:
                    lines.append(f"  {'aimed' if aimed else 'free':8} {line(part)}")
            continue
        groups = {
            "spans": [one for one in some if one.spans],
            "linkable": [one for one in some if one.spans and one.linkable],
            "descending": [one for one in some if one.spans and one.case.schema.descending],
            "ascending": [one for one in some if one.spans and not one.case.schema.descending],
            "at rest": [one for one in some if not one.changed],
        }
        lines += [f"  {name:10} {line(part)}" for name, part in groups.items() if part]
    return "\n".join(lines)


def line(results: list[Result]) -> str:
    costs = [one.requests / one.plain for one in results]
    certified = sum(one.complete for one in results) / len(results)
    return (
        f"{len(results):5} crawls, certified {certified:6.1%}, "
        f"false {sum(one.false for one in results)}, twice {sum(one.twice for one in results)}, "
        f"errors {sum(bool(one.error) for one in results)}, "
        f"requests mean {mean(costs):.2f} median {median(costs):.2f} "
        f"of all {sum(one.requests for one in results) / sum(one.plain for one in results):.2f}"
    )


def one(item: tuple[int, Breach]) -> Result:
    try:
        return play(draw(*item))
    except Exception as error:
        error.add_note(f"seed {item}")
        raise


def main(first: int, last: int, *breaches: Breach) -> None:
    items = [(seed, breach) for breach in breaches or BREACHES for seed in range(first, last)]
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(one, items, chunksize=8))
    sys.stdout.write(table(results) + "\n")
    false = [(one.case.breach, one.case.seed) for one in results if one.false]
    sys.stdout.write(f"false: {false[:40]}\n")
    why = Counter(
        (one.reason if not one.error else one.error)[:110]
        for one in results
        if not one.complete and one.case.breach == "kept"
    )
    for reason, times in why.most_common(12):
        sys.stdout.write(f"{times:5} {reason}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])  # type: ignore[arg-type]  # names of BREACHES
