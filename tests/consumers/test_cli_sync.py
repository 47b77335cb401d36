"""The command ``sync``: its summary, what it refuses, and that it may be killed at any moment."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import duckdb
import psycopg2
import pytest
from anyio.from_thread import start_blocking_portal
from dlt.common.exceptions import SignalReceivedException
from pyarrow import parquet

from dp_async import AuthError, BadItem, Client, CrawlReport, Settings
from dp_async.cli import _database, _sync, main
from dp_async.cli._database import Database, OutOfMemory, database_of
from dp_async.cli._run import Exit
from dp_async.cli._signals import Signals, as_current
from dp_async.cli._target import LoadFailed, target_of
from dp_async.tables import Outcome
from dp_async.testing import Simulator
from tests.support.databases import PASSWORD, Warehouse, truth

SECRET = "simulated-secret"
ACCOUNTS = ["19900000001", "19900000002"]
#: How often a run is killed; the variable sets more.
KILLS = int(os.environ.get("DP_SYNC_KILLS", "2"))

Cli: TypeAlias = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator(works=330, messages=40)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        yield running


@pytest.fixture
def environment(simulator: Simulator) -> dict[str, str]:
    return {"DP_BASE_URL": simulator.url, "DP_APP_ID": "simulated-app", "DP_APP_SECRET": SECRET}


@pytest.fixture
def cli(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Cli:
    """Runs a command in this process; its exit code and its outputs."""
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT", "DP_SYNC_TO"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(line: str) -> tuple[int, str, str]:
        code = main(shlex.split(line))
        out, err = (text.decode() for text in capfdbinary.readouterr())
        assert SECRET not in out + err
        assert PASSWORD not in out + err
        assert ACCOUNTS[0] not in out + err
        return code, out, err

    return run


def table(out: str) -> dict[tuple[str, str], list[str]]:
    """The cells of a summary by list and account."""
    lines = [line.split(maxsplit=6) for line in out.splitlines()]
    assert lines[0] == ["list", "account", "new", "updated", "gone", "requests", "verdict"]
    return {(cells[0], cells[1]): cells[2:] for cells in lines[1:]}


def agrees(warehouse: Warehouse, simulator: Simulator, account: str = "") -> bool:
    lists = {"works": simulator.works, "messages": simulator.messages}
    return all(warehouse.rows(name, account=account) == truth(rows) for name, rows in lists.items())


# What is loaded, and the summary of it


def test_rows_too_large_for_the_memory_of_duckdb_are_read_again_without_a_limit(
    cli: Cli, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_database.BOUNDED, "memory_limit", "2MB")  # too little for any row
    folder = tmp_path / "rows"
    code, out, err = cli(f"sync --to {folder}")
    assert (code, err) == (0, "")
    assert table(out)["works", "main"][0] == "330"
    assert parquet.read_table(folder / "works.parquet").num_rows == 330


def test_an_unbounded_database_that_lacks_memory_ends_the_sync(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"^--to: Out of Memory"):
        with _database.load_errors(()):
            duckdb.connect(config={"memory_limit": "1MB"}).execute(
                "SELECT list(i) FROM range(9999999) r(i)"
            )


def test_a_sync_without_a_limit_that_lacks_memory_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[Database] = []

    def loaded(target: Database, *given: object) -> list[Outcome]:
        tries.append(target)
        raise OutOfMemory("full")

    monkeypatch.setattr(Database, "_loaded", loaded)
    settings = Settings(base_url="https://api.example.com", app_id="app", app_secret="secret")
    for unbounded, number in ((None, 1), ("without a limit", 2)):
        tries.clear()
        with pytest.raises(OutOfMemory, match="full"):
            target = Database(database="duckdb", dataset="d", unbounded=unbounded)
            _sync.Job(settings=settings, target=target).run()
        assert [target.database for target in tries] == ["duckdb", "without a limit"][:number]


@pytest.mark.slow  # test_the_demo_needs_no_settings is the quick one
def test_the_summary_counts_new_updated_and_gone_rows(
    cli: Cli, simulator: Simulator, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DP_SYNC_TO", warehouse.to)
    code, out, err = cli("sync")
    assert (code, err) == (0, "")
    cells = table(out)
    assert cells["works", "main"] == ["330", "0", "0", "5", "complete, proven"]
    assert cells["messages", "main"][:3] == ["40", "0", "0"]
    key = simulator.works.ids()[50]
    simulator.works.update(key, status="FAIL")
    simulator.works.delete(simulator.works.ids()[60])
    simulator.works.insert()
    code, out, err = cli("sync --reconcile")
    assert (code, err) == (0, "")
    assert table(out)["works", "main"] == ["1", "1", "1", "5", "complete, proven"]
    assert agrees(warehouse, simulator)


def test_a_folder_gets_parquet_files(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's" / "new"
    folder.mkdir(parents=True)
    (folder / "works.parquet").write_text("before")
    running = Simulator(works=30, messages=0)
    running.works.insert(brandNew=1)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        monkeypatch.setenv("DP_BASE_URL", running.url)
        assert cli(f'sync --to "{folder}"')[0] == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [".dp-async.duckdb", "messages.parquet", "works.parquet"]
    works = parquet.read_table(folder / "works.parquet")
    assert set(works["digital_person_works_id"].to_pylist()) == set(running.works.ids())
    assert works.num_rows == 31
    assert works["brand_new"].to_pylist().count("1") == 1
    assert set(works["gone_at"].to_pylist()) == {None}
    empty = parquet.read_table(folder / "messages.parquet")
    assert (empty.num_rows, empty.column_names[0]) == (0, "account")


def test_each_account_of_a_file_is_synced_and_fails_alone(
    cli: Cli,
    open_warehouse: Callable[[str], Warehouse],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = open_warehouse("duckdb")
    (tmp_path / "accounts").write_text("\n".join(ACCOUNTS) + "\n")
    running = Simulator(works=3, messages=3, accounts=ACCOUNTS[:1])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        monkeypatch.setenv("DP_BASE_URL", running.url)
        code, out, err = cli(f"sync --to {warehouse.to} --accounts {tmp_path / 'accounts'}")
    assert code == 1
    cells = table(out)
    assert [*cells] == [(name, f"…000{n}") for name in ("messages", "works") for n in (1, 2)]
    assert cells["works", "…0001"][4] == "complete, proven"
    assert cells["works", "…0002"][4] == "FAILED"
    assert err.count("\n") == 2
    assert "dp-async: works of …0002: work_list, page 1 of 100 rows: " in err
    assert agrees(warehouse, running, ACCOUNTS[0])


def test_an_unproven_crawl_has_its_own_exit_code(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    unproven = replace(report(), complete=False, reason="no end")

    def run(job: _sync.Job) -> list[Outcome]:
        return [outcome(report=unproven)]

    monkeypatch.setattr(_sync.Job, "run", run)
    code, out, err = cli("sync --to a-folder --reconcile")
    assert code == 3
    assert table(out)["works", "main"][4] == "NOT complete"
    assert err == (
        "dp-async: works of main: no end; no row was marked as gone, "
        "and the next run reads the list again\n"
    )


def test_flags_reach_the_job(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[tuple[_sync.Job, float | None]] = []

    def sync(job: _sync.Job, every: float | None) -> Exit:
        jobs.append((job, every))
        return Exit.OK

    monkeypatch.setattr(_sync, "sync", sync)
    flags = "--full --reconcile --at-once 2 --page-size 50 --concurrency auto --watch --every 7"
    assert cli(f"sync --to a-folder --dataset other {flags}") == (0, "", "")
    assert cli("sync --to a-folder") == (0, "", "")
    (given, every), (default, never) = jobs
    assert (given.full, given.reconcile, given.at_once, every) == (True, True, 2, 7.0)
    assert (given.options.page_size, given.options.concurrency) == (50, "auto")
    assert isinstance(given.target, Database)
    assert given.target.dataset == "other"
    assert (default.full, default.reconcile, default.at_once, never) == (False, False, 4, None)


def test_the_demo_needs_no_settings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DP_BASE_URL", "DP_APP_ID", "DP_APP_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("dp_async.cli._demo.WORKS", 330)
    monkeypatch.setattr("dp_async.cli._demo.LATENCY", 0.0)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("sync --demo")
    assert (code, err) == (0, "")
    first, second, third = out.split("# ")[1:]
    assert table(first.partition("\n")[2])["works", "main"][:3] == ["330", "0", "0"]
    assert table(second.partition("\n")[2])["works", "main"][:3] == ["10", "10", "0"]
    assert int(table(second.partition("\n")[2])["works", "main"][3]) <= 3
    assert table(third.partition("\n")[2])["works", "main"][:3] == ["0", "0", "3"]
    assert list(tmp_path.iterdir()) == []


# Watching


class Enough(Exception):
    """Ends a watch."""


@cache
def report() -> CrawlReport:
    """The report of a complete crawl."""

    async def crawl() -> CrawlReport:
        simulator = Simulator(works=1)
        async with Client(simulator.in_process_settings, send=simulator.send) as client:
            async with client.works().crawl() as crawl:
                async for _ in crawl:
                    pass
            return crawl.report

    return asyncio.run(crawl())


def outcome(resource: Literal["works", "messages"] = "works", **values: Any) -> Outcome:
    given: dict[str, Any] = {"new": 0, "updated": 0, "gone": 0, "report": report(), **values}
    return Outcome(resource=resource, app_id="simulated-app", account="", **given)


def watch(
    monkeypatch: pytest.MonkeyPatch, *results: list[Outcome] | Exception
) -> list[tuple[bool, bool]]:
    """Watch until the results of the runs are used up; whether each run was full and reconciled."""
    runs: list[tuple[bool, bool]] = []
    pending = list(results)

    def run(job: _sync.Job) -> list[Outcome]:
        runs.append((job.full, job.reconcile))
        result = pending.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def sleep(seconds: float) -> None:
        assert seconds == 7.0
        if not pending:
            raise Enough

    monkeypatch.setattr(_sync.Job, "run", run)
    job = _sync.Job(
        settings=Simulator().in_process_settings,
        target=target_of("x", "dp_data"),
        full=True,
        reconcile=True,
    )
    with pytest.raises(Enough):
        _sync.sync(job, 7.0, sleep)
    return runs


def test_watching_shows_only_changes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    same = [outcome(), outcome("messages")]
    changed = [outcome(updated=1), outcome("messages")]
    runs = watch(monkeypatch, same, same, changed, same, [outcome(new=2)])
    assert runs == [(True, True), *[(False, False)] * 4]  # the flags hold for the first run only
    out, err = capfd.readouterr()
    assert (out.count("verdict"), err) == (3, "")
    assert out.splitlines()[-3].split()[:4] == ["works", "main", "0", "1"]
    assert out.splitlines()[-1].split()[:4] == ["works", "main", "2", "0"]


def test_rows_that_are_loaded_again_are_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    watch(monkeypatch, [outcome()], [outcome("messages", reloaded=True), outcome()], [outcome()])
    out, err = capfd.readouterr()
    assert err == (
        "dp-async: messages of main: the destination did not hold what was loaded before; "
        "all rows are loaded again\n"
    )
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["list", "messages"]


def test_watching_names_a_bad_row_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = [outcome(), outcome("messages", bad_items=[BadItem(3, "$", "it is bad", b"{}", 7)])]
    watch(monkeypatch, [outcome(), outcome("messages")], bad, bad, bad)
    out, err = capfd.readouterr()
    assert err == "dp-async: messages of main: left out, on page 3: it is bad\n"
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["list", "messages"]


def test_watching_continues_after_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = AuthError("msg_list: no")
    runs = watch(
        monkeypatch,
        [outcome()],
        LoadFailed("--to: no space"),
        IsADirectoryError(21, "Is a directory", "x"),
        [outcome(), outcome("messages", error=error)],
        [outcome()],
    )
    assert len(runs) == 5
    out, err = capfd.readouterr()
    assert err.splitlines() == [
        "dp-async: --to: no space; the next try is in 7 s",
        "dp-async: [Errno 21] Is a directory: 'x'; the next try is in 7 s",
        "dp-async: messages of main: msg_list: no",
    ]
    assert "FAILED" in out


def test_watching_ends_when_every_list_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = [outcome(error=AuthError("no")), outcome("messages", error=AuthError("no"))]
    results = [[outcome()], refused]
    pauses: list[float] = []

    def run(job: _sync.Job) -> list[Outcome]:
        return results.pop(0)

    monkeypatch.setattr(_sync.Job, "run", run)
    job = _sync.Job(settings=Simulator().in_process_settings, target=target_of("x", "dp_data"))
    assert _sync.sync(job, 7.0, pauses.append) is Exit.FAILED
    assert pauses == [7.0]
    assert capfd.readouterr().out.count("FAILED") == 2


# What is refused: one line, and nothing half-written

DESTINATIONS = {
    "mysql://u:open-sesame@host/db": "mysql:// is not supported; use duckdb:///FILE, ",
    "duckdb://file": "a DuckDB file is duckdb:///FILE",
    "duckdb:///:memory:": "a DuckDB file is duckdb:///FILE",
    "duckdb:///dp_data.duckdb": "--dataset: DuckDB calls the file dp_data too",
    "duckdb:///DP_DATA.duckdb": "--dataset: DuckDB calls the file dp_data too",
    "duckdb:///dp_data_staging.db": "--dataset: DuckDB calls the file dp_data too",
    "duckdb:/x": "--to: it must be duckdb:///FILE, ",
    "postgresql:u:open-sesame@host/db": "--to: it must be duckdb:///FILE, ",
    "' '": "--to: it must be duckdb:///FILE, ",
    "x.duckdb": "x.duckdb is no folder; for DuckDB say duckdb:///x.duckdb",
    "postgresql://u:open-sesame@h/db?bogus=1": "it must read postgresql://USER",
    "postgresql://u:open-sesame@h:0/db": "it must read postgresql://USER",
    "postgresql://u:open-sesame@h:x/db": "it must read postgresql://USER",
    "postgresql://u:open-sesame@h:99999999/db": "it must read postgresql://USER",
    "a-file": "a-file is no folder; for DuckDB say duckdb:///a-file",
    "x --dataset No": "--dataset: use a-z, 0-9 and _",
}


def test_an_unsupported_destination_is_refused(
    cli: Cli, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    for to, problem in DESTINATIONS.items():
        code, out, err = cli(f"sync --to {to}")
        assert (code, out, err.count("\n")) == (2, "", 1), to
        assert problem in err
    assert simulator.served == 0
    assert os.listdir(tmp_path) == ["a-file"]


def test_a_destination_must_be_given(cli: Cli) -> None:
    code, _, err = cli("sync")
    assert (code, err) == (
        2,
        "dp-async: DP_SYNC_TO is not set: set it in the environment, or use --to\n",
    )


def test_an_unreachable_database_is_one_line(cli: Cli, simulator: Simulator) -> None:
    code, out, err = cli(f"sync --to postgresql://dp:{PASSWORD}@127.0.0.1:1/db")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("dp-async: --to: connection to server at ")
    assert simulator.served == 0


#: What libpq takes: the password, the user, or all may come from its environment and files.
ADDRESSES = {
    "postgresql://u:open-sesame@host:1/db": ("host", "db", "connect_timeout=15", ["open-sesame"]),
    "postgres://u:open%2Dsesame@host/db": ("host", "db", "connect_timeout=15", ["open-sesame"]),
    "postgresql://u@host/db?options=-cx%3D1": ("host", "db", "&connect_timeout=15", []),
    "postgresql://a:1,b:2/db": ("a,b", "db", "?connect_timeout=15", []),
    "postgresql:///db?host=/socket&connect_timeout=3": ("/socket", "db", "=3", []),
    "postgresql://host/?sslpassword=key&password=": ("host", "default", "=15", ["key"]),
    "postgresql://": ("default", "default", "postgresql://?connect_timeout=15", []),
}


def test_libpq_gets_an_address_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    for to, (host, database, end, secrets) in ADDRESSES.items():
        target = database_of(to, "dp_data")
        credentials = target.database.config_params["credentials"]
        native = credentials.to_native_representation()
        assert native.startswith(to)
        assert native.endswith(end)
        assert (credentials.host, credentials.database) == (host, database)
        assert (list(target.secrets), target.locks) == (secrets, True)
        assert "sesame" not in repr(target)
    options = database_of("postgresql://u@host/db?options=-cx%3D1", "dp_data").database
    assert options.config_params["credentials"].get_query()["options"] == "-cx=1"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "5")
    native = database_of("postgresql://host", "dp_data").database.config_params["credentials"]
    assert native.to_native_representation() == "postgresql://host"


def test_secrets_of_an_address_are_hidden_in_errors() -> None:
    target = database_of("postgresql://u:open-sesame@h/db?sslpassword=key", "dp_data")
    with pytest.raises(LoadFailed, match=r"^--to: … and …$"):
        with _database.load_errors(target.secrets):
            raise psycopg2.OperationalError("open-sesame and key")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["environment", "socket"])
def test_a_password_may_come_from_the_environment(
    cli: Cli, postgresql: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    parts = urlsplit(postgresql)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    rows = Warehouse(postgresql).run("SHOW unix_socket_directories")
    addresses = {
        "environment": f"postgresql://dp@127.0.0.1:{parts.port}/postgres",
        "socket": f"postgresql:///postgres?host={next(iter(rows[0].values()))}"
        f"&port={parts.port}&user=dp",
    }
    assert cli(f"sync --to {addresses[way]} --dataset {way}")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ((PASSWORD, "hunter2"), 'password authentication failed for user "dp"'),
        (("/postgres", "/nothing"), 'database "nothing" does not exist'),
    ],
)
def test_a_database_that_refuses_the_login_is_one_line(
    cli: Cli, simulator: Simulator, postgresql: str, change: tuple[str, str], problem: str
) -> None:
    head, _, tail = postgresql.rpartition(change[0])
    code, out, err = cli(f"sync --to {head}{change[1]}{tail}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert problem in err
    assert "hunter2" not in err
    assert simulator.served == 0


@pytest.mark.parametrize("content", [None, "no database"])
def test_a_file_that_is_not_duckdb_is_one_line(
    cli: Cli, simulator: Simulator, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "folder" / "file"
    if content is not None:
        file.parent.mkdir()
        file.write_text(content)
    code, out, err = cli(f"sync --to duckdb:///{file}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("dp-async: --to: IO Error: ")
    assert simulator.served == 0
    assert content is None or file.read_text() == content


def test_a_lock_that_is_not_granted_is_refused(
    open_warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database, "LOCK", "SELECT %s = 'granted'")
    for dataset in ("granted", "taken"):
        target = replace(database_of(open_warehouse("duckdb").to, dataset), locks=True)
        with ExitStack() as stack:
            if dataset == "taken":
                stack.enter_context(pytest.raises(LoadFailed, match="another sync into this"))
            with target.opened():
                assert dataset == "granted"


@pytest.mark.slow
def test_a_second_sync_into_the_dataset_is_refused(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = open_warehouse("postgresql")
    with database_of(warehouse.to, "dp_data").opened():
        code, _, err = cli(f"sync --to {warehouse.to}")
        assert (code, err) == (
            1,
            "dp-async: --to: another sync into this dataset is running\n",
        )
        assert simulator.served == 0
        assert cli(f"sync --to {warehouse.to} --dataset other")[0] == 0
    assert cli(f"sync --to {warehouse.to}")[0] == 0


def test_a_table_of_another_shape_is_one_line(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = open_warehouse("duckdb")
    warehouse.run("CREATE SCHEMA dp_data")
    for name in ("works", "messages"):
        warehouse.run(f"CREATE TABLE dp_data.{name} (id INTEGER)")
    code, out, err = cli(f"sync --to {warehouse.to}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has another shape: it has no column account; use another dataset" in err
    assert simulator.served == 0
    assert warehouse.tables() == {"dp_data.works", "dp_data.messages"}


FILES = {
    "": "the file is empty",
    f"{ACCOUNTS[0]}\n\n{ACCOUNTS[1]}\n": "line 2 is blank or has blanks around it",
    f"{ACCOUNTS[0]} \n": "line 1 is blank or has blanks around it",
    f"{ACCOUNTS[0]}\n{ACCOUNTS[1]}\n{ACCOUNTS[0]}\n\n": "line 3 repeats line 1; line 4 is blank",
    "19900000001张\n": "line 1: account ",
}


def test_a_wrong_file_of_accounts_is_refused_by_line(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    for content, problem in FILES.items():
        (tmp_path / "accounts").write_text(content)
        code, out, err = cli(f"sync --to {tmp_path / 'to'} --accounts {tmp_path / 'accounts'}")
        assert (code, out, err.count("\n")) == (2, "", 1), content
        assert err.startswith(f"dp-async: --accounts: {problem}")
        assert err.endswith("; use one account per line, each once, and nothing else\n")
    assert simulator.served == 0
    assert os.listdir(tmp_path) == ["accounts"]


def test_an_unreadable_file_of_accounts_is_one_line(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli(f"sync --to x --accounts {tmp_path}")
    assert (code, err) == (2, "dp-async: --accounts cannot be read: Is a directory\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    code, _, err = cli(f"sync --to x --accounts {tmp_path / 'binary'}")
    assert (code, err) == (2, "dp-async: --accounts cannot be read: it is not UTF-8 text\n")


def test_accounts_and_account_exclude_each_other(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli(f"sync --to x --account 1 --accounts {tmp_path / 'any'}")
    assert code == 2
    assert "--accounts and --account exclude each other" in err


def test_a_missing_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_async.cli._database", None)
    monkeypatch.setitem(sys.modules, "dp_async.cli._lake", None)
    for words, needs, extra in (
        ("--demo", "sync needs dlt, pyarrow and duckdb", "sync"),
        ("--to delta:///l", "sync into Delta tables needs deltalake and pyarrow", "cli,delta"),
    ):
        line = f"dp-async: {needs}, an extra: pip install 'dp_async[{extra}]'\n"
        assert cli(f"sync {words}") == (2, "", line)


def test_a_bug_is_not_reported_as_a_load_failure(
    simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    job = _sync.Job(
        settings=simulator.settings, target=target_of(open_warehouse("duckdb").to, "dp_data")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dp_async.tables._columns._array", bug)
        with pytest.raises(ZeroDivisionError):
            job.run()


# Killed


@pytest.mark.parametrize(
    "cause", [SignalReceivedException(signal.SIGINT), RuntimeError("Query interrupted")]
)
def test_ctrl_c_is_recognised_in_the_forms_of_dlt_and_duckdb(
    open_warehouse: Callable[[str], Warehouse], cause: BaseException
) -> None:
    with pytest.raises(KeyboardInterrupt):
        with database_of(open_warehouse("duckdb").to, "dp_data").opened():
            raise OSError from cause


SCRIPT = "import sys; from dp_async.cli import main; sys.exit(main())"


@contextmanager
def started(
    environment: dict[str, str], *argv: str, script: str = SCRIPT
) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", script, "sync", *argv],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_after_kills_at_any_moment_the_next_run_agrees(
    cli: Cli,
    environment: dict[str, str],
    open_warehouse: Callable[[str], Warehouse],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(7)
    warehouse = open_warehouse(kind)
    running = Simulator(works=3000, messages=300, remember=False)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        environment = {**environment, "DP_BASE_URL": running.url}
        monkeypatch.setenv("DP_BASE_URL", running.url)
        for _ in range(KILLS):
            served = running.served
            with started(environment, "--to", warehouse.to, "--full") as process:
                while running.served == served:
                    assert process.poll() is None
                    time.sleep(0.001)
                # At a random moment after the first request; a run takes about so long.
                time.sleep(chance.random() * 1.2)
                process.kill()
                process.wait()
            for key in running.works.ids()[:5]:
                running.works.update(key, **running.works.kind.changed(chance))
            running.works.insert()
        assert cli(f"sync --to {warehouse.to}")[0] == 0
        assert cli(f"sync --to {warehouse.to}")[0] == 0
        assert agrees(warehouse, running)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch(
    environment: dict[str, str], simulator: Simulator, tmp_path: Path, number: signal.Signals
) -> None:
    with started(environment, "--to", str(tmp_path / "to"), "--watch") as process:
        files = [tmp_path / "to" / name for name in ("works.parquet", "messages.parquet")]
        while not all(file.exists() for file in files):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, b"dp-async: interrupted\n")


#: Signals in the middle of a run: where dlt takes them for itself and forgets them, and where the
#: main thread waits for the event loop of the crawls, whose end the signal has prevented.
MOMENTS = {
    "dlt completes a package": "import dp_async.cli._database, dlt\n"
    "from dlt.load.load import Load as owner\n"
    "name, now = 'complete_package', lambda *given: True\n",
    "the portal is stopped": "from anyio.from_thread import BlockingPortal as owner\n"
    "name, now = 'call', lambda self, function, *given: function.__name__ == 'stop'\n",
}
SENDING = """
import os, signal, sys
from dp_async.cli import main
{moment}
real, sent = getattr(owner, name), []
def call(*given, **named):
    if not sent and now(*given):
        sent.append(1)
        os.kill(os.getpid(), {number})
    return real(*given, **named)
