"""The part that talks to Ray, with a Ray that is made up: what it is asked, and what it answers.

``test_ray_kills`` has the real one.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs ray: dp_async[ray]")
pytest.importorskip("deltalake", reason="needs deltalake: dp_async[ray]")

from ray.exceptions import ActorDiedError, RayTaskError

from dp_async import Client, ConfigError, CrawlOptions, Settings, delta
from dp_async.ray import App, RayFailed, _cluster, sync
from dp_async.ray._apps import LISTS, NOTHING
from dp_async.ray._program import Program
from dp_async.tables import Outcome

SECRET = "simulated-secret"
SETTINGS = Settings(base_url="https://api.example.com", app_id="app-0", app_secret=SECRET)


class Call:
    """A call of an actor's method that has not been waited for."""

    def __init__(self, actor: Actor, method: str, app: App | None) -> None:
        self.actor, self.method, self.app = actor, method, app


class Actor:
    """An actor that runs nothing."""

    def __init__(self, ray: Ray, kind: type, given: Sequence[Any]) -> None:
        self.number = len(ray.actors)
        self.kind, self.given = kind, given
        self.killed = False
        ray.actors.append(self)
        self.ready = SimpleNamespace(remote=lambda: Call(self, "ready", None))
        self.sync = SimpleNamespace(remote=lambda app: ray.called(Call(self, "sync", app)))


class Ray:
    """Ray without processes. *answers*: of ``ready`` and of each app; by default they are good."""

    def __init__(self) -> None:
        self.running = False
        self.cores = 2.0
        self.events: list[str] = []
        self.actors: list[Actor] = []
        self.options: dict[str, Any] = {}
        self.started: dict[str, Any] = {}
        self.answers: dict[str, Exception] = {}
        self.never: set[int] = set()
        self.fault: BaseException | None = None
        self.given: dict[int, list[str]] = {}
        self.seen: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options: Any) -> None:
        self.events.append("init")
        self.started = options
        signal.signal(signal.SIGTERM, lambda *_: None)  # as Ray does
        self.seen = {
            "token": os.environ.get("RAY_AUTH_TOKEN"),
            "folder": Path(options["_temp_dir"]).is_dir() if "_temp_dir" in options else None,
            "log": logging.getLogger("ray").level,
        }
        os.environ["RAY_AUTH_MODE"] = "token"
        if self.fault is not None:
            raise self.fault

    def shutdown(self) -> None:
        self.events.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cores} if self.cores else {}

    def remote(self, kind: type) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda *given: Actor(self, kind, given))

        return SimpleNamespace(options=options)

    def called(self, call: Call) -> Call:
        assert call.app is not None
        self.given.setdefault(call.actor.number, []).append(call.app.app_id)
        return call

    def wait(self, calls: list[Call], num_returns: int) -> tuple[list[Call], list[Call]]:
        first = next(call for call in calls if call.actor.number not in self.never)
        return [first], [call for call in calls if call is not first]

    def get(self, call: Call) -> Any:
        answer = self.answers.get("ready" if call.app is None else call.app.app_id)
        if answer is not None:
            raise answer
        return None if call.app is None else [outcome(call.app.app_id, name) for name in LISTS]

    def kill(self, actor: Actor) -> None:
        self.events.append("kill")
        actor.killed = True


def outcome(app_id: str, name: Any) -> Outcome:
    return Outcome(
        resource=name, app_id=app_id, account="", new=1, updated=0, gone=0, report=NOTHING
    )


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ray = Ray()
    monkeypatch.setattr(_cluster, "ray", ray)
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return ray


def settings(app_id: str) -> Settings:
    raise NotImplementedError


def apps(*sizes: int) -> list[App]:
    return [App(f"app-{n}", [f"199{n}" for n in range(size)]) for n, size in enumerate(sizes)]


def run(tmp_path: Path, *sizes: int, **options: Any) -> list[Outcome]:
    return [*sync(apps(*(sizes or (1, 1, 1))), settings, tmp_path / "lake", **options)]


def test_a_ray_of_its_own_is_started_quietly_and_ended(ray: Ray, tmp_path: Path) -> None:
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    assert len(run(tmp_path, workers=2, apps_at_once=7)) == 6
    folder = ray.started.pop("_temp_dir")
    assert ray.started == {
        "address": "local",
        "num_cpus": 2,
        "include_dashboard": False,
        "object_store_memory": _cluster.OBJECT_STORE,
        "_node_ip_address": "127.0.0.1",
        "_system_config": _cluster.QUIET,
        "log_to_driver": False,
        "configure_logging": False,
    }
    assert ray.seen == {"token": _cluster.TOKEN, "folder": True, "log": logging.ERROR}
    assert ray.options == {
        "num_cpus": 1,
        "max_restarts": -1,
        "max_task_retries": 3,
        "max_concurrency": 4,  # no more apps than there are, and one for ready
    }
    assert ray.events == ["init", "kill", "kill", "shutdown"]
    assert not Path(folder).exists()
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) == handler
    assert logging.getLogger("ray").level != logging.ERROR


