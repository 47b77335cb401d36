"""Both lists by dlt into DuckDB and PostgreSQL: what lands, what is gone on from and refused."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import dlt
import msgspec
import pytest

from dp_async import (
    AccountsFailed,
    AuthError,
    Client,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    DecodeError,
    DpError,
    Request,
    Response,
    Send,
    Settings,
    Watermark,
    Work,
)
from dp_async.dlt import Outcome, schema, source
from dp_async.testing import AuthFailure, BadRow, LyingTotals, Simulator
from tests.support.databases import Warehouse, truth

ACCOUNTS = ["19900000001", "19900000002", "19900000003"]


class Sync:
    """Runs the source into a warehouse, each time from nothing but what that holds."""

    def __init__(self, warehouse: Warehouse, simulator: Simulator, folder: Path) -> None:
        self.warehouse = warehouse
        self.simulator = simulator
        self.folder = folder
        self.send: Send = simulator.send
        self.settings: Settings = simulator.settings
        self.runs = 0
        self.outcomes: dict[tuple[str, str], Outcome] = {}

    def pipeline(self) -> dlt.Pipeline:
        to = self.warehouse.to
        self.runs += 1
        if to.startswith("duckdb"):
            destination: Any = dlt.destinations.duckdb(to.removeprefix("duckdb:///"))
        else:
            destination = dlt.destinations.postgres(to)
        return dlt.pipeline(
            "test",
            destination=destination,
            dataset_name=self.warehouse.dataset,
            pipelines_dir=str(self.folder / f"run{self.runs}"),
        )

    def source(self, **options: Any) -> Any:
        self.outcomes = {}
        options.setdefault("on_outcome", self.on_outcome)
        return source(self.settings, client=lambda given: Client(given, send=self.send), **options)

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes[outcome.resource, outcome.account] = outcome

    def __call__(self, **options: Any) -> dict[str, tuple[int, int, int]]:
        """Of each list: how many rows were new, updated and gone."""
        self.pipeline().run(self.source(**options))
        return {one.resource: (one.new, one.updated, one.gone) for one in self.outcomes.values()}

    def agrees(self, account: str = "") -> bool:
        simulator = self.simulator
        lists = {"works": simulator.works, "messages": simulator.messages}
        return all(
            self.warehouse.rows(name, account=account) == truth(rows)
            for name, rows in lists.items()
        )


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(works=330, messages=40)


@pytest.fixture
def sync(warehouse: Warehouse, simulator: Simulator, tmp_path: Path) -> Sync:
    return Sync(warehouse, simulator, tmp_path)


@pytest.fixture
def small(open_warehouse: Callable[[str], Warehouse], simulator: Simulator, tmp_path: Path) -> Sync:
    """Into DuckDB alone: for what no database makes a difference to."""
    return Sync(open_warehouse("duckdb"), simulator, tmp_path)


def cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, DpError):
        error = error.__cause__
    return error


def refused(run: Callable[[], object]) -> DpError:
    """The error of ours that dlt wraps."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # dlt's own, of any kind
        run()
    found = cause(caught.value)
    assert isinstance(found, DpError), found
    return found


# What lands


def test_first_all_then_what_is_new_then_nothing(sync: Sync, simulator: Simulator) -> None:
    assert sync() == {"works": (330, 0, 0), "messages": (40, 0, 0)}
    assert sync.agrees()
    for key in simulator.works.ids()[100:110]:
        simulator.works.update(key, status="FAIL", name="")
    for _ in range(10):
        simulator.works.insert(name="新品发布 \\ \"quoted\", 'and' \n broken")
    simulator.messages.insert()
    before = simulator.served
    assert sync() == {"works": (10, 10, 0), "messages": (1, 0, 0)}
    assert sync.agrees()
    works = [seen for seen in simulator.requests[before:] if seen.endpoint == "workList"]
    assert len(works) <= 3
    assert sync() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert sync.agrees()


