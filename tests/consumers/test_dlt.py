"""The dlt source into DuckDB and PostgreSQL: what is loaded, marked, continued and refused.

Most tests start from a copy of a database that one first run has loaded.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import dlt
import msgspec
import pytest
from msgspec import structs

import dp_async.dlt
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
from dp_async.dlt import source
from dp_async.dlt._store import Store
from dp_async.tables import Outcome, column_name, schema
from dp_async.testing import AuthFailure, BadRow, LyingTotals, Simulator
from tests.support.databases import Warehouse, create, truth

START = 1_700_000_000.0
ACCOUNTS = ["19900000001", "19900000002", "19900000003"]
DATABASES = ["duckdb", pytest.param("postgresql", marks=pytest.mark.slow)]


class Clock:
    """The simulator's clock; it moves only when a test sets it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Sync:
    """Runs the source into a warehouse, each time with nothing but what the warehouse holds."""

    def __init__(self, warehouse: Warehouse, folder: Path, simulator: Simulator) -> None:
        self.warehouse = warehouse
        self.simulator = simulator
        self.folder = folder
        self.send: Send = simulator.send
        self.settings: Settings = simulator.in_process_settings
        self.runs = 0
        self.kept = False  # whether the pipeline's own files are kept from run to run
        self.outcomes: dict[tuple[str, str], Outcome] = {}

    def pipeline(self) -> dlt.Pipeline:
        to = self.warehouse.to
        self.runs += not self.kept
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

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Of each list: how many rows were new, updated and gone."""
        return {one.resource: (one.new, one.updated, one.gone) for one in self.outcomes.values()}

    def load(self, **options: Any) -> dict[str, tuple[int, int, int]]:
        self.pipeline().run(self.source(**options))
        return self.counts()

    def extract(self, **options: Any) -> dict[str, tuple[int, int, int]]:
        """A run that is stopped before it loads anything."""
        pipeline = self.pipeline()
        pipeline.sync_destination()
        pipeline.extract(self.source(**options))
        return self.counts()

    def tables(self, *names: str, **options: Any) -> list[Any]:
        """The tables that the source yields."""
        self.pipeline().activate()
        return list(self.source(**options).with_resources(*(names or ("works", "messages"))))

    def agrees(self, account: str = "") -> bool:
        simulator = self.simulator
        lists = {"works": simulator.works, "messages": simulator.messages}
        return all(
            self.warehouse.rows(name, account=account) == truth(rows)
            for name, rows in lists.items()
        )


def simulated(clock: Clock) -> Simulator:
    """A simulator with some undocumented fields, the same each time."""
    simulator = Simulator(works=230, messages=40, clock=clock, tolerance=1e12)
    simulator.works.insert(brandNew={"nested": [1.50, None]}, account="theirs", empty=None)
    simulator.works.insert(brandNew="text", **{" ": 1, "brand_new": 7, "BRANDNEW": "capitals"})
    simulator.works.insert(name="a\0b 新品 \\ \"quoted\", 'and' \n broken")
    return simulator


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Simulator:
    return simulated(clock)


@pytest.fixture
def empty(open_warehouse: Callable[[str], Warehouse], simulator: Simulator, tmp_path: Path) -> Sync:
    """Into an empty DuckDB file."""
    return Sync(open_warehouse("duckdb"), tmp_path, simulator)


@pytest.fixture(scope="module", params=DATABASES)
def first_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sync:
    """A first run into each kind of database; not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    sync = Sync(create(request.param, folder, request), folder, simulated(Clock()))
    sync.load()
    return sync


Copied: TypeAlias = Callable[[Warehouse], Warehouse]


def kind_of(warehouse: Warehouse) -> str:
    return "duckdb" if warehouse.to.startswith("duckdb") else "postgresql"


@pytest.fixture
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Copied:
    """Copies a database."""
    return lambda given: create(kind_of(given), tmp_path, request, like=given)


@pytest.fixture
def sync(
    first_run: Sync, copied: Copied, tmp_path: Path, simulator: Simulator, clock: Clock
) -> Sync:
    """A copy of the first run, some time later."""
    clock.now += 60
    return Sync(copied(first_run.warehouse), tmp_path, simulator)


