"""One simulated list: its order, its writes, and the history of its rows."""

from random import Random
from typing import Any

import msgspec
import pytest

from dp_async import ConfigError
from dp_async.testing import Endpoint, SimulatedList

NOW = 1_700_000_000.75


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def works(clock: Clock) -> SimulatedList:
    return SimulatedList("work_list", 107, clock=clock)


def rows_of(content: list[msgspec.Raw]) -> list[dict[str, object]]:
    return [msgspec.json.decode(raw, type=dict[str, object]) for raw in content]


def test_documented_rows_come_first(works: SimulatedList) -> None:
    assert len(works) == 107
    assert works.ids()[:3] == [2478, 2472, 2453]
    assert works.ids()[15:17] == [2437, 2439]
    assert 2478 in works
    assert 1 not in works


def test_fewer_rows_than_documented() -> None:
    assert SimulatedList("msg_list", 2).ids() == [1605, 1602]
    assert SimulatedList("msg_list", 0).ids() == []


def test_rows_are_ordered_by_time_then_id() -> None:
    columns: dict[Endpoint, str] = {"work_list": "updateTime", "msg_list": "createTime"}
    for endpoint, column in columns.items():
        rows = SimulatedList(endpoint, 3000)
        times = [(str(rows.row(key)[column]), -key) for key in rows.ids()]
        assert times == sorted(times, reverse=True)


def test_ascending_keeps_ids_ascending_in_a_second(works: SimulatedList) -> None:
    up = works.ids(ascending=True)
    times = [(str(works.row(key)["updateTime"]), key) for key in up]
    assert times == sorted(times)
    assert up != works.ids()[::-1]


def test_filters(works: SimulatedList) -> None:
    drafts = works.ids(status="DRAFT")
    assert drafts
    assert {works.row(key)["status"] for key in drafts} == {"DRAFT"}
    named = works.ids(name="TTS", status=None)
    assert named
    assert all("TTS" in str(works.row(key)["name"]) for key in named)
    assert works.ids(name="", status=None) == works.ids()
    assert works.ids(status="OTHER") == []
    assert set(works.ids(name="TTS", status="DRAFT")) == set(named) & set(drafts)
    with pytest.raises(ValueError, match="work_list has no filter 'colour', but status or name"):
        works.ids(colour="red")


def test_an_insert_goes_to_the_head(works: SimulatedList, clock: Clock) -> None:
    key = works.insert(name="new", status="DRAFT")
    assert works.ids()[0] == key == max(works.ids())
    row = works.row(key)
    assert row["updateTime"] == row["createTime"] == "2023-11-15 06:13:20"
    assert (row["name"], row["status"]) == ("new", "DRAFT")
    clock.now += 1
    newer = works.insert()
    assert works.ids()[:2] == [newer, key]


def test_an_insert_with_an_id_and_a_time(works: SimulatedList) -> None:
    assert works.insert(digitalPersonWorksId=9999, updateTime=None) == 9999
    assert works.ids()[-1] == 9999
    assert works.insert() == 10000
    for taken in (9999, "x"):
        with pytest.raises(ValueError, match="digitalPersonWorksId must be a new id, not "):
            works.insert(digitalPersonWorksId=taken)


def test_an_update_moves_a_work_to_the_head(works: SimulatedList) -> None:
    works.update(2436, status="SUCCESS")
    assert works.ids()[0] == 2436
    row = works.row(2436)
    assert (row["status"], row["updateTime"]) == ("SUCCESS", "2023-11-15 06:13:20")
    assert row["createTime"] == "2023-07-12 10:52:54"
    content, total = works.read(0, 1, {})
    assert (rows_of(content), total) == ([row], 107)


def test_an_update_leaves_a_message_in_its_place() -> None:
    messages = SimulatedList("msg_list", 30)
    before = messages.ids()
    messages.update(before[9], readStatus="READ")
    assert messages.ids() == before
    assert before[9] in messages.ids(readStatus="READ")


def test_a_delete(works: SimulatedList) -> None:
    before = works.ids()
    works.delete(before[50])
    assert works.ids() == before[:50] + before[51:]


def test_unknown_ids(works: SimulatedList) -> None:
    for use in (works.update, works.update_unstamped, works.delete, works.row):
        with pytest.raises(KeyError, match="work_list has no row 1"):
            use(1)


def test_a_clock_must_be_callable() -> None:
    not_callable: Any = 5
    with pytest.raises(ConfigError, match="clock must be a callable, not 5"):
        SimulatedList("work_list", 1, clock=not_callable)


