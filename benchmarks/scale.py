"""How many apps of 100 accounts does a core keep in Delta tables in a night, and how many do 1,000?

    python -m benchmarks.scale [--rounds 3] [--apps 50] [--accounts 100]

``dp_async.ray.sync`` through the real code: one worker, in a process of its own, real HTTP to a
server that answers from pages rendered beforehand, so that all time is the worker's own. An account
has 100 works and 20 messages. The *first* night loads all rows, a *quiet* one finds nothing new.
Two nights are interleaved with the same ones of a fifth of the apps: what an app costs must not
grow with the tables. *Ray* against one process: twenty apps of 20 accounts of 500 works and 20
messages, from the first call of ``settings`` to the last outcome, without Ray's own start, with the
server on the same two CPUs. *250 of 1,000*: a simulator for each of 40 apps with 25 accounts, of
which ten have changed. Not measured but multiplied: a night of eight hours on more cores.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.apart import apart, peak, pinned
from benchmarks.harness import Bars, Cell, Check, Result, at_least, at_most, main, require
from benchmarks.server import served
from dp_async import Settings
from dp_async.testing import Simulator

LIBRARIES = ("dp_async", "ray", "deltalake", "pyarrow")
SPAWN = get_context("spawn")
NIGHT = 8 * 3600.0
CORES = (1, 10, 100, 1000)
#: Requests a second that an app is allowed, for what the platform's limits cost.
ALLOWED = 10.0
#: Apps, accounts of each, and of these apps those that have changed.
CHANGES = (40, 25, 10)


class Night(NamedTuple):
    """What one run took: seconds, CPU seconds, MB at the most, requests."""

    seconds: float
    cpu: float
    peak: float
    requests: int


class Of:
    """The settings of an app: those *given* with its id. It notes when it is called first."""

    def __init__(self, url: Mapping[str, str] | str, begun: Path) -> None:
        self._url = url
        self._begun = begun

    def __call__(self, app_id: str) -> Settings:
        try:
            with self._begun.open("x") as file:
                file.write(str(time.time()))
        except FileExistsError:
            pass  # another app was first
        url = self._url if isinstance(self._url, str) else self._url[app_id]
        settings = Simulator(works=0, messages=0).in_process_settings
        return replace(settings, base_url=url, app_id=app_id)


def night(
    url: Mapping[str, str] | str, apps: int, accounts: int, folder: str, workers: int = 0
) -> Night:
    """Sync all apps once, in this process or by so many *workers* of Ray."""
    from benchmarks.scale import Of  # by this name Ray's workers can import it
    from dp_async.ray import App, sync

    begun = Path(tempfile.mkdtemp()) / "begun"
    names = [f"{13_000_000_000 + account}" for account in range(accounts)]
    given = [App(f"app-{number}", names) for number in range(apps)]
    cpu, requests = time.process_time(), 0
    for outcome in sync(given, Of(url, begun), folder, workers=workers):
        assert outcome.error is None, outcome.error
        requests += outcome.report.requests
    seconds = time.time() - float(begun.read_text())
    return Night(seconds, time.process_time() - cpu, peak(), requests)


def fleet(line: Connection, apps: int, changed: int) -> None:
    """Simulators, one for each app; each message changes *changed* of them, or ends it."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            running: dict[str, Simulator] = {}
            for number in range(apps):
                simulator = Simulator(
                    works=100, messages=20, app_id=f"app-{number}", remember=False
                )
                running[f"app-{number}"] = await stack.enter_async_context(simulator)
            line.send({name: simulator.url for name, simulator in running.items()})
            while await asyncio.to_thread(line.recv):
                for simulator in [*running.values()][:changed]:
                    for _ in range(3):
                        simulator.works.insert()
                line.send(None)

    asyncio.run(run())


def changes(rounds: int) -> list[Night]:
    """Nights in which some of the accounts have changed, by two workers."""
    apps, accounts, changed = CHANGES
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=fleet, args=(theirs, apps, changed), daemon=True)
    process.start()
    try:
        urls: dict[str, str] = ours.recv()
        found: list[Night] = []
        with tempfile.TemporaryDirectory() as folder:
            apart(night, urls, apps, accounts, folder)()
            for _ in range(rounds):
                ours.send(True)
                ours.recv()
                found.append(_unpinned(night, urls, apps, accounts, folder, 2)())
        return found
    finally:
        process.terminate()
        process.join()


