"""Which pages to ask for, in what order, until the list is proven read: a crawl without its I/O.

``plan`` names the next page, ``learn`` takes an answer in; the order of both is the caller's. No
I/O, no clock, no tasks. What counts as proven is the certificate's to say, not decided here.

A quiet list costs its pages and one more: page 1, the last page, all between, page 1 again. From
the moment the list is seen to move, pages overlap, and those read before are held together by pages
across their seams. What still does not hold together at the end is mended in rounds.

After a watermark only the newest end is read, down to a page that goes on below it: pages overlap
from the start, as it is the end that moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Generic, TypeAlias, TypeVar

from .._errors import PaginationError
from .._page.reader import Rows
from .._proof.certificate import Complete, Decision, Gap, Missing, Read, covers, decide, is_last
from .._settings import CrawlOptions
from .changes import Changes
from .checkpoint import Checkpoint
from .page_ref import PageRef, around, following, pages
from .watermark import Known, Watermark

T = TypeVar("T")

Stage: TypeAlias = Callable[[], "PageRef | None"]

LEAST_OVERLAP = 4
ENDS = 3  # pages tried for the end of the list, before the rest is read
STEPS = 6  # of bridges, in one round of mending
DESCENT = 8  # pages below the newest end, in one step
HOLLOW = 40  # empty pages whose own total says that they hold rows, before that is an error
RECENT = 40  # reads in which the place of a row is looked up
CLOSINGS = 16  # reads of the newest end, in one round of mending
GLANCE = 20  # rows looked at first, where only what is new is wanted, besides those known
WIDER = 4  # the newest end is read with pages up to so many times the size, if the server lets us
WIDEST = 16  # the same, where only the newest end is wanted


@dataclass(slots=True)
class PageResult(Generic[T]):
    """What an answer brought: the items not seen before; *deferred* until the pages before are out.

    *keys* are what a watermark knows these items by, where only what is new is wanted.
    """

    rows: Rows[T]
    fresh: list[T]
    keys: Sequence[Known]
    repeated: int
    ref: PageRef
    deferred: bool
    after_pass: bool


class Walk(Generic[T]):
    """One crawl of one list, as far as asking and knowing go.

    *total* is the last total seen, *drifted* whether it was seen to change, *passes* how often
    it was gone over, *decision* what the certificate last said.
    """

    def __init__(
        self,
        options: CrawlOptions,
        resume: Checkpoint | None = None,
        after: Watermark | None = None,
    ) -> None:
        limit = options.limit
        self.changes = Changes(after, options.allowed_lateness)
        self.size = options.page_size
        if limit is not None and self.changes.floor is None:
            self.size = min(self.size, max(limit, 1))
        self.total: int = 0
        self.first_total = 0  # as the crawl began
        self._moving = False  # seen to change in this pass or round, or in the one before
        self._stirred = False  # something new came in it
        self.drifted = False
        self.passes = 0
        self.unique = 0
        self.decision: Decision | None = None
        self._options = options
        self._limit = limit
        self.finished = False  # with a verdict
        self.over = False  # nothing more to ask for
        self.started_over = False
        self.resumed = False
        self.wants_created = True
        self.skipped = 0  # pages that an earlier crawl has delivered
        self._resume = resume
        self._ticks = count()
        self._reads: list[Read] = []
        self._all_keyed = True  # every row read had an id and a time
        self._seen: set[int] = set()
        self._same: dict[tuple[int, int, int], int] = {}  # the first page that had these rows
        self._again: dict[tuple[int, int, int], set[int]] = {}  # all of them, if there were more
        self._asked = 0
        self._under_way = 0
        self._hollow = 0
        self._stages = self._run()
        self._stage: Stage = _nothing
        self._holding = False
        self._late = False
        self._most = 0  # rows the list is known to have had
        self._until = inf  # where the last page starts, if it was read
        self._floor = inf  # where the first page was short that was asked for after it
        self._edge = 0  # rows covered so far, from page 1 on
        self._overlapping = False
        self._links: list[PageRef] = []  # the overlapping pages, in order
        self._places: dict[PageRef, int] = {}
        self._linked: dict[PageRef, Read] = {}
        self._repairs: list[PageRef] = []
        self._aside: set[PageRef] = (
            set()
        )  # what these bring is out of order, and held until the end
        self._repaired: set[int] = set()  # places of links whose seam was read once more
        self._slip = 0.0  # rows by which neighbours shift against each other, as a moving mean
        self._wide = 0  # the largest page the server gives, as far as it was asked
        self._widest = False  # it was asked for a larger one
        self._since = 0  # when this round began
        self._went_down = False
        self._missed: dict[tuple[int, int], int] = {}

    # What the caller drives

    def plan(self) -> PageRef | None:
        """The next page to ask for; None for nothing now, perhaps after the next answer."""
        while True:
            ref = self._stage()
            if ref is not None:
                self._under_way += 1
                self._asked += 1
                return ref
            if self._under_way:
                return None
            stage = next(self._stages, None)
            if stage is None:
                self.over = True
                return None
            self._stage = stage

    def tick(self) -> int:
        """The next moment of the walk's own clock: take one before asking, one when answered."""
        return next(self._ticks)

    def learn(self, ref: PageRef, sent: int, answered: int, rows: Rows[T]) -> PageResult[T]:
        """Take an answer in, in any order. Raises PaginationError if it contradicts the request."""
        page = rows.page
        self._guard(ref, rows)
        read = self._read(ref, sent, answered, rows) if self._options.verify else None
        self._under_way -= 1
        if read and (not read.by_update or read.by_update.newest >= self.changes.recent):
            self.changes.note(rows, self._seen)
        fresh, keys, repeated = self._sift(rows)
        if self.passes == 0:
            self.passes = 1
            self.first_total = page.total_elements
        elif page.total_elements != self.total or (repeated and self._is_plain):
            self._see_move()
        if not self._edge and ref.size == self.size:
            self.size = page.size or self.size
        self._stirred |= bool(fresh)
        self.total = page.total_elements
        reach = (page.number * (page.size or ref.size)) + rows.count
        full = rows.count >= ref.size and not page.last  # whatever the total says: not the end
        if rows.count < ref.size == self.size and not self._holding:
            self._floor = min(self._floor, ref.start)
        # Never less: a total that fell once would otherwise end the walk before its end.
        self._most = max(self._most, self.total, reach + full)
        if ref.num == 1 and ref.size > self.size:
            self._wide = page.size or ref.size
            self._widest |= self._wide < ref.size
        if read is not None:
            self._keep(ref, read, rows.count)
        held = self._holding or ref in self._aside
        return PageResult(rows, fresh, keys, repeated, ref, held, self._late)

    @property
    def _is_plain(self) -> bool:
        """Whether a repeated row says that the list moved: pages are read that share none."""
        return self.passes == 1 and not (self._overlapping or self._late)

    def _see_move(self) -> None:
        self.drifted = self._moving = self._stirred = True

    # Taking answers in

    def _sift(self, rows: Rows[T]) -> tuple[list[T], Sequence[Known], int]:
        """The items to hand out, what a watermark knows them by, and how many came before."""
        content, ids = rows.page.content, rows.ids
        if not self._options.verify:
            self.unique += len(content)
            return content, (), 0
        if self.changes.floor is not None:
            new, keys, repeated = self.changes.sift(rows, self._seen)
            self.unique += len(new)
            return new, keys, repeated
        seen, fresh = self._seen, content
        unseen = ids
        if not seen.isdisjoint(ids):
            unseen = [number for number in ids if number not in seen]
        known = len(seen)
        seen.update(unseen)
        if len(seen) < known + len(ids):  # some came before, or come twice on this page
            wanted, fresh = set(unseen), list[T]()
            for item, number in zip(content, ids, strict=True):
                if number in wanted:
                    wanted.remove(number)
                    fresh.append(item)
        self.unique += len(fresh)
        return fresh, (), len(content) - len(fresh)

    def _read(self, ref: PageRef, sent: int, answered: int, rows: Rows[T]) -> Read:
        page = rows.page
        size = page.size or ref.size
        read = Read.of(
            sent=sent,
            answered=answered,
            offset=page.number * size,
            size=size,
            count=rows.count,
            total=page.total_elements,
            ids=rows.keyed,
            updated=rows.updated,
            created=rows.created,
        )
        self.changes.check(read)
        return read

    def _keep(self, ref: PageRef, read: Read, rows: int) -> None:
        self._reads.append(read)
        self._all_keyed &= len(read.ids) == rows
        shown = read.by_create
        if shown and not (shown.falling or shown.rising):
            self.wants_created = False  # the list is not sorted by it: one page is enough to tell
        if ref in self._places:
            self._link(ref, read)

    def _guard(self, ref: PageRef, rows: Rows[T]) -> None:
        page = rows.page
        if page.number != ref.num - 1:
            raise PaginationError(
                f"page {ref.num} was asked for, and the server answered with page {page.page_num}"
            )
        if page.size != ref.size and page.size and (ref.num > 1 or page.size > ref.size):
            raise PaginationError(
                f"pages of {ref.size} rows were asked for, and page {ref.num} came with a size of "
                f"{page.size}: its place in the list is not known"
            )
        if rows.count > (page.size or ref.size):
            raise PaginationError(f"page {ref.num} came with more rows than were asked for")
        if len(rows.ids) > 2 and ref.size == self.size:
            # Under one total and in one pass: a list that moves on by whole pages is no error.
            key = (hash(tuple(rows.ids)), page.total_elements, self.passes)
            first = self._same.setdefault(key, ref.num)
            if first != ref.num:
                nums = self._again.setdefault(key, {first})
                nums.add(ref.num)
                if len(nums) > 2:
                    raise PaginationError(
                        "the server answers with the same rows under the page numbers "
                        f"{sorted(nums)}"
                    )
        self._hollow += not rows.count and page.total_elements > page.number * ref.size
        if self._hollow > HOLLOW:
            raise PaginationError(
                f"{self._hollow} pages came empty that, by their own totals, hold rows"
            )
        if self.passes and self._asked > 1000 + 8 * self._options.max_passes * (
            pages(self.first_total, self.size)
        ):
            raise PaginationError("the list grows as fast as its pages are read")

    # The course of a crawl

    def _run(self) -> Iterator[Stage]:
        if self._limit == 0:
            return
        if self.changes.floor is not None:
            yield from self._newest()
            return
        yield _once(PageRef(1, self.size))
        self._edge = self.size
        verify = self._options.verify
        if not verify:
            yield self._plain
            return
        if self._limit is not None and self._limit <= self.total:
            yield self._plain
            if self.unique >= self._limit:
                return
            # There were fewer after all: the whole list is wanted.
            self._see_move()
        if self._decide():
            self.finished = True
            return
        if self._resume is not None:
            yield from self._rest(self._resume)
            if self.resumed:
                return
        yield from self._pass()
        mend = self._moving or self._overlapping
        while not self._decide() and self.passes < self._options.max_passes:
            if not self._wants_more:
                return
            self.passes += 1
            if mend and isinstance(self.decision, Missing):
                before, self._stirred = self._reads[-1], False
                yield from self._round()
                is_last_chance = self.passes + 1 == self._options.max_passes
                mend = self._stirred and not (is_last_chance and self._rested_since(before))
            else:  # at rest, or in no order: two passes that agree say more than seams
                self._moving = self._overlapping = False
                yield _once(PageRef(1, self.size))
                self._edge = self.size
                yield from self._pass()
                mend = self._moving or self._overlapping
        # Not if the list grew beyond the limit meanwhile: then some of it is not handed out.
        self.finished = self._limit is None or self.unique <= self._limit

    def _rested_since(self, head: Read) -> bool:
        """Whether page 1 is what it was: enough to bet a pass on it, not to prove anything."""
        now = self._reads[-1]
        return (head.ids, head.updated) == (now.ids, now.updated)

    def _rest(self, before: Checkpoint) -> Iterator[Stage]:
        """The pages that an earlier crawl did not deliver, if the list is still what it was."""
        self.started_over = not before.pages or (self.size, self.total, self.head) != (
            before.size,
            before.total,
            before.head,
        )
        if self.started_over:
            return
        self.skipped = before.pages
        self._edge = before.pages * self.size
        yield from self._pass()
        self.resumed = not self.drifted
        if self.drifted:  # a gap cannot be ruled out: all of it again
            self.started_over = True
            self.skipped = 0
            self.passes += 1
            self._edge = self.size

    def _newest(self) -> Iterator[Stage]:
        """What a watermark does not know."""
        self._overlapping = True
        for stages in (self._glances, self._known_again, self._down):
            yield from stages()
            if self._decide() or not self._wants_more:
                break
        complete = isinstance(self.decision, Complete)
        self.finished = self._wants_more or (complete and self.unique == self._limit)

    def _glances(self) -> Iterator[Stage]:
        """Page 1; a small one first, if little is known."""
        glance = min(len(self.changes.known) + GLANCE, self.size)
        for size in dict.fromkeys([glance, self.size]):
            yield _once(PageRef(1, size))
            if self._decide() or not self._wants_more:
                return

    def _known_again(self) -> Iterator[Stage]:
        """Where a page does not hold what is known: the page below it, then all above once more.

        When many rows carry one second no page links to the next; but known rows can be counted.
        """
        known = len(self.changes.known)
        if known < self.size or self.unique >= self.size or self._limit is not None:
            return  # a limit wants the newest first
        below = around(known + self.unique, self.size)
        self._aside.add(below)
        yield _once(below)
        if self.changes.reached:
            yield _each(
                PageRef(num, self.size) for num in range(1, pages(below.start, self.size) + 1)
            )

    def _down(self) -> Iterator[Stage]:
        """From page 1 down, page 1 again, and what does not hold together then."""
        self._edge = self.size
        yield self._deeper
        self._late = True
        if self._wants_more:
            yield _once(self._newest_end())
        rested = False  # or what is read again tells nothing new
        while not (self._decide() or rested) and self._wants_more:
            if self.passes == self._options.max_passes:
                return
            self.passes += 1
            before = self._reads[-1]
            yield from self._round()
            rested = self._rested_since(before)

    def _deeper(self) -> PageRef | None:
        """Pages that overlap, one more at once for each that was read, until one reaches down."""
        if self._repairs:
            return self._repair()
        if self.changes.reached or self._edge > self.total or not self._wants_more:
            return None
        return self._next_overlapping(self._margin) if self._under_way < len(self._reads) else None

    def delivered(self, result: PageResult[T], number: int) -> None:
        """So many of a step's items were handed out."""
        self.changes.delivered(result.keys[:number])

    def watermark(self, scope: str) -> Watermark | None:
        """What is known of the list once all was handed out; see ``Changes.watermark``."""
        covered = self.finished and (
            isinstance(self.decision, Complete) or covers(self._reads, self.changes.oldest)
        )
        return self.changes.watermark(scope, covered=covered)

    @property
    def complete(self) -> bool:
        """Whether the last decision is that every row was read."""
        return isinstance(self.decision, Complete)

    @property
    def head(self) -> tuple[int, int] | None:
        """Id and update time of the first row, as the crawl began."""
        first = self._reads[0] if self._reads else None
        return (first.ids[0], first.updated[0]) if first and first.ids else None

    def _plain(self) -> PageRef | None:
        """Page after page, for as long as the list has more or the limit wants more."""
        if self._edge >= self._most or not self._wants_more:
            return None
        return self._next_page()

    @property
    def _wants_more(self) -> bool:
        """Whether the limit may need more than what is read and under way."""
        return self._limit is None or self.unique + self._under_way * self.size < self._limit

    def _next_page(self) -> PageRef:
        ref = PageRef(self._edge // self.size + 1, self.size)
        self._edge = ref.end
        return ref

    def _pass(self) -> Iterator[Stage]:
        """The last page, then all between, then page 1 again."""
        first = self._reads[-1]
        self._late = False
        self._holding = True
        self._until = self._floor = inf
        full = 1
        for _ in range(ENDS):
            if self._overlap():
                break
            # Past every page seen to be full, whatever the total says.
            ref = PageRef(max(self.total // self.size, full) + 1, self.size)
            yield _once(ref)
            if is_last(self._reads[-1]):
                self._until = ref.start
                break
            full = ref.num
        self._holding = False
        yield self._between
        if not self._wants_more:
            return
        self._late = True
        if self._moving:
            yield _once(self._newest_end())
            return
        yield _once(PageRef(1, self.size))
        if not self._rested_since(first):
            self._see_move()

    def _between(self) -> PageRef | None:
        if not self._wants_more:
            return None
        overlap = self._overlap()
        if overlap and not self._overlapping:
            # What was read without an overlap is held together by a page across each seam.
            self._overlapping = True
            self._repairs = [
                around(end, self.size) for end in range(self.size, self._edge, self.size)
            ]
            self._links, self._places, self._linked, self._repaired = [], {}, {}, set()
        if self._repairs:
            return self._repair()
        if not overlap:
            end = self._until if self._until < inf else self._floor
            return self._next_page() if self._edge < end else None
        return self._next_overlapping(overlap) if self._edge <= self.total else None

    def _repair(self) -> PageRef:
        repair = self._repairs.pop()
        self._aside.add(repair)
        return repair

    def _next_overlapping(self, overlap: int) -> PageRef:
        ref = following(self._edge, self.size, min(overlap, self.size // 2))
        self._edge = ref.end
        self._places[ref] = len(self._links)
        self._links.append(ref)
        return ref

    def _overlap(self) -> int:
        """Rows that a page shares with the one before, as far as it is known now."""
        wanted = self._options.overlap
        if wanted == "auto":
            return self._margin if self._moving else 0
        return wanted

    @property
    def _margin(self) -> int:
        return LEAST_OVERLAP + round(2 * self._slip)

    def _link(self, ref: PageRef, read: Read) -> None:
        """See whether *ref* holds together with its neighbours; what does not is read again."""
        self._linked[ref] = read
        place = self._places[ref]
        for above, below in ((place - 1, place), (place, place + 1)):
            if above < 0 or below >= len(self._links):
                continue
            upper, lower = self._links[above], self._links[below]
            if upper not in self._linked or lower not in self._linked:
                continue
            shared = len(set(self._linked[upper].ids) & set(self._linked[lower].ids))
            meant = upper.end - lower.start
            self._slip += (abs(meant - shared) - self._slip) / 8
            if not shared and above not in self._repaired:
                self._repaired.add(above)
                self._repairs.append(around(upper.end, self.size))

    # Mending

    def _round(self) -> Iterator[Stage]:
        """Read what is missing, and the newest end last.

        At a busy end a page spans little time, and only what was read a moment before can be linked
        to it: then the page below it is read again, and the end once more.
        """
        self._since = self._reads[-1].sent  # the newest end, read last
        self._went_down = False
        tried: list[PageRef] = []
        for _ in range(STEPS):
            if self._decide():
                return
            refs = self._bridges()
            if not refs or refs == tried:
                break
            yield _each(refs)
            tried = refs
        yield _once(self._newest_end())
        for _ in range(CLOSINGS):
            if self._decide() or not isinstance(self.decision, Missing):
                return
            gaps = self.decision.gaps
            if not gaps or not all(self._is_new(gap.above) for gap in gaps):
                return
            before = self._reads[-1]
            yield _each(self._below(before, 1))
            yield _once(self._newest_end())
            if self.changes.floor is not None and self._rested_since(before):
                return

    def _decide(self) -> bool:
        distinct = len(self._seen) if self._all_keyed else None
        changes = self.changes
        self.decision = decide(
            self._reads, self._options.allowed_lateness, distinct, changes.oldest, changes.known
        )
        return isinstance(self.decision, Complete)

    def _newest_end(self) -> PageRef:
        if self._is_ascending:
            return around(self.total, self.size)
        only_end = self.changes.floor is not None
        if only_end and self._wide and not self._widest:
            # This page has to span more time than rows take to settle, and did not.
            return PageRef(1, min(2 * self._wide, self.size * WIDEST))
        return PageRef(
            1, self._wide or self.size * WIDER if self._moving or only_end else self.size
        )

    @property
    def _is_ascending(self) -> bool:
        return isinstance(self.decision, Missing) and not self.decision.descending

    def _bridges(self) -> list[PageRef]:
        missing = self.decision
        if not isinstance(missing, Missing):
            return []
        refs: list[PageRef] = []
        for gap in missing.gaps:
            if not self._is_new(gap.above):
                refs.append(self._bridge(gap))
            elif not self._went_down:
                refs += self._descent(self._reads[-1])
                self._went_down = True
            elif gap.above.offset and gap.above.sent > self._since:
                refs += self._descent(gap.above)
        if missing.tail:
            refs.append(
                PageRef(1, self.size) if self._is_ascending else around(self.total, self.size)
            )
        return list(dict.fromkeys(refs))

    def _is_new(self, read: Read) -> bool:
        """Whether all of a page came in since the crawl began."""
        return self._gap(read) >= 0

    def _gap(self, read: Read) -> float:
        """By how many seconds *read* ends above what was there when the crawl began."""
        shown, first = read.by_update, self._reads[0].by_update
        if self._is_ascending or not shown or not first:
            return -1
        return shown.oldest - (first.newest - self._options.allowed_lateness)

    def _descent(self, read: Read) -> list[PageRef]:
        """The pages below *read*, down to what was there when the crawl began, about."""
        span = max(read.updated, default=0) - min(read.updated, default=0) + 1
        rows = 1.3 * (self._gap(read) + 1) * read.count / span
        return self._below(read, min(1 + int(rows) // (self._wide or self.size), DESCENT))

    def _below(self, read: Read, number: int) -> list[PageRef]:
        """So many pages, each overlapping the one before, from the end of *read* on."""
        size = self._wide or self.size
        end = read.offset + read.count
        refs: list[PageRef] = []
        while not refs or (len(refs) < number and end < self.total):
            ref = following(end, size, min(self._margin, size // 2))
            refs.append(ref)
            end = ref.end
        return refs

    def _bridge(self, gap: Gap) -> PageRef:
        """A page across *gap*, where its rows should be by now."""
        key = (gap.above.sent, gap.below.sent)
        upper = gap.above if not self._is_ascending else gap.below
        place = self._place_after(upper)
        tries = self._missed.get(key, 0)
        self._missed[key] = tries + 1
        # Around, below, above, further below …: half a page each time.
        result = (tries + 1) // 2 * (1 if tries % 2 else -1) * (self.size // 2)
        return around(min(place + result, self.total), self.size)

    def _place_after(self, upper: Read) -> int:
        """Where the rows below those of *upper* are by now: seen, if lately, else estimated."""
        for read in self._reads[: -RECENT - 1 : -1]:
            if read is not upper and upper.ids and upper.ids[-1] in read.ids:
                return read.offset + list(read.ids).index(upper.ids[-1]) + 1
        return upper.offset + upper.count + self._shift(upper)

    def _shift(self, read: Read) -> int:
        """By how many rows what *read* showed has moved down since, about."""
        first, last = self._reads[0], self._reads[-1]
        elapsed = max(last.answered - first.answered, 1)
        entered = self._entered(first)
        depth = min(1.0, read.offset / max(self.total, 1))
        moved = entered * (1 - depth) + (self.total - first.total) * depth
        return round(moved * (last.answered - read.answered) / elapsed)

    def _entered(self, first: Read) -> int:
        """How many rows are known to have come in at the newest end since *first*."""
        if not first.by_update:
            return 0
        newest = first.by_update.newest
        rows: set[int] = set()
        for read in self._reads[1:]:
            if read.by_update and read.by_update.newest > newest:
                rows.update(
                    number
                    for number, time in zip(read.ids, read.updated, strict=True)
                    if time > newest
                )
        return len(rows)


def _nothing() -> PageRef | None:
    return None


def _once(ref: PageRef) -> Stage:
    return _each([ref])


def _each(refs: Iterable[PageRef]) -> Stage:
    waiting = iter(refs)
    return lambda: next(waiting, None)
