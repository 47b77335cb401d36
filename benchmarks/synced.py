"""How much memory does ``dp-async sync`` take as the list grows, and how many rows a second?

    python -m benchmarks.synced [--rounds 1] [--most 1000000]

Whole processes of the command, into DuckDB, from a server in another process that answers at once:
a first run, a run without changes, and one that reconciles. Peak resident memory, libraries
included, as the system counts it; CPU and wall time of the process, imports included.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.apart import pinned
from benchmarks.costs import DP_ASYNC, Cost, cost
from benchmarks.harness import Bars, Cell, Check, Result, at_most, interleaved, main, require
from benchmarks.server import served

RUNS = {"first": (), "no change": (), "reconcile": ("--reconcile",)}
#: MB of memory at most, by the rows.
LIMITS = {300_000: 230, 1_000_000: 310}
LIBRARIES = ("dp_async", "dlt", "duckdb", "pyarrow", "cyclopts")


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
                        to = f"duckdb:///{folder / f'{works}-{number}.duckdb'}"
                        one = cost(settings, [*DP_ASYNC, "sync", "--to", to, *flags])
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
