"""Is this set of reads provably the whole list, although the list changed while it was read?

Reads go in, a decision comes out. No I/O, no clock, no asyncio. The rules are in ``links``,
``ties`` and ``counts``; this docstring states what they assume and proves them. ``assumptions``
looks for signs that the server breaks an assumption.

**Promise.** ``decide`` never returns ``Complete`` if a row that was in the list from the first read
to the last is in none of the reads.

**Reads.** A *read* is one answer: the rows of one page, taken by the server at one moment between
request and answer. Read A is *before* read B only if A was answered before B was sent. Reads that
overlap in time have no order. Where answers may be out of date by a while, a read counts as sent so
much earlier.

**Assumptions** about the server:

1. An answer shows the list as it was at one moment between its request and its arrival: no stale
   replica.
2. *Stamp*: when a row enters the list or is updated, its update time is no older than the server's
   clock less ``allowed_lateness``, which is the longest time from the stamp of a row until the row
   is visible. What the clock has reached is known from the update times that the list has shown
   until then; of a list that rests or is sorted oldest first also from the ``Date`` of the answers
   until then, if they have one, which counts at UTC+08:00, as the times do. A time later than the
   clock of the server that shows it says nothing: a bad import, or a clock that was ahead for a
   moment, can date a row in the future.
3. A page holds all rows there are from its offset on, up to its size, or up to a limit that the
   server need not echo. So a page with fewer rows than its size and than the fullest answer is the
   last one. For page 1, whose offset cannot be wrong, fewer rows than its size are enough if its
   own total says that they are all.
4. For the link rule, the list is sorted by update time or by create time, in either direction.
   Every order that no answer contradicts is possible, so the rule has to hold for each of them. A
   create time never changes.
5. For the count rule, a row that leaves and returns does not return with the same update time.
6. For clause (c), rows with one and the same time keep their order while none of them is updated.
   This is believed only of pages that share rows in one order, if at least four pairs of such rows
   are seen in one order on pages that end in different places, and never where two answers show
   two such rows in opposite orders. An update may change that order, as in a heap of PostgreSQL; in
   a list by create time it leaves the time as it is. So there it is believed only while every row
   is shown in the order of its update time too, as where none was ever updated.

**Horizon.** The horizon of a read is what the clock had reached when it was taken, less
``allowed_lateness``: the newest update time in it or in any read before it, or, where 2 says so,
the ``Date`` of a read before it; a time that lay ahead of the server's clock does not count. (Where
rows are seen to enter that are a quarter of an hour older than a ``Date``, that is another clock's
and does not count either.) By 2, *a row that enters or is updated after a read has a time no older
than the horizon of that read.*

**Single page.** If page 1 is also the last page, it holds the whole list of its moment.

**Link rule**, for a list that changes. *Above* means nearer the newest row. A read P links down to
a read Q if

a. P's oldest time is older than Q's horizon, and
b. Q's first row is newer than P's last row, or
c. Q's first row is as new as P's last one and is in P, and that time is older than the horizon of
   whichever of the two was taken first (of both, if they have no order). Of the rows of P from that
   row on, Q shows at least two and at least half, in the same order.

Let F be a read of the newest end, sent after all other reads of a chain were answered. If links
lead from F to a read of the oldest end, the reads of the chain hold the list.

*Proof.* A row is below or above a read by its place at the moment of that read. For each link P to
Q of the chain:

i.  A row below P was not updated after Q and before P. If it had been, its time would be at least
    Q's horizon; but a row below P is at most as new as P's oldest, which contradicts (a).
ii. A row that was not updated between the two is not both below P and above Q. Its time is the same
    at both moments, so this would contradict (b). With (c), take a row X that both show. X was not
    updated between the two, since its time is older than the horizon of the first. The row is below
    X at the moment of P, and above X at that of Q: if its time is not X's, then because it changed,
    which it did not; if it is, this contradicts 6.

Suppose that a row Y is in the list all the time and in no read of the chain. Y is below F and
above the read of the oldest end. So the chain has a first link P to Q with Y below P and above Q,
and Y is below every read from F to P. By (ii), Y was updated between P and Q, and by (i) not after
Q and before P: so P was taken, then Y was updated, then Q was taken. F was taken after Q, so after
this update, and P before it. So on the way from F to P there is a link from a read U, taken after
the update, to a read L, taken before it. Y is below U and was updated after L and before U, which
contradicts (i). So there is no such Y.

If the list is sorted by create time, no row that stays ever moves, so every horizon is infinite.

**Count rule**, for a list that does not change or only grows; it needs no order. A last page B says
that the list held at most ``C = offset + rows`` rows when B was taken. The rule counts rows that
were surely in the list at that moment:

- the rows of B;
- rows read after B with a time older than B's horizon: by 2, they did not enter after B;
- rows read before B and again after it with the same time: by 5, they did not leave in between.

If these are C distinct ids, the reads hold the list. *Proof.* The list held at most C rows, so
these are all rows of that moment. A row that was in the list all the time is one of them, and each
of them was read.

**Down to a time.** If a list is sorted newest first, only the rows down to a time may be wanted. A
chain may then end at a read that shows an older row. In the count rule, B may be a page that shows
an older row: C is then the number of rows above the first older one, and only wanted rows are
counted, by the time they had at that moment. A row known from before all reads counts as read
before B.

**Margin.** ``allowed_lateness`` enters by the horizons alone, and each proof compares times with
them. So it would hold as well if every horizon were older by the least difference that it relies
on, less one second: this much more lateness it bears. A proof that relies on none bears any.

**Signs.** If a row is seen where an earlier read of that place lacks it, or with a new time that is
older than the clock of an earlier read that shows it, it became visible so much later than its
stamp. If that is more than allowed, the proof has to bear twice as much. If a row was gone in one
answer and is there again with the same time, 1 or 5 does not hold, and nothing is proven. If the
newest end, as it was last read, shows all rows that may have entered since the first read, every
row of that moment must have been read; if its total says that there were more, 1 or 2 does not
hold. The same if more rows entered after some read, by totals that grew or by more rows that stand
before a time, than the newest end shows from the horizon of that read on (``entries``).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .counts import count_rule, count_rule_down, count_rule_static, unread
from .decision import Broken, Complete, Decision, Missing, Unprovable
from .links import link_rule, one_reaches_down
from .reads import horizons_in_steps, in_seconds, is_last, with_true_sizes
from .resting import COUNTED
from .segments import orders_in_steps, wanted_of
from .steps import finished

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from .assumptions import Assumptions
    from .reads import Read
    from .segments import Order
    from .steps import Steps

RETURNED = (
    "a row was gone in one answer and there again as before in a later one: the answers do not all "
    "show the list of their moment, as with a replica that lags"
)
UNREAD = (
    "the list holds {} more rows than were read, though its pages join: rows enter or move without "
    "a new update time, or with one that goes back"
)
HIDDEN = (
    "more rows entered the list than its newest end shows: update times go back, as after a clock "
    "was set back, or answers do not show the list of their moment, as with a replica that lags"
)


def decide(
    reads: Sequence[Read],
    allowed_lateness: float,
    distinct: int | None = None,
    down_to: float = -inf,
    known: Set[tuple[int, int]] = frozenset(),
    seen: Assumptions | None = None,
) -> Decision:
    """Whether *reads* are provably the whole list, else which reads are missing.

    *allowed_lateness* is the longest time, in seconds, from a row's update time until the row is
    visible: the least that the proof has to bear. *distinct* is the number of different ids in the
    reads, if the caller has counted them: it makes the count rule cheap for a list in which nothing
    changed.

    With *down_to*, only rows with that time or a newer one are wanted, and only if the list is
    sorted newest first: a page that shows an older row then does for the oldest end. *known* are
    the ids and times of rows that were in the list before the first read. *seen*: what the reads
    show of the assumptions, of a list that was seen to change; None for one at rest.

    Near-linear in the number of reads; the count rule without *distinct*, tried last, is linear in
    the number of rows for each last page read.
    """
    return finished(deciding(reads, allowed_lateness, distinct, down_to, known, seen))


def deciding(
    reads: Sequence[Read],
    allowed_lateness: float,
    distinct: int | None = None,
    down_to: float = -inf,
    known: Set[tuple[int, int]] = frozenset(),
    seen: Assumptions | None = None,
) -> Steps[Decision]:
    """``decide`` in steps, none of which takes long, however many *reads* there are."""
    if not reads:
        return Unprovable("nothing was read")
    reads = with_true_sizes(reads)
    yield
    if any(is_last(read) for read in reads if not read.offset):
        return Complete("single page", "the whole list came in one answer", inf)
    if down_to > -inf and one_reaches_down(reads, down_to):
        reason = "one answer holds all that is newer than what was known"
        return Complete("single page", reason, inf)
    orders = yield from orders_in_steps(reads)
    yield
    wanted_orders = wanted_of(orders, down_to)
    if seen is None:
        return (
            yield from proven(reads, allowed_lateness, distinct, wanted_orders, known, dated=True)
        )
    tells = is_by_update(reads, orders)
    if tells and seen.returned:
        return Broken(RETURNED)
    wanted = seen.needed(allowed_lateness) if tells else allowed_lateness
    yield
    # The newest end of an ascending list is read too seldom to be a clock.
    dated = seen.dated and not any(order.descending for order in orders)
    decision = yield from proven(reads, wanted, distinct, wanted_orders, known, dated=dated)
    if not isinstance(decision, Complete):
        if wanted == allowed_lateness:
            return decision
        seconds = f"{seen.lateness:.0f} s after the time that they carry, or more"
        return replace(decision, reason=f"{decision.reason}; rows became visible {seconds}")
    if tells:
        bounds = yield from horizons_in_steps(reads, wanted, dated=seen.dated)
        linked = decision.rule == "link"
        if (yield from seen.hides_entries(reads, bounds, linked=linked)):
            return Broken(HIDDEN)
    if distinct is not None and down_to == -inf:
        yield
        bounds = yield from horizons_in_steps(reads, allowed_lateness, dated=dated)
        more = yield from unread(reads, bounds, orders, distinct)
        if more:
            return Missing((), True, False, orders[0].descending, UNREAD.format(more))
    return decision


def is_by_update(reads: Sequence[Read], orders: Sequence[Order]) -> bool:
    """Whether the update times, by which signs are seen, are those that sort the list.

    They are not known to be if it may be sorted by create times, which differ from them.
    """
    by_create = any(order.by_create for order in orders)
    return not by_create or all(read.by_create is read.by_update for read in reads)


def proven(
    reads: Sequence[Read],
    allowed_lateness: float,
    distinct: int | None,
    orders: Sequence[Order],
    known: Set[tuple[int, int]],
    *,
    dated: bool,
) -> Steps[Decision]:
    """What the rules say of *reads*, none of which is the whole list, for each of *orders*."""
    lateness = in_seconds(allowed_lateness)
    bounds = yield from horizons_in_steps(reads, allowed_lateness, dated=dated)
    if distinct is not None:
        margin = yield from count_rule_static(reads, bounds, distinct)
        if margin is not None:
            return Complete("count", COUNTED, lateness + margin)
    linked = yield from link_rule(reads, bounds, orders, lateness)
    if isinstance(linked, Complete):
        return linked
    margin = yield from count_rule(reads, bounds)
    if margin is not None:
        return Complete("count", COUNTED, lateness + margin)
    if orders and orders[0].down_to > -inf:
        margin = count_rule_down(reads, bounds, orders, known)
        if margin is not None:
            reason = "as many rows were read as were newer than what was known"
            return Complete("count", reason, lateness + margin)
    return linked