def refused(run: Callable[[], object]) -> DpError:
    """The DpError inside the exception that dlt raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # dlt's own, of any kind
        run()
    error: BaseException = caught.value
    while error.__cause__ is not None and not isinstance(error, DpError):
        error = error.__cause__
    assert isinstance(error, DpError), error
    return error


# What is loaded


def test_the_first_run_loads_all_rows(first_run: Sync) -> None:
    assert first_run.counts() == {"works": (233, 0, 0), "messages": (40, 0, 0)}
    assert first_run.agrees()


def test_a_later_run_loads_only_what_changed(sync: Sync, simulator: Simulator) -> None:
    for key in simulator.works.ids()[100:110]:
        simulator.works.update(key, status="FAIL", name="")
    for _ in range(9):
        simulator.works.insert()
    simulator.works.insert(later=True)
    simulator.messages.insert()
    assert sync.load() == {"works": (10, 10, 0), "messages": (1, 0, 0)}
    assert sync.agrees()
    works = [seen for seen in simulator.requests if seen.endpoint == "work_list"]
    assert len(works) <= 3
    found = sync.warehouse.run("SELECT later FROM dp_data.works WHERE later IS NOT NULL")
    assert found == [{"later": "true"}]
    assert sync.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert sync.agrees()


def test_undocumented_fields_become_columns(first_run: Sync) -> None:
    columns = ("brandNew", "account", " ", "brand_new", "BRANDNEW")
    names = ", ".join(map(column_name, columns))
    found = first_run.warehouse.run(
        f"SELECT {names} FROM dp_data.works WHERE brand_new IS NOT NULL"
    )
    rows = sorted(tuple(row.values()) for row in found)
    assert rows == [
        ('"text"', None, "1", "7", '"capitals"'),
        ('{"nested":[1.5,null]}', '"theirs"', None, None, None),
    ]


@pytest.mark.parametrize("piece", [2, 150])
def test_reconcile_marks_rows_that_are_gone_and_keeps_their_columns(
    sync: Sync, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("dp_async.dlt._comparison.PIECE", piece)
    monkeypatch.setattr("dp_async.tables._reading.PIECE", 150)
    monkeypatch.setattr("dp_async.dlt._run.MANY", 200)
    gone = simulator.works.ids()[:5]
    sql = "SELECT * FROM dp_data.works WHERE brand_new IS NOT NULL ORDER BY brand_new"
    before = sync.warehouse.run(sql)
    for key in gone:
        simulator.works.delete(key)
    simulator.works.insert()
    assert sync.load(reconcile=True) == {"works": (1, 0, 5), "messages": (0, 0, 0)}
    assert sync.agrees()
    assert set(sync.warehouse.rows("works", gone=True)) == set(gone)
    after = sync.warehouse.run(sql)
    assert [row.pop("gone_at") for row in before] == [None, None]
    assert None not in [row.pop("gone_at") for row in after]
    assert after == before


#: Rows at the edges of the columns' types, newest first; fields that differ in nothing but case,
#: an accent's form or their end; and names that a database or dlt has itself.
EDGES: list[dict[str, object]] = [
    {
        "digitalPersonWorksId": 2**63 - 1,
        "userId": 2**63 - 1,
        "duration": 1.7976931348623157e308,
        "updateTime": "9999-12-31 23:59:59",
        "createTime": "9999-12-31T23:59:59.999999-12:00",
        "name": "长" * 100_000,
        "huge": 10**300,
    },
    {
        "digitalPersonWorksId": -(2**63),
        "userId": -(2**63),
        "duration": 5e-324,
        "updateTime": "2024-01-01 00:00:00",
        "fee": 2**80,
        "name": "a\0b",
        "nul": "a\0b",
        **{
            name: name for name in ("", "\0", "a\0", "😀", "é", "e\u0301", "select", "xmin", "ctid")
        },
        **{name: name for name in ("A" * 200, "a" * 200, "a" * 199 + "A", "aA", "AA", "Aa", "aa")},
        **{name: name for name in ("_dlt_id", "_dltId", "DltId", "gone_at", "goneAt", "Account")},
    },
    {
        "digitalPersonWorksId": 0,
        "duration": -0.0,
        "updateTime": "0001-01-01 00:00:00",
        "createTime": "0001-01-01T00:00:00+14:00",
    },
]
AS_TEXT = "CAST(update_time AS TEXT) AS u, CAST(create_time AS TEXT) AS c"


def test_rows_at_the_edges_of_their_types_survive_a_round_trip(
    warehouse: Warehouse, tmp_path: Path, clock: Clock
) -> None:
    simulator = Simulator(works=0, messages=0, clock=clock, tolerance=1e12)
    for row in reversed(EDGES):
        simulator.works.insert(**row)
    sync = Sync(warehouse, tmp_path, simulator)
    assert sync.load()["works"] == (3, 0, 0)
    known = {field.encode_name for field in structs.fields(Work)}
    columns = {column_name(name): name for row in EDGES for name in row if name not in known}
    listed = ", ".join(f'"{column}"' for column in columns)
    sql = (
        f"SELECT account, {AS_TEXT}, user_id, duration, name, fee, {listed} FROM dp_data.works"
        " ORDER BY create_time"
    )
    before = warehouse.run(sql)
    for loaded, row in zip(before, (EDGES[2], EDGES[1], EDGES[0]), strict=True):
        assert loaded["duration"] == row["duration"]
        assert loaded["user_id"] == row.get("userId", loaded["user_id"])
        texts = {column: loaded[column] for column in columns if loaded[column] is not None}
        sent = {column: row[name] for column, name in columns.items() if name in row}
        assert {column: msgspec.json.decode(text) for column, text in texts.items()} == sent
    assert [row["u"][:4] for row in before] == ["0001", "2023", "9999"]
    assert (before[1]["fee"], before[1]["name"]) == (str(2**80), "a\ufffdb")
    assert sync.extract(full=True)["works"] == (0, 0, 0)  # read back, no time differs
    for row in EDGES:
        simulator.works.delete(int(str(row["digitalPersonWorksId"])))
    simulator.works.insert(digitalPersonWorksId=5)
    assert sync.load(reconcile=True)["works"] == (1, 0, 3)
    assert warehouse.run(sql.replace("ORDER", "WHERE gone_at IS NOT NULL ORDER")) == before


def test_full_restores_what_was_changed_in_the_database(sync: Sync) -> None:
    older = "WHERE update_time < (SELECT max(update_time) FROM dp_data.{})"
    sync.warehouse.run("UPDATE dp_data.works SET name = 'mine'")
    sync.warehouse.run("UPDATE dp_data.works SET gone_at = TIMESTAMPTZ '2024-01-01 00:00:00Z'")
    sync.warehouse.run(f"UPDATE dp_data.works SET update_time = NULL {older.format('works')}")
    sync.warehouse.run(f"DELETE FROM dp_data.messages {older.format('messages')}")
    (left,) = sync.warehouse.run("SELECT count(*) AS rows FROM dp_data.messages")
    assert sync.extract() == {
        "works": (0, 0, 0),
        "messages": (0, 0, 0),
    }  # the newest rows are there
    missing = 40 - left["rows"]
    assert sync.load(full=True) == {"works": (0, 233, 0), "messages": (missing, 0, 0)}
    assert missing
    assert sync.agrees()


def test_no_row_is_marked_without_proof_or_with_unreadable_rows(
    sync: Sync, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.works.delete(simulator.works.ids()[5])
    simulator.messages.delete(simulator.messages.ids()[5])
    simulator.fail(LyingTotals(500), times=None, endpoint="work_list")
    simulator.fail(BadRow(3, "updateTime", "soon"), times=None, endpoint="msg_list")
    with caplog.at_level(logging.WARNING, "dp_async"):
        counts = sync.extract(reconcile=True, options=CrawlOptions(on_bad_item="keep"))
    assert [gone for _, _, gone in counts.values()] == [0, 1]  # a bad row has an id: it is there
    assert sync.outcomes["works", ""].report.complete is False
    assert sync.outcomes["messages", ""].report.complete is True
    assert sync.outcomes["messages", ""].bad_items
    assert "no row of the works is marked as gone: " in caplog.text
    simulator.heal()
    assert sync.extract(reconcile=True) == {"works": (0, 0, 1), "messages": (0, 0, 1)}


def test_a_list_that_failed_or_is_unproven_is_read_again(empty: Sync, simulator: Simulator) -> None:
    simulator.fail(AuthFailure(), times=None, endpoint="work_list", page=3)
    simulator.fail(LyingTotals(500), times=None, endpoint="msg_list")
    assert empty.load()["works"][0] >= 100
    assert isinstance(empty.outcomes["works", ""].error, AuthError)
    assert empty.outcomes["messages", ""].report.complete is False
    assert len(empty.warehouse.rows("works")) >= 100  # what came before the error is loaded
    simulator.heal()
    empty.extract()
    assert [empty.outcomes[name, ""].report.items for name in ("works", "messages")] == [233, 40]


@pytest.mark.slow
def test_a_row_that_changes_again_within_its_second_is_not_lost(sync: Sync, clock: Clock) -> None:
    simulator = sync.simulator
    key = simulator.works.insert(name="first")
    for name in ("second", "third"):
        sync.load()
        simulator.works.update(key, name=name)
        clock.now += 60
        sync.load()
        assert sync.agrees()
        assert sync.outcomes["works", ""].report.items == 1
        simulator.works.update(key)
    sync.load()
    sync.load()
    assert sync.outcomes["works", ""].report.items == 0


def test_a_list_without_rows_makes_no_table(empty: Sync) -> None:
    sync = Sync(empty.warehouse, empty.folder, Simulator(works=0, messages=1))
    assert sync.load(reconcile=True) == {"works": (0, 0, 0), "messages": (1, 0, 0)}
    assert "dp_data.works" not in sync.warehouse.tables()
    assert "dp_data.messages" in sync.warehouse.tables()


def test_rows_of_several_pages_go_to_dlt_at_once(
    empty: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.tables._reading.PIECE", 150)
    assert [table.num_rows for table in empty.tables("works")] == [200, 33]


def test_schema_has_the_columns_of_account_and_gone_at() -> None:
    names = schema(Work).names
    assert (names[0], names[-1]) == ("account", "gone_at")


# While the server is written to


class Written:
    """Sends to a simulator, with some writes before every answer."""

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


@pytest.mark.slow
def test_after_runs_under_writes_a_quiet_run_agrees(warehouse: Warehouse, tmp_path: Path) -> None:
    simulator = Simulator(works=330, messages=40)
    sync = Sync(warehouse, tmp_path, simulator)
    written = Written(simulator)
    sync.send = written
    sync.load()
    sync.load()
    assert written.writes > 60
    sync.send = simulator.send
    sync.load()
    works = truth(simulator.works)
    loaded = sync.warehouse.rows("works")
    assert {key: loaded[key] for key in works} == works
    sync.load(reconcile=True)
    assert sync.agrees()


# Several accounts


class Paired:
    """Sends to a simulator; no answer comes before two accounts have sent a request."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.accounts: set[str] = set()
        self.both = asyncio.Event()

    async def __call__(self, request: Request, /) -> Response:
        self.accounts.add(request.headers["account"])
        if len(self.accounts) > 1:
            self.both.set()
        await asyncio.wait_for(self.both.wait(), 10)
        return await self.simulator.send(request)