def _unpinned(function: Callable[..., Night], *given: object) -> Callable[[], Night]:
    """As ``apart``, on all CPUs."""
    from concurrent.futures import ProcessPoolExecutor

    def call() -> Night:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            return pool.submit(function, *given).result()

    return call


def _middle(nights: list[Night]) -> Night:
    return Night(*(median(values) for values in zip(*nights, strict=True)))


def measure(*, rounds: int = 3, apps: int = 50, accounts: int = 100) -> Result:
    require(LIBRARIES)
    few = max(1, apps // 5)
    first: dict[int, list[Night]] = {few: [], apps: []}
    quiet: dict[int, list[Night]] = {few: [], apps: []}
    ratios: list[float] = []
    with ExitStack() as stack:
        url = stack.enter_context(served(100, 20)).base_url
        for _ in range(rounds):
            for number in first:
                with tempfile.TemporaryDirectory() as folder:
                    run = apart(night, url, number, accounts, folder)
                    first[number].append(run())
                    quiet[number].append(run())
        url = stack.enter_context(served(500, 20)).base_url
        for _ in range(rounds):
            took: list[float] = []
            for workers in (0, 2):
                with tempfile.TemporaryDirectory() as folder:
                    took.append(_unpinned(night, url, 20, 20, folder, workers)().seconds)
            ratios.append(took[0] / took[1])
    changed = _middle(changes(rounds))
    unchanged = _requests(changed)
    rows: list[list[Cell]] = []
    for name, nights in (("first", first), ("quiet", quiet)):
        all_apps = _middle(nights[apps])
        one = all_apps.cpu / apps
        rows.append(
            [
                name,
                one,
                all_apps.requests / apps,
                all_apps.peak,
                *(NIGHT * cores / one for cores in CORES),
            ]
        )
    return Result(
        question=str(__doc__),
        columns=(
            "night",
            "CPU s an app",
            "requests",
            "peak MB",
            *(f"apps, {cores:,} {'core' if cores == 1 else 'cores'}" for cores in CORES),
        ),
        rows=rows,
        checks=checks(first, quiet, few, apps, ratios, changed, unchanged),
        chart=Bars(
            "CPU seconds for an app of 100 accounts",
            {str(row[0]): float(row[1]) for row in rows},
        ),
        notes=notes(_middle(quiet[apps]).requests / apps),
        libraries=LIBRARIES,
    )


def notes(requests: float) -> list[str]:
    """What is assumed; *requests*: of an app in a quiet night."""
    commits = NIGHT / 0.1 / 2
    assumed = (
        "Assumed: a core spends all of the night on it, which it does with enough apps at once; "
        "apps divide evenly among the cores; the tables' disk takes the commits. An app with new "
        "rows makes four commits, two of them to the table of the watermarks, where all cores "
        f"meet: a store that takes ten commits a second takes {commits:,.0f} such apps in a "
        "night, whatever the number of cores."
    )
    slowest = (
        f"An app that is allowed {ALLOWED:g} requests a second takes {requests / ALLOWED:,.0f} s "
        "at least for a quiet night; its worker goes on with its other apps meanwhile."
    )
    load = f"The machine's load at the end: {os.getloadavg()[0]:.1f}. {pinned()}"
    return [assumed, slowest, load]


def _requests(changed: Night) -> float:
    """Requests for an unchanged list, if one that has changed takes two, and one more to go on."""
    apps, accounts, moved = CHANGES
    lists = 2 * apps * accounts
    return (changed.requests - 3 * moved * accounts) / (lists - moved * accounts)


def checks(
    first: Mapping[int, list[Night]],
    quiet: Mapping[int, list[Night]],
    few: int,
    apps: int,
    ratios: list[float],
    changed: Night,
    unchanged: float,
) -> list[Check]:
    def growth(nights: Mapping[int, list[Night]]) -> float:
        return (_middle(nights[apps]).cpu / apps) / (_middle(nights[few]).cpu / few)

    return [
        at_most(1.5, f"first night, CPU of an app among {apps}, against {few}", growth(first)),
        at_most(1.5, f"quiet night, CPU of an app among {apps}, against {few}", growth(quiet)),
        at_most(350, f"MB of a worker with {apps} apps at once", _middle(first[apps]).peak),
        at_least(1.25, "two workers of Ray against one process, median", median(ratios)),
        at_most(5, "250 of 1,000 accounts changed: seconds", changed.seconds),
        at_most(1.1, "250 of 1,000 accounts changed: requests for an unchanged list", unchanged),
    ]


if __name__ == "__main__":
    main(measure)
