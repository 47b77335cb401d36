"""A signal ends each command: as PID 1, stopped, on a terminal that is closed, run by ``nohup``."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
from anyio.from_thread import start_blocking_portal

from dp_async.testing import Hang, Simulator

pytestmark = pytest.mark.slow  # each test starts a process

PATIENCE = 100
#: As the installed script; background shells ignore SIGINT, so its handler is set.
SCRIPT = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.{interrupt})
def on_moment():
    {on_moment}
{hook}
from dp_async.cli import main
sys.exit(main())
"""
WAIT = "os.write(1, b'here\\n'); time.sleep(1000)"
#: What calls ``on_moment`` while libraries are imported.
IMPORTS = """
class Finder:
    def find_spec(self, name, *_):
        if name == "cyclopts":
            on_moment()
sys.meta_path.insert(0, Finder())
"""
#: The same while dlt loads, where it would handle SIGINT and SIGTERM itself.
LOADS = """
import dp_async.cli._database
from dlt.normalize import Normalize
real = Normalize.run
def run(*given):
    on_moment()
    return real(*given)
Normalize.run = run
"""
#: Each moment: the command line, and the hook that leads to it.
MOMENTS = {
    "imports": ("works --output rows", IMPORTS),
    "reads": ("works --output rows", ""),
    "loads": ("sync --to to --watch", LOADS),
    "is idle": ("sync --to to --watch --every 1000", ""),
}
#: What the command says at the end.
LINES = {"reads": b"dp-async: interrupted after 100 rows; rows was not written\n"}
LINE = b"dp-async: interrupted\n"
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")

Child: TypeAlias = subprocess.Popen[bytes]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator(works=230, messages=5)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder; temporary files are in a folder beside it."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@contextmanager
def started(
    moment: str,
    simulator: Simulator,
    folder: Path,
    *,
    prefix: Sequence[str] = (),
    interrupt: str = "default_int_handler",
    on_moment: str = WAIT,
) -> Generator[Child]:
    """The command of *moment*, in a process group of its own, killed at the end."""
    words, hook = MOMENTS[moment]
    if moment == "reads":
        simulator.fail(Hang(), times=None, page=2)
    script = SCRIPT.format(interrupt=interrupt, on_moment=on_moment, hook=hook)
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", script, *words.split()],
        cwd=folder,
        env=environment(simulator, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(simulator: Simulator, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DP_BASE_URL": simulator.url,
        "DP_APP_ID": "simulated-app",
        "DP_APP_SECRET": "simulated-secret",
        "TMPDIR": str(folder.parent / "temporary"),
        "TERM": "xterm",
    }


def arrive(moment: str, process: Child, simulator: Simulator) -> None:
    """Wait until the command has come to *moment*."""
    if moment == "reads":
        deadline = time.monotonic() + PATIENCE
        while not any(seen.page_num == 2 for seen in simulator.requests):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    else:  # the heading and a line for each list, or "here"
        assert process.stdout is not None
        for _ in range(3 if moment == "is idle" else 1):
            assert process.stdout.readline()


def ended(process: Child) -> tuple[int, bytes]:
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def left(folder: Path) -> list[str]:
    """The part files and the temporary files."""
    places = (folder.parent / "temporary").iterdir(), folder.rglob("*.part"), folder.glob("rows")
    return [path.name for place in places for path in place]


@cache
def has_containers() -> bool:
    return subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_pid_1_of_a_container(
    simulator: Simulator, folder: Path, moment: str, number: signal.Signals
) -> None:
    if not has_containers():
        pytest.skip("this user may not make a PID namespace")
    with started(moment, simulator, folder, prefix=CONTAINER) as process:
        arrive(moment, process, simulator)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(children.read_text()), number)
        assert ended(process) == (128 + number, LINES.get(moment, LINE))
    assert left(folder) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_where_sigint_is_ignored_sigterm_ends_the_command(
    simulator: Simulator, folder: Path, moment: str
) -> None:
    with started(moment, simulator, folder, interrupt="SIG_IGN") as process:
        arrive(moment, process, simulator)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (143, LINES.get(moment, LINE))
    assert left(folder) == []


def test_where_sigint_is_ignored_a_load_goes_on(simulator: Simulator, folder: Path) -> None:
    interrupt = "os.write(1, b'here\\n'); os.kill(os.getpid(), signal.SIGINT)"
    with started("loads", simulator, folder, interrupt="SIG_IGN", on_moment=interrupt) as process:
        assert process.stdout is not None
        while b"works" not in (line := process.stdout.readline()):  # the last line of the table
            assert line
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (143, LINE)
    assert {path.name for path in (folder / "to").glob("*.parquet")} == {
        "messages.parquet",
        "works.parquet",
    }


@pytest.mark.parametrize(
    "later", [(signal.SIGCONT, signal.SIGINT), (signal.SIGINT, signal.SIGCONT)]
)
def test_a_command_that_was_stopped_is_interrupted(
    simulator: Simulator, folder: Path, later: tuple[signal.Signals, ...]
) -> None:
    with started("reads", simulator, folder) as process:
        arrive("reads", process, simulator)
        process.send_signal(signal.SIGTSTP)
        stopped = os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGTSTP
        for number in later:
            process.send_signal(number)
        assert ended(process) == (130, LINES["reads"])
    assert left(folder) == []


# On a terminal

#: The leader of a session opens the terminal, which so controls it, and becomes the command.
ON_TERMINAL = """
import os, sys
script, terminal, *words = sys.argv[1:]
for number in range(3):
    os.dup2(os.open(terminal, os.O_RDWR), number)
os.closerange(3, 64)
os.execv(sys.executable, [sys.executable, "-c", script, *words])
"""


@contextmanager
def on_terminal(simulator: Simulator, folder: Path) -> Generator[tuple[Child, int]]:
    """``works --output rows`` after its first page, and its pseudo-terminal's other side."""
    simulator.fail(Hang(), times=None, page=2)
    master, slave = pty.openpty()
    script = SCRIPT.format(interrupt="default_int_handler", on_moment="pass", hook="")
    words = [script, os.ttyname(slave), "works", "--output", "rows"]
    with subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *words],
        cwd=folder,
        env=environment(simulator, folder),
        start_new_session=True,
    ) as process:
        os.set_blocking(master, False)
        try:
            arrive("reads", process, simulator)
            os.close(slave)
            yield process, master
        finally:
            process.kill()


def test_a_closed_terminal_ends_the_command(simulator: Simulator, folder: Path) -> None:
    with on_terminal(simulator, folder) as (process, master):
        os.close(master)
        assert process.wait(PATIENCE) == 129
    assert left(folder) == []


def test_two_quick_ctrl_c_end_the_command_with_one_line(simulator: Simulator, folder: Path) -> None:
    with on_terminal(simulator, folder) as (process, master):
        os.write(master, b"\x03\x03")
        assert process.wait(PATIENCE) == 130
        shown = b""
        try:
            while data := os.read(master, 4096):
                shown += data
        except OSError:  # EIO: the other side is closed
            os.close(master)
    assert shown.count(b"dp-async: interrupted after 100 rows; rows was not written\r\n") == 1
    assert left(folder) == []