def test_accounts_are_crawled_at_once_and_fail_alone(empty: Sync) -> None:
    simulator = Simulator(works=30, messages=3, accounts=ACCOUNTS[:2])
    sync = Sync(empty.warehouse, empty.folder, simulator)
    sync.send = Paired(simulator)
    reports: list[tuple[str, str, int]] = []

    def progress(resource: str, account: str, report: CrawlReport) -> None:
        reports.append((resource, account, report.items))

    sync.load(accounts=[*ACCOUNTS, ACCOUNTS[0]], progress=progress, at_once=2)
    assert {account for _, account in sync.outcomes} == set(ACCOUNTS)
    assert isinstance(sync.outcomes["works", ACCOUNTS[2]].error, AuthError)
    assert all(sync.agrees(account) for account in ACCOUNTS[:2])
    assert ("works", ACCOUNTS[1], 30) in reports
    assert sync.warehouse.rows("works", account="") == {}
    sync.extract(accounts=ACCOUNTS[:2])
    assert {one.report.items for one in sync.outcomes.values()} == {0}


def test_without_on_outcome_an_error_ends_the_run_and_nothing_is_loaded(empty: Sync) -> None:
    simulator = Simulator(works=30, messages=3, accounts=ACCOUNTS[:2])
    sync = Sync(empty.warehouse, empty.folder, simulator)
    error = refused(lambda: sync.load(accounts=ACCOUNTS, on_outcome=None))
    assert isinstance(error, AccountsFailed)
    assert list(error.errors) == ACCOUNTS[2:]
    assert ACCOUNTS[2] not in str(error)
    error = refused(lambda: sync.tables(accounts=ACCOUNTS[2:], on_outcome=None))
    assert isinstance(error, AuthError)
    assert not sync.warehouse.tables() & {"dp_data.works", "dp_data.messages"}
    tables = sync.tables(accounts=ACCOUNTS[:2], on_outcome=None)
    assert sorted(table.num_rows for table in tables) == [3, 3, 30, 30]


