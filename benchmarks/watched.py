"""A child process as Linux shows it from outside: its CPU time, handlers, connections, children."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

#: The states of TCP sockets in /proc/net/tcp.
ESTABLISHED, LISTENING = "01", "0A"
#: Seconds between two reads.
EVERY = 0.004


class Watched:
    """A process in a session of its own; both outputs go to files in *said*."""

    def __init__(
        self, command: Sequence[str], folder: Path, said: Path, environment: Mapping[str, str]
    ) -> None:
        self._said = said
        with open(said / "out", "wb") as out, open(said / "err", "wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._place = Path("/proc") / str(self._process.pid)
        self._handle = os.pidfd_open(self._process.pid)

    @property
    def ended(self) -> bool:
        return bool(select.select([self._handle], [], [], 0)[0])

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return (self._said / "out").read_text("utf-8")

    @property
    def err(self) -> str:
        return (self._said / "err").read_text("utf-8")

    @property
    def cpu(self) -> float:
        """The CPU seconds of its threads."""
        spent = 0.0
        for thread in _listed(self._place / "task"):
            spent += int(_read(thread / "schedstat").partition(" ")[0] or 0) / 1e9
        return spent

    def catches(self, number: signal.Signals) -> bool:
        """Whether it has a handler for the signal."""
        for line in _read(self._place / "status").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
        return False

    def has_socket(self, state: str) -> bool:
        """Whether one of its TCP sockets over IPv4 is in this state."""
        own: set[str] = set()
        for descriptor in _listed(self._place / "fd"):
            try:
                own.add(os.readlink(descriptor))
            except OSError:
                continue  # closed since
        lines = _read(Path("/proc/net/tcp")).splitlines()[1:]
        fields = (line.split() for line in lines)
        return any(each[3] == state and f"socket:[{each[9]}]" in own for each in fields)

    def wait_until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Whether *condition* came true before the end; False after *patience* seconds too."""
        deadline = time.monotonic() + patience
        while not self.ended and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(EVERY)
        return False

    def signal(self, number: signal.Signals, patience: float) -> tuple[float, int]:
        """Send the signal: the seconds until the end, and the exit code.

        It is killed after *patience* seconds.
        """
        began = time.monotonic()
        self._process.send_signal(number)
        select.select([self._handle], [], [], patience)
        seconds = time.monotonic() - began
        if not self.ended:
            self._process.kill()
        return seconds, self._process.wait()

    def close(self) -> None:
        """Kill it, and what it has started."""
        self.left_processes()
        self._process.wait()
        os.close(self._handle)

    def left_processes(self, patience: float = 0.0) -> list[str]:
        """The command lines of it and of what it has started that run on. Kills them.

        What ends within *patience* seconds is not left, nor is a zombie: it has ended.
        """
        deadline = time.monotonic() + patience
        while (left := self._running()) and time.monotonic() < deadline:
            time.sleep(EVERY)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return left

    def _running(self) -> list[str]:
        """The command lines of the process group's members that have not ended."""
        found: list[str] = []
        for place in Path("/proc").glob("[0-9]*"):
            fields = _read(place / "stat").rpartition(") ")[2].split()  # state, parent, group
            if fields and fields[2] == str(self._process.pid) and fields[0] not in "ZX":
                found.append(_read(place / "cmdline").replace("\0", " ").strip() or place.name)
        return found


def _read(path: Path) -> str:
    """The text of a file of /proc; nothing if the process or the thread has ended."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
