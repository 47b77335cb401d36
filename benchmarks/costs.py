"""What a whole process costs: CPU, wall time and peak memory, imports included."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.apart import environment, pin
from dp_async import Settings

#: The command ``dp-async`` of this interpreter; its arguments follow.
DP_ASYNC = (sys.executable, "-c", "import sys; from dp_async.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: seconds of CPU and of wall time, peak MB of resident memory."""

    cpu: float
    wall: float
    peak: float


def cost(settings: Settings, command: Sequence[str]) -> Cost:
    """Run *command*, which reads *settings* from its environment. Fails if it does."""
    variables = {
        "DP_BASE_URL": settings.base_url,
        "DP_APP_ID": settings.app_id,
        "DP_APP_SECRET": settings.app_secret,
    }
    start, peak = time.perf_counter(), 0.0
    with environment(**variables):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=lambda: pin(client=True)
        )
    while True:
        done, status, used = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        peak = max(peak, _peak(process.pid))
        time.sleep(0.01)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode, process.returncode
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - start, peak)


def _peak(process: int) -> float:
    """Its peak memory so far, in MB; 0 once it has ended."""
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return found[0] / 1024 if found else 0.0
