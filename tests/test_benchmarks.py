"""Each benchmark documents its question and its flags, can be imported, and shows its result.

Nothing here measures, and nothing needs the libraries that the package is compared with.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, harness, ids, ordering, signals
from benchmarks.__main__ import SECTION
from benchmarks.harness import Bars, Result, Rounds, at_least, at_most
from benchmarks.refusing import Bucket, Hole, Once, Queue, Server, Sliding, Slots, Window
from benchmarks.signalled import Run
from benchmarks.watched import Watched

ROOT = Path(__file__).parent.parent
BENCHMARKS = harness.names()

RESULT = Result(
    question="Who is faster?\n\n    python -m benchmarks.who\n\nBy the clock.",
    columns=("way", "ms"),
    rows=[("ours", 1.5), ("theirs", 1234.5)],
    chart=Bars("ms", {"ours": 1.5}),
    checks=[at_most(2, "ours", 1.5), at_least(2, "theirs", 1.5)],
    notes=["By nobody."],
    libraries=("dp_async",),
)


def test_the_benchmarks_are_found() -> None:
    assert {"attack", "cpu", "growth", "latency", "load", "profiles", "soak"} <= {*BENCHMARKS}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_docstring_begins_with_a_question_and_names_existing_flags(name: str) -> None:
    documented = str(import_module(f"benchmarks.{name}").__doc__)
    assert harness.title(documented).endswith("?")
    command = re.search(rf"^    python -m benchmarks\.{name} (.*)$", documented, re.MULTILINE)
    assert command, "the docstring shows no command"
    parameters = signature(harness.question(name)).parameters
    flags = {f"--{parameter.replace('_', '-')}" for parameter in parameters}
    assert {*re.findall(r"--[\w-]+", command[1])} <= flags
    assert flags, "no flag makes the run shorter"


def test_all_benchmarks_can_be_imported_without_the_extra_bench() -> None:
    others = ["httpx", "pydantic", "aiometer", "dlt", "niquests", "orjson", "matplotlib", "trustme"]
    code = f"""
import sys
from importlib import import_module
for name in {others}:
    sys.modules[name] = None
for name in {BENCHMARKS}:
    import_module(f"benchmarks.{{name}}")
