"""The program that asked for a sync, as the processes of its machine can watch it. Linux alone."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A process. *machine*: says where the *pid* counts; *start*: tells a later one with it."""

    machine: str
    pid: int
    start: str

    @classmethod
    def this(cls) -> Program:
        """The process that calls this."""
        pid = os.getpid()
        return cls(_machine(), pid, _start(pid))

    def watch(self, ended: Callable[[], object]) -> None:
        """Call *ended* in a thread once the process has ended; on another machine, do nothing."""
        if not self.start or self.machine != _machine():
            return
        descriptor: int | None = None
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
        if descriptor is None or _start(self.pid) != self.start:
            ended()
            return

        def wait() -> None:
            select.select([descriptor], [], [])
            ended()

        threading.Thread(target=wait, name="dp_async.ray", daemon=True).start()


def _machine() -> str:
    """The boot of the machine and the namespace of process ids; "" where there is no /proc."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _start(pid: int) -> str:
    """When the process started, in ticks since the boot; "" if there is none."""
    with suppress(OSError):
        # The name in parentheses may hold blanks; the start is the 20th field after it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
