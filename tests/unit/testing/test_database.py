"""The behaviours of a database, one by one, on a list: the time and all chance are injected."""

from collections import Counter
from math import inf, nan
from typing import Any

import msgspec
import pytest

from dp_async import ConfigError
from dp_async.testing import Database, Delay, SimulatedList

NOW = 1_700_000_000.75  # 2023-11-15 06:13:20.75 at +08:00


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def works(clock: Clock, count: int = 30, **behaviours: Any) -> SimulatedList:
    database = Database(**behaviours)
    return SimulatedList("work_list", count, clock=clock, database=database, seed=1)


def read(rows: SimulatedList, offset: int, size: int, **filters: str | None) -> list[int]:
    """The ids of a page."""
    content, _ = rows.read(offset, size, filters)
    decoded = [msgspec.json.decode(raw, type=dict[str, Any]) for raw in content]
    return [row["digitalPersonWorksId"] for row in decoded]


def second(rows: SimulatedList, key: int) -> str:
    """The minute and second of a row's update time."""
    return str(rows.row(key)["updateTime"])[-5:]


# Commits


def test_commits_take_as_long_as_their_distribution_says(clock: Clock) -> None:
    rows = works(clock, commits=(Delay(0.75, 0.25, 0.5), Delay(0.25, 4.0, 8.0)))
    mark = rows.mark()
    keys = [rows.insert() for _ in range(400)]
    assert rows.changes_since(mark) == []
    clock.now += 8
    delays = {change.key: change.moment - NOW for change in rows.changes_since(mark)}
    assert sorted(delays) == keys
    short = [delay for delay in delays.values() if delay <= 0.5]
    long = [delay for delay in delays.values() if delay >= 4]
    assert len({*short}) == len(short)
    assert (min(short) >= 0.25, max(long) <= 8) == (True, True)
    assert (len(short) + len(long), 60 < len(long) < 140) == (400, True)
    assert {second(rows, key) for key in keys} == {"13:20"}  # stamped before


def test_deletes_and_updates_are_committed_late_as_well(clock: Clock) -> None:
    rows = works(clock, commits=(Delay(1, 2, 2),))
    gone, changed = rows.ids()[:2]
    rows.delete(gone)
    rows.update(changed, status="FAIL")
    clock.now += 1.75
    assert (gone in rows, rows.row(changed)["status"] == "FAIL") == (True, False)
    clock.now += 0.25
    assert (gone in rows, rows.row(changed)["status"]) == (False, "FAIL")


def test_an_import_has_one_time_and_is_visible_at_once(clock: Clock) -> None:
    rows = works(clock, commits=(Delay(1, 1, 9),), times="cut")
    mark = rows.mark()
    keys = rows.insert_many(500, status="DRAFT")
    while not rows.changes_since(mark):
        clock.now += 0.01
    changes = rows.changes_since(mark)
    assert [change.key for change in changes] == keys
    assert len({change.moment for change in changes}) == 1
    assert {str(rows.row(key)["updateTime"]) for key in keys} == {"2023-11-15 06:13:20"}
    assert set(keys) < set(rows.ids(status="DRAFT"))
    assert rows.ids()[:500] == keys  # ties by id
    assert rows.insert() == keys[-1] + 1
    with pytest.raises(ConfigError, match="count must be a whole number"):
        rows.insert_many(-1)


# Times and ties


@pytest.mark.parametrize(
    ("times", "shown", "order"),
    [
        ("seconds", ["13:20", "13:20", "13:20"], [0, 1, 2]),
        ("cut", ["13:20", "13:20", "13:20"], [1, 2, 0]),
        ("rounded", ["13:20", "13:21", "13:20"], [1, 2, 0]),
    ],
)
def test_hidden_microseconds_order_the_rows(
    clock: Clock, times: str, shown: list[str], order: list[int]
) -> None:
    rows = works(clock, times=times)
    keys: list[int] = []
    for part in (0.1, 0.6, 0.3):
        clock.now = int(NOW) + part
        keys.append(rows.insert())
    assert [second(rows, key) for key in keys] == shown
    assert rows.ids()[:3] == [keys[at] for at in order]
    rows.update_unstamped(keys[1], name="its place stays")
    assert rows.ids()[:3] == [keys[at] for at in order]