def test_what_is_gone_is_marked_and_comes_back(sync: Sync, simulator: Simulator) -> None:
    sync()
    gone = simulator.works.ids()[5:8]
    (back,), _ = simulator.works.read(5, 1, {})
    simulator.works.insert(more="of it")
    for key in gone:
        simulator.works.delete(key)
    assert sync(reconcile=True) == {"works": (1, 0, 3), "messages": (0, 0, 0)}
    assert sync.agrees()
    assert set(sync.warehouse.rows("works", gone=True)) == set(gone)
    simulator.works.insert(**msgspec.json.decode(back))
    assert sync(full=True)["works"] == (0, 1, 0)
    assert sync.agrees()
    assert set(sync.warehouse.rows("works", gone=True)) == set(gone[1:])


def test_a_row_that_is_marked_keeps_all_its_columns(sync: Sync, simulator: Simulator) -> None:
    key = simulator.works.insert(brandNew={"a": [1.5]}, fee="free")
    sync()
    sql = f"SELECT * FROM dp_data.works WHERE digital_person_works_id = {key}"
    (before,) = sync.warehouse.run(sql)
    simulator.works.delete(key)
    sync(reconcile=True)
    (after,) = sync.warehouse.run(sql)
    assert after.pop("gone_at") is not None
    assert before.pop("gone_at") is None
    assert after == before
    assert (after["brand_new"], after["fee"]) == ('{"a":[1.5]}', '"free"')


