"""One run of a command that gets one signal, for the benchmark ``signals``."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.commands import (
    COMMANDS,
    MESSAGES,
    WORKS,
    counts,
    has_loaded,
    is_connected,
    listens,
    waits,
)
from benchmarks.watched import Watched
from dp_async import Client, DpError, RetryPolicy, Settings

LIMIT = 5.0
#: Seconds after which a run that goes on is killed.
PATIENCE = 120.0
COMMAND = [sys.executable, "-c", "import sys; from dp_async.cli import main; sys.exit(main())"]
LINE = re.compile(r"dp-async: interrupted( after [\d,]+ rows?(; \S+ was not written)?)?\n")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be; *draw*: where in its moment the signal comes, from 0 to 1.

    *again*: whether its database is synced again afterwards.
    """

    command: str
    moment: str
    kind: signal.Signals
    draw: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What a run was; *moment* where it was really in when the signal came."""

    command: str
    moment: str
    kind: signal.Signals
    seconds: float
    code: int
    err: str
    left: tuple[str, ...]

    @property
    def faults(self) -> dict[str, bool]:
        in_progress = self.command == "works --output" and self.moment != "start"
        said = LINE.fullmatch(self.err)
        return {
            "too slow": self.seconds > LIMIT,
            "wrong codes": self.code != 128 + self.kind,
            "left-overs": bool(self.left),
            "tracebacks": "Traceback" in self.err,
            "wrong lines": not said or (in_progress and not said[2]),
        }


@dataclass(frozen=True, slots=True)
class Span:
    """CPU seconds *before* a command catches signals, then until it has started, then of work."""

    before: float
    start: float
    work: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Runs commands against the server at *serving*, or at *hanging* where they are to be idle."""

    serving: Settings
    hanging: Settings

    @contextmanager
    def running(self, name: str, *, idle: bool) -> Generator[tuple[Watched, Path]]:
        """A process of the command, and the folder that it should leave as it was."""
        command = COMMANDS[name]
        settings = self.hanging if idle and command.is_idle is waits else self.serving
        with TemporaryDirectory() as place:
            root = Path(place)
            folders = [root / each for each in ("said", "work", "tmp", "home")]
            for folder in folders:
                folder.mkdir()
            words = (command.idle if idle else command.working).split()
            environment = os.environ | self._environment(settings, root)
            process = Watched([*COMMAND, *words], root / "work", root / "said", environment)
            try:
                yield process, root
            finally:
                process.close()

    def span(self, name: str) -> Span:
        """How long each part of a command takes, from a run without a signal."""
        command = COMMANDS[name]
        with self.running(name, idle=False) as (process, _):
            process.wait_until(lambda: process.catches(signal.SIGTERM), PATIENCE)
            before = process.cpu
            process.wait_until(lambda: command.has_started(process), PATIENCE)
            started = ended = process.cpu

            def is_over() -> bool:
                nonlocal ended
                ended = max(ended, process.cpu)
                return has_loaded(process)

            if command.has_started is listens:
                return Span(before, started - before, 0.3)
            process.wait_until(is_over, PATIENCE)
        # A sync goes on with what has changed: as long again.
        return Span(before, started - before, (ended - started) * (2 if "sync" in name else 1))

    def run(self, plan: Plan, span: Span) -> Run:
        """One run; it is repeated with an earlier moment where the command was over before."""
        for _ in range(10):
            if done := self._run(plan, span):
                return done
            plan = replace(plan, draw=plan.draw * 0.8)
        sys.exit(f"{plan}: the command always ends before the moment of its signal")

    def _run(self, plan: Plan, span: Span) -> Run | None:
        with ExitStack() as stack:
            running = self.running(plan.command, idle=plan.moment == "idle")
            process, root = stack.enter_context(running)
            if not _comes_to(plan, span, process, stack) or process.ended:
                return None
            early = plan.moment == "start" and not COMMANDS[plan.command].has_started(process)
            moment = plan.moment if early or plan.moment != "start" else "work"
            seconds, code = process.signal(plan.kind, PATIENCE)
            left = [each.name for name in ("tmp", "home") for each in (root / name).iterdir()]
            whole = COMMANDS[plan.command].whole
            kept = {each.name: whole(each) for each in (root / "work").iterdir()}
            left += [name for name, is_whole in kept.items() if not is_whole]
            left += process.left_processes(LIMIT - seconds)
            if kept.get("rows.ndjson") or (plan.command == "demo" and process.out):
                return None  # the command was over
            if plan.again and not self._syncs(root):
                left.append("not all rows")
            return Run(plan.command, moment, plan.kind, seconds, code, process.err, tuple(left))

    def _syncs(self, root: Path) -> bool:
        """Whether another sync into the same folder loads all rows."""
        again = subprocess.run(
            [*COMMAND, "sync", "--to", "to"],
            cwd=root / "work",
            env=os.environ | self._environment(self.serving, root),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        found = counts(root / "work" / "to")
        return again.returncode == 0 and found == {"works": WORKS, "messages": MESSAGES}

    @staticmethod
    def _environment(settings: Settings, root: Path) -> dict[str, str]:
        return {
            "DP_BASE_URL": settings.base_url,
            "DP_APP_ID": settings.app_id,
            "DP_APP_SECRET": settings.app_secret,
            "TMPDIR": str(root / "tmp"),
            "HOME": str(root / "home"),
        }


def _comes_to(plan: Plan, span: Span, process: Watched, stack: ExitStack) -> bool:
    """Wait for the moment of *plan*; False if the process ended before."""
    command = COMMANDS[plan.command]

    def spends(seconds: float) -> bool:
        until = process.cpu + seconds * plan.draw
        return process.wait_until(lambda: process.cpu >= until, PATIENCE)

    if not process.wait_until(lambda: process.catches(signal.SIGTERM), PATIENCE):
        return False
    if plan.moment == "start":
        return spends(span.start)
    if plan.moment == "idle":
        time.sleep(plan.draw * 0.3)
        return process.wait_until(lambda: command.is_idle(process), PATIENCE)
    if not process.wait_until(lambda: command.has_started(process), PATIENCE):
        return False
    if command.has_started is listens:
        stack.enter_context(traffic(process.out))
    return process.wait_until(lambda: is_connected(process), PATIENCE) and spends(span.work)


@contextmanager
def traffic(exports: str) -> Generator[None]:
    """Crawls of the server that printed *exports*, one after another, until it ends."""
    given = dict(re.findall(r"^export DP_(\w+)=(\S+)", exports, re.MULTILINE))
    settings = Settings(**{name.lower(): value for name, value in given.items()})

    async def crawl() -> None:
        async with Client(replace(settings, retry=RetryPolicy(attempts=1))) as client:
            while True:
                await client.works().collect()

    def run() -> None:
        with suppress(DpError):
            asyncio.run(crawl())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