"""
    command = [sys.executable, "-c", code]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not run.returncode, run.stderr


def test_a_missing_library_is_named_and_the_program_ends() -> None:
    with pytest.raises(SystemExit, match=r"no-such-thing not installed: pip install .*bench"):
        harness.require(["dp_async", "no-such-thing"])
    harness.require(["dp_async", "msgspec"])


def test_the_benchmarks_without_a_server_run() -> None:
    for result, rows in ((ids.measure(rows=2000), 2), (ordering.measure(seeds=1, pages=20), 6)):
        assert len(result.rows) == rows
        assert all(len(row) == len(result.columns) for row in result.rows)


@pytest.mark.parametrize(
    ("server", "arrivals", "answers"),
    [
        (Window(2), [0.2, 0.9, 0.95, 1.0], [1, 1, "0 later 0.05", 1]),
        (Sliding(2, 1.0), [0.2, 0.9, 1.1, 1.25, 1.3], [1, 1, "0 later 0.1", 1, "0 later 0.6"]),
        (Bucket(10, 1), [0.0, 0.1, 0.15, 0.25], [1, 1, "0 later 0.05", 1]),
        (Bucket(10, 2), [5.0, 5.0, 5.0, 5.1], [1, 1, "0 later 0.1", 1]),
        (Slots(2), [0.0, 0.5, 0.9, 1.0], [1, 1, "0 later 0.1", 1]),
        (Queue(1), [0.0, 0.5, 0.5], [1, 1.5, 2.5]),
        (Queue(1, 1.0), [0.0, 0.5, 0.6, 1.2], [1, 1.5, "1 later 1.4", 1.8]),
        (Once(2, 1.0), [0.0, 0.5, 1.0, 1.5], [1, 1, "0 later 0", 1]),
        (Hole(1.0, 2.0), [0.9, 1.0, 2.0], [1, float("inf"), 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_modelled_server_lets_in_and_refuses(
    server: Server, arrivals: list[float], answers: list[float | str]
) -> None:
    """Each request takes a second of work; a refusal is shown as "seconds later wait"."""
    found: list[float | str] = []
    for now in arrivals:
        after, wait = server.arrives(now, 1.0)
        refusal = wait is not None and f"{round(after, 6):g} later {round(wait, 6):g}"
        found.append(refusal or round(after, 6))
    assert found == answers


def test_the_chosen_cells_have_every_pair_of_conditions() -> None:
    def pairs(of: list[cells.Cell]) -> set[object]:
        return {
            (one, getattr(cell, one), two, getattr(cell, two))
            for cell in of
            for one in cells.FACTORS
            for two in cells.FACTORS
        }

    chosen = cells.chosen()
    assert pairs(chosen) == pairs(cells.every())
    assert len({*chosen}) == len(chosen) < 100


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"seconds": 5.1}, "too slow"),
        ({"code": -15}, "wrong codes"),
        ({"left": (".rows.part",)}, "left-overs"),
        ({"err": "Traceback\ndp-async: interrupted\n"}, "tracebacks"),
        ({"err": ""}, "wrong lines"),
        ({"err": "dp-async: interrupted\n"}, "wrong lines"),
    ],
)
def test_a_run_with_a_fault_fails(changes: dict[str, Any], fault: str | None) -> None:
    line = "dp-async: interrupted after 2 rows; rows.ndjson was not written\n"
    good = Run("works --output", "work", signal.SIGTERM, 0.1, 143, line, ())
    found = {name for name, is_true in replace(good, **changes).faults.items() if is_true}
    assert found - {"wrong lines"} == {fault} - {None, "wrong lines"}
    assert ("wrong lines" in found) == ("err" in changes)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    with ExitStack() as stack:

        def start(*command: str) -> Watched:
            process = Watched(command, tmp_path, tmp_path, os.environ)
            stack.callback(process.close)
            process.wait_until(lambda: process.ended, 60)
            return process

        yield start


def test_what_a_command_leaves_running_is_named_and_killed(watched: Callable[..., Watched]) -> None:
    # Popen returns once the program runs, so that what is left is not the fork of a shell.
    starts = "import subprocess, sys; subprocess.Popen(['sleep', '1000'])"
    process = watched(sys.executable, "-c", starts)
    assert process.left_processes() == ["sleep 1000"]
    assert process.left_processes(60) == []


def test_a_zombie_is_not_left(watched: Callable[..., Watched]) -> None:
    assert watched("true").left_processes() == []


@pytest.mark.slow
def test_a_signal_is_sent_to_each_run() -> None:
    result = signals.measure(runs=2, only="simulate", load=0)
    assert [row[:4] for row in result.rows] == [
        ("simulate", "start", "SIGINT", 1),
        ("simulate", "start", "SIGTERM", 1),
    ]
    assert all(check.ok for check in result.checks)


def test_ways_are_interleaved_and_compared_within_a_round() -> None:
    order: list[str] = []

    def way(name: str, seconds: list[float]) -> float:
        order.append(name)
        return seconds.pop(0)

    slow, fast = [2.0, 40.0, 6.0], [1.0, 10.0, 2.0]
    rounds = harness.interleaved(
        {"slow": lambda: way("slow", slow), "fast": lambda: way("fast", fast)}, 3
    )
    assert order == ["slow", "fast"] * 3
    assert rounds.ratio("slow", "fast") == 3  # of 2, 4 and 3
    assert rounds.median("slow") == 6
    assert rounds.extremes("fast") == "1-10"


def test_a_faster_way_is_listed_with_its_reason() -> None:
    rounds = Rounds({"ours": [2.0], "theirs, plain": [1.0], "others": [1.5], "slow": [3.0]})
    pairs = [(other, "ours") for other in ("theirs, plain", "others", "slow")]
    assert harness.ahead(rounds, pairs, {"theirs": "it does less"}) == [
        "Ahead of ours: theirs, plain, 0.500 of it; it does less.",
        "Ahead of ours: others, 0.750 of it; the reason is not known.",
    ]


def test_a_result_is_printed_with_checks_and_versions() -> None:
    text = harness.printed(RESULT)
    assert "way        ms\nours     1.50\ntheirs  1,234\n" in text
    assert re.search(r"^ours +≤ 2 +1\.50 +ok$", text, re.MULTILINE)
    assert re.search(r"^theirs +≥ 2 +1\.50 +MISSED$", text, re.MULTILINE)
    assert "By nobody." in text
    assert "dp_async " in text


def test_a_written_section_is_found_again() -> None:
    text = harness.markdown("who", RESULT)
    assert "| ours | 1.50 |" in text
    assert "![Who is faster?](charts/who.svg)" in text
    assert "    $ python -m benchmarks.who\n\nBy the clock." in text
    found = [match[1] for match in SECTION.finditer(f"# Benchmarks\n\n{text}\n## next: Who?\n")]
    assert found == ["who", "next"]