# A run continues after what was loaded


def test_rows_that_were_not_loaded_come_again(sync: Sync, simulator: Simulator) -> None:
    simulator.works.insert()
    assert sync.extract()["works"] == (1, 0, 0)
    assert sync.extract()["works"] == (1, 0, 0)


@pytest.mark.slow
def test_a_pipeline_that_keeps_its_files_loads_pending_packages_first(
    empty: Sync, simulator: Simulator
) -> None:
    pipeline = empty.pipeline()
    pipeline.extract(empty.source())
    simulator.works.insert()
    pipeline.run(empty.source())
    pipeline.run(empty.source())
    assert empty.agrees()


def test_the_state_is_a_watermark_per_list_and_account(sync: Sync) -> None:
    pipeline = sync.pipeline()
    pipeline.sync_destination()
    state: Any = pipeline.state
    marks = state["sources"]["dp_async"]["resources"]["works"]["watermarks"]
    assert list(marks) == [""]
    assert Watermark.from_json(marks[""])
    assert "simulated-secret" not in str(state)


def test_a_watermark_of_the_first_version_means_all_again_and_says_so(
    sync: Sync, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = f'{{"v":1,"list":"{24 * "0"}","updated":1690000000,"keys":[]}}'

    def to_json(_: Watermark) -> str:
        return first

    monkeypatch.setattr(Watermark, "to_json", to_json)
    sync.load(full=True)
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING, "dp_async"):
        sync.load()
    assert "all works of one account are loaded again: this watermark is of another" in caplog.text
    assert sync.outcomes["works", ""].reloaded
    assert sync.outcomes["works", ""].report.items == 233
    assert sync.agrees()