def test_a_row_is_a_copy(works: SimulatedList) -> None:
    works.row(2478)["name"] = "changed"
    assert works.row(2478)["name"] == "测试OpenApi的作品0712-1"


def test_views_follow_writes_and_are_few(works: SimulatedList) -> None:
    for number in range(40):
        assert works.ids(name=f"row {number}") == []
    key = works.insert(name="row 39")
    assert works.ids(name="row 39") == [
        *works.ids(name="row 1"),
        key,
    ]  # old views are dropped
    works.update(key, name="row 38")
    assert works.ids(name="row 39") == []
    assert works.ids(name="row 38") == [key]
    works.delete(key)
    assert works.ids(name="row 38") == []


def test_read_counts_only_if_the_rows_do_not_end_in_the_page(works: SimulatedList) -> None:
    def grow() -> None:
        works.insert()

    works.between = grow
    assert works.read(0, 50, {})[1] == 108  # counted after the write between
    content, total = works.read(100, 50, {})
    assert (len(content), total) == (8, 108)  # not counted: the rows end within the page
    assert works.read(500, 50, {}) == ([], 110)
    assert works.read(0, 50, {"status": "OTHER"}) == ([], 0)


def test_any_id(works: SimulatedList) -> None:
    assert works.any_id(Random(1)) in works
    assert SimulatedList("msg_list", 0).any_id(Random(1)) is None


def test_present_since(works: SimulatedList) -> None:
    works.insert()  # before the first mark: not in the history
    every = set(works.ids())
    mark = works.mark()
    works.update(2478, status="FAIL")
    works.delete(2472)
    new = works.insert()
    assert works.present_since(mark) == every - {2472}
    later = works.mark()
    assert new in works.present_since(later)
    assert new not in works.present_since(mark)


def test_present_since_with_a_filter(works: SimulatedList) -> None:
    drafts = set(works.ids(status="DRAFT"))
    mark = works.mark()
    left, back, stays = sorted(drafts)[:3]
    works.update(left, status="SUCCESS")
    works.update(back, status="SUCCESS")
    works.update(back, status="DRAFT")
    works.update(stays)
    works.update(2478, status="DRAFT")
    assert works.present_since(mark, status="DRAFT") == drafts - {left, back}
    assert {left, back, stays, 2478} <= works.present_since(mark)


def test_present_since_excludes_a_row_deleted_and_inserted_again(works: SimulatedList) -> None:
    mark = works.mark()
    works.delete(2478)
    works.insert(digitalPersonWorksId=2478)
    assert 2478 in works
    assert 2478 not in works.present_since(mark)


def test_delayed_writes_become_visible_within_the_lateness(clock: Clock) -> None:
    works = SimulatedList("work_list", 30, clock=clock, lateness=2.0)
    seen: dict[int, float] = {}
    written: dict[int, int] = {}
    for _ in range(200):
        written[works.insert()] = int(clock.now)
        for _ in range(4):
            clock.now += 0.125
            for key in works.ids():
                seen.setdefault(key, clock.now)
    clock.now += 2
    for key in works.ids():
        seen.setdefault(key, clock.now)
    delays = [seen[key] - second for key, second in written.items()]
    assert max(delays) <= 2.0 + 0.125
    assert max(delays) > 1.5
    assert [key for key in works.ids() if key in written] != sorted(written)[::-1]
    assert min(delays) < 1.0


def test_delayed_writes_to_one_row_stay_in_order(clock: Clock) -> None:
    works = SimulatedList("work_list", 30, clock=clock, lateness=100.0, seed=3)
    for number in range(20):
        works.update(2478, name=str(number))
    key = works.insert(name="x")
    works.update(key, name="y")
    works.delete(2472)
    with pytest.raises(KeyError):
        works.delete(2472)
    assert works.row(2478)["name"] == "测试OpenApi的作品0712-1"
    assert key not in works
    assert 2472 in works
    names: list[object] = []
    mark = works.mark()
    for _ in range(1000):
        clock.now += 0.1
        names.append(works.row(2478)["name"])
    numbers = [int(str(name)) for name in names if str(name).isdigit()]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 19
    assert works.row(key)["name"] == "y"
    assert 2472 not in works
    assert works.present_since(mark) == set(works.ids()) - {key}


def test_any_id_skips_a_pending_delete(clock: Clock) -> None:
    works = SimulatedList("work_list", 1, clock=clock, lateness=100.0, seed=3)
    works.delete(2478)
    assert works.any_id(Random(1)) is None
    assert works.ids() == [2478]
