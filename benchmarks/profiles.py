"""Where does the CPU time of a page go, in a verified crawl and in a loop by hand?

    python -m benchmarks.profiles [--pages 1000]

Own CPU time of each function, by cProfile, summed by part of the stack. Functions written in C
count for msgspec, md5 or the sockets, otherwise for their caller. Pages of 100 works, no latency,
eight requests in flight. The profiler slows every call down, so parts with many calls look larger
than they are: compare a part with itself, and take the total from the benchmark ``cpu``. Below are
the most expensive functions of the crawl.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks import ways
from benchmarks.apart import apart, pinned
from benchmarks.harness import Bars, Cell, Result, aligned, main
from benchmarks.server import served
from benchmarks.ways import SIZE, Task
from dp_async import Settings

OURS, FLOOR = "dp_async", "by hand: aiohttp + msgspec"
WAYS = {OURS: ways.ours, FLOOR: ways.by_hand}
MOST = 25  # functions

#: The part of the stack, by a word in the name of a function written in C ...
OF_C = {
    "msgspec": "msgspec",
    "_hashlib": "md5",
    "openssl_md5": "md5",
    "_socket.socket": "sockets",
    "select.": "sockets",
}
#: ... or by the folder of its file.
FOLDERS = ("asyncio", "aiohttp", "yarl", "multidict", "dp_async", "benchmarks")
OTHER = "other code"

Function: TypeAlias = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds and calls per page of the part or function *name*."""

    name: str
    own: float
    calls: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The CPU time of one way, by part and by function."""

    parts: list[Spent]
    functions: list[Spent]


def part(function: Function) -> str | None:
    """The part of the stack that *function* belongs to; None: that of its caller."""
    file, _, name = function
    if file == "~":
        return next((its for word, its in OF_C.items() if word in name), None)
    path = Path(file)
    for folder in path.parts[-2:-5:-1]:
        if folder == "dp_async":
            return f"dp_async.{path.stem}"
        if folder in FOLDERS:
            return "the benchmark's loop" if folder == "benchmarks" else folder
    return None if file.startswith("<") else OTHER


def shown_as(function: Function) -> str:
    file, line, name = function
    return name if file == "~" else f"{Path(file).parent.name}/{Path(file).name}:{line} {name}"


def profiled(way: str, settings: Settings, pages: int) -> Profile:
    """The profile of one run, after a warm-up."""

    async def run() -> None:
        seen = await WAYS[way](Task(settings, pages))
        assert seen == pages * SIZE - 1, seen

    asyncio.run(run())
    profiler = cProfile.Profile(time.process_time)  # excludes waiting
    profiler.runcall(asyncio.run, run())
    return sorted_out(pstats.Stats(profiler), pages)


def sorted_out(stats: pstats.Stats, pages: int) -> Profile:
    own: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    functions: list[Spent] = []

    def add(name: str, seconds: float, times: int) -> None:
        own[name] += seconds
        calls[name] += times

    found: dict[Function, tuple[int, int, float, float, dict[Function, tuple[int, int, float]]]]
    found = vars(stats)["stats"]  # pstats has no public access to the numbers
    for function, (_, times, seconds, _, callers) in found.items():
        functions.append(each(shown_as(function), seconds, times, pages))
        if (name := part(function)) is not None:
            add(name, seconds, times)
            continue
        for caller, (times_there, _, seconds_there, *_) in callers.items():
            add(part(caller) or OTHER, seconds_there, times_there)
    parts = [each(name, own[name], calls[name], pages) for name in own]
    return Profile(most(parts), most(functions)[:MOST])


def each(name: str, seconds: float, calls: int, pages: int) -> Spent:
    return Spent(name, seconds / pages * 1e6, calls / pages)


def most(spent: Iterable[Spent]) -> list[Spent]:
    return sorted(spent, key=lambda each: -each.own)


def measure(*, pages: int = 1000) -> Result:
    with served(pages * SIZE - 1) as settings:
        ours, floor = (apart(profiled, way, settings, pages)() for way in (OURS, FLOOR))
    by_hand = {each.name: each for each in floor.parts}
    total = sum(each.own for each in ours.parts)
    nothing = Spent("", 0, 0)
    found = {each.name: each for each in ours.parts}
    names = [each.name for each in ours.parts if each.own > total / 1000]
    names += [name for name in by_hand if name not in found]
    rows = [
        (
            name,
            found.get(name, nothing).own,
            100 * found.get(name, nothing).own / total,
            found.get(name, nothing).calls,
            by_hand.get(name, nothing).own,
            by_hand.get(name, nothing).calls,
        )
        for name in names
    ]
    functions: list[tuple[Cell, ...]] = [
        ("function", "µs a page", "calls a page"),
        *((each.name, each.own, each.calls) for each in ours.functions),
    ]
    return Result(
        question=str(__doc__),
        columns=("part", "µs a page", "%", "calls", "by hand: µs a page", "calls"),
        rows=[
            *rows,
            (
                "total",
                total,
                100,
                sum(each.calls for each in ours.parts),
                sum(each.own for each in floor.parts),
                sum(each.calls for each in floor.parts),
            ),
        ],
        chart=Bars(
            "µs per page, by the profiler",
            {each.name: each.own for each in ours.parts if each.own > total / 200},
        ),
        notes=[pinned(), "\n".join(["```text", *aligned(functions), "```"])],
    )


if __name__ == "__main__":
    main(measure)
