"""Syncs both lists of some accounts, once or repeatedly, with progress bars and a summary.

Knows no flag and no kind of destination.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.progress import TaskID

from dp_async import AuthError, CrawlReport

from ._output import standard_output
from ._progress import bars, named, verdict
from ._run import Exit, say
from ._signals import signals
from ._target import LoadFailed, Scope, Target
from ._text import line, width

if TYPE_CHECKING:
    from dp_async.tables import Outcome

HEADING = ("list", "account", "new", "updated", "gone", "requests", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Scope):
    """What to sync, and where to."""

    target: Target

    def run(self) -> list[Outcome]:
        """Sync once and return the outcome of each list of each account. Raises DpError."""
        with _bars() as (progress, done):
            outcomes = self.target.load(self, progress, done)
        order = {name: place for place, name in enumerate(self.accounts or ())}
        return sorted(outcomes, key=lambda one: (one.resource, order.get(one.account, 0)))


def sync(job: Job, every: float | None, sleep: Callable[[float], object] = time.sleep) -> Exit:
    """Run *job* and show its outcomes; then load changes *every* so many seconds, unless None.

    Returns the exit code of the last run. Watching ends on a signal, on a ConfigError, or when
    every list of every account ends in an AuthError. Other errors are shown and the run is
    repeated.
    """
    outcomes = job.run()
    show(outcomes)
    shown = _bad(outcomes)
    while every is not None and not _all_refused(outcomes):
        signals().check()  # a library may have taken the signal, or lost the KeyboardInterrupt
        sleep(every)
        job = replace(job, full=False, reconcile=False)
        try:
            outcomes = job.run()
        except (LoadFailed, OSError) as error:
            say(f"{error}; the next try is in {every:g} s")
            continue
        changes = [
            one
            for one in outcomes
            if one.new or one.updated or one.reloaded or one.error or _bad([one]) - shown
        ]
        if changes:
            show(changes)
        shown = _bad(outcomes)
    return _code(outcomes)


def _bad(outcomes: Sequence[Outcome]) -> set[tuple[str, str, bytes]]:
    """The bad rows, to tell those that were named before."""
    return {(one.resource, one.account, bad.raw) for one in outcomes for bad in one.bad_items}


def _all_refused(outcomes: Sequence[Outcome]) -> bool:
    return all(isinstance(one.error, AuthError) for one in outcomes)


def show(outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes as a table to standard output, and their problems to stderr."""
    rows = [HEADING, *map(_row, outcomes)]
    widths = [max(map(width, column)) + 1 for column in zip(*rows, strict=True)]
    text = "".join(line(row, widths) for row in rows)
    asyncio.run(standard_output().write(text.encode()))
    for one in outcomes:
        for bad in named(one.bad_items):
            say(f"{one.resource} of {_short(one.account)}: {bad}")
        if one.reloaded:
            say(
                f"{one.resource} of {_short(one.account)}: the destination did not hold what was "
                "loaded before; all rows are loaded again"
            )
        if one.error is not None:
            say(f"{one.resource} of {_short(one.account)}: {one.error}")
        elif one.report.complete is False:
            say(
                f"{one.resource} of {_short(one.account)}: {one.report.reason}; "
                "no row was marked as gone, and the next run reads the list again"
            )


def _code(outcomes: Sequence[Outcome]) -> Exit:
    if any(one.error is not None for one in outcomes):
        return Exit.FAILED
    if any(one.report.complete is False for one in outcomes):
        return Exit.INCOMPLETE
    if any(one.bad_items for one in outcomes):
        return Exit.BAD_ROWS
    return Exit.OK


def _row(one: Outcome) -> tuple[str, ...]:
    counts = (one.new, one.updated, one.gone, one.report.requests)
    result = "FAILED" if one.error is not None else verdict(one.report)
    return (one.resource, _short(one.account), *map(str, counts), result)


def _short(account: str) -> str:
    """An account as it may be shown: its last four characters."""
    return f"…{account[-4:]}" if account else "main"


@contextmanager
def _bars() -> Generator[tuple[Callable[[str, str, CrawlReport], None], Callable[[Outcome], None]]]:
    """Bars on a terminal, one per list and account: functions for each report and each outcome."""
    with bars(shown=sys.stderr.isatty()) as shown:
        tasks: dict[tuple[str, str], TaskID] = {}

        def progress(resource: str, account: str, report: CrawlReport) -> None:
            name = (resource, account)
            if name not in tasks:
                tasks[name] = shown.add_task(f"{resource} {_short(account)}", total=None)
            shown.update(tasks[name], completed=report.items, total=report.total_elements)

        def done(outcome: Outcome) -> None:
            task = tasks.pop((outcome.resource, outcome.account), None)
            if task is not None:
                shown.remove_task(task)

        yield progress, done