# What is refused


def test_a_watermark_of_another_list_is_refused_before_any_request(
    sync: Sync, simulator: Simulator
) -> None:
    sync.settings = Settings(base_url="http://127.0.0.1", app_id="another", app_secret="s")
    error = refused(sync.load)
    assert isinstance(error, ConfigError)
    assert "the watermark is of another list" in str(error)
    assert simulator.served == 0


SHAPES = {
    "it has no column account": "digital_person_works_id BIGINT, name VARCHAR",
    "its column account is integer": "account INTEGER, digital_person_works_id BIGINT",
    "it has no column gone_at": "account VARCHAR, digital_person_works_id BIGINT",
    "its column status is integer": (
        "account VARCHAR, digital_person_works_id BIGINT, gone_at TIMESTAMPTZ, status INTEGER"
    ),
}


def test_a_table_of_another_shape_is_refused_before_any_request(
    warehouse: Warehouse, simulator: Simulator, tmp_path: Path
) -> None:
    sync = Sync(warehouse, tmp_path, simulator)
    warehouse.run("CREATE SCHEMA dp_data")
    for problem, columns in SHAPES.items():
        warehouse.run("DROP TABLE IF EXISTS dp_data.works")
        warehouse.run(f"CREATE TABLE dp_data.works ({columns})")
        error = refused(lambda: sync.tables("works"))
        assert isinstance(error, ConfigError)
        text = f"the table dp_data.works has another shape: {problem}; use another dataset"
        assert str(error).startswith(text)
    assert simulator.served == 0
    assert warehouse.tables() == {"dp_data.works"}


def test_invalid_arguments_are_refused_at_once(simulator: Simulator) -> None:
    with pytest.raises(ConfigError):
        source(simulator.in_process_settings, accounts=["1\n2"])
    with pytest.raises(ConfigError, match="accounts is empty"):
        source(simulator.in_process_settings, accounts=[])
    for single in (ACCOUNTS[0], b"1", 5):
        with pytest.raises(ConfigError, match="not a single one"):
            source(simulator.in_process_settings, accounts=cast("Any", single))
    for blank in ("", "  ", None, 5):
        with pytest.raises(ConfigError, match=r"accounts\[1\] must be an account"):
            source(simulator.in_process_settings, accounts=cast("Any", [ACCOUNTS[0], blank]))
    for at_once in (0, "4", True, 1.5):
        with pytest.raises(ConfigError, match="at_once must be a whole number, 1 or more"):
            source(simulator.in_process_settings, accounts=ACCOUNTS, at_once=cast("Any", at_once))


# Rows that cannot be read


class Spoiled:
    """Sends to a simulator; among the works of an account in *bad*, one row is that instead."""

    def __init__(self, simulator: Simulator, bad: dict[str, bytes]) -> None:
        self.simulator = simulator
        self.bad = bad

    async def __call__(self, request: Request, /) -> Response:
        response = await self.simulator.send(request)
        bad = self.bad.get(request.headers["account"])
        if bad is None:
            return response
        return replace(response, body=re.sub(rb'\{[^{}]*"SPOILED"\}', lambda _: bad, response.body))


DATED = b'"createTime":"2023-11-15 06:13:20","updateTime":"2023-11-15 06:13:20"'
BAD_ROWS = {
    "text that is not UTF-8": b'{"digitalPersonWorksId":7,"name":"\xb2\xe2",%b}' % DATED,
    "a field name that is not UTF-8": b'{"digitalPersonWorksId":7,"\xb2\xe2":1,%b}' % DATED,
    "half a surrogate pair": rb'{"digitalPersonWorksId":7,"name":"\ud83d",%b}' % DATED,
    "a number out of range": b'{"digitalPersonWorksId":7,"duration":1e400,%b}' % DATED,
    "a number of 71 bits": b'{"digitalPersonWorksId":7,"userId":%d,%b}' % (2**70, DATED),
    "a wrong type": b'{"digitalPersonWorksId":7,"duration":"long",%b}' % DATED,
    "a wrong type beside a new field": (
        b'{"digitalPersonWorksId":7,"duration":"long","brandNew":1,%b}' % DATED
    ),
    "a time that is none": b'{"digitalPersonWorksId":7,"updateTime":"soon"}',
}
NO_ID = {
    "no id": b'{"name":"x",%b}' % DATED,
    "an id of 71 bits": b'{"digitalPersonWorksId":%d,%b}' % (2**70, DATED),
    "no object": b"[7]",
    "a value that is nested too deeply": (
        b'{"digitalPersonWorksId":7,"fee":%b,%b}' % (b"[" * 100_000 + b"]" * 100_000, DATED)
    ),
}
#: An account of each kind.
BAD = {f"{place}": bad for place, bad in enumerate((BAD_ROWS | NO_ID).values(), start=1)}
GOOD = "good"


