"""Real Ray: workers and the program are killed; nothing is lost or there twice, nothing is left.

The simulators say what each app's server got in each second, and which signatures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

pytest.importorskip("ray", reason="needs ray: dp_async[ray]")
pytest.importorskip("deltalake", reason="needs deltalake: dp_async[ray]")

from dp_async import Settings
from dp_async.ray import App, sync
from dp_async.tables import Outcome
from dp_async.testing import Simulator
from tests.support.lake import Lake, app_agrees

pytestmark = pytest.mark.slow

SECRET = "a-secret-that-is-nowhere"
RATE = 8.0
#: Apps, accounts of each, and works of each account; the variable sets more.
APPS, ACCOUNTS, WORKS = map(int, os.environ.get("DP_RAY_KILLS", "8 6 120").split())
UNDER_WAY = 16 * APPS  # requests at most: the default of max_in_flight, for each app's client

#: A program that syncs all apps and says what comes of it.
PROGRAM = """
import json, os, sys
from dp_async import Settings
from dp_async.ray import sync, App

def settings(app_id):
    urls = json.loads(os.environ["TEST_URLS"])
    return Settings(
        base_url=urls[app_id], app_id=app_id, app_secret=os.environ["TEST_SECRET"], rate=RATE
    )

apps = [App(app_id, ACCOUNTS) for app_id in json.loads(os.environ["TEST_URLS"])]
for one in sync(apps, settings, sys.argv[1], workers=2):
    print(one.app_id, one.account, one.resource, one.error, flush=True)
"""


class Fleet:
    """The servers of the apps, and programs that sync them."""

    def __init__(self, simulators: dict[str, Simulator], folder: Path) -> None:
        self.simulators = simulators
        self.accounts = [f"1990000{n:04}" for n in range(ACCOUNTS)]
        self.folder = folder
        self.mark = f"TEST_MARK={uuid.uuid4().hex}"
        self.environment = {
            **os.environ,
            "TEST_URLS": json.dumps({name: one.url for name, one in simulators.items()}),
            "TEST_SECRET": SECRET,
            "TMPDIR": str(folder),
            **dict([self.mark.split("=")]),
        }

    @contextmanager
    def program(self, *command: str) -> Generator[subprocess.Popen[bytes]]:
        """A program in a session of its own; what it started is killed at the end."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env=self.environment, stdout=pipe, stderr=pipe, start_new_session=True
        ) as process:
            try:
                yield process
            finally:
                for pid in self.processes():
                    os.kill(pid, signal.SIGKILL)

    def sync(self, lake: Lake) -> tuple[str, ...]:
        code = PROGRAM.replace("RATE", str(RATE)).replace("ACCOUNTS", repr(self.accounts))
        return sys.executable, "-c", code, lake.to

    def processes(self, name: str = "") -> list[int]:
        """The processes that have the mark in their environment and *name* in their command."""
        found: list[int] = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                marked = self.mark.encode() in (place / "environ").read_bytes().split(b"\0")
                if marked and name.encode() in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue  # ended meanwhile
        return found

    @property
    def served(self) -> int:
        return sum(simulator.served for simulator in self.simulators.values())

    def most_in_a_second(self) -> int:
        """The most requests that any app's server got in any second."""
        most = 0
        for simulator in self.simulators.values():
            starts = sorted(seen.started for seen in simulator.requests)
            first = 0
            for place, start in enumerate(starts):
                while starts[first] <= start - 1:
                    first += 1
                most = max(most, place - first + 1)
        return most

    def secrets(self) -> Iterator[str]:
        """The secret, and every signature that was sent."""
        yield SECRET
        for name, simulator in self.simulators.items():
            for seen in simulator.requests:
                text = f"{name}{SECRET}{seen.headers['timestamp']}"
                yield hashlib.md5(text.encode()).hexdigest()


