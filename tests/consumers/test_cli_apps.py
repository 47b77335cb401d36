"""``sync --apps``: what is loaded, its summary, and which files are refused before any request."""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from anyio.from_thread import start_blocking_portal

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

import dp_async.ray
from dp_async import AuthError, BadItem, ConfigError, CrawlOptions, Settings
from dp_async.cli import main
from dp_async.cli._app_file import AppFile
from dp_async.cli._run import Exit
from dp_async.ray._apps import NOTHING
from dp_async.tables import Outcome
from dp_async.testing import AuthFailure, Simulator
from tests.support.lake import Lake, app_agrees

SECRET = "simulated-secret"
ACCOUNTS = ["19900000001", "19900000002"]
HEADING = ["app", "accounts", "new", "updated", "gone", "requests", "verdict"]

Cli: TypeAlias = Callable[[str], tuple[int, str, str]]

APPS = """
[[app]]
app_id = "app-1"
accounts = ["19900000001", "19900000002"]
secret_env = "KEY_1"
base_url = "URL-1"

[[app]]
app_id = "app-2"
accounts_file = "lists/accounts"
secret_file = "keys/app-2"
rate = 500
auth_template = "{timestamp}{app_secret}"
timestamp_unit = "s"
"""


@pytest.fixture
def simulators() -> Iterator[list[Simulator]]:
    """One for each app; the second wants another signature."""
    first = Simulator(works=30, messages=5, app_id="app-1")
    second = Simulator(
        works=20,
        messages=5,
        app_id="app-2",
        auth_template="{timestamp}{app_secret}",
        timestamp_unit="s",
    )
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(first), portal.wrap_async_context_manager(second):
            yield [first, second]