@pytest.fixture
def spoiled(empty: Sync) -> Sync:
    """An account for each kind of bad row, and one without."""
    simulator = Simulator(works=9, messages=3, accounts=[*BAD, GOOD], clock=Clock(), tolerance=1e12)
    simulator.works.insert(name="before")
    simulator.works.insert(zzz="SPOILED")
    simulator.works.insert(name="after")
    sync = Sync(empty.warehouse, empty.folder, simulator)
    sync.send = Spoiled(simulator, BAD)
    return sync


def test_a_bad_row_fails_the_list_of_its_account_alone(spoiled: Sync) -> None:
    spoiled.load(accounts=[*BAD, GOOD])
    errors = {key: one.error for key, one in spoiled.outcomes.items() if one.error is not None}
    assert {*errors} == {("works", account) for account in BAD}
    for (_, account), error in errors.items():
        assert isinstance(error, DecodeError)
        assert str(error).startswith("work_list, page 1 of 100 rows: ")
        assert error.page_num == 1
        named = BAD[account] in BAD_ROWS.values()
        assert ("the row with id 7 cannot be read" in str(error)) is named
    assert len(spoiled.warehouse.rows("works", account=GOOD)) == 12
    assert all(len(spoiled.warehouse.rows("messages", account=each)) == 3 for each in BAD)


def test_a_bad_row_that_is_kept_loses_no_other_row(spoiled: Sync) -> None:
    spoiled.load(accounts=[*BAD, GOOD], options=CrawlOptions(on_bad_item="keep"))
    assert len(spoiled.warehouse.rows("works", account=GOOD)) == 12
    for account, bad in BAD.items():
        assert len(spoiled.warehouse.rows("works", account=account)) == 11
        outcome = spoiled.outcomes["works", account]
        assert outcome.error is None
        assert (outcome.report.items, outcome.report.bad_items, outcome.new) == (11, 1, 11)
        (item,) = outcome.bad_items
        assert (item.page_num, item.raw) == (1, bad)
        assert item.id == (7 if bad in BAD_ROWS.values() else None)
        assert item.problem.startswith("work_list: ")
        assert outcome.report.complete is (bad in BAD_ROWS.values())
    others = [
        one for (name, key), one in spoiled.outcomes.items() if name != "works" or key == GOOD
    ]
    assert not any(one.bad_items or one.report.bad_items for one in others)
    assert {one.app_id for one in spoiled.outcomes.values()} == {"simulated-app"}


def test_what_to_do_with_a_bad_row_goes_before_the_options(spoiled: Sync) -> None:
    keep = CrawlOptions(on_bad_item="keep")
    spoiled.extract(accounts=["1"], options=keep, on_bad_item="raise")
    assert isinstance(spoiled.outcomes["works", "1"].error, DecodeError)


# Tables that an earlier version made


def forget_names(sync: Sync) -> None:
    """Remove from the state how the columns were named, as in that of an earlier version."""
    pipeline = sync.pipeline()
    pipeline.sync_destination()
    with pipeline.managed_state(extract_state=True) as state:
        for each in cast("Any", state)["sources"]["dp_async"]["resources"].values():
            del each["column_names"]
    pipeline.normalize()
    pipeline.load()


def test_a_table_whose_columns_have_earlier_names_is_refused(
    sync: Sync, simulator: Simulator
) -> None:
    forget_names(sync)
    error = refused(sync.load)
    assert isinstance(error, ConfigError)
    assert "the table works were named by an earlier version" in str(error)
    assert "with --full (full=True)" in str(error)
    assert simulator.served == 0
    simulator.messages.insert(later=1)
    assert sync.load(full=True) == {"works": (0, 0, 0), "messages": (1, 0, 0)}
    assert sync.extract() == {"works": (0, 0, 0), "messages": (0, 0, 0)}


@pytest.mark.slow
def test_an_account_whose_columns_have_earlier_names_is_refused_until_it_is_loaded_again(
    empty: Sync,
) -> None:
    simulator = Simulator(works=3, messages=3, accounts=ACCOUNTS)
    simulator.works.insert(later=1)
    sync = Sync(empty.warehouse, empty.folder, simulator)
    sync.load(accounts=ACCOUNTS)
    forget_names(sync)
    sync.load(accounts=ACCOUNTS[:1], full=True)
    sync.load(accounts=ACCOUNTS[:1])
    assert isinstance(refused(lambda: sync.load(accounts=ACCOUNTS)), ConfigError)