def test_many_rows_are_marked_in_one_go(
    small: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.dlt._store.IDS_PER_QUERY", 7)
    small()
    for key in simulator.works.ids()[:20]:
        simulator.works.delete(key)
    assert small(reconcile=True)["works"] == (0, 0, 20)
    assert small.agrees()


def test_a_row_whose_time_cannot_be_read_is_not_marked_as_gone(
    small: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    few = Simulator(works=30, messages=3)
    sync = Sync(small.warehouse, few, small.folder)
    keep = CrawlOptions(on_bad_item="keep")
    sync(options=keep)
    few.fail(BadRow(3, "updateTime", "soon"), times=None, endpoint="workList")
    with caplog.at_level(logging.WARNING, "dp_async"):
        assert sync(options=keep, reconcile=True)["works"][2] == 0
    assert sync.outcomes["works", ""].report.complete  # and that row's id is not among its own
    assert "no row of the works is marked as gone: 1 rows could not be read" in caplog.text


def test_nothing_is_marked_without_proof(
    small: Sync, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    small()
    simulator.works.delete(simulator.works.ids()[5])
    simulator.fail(LyingTotals(500), times=None, endpoint="workList")
    with caplog.at_level(logging.WARNING, "dp_async"):
        assert small(reconcile=True)["works"] == (0, 0, 0)
    assert "no row of the works is marked as gone: " in caplog.text
    assert small.warehouse.rows("works", gone=True) == {}
    assert small.outcomes["works", ""].report.complete is False
    simulator.heal()
    assert small(reconcile=True)["works"] == (0, 0, 1)
    assert small.agrees()


def test_a_first_crawl_without_proof_is_gone_over_again(small: Sync, simulator: Simulator) -> None:
    simulator.fail(LyingTotals(500), times=None, endpoint="workList")
    small()
    simulator.heal()
    assert small()["works"] == (0, 0, 0)
    assert small.outcomes["works", ""].report.items == 330


def test_all_again_overwrites_what_somebody_changed(small: Sync, simulator: Simulator) -> None:
    small()
    small()
    small.warehouse.run("UPDATE dp_data.works SET name = 'mine', update_time = NULL")
    small.warehouse.run("DELETE FROM dp_data.messages")
    assert small() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert not small.agrees()
    assert small(full=True) == {"works": (0, 330, 0), "messages": (40, 0, 0)}
    assert small.agrees()


def test_a_row_that_changes_again_within_its_second_is_not_lost(small: Sync) -> None:
    now = [time.time()]
    moving = Simulator(works=30, messages=3, clock=lambda: now[0], tolerance=1e9)
    sync = Sync(small.warehouse, moving, small.folder)
    key = moving.works.insert(name="first")
    sync()
    moving.works.update(key, name="second")
    now[0] += 60
    sync()
    assert sync.agrees()
    assert sync.outcomes["works", ""].report.items == 1
    moving.works.update(key, name="third")
    sync()
    moving.works.update(key, name="fourth")
    now[0] += 60
    sync()
    assert sync.agrees()
    sync()
    assert sync.outcomes["works", ""].report.items == 0


def test_fields_that_are_not_documented_become_columns(sync: Sync, simulator: Simulator) -> None:
    simulator.works.insert(brandNew={"nested": [1.50, None]}, account="theirs", empty=None)
    simulator.works.insert(brandNew="text", **{" ": 1, "brand_new": 7})
    sync()
    names = "brand_new, wire_account, wire, wire_brand_new"
    found = sync.warehouse.run(f"SELECT {names} FROM dp_data.works WHERE brand_new IS NOT NULL")
    rows = sorted(tuple(row.values()) for row in found)
    assert rows == [('"text"', None, "1", "7"), ('{"nested":[1.5,null]}', '"theirs"', None, None)]
    assert sync.agrees()
    simulator.works.insert(later=True)
    assert sync()["works"] == (1, 0, 0)
    assert sync.warehouse.run("SELECT later FROM dp_data.works WHERE later IS NOT NULL") == [
        {"later": "true"}
    ]


def test_a_character_that_postgresql_does_not_hold_is_replaced(
    sync: Sync, simulator: Simulator
) -> None:
    key = simulator.works.insert(name="a\0b")
    sync()
    assert sync.warehouse.rows("works")[key][1] == "a\ufffdb"


def test_no_rows_are_no_table(small: Sync, tmp_path: Path) -> None:
    empty = Sync(small.warehouse, Simulator(works=0, messages=1), tmp_path / "empty")
    assert empty() == {"works": (0, 0, 0), "messages": (1, 0, 0)}
    assert empty(reconcile=True) == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert "dp_data.works" not in small.warehouse.tables()
    empty.simulator.works.insert()
    assert empty()["works"] == (1, 0, 0)


def test_pieces_are_of_many_rows(
    small: Sync, monkeypatch: pytest.MonkeyPatch, simulator: Simulator
) -> None:
    monkeypatch.setattr("dp_async.dlt._run.PIECE", 150)
    small.pipeline().activate()
    sizes = [item.num_rows for item in small.source().with_resources("works")]
    assert sizes == [200, 130]


def test_the_columns_are_said() -> None:
    names = schema(Work).names
    assert (names[0], names[-1]) == ("account", "gone_at")


# While it is written to


class Paired:
    """A way to a simulator where the first answer waits until two accounts have asked."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.asking: set[str] = set()
        self.both = asyncio.Event()

    async def __call__(self, request: Request, /) -> Response:
        self.asking.add(request.headers["account"])
        if len(self.asking) > 1:
            self.both.set()
        await asyncio.wait_for(self.both.wait(), 10)
        return await self.simulator.send(request)


class Written:
    """A way to a simulator where every answer comes after some writes."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.random = random.Random(1)
        self.writes = 0

    async def __call__(self, request: Request, /) -> Response:
        for rows in (self.simulator.works, self.simulator.messages):
            rows.insert()
            if (key := rows.any_id(self.random)) is not None:
                rows.update(key, **rows.kind.changed(self.random))
            if (key := rows.any_id(self.random)) is not None:
                rows.delete(key)
            self.writes += 3
        return await self.simulator.send(request)


def test_written_to_all_the_time_then_quiet_it_agrees(sync: Sync, simulator: Simulator) -> None:
    written = Written(simulator)
    sync.send = written
    sync()
    sync()
    assert written.writes > 60
    sync.send = simulator.send
    sync()
    works = truth(simulator.works)
    held = sync.warehouse.rows("works")
    assert {key: held[key] for key in works} == works
    sync(reconcile=True)
    assert sync.agrees()


# Many accounts


def test_many_accounts_side_by_side(small: Sync, simulator: Simulator) -> None:
    heard: list[tuple[str, str, int]] = []

    def progress(resource: str, account: str, report: CrawlReport) -> None:
        heard.append((resource, account, report.items))

    small(accounts=[*ACCOUNTS, ACCOUNTS[0]], progress=progress, at_once=2)
    assert {account for _, account in small.outcomes} == set(ACCOUNTS)
    assert all(small.agrees(account) for account in ACCOUNTS)
    assert ("works", ACCOUNTS[2], 330) in heard
    assert small.warehouse.rows("works", account="") == {}
    small(accounts=ACCOUNTS)
    assert {one.report.items for one in small.outcomes.values()} == {0}


def test_accounts_are_asked_for_at_once(small: Sync, simulator: Simulator) -> None:
    small.send = Paired(simulator)
    small.pipeline().run(small.source(accounts=ACCOUNTS[:2]).with_resources("works"))
    assert [one.error for one in small.outcomes.values()] == [None, None]


def test_an_account_that_fails_stops_no_other(small: Sync, simulator: Simulator) -> None:
    some = Simulator(works=30, messages=3, accounts=ACCOUNTS[:2])
    trial = Sync(small.warehouse, some, small.folder)
    trial(accounts=ACCOUNTS)
    error = trial.outcomes["works", ACCOUNTS[2]].error
    assert isinstance(error, AuthError)
    assert trial.agrees(ACCOUNTS[0])
    assert trial.agrees(ACCOUNTS[1])


def test_unless_somebody_hears_of_it_then_nothing_is_loaded(small: Sync) -> None:
    some = Simulator(works=30, messages=3, accounts=ACCOUNTS[:2])
    trial = Sync(small.warehouse, some, small.folder)
    error = refused(lambda: trial(accounts=ACCOUNTS, on_outcome=None))
    assert isinstance(error, AccountsFailed)
    assert list(error.errors) == ACCOUNTS[2:]
    assert ACCOUNTS[2] not in str(error)
    assert not small.warehouse.tables() & {"dp_data.works", "dp_data.messages"}


def test_one_account_that_fails_is_its_error(small: Sync, simulator: Simulator) -> None:
    simulator.fail(AuthFailure(), times=None, endpoint="msgList")
    assert isinstance(refused(lambda: small(on_outcome=None)), AuthError)
    simulator.heal()
    assert small(on_outcome=None) == {}
    assert small.agrees()


def test_what_came_before_an_error_lands_and_comes_again(small: Sync, simulator: Simulator) -> None:
    simulator.fail(AuthFailure(), times=None, endpoint="workList", page=3)
    assert small()["works"][0] >= 100
    assert small.outcomes["works", ""].error is not None
    simulator.heal()
    small()
    assert small.outcomes["works", ""].report.items == 330
    assert small.agrees()


# What was loaded is what it goes on from


@pytest.mark.parametrize("step", ["extract", "normalize"])
def test_what_was_not_loaded_comes_again(small: Sync, simulator: Simulator, step: str) -> None:
    small()
    simulator.works.insert()
    pipeline = small.pipeline()
    pipeline.sync_destination()
    pipeline.extract(small.source())
    if step == "normalize":
        pipeline.normalize()
    # Here it ends, and its working files are lost.
    assert small()["works"] == (1, 0, 0)
    assert small.agrees()


def test_a_pipeline_with_files_of_its_own_loads_what_is_left_first(
    small: Sync, simulator: Simulator
) -> None:
    pipeline = small.pipeline()
    pipeline.extract(small.source())
    simulator.works.insert()
    pipeline.run(small.source())
    pipeline.run(small.source())
    assert small.agrees()


def test_it_keeps_no_more_of_a_list_than_how_far_it_is_known(small: Sync) -> None:
    small()
    small()
    pipeline = small.pipeline()
    pipeline.sync_destination()
    state: Any = pipeline.state
    marks = state["sources"]["dp_async"]["resources"]["works"]["watermarks"]
    assert list(marks) == [""]
    assert Watermark.from_json(marks[""])
    assert "simulated-secret" not in str(state)


# What is refused


def test_a_watermark_of_another_list_is_refused_before_any_request(
    small: Sync, simulator: Simulator
) -> None:
    small()
    before = simulator.served
    small.settings = Settings(base_url=simulator.url, app_id="another", app_secret="s")
    error = refused(small)
    assert isinstance(error, ConfigError)
    assert "the watermark is of another list" in str(error)
    assert simulator.served == before
    assert small.agrees()


SHAPES = {
    "it has no column account": "digital_person_works_id BIGINT, name VARCHAR",
    "its column account is integer": "account INTEGER, digital_person_works_id BIGINT",
    "it has no column gone_at": "account VARCHAR, digital_person_works_id BIGINT",
    "its column status is integer": (
        "account VARCHAR, digital_person_works_id BIGINT, gone_at TIMESTAMPTZ, status INTEGER"
    ),
}


@pytest.mark.parametrize("problem", SHAPES)
def test_a_table_of_another_shape_is_refused_before_any_request(
    sync: Sync, simulator: Simulator, problem: str
) -> None:
    sync.warehouse.run("CREATE SCHEMA dp_data")
    sync.warehouse.run(f"CREATE TABLE dp_data.works ({SHAPES[problem]})")
    error = refused(lambda: sync.pipeline().run(sync.source().with_resources("works")))
    assert isinstance(error, ConfigError)
    text = f"the table dp_data.works has another shape: {problem}; use another dataset"
    assert str(error).startswith(text)
    assert simulator.served == 0
    assert sync.warehouse.tables() == {"dp_data.works"}


def test_an_account_that_cannot_be_sent_is_refused_at_once(simulator: Simulator) -> None:
    with pytest.raises(ConfigError):
        source(simulator.settings, accounts=["1\n2"])
    with pytest.raises(ConfigError, match="accounts is empty"):
        source(simulator.settings, accounts=[])
    for single in (ACCOUNTS[0], b"1", 5):
        with pytest.raises(ConfigError, match="not a single one"):
            source(simulator.settings, accounts=cast("Any", single))
    for blank in ("", "  ", None, 5):
        with pytest.raises(ConfigError, match=r"accounts\[1\] must be an account"):
            source(simulator.settings, accounts=cast("Any", [ACCOUNTS[0], blank]))
    for at_once in (0, "4", True, 1.5):
        with pytest.raises(ConfigError, match="at_once must be a whole number, 1 or more"):
            source(simulator.settings, accounts=ACCOUNTS, at_once=cast("Any", at_once))


@pytest.mark.parametrize("more", [{}, {"brandNew": 1}])
def test_a_row_that_is_not_as_documented_is_an_error(
    small: Sync, simulator: Simulator, more: dict[str, object]
) -> None:
    simulator.works.insert(duration="long", **more)
    error = refused(lambda: small(on_outcome=None))
    assert isinstance(error, DecodeError)
    assert "Work: Expected `float | null`, got `str` - at `$[0].duration`" in str(error)


@pytest.mark.parametrize("missing", ["dlt", "pyarrow"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("dp_async.dlt", "dp_async.arrow"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[dlt\]'"):
        importlib.import_module("dp_async.dlt")


def test_the_package_loads_no_dlt() -> None:
    code = "import sys, dp_async; assert 'dlt' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
