"""What a benchmark answers with, how that is shown, and where the questions are found.

A question is a module of this folder with a docstring that asks it in its first line, and a
function ``measure`` whose keyword arguments, all with a default, are its flags on the command line.
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


# What a benchmark answers with


@dataclass(frozen=True, slots=True)
class Check:
    """A *value*, held against a *limit* that it must not go above (or below, for a *least*)."""

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
    """A bar for each of *values*, and a dotted line at each of *limits*."""

    axis: str
    values: Mapping[str, float]
    limits: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """A line through the points of each of *series*; *log* of both axes, of x, or of neither."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log: str = ""
    limits: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer to a *question*: a table, its *checks* against limits, and one chart.

    *notes* say what the table does not; *libraries* are those whose versions matter.
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
        """Where and with what this was measured."""
        versions = ", ".join(f"{name} {version(name)}" for name in self.libraries)
        return f"{machine()}; {versions}"


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} CPUs ({cpu()}), {platform.system()} {platform.machine()}, {python}"


def cpu() -> str:
    """What the system calls its processor."""
    try:
        described = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        described = ""
    model = re.search(r"^model name\s*: (.+)$", described, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or "unknown"


def require(libraries: Iterable[str]) -> None:
    """Ends the program, before it has measured for long, if one of *libraries* is not installed."""
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
    """What each way took in each round. Rounds are compared, not their means: what disturbs the
    machine disturbs all ways of a round, and leaves their ratio alone."""

    samples: Mapping[str, Sequence[float]]

    def median(self, way: str) -> float:
        return median(self.samples[way])

    def spread(self, way: str) -> str:
        """The least and the most."""
        return f"{shown(min(self.samples[way]))}-{shown(max(self.samples[way]))}"

    def ratio(self, way: str, to: str) -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.samples[way], self.samples[to], strict=True)
        return median(a / b for a, b in pairs)


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """Each of *ways* once in each round: A B C A B C ..."""
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            samples[way].append(run())
    return Rounds(samples)


def ahead(rounds: Rounds, pairs: Iterable[tuple[str, str]], why: Mapping[str, str]) -> list[str]:
    """A line for each other way, in *pairs* with one of ours, that took less; *why* it did.

    A reason belongs to every way whose name begins with its key.
    """
    lines: list[str] = []
    for other, ours in pairs:
        ratio = rounds.ratio(other, ours)
        if ratio < 1:
            reasons = [reason for name, reason in why.items() if other.startswith(name)]
            reason = reasons[0] if reasons else "why is not known"
            lines.append(f"Ahead of {ours}: {other}, {shown(ratio)} of it; {reason}.")
    return lines


# How it is shown


def shown(cell: Cell) -> str:
    """A number with three digits, or more where it is large."""
    if isinstance(cell, str):
        return cell
    if abs(cell) >= 100 or cell == int(cell):
        return f"{cell:,.0f}"
    return f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def aligned(rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """*rows* as lines of a table: the first column to the left, numbers to the right."""
    texts = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*texts, fillvalue="")]
    for row in texts:
        first, *rest = zip(row, widths, strict=False)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        yield "  ".join(cells).rstrip()


def printed(result: Result) -> str:
    """*result* for a terminal."""
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


# Where the questions are found


def names() -> list[str]:
    """The questions there are, by file name."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if "\ndef measure(" in path.read_text("utf-8")
    )


def question(name: str) -> Callable[..., Result]:
    """The ``measure`` of a question."""
    measure: Callable[..., Result] = import_module(f"benchmarks.{name}").measure
    return measure


def main(measure: Callable[..., Result]) -> None:
    """One question on the command line; the keyword arguments of *measure* are its flags."""
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
    sys.stdout.write(printed(measure(**vars(parser.parse_args()))))
