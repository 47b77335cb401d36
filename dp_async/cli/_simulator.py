"""``demo`` and ``simulate``: the commands that need no server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from dp_async import Client, CrawlOptions, CrawlReport, Listing, Settings
from dp_async.testing import Simulator, serve

from ._output import standard_output
from ._progress import progress_bar, verdict
from ._run import Exit, say
from ._text import line, width

T = TypeVar("T")

#: The sigma of the log-normal distribution of latencies, close to that of real servers.
JITTER = 0.3

HEADING = ("list", "items", "pages", "requests", "seconds", "pages/s", "verdict")


def simulator(works: int, messages: int, latency: float, port: int = 0) -> Simulator:
    """A simulator that keeps no log of requests, so may run for long. *latency* in milliseconds."""
    return Simulator(
        works=works,
        messages=messages,
        port=port,
        latency=latency / 1000,
        jitter=JITTER,
        remember=False,
    )


async def demonstrate(simulator: Simulator, options: CrawlOptions) -> int:
    """Crawl both lists of *simulator* and print a summary; FAILED if a row is missing."""
    async with simulator, Client(_allowing(simulator.settings, options)) as client:
        works = await _crawled("works", client.works(options=options))
        messages = await _crawled("messages", client.messages(options=options))
        expected = {"works": len(simulator.works), "messages": len(simulator.messages)}
    reports = {"works": works, "messages": messages}
    rows = [HEADING, *(_row(name, report) for name, report in reports.items())]
    reasons = [f"{name}: {report.reason}\n" for name, report in reports.items()]
    await standard_output().write("".join([_aligned(rows), *reasons]).encode())
    code = Exit.OK
    for name, report in reports.items():
        if report.items < expected[name]:
            say(f"{name}: {report.items} of {expected[name]} items were read")
            code = Exit.FAILED
    return code


def _allowing(settings: Settings, options: CrawlOptions) -> Settings:
    """*settings* whose ``max_in_flight`` does not limit the concurrency of *options*."""
    wanted = 0 if options.concurrency == "auto" else options.concurrency
    return replace(settings, max_in_flight=max(settings.max_in_flight, wanted))


async def _crawled(title: str, listing: Listing[T]) -> CrawlReport:
    with progress_bar(title, shown=sys.stderr.isatty()) as progress:
        async with listing.crawl(progress=progress) as crawl:
            async for _ in crawl.pages():
                pass
        return crawl.report


def _row(name: str, report: CrawlReport) -> tuple[str, ...]:
    speed = report.pages / report.elapsed
    counts = (report.items, report.pages, report.requests)
    return (name, *map(str, counts), f"{report.elapsed:.2f}", f"{speed:.0f}", verdict(report))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(width, column)) + 1 for column in zip(*rows, strict=True)]
    return "".join(line(row, widths) for row in rows)


async def simulate(simulator: Simulator) -> int:
    """Print how another shell can use *simulator*, and run it until cancelled."""
    await serve(simulator, ready=_announce)
    return Exit.OK


def _announce(simulator: Simulator) -> None:
    settings = simulator.settings
    sys.stdout.write(
        f"# {len(simulator.works)} works and {len(simulator.messages)} messages, until Ctrl-C."
        " Paste this into another shell, then: dp-async works\n"
        f"export DP_BASE_URL={settings.base_url}\n"
        f"export DP_APP_ID={settings.app_id}\n"
        f"export DP_APP_SECRET={settings.app_secret}  # made up: it opens nothing but this\n"
    )
    sys.stdout.flush()
