"""The workers as actors of Ray: started, asked for one app after another, and ended.

The only file that runs Ray. It knows no list and no table.
"""
# The types of ray are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from .. import ConfigError, DpError, Settings
from ._actor import Actor
from ._apps import App, RayFailed, Result, failed
from ._program import Program
from ._queue import Queue
from ._worker import Job

#: How often the sync of an app is repeated after the death of its worker.
RETRIES = 3
#: Seconds to wait for a cluster's address to answer: Ray itself waits for minutes.
CONNECT_TIMEOUT = 5.0
#: Bytes of shared memory for Ray's objects, the least it takes: outcomes are small.
OBJECT_STORE = 80 * 2**20
#: The longest folder in which Ray's sockets have room: their paths have at most 107 bytes.
LONGEST_FOLDER = 30
#: Else Ray writes a line to standard output for each call that it repeats.
QUIET = {"enable_output_error_log_if_still_retry": False}
#: Who has it may use the Ray that this process starts. Else Ray keeps one in the home directory.
TOKEN = secrets.token_hex(32)


class _SecretFound(Exception):
    """Settings are about to be pickled."""


class _Pickler(cloudpickle.CloudPickler):  # pyright: ignore[reportUntypedBaseClass, reportPrivateImportUsage]  # it has no types
    """Pickles functions of the program itself too, and no settings."""

    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, Settings):
            raise _SecretFound
        plain: Any = super().reducer_override
        return plain(obj)


def pickled(job: Job) -> bytes:
    """*job* as the workers get it. Raises ConfigError for what cannot or must not be pickled."""
    file = BytesIO()
    for name in ("settings", "client", "options"):
        file = BytesIO()
        pickler: Any = _Pickler
        try:
            pickler(file).dump(job if name == "options" else getattr(job, name))
        except _SecretFound:
            problem = "it holds Settings, whose secret would pass through Ray"
        except Exception as error:
            problem = f"it cannot be pickled ({type(error).__name__})"
        else:
            continue
        raise ConfigError(
            f"{name}: {problem}; give a function that makes what it needs when it is called"
        )
    return file.getvalue()


def results_of_cluster(
    job: Job, apps: Sequence[App], at_once: int, workers: int | None, address: str | None
) -> Generator[Result, None, None]:
    """What became of each app, as they end; closing it ends the workers.

    Raises ConfigError at once for a job that cannot be pickled; RayFailed when it is iterated.
    """
    return _all_results(pickled(job), apps, at_once, workers, address)


def _all_results(
    job: bytes, apps: Sequence[App], at_once: int, workers: int | None, address: str | None
) -> Generator[Result, None, None]:
    with connected(address, workers) as cores:
        number = min(cores if workers is None else workers, len(apps))
        queue = Queue(apps, number, at_once)
        plain: Any = ray.remote(Actor)
        kind = plain.options(
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=RETRIES,
            max_concurrency=queue.at_once + 1,
        )
        actors = [kind.remote(job, Program.this()) for _ in range(number)]
        try:
            yield from _results(actors, queue)
        finally:
            for actor in actors:
                ray.kill(actor)


def _results(actors: Sequence[Any], queue: Queue) -> Generator[Result, None, None]:
    # An actor that still waits for a core has not answered, and gets no app.
    ready = {actor.ready.remote(): number for number, actor in enumerate(actors)}
    running: dict[Any, tuple[int, App]] = {}
    while queue.left:
        (ended,), _ = ray.wait([*ready, *running], num_returns=1)
        if ended in ready:
            number = ready.pop(ended)
            try:
                ray.get(ended)
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                problem = _last_line(error)
            else:
                problem = ""
            if problem:
                raise RayFailed(f"a worker of Ray did not start: {problem}")
        else:
            number, app = running.pop(ended)
            queue.done(number, app)
            yield _result(app, ended)
        while (given := queue.take(number)) is not None:
            running[actors[number].sync.remote(given)] = number, given


def _result(app: App, ended: Any) -> Result:
    try:
        return Result(app, ray.get(ended))
    except RayTaskError as error:
        if not isinstance(error.cause, DpError):
            error.cause.add_note(str(error))  # with the traceback there
            return Result(app, bug=error.cause)
        problem = error.cause
    except RayError as error:  # the worker died, more often than the call is repeated
        problem = RayFailed(
            f"the worker of this app died {RETRIES + 1} times: {_last_line(error)}; what is not "
            "loaded comes next time"
        )
    return Result(app, failed(app, (), problem))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def connected(address: str | None, workers: int | None) -> Generator[int]:
    """Ray for the block, and its number of cores.

    That of this process if it has initialised it; the cluster at *address*; else a new one on this
    machine, with *workers* cores, which ends with the block and leaves no file. Raises RayFailed.
    """
    if ray.is_initialized():
        if address is not None:
            raise ConfigError("address: this process has initialised Ray already; leave it out")
        yield _cores()
        return
    with ExitStack() as stack:
        if address is None:
            options = stack.enter_context(_own(workers))
        else:
            options = {"address": _reached(address)}
        stack.enter_context(_quiet())
        stack.callback(ray.shutdown)
        _init(options)
        yield _cores()


def _cores() -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


@contextmanager
def _own(workers: int | None) -> Generator[dict[str, Any]]:
    """Options for a cluster of this process alone, in a temporary folder."""
    place = tempfile.gettempdir()
    place = place if len(place) < LONGEST_FOLDER else "/tmp"
    folder = tempfile.mkdtemp(prefix="dp-ray-", dir=place)
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")}
    os.environ.setdefault("RAY_AUTH_TOKEN", TOKEN)
    try:
        yield {
            "address": "local",
            "num_cpus": len(os.sched_getaffinity(0)) if workers is None else workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": folder,
            "_system_config": QUIET,
        }
    finally:
        for name, value in before.items():  # Ray sets the mode
            if value is None:
                os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def _reached(address: str) -> str:
    """*address*, at which something listens. Raises RayFailed: Ray would wait for minutes."""
    given = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if given in ("auto", "local"):
        return given
    parts = urlsplit(given if "://" in given else f"//{given}")
    problem = ""
    try:
        host, port = parts.hostname, parts.port or 10001  # the port of ray://
        socket.create_connection((host or "", port), CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem or not parts.hostname:
        raise RayFailed(f"no Ray answers at {given}: {problem or 'use HOST:PORT'}")
    return given


@contextmanager
def _quiet() -> Generator[None]:
    """Ray logs no warnings: they are about its own start, and about workers that are restarted."""
    log = logging.getLogger("ray")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _init(options: dict[str, Any]) -> None:
    """Start or reach Ray. Its handler of SIGTERM, which ends the program, gives way to the former.

    Raises RayFailed.
    """
    handler = signal.getsignal(signal.SIGTERM)
    problem = ""
    try:
        ray.init(log_to_driver=False, configure_logging=False, **options)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        problem = _last_line(error)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    if problem:
        raise RayFailed(f"Ray: {problem}")