setattr(owner, name, call)
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [int(signal.SIGINT), int(signal.SIGTERM)])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_in_the_middle_of_a_run_ends_a_watch(
    environment: dict[str, str], tmp_path: Path, moment: str, number: int
) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**environment, "TMPDIR": str(tmp_path / "temporary")}
    script = SENDING.format(moment=MOMENTS[moment], number=number)
    with started(environment, "--to", str(tmp_path / "to"), "--watch", script=script) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, b"dp-async: interrupted\n")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not [*(tmp_path / "to").glob("*.part")]


def test_a_signal_that_a_run_swallowed_still_ends_the_watch(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(job: _sync.Job) -> list[Outcome]:
        signals.received = signal.SIGTERM
        return [outcome()]

    def sleep(seconds: float) -> None:
        pytest.fail("it sleeps")

    def show(outcomes: object) -> None:
        pass

    monkeypatch.setattr(_sync.Job, "run", run)
    monkeypatch.setattr(_sync, "show", show)
    job = _sync.Job(settings=simulator.settings, target=target_of(str(tmp_path), "dp_data"))
    signals = Signals()
    with as_current(signals), pytest.raises(KeyboardInterrupt):
        _sync.sync(job, 7.0, sleep)


def test_an_error_that_a_signal_caused_is_an_interruption(
    open_warehouse: Callable[[str], Warehouse],
) -> None:
    signals = Signals()
    with as_current(signals), pytest.raises(KeyboardInterrupt):
        with database_of(open_warehouse("duckdb").to, "dp_data").opened():
            signals.received = signal.SIGTERM
            raise OSError
