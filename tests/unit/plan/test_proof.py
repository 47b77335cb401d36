"""The decision over the reads of a crawl: in steps, each of which looks at a few rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import pytest

from dp_async._plan.changes import Changes
from dp_async._plan.proof import FEW, Proof
from dp_async._proof.decision import Complete
from dp_async._proof.reads import Read

SIZE, PAGES, STEP = 20, 200, 6
MOST = 40 * SIZE
"""Rows that one step may look at: a page is compared with a dozen others."""


class Looked:
    """Ids that count how many of them are looked at."""

    rows = 0

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        Looked.rows += len(self._ids)
        return iter(self._ids)

    def __getitem__(self, place: int) -> int:
        Looked.rows += 1
        return self._ids[place]


def read_of(tick: int, rows: Sequence[tuple[int, int]], offset: int) -> Read:
    shown = rows[offset : offset + SIZE]
    times = array("q", (time for _, time in shown))
    read = Read.of(
        sent=2 * tick,
        answered=2 * tick + 1,
        offset=offset,
        size=SIZE,
        count=len(shown),
        total=len(rows),
        ids=[number for number, _ in shown],
        updated=times,
        created=times,
    )
    read.keep(Looked([number for number, _ in shown]))
    return read


@pytest.mark.parametrize("changes", [False, True])
def test_no_step_of_a_long_decision_looks_at_many_rows(changes: bool) -> None:
    rows = [(number, 10**6 - number // 3) for number in range(PAGES * SIZE + 1)]
    ends = [0, PAGES * SIZE, *range(SIZE - STEP * changes, PAGES * SIZE, SIZE - STEP * changes), 0]
    reads: list[Read] = []
    for tick, offset in enumerate(ends):
        if changes and not tick % 90:
            rows.insert(0, (-1 - tick, 10**6 + tick))
        reads.append(read_of(tick, rows, offset))
    assert len(reads) > FEW
    proof = Proof(2.0, Changes(None, 2.0))
    distinct = len({number for read in reads for number in read.ids})
    if not changes:
        for read in reads:
            proof.add(read)
    looked: list[int] = []
    steps = proof.decided(reads, distinct, drifted=changes)
    while True:
        Looked.rows = 0
        try:
            next(steps)
        except StopIteration as end:
            decision = end.value
            break
        finally:
            looked.append(Looked.rows)
    assert isinstance(decision, Complete)
    assert max(looked) <= MOST
    assert (sum(looked) > 2 * PAGES * SIZE) is changes  # at rest, hardly a row is looked at