@pytest.mark.parametrize("times", ["cut", "rounded"])
def test_rows_to_begin_with_have_hidden_times_too(clock: Clock, times: str) -> None:
    plain, fine = works(clock, 2000), works(clock, 2000, times=times)
    assert set(fine.ids()) == set(plain.ids())
    assert fine.ids() != plain.ids()
    seconds = [str(fine.row(key)["updateTime"]) for key in fine.ids()]
    assert seconds == [str(plain.row(key)["updateTime"]) for key in plain.ids()]
    assert fine.ids()[:20] == plain.ids()[:20]  # the documented ones


def test_ties_by_id_descending(clock: Clock) -> None:
    rows = works(clock, ties="id descending")
    keys = rows.insert_many(5)
    assert rows.ids()[:5] == read(rows, 0, 5) == keys[::-1]
    assert rows.ids(ascending=True)[-5:] == keys[::-1]
    rows.delete(keys[2])
    assert read(rows, 0, 4) == [keys[4], keys[3], keys[1], keys[0]]


def test_unstable_ties_change_from_answer_to_answer(clock: Clock) -> None:
    rows = works(clock, ties="unstable")
    older = rows.ids()
    tied = rows.insert_many(50)
    clock.now += 1
    newest = rows.insert()
    answers = [read(rows, 0, 90) for _ in range(5)]
    assert len({tuple(answer) for answer in answers}) == 5
    for answer in answers:
        assert answer[0] == newest
        assert sorted(answer[1:51]) == tied
        assert set(answer[51:]) == set(older)
    halves = read(rows, 0, 26) + read(rows, 26, 25)
    assert set(halves) < {newest, *tied}  # some came twice, and some are lost
    assert len(set(halves)) < len(halves) == 51
    edge = read(rows, 40, 20)
    assert (len(set(edge) & set(tied)), edge[11:]) == (11, read(rows, 51, 9))
    assert read(rows, 200, 10) == []
    assert rows.ids()[1:51] == tied  # the truth is in one order


# Counts and servers


@pytest.mark.parametrize(("counted", "totals"), [("after", (31, 8)), ("before", (30, 31))])
def test_the_count_is_a_query_before_or_after_the_page(
    clock: Clock, counted: str, totals: tuple[int, int]
) -> None:
    rows = works(clock, counted=counted)
    rows.between = rows.insert
    assert rows.read(0, 10, {})[1] == totals[0]
    rows.between = None
    content, total = rows.read(24, 50, {})
    assert (len(content), total) == (7, 31)


def test_a_replica_lags_and_answers_in_turns(clock: Clock) -> None:
    rows = works(clock, replicas=(1.5,))
    before = rows.ids()
    new = rows.insert()
    rows.delete(before[1])
    after = [new, before[0], before[2]]
    assert [read(rows, 0, 3) for _ in range(4)] == [after, before[:3], after, before[:3]]
    assert rows.ids()[:3] == after  # the truth is the primary
    assert (rows.read(0, 3, {})[1], rows.read(0, 3, {})[1]) == (30, 30)
    clock.now += 1.25
    rows.update(new, status="FAIL")
    clock.now += 0.25
    assert [read(rows, 0, 3) for _ in range(2)] == [after, after]
    assert [read(rows, 0, 1, status="FAIL") == [new] for _ in range(4)] == [True, False] * 2
    clock.now += 1.25
    assert [read(rows, 0, 1, status="FAIL") == [new] for _ in range(2)] == [True, True]


def test_the_lag_of_a_replica_counts_from_the_commit(clock: Clock) -> None:
    rows = works(clock, replicas=(1.0, 3.0), commits=(Delay(1, 2.0, 2.0),))
    new = rows.insert()
    shown: list[list[bool]] = []
    for _ in range(6):  # primary and both replicas, after 0 to 5 seconds
        shown.append([new in read(rows, 0, 1) for _ in range(3)])
        clock.now += 1
    assert [sum(answers) for answers in shown] == [0, 0, 1, 2, 2, 3]


# Clocks