def test_each_actor_gets_the_job_and_the_program(ray: Ray, tmp_path: Path) -> None:
    run(tmp_path)
    assert [actor.kind.__name__ for actor in ray.actors] == ["Actor"] * 2
    data, program = ray.actors[0].given
    job = pickle.loads(data)
    assert (job.settings, job.client) == (settings, Client)
    assert job.load.func is delta.sync
    assert job.load.keywords["uri"] == tmp_path / "lake"
    assert program == Program.this()


def test_there_are_no_more_workers_than_apps_or_cores(ray: Ray, tmp_path: Path) -> None:
    ray.cores = 64.0
    run(tmp_path)
    assert len(ray.actors) == 3
    assert ray.started["num_cpus"] == len(os.sched_getaffinity(0))
    ray.actors, ray.cores = [], 0.0  # a cluster that adds machines when they are wanted
    run(tmp_path)
    assert len(ray.actors) == 1


def test_a_token_that_is_set_is_kept(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    run(tmp_path)
    assert (ray.seen["token"], os.environ["RAY_AUTH_TOKEN"]) == ("theirs", "theirs")


def test_sockets_have_room_in_the_path_of_the_folder(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(tmp_path)
    folder = Path(ray.started["_temp_dir"])
    assert folder.name.startswith("dp-ray-")
    assert tmp_path not in folder.parents


def test_a_ray_that_the_program_has_started_is_left_running(ray: Ray, tmp_path: Path) -> None:
    ray.running = True
    assert len(run(tmp_path)) == 6
    assert ray.events == ["kill", "kill"]
    with pytest.raises(ConfigError, match="address: this process has initialised Ray already"):
        run(tmp_path, address="auto")


def test_it_runs_outside_of_the_main_thread(ray: Ray, tmp_path: Path) -> None:
    ray.init = lambda **options: None  # type: ignore[method-assign]  # Ray sets no handler there
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.extend(run(tmp_path)))
    thread.start()
    thread.join()
    assert len(found) == 6


# A cluster by its address


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_a_cluster_is_reached_by_its_address(
    ray: Ray, tmp_path: Path, listening: str, prefix: str
) -> None:
    assert len(run(tmp_path, address=prefix + listening)) == 6
    assert ray.started == {
        "address": prefix + listening,
        "log_to_driver": False,
        "configure_logging": False,
    }
    assert ray.events[-1] == "shutdown"


def test_auto_is_the_address_in_the_environment_or_what_ray_finds(
    ray: Ray, tmp_path: Path, listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, address="auto")
    assert ray.started["address"] == "auto"
    monkeypatch.setenv("RAY_ADDRESS", listening)
    run(tmp_path, address="auto")
    assert ray.started["address"] == listening


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:1", r"no Ray answers at 127.0.0.1:1: .*refused"),
        ("127.0.0.1:x", r"no Ray answers at 127.0.0.1:x: Port could not be cast"),
        (":6379", r"no Ray answers at :6379: "),
    ],
)
def test_an_address_that_does_not_answer_is_one_line_and_at_once(
    ray: Ray, tmp_path: Path, address: str, problem: str
) -> None:
    with pytest.raises(RayFailed, match=problem) as raised:
        run(tmp_path, address=address)
    assert "\n" not in str(raised.value)
    assert ray.events == []


@pytest.mark.parametrize(
    "error", [ConnectionError("none\nno Ray here\n"), RuntimeError("no Ray here")]
)
def test_a_ray_that_cannot_be_started_or_reached_is_one_line(
    ray: Ray, tmp_path: Path, error: Exception
) -> None:
    ray.fault = error
    with pytest.raises(RayFailed, match=r"^Ray: no Ray here$"):
        run(tmp_path, address="auto")
    assert ray.events == ["init", "shutdown"]


# Which worker gets what


def test_the_apps_are_shared_by_their_accounts(ray: Ray, tmp_path: Path) -> None:
    run(tmp_path, 1, 9, 2, 8, 4, workers=2)
    assert ray.given == {0: ["app-1", "app-4"], 1: ["app-3", "app-2", "app-0"]}


def test_an_actor_that_waits_for_a_core_gets_no_app(ray: Ray, tmp_path: Path) -> None:
    ray.never = {1}
    assert len(run(tmp_path, 1, 1, 1, 1)) == 8
    assert {*ray.given} == {0}


# What fails


def died(text: str = "") -> ActorDiedError:
    return ActorDiedError(text)