@pytest.fixture
def folder(tmp_path: Path, simulators: list[Simulator], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the file of both apps."""
    text = APPS.replace("URL-1", simulators[0].url)
    for name, content in {
        "apps.toml": text,
        "keys/app-2": f"{SECRET}\n",
        "lists/accounts": "19900000001\n19900000002\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("KEY_1", SECRET)
    monkeypatch.setenv("DP_BASE_URL", simulators[1].url)
    return tmp_path


@pytest.fixture
def cli(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Cli:
    """Runs a command in this process, in another folder; its exit code and its outputs."""
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT", "DP_SYNC_TO"):
        monkeypatch.delenv(name, raising=False)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    def run(line: str) -> tuple[int, str, str]:
        code = main(shlex.split(line))
        out, err = (text.decode() for text in capfdbinary.readouterr())
        assert SECRET not in out + err
        assert "19900" not in out + err
        return code, out, err

    return run


SYNC = "sync --apps ../apps.toml --to delta:///lake"


def table(out: str) -> dict[str, list[str]]:
    """The cells of a summary by the app."""
    lines = [line.split(maxsplit=6) for line in out.replace("all 2", "all-2").splitlines()]
    assert lines[0] == HEADING
    return {cells[0]: cells[1:] for cells in lines[1:]}


# What is loaded, and the summary


def test_all_apps_of_a_file_are_loaded_and_summed_up(
    cli: Cli, folder: Path, simulators: list[Simulator]
) -> None:
    code, out, err = cli(SYNC)
    assert (code, err) == (0, "")
    assert {name: cells[:4] + cells[5:] for name, cells in table(out).items()} == {
        "app-1": ["2", "70", "0", "0", "done"],
        "app-2": ["2", "50", "0", "0", "done"],
        "all-2": ["4", "120", "0", "0", "done"],
    }
    lake = Lake(str(folder / "elsewhere" / "lake"))
    for app_id, simulator in zip(("app-1", "app-2"), simulators, strict=True):
        assert app_agrees(lake, app_id, ACCOUNTS, simulator.works, simulator.messages)


def test_an_app_that_fails_stops_no_other(cli: Cli, simulators: list[Simulator]) -> None:
    simulators[0].fail(AuthFailure(), times=None)
    code, out, err = cli(SYNC)
    assert code == Exit.FAILED
    found = table(out)
    assert found["app-1"][-1] == "FAILED: 4 of 4 lists"
    assert found["app-2"][-1] == "done"
    assert found["all-2"][-1] == "FAILED: 4 of 8 lists"
    assert all(line.startswith("dp-async: app-1: ") for line in err.splitlines())
    assert len(err.splitlines()) == 4


class Recorded:
    """Stands for ``dp_async.ray.sync``."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.options: dict[str, Any] = {}
        self.apps: list[Any] = []
        self.settings: Any = None

    def __call__(self, apps: list[Any], settings: Any, uri: str, **options: Any) -> Any:
        self.apps, self.settings, self.options = apps, settings, options | {"uri": uri}
        return (outcome for outcome in self.outcomes)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    def record(*outcomes: Outcome) -> Recorded:
        made = Recorded(*outcomes)
        monkeypatch.setattr(dp_async.ray, "sync", made)
        return made

    return record


@pytest.mark.parametrize(
    ("words", "workers", "address"),
    [
        ("", 0, None),
        ("--ray", None, None),
        ("--ray auto", None, "auto"),
        ("--ray=10.0.0.1:6379", None, "10.0.0.1:6379"),
    ],
)
def test_the_flags_are_those_of_the_sync(
    cli: Cli,
    recorded: Callable[..., Recorded],
    words: str,
    workers: int | None,
    address: str | None,
) -> None:
    pytest.importorskip("ray", reason="needs ray: dp_async[ray]")
    made = recorded()
    code, _, err = cli(
        f"{SYNC} --full --reconcile --at-once 7 --page-size 50 --concurrency 3 "
        f"--on-bad-item keep --timeout 3 {words}"
    )
    assert (code, err) == (0, "")
    assert made.options == {
        "workers": workers,
        "address": address,
        "full": True,
        "reconcile": True,
        "at_once": 7,
        "options": CrawlOptions(page_size=50, concurrency=3, on_bad_item="keep"),
        "uri": "lake",
    }
    assert [(app.app_id, app.accounts) for app in made.apps] == [
        ("app-1", ACCOUNTS),
        ("app-2", ACCOUNTS),
    ]
    again: AppFile = pickle.loads(pickle.dumps(made.settings))
    assert SECRET.encode() not in pickle.dumps(made.settings)
    first, second = again("app-1"), again("app-2")
    assert (first.app_id, first.rate, first.timeout) == ("app-1", None, 3.0)
    assert (second.app_id, second.rate, second.timestamp_unit) == ("app-2", 500, "s")
    assert {first.app_secret, second.app_secret} == {SECRET}
    with pytest.raises(ConfigError, match=r"apps.toml: the app app-3 is not in it"):
        again("app-3")


def outcome(app_id: str, account: str = ACCOUNTS[0], **changes: Any) -> Outcome:
    report = replace(NOTHING, complete=changes.pop("complete", True), reason="it moved")
    return Outcome(
        resource="works",
        app_id=app_id,
        account=account,
        new=changes.pop("new", 0),
        updated=0,
        gone=0,
        report=report,
        **changes,
    )


BAD = BadItem(3, "$.data", "no number", b"{}", 7)


@pytest.mark.parametrize(
    ("one", "code", "verdict", "line"),
    [
        (outcome("app-1"), Exit.OK, "done", ""),
        (
            outcome("app-1", bad_items=[BAD]),
            Exit.BAD_ROWS,
            "done, without bad rows",
            "dp-async: app-1: works of …0001: left out, on page 3: no number\n",
        ),
        (
            outcome("app-1", complete=False),
            Exit.INCOMPLETE,
            "not known to be complete",
            "dp-async: app-1: works of …0001: it moved; the next run reads the list again\n",
        ),
        (
            outcome("app-1", reloaded=True),
            Exit.OK,
            "done",
            (
                "dp-async: app-1: works of …0001: the tables did not hold what was loaded before; "
                "all is loaded again\n"
            ),
        ),
        (
            outcome("app-1", "", error=AuthError("no")),
            Exit.FAILED,
            "FAILED: 1 of 4 lists",
            "dp-async: app-1: works of main: no\n",
        ),
    ],
)
def test_each_outcome_has_its_code_its_verdict_and_its_line(
    cli: Cli,
    recorded: Callable[..., Recorded],
    one: Outcome,
    code: Exit,
    verdict: str,
    line: str,
) -> None:
    recorded(outcome("app-2"), one)
    found, out, err = cli(SYNC)
    assert (found, table(out)["app-1"][-1], err) == (code, verdict, line)


def test_the_worst_app_gives_the_code(cli: Cli, recorded: Callable[..., Recorded]) -> None:
    recorded(
        outcome("app-1", error=AuthError("no")),
        outcome("app-1", complete=False),
        outcome("app-2", bad_items=[BAD]),
    )
    code, out, _ = cli(SYNC)
    assert code == Exit.FAILED
    assert table(out)["all-2"][-1].startswith("FAILED")


def test_an_error_that_all_lists_of_an_app_share_is_one_line(
    cli: Cli, recorded: Callable[..., Recorded]
) -> None:
    recorded(*(outcome("app-1", error=AuthError("gone: 401")) for _ in range(4)))
    assert cli(SYNC)[2] == "dp-async: app-1: gone: 401\n"


def test_many_problems_of_an_app_are_counted(cli: Cli, recorded: Callable[..., Recorded]) -> None:
    recorded(*(outcome("app-1", error=AuthError(f"no {n}")) for n in range(9)))
    lines = cli(SYNC)[2].splitlines()
    assert len(lines) == 6
    assert lines[-1] == "dp-async: app-1: 4 other problems"


def test_a_signal_ends_it(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    def waiting(*given: Any, **options: Any) -> Generator[Outcome, None, None]:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                time.sleep(0.01)
            yield outcome("app-1")
        finally:
            closed.set()

    monkeypatch.setattr(dp_async.ray, "sync", waiting)
    code, out, err = cli(SYNC)
    assert (code, out, err) == (130, "", "dp-async: interrupted\n")
    assert closed.is_set()


# What is refused, before any request


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (f"{SYNC} --watch", "--apps and --watch exclude each other: use one of them"),
        (f"{SYNC} --demo", "--apps and --demo exclude each other"),
        (f"{SYNC} --account 1990", "--apps and --account (DP_ACCOUNT) exclude each other"),
        (f"{SYNC} --accounts x", "--apps and --accounts exclude each other"),
        (f"{SYNC} --secret-file x", "--apps and --secret-file exclude each other"),
        (f"{SYNC} --dataset other", "--dataset: Delta tables are in no dataset"),
        ("sync --apps ../apps.toml", "DP_SYNC_TO is not set"),
        ("sync --apps ../apps.toml --to x", "--to: --apps needs delta:///FOLDER or s3://"),
        ("sync --apps ../apps.toml --to delta://x", "--to: Delta tables are delta:///FOLDER"),
        ("sync --ray --to delta:///lake", "--ray syncs many apps: name their file by --apps"),
        ("sync --apps ../none --to delta:///lake", "../none: cannot be read: No such file"),
    ],
)
def test_flags_that_cannot_work_are_refused(cli: Cli, words: str, text: str) -> None:
    code, out, err = cli(words)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith(f"dp-async: {text}")
    assert len(err.splitlines()) == 1


