"""Progress bars on stderr, and the summary of a crawl in one line."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from math import inf

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dp_async import BadItem, Client, CrawlReport

VERDICTS = {True: "complete, proven", False: "NOT complete", None: "not known to be complete"}

DAY = 86_400.0  # seconds

#: Bad rows of a list that are named one by one.
NAMED = 20


def bars(*, shown: bool) -> Progress:
    """Bars on stderr for a ``with`` block; they are erased at its end."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not shown,
    )


@contextmanager
def progress_bar(
    title: str, *, shown: bool, limit: int | None = None, whole: bool = True
) -> Generator[Callable[[CrawlReport], None]]:
    """A bar for the block; call the yielded function with each report.

    *limit*: the most rows. *whole*: whether all rows of the list are expected.
    """
    with bars(shown=shown) as bar:
        task = bar.add_task(title, total=None)

        def update(report: CrawlReport) -> None:
            expected = [report.total_elements if whole else None, limit]
            total = min((each for each in expected if each is not None), default=None)
            bar.update(task, completed=report.items, total=total)

        yield update


def proof(report: CrawlReport) -> str:
    """What the proof of a complete crawl bears; "" without one."""
    if report.margin is None or report.margin == inf:
        return ""
    if report.margin >= DAY:
        return ", even if rows appear a day late"
    return f", even if rows appear up to {report.margin:.0f} s late"


def verdict(report: CrawlReport) -> str:
    """Whether the crawl is complete, and how many rows could not be read, in words."""
    bad = f", {counted(report.bad_items, 'bad row')}" if report.bad_items else ""
    return f"{VERDICTS[report.complete]}{bad}"


def summary(report: CrawlReport, client: Client) -> str:
    """The crawl in one line, and what the server allowed, where it refused requests."""
    allowed, stats = "", client.stats
    if stats.pace is not None:
        allowed = f"; the server allowed about {stats.pace:.0f} requests a second"
    elif stats.limit is not None:
        allowed = f"; the server allowed about {counted(stats.limit, 'request')} at once"
    return (
        f"{counted(report.items, 'item')} in {counted(report.pages, 'page')}, "
        f"{counted(report.requests, 'request')}, "
        f"{report.elapsed:.2f} s; {verdict(report)}{proof(report)}: {report.reason}{allowed}"
    )


def named(bad: Sequence[BadItem]) -> Iterator[str]:
    """A line for each of the first *bad* rows, and one that counts the others."""
    for item in bad[:NAMED]:
        yield f"left out, on page {item.page_num}: {item.problem}"
    if len(bad) > NAMED:
        yield f"left out: {counted(len(bad) - NAMED, 'other bad row')}"


def counted(number: int, noun: str) -> str:
    """*number* of the *noun*, in its singular for 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
