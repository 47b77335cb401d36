"""Both lists into Delta tables: what is loaded, marked, continued and refused.

The tables are read back by DuckDB, from the files that the log names.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

import dp_async.delta
from dp_async import (
    AuthError,
    Client,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    Request,
    Response,
    Send,
    Settings,
)
from dp_async.delta import LoadFailed
from dp_async.delta._marks import Mark, Marks
from dp_async.delta._place import Place
from dp_async.delta._spool import Spool
from dp_async.delta._table import Table
from dp_async.tables import Outcome, column_name
from dp_async.testing import AuthFailure, LyingTotals, Simulator
from tests.support.databases import truth
from tests.support.lake import Lake

START = 1_700_000_000.0
ACCOUNTS = ["19900000001", "19900000002", "19900000003"]


class Clock:
    """The simulator's clock; it moves only when a test sets it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Sync:
    """Runs the sync into a lake."""

    def __init__(self, lake: Lake, simulator: Simulator) -> None:
        self.lake = lake
        self.simulator = simulator
        self.send: Send = simulator.send
        self.settings: Settings = simulator.in_process_settings
        self.outcomes: dict[tuple[str, str], Outcome] = {}

    async def load(
        self, accounts: list[str] | None = None, **options: Any
    ) -> dict[str, tuple[int, int, int]]:
        """Sync once; of each list how many rows were new, updated and gone."""
        self.outcomes = {}
        found: dict[str, tuple[int, int, int]] = {}
        async with Client(self.settings, send=self.send) as client:
            async for one in dp_async.delta.sync(client, accounts, self.lake.to, **options):
                self.outcomes[one.resource, one.account] = one
                new, updated, gone = found.get(one.resource, (0, 0, 0))
                found[one.resource] = (new + one.new, updated + one.updated, gone + one.gone)
        return found

    def agrees(self, *accounts: str) -> bool:
        simulator = self.simulator
        lists = {"works": simulator.works, "messages": simulator.messages}
        return all(
            self.lake.rows(name, account=account) == truth(rows)
            for name, rows in lists.items()
            for account in accounts or ("",)
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def simulated(clock: Clock) -> Simulator:
    """A simulator with some undocumented fields, the same each time."""
    simulator = Simulator(works=230, messages=40, clock=clock, tolerance=1e12)
    simulator.works.insert(brandNew={"nested": [1.50, None]}, account="theirs", empty=None)
    simulator.works.insert(brandNew="text", **{" ": 1, "brand_new": 7, "select": "word"})
    simulator.works.insert(name="a\0b 新品 \\ \"quoted\", 'and' \n broken", appId="theirs")
    return simulator


@pytest.fixture
def simulator(clock: Clock) -> Simulator:
    return simulated(clock)


@pytest.fixture
def sync(tmp_path: Path, simulator: Simulator) -> Sync:
    """Into an empty folder."""
    return Sync(Lake(str(tmp_path / "lake")), simulator)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A first run; not to be changed."""
    folder = str(tmp_path_factory.mktemp("first") / "lake")
    asyncio.run(cast("Any", Sync(Lake(folder), simulated(Clock())).load()))
    return folder


@pytest.fixture
def later(first_run: str, sync: Sync, clock: Clock) -> Sync:
    """A copy of the first run, some time later."""
    shutil.copytree(first_run, sync.lake.to)
    clock.now += 60
    return sync


# What is loaded


async def test_the_first_run_loads_all_rows_in_one_commit_a_table(sync: Sync) -> None:
    assert await sync.load() == {"works": (233, 0, 0), "messages": (40, 0, 0)}
    assert sync.agrees()
    assert sync.lake.versions() == {"works": 1, "messages": 1, "watermarks": 2}
    apps = sync.lake.run("SELECT DISTINCT app_id FROM dp_data.works")
    assert apps == [{"app_id": sync.settings.app_id}]


async def test_a_later_run_loads_only_what_changed(later: Sync, simulator: Simulator) -> None:
    for key in simulator.works.ids()[100:110]:
        simulator.works.update(key, status="FAIL", name="")
    for _ in range(9):
        simulator.works.insert()
    simulator.works.insert(later=True)  # a new column
    simulator.messages.insert()
    before = len(simulator.requests)
    assert await later.load() == {"works": (10, 10, 0), "messages": (1, 0, 0)}
    assert later.agrees()
    assert len(simulator.requests) - before <= 4
    found = later.lake.run("SELECT later FROM dp_data.works WHERE later IS NOT NULL")
    assert found == [{"later": "true"}]
    assert await later.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    versions = later.lake.versions()
    assert await later.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert later.lake.versions() == versions  # nothing changed, so nothing is committed


async def test_each_table_is_opened_once_where_nothing_changed(
    later: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open a table is to read its log, which most of a quiet night of many apps would be."""
    await later.load()
    opened: list[str] = []
    load = Table.open

    def noted(self: Table) -> DeltaTable:
        table = load(self)
        opened.append(Path(table.table_uri).name)
        return table

    monkeypatch.setattr(Table, "open", noted)
    assert await later.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert sorted(opened) == ["messages", "watermarks", "works"]


def test_the_log_of_a_table_is_summed_up_every_ten_commits(tmp_path: Path) -> None:
    marks = Marks(Place(str(tmp_path)))
    marks.make()
    for number in range(10):
        marks.write("app", "works", {f"{number}": Mark("text")})
    assert list((tmp_path / "watermarks" / "_delta_log").glob("*.checkpoint.parquet"))
    assert len(marks.read("app", ["0", "9"])["works"]) == 2


async def test_undocumented_fields_become_columns(later: Sync, simulator: Simulator) -> None:
    names = [column_name(name) for name in ("brandNew", "account", " ", "brand_new", "appId")]
    sql = f"SELECT {', '.join(names)} FROM dp_data.works WHERE update_time >= '2023-11-14'"
    rows = sorted((tuple(row.values()) for row in later.lake.run(sql)), key=str)
    assert rows == [
        ('"text"', None, "1", "7", None),
        ('{"nested":[1.5,null]}', '"theirs"', None, None, None),
        (None, None, None, None, '"theirs"'),
    ]
    (found,) = later.lake.run(
        f"SELECT digital_person_works_id AS id FROM dp_data.works WHERE {names[4]} IS NOT NULL"
    )
    simulator.works.update(found["id"], appId=None)

    async def send(request: Request, /) -> Response:
        answer = await simulator.send(request)
        return replace(answer, body=re.sub(rb',"appId":null', b"", answer.body))

    later.send = send
    await later.load()  # a field that is no longer sent is null again
    assert later.lake.run(f"SELECT count({names[4]}) AS n FROM dp_data.works") == [{"n": 0}]


async def test_all_accounts_have_rows_of_their_own(sync: Sync) -> None:
    given = [*ACCOUNTS, ACCOUNTS[0]]  # given twice, crawled once
    assert await sync.load(given) == {"works": (699, 0, 0), "messages": (120, 0, 0)}
    assert sync.agrees(*ACCOUNTS)
    assert len(sync.outcomes) == 6
    assert sync.lake.versions() == {"works": 1, "messages": 1, "watermarks": 2}


async def test_polars_reads_the_tables(sync: Sync) -> None:
    pl = pytest.importorskip("polars", reason="needs polars")
    await sync.load(ACCOUNTS[:2])
    works = pl.scan_delta(f"{sync.lake.to}/works")
    found = (
        works.filter(pl.col("account") == ACCOUNTS[1])
        .select("digital_person_works_id", "name", "gone_at")
        .collect()
    )
    read = {row["digital_person_works_id"]: row["name"] for row in found.to_dicts()}
    assert len(read) == found.height == 233
    assert read == {number: row[1] for number, row in truth(sync.simulator.works).items()}
    assert found["gone_at"].null_count() == 233


async def test_many_rows_are_committed_in_parts(
    sync: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.tables._reading.PIECE", 100)
    monkeypatch.setattr("dp_async.delta._round.ROWS", 150)
    monkeypatch.setattr("dp_async.delta._round.WAITING", 150)
    monkeypatch.setattr("dp_async.delta._comparison.PIECE", 50)
    assert await sync.load(ACCOUNTS, at_once=1) == {"works": (699, 0, 0), "messages": (120, 0, 0)}
    assert sync.agrees(*ACCOUNTS)
    assert sync.lake.versions()["works"] == 6
    for key in simulator.works.ids()[:200]:
        simulator.works.delete(key)
    found = await sync.load(ACCOUNTS, reconcile=True, at_once=2)
    assert found == {"works": (0, 0, 600), "messages": (0, 0, 0)}
    assert sync.agrees(*ACCOUNTS)


async def test_many_rows_are_merged_window_after_window(
    sync: Sync, simulator: Simulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.delta._windows.ROWS", 100)
    monkeypatch.setattr("dp_async.delta._table.SAMPLE", 50)
    predicates: list[str] = []
    plain = DeltaTable.merge

    def merge(table: DeltaTable, source: Any, predicate: str, **options: Any) -> Any:
        predicates.append(predicate)
        return plain(table, source, predicate, **options)

    monkeypatch.setattr(DeltaTable, "merge", merge)
    assert await sync.load(ACCOUNTS[:2]) == {"works": (466, 0, 0), "messages": (80, 0, 0)}
    assert sync.agrees(*ACCOUNTS[:2])
    assert sync.lake.versions()["works"] == 6  # three of each account
    account = f"t.account = '{ACCOUNTS[1]}' AND t.digital_person_works_id"
    assert sum(f"{account} <" in one for one in predicates) == 2
    files = {*sync.lake.table("works").file_uris()}
    clock.now += 60
    simulator.works.update(simulator.works.ids()[100], status="FAIL")
    simulator.works.insert()
    assert (await sync.load(ACCOUNTS[:2]))["works"] == (2, 2, 0)
    assert sync.agrees(*ACCOUNTS[:2])
    assert len(files & {*sync.lake.table("works").file_uris()}) >= len(files) // 2
    simulator.works.delete(simulator.works.ids()[200])
    assert (await sync.load(ACCOUNTS[:2], reconcile=True))["works"] == (0, 0, 2)
    assert sync.agrees(*ACCOUNTS[:2])


async def test_a_file_without_statistics_may_have_any_key(
    sync: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync.load()
    actions = pa.table(cast("Any", sync.lake.table("works").get_add_actions(flatten=True)))
    names = [name for name in actions.schema.names if not name.startswith("min.")]

    def without_statistics(*_: object, flatten: bool) -> pa.Table:
        return actions.select(names)

    monkeypatch.setattr(DeltaTable, "get_add_actions", without_statistics)
    simulator.works.insert()
    assert (await sync.load(full=True))["works"] == (1, 0, 0)
    assert sync.agrees()


async def test_reconcile_marks_rows_that_are_gone_and_keeps_their_columns(
    later: Sync, simulator: Simulator
) -> None:
    gone = simulator.works.ids()[:5]
    sql = "SELECT * FROM dp_data.works WHERE brand_new IS NOT NULL ORDER BY brand_new"
    before = later.lake.run(sql)
    for key in gone:
        simulator.works.delete(key)
    simulator.works.insert()
    assert await later.load(reconcile=True) == {"works": (1, 0, 5), "messages": (0, 0, 0)}
    assert later.agrees()
    assert set(later.lake.rows("works", gone=True)) == set(gone)
    after = later.lake.run(sql)
    assert [row.pop("gone_at") for row in before] == [None, None]
    assert None not in [row.pop("gone_at") for row in after]
    assert after == before
    assert await later.load(reconcile=True) == {"works": (0, 0, 0), "messages": (0, 0, 0)}


async def test_rows_that_come_back_are_not_gone(later: Sync, simulator: Simulator) -> None:
    table = later.lake.table("works")
    row = f"digital_person_works_id = {simulator.works.ids()[9]}"
    table.update(updates={"gone_at": "update_time"}, predicate=row)
    assert await later.load(full=True) == {"works": (0, 1, 0), "messages": (0, 0, 0)}
    assert later.agrees()


async def test_nothing_is_marked_as_gone_without_a_proof(
    later: Sync, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.works.delete(simulator.works.ids()[0])
    simulator.fail(LyingTotals(500), times=None, endpoint="work_list")
    with caplog.at_level(logging.WARNING, "dp_async"):
        found = await later.load(reconcile=True)
    assert found["works"][2] == 0
    assert "no row of the works is marked as gone" in caplog.text


async def test_rows_at_the_edges_of_their_types_survive_a_round_trip(
    tmp_path: Path, clock: Clock
) -> None:
    app_id = "it's/an%20app"
    simulator = Simulator(works=0, messages=0, clock=clock, tolerance=1e12, app_id=app_id)
    edges: list[dict[str, object]] = [
        {
            "digitalPersonWorksId": 2**63 - 1,
            "userId": 2**63 - 1,
            "duration": 1.7976931348623157e308,
            "updateTime": "9999-12-31 23:59:59",
            "name": "长" * 100_000,
            "huge": 10**300,
            **{name: name for name in ("", "select", "😀", "A" * 200, "app_id", "appId", "AppId")},
        },
        {
            "digitalPersonWorksId": -(2**63),
            "duration": 5e-324,
            "updateTime": "2024-01-01 00:00:00",
            "fee": 2**80,
        },
        {"digitalPersonWorksId": 0, "duration": None, "updateTime": "0001-01-01 00:00:00"},
    ]
    for row in reversed(edges):
        simulator.works.insert(**row)
    sync = Sync(Lake(str(tmp_path / "lake")), simulator)
    assert (await sync.load())["works"] == (3, 0, 0)
    found = sync.lake.run("SELECT * FROM dp_data.works ORDER BY digital_person_works_id DESC")
    assert [row["digital_person_works_id"] for row in found] == [2**63 - 1, 0, -(2**63)]
    assert [row["duration"] for row in found] == [1.7976931348623157e308, None, 5e-324]
    assert found[0]["name"] == "长" * 100_000
    assert {found[0][column_name(name)] for name in ("app_id", "appId", "AppId")} == {
        '"app_id"',
        '"appId"',
        '"AppId"',
    }
    assert {row["app_id"] for row in found} == {app_id}
    assert (await sync.load(full=True))["works"] == (0, 0, 0)  # read back, nothing differs


# Errors of accounts and rows


async def test_an_account_that_fails_stops_no_other(sync: Sync, simulator: Simulator) -> None:
    simulator.fail(AuthFailure(), times=None, endpoint="work_list", page=3)
    found = await sync.load()
    outcome = sync.outcomes["works", ""]
    assert isinstance(outcome.error, AuthError)
    assert 0 < outcome.new < 233
    assert found["messages"] == (40, 0, 0)
    assert len(sync.lake.rows("works")) == outcome.new
    assert (await sync.load(reconcile=True))["works"][2] == 0  # its crawl proves nothing
    simulator.heal()
    assert (await sync.load())["works"] == (233 - outcome.new, 0, 0)
    assert sync.agrees()


async def test_bad_rows_are_kept_apart(sync: Sync, simulator: Simulator) -> None:
    key = simulator.works.ids()[5]
    simulator.works.update(key, duration="long")
    await sync.load()
    assert isinstance(sync.outcomes["works", ""].error, DecodeError)
    options = CrawlOptions(on_bad_item="keep")
    await sync.load(options=options)
    outcome = sync.outcomes["works", ""]
    assert [bad.id for bad in outcome.bad_items] == [key]
    assert outcome.report.bad_items == 1
    assert key not in sync.lake.rows("works")
    assert len(sync.lake.rows("works")) == 232
    simulator.works.update(key, duration=1.0)
    await sync.load()
    simulator.works.update(key, duration="long")  # it is there, and can no longer be read
    assert (await sync.load(options=options, reconcile=True))["works"] == (0, 0, 0)
    assert key in sync.lake.rows("works")


async def test_progress_is_called_and_its_exception_ends_the_sync(sync: Sync) -> None:
    seen: list[tuple[str, str, int]] = []

    def progress(resource: str, account: str, report: CrawlReport) -> None:
        seen.append((resource, account, report.items))

    await sync.load(progress=progress)
    assert seen[0][:2] == ("works", "")
    assert ("works", "", 233) in seen

    def broken(*given: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sync.load(ACCOUNTS, progress=broken, full=True)


# Two syncs, and stops


async def test_two_syncs_of_one_app_leave_no_older_version(
    later: Sync, simulator: Simulator
) -> None:
    """The first reads a row, which then changes within the same second; the second loads that."""
    other = Sync(later.lake, simulator)
    key = simulator.works.ids()[3]
    simulator.works.update(key, name="older")
    meanwhile = [True]

    async def send(request: Request, /) -> Response:
        answer = await simulator.send(request)
        if meanwhile and request.endpoint == "work_list":
            meanwhile.clear()
            simulator.works.update(key, name="newer")
            simulator.works.insert()
            assert (await other.load())["works"] == (1, 1, 0)
        return answer

    later.send = send
    await later.load()
    assert later.agrees()
    assert await later.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert later.agrees()


async def test_a_sync_that_others_always_overtake_gives_up(
    sync: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.delta._load.ATTEMPTS", 2)
    monkeypatch.setattr("dp_async.delta._load.MAX_BACKOFF", 0.0)
    other = Sync(sync.lake, simulator)

    async def send(request: Request, /) -> Response:
        answer = await simulator.send(request)
        if request.endpoint == "msg_list":
            await other.load(full=True)
        return answer

    sync.send = send
    with pytest.raises(LoadFailed, match="another sync of this app committed 2 times"):
        await sync.load(full=True)
    assert sync.agrees()


async def test_a_conflict_with_another_writer_is_merged_again(
    later: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner compacts the files while a merge goes on."""
    merged: Callable[..., None] = vars(Table)["_merged"]
    conflicts = [1]

    def compacting(table: Table, opened: DeltaTable, *given: Any) -> None:
        if conflicts:
            conflicts.clear()
            DeltaTable(opened.table_uri).delete("digital_person_works_id = 0 OR name = 'x'")
            write_deltalake(
                opened.table_uri,
                DeltaTable(opened.table_uri).to_pyarrow_table(),
                mode="overwrite",
                commit_properties=CommitProperties(),
            )
        merged(table, opened, *given)

    monkeypatch.setattr(Table, "_merged", compacting)
    simulator.works.insert()
    assert (await later.load())["works"] == (1, 0, 0)
    assert later.agrees()

    def conflicting(*given: object) -> None:
        raise CommitFailedError("taken")

    monkeypatch.setattr(Table, "_merged", conflicting)
    simulator.works.insert()
    with pytest.raises(LoadFailed, match="other writers changed the rows of this app 20 times"):
        await later.load()


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_sync_stopped_between_the_rows_and_the_watermarks_is_repeated(
    later: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    write = Marks.write

    def stop(*given: Any) -> None:
        if place == "after":
            write(*given)
        raise KeyboardInterrupt

    simulator.works.insert()
    simulator.works.update(simulator.works.ids()[7], name="changed")
    with monkeypatch.context() as patch:
        patch.setattr("dp_async.delta._marks.Marks.write", stop)
        with pytest.raises(KeyboardInterrupt):
            await later.load()
    assert len(later.lake.rows("works")) == 234
    assert (await later.load())["works"] == (0, 0, 0)
    assert later.agrees()


async def test_a_table_that_another_sync_makes_at_once_is_taken(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = DeltaTable.create
    fails = iter([True, True, True, False])  # the last one: no table is made

    def create_late(*given: Any, **options: Any) -> DeltaTable:
        if next(fails):
            create(*given, **options)
        raise CommitFailedError("protocol changed")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create", create_late)
        assert (await sync.load())["works"] == (233, 0, 0)
        with pytest.raises(LoadFailed, match=r"watermarks: protocol changed$"):
            await Sync(Lake(f"{sync.lake.to}/other"), sync.simulator).load()
    assert sync.agrees()


async def test_leaving_the_loop_leaves_nothing_open(sync: Sync) -> None:
    async with Client(sync.settings, send=sync.send) as client:
        outcomes: AsyncGenerator[Outcome, None] = dp_async.delta.sync(client, None, sync.lake.to)
        assert (await anext(outcomes)).resource == "works"
        await outcomes.aclose()
    assert len(sync.lake.rows("works")) == 233
    assert sync.lake.versions()["messages"] == 0


def test_a_spool_gives_back_tables_of_different_columns() -> None:
    """deltalake reads it in a thread of its own."""
    a: pa.Field[Any] = pa.field("a", pa.int64())
    b: pa.Field[Any] = pa.field("b", pa.string())
    wide = pa.schema([a, b])
    with Spool(pa.schema([a])) as spool:
        for _ in range(2):
            spool.add(pa.table({"a": [1, 2]}))
            spool.add(pa.table({"b": ["x"], "a": [3]}))
            assert spool.rows == 3
            assert spool.columns == wide
            for _ in range(2):
                found = spool.reader(wide).read_all()
                assert found.to_pydict() == {"a": [1, 2, 3], "b": [None, None, "x"]}
            spool.clear()
            assert spool.reader(spool.columns).read_all().num_rows == 0


# The tables and the watermarks disagree


@pytest.mark.parametrize("lost", ["row", "rows", "table", "column"])
async def test_what_the_table_lacks_is_loaded_again(
    later: Sync, simulator: Simulator, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    works = later.lake.table("works")
    if lost == "row":
        newest = max(later.lake.rows("works"))
        works.delete(f"digital_person_works_id = {newest}")
    elif lost == "rows":
        works.delete()
    elif lost == "table":
        shutil.rmtree(f"{later.lake.to}/works")
    else:
        rows = works.to_pyarrow_table().drop_columns(["name"])
        write_deltalake(works, rows, mode="overwrite", schema_mode="overwrite")
    with caplog.at_level(logging.WARNING, "dp_async"):
        await later.load()
    assert later.outcomes["works", ""].reloaded
    assert not later.outcomes["messages", ""].reloaded
    assert "the table lacks rows that were loaded" in caplog.text
    assert later.agrees()
    await later.load()
    assert not later.outcomes["works", ""].reloaded


async def test_a_damaged_watermark_is_as_none(
    later: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    later.lake.table("watermarks").update(
        updates={"watermark": "'{}'"}, predicate="resource = 'works'"
    )
    with caplog.at_level(logging.WARNING, "dp_async"):
        await later.load()
    assert later.outcomes["works", ""].reloaded
    assert "of another version, or damaged" in caplog.text
    assert later.agrees()


async def test_a_watermark_of_another_list_is_refused_before_any_request(
    later: Sync, simulator: Simulator
) -> None:
    served = simulator.served
    later.settings = Settings(
        base_url="https://elsewhere", app_id=later.settings.app_id, app_secret="other"
    )
    with pytest.raises(ConfigError, match="the watermark is of another list"):
        await later.load()
    assert simulator.served == served


# What is refused


async def refused(sync: Sync, **options: Any) -> str:
    """The text of the ConfigError; nothing was requested."""
    served = sync.simulator.served
    with pytest.raises(ConfigError) as caught:
        await sync.load(**options)
    assert sync.simulator.served == served
    return str(caught.value)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"accounts": []}, "accounts is empty"),
    ({"accounts": "19900000001"}, "accounts needs a list"),
    ({"accounts": 7}, "accounts needs a list"),
    ({"accounts": ["1", " "]}, r"accounts\[1\] must be an account"),
    ({"accounts": ["a\nb"]}, "account must be printable"),
    ({"at_once": 0}, "at_once must be a whole number"),
    ({"at_once": True}, "at_once must be a whole number"),
    ({"allowed_lateness": -1}, "allowed_lateness"),
    ({"storage_options": {"a": 1}}, "storage_options must be a dict of texts"),
    ({"storage_options": 5}, "storage_options must be a dict of texts"),
    ({"progress": lambda: None, "at_once": 1.5}, "at_once must be a whole number"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
async def test_bad_arguments_are_refused(sync: Sync, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await sync.load(**options)
    assert sync.simulator.served == 0


async def test_what_is_no_client_or_no_plain_function_is_refused(sync: Sync) -> None:
    client: Any = sync.settings
    with pytest.raises(ConfigError, match="client must be a Client, not Settings"):
        dp_async.delta.sync(client, None, "folder")

    async def progress(*given: object) -> None: ...

    for given in (progress, 5):
        assert "progress must be a plain function" in await refused(sync, progress=given)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://bucket/prefix", "gs:// is not supported"),
        ("duckdb:///file", "duckdb:// is not supported"),
        ("s3://", "uri must read s3://BUCKET/PREFIX"),
        ("s3://KEY:SECRET@bucket/prefix", "without credentials: they come from"),
        ("", "uri must be a folder"),
        (b"folder", "uri must be a folder"),
        (5, "uri must be a folder"),
        ("a\0b", "uri must be a folder"),
    ],
)
async def test_a_place_that_is_none_is_refused(sync: Sync, uri: Any, message: str) -> None:
    sync.lake = Lake(uri)
    text = await refused(sync)
    assert message in text
    assert "SECRET" not in text


async def test_a_folder_that_holds_something_else_is_refused(sync: Sync, tmp_path: Path) -> None:
    folder = Path(sync.lake.to)
    (folder / "works").mkdir(parents=True)
    (folder / "works" / "mine.txt").touch()
    assert "works is no Delta table: move it away" in await refused(sync)
    (folder / "works" / "mine.txt").unlink()
    (folder / "works").rmdir()
    (folder / "works").touch()
    assert "works is no Delta table" in await refused(sync)
    (folder / "works").unlink()
    (folder / "works").mkdir()  # an empty folder is fine
    await sync.load()
    sync.lake = Lake(f"{folder}/works")
    assert "is a Delta table itself" in await refused(sync)
    (tmp_path / "file").touch()
    sync.lake = Lake(f"{tmp_path}/file")
    assert "is a file" in await refused(sync)


SHAPES: list[tuple[dict[str, pa.DataType], list[str], str]] = [
    ({"x": pa.int64()}, [], "it is not partitioned by app_id"),
    ({"app_id": pa.string(), "x": pa.int64()}, ["app_id"], "it has no column account"),
    (
        {
            "app_id": pa.string(),
            "account": pa.string(),
            "digital_person_works_id": pa.string(),
            "gone_at": pa.timestamp("us", "UTC"),
        },
        ["app_id"],
        "its column digital_person_works_id is string",
    ),
]


@pytest.mark.parametrize(("columns", "partitions", "message"), SHAPES)
async def test_a_table_of_another_shape_is_refused(
    sync: Sync, columns: dict[str, pa.DataType], partitions: list[str], message: str
) -> None:
    DeltaTable.create(f"{sync.lake.to}/works", pa.schema(columns), partition_by=partitions)
    text = await refused(sync)
    assert "has another shape" in text
    assert message in text


async def test_a_table_that_cannot_be_read_fails_with_its_name(later: Sync) -> None:
    log = Path(later.lake.to) / "works" / "_delta_log"
    next(log.glob("*1.json")).write_text("{broken")
    with pytest.raises(LoadFailed, match=r"the table .*works: ") as caught:
        await later.load()
    assert "\n" not in str(caught.value)


async def test_credentials_are_in_no_text(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment")
    long = ""

    def failing(*given: object, **options: object) -> None:
        raise OSError(
            "Generic S3 error\n  \x1b[31m↳\x1b[0m GET http://me:word@host secret-of-the-environment"
            f" open-sesame eu {long}\n ↳ <?xml ?>\n<Error><Code>Denied</Code><Message>No.</Message>"
            "<AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"
        )

    monkeypatch.setattr(DeltaTable, "is_deltatable", failing)
    options = {"AWS_SECRET": "open-sesame", "AWS_REGION": "eu"}
    sync.lake = Lake("s3://bucket/prefix")
    with pytest.raises(LoadFailed) as caught:
        await sync.load(storage_options=options)
    text = str(caught.value)
    assert "open-sesame" not in text
    assert "secret-of" not in text
    assert "s3://bucket/prefix/watermarks" in text
    assert text.endswith("Generic S3 error: GET http://…@host … … eu: Denied: No.")
    long = "x" * 999
    with pytest.raises(LoadFailed) as caught:
        await sync.load(storage_options=options)
    assert len(str(caught.value)) < 500
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_bug_is_no_load_failed(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*given: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(DeltaTable, "is_deltatable", failing)
    with pytest.raises(ZeroDivisionError):
        await sync.load()


@pytest.mark.parametrize("missing", ["deltalake", "pyarrow"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [*sys.modules]:
        # A second dp_async.tables would stay as the package's attribute.
        if name.startswith("dp_async.delta"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[delta\]'"):
        importlib.import_module("dp_async.delta")


def test_public_names_show_the_public_module() -> None:
    for name in dp_async.delta.__all__:
        assert getattr(dp_async.delta, name).__module__ == "dp_async.delta"
