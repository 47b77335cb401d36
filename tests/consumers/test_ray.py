"""Many apps into Delta tables: what is loaded, what fails alone, and what is refused.

All of it in this process, without Ray: the worker is the one that Ray's processes run.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import errno
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

import dp_async.ray
from dp_async import AuthError, Client, ConfigError, CrawlOptions, DpError, Settings, delta
from dp_async.ray import App, RayFailed, sync
from dp_async.ray._actor import Actor
from dp_async.ray._apps import NOTHING, failed
from dp_async.ray._program import Program
from dp_async.ray._queue import Queue
from dp_async.ray._worker import Job, Worker
from dp_async.tables import Outcome
from dp_async.testing import AuthFailure, Simulator
from tests.support.lake import Lake, app_agrees

SECRET = "simulated-secret"
SETTINGS = Settings(base_url="https://api.example.com", app_id="another", app_secret=SECRET)
ACCOUNTS = ("19900000001", "19900000002")


class Server:
    """A simulator in process for each app."""

    def __init__(self, *app_ids: str) -> None:
        self.apps = {
            app_id: Simulator(works=130, messages=20, app_id=app_id, seed=place)
            for place, app_id in enumerate(app_ids)
        }

    def settings(self, app_id: str) -> Settings:
        return self.apps[app_id].in_process_settings

    def client(self, settings: Settings) -> Client:
        return Client(settings, send=self.apps[settings.app_id].send)


@pytest.fixture
def server() -> Server:
    return Server("app-1", "app-2", "app-3")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def here(server: Server, lake: Lake) -> Callable[..., Iterator[Outcome]]:
    """A sync of some apps in this process."""
    return partial(sync, uri=lake.to, workers=0, client=server.client)


def app(app_id: str) -> App:
    return App(app_id, ACCOUNTS)


def agrees(lake: Lake, server: Server, app_id: str) -> bool:
    simulator = server.apps[app_id]
    return app_agrees(lake, app_id, ACCOUNTS, simulator.works, simulator.messages)


# What is loaded


@pytest.mark.parametrize("apps_at_once", [1, 100])
def test_each_app_is_loaded_and_each_list_of_each_account_has_its_outcome(
    here: Callable[..., Iterator[Outcome]], server: Server, lake: Lake, apps_at_once: int
) -> None:
    apps = [app(app_id) for app_id in server.apps]
    for new in (130 + 20, 0):
        outcomes = [*here(apps, server.settings, apps_at_once=apps_at_once)]
        found = Counter((one.app_id, one.account, one.resource) for one in outcomes)
        assert len(found) == 3 * 2 * 2
        assert {*found.values()} == {1}
        assert sum(one.new for one in outcomes) == 3 * 2 * new
        assert all(agrees(lake, server, app_id) for app_id in server.apps)


def test_an_app_without_accounts_is_that_of_its_settings(
    here: Callable[..., Iterator[Outcome]], server: Server
) -> None:
    outcomes = [*here([App("app-1")], server.settings)]
    assert [(one.resource, one.account, one.new) for one in outcomes] == [
        ("works", "", 130),
        ("messages", "", 20),
    ]


def test_the_options_are_those_of_the_delta_sync(
    here: Callable[..., Iterator[Outcome]], server: Server
) -> None:
    apps = [app("app-1")]
    assert len([*here(apps, server.settings)]) == 4
    server.apps["app-1"].works.delete(server.apps["app-1"].works.ids()[3])
    outcomes = here(
        apps,
        server.settings,
        reconcile=True,
        at_once=2,
        options=CrawlOptions(page_size=50),
        allowed_lateness=1.0,
        storage_options={},
    )
    assert sum(one.gone for one in outcomes) == 2
    assert {seen.page_size for seen in server.apps["app-1"].requests[-4:]} == {50}


# What fails alone


def missing(settings: Callable[[str], Settings], error: Exception) -> Callable[[str], Settings]:
    def found(app_id: str) -> Settings:
        if app_id == "app-2":
            raise error
        return settings(app_id)

    return found


def test_an_app_whose_settings_are_missing_fails_alone(
    here: Callable[..., Iterator[Outcome]], server: Server, lake: Lake
) -> None:
    apps = [app(app_id) for app_id in server.apps]
    outcomes = [*here(apps, missing(server.settings, ConfigError("DP_SECRET_2 is not set")))]
    assert len(outcomes) == 3 * 2 * 2
    of_it = [one for one in outcomes if one.app_id == "app-2"]
    assert {str(one.error) for one in of_it} == {"DP_SECRET_2 is not set"}
    assert {one.report for one in of_it} == {NOTHING}
    assert all(one.error is None for one in outcomes if one.app_id != "app-2")
    assert agrees(lake, server, "app-3")
    assert not server.apps["app-2"].served


HIDDEN = "its text may hold a secret and is not shown"


def raising(error: Exception) -> Callable[[str], Settings]:
    return missing(Settings, error)  # type: ignore[arg-type]  # never called


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (raising(KeyError("DP_SECRET_2")), "raised KeyError: DP_SECRET_2"),
        (
            raising(FileNotFoundError(errno.ENOENT, "No such file or directory", "/keys/2")),
            "raised FileNotFoundError: No such file or directory: /keys/2",
        ),
        (raising(ValueError(f"cannot parse {SECRET}")), f"raised ValueError; {HIDDEN}"),
        (raising(OSError(SECRET)), f"raised OSError; {HIDDEN}"),
        (raising(KeyError()), f"raised KeyError; {HIDDEN}"),
        (lambda app_id: SETTINGS, "gave the settings of another app"),
        (lambda app_id: None, "gave a NoneType, not Settings"),
    ],
)
async def test_settings_that_cannot_be_had_are_a_config_error(settings: Any, problem: str) -> None:
    outcomes = await Worker(Job(settings, Client, delta_load, nothing)).sync(app("app-2"))
    assert len(outcomes) == 4
    assert {str(one.error) for one in outcomes} == {f"settings('app-2') {problem}"}
    assert {type(one.error) for one in outcomes} == {ConfigError}
    assert all(one.error and one.error.__context__ is None for one in outcomes)


def test_a_refused_app_fails_alone(
    here: Callable[..., Iterator[Outcome]], server: Server, lake: Lake
) -> None:
    server.apps["app-2"].fail(AuthFailure(), times=None)
    outcomes = [*here([app(app_id) for app_id in server.apps], server.settings)]
    kinds = {(one.app_id, type(one.error)) for one in outcomes}
    assert kinds == {("app-1", type(None)), ("app-2", AuthError), ("app-3", type(None))}
    assert agrees(lake, server, "app-3")


def test_what_was_loaded_before_an_error_of_the_tables_keeps_its_outcome(
    here: Callable[..., Iterator[Outcome]], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = delta.sync

    async def ends(client: Client, accounts: Any, **options: Any) -> Any:
        async for one in real(client, accounts, **options):
            yield one
            if one.resource == "works" and client.settings.app_id == "app-2":
                raise delta.LoadFailed("the disk is full")

    def failing(client: Client, accounts: Any, **options: Any) -> Any:
        real(client, accounts, **options)
        return ends(client, accounts, **options)

    monkeypatch.setattr(delta, "sync", failing)
    outcomes = [*here([app(app_id) for app_id in server.apps], server.settings)]
    assert len({(one.app_id, one.account, one.resource) for one in outcomes}) == len(outcomes) == 12
    assert {(one.app_id, str(one.error)) for one in outcomes if one.error} == {
        ("app-2", "the disk is full")
    }
    assert sum(one.error is not None for one in outcomes) == 3


def test_a_bug_in_one_app_is_raised_when_the_others_are_done(
    here: Callable[..., Iterator[Outcome]], server: Server, lake: Lake
) -> None:
    def client(settings: Settings) -> Client:
        if settings.app_id == "app-2":
            raise ZeroDivisionError("a bug")
        return server.client(settings)

    found = here([app(app_id) for app_id in server.apps], server.settings, client=client)
    outcomes: list[Outcome] = []
    with pytest.raises(ExceptionGroup, match="some apps were not synced") as raised:
        outcomes.extend(found)
    (bug,) = raised.value.exceptions
    assert (type(bug), bug.__notes__) == (
        ZeroDivisionError,
        ["while the app app-2 was synced"],
    )
    assert {one.app_id for one in outcomes} == {"app-1", "app-3"}
    assert agrees(lake, server, "app-3")


# What is said once, before any request


def test_the_place_of_the_tables_is_checked_once(
    here: Callable[..., Iterator[Outcome]], server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    (folder / "works").mkdir(parents=True)
    (folder / "works" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"elsewhere/works is no Delta table: move it away"):
        next(here([app("app-1")], server.settings, uri=folder))
    assert not server.apps["app-1"].served


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"apps": []}, "apps is empty: give at least one App"),
        ({"apps": App("a")}, "apps must be a list of App"),
        ({"apps": 3}, "apps must be a list of App"),
        ({"apps": ["a"]}, "apps[0] must be an App, not str"),
        ({"apps": [App("a"), App("a")]}, "apps[1]: the app a is given twice"),
        ({"apps": [App("a", ())]}, "apps[0], the app 'a': accounts is empty: give at least one"),
        ({"apps": [App("a", "1990")]}, "apps[0], the app 'a': accounts needs a list of accounts"),
        ({"apps": [App("a", ["ä"])]}, "apps[0], the app 'a': account must be printable ASCII"),
        ({"apps": [App("a", [" "])]}, "apps[0], the app 'a': accounts[0] must be an account"),
        ({"apps": [App("ä")]}, "apps[0], the app 'ä': app_id must be printable ASCII"),
        ({"apps": [App(3)]}, "apps[0], the app 3: app_id must be a string"),  # type: ignore[arg-type]  # on purpose
        ({"settings": None}, "settings must be a plain function"),
        ({"client": "x"}, "client must be a plain function"),
        ({"workers": -1}, "workers must be a whole number, 0 or more"),
        ({"workers": True}, "workers must be a whole number, 0 or more"),
        ({"apps_at_once": 0}, "apps_at_once must be a whole number, 1 or more"),
        ({"at_once": 0}, "apps[0], the app 'a': at_once must be a whole number"),
        ({"allowed_lateness": -1}, "allowed_lateness must be a number"),
        ({"address": " "}, 'address must be a text such as "auto" or "HOST:PORT"'),
        ({"address": 3}, 'address must be a text such as "auto" or "HOST:PORT"'),
        ({"address": "auto"}, "address: workers=0 means no Ray at all"),
        ({"uri": "ftp://x/y"}, "apps[0], the app 'a': uri: ftp:// is not supported"),
        ({"uri": ""}, "apps[0], the app 'a': uri must be a folder"),
        ({"uri": 3}, "apps[0], the app 'a': uri must be a folder"),
        ({"storage_options": 3}, "apps[0], the app 'a': storage_options must be a dict"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(
    changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "apps": [App("a", ACCOUNTS)],
        "settings": Settings,
        "uri": tmp_path / "lake",
        "workers": 0,
    }
    with pytest.raises(ConfigError) as raised:
        sync(**given | changes)
    assert str(raised.value).startswith(text)
    assert not [*tmp_path.iterdir()]


async def test_an_async_function_of_settings_is_refused(tmp_path: Path) -> None:
    async def settings(app_id: str) -> Settings:
        raise NotImplementedError

    with pytest.raises(ConfigError, match="settings must be a plain function"):
        sync([App("a")], settings, tmp_path, workers=0)  # type: ignore[arg-type]  # on purpose


def test_a_folder_is_that_of_the_program(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sync([app("app-1")], server.settings, "lake", workers=0, client=server.client)
    monkeypatch.chdir("/")  # the workers of Ray have a working directory of their own
    assert len([*found]) == 4
    assert (tmp_path / "lake" / "works").is_dir()


# The end


def test_closing_it_early_ends_the_thread_and_the_requests(
    here: Callable[..., Iterator[Outcome]], server: Server
) -> None:
    found: Any = here([app(app_id) for app_id in server.apps], server.settings, apps_at_once=1)
    before = threading.active_count()
    next(found)
    found.close()
    assert not any(simulator.in_flight for simulator in server.apps.values())
    assert threading.active_count() <= before + 1  # a thread of to_thread may end later


def test_a_fault_of_the_loop_itself_is_raised(
    here: Callable[..., Iterator[Outcome]], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(queue: Queue, worker: int, given: App) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Queue, "done", fails)
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        list(here([app("app-1")], server.settings))


def test_without_ray_only_this_process_can_sync(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "dp_async.ray._cluster", raising=False)
    with pytest.raises(ImportError, match=r"needs ray, which is an extra: pip install .*\[ray\]"):
        sync([app("app-1")], server.settings, tmp_path)
    assert len([*sync([app("app-1")], server.settings, tmp_path, workers=0, client=server.client)])


def test_without_deltalake_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_async.tables", None)
    with pytest.raises(ImportError, match=r"which are an extra: pip install .*\[ray\]"):
        importlib.reload(dp_async.ray)


# Which worker gets which app


def sized(*sizes: int) -> list[App]:
    return [App(f"app-{n}", [str(n) for n in range(size)]) for n, size in enumerate(sizes)]


def taken(queue: Queue, worker: int) -> list[int]:
    found: list[int] = []
    while (given := queue.take(worker)) is not None:
        found.append(given.size)
    return found


def test_the_largest_come_first_and_each_worker_gets_its_share() -> None:
    queue = Queue(sized(1, 9, 2, 8, 4), 2, 100)
    assert taken(queue, 0) == [9, 4]
    assert taken(queue, 1) == [8, 2, 1]
    assert taken(queue, 0) == []


def test_apps_beside_each_other_go_to_different_workers() -> None:
    queue = Queue(apps := sized(1, 1, 1, 1, 1, 1), 3, 100)
    assert [queue.take(0), queue.take(0)] == [apps[0], apps[3]]
    assert [queue.take(2), queue.take(1)] == [apps[2], apps[1]]


def test_a_worker_that_is_done_takes_what_is_left_for_one_that_does_not_come() -> None:
    apps = sized(3, 3, 3, 3)
    queue = Queue(apps, 2, 100)
    assert taken(queue, 0) == [3, 3]
    queue.done(0, apps[0])
    assert taken(queue, 0) == [3]
    assert queue.left == 3


def test_a_worker_has_no_more_apps_at_once_than_allowed() -> None:
    queue = Queue(sized(1, 1, 1, 1, 1), 1, 2)
    assert (taken(queue, 0), queue.at_once) == ([1, 1], 2)


# What passes through Ray


def test_what_passes_between_processes_shows_no_account_and_is_whole() -> None:
    given = App("app-1", ACCOUNTS)
    assert "1990" not in repr(given)
    error = AuthError("no", endpoint="work_list", status=401, code=7, request_id="r")
    outcomes = failed(given, (), error)
    again: list[Outcome] = pickle.loads(pickle.dumps(outcomes))
    assert [(one.account, one.resource, one.report) for one in again] == [
        (one.account, one.resource, one.report) for one in outcomes
    ]
    found = again[0].error
    assert isinstance(found, AuthError)
    assert (str(found), vars(found)) == (str(error), vars(error))
    assert issubclass(RayFailed, DpError)


async def test_an_actor_runs_the_worker_that_it_is_sent(server: Server, tmp_path: Path) -> None:
    job = Job(settings_of_nobody, Client, delta_load, partial(delta.prepare, tmp_path / "lake"))
    actor = Actor(pickle.dumps(job), Program("another machine", 1, "1"))
    await actor.ready()
    outcomes = await actor.sync(App("app-1"))
    assert {str(one.error) for one in outcomes} == {
        "settings('app-1') raised NotImplementedError; its text may hold a secret and is not shown"
    }


def nothing() -> None:
    raise NotImplementedError


def settings_of_nobody(app_id: str) -> Settings:
    raise NotImplementedError


def delta_load(client: Client, accounts: Any) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"cnowhere\nsettings\n.", r"ModuleNotFoundError: No module named 'nowhere'"),
        (b"cos\nsettings\n.", r"AttributeError: Can't get attribute 'settings' on .*"),
        (b"", "EOFError"),
    ],
)
async def test_a_job_that_cannot_be_loaded_in_a_worker_is_named(data: bytes, problem: str) -> None:
    actor = Actor(data, Program("another machine", 1, "1"))
    with pytest.raises(RayFailed, match=rf"cannot be loaded in a worker \({problem}\)"):
        await actor.ready()


# The program is watched

WATCHING = """
import pickle, sys, time
from dp_async.ray._actor import Actor
Actor(b"", pickle.loads(bytes.fromhex(sys.argv[1])))
print("watches", flush=True)
time.sleep(600)
"""


def test_a_worker_is_killed_with_the_program() -> None:
    with subprocess.Popen(["sleep", "600"]) as program:
        start = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[19]
        given = pickle.dumps(Program(Program.this().machine, program.pid, start)).hex()
        command = [sys.executable, "-c", WATCHING, given]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"watches\n"
            program.kill()
            program.wait()
            assert worker.wait() == -9


def test_the_end_of_a_program_is_noticed_as_it_comes() -> None:
    ended = threading.Event()
    with subprocess.Popen(["sleep", "600"]) as program:
        start = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[19]
        Program(Program.this().machine, program.pid, start).watch(ended.set)
        assert not ended.is_set()
        program.kill()
        assert ended.wait(60)


def test_an_actor_whose_program_has_ended_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *given: ends.append(given))
    this = Program.this()
    Actor(b"", Program(this.machine, this.pid, "earlier"))
    assert ends == [(os.getpid(), signal.SIGKILL)]


@pytest.mark.parametrize("change", ["pid", "start"])
def test_a_program_that_has_ended_already_is_noticed(change: str) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    this = Program.this()
    pid, start = (ended.pid, this.start) if change == "pid" else (this.pid, "1")
    calls: list[str] = []
    Program(this.machine, pid, start).watch(lambda: calls.append("ended"))
    assert calls == ["ended"]


def test_a_program_on_another_machine_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    this = Program.this()
    Program("another", this.pid, this.start).watch(pytest.fail)
    assert os.readlink("/proc/self/ns/pid") in this.machine

    def missing(path: Path, *given: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    unknown = Program.this()
    assert (unknown.machine, unknown.start) == ("", "")
    unknown.watch(pytest.fail)
    assert threading.active_count() == before
