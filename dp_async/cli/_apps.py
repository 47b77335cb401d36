"""``sync --apps``: many apps into Delta tables, in this process or by the workers of Ray.

Knows no list and no table. Needs the extra ``delta``, and with Ray ``ray``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from dp_async import CrawlOptions

from ._app_file import AppFile
from ._lake import Lake  # first: it configures pyarrow and deltalake
from ._output import standard_output
from ._progress import bars, counted, named
from ._run import Exit, say
from ._signals import signals
from ._text import line, width

# Before ray is imported: a cluster's lines about calls that are repeated go to standard output.
os.environ.setdefault("RAY_enable_output_error_log_if_still_retry", "0")

from dp_async import ray  # isort: skip
from dp_async.tables import Outcome  # isort: skip

HEADING = ("app", "accounts", "new", "updated", "gone", "requests", "verdict")
#: Problems of a file, and of an app, that are named one by one.
NAMED = 20
NAMED_OF_APP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What to sync, and where to. *address*: of Ray, "" for one of its own; None: without Ray."""

    file: AppFile
    lake: Lake
    address: str | None = None
    full: bool = False
    reconcile: bool = False
    at_once: int = 4
    options: CrawlOptions = field(default_factory=CrawlOptions)

    def sync(self) -> Exit:
        """Sync all apps, show each and the sum. Raises DpError; the file's problems are shown."""
        # On a cluster, only the workers need to have the secrets.
        accounts, problems = self.file.accounts(with_secrets=not self.address)
        for problem in problems[:NAMED]:
            say(problem)
        if len(problems) > NAMED:
            say(f"{counted(len(problems) - NAMED, 'other app')} of the file cannot be synced")
        if problems:
            return Exit.USAGE
        apps = [ray.App(app_id, names) for app_id, names in accounts.items()]
        tallies = {app.app_id: Tally(app.app_id, app.size) for app in apps}
        outcomes = ray.sync(
            apps,
            self.file,
            self.lake.uri,
            workers=0 if self.address is None else None,
            address=self.address or None,
            full=self.full,
            reconcile=self.reconcile,
            at_once=self.at_once,
            options=self.options,
        )
        with (
            closing(outcomes),
            signals().interrupting(_interrupt),
            bars(shown=sys.stderr.isatty()) as shown,
        ):
            task = shown.add_task(
                counted(len(apps), "app"), total=2 * sum(app.size for app in apps)
            )
            for outcome in outcomes:
                tallies[outcome.app_id].add(outcome)
                shown.advance(task)
        show([*tallies.values()])
        return min((tally.code for tally in tallies.values()), key=ORDER.index)


#: The exit codes, the worst first.
ORDER = (Exit.FAILED, Exit.INCOMPLETE, Exit.BAD_ROWS, Exit.OK)


def _interrupt() -> None:
    raise KeyboardInterrupt


class Tally:
    """What became of an app, or of several: the counts, and the problems of their lists."""

    def __init__(self, name: str, accounts: int) -> None:
        self.name = name
        self.accounts = accounts
        self.code = Exit.OK
        self.failed = 0
        self.problems: list[str] = []
        self.counts = [0, 0, 0, 0]

    def add(self, one: Outcome) -> None:
        """Count the outcome of a list of an account."""
        found = (one.new, one.updated, one.gone, one.report.requests)
        self.counts = [count + more for count, more in zip(self.counts, found, strict=True)]
        self.failed += one.error is not None
        where = f"{self.name}: {one.resource} of {_short(one.account)}"
        code = Exit.OK
        if one.bad_items:
            self.problems += [f"{where}: {bad}" for bad in named(one.bad_items)]
            code = Exit.BAD_ROWS
        if one.reloaded:
            self.problems.append(
                f"{where}: the tables did not hold what was loaded before; all is loaded again"
            )
        if one.error is not None:
            self.problems.append(f"{where}: {one.error}")
            code = Exit.FAILED
        elif one.report.complete is False:
            self.problems.append(f"{where}: {one.report.reason}; the next run reads the list again")
            code = Exit.INCOMPLETE
        self.code = min(self.code, code, key=ORDER.index)

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the summary."""
        verdict = {
            Exit.OK: "done",
            Exit.BAD_ROWS: "done, without bad rows",
            Exit.INCOMPLETE: "not known to be complete",
            Exit.FAILED: f"FAILED: {self.failed} of {2 * self.accounts} lists",
        }
        return (self.name, str(self.accounts), *map(str, self.counts), verdict[self.code])


def show(tallies: Sequence[Tally]) -> None:
    """Write the apps and their sum as a table to standard output, their problems to stderr."""
    total = Tally(f"all {len(tallies)}", sum(tally.accounts for tally in tallies))
    total.counts = [
        sum(counts) for counts in zip(*(tally.counts for tally in tallies), strict=True)
    ]
    total.failed = sum(tally.failed for tally in tallies)
    total.code = min((tally.code for tally in tallies), key=ORDER.index)
    rows = [HEADING, *(tally.row for tally in tallies), total.row]
    widths = [max(map(width, column)) + 1 for column in zip(*rows, strict=True)]
    asyncio.run(standard_output().write("".join(line(row, widths) for row in rows).encode()))
    for tally in tallies:
        for problem in _grouped(tally):
            say(problem)


def _grouped(tally: Tally) -> list[str]:
    """The problems of an app; one that all its lists share is a single line."""
    texts = {problem.split(": ", 2)[2] for problem in tally.problems}
    if len(texts) == 1 and len(tally.problems) == 2 * tally.accounts:
        return [f"{tally.name}: {texts.pop()}"]
    more = len(tally.problems) - NAMED_OF_APP
    others = [f"{tally.name}: {counted(more, 'other problem')}"] if more > 0 else []
    return [*tally.problems[:NAMED_OF_APP], *others]


def _short(account: str) -> str:
    """An account as it may be shown: its last four characters."""
    return f"…{account[-4:]}" if account else "main"
