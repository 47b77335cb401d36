"""A list in memory that answers page requests as the API does, and crawls driven over it.

The list changes only where a test says so. No network, no clock, no tasks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, TypeAlias

from msgspec import structs

from dp_async import CrawlOptions, Watermark
from dp_async._models import Page
from dp_async._page.reader import Rows, row_time
from dp_async._plan.changes import Changes
from dp_async._plan.evidence import Evidence
from dp_async._plan.page_ref import PageRef
from dp_async._plan.stage import Stage, each
from dp_async._plan.walk import PageResult, Walk
from dp_async._proof.decision import Complete, Decision
from dp_async._proof.reads import Read

Row: TypeAlias = tuple[int, int]
"""Id and update time."""

Serve: TypeAlias = Callable[[PageRef], Rows[int]]

SCOPE = "0123456789abcdef01234567"


def rows(number: int, *, first: int = 100_000, apart: int = 10) -> list[Row]:
    """*number* rows, newest first, *apart* seconds apart; ids ascend from 1."""
    return [(place + 1, first - apart * place) for place in range(number)]


def rows_at(*times: int) -> list[Row]:
    """Rows with these update times; ids ascend from 1."""
    return [(place + 1, time) for place, time in enumerate(times)]


def page(shown: Sequence[Row], num: int, size: int, total: int, *, timed: bool = True) -> Rows[int]:
    """An answer: *shown* as page *num*. The items are the ids."""
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


def no_change(served: List, answers: int) -> None:
    """The list stays as it is."""


class List:
    """A list that answers; *before* is called with the number of answers so far, and may write.

    *largest* is its largest page; *total* what it claims to hold, if that is not true; *changes*
    are made to the numbers of every answer.
    """

    def __init__(
        self,
        content: Iterable[Row],
        *,
        largest: int = 10_000,
        total: int | None = None,
        timed: bool = True,
        before: Callable[[List, int], object] = no_change,
        **changes: Any,
    ) -> None:
        self.rows = list(content)
        self.largest = largest
        self.total = total
        self.timed = timed
        self.before = before
        self.changes = changes
        self.answers = 0

    def __call__(self, ref: PageRef) -> Rows[int]:
        self.before(self, self.answers)
        self.answers += 1
        size = min(ref.size, self.largest)
        total = len(self.rows) if self.total is None else self.total
        shown = self.rows[(ref.num - 1) * size : ref.num * size]
        answer = page(shown, ref.num, size, total, timed=self.timed)
        return structs.replace(answer, page=structs.replace(answer.page, **self.changes))

    def begin(self, before: Callable[[List, int], object] = no_change) -> None:
        """Count answers from 0 again, with another *before*."""
        self.answers, self.before = 0, before

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
        """The rows from *start* up to *end* are deleted; one row by default."""
        del self.rows[start : start + 1 if end is None else end]


def inserting(number: int, *answers: int) -> Callable[[List, int], None]:
    """Inserts *number* rows at the head before each answer whose number is one of *answers*."""

    def insert(served: List, answer: int) -> None:
        if answer in answers:
            served.insert(number)

    return insert


def touching(place: int, *answers: int) -> Callable[[List, int], None]:
    """Updates the row at *place* before each answer whose number is one of *answers*."""

    def touch(served: List, answer: int) -> None:
        if answer in answers:
            served.touch(place)

    return touch


def options(size: int = 5, **changes: Any) -> CrawlOptions:
    return CrawlOptions(page_size=size, **changes)


# With a walk


class Crawl:
    """One walk from its first request to its end, one page at a time."""

    def __init__(self, walk: Walk[int], served: Serve, now: float = inf) -> None:
        self.walk = walk
        self.refs: list[PageRef] = []
        self.results: list[PageResult[int]] = []
        while (ref := walk.plan()) is not None:
            assert len(self.refs) < 5000
            self.refs.append(ref)
            self.results.append(answer(walk, ref, served(ref), now))
            walk.delivered(self.results[-1], len(self.results[-1].fresh))
        rest = walk.remaining()
        if rest is not None:
            self.results.append(rest)
            walk.delivered(rest, len(rest.fresh))

    @property
    def items(self) -> list[int]:
        return [number for result in self.results for number in result.fresh]

    @property
    def decision(self) -> Decision | None:
        return self.walk.evidence.decision

    @property
    def rule(self) -> str | None:
        return self.decision.rule if isinstance(self.decision, Complete) else None

    @property
    def mark(self) -> Watermark:
        """The watermark at the end of the crawl."""
        mark = self.walk.watermark(SCOPE)
        assert mark is not None
        return mark


def answer(
    walk: Walk[int], ref: PageRef | None, rows: Rows[int], now: float = inf
) -> PageResult[int]:
    """What *walk* makes of *rows* as the answer to *ref*; *now* is counted as their times are."""
    assert ref is not None
    sent = walk.tick()
    return walk.learn(ref, sent, walk.tick(), rows, None, now - row_time(0))


def crawl(served: Serve, size: int = 5, **changes: Any) -> Crawl:
    """A crawl of the whole list."""
    return Crawl(Walk(options(size, **changes)), served)


def since(mark: Watermark, served: Serve, size: int = 5, **changes: Any) -> Crawl:
    """A crawl of what is new since *mark*."""
    return Crawl(Walk(options(size, **changes), after=mark), served)


def marked(served: Serve) -> Watermark:
    """The watermark of everything that *served* shows."""
    return since(Watermark.start(SCOPE), served).mark


# Without a walk


def evidence_of(size: int = 5, after: Watermark | None = None, **changes: Any) -> Evidence:
    """The evidence of a crawl that has no answer yet."""
    chosen = options(size, **changes)
    return Evidence(chosen, Changes(after, chosen.allowed_lateness))


PLAIN = each(())
"""A stage about which nothing is special."""


def take(evidence: Evidence, ref: PageRef, rows: Rows[int], stage: Stage = PLAIN) -> Read:
    """Takes *rows* in as the answer to *ref*, as a walk does."""
    sent = 2 * len(evidence.reads)
    read = evidence.read(ref, sent, sent + 1, rows)
    _, _, repeated = evidence.seen.sift(rows)
    evidence.learn(ref, rows, read, repeated, stage)
    stage.learned(ref, read)
    return read


def drive(evidence: Evidence, stages: Iterable[Stage], served: Serve) -> list[PageRef]:
    """The pages that *stages* request, each of them answered at once."""
    refs: list[PageRef] = []
    for stage in stages:
        while (ref := stage.next()) is not None:
            assert len(refs) < 500
            refs.append(ref)
            take(evidence, ref, served(ref), stage)
    return refs
