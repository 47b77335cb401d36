"""How much of what nginx and HAProxy let through does a crawl get?

    python -m benchmarks.proxies [--only TEXT] [--pages 300]

Real nginx and HAProxy limit requests, each in its own ways, in front of a server that answers after
50 ms (log-normal, sigma 0.3), over HTTP and in real time. The crawls learn from nothing; up to 64
are in flight. *of the best*: compared with the best of some fixed numbers and rates, tried in the
same run, of which at most 5 % was refused. A crawl with a rate set reads 1,000 pages, so that its
first and last pages, which wait for others, count little. ``--only`` runs the limits whose name
contains a text.
It needs both programs (apt-get install nginx-light haproxy), and exits with 1 if a check fails.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp

from benchmarks.apart import apart, pinned
from benchmarks.crawling import MOST, Concurrency, Fixed, Outcome
from benchmarks.harness import Bars, Cell, Check, Result, at_least, at_most, main
from benchmarks.server import served
from dp_async import Attempt, Client, CrawlOptions, DpError, Request, Response, Send, Settings
from tests.support.programs import find
from tests.support.proxies import LIMITS, SERVERS, Limit, running

SIZE = 10
#: Fixed settings to try, as shares of the rate, or as numbers at once.
RATES = (0.9, 0.95, 0.98, 1.0)
NUMBERS = (7, 8, 10, 12)
CONCURRENCIES: tuple[Concurrency, ...] = (32, "auto")
#: A limiter without a burst refuses the second of two requests that leave closer than 20 ms.
NO_BURST = "burst 0"
RATE, RATE_PAGES = 45.0, 1000


def http(session: aiohttp.ClientSession, base_url: str) -> Send:
    """A ``Send`` without any limit of its own."""

    async def send(request: Request, /) -> Response:
        async with session.request(
            request.method, base_url + request.target, headers=request.headers
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, headers, await response.read())

    return send


def crawl(settings: Settings, concurrency: Concurrency, pages: int, fixed: Fixed | None) -> Outcome:
    """A crawl by the client alone, or with a *fixed* setting below it."""

    async def crawled(send: Send | None) -> Outcome:
        loop = asyncio.get_running_loop()
        began, refused, requests, rows = loop.time(), 0, 0, 0
        errors: list[DpError] = []

        def count(attempt: Attempt) -> None:
            nonlocal requests, refused
            requests += 1
            refused += attempt.status in (429, 503)

        async def counted(request: Request, /) -> Response:
            assert send is not None
            response = await send(request)
            nonlocal requests, refused
            requests += 1
            refused += response.status in (429, 503)
            return response

        options = CrawlOptions(page_size=SIZE, concurrency=concurrency)
        client = Client(settings, send=fixed.over(counted) if fixed else None)
        if fixed is None:
            client.observe(count)
        async with client, client.works(options=options).crawl() as crawl:
            items = aiter(crawl)
            while len(errors) < 100:
                try:
                    async for _ in items:
                        rows += 1
                    break
                except DpError as error:
                    errors.append(error)
        return Outcome(
            rate=rows / SIZE / (loop.time() - began),
            refused=refused / requests,
            errors=len(errors),
            lost=pages * SIZE - rows,
            error=str(errors[0]) if errors else "",
        )

    async def all_of_it() -> Outcome:
        if fixed is None:
            return await crawled(None)
        async with aiohttp.ClientSession() as session:
            return await crawled(http(session, settings.base_url))

    return asyncio.run(all_of_it())


def best(settings: Settings, limit: Limit, pages: int) -> tuple[Fixed, Outcome]:
    """The fixed setting that gets most with at most 5 % refused."""
    tries = (
        [Fixed(number) for number in NUMBERS]
        if limit.rate is None
        else [Fixed(MOST, share * limit.rate) for share in RATES]
    )
    found = {fixed: apart(crawl, settings, fixed.number, pages, fixed)() for fixed in tries}

    def got(fixed: Fixed) -> float:
        outcome = found[fixed]
        return outcome.rate if outcome.refused <= 0.05 else -outcome.refused

    setting = max(found, key=got)
    return setting, found[setting]


@contextmanager
def limited(pages: int) -> Generator[tuple[Settings, dict[str, str]]]:
    """A server of so many pages behind all proxies: its settings, and the address of each limit."""
    with ExitStack() as stack:
        behind = stack.enter_context(served(pages * SIZE, size=SIZE, latency=0.05, jitter=0.3))
        backend = urlsplit(behind.base_url).port
        assert backend
        address: dict[str, str] = {}
        for program in SERVERS:
            address |= stack.enter_context(running(program, backend))
        yield replace(behind, max_in_flight=MOST), address


def measure(*, only: str = "", pages: int = 300) -> Result:
    if missing := [package for program, (_, package) in SERVERS.items() if not find(program)]:
        sys.exit(f"not installed: apt-get install {' '.join(missing)}")
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}

    def line(
        name: str, way: str, outcome: Outcome, fixed: Fixed, top: Outcome, least: float
    ) -> None:
        share = outcome.rate / top.rate
        refused = 100 * outcome.refused
        rows.append([name, way, outcome.rate, share, f"{fixed}", refused, outcome.errors])
        bars[f"{name}, {way}"] = share
        checks.extend(checked(f"{name}, {way}", outcome, share, least))

    with ExitStack() as stack:
        behind, address = stack.enter_context(limited(pages))
        longer, longer_address = stack.enter_context(limited(RATE_PAGES))
        for name, limit in LIMITS.items():
            if only not in name:
                continue
            settings = replace(behind, base_url=address[name])
            fixed, top = best(settings, limit, pages)
            least = 0.75 if "Retry-After" in name else 0.6 if NO_BURST in name else 0.85
            for concurrency in CONCURRENCIES:
                outcome = apart(crawl, settings, concurrency, pages, None)()
                line(name, f"{concurrency}", outcome, fixed, top, least)
            if NO_BURST in name:
                settings = replace(longer, base_url=longer_address[name], rate=RATE)
                outcome = apart(crawl, settings, 32, RATE_PAGES, None)()
                line(name, f"32, rate={RATE:g}", outcome, fixed, top, 0.0)
                checks.append(at_least(43, f"{name}, rate={RATE:g}: a second", outcome.rate))
    return Result(
        question=str(__doc__),
        columns=(
            "limit",
            "concurrency",
            "pages a second",
            "of the best",
            "the best",
            "% refused",
            "errors",
        ),
        rows=rows,
        checks=checks,
        chart=Bars("share of the best fixed setting", bars, limits=(0.85, 1.0)),
        notes=[pinned()],
    )


def checked(name: str, outcome: Outcome, share: float, least: float) -> Iterator[Check]:
    yield at_most(0, f"{name}: rows lost", outcome.lost)
    yield at_most(0, f"{name}: errors", outcome.errors)
    if least:
        yield at_least(least, f"{name}: of the best", share)
        yield at_most(8 if NO_BURST in name else 5, f"{name}: % refused", 100 * outcome.refused)


if __name__ == "__main__":
    main(measure)