@pytest.mark.parametrize("missing", ["dlt", "pyarrow"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [*sys.modules]:
        if name.startswith(("dp_async.dlt", "dp_async.arrow")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[dlt\]'"):
        importlib.import_module("dp_async.dlt")


def test_public_names_show_the_public_module() -> None:
    for name in dp_async.dlt.__all__:
        assert getattr(dp_async.dlt, name).__module__ == "dp_async.dlt"


# The destination and the kept state disagree

BOTH = {"works", "messages"}
NEWEST = "DELETE FROM dp_data.{0} WHERE update_time >= (SELECT max(update_time) FROM dp_data.{0})"
#: What is done to the destination, and the lists that are loaded again; where dlt's state is lost
#: too, it is a first run.
LOSSES: dict[str, set[str]] = {
    f"DROP TABLE dp_data.works; {NEWEST.format('messages')}": BOTH,
    "ALTER TABLE dp_data.works DROP COLUMN update_time;"
    " ALTER TABLE dp_data.messages DROP COLUMN gone_at": BOTH,
    "DROP TABLE dp_data_staging.works; DROP TABLE dp_data._dlt_loads": set(),
}
MORE_LOSSES: dict[str, set[str]] = {
    "DROP TABLE dp_data.works; DROP TABLE dp_data.messages": BOTH,
    f"{NEWEST.format('works')}; DELETE FROM dp_data.messages": BOTH,
    "UPDATE dp_data.works SET update_time = NULL;"
    " ALTER TABLE dp_data.messages DROP COLUMN title": BOTH,
    "ALTER TABLE dp_data.works DROP COLUMN brand_new": {"works"},
    "ALTER TABLE dp_data_staging.works DROP COLUMN name": set(),
}
LOST_BY_DLT: dict[str, set[str]] = {
    "DROP SCHEMA dp_data_staging CASCADE": set(),
    "DROP SCHEMA dp_data CASCADE": set(),
    "DELETE FROM dp_data._dlt_pipeline_state": set(),
    "DROP TABLE dp_data._dlt_pipeline_state": set(),
    "DROP TABLE dp_data._dlt_version": set(),
}


def reloaded(sync: Sync) -> set[str]:
    return {one.resource for one in sync.outcomes.values() if one.reloaded}


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param(LOSSES, id="tables"),
        pytest.param(MORE_LOSSES, id="more", marks=pytest.mark.slow),
        pytest.param(LOST_BY_DLT, id="dlt", marks=pytest.mark.slow),
    ],
)
def test_what_the_destination_lost_is_noticed_and_loaded_again(
    sync: Sync,
    simulator: Simulator,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    losses: dict[str, set[str]],
) -> None:
    for sql, lost in losses.items():
        for statement in sql.split("; "):
            sync.warehouse.run(statement)
        simulator.works.insert()
        simulator.messages.insert()
        clock.now += 60
        caplog.clear()
        sync.load()
        assert reloaded(sync) == lost, sql
        assert {name for name in ("works", "messages") if f"hold the {name}" in caplog.text} == lost
        assert sync.agrees(), sql
        found = sync.warehouse.run("SELECT count(brand_new) AS n FROM dp_data.works")
        assert found == [{"n": 2}], sql
    assert sync.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert reloaded(sync) == set()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"full": True}, {"reconcile": True}])
def test_a_full_run_brings_back_a_dropped_table(sync: Sync, options: dict[str, bool]) -> None:
    sync.warehouse.run("DROP TABLE dp_data.works")
    assert sync.load(**options)["works"] == (233, 0, 0)
    assert sync.agrees()
    assert reloaded(sync) == {"works"}


def test_a_backup_with_its_state_is_continued(sync: Sync, copied: Copied) -> None:
    backup = copied(sync.warehouse)
    sync.simulator.works.insert()
    assert sync.load()["works"] == (1, 0, 0)
    sync.warehouse = backup
    assert sync.load()["works"] == (1, 0, 0)
    assert reloaded(sync) == set()
    assert sync.agrees()


def test_a_kept_state_that_is_newer_than_the_destination_is_not_believed(
    sync: Sync, copied: Copied, open_warehouse: Callable[[str], Warehouse]
) -> None:
    sync.kept = True
    backup, empty = copied(sync.warehouse), open_warehouse(kind_of(sync.warehouse))
    used = open_warehouse(kind_of(sync.warehouse))
    used.run("CREATE SCHEMA dp_data")
    sync.simulator.works.insert()
    sync.simulator.works.insert()
    assert sync.load()["works"] == (2, 0, 0)
    rows = {"works": (235, 0, 0), "messages": (40, 0, 0)}
    for warehouse, counts, lost in (
        (backup, {"works": (2, 0, 0), "messages": (0, 0, 0)}, {"works"}),
        (empty, rows, set[str]()),  # dlt itself forgets the state where there is no dataset
        (used, rows, {"works", "messages"}),
    ):
        sync.warehouse = warehouse
        assert sync.load() == counts
        assert reloaded(sync) == lost
        assert sync.agrees()
    assert sync.load() == {"works": (0, 0, 0), "messages": (0, 0, 0)}


