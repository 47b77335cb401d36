"""A benchmark's result, how it is printed, and how benchmarks are found and run.

A benchmark is a module of this folder. The first line of its docstring is the question it answers;
the keyword arguments of its function ``measure``, all with defaults, are its command-line flags.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc, signature
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import TypeAlias

Cell: TypeAlias = "str | float"

HERE = Path(__file__).parent


# The result of a benchmark


@dataclass(frozen=True, slots=True)
class Check:
    """A *value* and its *limit*: an upper bound, or a lower one if *least*."""

    what: str
    value: float
    limit: float
    least: bool = False

    @property
    def ok(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def cells(self) -> tuple[str, ...]:
        bound = f"{'≥' if self.least else '≤'} {shown(self.limit)}"
        return self.what, bound, shown(self.value), "ok" if self.ok else "MISSED"


def at_most(limit: float, what: str, value: float) -> Check:
    return Check(what, value, limit)


def at_least(limit: float, what: str, value: float) -> Check:
    return Check(what, value, limit, least=True)


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart of *values*, with a dotted line at each of *limits*."""

    axis: str
    values: Mapping[str, float]
    limits: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """A line chart of *series*; *log* names the axes with a logarithmic scale: "", "x" or "xy"."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log: str = ""
    limits: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer to a *question*: a table, *checks* against limits, and one chart.

    *notes* add what the table does not show; *libraries* are those whose versions matter.
    """

    question: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    chart: Bars | Lines
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()
    libraries: Sequence[str] = ("dp_async", "aiohttp", "msgspec", "anyio")

    @property
    def setting(self) -> str:
        """The machine and the library versions that this was measured with."""
        versions = ", ".join(f"{name} {version(name)}" for name in self.libraries)
        return f"{machine()}; {versions}"


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} CPUs ({cpu()}), {platform.system()} {platform.machine()}, {python}"


def cpu() -> str:
    """The processor's name, as the system reports it."""
    try:
        described = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        described = ""
    model = re.search(r"^model name\s*: (.+)$", described, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or "unknown"


def require(libraries: Iterable[str]) -> None:
    """Exit with a message if one of *libraries* is missing, before anything is measured."""
    missing = sorted(name for name in libraries if not is_installed(name))
    if missing:
        sys.exit(f"{', '.join(missing)} not installed: pip install -e '.[test,bench]'")


def is_installed(library: str) -> bool:
    try:
        return bool(version(library))
    except PackageNotFoundError:
        return False


# Rounds


@dataclass(frozen=True, slots=True)
class Rounds:
    """The samples of each way, one per round.

    Ratios are taken within a round: a disturbance of the machine hits all ways of a round, and
    cancels out in their ratio.
    """

    samples: Mapping[str, Sequence[float]]

    def median(self, way: str) -> float:
        return median(self.samples[way])

    def extremes(self, way: str) -> str:
        """Minimum and maximum, as text."""
        return f"{shown(min(self.samples[way]))}-{shown(max(self.samples[way]))}"

    def ratio(self, way: str, to: str) -> float:
        """The median over rounds of the ratio within a round."""
        pairs = zip(self.samples[way], self.samples[to], strict=True)
        return median(a / b for a, b in pairs)


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """Run each of *ways* once per round: A B C A B C ..."""
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            samples[way].append(run())
    return Rounds(samples)


def ahead(rounds: Rounds, pairs: Iterable[tuple[str, str]], why: Mapping[str, str]) -> list[str]:
    """A line for each pair (other, ours) in which the other took less, with the reason.

    *why* maps the beginning of a way's name to the reason.
    """
    lines: list[str] = []
    for other, ours in pairs:
        ratio = rounds.ratio(other, ours)
        if ratio < 1:
            reasons = [reason for name, reason in why.items() if other.startswith(name)]
            reason = reasons[0] if reasons else "the reason is not known"
            lines.append(f"Ahead of {ours}: {other}, {shown(ratio)} of it; {reason}.")
    return lines


# How a result is shown


def shown(cell: Cell) -> str:
    """*cell* as text: numbers with three significant digits, large ones without a fraction."""
    if isinstance(cell, str):
        return cell
    if abs(cell) >= 100 or cell == int(cell):
        return f"{cell:,.0f}"
    return f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def aligned(rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """*rows* as lines of a table: the first column aligned left, the others right."""
    texts = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*texts, fillvalue="")]
    for row in texts:
        first, *others = zip(row, widths, strict=False)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        yield "  ".join(cells).rstrip()


def printed(result: Result) -> str:
    """*result* as text for a terminal."""
    parts = [[title(result.question)], [*aligned([result.columns, *result.rows])]]
    if result.checks:
        parts.append([*aligned([check.cells for check in result.checks])])
    parts.append([*result.notes, result.setting])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def markdown(name: str, result: Result) -> str:
    """*result* as a section of README.md."""
    _, _, how = cleandoc(result.question).partition("\n")
    parts = [
        f"## {name}: {title(result.question)}",
        "\n".join(_table([result.columns, *result.rows])),
        f"![{title(result.question)}](charts/{name}.svg)",
        how.strip("\n").replace("    python -m", "    $ python -m"),
        *result.notes,
        f"_{result.setting}_",
    ]
    if result.checks:
        cells = [check.cells for check in result.checks]
        parts.insert(2, "\n".join(_table([("check", "limit", "measured", ""), *cells])))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    head, *body = rows
    yield f"| {' | '.join(map(shown, head))} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in body:
        yield f"| {' | '.join(map(shown, row))} |"


def title(question: str) -> str:
    return cleandoc(question).partition("\n")[0]


# How benchmarks are found and run


def names() -> list[str]:
    """The names of all benchmarks: their file names."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if "\ndef measure(" in path.read_text("utf-8")
    )


def question(name: str) -> Callable[..., Result]:
    """The function ``measure`` of a benchmark."""
    measure: Callable[..., Result] = import_module(f"benchmarks.{name}").measure
    return measure


def main(measure: Callable[..., Result]) -> None:
    """Run one benchmark from the command line; the arguments of *measure* are its flags.

    Exits with 1 if a check fails.
    """
    description = sys.modules[measure.__module__].__doc__
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, given in signature(measure).parameters.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(given.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            default: int | float | str = given.default
            parser.add_argument(flag, type=type(default), default=default, help=f"{default}")
    result = measure(**vars(parser.parse_args()))
    sys.stdout.write(printed(result))
    sys.exit(any(not check.ok for check in result.checks))
