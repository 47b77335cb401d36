"""The command ``sync``: what it shows and lands, what it refuses, and that it may be killed."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from anyio.from_thread import start_blocking_portal
from dlt.common.exceptions import SignalReceivedException
from pyarrow import parquet

from dp_async.cli import _sync, main
from dp_async.cli._run import Exit
from dp_async.cli._target import LoadFailed, target_of
from dp_async.testing import AuthFailure, LyingTotals, Simulator
from tests.support.databases import PASSWORD, Warehouse, truth

SECRET = "simulated-secret"
ACCOUNTS = ["19900000001", "19900000002"]
#: How often it is killed; more by the variable, for a longer look.
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
    """Runs a command in this process; its exit code and what it said."""
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


# What lands, and what is said of it


def test_a_summary_of_what_is_new_updated_and_gone(
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


def test_a_folder_of_parquet(cli: Cli, simulator: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "it's" / "new"
    assert cli(f'sync --to "{folder}"')[0] == 0
    simulator.works.insert(brandNew=1)
    assert cli(f'sync --to "{folder}"')[0] == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [".dp-async.duckdb", "messages.parquet", "works.parquet"]
    works = parquet.read_table(folder / "works.parquet")
    assert set(works["digital_person_works_id"].to_pylist()) == set(simulator.works.ids())
    assert works.num_rows == 331
    assert works["brand_new"].to_pylist().count("1") == 1
    assert set(works["gone_at"].to_pylist()) == {None}


def test_an_empty_list_is_an_empty_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Simulator(works=0, messages=1)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        monkeypatch.setenv("DP_BASE_URL", running.url)
        assert cli(f"sync --to {tmp_path}")[0] == 0
    empty = parquet.read_table(tmp_path / "works.parquet")
    assert empty.num_rows == 0
    assert empty.column_names[0] == "account"


def test_accounts_of_a_file(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse], tmp_path: Path
) -> None:
    warehouse = open_warehouse("duckdb")
    (tmp_path / "accounts").write_text("\n".join(ACCOUNTS) + "\n")
    code, out, _ = cli(f"sync --to {warehouse.to} --accounts {tmp_path / 'accounts'}")
    assert code == 0
    listed = [*table(out)]
    assert listed == [(name, f"…000{n}") for name in ("messages", "works") for n in (1, 2)]
    assert all(agrees(warehouse, simulator, account) for account in ACCOUNTS)


def test_an_account_that_fails_is_said_and_the_others_land(
    cli: Cli,
    open_warehouse: Callable[[str], Warehouse],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = open_warehouse("duckdb")
    (tmp_path / "accounts").write_text("\n".join(ACCOUNTS))
    running = Simulator(works=3, messages=3, accounts=ACCOUNTS[:1])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        monkeypatch.setenv("DP_BASE_URL", running.url)
        code, out, err = cli(f"sync --to {warehouse.to} --accounts {tmp_path / 'accounts'}")
    assert code == 1
    assert table(out)["works", "…0002"][4] == "FAILED"
    assert err.count("\n") == 2
    assert "dp-async: works of …0002: work_list: " in err
    assert agrees(warehouse, running, ACCOUNTS[0])


def test_what_is_not_proven_is_an_exit_code_of_its_own(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    simulator.fail(LyingTotals(500), times=None, endpoint="workList")
    code, out, err = cli(f"sync --to {open_warehouse('duckdb').to} --reconcile")
    assert code == 3
    assert table(out)["works", "main"][4] == "NOT complete"
    assert err.startswith("dp-async: works of main: ")
    assert err.endswith("; no row was marked as gone, and the next run reads the list again\n")


def test_all_again(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = open_warehouse("duckdb")
    cli(f"sync --to {warehouse.to} --page-size 50")
    warehouse.run("DELETE FROM dp_data.works")
    code, out, _ = cli(f"sync --to {warehouse.to} --full --concurrency auto")
    assert code == 0
    assert table(out)["works", "main"][:3] == ["330", "0", "0"]


def test_the_demo_needs_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def watched(simulator: Simulator, warehouse: Warehouse, turns: list[Callable[[], object]]) -> None:
    """Watch; instead of each rest, one of *turns* is taken."""
    job = _sync.Job(
        settings=simulator.settings, target=target_of(warehouse.to, "dp_data"), full=True
    )

    def sleep(seconds: float) -> None:
        assert seconds == 7.0
        if not turns:
            raise Enough
        turns.pop(0)()

    with pytest.raises(Enough):
        _sync.sync(job, 7.0, sleep)


def test_watching_brings_what_is_new_and_says_only_that(
    simulator: Simulator,
    open_warehouse: Callable[[str], Warehouse],
    capfd: pytest.CaptureFixture[str],
) -> None:
    warehouse = open_warehouse("duckdb")
    served: list[int] = []
    note = lambda: served.append(simulator.served)  # noqa: E731
    watched(simulator, warehouse, [lambda: None, simulator.works.insert, lambda: None, note, note])
    assert served[1] - served[0] <= 4  # a look at each list, not all its pages
    out = capfd.readouterr().out
    assert out.count("verdict") == 2
    assert out.splitlines()[-1].split()[:3] == ["works", "main", "1"]
    assert agrees(warehouse, simulator)


def test_watching_goes_on_when_something_fails(
    simulator: Simulator,
    open_warehouse: Callable[[str], Warehouse],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = _sync.Job.run
    fails = [None, LoadFailed("--to: gone away"), IsADirectoryError(21, "Is a directory", "x")]

    def run(job: _sync.Job) -> Any:
        error = fails.pop(0) if fails else None
        if error is not None:
            raise error
        return real(job)

    monkeypatch.setattr(_sync.Job, "run", run)
    refuse = AuthFailure()
    turns: list[Callable[[], object]] = [
        lambda: None,
        lambda: None,
        lambda: simulator.fail(refuse, times=None, endpoint="msgList"),
        lambda: simulator.heal(),
    ]
    watched(simulator, open_warehouse("duckdb"), turns)
    out, err = capfd.readouterr()
    assert err.splitlines()[0] == "dp-async: --to: gone away; the next try is in 7 s"
    assert "Is a directory: 'x'; the next try is in 7 s" in err.splitlines()[1]
    assert "messages of main: msg_list: " in err.splitlines()[2]
    assert "FAILED" in out


def test_watching_ends_when_the_server_refuses_who_asks(
    simulator: Simulator,
    open_warehouse: Callable[[str], Warehouse],
    capfd: pytest.CaptureFixture[str],
) -> None:
    target = target_of(open_warehouse("duckdb").to, "dp_data")
    rests: list[float] = []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        simulator.fail(AuthFailure(), times=None)

    job = _sync.Job(settings=simulator.settings, target=target)
    assert _sync.sync(job, 7.0, sleep) is Exit.FAILED
    assert rests == [7.0]
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
    "postgresql://u@host/db": "it must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "postgresql://host/db": "it must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "postgresql://u:open-sesame@h:99999999/db": "it must read postgresql://USER",
    "a-file": "a-file is no folder; for DuckDB say duckdb:///a-file",
    "x --dataset No": "--dataset: use a-z, 0-9 and _",
}


@pytest.mark.parametrize("to", DESTINATIONS)
def test_an_unknown_destination_is_refused(
    cli: Cli, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    code, out, err = cli(f"sync --to {to}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert DESTINATIONS[to] in err
    assert simulator.served == 0
    assert os.listdir(tmp_path) == ["a-file"]


def test_a_destination_must_be_given(cli: Cli) -> None:
    code, _, err = cli("sync")
    assert (code, err) == (
        2,
        "dp-async: DP_SYNC_TO is not set: set it in the environment, or use --to\n",
    )


def test_a_database_that_cannot_be_reached(cli: Cli, simulator: Simulator) -> None:
    code, out, err = cli(f"sync --to postgresql://dp:{PASSWORD}@127.0.0.1:1/db")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("dp-async: --to: connection to server at ")
    assert simulator.served == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((PASSWORD, "hunter2"), 'password authentication failed for user "dp"'),
        (("/postgres", "/nothing"), 'database "nothing" does not exist'),
    ],
)
def test_a_database_that_does_not_let_it_in(
    cli: Cli, simulator: Simulator, postgresql: str, change: tuple[str, str], said: str
) -> None:
    head, _, tail = postgresql.rpartition(change[0])
    code, out, err = cli(f"sync --to {head}{change[1]}{tail}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert "hunter2" not in err
    assert simulator.served == 0


@pytest.mark.parametrize("content", [None, "no database"])
def test_a_file_that_is_no_duckdb(
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


def test_two_syncs_at_once_into_one_dataset(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = open_warehouse("postgresql")
    with target_of(warehouse.to, "dp_data").opened():
        code, _, err = cli(f"sync --to {warehouse.to}")
        assert (code, err) == (
            1,
            "dp-async: --to: another sync into this dataset is running\n",
        )
        assert simulator.served == 0
        assert cli(f"sync --to {warehouse.to} --dataset other")[0] == 0
    assert cli(f"sync --to {warehouse.to}")[0] == 0


def test_a_table_of_another_shape(
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


def test_a_watermark_of_another_app(
    cli: Cli, simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = open_warehouse("duckdb")
    cli(f"sync --to {warehouse.to}")
    before = simulator.served
    code, out, err = cli(f"sync --to {warehouse.to} --app-id another")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the watermark is of another list" in err
    assert simulator.served == before
    assert agrees(warehouse, simulator)


FILES = {
    "": "the file is empty",
    f"{ACCOUNTS[0]}\n\n{ACCOUNTS[1]}\n": "line 2 is blank or has blanks around it",
    f"{ACCOUNTS[0]} \n": "line 1 is blank or has blanks around it",
    f"{ACCOUNTS[0]}\n{ACCOUNTS[1]}\n{ACCOUNTS[0]}\n\n": "line 3 repeats line 1; line 4 is blank",
    "19900000001张\n": "line 1: account ",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_of_accounts_that_is_not_right(
    cli: Cli, simulator: Simulator, tmp_path: Path, content: str
) -> None:
    (tmp_path / "accounts").write_text(content)
    code, out, err = cli(f"sync --to {tmp_path / 'to'} --accounts {tmp_path / 'accounts'}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"dp-async: --accounts: {FILES[content]}")
    assert err.endswith("; use one account per line, each once, and nothing else\n")
    assert simulator.served == 0
    assert os.listdir(tmp_path) == ["accounts"]


def test_a_file_of_accounts_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli(f"sync --to x --accounts {tmp_path}")
    assert (code, err) == (2, "dp-async: --accounts cannot be read: Is a directory\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    code, _, err = cli(f"sync --to x --accounts {tmp_path / 'binary'}")
    assert (code, err) == (2, "dp-async: --accounts cannot be read: it is not UTF-8 text\n")


def test_a_file_of_accounts_and_an_account_exclude_each_other(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli(f"sync --to x --account 1 --accounts {tmp_path / 'any'}")
    assert code == 2
    assert "--accounts and --account exclude each other" in err


def test_without_the_extra_it_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_async.cli._sync", None)
    assert cli("sync --demo") == (
        2,
        "",
        "dp-async: sync needs dlt, pyarrow and duckdb, an extra: pip install 'dp_async[sync]'\n",
    )


def test_a_bug_is_not_taken_for_the_database(
    simulator: Simulator, open_warehouse: Callable[[str], Warehouse]
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    job = _sync.Job(
        settings=simulator.settings, target=target_of(open_warehouse("duckdb").to, "dp_data")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dp_async.arrow._array", bug)
        with pytest.raises(ZeroDivisionError):
            job.run()


# Killed


@pytest.mark.parametrize(
    "told", [SignalReceivedException(signal.SIGINT), RuntimeError("Query interrupted")]
)
def test_ctrl_c_is_known_in_whatever_form_it_comes(
    open_warehouse: Callable[[str], Warehouse], told: BaseException
) -> None:
    with pytest.raises(KeyboardInterrupt):
        with target_of(open_warehouse("duckdb").to, "dp_data").opened():
            raise OSError from told


#: Starts the command, and tells when it has begun to ask.
SCRIPT = "import sys; from dp_async.cli import main; sys.exit(main())"


@contextmanager
def started(environment: dict[str, str], *argv: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "sync", *argv],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_killed_at_any_moment_and_run_again_it_agrees(
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
            asked = running.served
            with started(environment, "--to", warehouse.to, "--full") as process:
                while running.served == asked:
                    assert process.poll() is None
                    time.sleep(0.001)
                # From the first request on; the whole of it takes about so long.
                time.sleep(chance.random() * 1.2)
                process.kill()
                process.wait()
            for key in running.works.ids()[:5]:
                running.works.update(key, **running.works.kind.changed(chance))
            running.works.insert()
        assert cli(f"sync --to {warehouse.to}")[0] == 0
        assert cli(f"sync --to {warehouse.to}")[0] == 0
        assert agrees(warehouse, running)


def test_ctrl_c_ends_it(environment: dict[str, str], simulator: Simulator, tmp_path: Path) -> None:
    with started(environment, "--to", str(tmp_path / "to"), "--watch") as process:
        while not (tmp_path / "to" / "works.parquet").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


def test_ctrl_c_that_a_run_has_lost_ends_it_all_the_same(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(job: _sync.Job) -> list[Any]:
        usual = signal.signal(signal.SIGINT, nothing)
        os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, usual)
        return [SimpleNamespace(error=None)]

    def sleep(seconds: float) -> None:
        pytest.fail("it rests")

    def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(_sync.Job, "run", run)
    monkeypatch.setattr(_sync, "show", nothing)
    job = _sync.Job(settings=simulator.settings, target=target_of(str(tmp_path), "dp_data"))
    with pytest.raises(KeyboardInterrupt):
        _sync.sync(job, 7.0, sleep)
    assert signal.set_wakeup_fd(-1) == -1