def nothing(name: str) -> None:
    """No library is installed."""


@pytest.mark.parametrize("missing", ["deltalake", "ray"])
def test_what_is_not_installed_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    extra = "ray" if missing == "ray" else "delta"
    if missing == "deltalake":
        monkeypatch.setitem(sys.modules, "dp_async.cli._apps", None)
    else:
        monkeypatch.setattr("dp_async.cli._sync_flags.find_spec", nothing)
    code, _, err = cli(f"{SYNC} --ray")
    assert code == Exit.USAGE
    assert "an extra: pip install 'dp_async[cli,ray]'" in err
    assert extra in err


GOOD = '[[app]]\napp_id = "app-1"\naccounts = ["19900000001"]\nsecret_env = "KEY_1"\n'


def without(line: str, *more: str) -> str:
    return "".join(f"{each}\n" for each in [*GOOD.replace(line, "").splitlines(), *more])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "apps.toml: has no app; give each an [[app]] table"),
        ("app = 3", "apps.toml: has no app; give each an [[app]] table"),
        ("app = [3]", "apps.toml: has no app; give each an [[app]] table"),
        ("[[apps]]\n", "apps.toml: unknown key 'apps'; use [[app]] tables alone"),
        ("[[app]\n", "apps.toml: is no TOML: "),
        (b"\xff", "apps.toml: cannot be read: it is not UTF-8 text"),
        ("[[app]]\n", "apps.toml: [[app]] number 1 needs an app_id, a text"),
        ("[[app]]\napp_id = 3\n", "apps.toml: [[app]] number 1 needs an app_id, a text"),
        (GOOD * 2, "app app-1: it is given twice; give each app once, with all accounts"),
        (without('accounts = ["19900000001"]'), "app app-1: it has no accounts: give accounts or"),
        (
            GOOD + 'accounts_file = "x"\n',
            "app app-1: accounts and accounts_file exclude each other: keep one of them",
        ),
        (without('secret_env = "KEY_1"'), "app app-1: it has no secret_file: give secret_file or"),
        (GOOD + 'secret_file = "x"\n', "app app-1: secret_file and secret_env exclude each other"),
        (GOOD + 'secert = "x"\n', "app app-1: unknown key 'secert'; known are app_id, accounts, "),
        (
            GOOD.replace("KEY_1", "KEY_9"),
            "app app-1: secret_env: the variable KEY_9 is not set",
        ),
        (
            GOOD.replace("KEY_1", SECRET),
            "app app-1: secret_env: the variable that it names is not set",
        ),
        (
            without('secret_env = "KEY_1"', 'secret_file = "none"'),
            "app app-1: secret_file none cannot be read: No such file or directory",
        ),
        (
            without('secret_env = "KEY_1"', "secret_file = 3"),
            "app app-1: secret_file must be the name of a file",
        ),
        (
            without('secret_env = "KEY_1"', 'secret_file = "empty"'),
            "app app-1: app_secret must not be empty",
        ),
        (
            without('accounts = ["19900000001"]', "accounts = []"),
            "app app-1: accounts: the list is empty; give at least one account",
        ),
        (
            without('accounts = ["19900000001"]', "accounts = [19900000001]"),
            "app app-1: accounts must be a list of texts, in quotes",
        ),
        (
            without('accounts = ["19900000001"]', 'accounts = "19900000001"'),
            "app app-1: accounts must be a list of texts, in quotes",
        ),
        (
            without('accounts = ["19900000001"]', 'accounts = ["1", "2", "1", " "]'),
            "app app-1: accounts: account 3 repeats account 1; account 4 is blank or has blanks",
        ),
        (
            without('accounts = ["19900000001"]', 'accounts_file = "empty"'),
            "app app-1: accounts_file empty: the file is empty; use one account per line",
        ),
        (
            without('accounts = ["19900000001"]', 'accounts_file = "none"'),
            "app app-1: accounts_file none cannot be read: No such file or directory",
        ),
        (GOOD + "rate = 0\n", "app app-1: rate must be a number from 0.001"),
        (GOOD + 'timestamp_unit = "h"\n', "app app-1: timestamp_unit must be one of 'ms', 's'"),
        (GOOD + 'auth_template = "x"\n', "app app-1: auth_template must hold {app_secret}"),
        (GOOD + 'base_url = "ftp://x"\n', "app app-1: base_url must be an http(s) address"),
        (GOOD + 'base_url = ""\n', "app app-1: base_url is missing: give it here, as --base-url"),
    ],
)
def test_a_file_that_cannot_work_is_refused_by_one_line(
    cli: Cli, folder: Path, simulators: list[Simulator], text: str | bytes, problem: str
) -> None:
    (folder / "empty").touch()
    (folder / "apps.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = cli(SYNC)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("dp-async: ../apps.toml: ")
    assert problem in err
    assert len(err.splitlines()) == 1
    assert not any(simulator.served for simulator in simulators)
    assert not (folder / "elsewhere" / "lake").exists()


def test_each_app_that_cannot_work_has_its_line(cli: Cli, folder: Path) -> None:
    wrong = "".join(f'[[app]]\napp_id = "app-{n}"\n' for n in range(23))
    (folder / "apps.toml").write_text(wrong)
    code, _, err = cli(SYNC)
    lines = err.splitlines()
    assert (code, len(lines)) == (Exit.USAGE, 21)
    assert lines[1].startswith("dp-async: ../apps.toml: app app-1: ")
    assert lines[-1] == "dp-async: 3 other apps of the file cannot be synced"


def test_on_a_cluster_the_secrets_may_be_on_the_workers_alone(
    cli: Cli, folder: Path, recorded: Callable[..., Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs ray: dp_async[ray]")
    monkeypatch.delenv("KEY_1")
    made = recorded()
    assert cli(f"{SYNC} --ray auto")[0] == 0
    with pytest.raises(ConfigError, match=r"app app-1: secret_env: the variable KEY_1 is not set"):
        made.settings("app-1")
    assert cli(f"{SYNC} --ray")[0] == Exit.USAGE
    assert cli(SYNC)[0] == Exit.USAGE


def test_a_file_with_a_byte_order_mark_is_read(folder: Path) -> None:
    file = folder / "apps.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    settings = AppFile(file, {})("app-1")
    assert isinstance(settings, Settings)
