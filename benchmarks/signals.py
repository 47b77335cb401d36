"""Does one SIGINT or SIGTERM end each command within 5 seconds, with nothing left behind?

    python -m benchmarks.signals [--runs 300] [--at-once 1] [--seed 0] [--only sync] [--load 2]

Each run is a new process of ``dp-async``, watched from outside, beside two processes that are
always busy. It gets one signal at a random moment: *start*, from when it catches signals, which the
kernel shows, to its first connection, while libraries are imported; *work*, while it reads, answers
or loads; *idle*, while it waits for a server, a client, or its next run. Moments are drawn in CPU
time of the process, which a busy machine does not stretch; the table counts a run where it was.

A run fails if it goes on for 5 s after the signal, exits with another code than 130 or 143, shows a
traceback or anything but one line, or leaves a part file, a temporary file, an output with some of
the rows, a database that cannot be read, or a process that has not ended after those 5 s either (a
library that is imported may have started one: croniter asks ``file`` what the interpreter is).
Every tenth database is synced again and must then hold all rows. Exits with 1 if a check failed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Any

from benchmarks.commands import COMMANDS, MESSAGES, WORKS
from benchmarks.harness import Bars, Cell, Result, at_most, main, require
from benchmarks.server import simulated
from benchmarks.signalled import LIMIT, Bench, Plan, Run, Span
from dp_async.testing import Hang

#: The hanging server answers the pages before this one.
HANGING = 20
MOMENTS = ("start", "work", "idle")
KINDS = (signal.SIGINT, signal.SIGTERM)
FAULTS = ("too slow", "wrong codes", "left-overs", "tracebacks", "wrong lines")
LIBRARIES = ("dp_async", "cyclopts", "dlt", "duckdb", "aiohttp")


@contextmanager
def busy(count: int) -> Generator[None]:
    """So many processes that use all the CPU time they get."""
    code = "while True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def plans(runs: int, seed: int, only: str) -> list[Plan]:
    """The runs: each command, moment and signal in turn, at random moments."""
    names = [name for name in COMMANDS if name.startswith(only)]
    cells = list(product(names, MOMENTS, KINDS))
    chance = random.Random(seed)
    planned: list[Plan] = []
    for number in range(runs):
        name, moment, kind = cells[number % len(cells)]
        again = name == "sync --watch" and number // len(cells) % 10 == 0
        planned.append(Plan(name, moment, kind, chance.random(), again))
    return planned


def measure(
    *, runs: int = 300, at_once: int = 1, seed: int = 0, only: str = "", load: int = 2
) -> Result:
    require(LIBRARIES)
    # A shell ignores SIGINT in what it starts in the background, and a child would go on to.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    knobs: dict[str, Any] = {"works": WORKS, "messages": MESSAGES, "latency": 0.01, "jitter": 0.3}
    with (
        simulated(**knobs) as serving,
        simulated([(Hang(), 1.0)], page=HANGING, **knobs) as hanging,
        ThreadPoolExecutor(at_once) as pool,
        busy(load),
    ):
        bench = Bench(serving.settings, hanging.settings)
        planned = plans(runs, seed, only)
        spans = {name: bench.span(name) for name in {plan.command for plan in planned}}

        def run(plan: Plan) -> Run:
            return reported(bench.run(plan, spans[plan.command]))

        done = list(pool.map(run, planned))
    signal.signal(signal.SIGINT, before)
    return result(done, spans, at_once)


def reported(run: Run) -> Run:
    """*run*; if it failed, after a line on stderr that says how."""
    if wrong := [name for name, is_true in run.faults.items() if is_true]:
        sys.stderr.write(f"{', '.join(wrong)}: {run}\n")
    return run


def result(done: Sequence[Run], spans: Mapping[str, Span], at_once: int) -> Result:
    rows: list[tuple[Cell, ...]] = []
    slowest: dict[str, float] = {}
    for name, moment, kind in product(COMMANDS, MOMENTS, KINDS):
        here = [run for run in done if (run.command, run.moment, run.kind) == (name, moment, kind)]
        if not here:
            continue
        most = max(run.seconds for run in here)
        slowest[f"{name}, {moment}, {kind.name}"] = most
        counts = (sum(run.faults[fault] for run in here) for fault in FAULTS)
        rows.append((name, moment, kind.name, len(here), most, *counts))
    spent = max((span.before for span in spans.values()), default=0.0)
    return Result(
        question=str(__doc__),
        columns=("command", "moment", "signal", "runs", "slowest, s", *FAULTS),
        rows=rows,
        checks=[
            at_most(LIMIT, "the slowest, s", max(slowest.values(), default=0.0)),
            *(at_most(0, fault, sum(run.faults[fault] for run in done)) for fault in FAULTS),
        ],
        chart=Bars("seconds from the signal to the end, the slowest", slowest, limits=(LIMIT,)),
        notes=[f"{at_once} at a time. A command catches signals after {spent:.2f} s of CPU."],
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