def test_a_worker_that_cannot_start_ends_it(ray: Ray, tmp_path: Path) -> None:
    ray.answers["ready"] = died()
    with pytest.raises(RayFailed, match=r"^a worker of Ray did not start: .+$"):
        run(tmp_path)
    assert ray.events[-3:] == ["kill", "kill", "shutdown"]


def test_what_is_wrong_with_the_tables_is_raised_as_it_is(ray: Ray, tmp_path: Path) -> None:
    ray.answers["ready"] = RayTaskError("ready", "a traceback", ConfigError("it is no Delta table"))
    with pytest.raises(ConfigError, match=r"^it is no Delta table$"):
        run(tmp_path)


def test_an_app_whose_worker_dies_too_often_fails_alone(ray: Ray, tmp_path: Path) -> None:
    ray.answers["app-1"] = died()
    outcomes = run(tmp_path, 1, 2, 1)
    failed = [one for one in outcomes if one.error is not None]
    assert [(one.app_id, one.account, one.resource) for one in failed] == [
        ("app-1", account, name) for name in LISTS for account in ("1990", "1991")
    ]
    assert {type(one.error) for one in failed} == {RayFailed}
    assert all(str(one.error).startswith("the worker of this app died 4 times") for one in failed)
    assert len(outcomes) - len(failed) == 4


def test_an_error_of_the_job_in_a_new_worker_fails_the_app(ray: Ray, tmp_path: Path) -> None:
    ray.answers["app-1"] = RayTaskError("sync", "a traceback", RayFailed("cannot be loaded"))
    outcomes = run(tmp_path)
    assert {str(one.error) for one in outcomes if one.error} == {"cannot be loaded"}


def test_a_bug_comes_with_the_traceback_of_the_worker(ray: Ray, tmp_path: Path) -> None:
    ray.answers["app-1"] = RayTaskError("sync", "the lines in the worker", ZeroDivisionError("bug"))
    outcomes: list[Outcome] = []
    with pytest.raises(ExceptionGroup) as raised:
        outcomes.extend(sync(apps(1, 1, 1), settings, tmp_path / "lake"))
    (bug,) = raised.value.exceptions
    assert isinstance(bug, ZeroDivisionError)
    traceback, app = bug.__notes__
    assert "the lines in the worker" in traceback
    assert app == "while the app app-1 was synced"
    assert len(outcomes) == 4


def test_closing_it_early_kills_the_workers(ray: Ray, tmp_path: Path) -> None:
    found = sync(apps(1, 1, 1), settings, tmp_path / "lake")
    assert ray.events == []  # nothing is started before the first outcome is asked for
    next(found)
    found.close()
    assert ray.events == ["init", "kill", "kill", "shutdown"]


def test_an_error_without_a_text_is_its_name() -> None:
    assert _cluster._last_line(ConnectionError(" \n")) == "ConnectionError"  # pyright: ignore[reportPrivateUsage]  # Ray's errors have texts today


# What is pickled


def holding(value: object) -> Callable[[str], Settings]:
    def settings(app_id: str) -> Settings:
        raise NotImplementedError(value)

    return settings


class Secretive:
    """Settings of an application, with others in them."""

    def __init__(self, given: Settings) -> None:
        self.given = {"app-0": given}

    def __call__(self, app_id: str) -> Settings:
        return self.given[app_id]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"settings": holding(SETTINGS)}, "settings: it holds Settings, whose secret would pass"),
        ({"settings": Secretive(SETTINGS)}, "settings: it holds Settings, whose secret would pass"),
        ({"settings": holding(threading.Lock())}, "settings: it cannot be pickled (TypeError)"),
        ({"client": holding(threading.Lock())}, "client: it cannot be pickled (TypeError)"),
    ],
)
def test_what_must_not_or_cannot_be_pickled_is_refused_at_once(
    ray: Ray, tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    given: dict[str, Any] = {"settings": settings, "client": Client} | options
    with pytest.raises(ConfigError) as raised:
        sync(apps(1), given["settings"], tmp_path, client=given["client"])
    assert str(raised.value).startswith(text)
    assert SECRET not in str(raised.value)
    assert raised.value.__context__ is None


def test_options_that_cannot_be_pickled_are_refused(ray: Ray, tmp_path: Path) -> None:
    class Mine(CrawlOptions):
        def __reduce__(self) -> Any:
            raise TypeError

    with pytest.raises(ConfigError, match=r"^options: it cannot be pickled \(TypeError\)"):
        sync(apps(1), settings, tmp_path, options=Mine())


def test_functions_of_the_program_itself_are_pickled(ray: Ray, tmp_path: Path) -> None:
    name = "key"

    def local(app_id: str) -> Settings:
        raise FileNotFoundError(f"{name} of {app_id}")

    assert [*sync(apps(1), local, tmp_path)]
    job = pickle.loads(ray.actors[0].given[0])
    with pytest.raises(FileNotFoundError, match="key of app-0"):
        job.settings("app-0")