def test_two_stampers(clock: Clock) -> None:
    rows = works(clock, stampers=(-1.5, 1.0))
    seconds = Counter(second(rows, rows.insert()) for _ in range(200))
    assert set(seconds) == {"13:19", "13:21"}
    assert min(seconds.values()) > 60


def test_a_clock_is_set_back(clock: Clock) -> None:
    rows = works(clock, clock_steps=((10.0, -3600.0), (20.0, 5.0)), commits=(Delay(1, 1, 1),))
    mark = rows.mark()
    keys = [rows.insert()]
    for _ in range(2):
        clock.now += 10
        keys.append(rows.insert())
    rows.move_clock(-60)
    keys.append(rows.insert())
    clock.now += 1
    assert rows.ids()[:4] == [keys[0], keys[2], keys[1], keys[3]]
    texts = [str(rows.row(key)["updateTime"])[11:] for key in keys]
    assert texts == ["06:13:20", "05:13:30", "05:13:45", "05:12:45"]
    moments = [change.moment - NOW for change in rows.changes_since(mark)]
    assert moments == [1, 11, 21, 21]  # what becomes visible, and when, follows the true time


# Updates without a time


def test_rows_enter_and_leave_a_filter_without_a_trace(clock: Clock) -> None:
    rows = works(clock, unstamped=1.0)
    order, key = rows.ids(), rows.ids(status="SUCCESS")[3]
    text = rows.row(key)["updateTime"]
    mark = rows.mark()
    rows.update(key, status="FAIL")
    assert (rows.ids(), rows.row(key)["updateTime"]) == (order, text)
    assert key in rows.ids(status="FAIL")
    assert key not in rows.ids(status="SUCCESS")
    (change,) = rows.changes_since(mark)
    assert (change.before or {})["status"] == "SUCCESS"
    assert (change.after or {})["status"] == "FAIL"
    assert rows.present_since(mark) == set(order)
    assert key not in rows.present_since(mark, status="FAIL")


def test_a_share_of_updates_is_not_stamped(clock: Clock) -> None:
    rows = works(clock, 2000, unstamped=0.25)
    keys = rows.ids()[:400]
    for key in keys:
        rows.update(key)
    moved = [key for key in keys if second(rows, key) == "13:20"]
    assert 260 < len(moved) < 340
    assert set(rows.ids()[: len(moved)]) == set(moved)
    with pytest.raises(KeyError):
        rows.update_unstamped(1)


# The preset, and what is refused


def test_the_preset_keeps_what_a_crawl_takes_for_granted(clock: Clock) -> None:
    database = Database.postgresql()
    rows = SimulatedList("msg_list", 30, clock=clock, database=database, seed=1)
    mark = rows.mark()
    for _ in range(500):
        rows.insert()
    clock.now += 2
    delays = [change.moment - NOW for change in rows.changes_since(mark)]
    assert len(delays) == 500
    assert 10 < sum(delay > 0.25 for delay in delays) < 50
    assert (database.ties, database.replicas, database.unstamped) == ("id", (), 0)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"times": "micro"}, "times must be 'seconds' or 'cut' or 'rounded', not 'micro'"),
    ({"ties": None}, "ties must be 'id' or"),
    ({"counted": "never"}, "counted must be 'after' or 'before'"),
    ({"commits": (Delay(1, 2, 1),)}, "a delay of commits must be a number of at least 2"),
    ({"commits": (Delay(1, -1, 1),)}, "a delay of commits must be a number of at least 0"),
    ({"commits": (Delay(-1, 1, 1),)}, "a share of commits must be a number"),
    ({"commits": (Delay(0, 1, 1),)}, "a share of commits must be above 0"),
    ({"replicas": (-1,)}, "a lag of replicas must be a number"),
    ({"stampers": ()}, "stampers must hold a clock"),
    ({"stampers": (nan,)}, "an offset of stampers must be a number"),
    ({"clock_steps": ((-1, 5),)}, "the moment of a step of clock_steps must be a number"),
    ({"clock_steps": ((1, inf),)}, "a step of clock_steps must be a number"),
    ({"unstamped": 1.5}, "unstamped must be a number of at least 0 and at most 1, not 1.5"),
]


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_what_no_database_does_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{text}"):
        Database(**given)
