"""How much memory does ``dp-async sync`` take as the list grows, and how many rows a second?

    python -m benchmarks.synced [--rounds 1] [--most 1000000]

Whole processes of the command, into DuckDB, from a server in another process that answers at once:
a first run, a run without changes, and one that reconciles. Peak resident memory, libraries
included, as the system counts it; CPU and wall time of the process, imports included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.apart import environment, pin, pinned
from benchmarks.harness import Bars, Cell, Check, Result, at_most, interleaved, main, require
from benchmarks.server import served
from dp_async import Settings

COMMAND = "import sys; from dp_async.cli import main; sys.exit(main())"
RUNS = {"first": (), "no change": (), "reconcile": ("--reconcile",)}
#: MB of memory at most, by the rows.
LIMITS = {300_000: 230, 1_000_000: 310}
LIBRARIES = ("dp_async", "dlt", "duckdb", "pyarrow", "cyclopts")


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of the command: seconds of CPU and of wall time, peak MB."""

    cpu: float
    wall: float
    peak: float


def cost(settings: Settings, to: Path, flags: tuple[str, ...]) -> Cost:
    """Run the command once. Fails if it does."""
    variables = {
        "DP_BASE_URL": settings.base_url,
        "DP_APP_ID": settings.app_id,
        "DP_APP_SECRET": settings.app_secret,
    }
    command = [sys.executable, "-c", COMMAND, "sync", "--to", f"duckdb:///{to}", *flags]
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


def measure(*, rounds: int = 1, most: int = 1_000_000) -> Result:
    require(LIBRARIES)
    costs: dict[str, list[Cost]] = {}
    rows: list[tuple[Cell, ...]] = []
    checks: list[Check] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for works in (size for size in (1000, 300_000, 1_000_000) if size <= most):
            with served(works) as settings:
                for number in range(rounds):
                    for run, flags in RUNS.items():
                        one = cost(settings, folder / f"{works}-{number}.duckdb", flags)
                        costs.setdefault(f"{run}, {works:,} rows", []).append(one)
        peaks = interleaved(
            {name: iter([each.peak for each in made]).__next__ for name, made in costs.items()},
            rounds,
        )
    for name, made in costs.items():
        works = int(name.split(", ", 1)[1].split()[0].replace(",", ""))
        cpu, wall = (sorted(column)[rounds // 2] for column in zip(*_times(made), strict=True))
        rows.append(
            (name, peaks.median(name), peaks.extremes(name), cpu, wall, works / wall),
        )
        if works in LIMITS:
            checks.append(at_most(LIMITS[works], f"{name}: peak MB", peaks.median(name)))
    return Result(
        question=str(__doc__),
        columns=("run", "peak MB", "least-most", "CPU, s", "wall, s", "rows a second"),
        rows=rows,
        checks=checks,
        chart=Bars("peak resident memory, MB", {name: peaks.median(name) for name in costs}),
        notes=[pinned()],
        libraries=LIBRARIES,
    )


def _times(made: list[Cost]) -> list[tuple[float, float]]:
    return [(each.cpu, each.wall) for each in made]


if __name__ == "__main__":
    main(measure)