def test_only_the_account_that_lost_rows_is_loaded_again_after_one_query(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = Simulator(works=30, messages=3, accounts=ACCOUNTS, clock=Clock(), tolerance=1e12)
    sync = Sync(warehouse, tmp_path, simulator)
    sync.load(accounts=ACCOUNTS)
    warehouse.run(f"DELETE FROM dp_data.works WHERE account = '{ACCOUNTS[1]}'")
    queries: list[str] = []
    query = Store._rows  # pyright: ignore[reportPrivateUsage]

    def counted(store: Store, sql: str, *values: object) -> Any:
        queries.append(sql)
        return query(store, sql, *values)

    monkeypatch.setattr(Store, "_rows", counted)
    sync.load(accounts=ACCOUNTS)
    assert [key for key, one in sync.outcomes.items() if one.reloaded] == [("works", ACCOUNTS[1])]
    assert sync.agrees(ACCOUNTS[1])
    # Of each list the tables and the newest rows, of the works the rows to compare.
    assert len(queries) == 5


def test_a_table_that_the_user_named_is_the_one_that_is_looked_up(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    simulator = Simulator(works=30, messages=3, clock=Clock(), tolerance=1e12)
    sync = Sync(warehouse, tmp_path, simulator)
    for new in (30, 0):
        listed = sync.source().with_resources("works")
        listed.works.apply_hints(table_name="OurWorks")
        sync.pipeline().run(listed)
        assert sync.counts() == {"works": (new, 0, 0)}
        assert not sync.outcomes["works", ""].reloaded
    assert warehouse.run("SELECT count(*) AS n FROM dp_data.our_works") == [{"n": 30}]


def test_a_staging_table_without_a_key_is_refused(sync: Sync, simulator: Simulator) -> None:
    sync.warehouse.run("ALTER TABLE dp_data_staging.works DROP COLUMN account")
    error = refused(sync.load)
    assert isinstance(error, ConfigError)
    assert str(error).startswith("the table dp_data_staging.works, which holds rows only while ")
    assert simulator.served == 0
    sync.warehouse.run("DROP TABLE dp_data_staging.works")
    simulator.works.insert()
    assert sync.load()["works"] == (1, 0, 0)


@pytest.mark.parametrize("restores", ["true", "false"])
def test_quiet_runs_and_lists_without_rows_do_not_change_the_schema_of_dlt(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restores: str
) -> None:
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", restores)  # "false": no state is kept there
    sync = Sync(warehouse, tmp_path, Simulator(works=3, messages=0))
    sync.load()
    sync.load()
    assert warehouse.run("SELECT count(*) AS n FROM dp_data._dlt_version") == [{"n": 1}]


def test_a_reload_that_fails_half_way_is_begun_again(sync: Sync, simulator: Simulator) -> None:
    sync.warehouse.run("DROP TABLE dp_data.works")
    simulator.fail(AuthFailure(), times=None, endpoint="work_list", page=3)
    sync.load(full=True)
    assert sync.outcomes["works", ""].error is not None
    simulator.heal()
    sync.load()
    assert sync.agrees()


# Callbacks and the log end no run


def fail(*args: object) -> None:
    raise RuntimeError("callback")


def test_callbacks_that_raise_change_nothing(
    sync: Sync, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.works.insert()
    simulator.fail(AuthFailure(), times=None, endpoint="msg_list")
    sync.load(progress=fail, on_outcome=fail, full=True)
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(messages) == [
        f"{name} of the source failed; its exceptions are dropped"
        for name in ("on_outcome", "progress")
    ]
    assert all(record.exc_info for record in caplog.records)
    simulator.heal()
    sync.load()
    assert sync.counts() == {"works": (0, 0, 0), "messages": (0, 0, 0)}
    assert sync.agrees()


@pytest.mark.parametrize("name", ["progress", "on_outcome"])
def test_a_callback_that_nothing_would_await_is_refused(sync: Sync, name: str) -> None:
    async def function(*args: object) -> None: ...

    with pytest.raises(ConfigError, match=f"^{name} must be a plain function: an async one"):
        source(sync.settings, **{name: function})  # type: ignore[arg-type]


def test_an_interrupt_in_a_callback_ends_the_run(sync: Sync) -> None:
    def interrupt(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # dlt may wrap it
        sync.load(on_outcome=interrupt)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    assert error is not None


def test_a_record_factory_that_raises_ends_no_run(
    sync: Sync,
) -> None:
    def factory(*args: object, **more: object) -> logging.LogRecord:
        if args[0] == "dp_async":
            raise KeyError("factory")
        return logging.LogRecord(*args, **more)  # type: ignore[arg-type]

    sync.warehouse.run("DROP TABLE dp_data.works")
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        assert sync.load()["works"][0] == 233
    finally:
        logging.setLogRecordFactory(before)
