"""Is this set of reads provably the whole list, although the list changed under it?

No I/O, no clock, no asyncio: reads go in, a decision comes out.

**Promise.** ``decide`` never says ``Complete`` when a row that was in the list from the first read
to the last is in none of them.

A *read* is one answer: the rows of one page, taken at one moment between request and answer. A is
*before* B only if A was answered before B was sent; reads that overlap have no order.

Assumed of the server:

1. An answer shows the list of one moment between its request and its arrival: no stale replica.
2. *Stamp*: a row that enters the list or is updated carries an update time no older than any the
   list has shown until then, less ``allowed_lateness``, the time a row may take from its stamp to be visible.
3. A page holds all rows there are, up to its size or to a number that the server need not echo. So
   a page with fewer rows than its size, and than the fullest answer, is the last one; page 1, where
   no offset can be wrong, if its own total says that it is all.
4. For the link rule, the list is sorted by update time or by create time, either way up. What no
   answer contradicts may be the order, so the rule has to hold for each of those. A create time
   never changes.
5. For the count rule, a row that leaves and returns does not come back with the same update time.

The *horizon* of a read is the newest update time in it or in any read before it, less ``allowed_lateness``.
By 2, **what enters or is updated after a read carries a time no older than the read's horizon.**

**Single page.** Page 1 that is also the last page holds the whole list of its moment.

**Link rule**, for a list that moves. *Above* is nearer the newest row. A read P links down to Q if

a. P's oldest time is older than Q's horizon, and
b. Q's first row stands at or above P's last: it is newer; or, where ties are seen to be sorted by
   id, it has the same time and an id that is not past the last one's.

The list was read if links lead from the newest end, F, sent after all other reads on the way were
answered, to the oldest end.

*Proof.* Let Y be in the list all the time and in no read on the way. Y is below P when P is taken
and was updated after Q, before P: its time is then at least Q's horizon, but being below P at most
P's oldest. That is against (a). So, for each link, *a row below P was not updated from Q to P* (*).
And a row that was not updated between the two cannot be below P and above Q: that is against (b).
Now Y is below F and above the oldest end, so on the way there is a first link P to Q with Y below P
and above Q. Y was updated between them, by (*) after P and before Q. F was taken after this update
and P before, so between F and P there is a link with the upper read taken after the update and the
lower one before it; and Y is below the upper read. That is against (*). So there is no such Y.

If the order is by create time, no row that stays ever moves: every horizon is infinite.

**Count rule**, for a list that rests or only grows; it needs no order. The last page B says that
the list held at most ``C = offset + rows`` rows when it was taken. Counted are the rows that were
surely in the list at that moment: those of B; those read after B with a time older than B's
horizon, since they did not enter later (2); those read before B and again after it with the same
time, since they did not leave between (5). If these are C distinct ids, they are all there was at
that moment, and so each row that was there all the time is among them.

Where only the rows down to a time are wanted, of a list that is sorted newest first, and B goes on
below that time, C is the number of rows above the first older one, and wanted rows are counted,
as they were at that moment. A row that is known from before all reads counts as read before B.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from .counts import count_rule, count_rule_at_rest, count_rule_down
from .decision import Complete, Decision, Unprovable
from .links import link_rule, one_reaches_down, wanted_orders
from .reads import Read, horizons, is_first, is_last, with_true_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence, Set


def decide(
    reads: Sequence[Read],
    allowed_lateness: float,
    distinct: int | None = None,
    down_to: float = -inf,
    known: Set[tuple[int, int]] = frozenset(),
) -> Decision:
    """Whether *reads* are provably the whole list, else what to read.

    Of a list that is sorted newest first, only the rows *down_to* a time may be wanted, that one
    included: then a page that goes on below it is as good as the oldest end.
    *known* are ids and times of rows that were there before the first read.

    *allowed_lateness* is how many seconds after its time stamp a row may become visible. *distinct* is how
    many different ids the reads hold, if the caller has counted them: at rest, that spares another
    count. Near-linear in the reads; the count rule, tried last, is linear in the rows for each end
    page read.
    """
    if not reads:
        return Unprovable("nothing was read")
    reads = with_true_sizes(reads)
    if any(is_first(read) and is_last(read) for read in reads):
        return Complete("single page", "the whole list came in one answer")
    if down_to > -inf and one_reaches_down(reads, down_to):
        return Complete("single page", "one answer holds all that is newer than what was known")
    bounds = horizons(reads, allowed_lateness)
    counted = Complete("count", "as many rows were read as the list held at one moment")
    if distinct is not None and count_rule_at_rest(reads, bounds, distinct):
        return counted
    orders = wanted_orders(reads, down_to)
    linked = link_rule(reads, bounds, orders)
    if isinstance(linked, Complete):
        return linked
    if count_rule(reads, bounds):
        return counted
    if down_to > -inf and count_rule_down(reads, bounds, orders, known):
        return Complete("count", "as many rows were read as were newer than what was known")
    return linked
