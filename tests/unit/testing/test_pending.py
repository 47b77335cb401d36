"""Writes that are not visible yet: their order and the state that writers see."""

from collections.abc import Iterable

import pytest

from dp_async.testing._pending import PendingWrites, Write
from dp_async.testing._rows import Row

ROW: Row = {"name": "first"}
LATER: Row = {"name": "second"}


def taken(writes: Iterable[Write[Row]]) -> list[tuple[int, Row | None]]:
    return [(write.key, write.value) for write in writes]


def test_writes_come_in_the_order_of_their_time() -> None:
    pending = PendingWrites[Row]()
    for due, key in ((3.0, 1), (1.0, 2), (2.0, 3), (1.0, 4)):
        pending.add(due, key, ROW)
    assert taken(pending.pop_due(0.9)) == []
    assert taken(pending.pop_due(2.0)) == [(2, ROW), (4, ROW), (3, ROW)]
    assert taken(pending.pop_due(9.0)) == [(1, ROW)]
    assert taken(pending.pop_due(9.0)) == []


def test_writes_to_one_row_keep_their_order() -> None:
    pending = PendingWrites[Row]()
    pending.add(5.0, 1, ROW)
    pending.add(2.0, 1, LATER)
    pending.add(4.0, 1, None)
    assert taken(pending.pop_due(4.9)) == []
    assert taken(pending.pop_due(5.0)) == [(1, ROW), (1, LATER), (1, None)]


def test_writers_see_the_newest_pending_state() -> None:
    pending = PendingWrites[Row]()
    assert 1 not in pending
    with pytest.raises(KeyError):
        pending.newest(1)
    pending.add(1.0, 1, ROW)
    pending.add(2.0, 1, LATER)
    assert (1 in pending, pending.newest(1)) == (True, LATER)
    assert taken(pending.pop_due(1.0)) == [(1, ROW)]
    assert pending.newest(1) == LATER
    pending.add(3.0, 1, None)
    assert pending.newest(1) is None
    assert taken(pending.pop_due(3.0)) == [(1, LATER), (1, None)]
    assert 1 not in pending


def test_a_write_has_left_the_queue_when_it_is_applied() -> None:
    pending = PendingWrites[Row]()
    pending.add(1.0, 1, ROW)
    pending.add(1.0, 2, ROW)
    for write in pending.pop_due(1.0):
        assert write.key not in pending