def shown(text: bytes, secrets: Iterator[str]) -> set[bytes]:
    """Those of the *secrets* that stand in *text*, found in one pass for each length."""
    hidden = {secret.encode() for secret in secrets}
    found = {secret for secret in hidden if len(secret) != 32 and secret in text}
    for run in re.findall(rb"[0-9a-f]{32,}", text):
        found |= hidden & {run[at : at + 32] for at in range(len(run) - 31)}
    return found


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Servers whose lists are written to, and a folder with a name that is short enough for Ray."""
    simulators = {
        f"app-{n}": Simulator(
            works=WORKS, messages=10, app_id=f"app-{n}", app_secret=SECRET, seed=n
        )
        for n in range(APPS)
    }
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        portal = stack.enter_context(start_blocking_portal())
        for simulator in simulators.values():
            stack.enter_context(portal.wrap_async_context_manager(simulator))
        yield Fleet(simulators, folder)


def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


@contextmanager
def written_to(fleet: Fleet) -> Generator[None]:
    """Writes to all lists during the block."""
    with start_blocking_portal() as portal, ExitStack() as stack:
        for simulator in fleet.simulators.values():
            for name, rates in {
                "work_list": {"inserts": 1.0, "updates": 1.0},
                "msg_list": {"inserts": 0.5},
            }.items():
                writes = simulator.writing(name, **rates)  # type: ignore[arg-type]  # known names
                stack.enter_context(portal.wrap_async_context_manager(writes))
        yield


def test_kills_of_workers_and_of_the_program_lose_nothing_and_leave_no_secret(
    fleet: Fleet, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with written_to(fleet):
        with fleet.program(*fleet.sync(lake)) as program:
            wait_until(lambda: fleet.served > APPS or program.poll() is not None)
            workers = fleet.processes("ray::Actor")
            assert len(workers) == 2
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            served = fleet.served
            wait_until(lambda: fleet.served > served + APPS or program.poll() is not None)
            (folder,) = fleet.folder.glob("dp-ray-*")
            program.kill()
            out, err = program.communicate()
            assert (program.returncode, err) == (-signal.SIGKILL, b"")
            wait_until(lambda: not fleet.processes("ray::Actor"))  # they end by themselves
            served = fleet.served
        left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert b"Actor" in left
        with fleet.program(*fleet.sync(lake)) as program:
            # No request but those that were under way as the workers ended.
            assert fleet.served <= served + UNDER_WAY
            again, err = program.communicate()
            assert (program.returncode, err) == (0, b"")
        lines = again.decode().splitlines()
        assert len({*lines}) == len(lines) == APPS * ACCOUNTS * 2
        assert all(line.endswith(" None") for line in lines)
    assert not shown(left + out + again, fleet.secrets())
    assert [path for path in fleet.folder.glob("dp-ray-*") if path != folder] == []
    assert RATE / 2 < fleet.most_in_a_second() <= RATE + 3
    assert all(one.error is None for one in settled(fleet, lake))
    for name, one in fleet.simulators.items():
        assert app_agrees(lake, name, fleet.accounts, one.works, one.messages)


def settled(fleet: Fleet, lake: Lake) -> Iterator[Outcome]:
    """One more sync, of lists at rest."""

    def settings(app_id: str) -> Settings:
        return fleet.simulators[app_id].settings

    apps = [App(app_id, fleet.accounts) for app_id in fleet.simulators]
    return sync(apps, settings, lake.to, workers=0)


#: Ray is the program's own: the sync leaves it running, also after an early end; then a second
#: program reaches it by its address.
OWNER = """
import os, subprocess, sys
import ray
ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
    configure_logging=False, _node_ip_address="127.0.0.1", object_store_memory=80 * 2**20,
)
program = sys.argv.pop()
scope = {}
exec(program.replace("flush=True)", "flush=True); break"), scope)
assert ray.is_initialized()
address = ray.get_runtime_context().gcs_address
second = program.replace("workers=2", f"address='{address}'")
ran = subprocess.run([sys.executable, "-c", second, *sys.argv[1:]], capture_output=True, text=True)
print(ran.stdout + ran.stderr)
assert ray.is_initialized()
"""


def test_a_cluster_is_used_by_its_address_and_left_running(fleet: Fleet, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    *python, code, to = fleet.sync(lake)
    fleet.environment |= {
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_AUTH_MODE": "token",
        "RAY_enable_output_error_log_if_still_retry": "0",  # as the command line sets it
    }
    with fleet.program(*python, OWNER, to, code) as program:
        out, err = program.communicate()
        assert (program.returncode, err) == (0, b""), err.decode()
        assert len(out.decode().split()) == (1 + APPS * ACCOUNTS * 2) * 4, out.decode()
        assert out.count(b" None") == 1 + APPS * ACCOUNTS * 2


def test_a_signal_ends_the_command_and_all_that_it_started(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "apps.toml").write_text(
        "".join(
            f'[[app]]\napp_id = "{name}"\naccounts = {fleet.accounts}\nrate = 5\n'
            f'base_url = "{one.url}"\nsecret_env = "TEST_SECRET"\n'
            for name, one in fleet.simulators.items()
        )
    )
    words = ["sync", "--apps", str(tmp_path / "apps.toml"), "--to", f"delta:///{tmp_path}/lake"]
    code = "import sys; from dp_async.cli import main; sys.exit(main())"
    with fleet.program(sys.executable, "-c", code, *words, "--ray") as program:
        wait_until(lambda: fleet.served > APPS or program.poll() is not None)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
        assert (program.returncode, out, err) == (130, b"", b"dp-async: interrupted\n")
        wait_until(lambda: not fleet.processes())
    assert not any(one.in_flight for one in fleet.simulators.values())
