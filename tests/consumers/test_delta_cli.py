"""``dp-async sync`` into Delta tables: the summary, exit codes, what it refuses, and signals."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from anyio.from_thread import start_blocking_portal

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

from dp_async.cli import main
from dp_async.cli._sync import Job
from dp_async.cli._target import LoadFailed, target_of
from dp_async.delta._table import Table
from dp_async.testing import Simulator
from tests.support.databases import truth
from tests.support.lake import Lake

ACCOUNTS = ["19900000001", "19900000002"]
SECRET = "simulated-secret"

Cli: TypeAlias = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator(works=230, messages=5, accounts=["", ACCOUNTS[0]])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        yield running


@pytest.fixture
def environment(simulator: Simulator) -> dict[str, str]:
    return {"DP_BASE_URL": simulator.url, "DP_APP_ID": "simulated-app", "DP_APP_SECRET": SECRET}


@pytest.fixture
def cli(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Cli:
    """Runs a command in this process and an empty folder; its exit code and its outputs."""
    monkeypatch.delenv("DP_ACCOUNT", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        code = main(shlex.split(line))
        out, err = capfd.readouterr()
        assert not [word for word in (SECRET, "sesame", *ACCOUNTS) if word in out + err]
        return code, out, err

    return run


def counts(out: str) -> list[list[str]]:
    """Each list's name, account, and how many rows were new, updated and gone."""
    return [line.split()[:5] for line in out.splitlines()[1:]]


def test_the_summary_counts_new_updated_and_gone_rows(cli: Cli, simulator: Simulator) -> None:
    code, out, err = cli("sync --to delta:///new/lake")
    assert (code, err) == (0, "")
    first = [["messages", "main", "5", "0", "0"], ["works", "main", "230", "0", "0"]]
    assert counts(out) == first
    ids = simulator.works.ids()
    simulator.works.update(ids[50], status="FAIL")
    simulator.works.delete(ids[60])
    simulator.works.insert()
    code, out, err = cli(f"sync --to delta:///{Path.cwd()}/new/lake --reconcile")
    assert (code, err) == (0, "")
    again = [["messages", "main", "0", "0", "0"], ["works", "main", "1", "1", "1"]]
    assert counts(out) == again
    lake = Lake("new/lake")
    assert lake.rows("works") == truth(simulator.works)
    assert lake.rows("messages") == truth(simulator.messages)
    assert [*lake.rows("works", gone=True)] == [ids[60]]
    assert os.listdir() == ["new"]


def test_each_account_of_a_file_fails_alone_and_bad_rows_are_left_out(
    cli: Cli, simulator: Simulator
) -> None:
    simulator.works.insert(duration="long")
    Path("accounts").write_text("\n".join(ACCOUNTS[:1]))
    code, out, err = cli("sync --to delta:///lake --accounts accounts --on-bad-item keep")
    assert (code, err.count("\n")) == (4, 1)
    assert counts(out)[1] == ["works", "…0001", "230", "0", "0"]
    Path("accounts").write_text("\n".join(ACCOUNTS))
    code, out, err = cli("sync --to delta:///lake --accounts accounts --on-bad-item keep")
    assert code == 1
    assert [line[:2] for line in counts(out)] == [
        [name, f"…000{n}"] for name in ("messages", "works") for n in (1, 2)
    ]
    assert "dp-async: works of …0002: work_list, page 1 of 100 rows: " in err


#: Each destination that is refused before any request, and why.
REFUSED = {
    "delta://lake": "--to: Delta tables are delta:///FOLDER, or delta:////FOLDER/FOLDER",
    "delta:///": "--to: Delta tables are delta:///FOLDER",
    "delta:/lake": "--to: it must be duckdb:///FILE, ",
    "gs://bucket/lake": "--to: gs:// is not supported; use duckdb:///FILE, ",
    "s3://": "--to must read s3://BUCKET/PREFIX",
    "s3://key:sesame@bucket/lake": "--to must read s3://BUCKET/PREFIX, without credentials",
    "delta:///file": "--to: file is a file; give the folder",
    "delta:///lake/works": "--to: lake/works is a Delta table itself; give the folder",
    "delta:///other": "{folder}/other/works is no Delta table: move it away",
    "delta:///lake --dataset rows": "--dataset: Delta tables are in no dataset",
}


def test_a_destination_that_holds_something_else_is_refused_before_any_request(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    assert cli("sync --to delta:///lake")[0] == 0
    Path("file").touch()
    Path("other/works").mkdir(parents=True)
    Path("other/works/content").touch()
    served = simulator.served
    for to, problem in REFUSED.items():
        code, out, err = cli(f"sync --to {to}")
        assert (code, out, err.count("\n")) == (2, "", 1), to
        assert err.startswith(f"dp-async: {problem.format(folder=tmp_path)}"), to
    assert simulator.served == served


def test_a_table_that_cannot_be_read_is_one_line_before_any_request(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    assert cli("sync --to delta:///lake")[0] == 0
    served = simulator.served
    for entry in Path("lake/works/_delta_log").glob("*.json"):
        entry.write_text("no log")
    code, out, err = cli("sync --to delta:///lake")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"dp-async: --to: the table {tmp_path}/lake/works: ")
    job = Job(settings=simulator.settings, target=target_of("delta:///lake", "dp_data"))
    with pytest.raises(LoadFailed):  # the kind that --watch survives
        job.run()
    assert simulator.served == served


# Signals


def test_a_signal_ends_the_sync_and_the_next_one_continues(
    cli: Cli, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = Table.merge

    def interrupted(*given: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        merge(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Table, "merge", interrupted)
        code, out, err = cli("sync --to delta:///lake --watch")
    assert (code, out, err) == (143, "", "dp-async: interrupted\n")
    assert cli("sync --to delta:///lake")[0] == 0
    assert Lake("lake").rows("works") == truth(simulator.works)


#: A sync whose first commit takes for ever.
HANGING = """
import os, sys, time
from dp_async.cli import main
from dp_async.delta._table import Table
def merge(*_):
    os.write(1, b"here\\n")
    time.sleep(1000)
Table.merge = merge
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_commit_that_takes_long(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, **environment, "TMPDIR": str(tmp_path / "temporary")}
    command = [sys.executable, "-c", HANGING, "sync", "--to", "delta:///lake", "--watch"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (128 + number, b"dp-async: interrupted\n")
    assert os.listdir(tmp_path / "temporary") == []
