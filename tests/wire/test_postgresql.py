"""Crawls of a service over a real PostgreSQL: no certificate is false, and chains lose no change.

The service's clock moves with its requests: transactions stay open for up to 8 s by that clock, and
take no time here. So nothing depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest
from aiohttp import web

from dp_async import Client, CrawlOptions, Request, SortOrder, Watermark, WorkStatus
from dp_async.testing._answers import Api, Rules
from dp_async.testing._rows import OFFSET
from tests.support.fake_server import SETTINGS
from tests.support.sqllist import Schema, SqlList, Write, connected

CRAWLS, CHAINS, RUNS = 100, 20, 8
LATENESS = 10.0
CONNECTIONS = 40
START = 1_790_000_000.0
RULES = Rules(
    app_id=SETTINGS.app_id,
    app_secret=SETTINGS.app_secret,
    auth_template=SETTINGS.auth_template,
    timestamp_unit=SETTINGS.timestamp_unit,
    accounts=None,
    tolerance=inf,
    max_page_size=200,
    shape="flat",
    http_errors=False,
)


@pytest.fixture(scope="module")
def connections(postgresql: str) -> Iterator[list[Any]]:
    """One that reads, and those of the writers."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(connected(postgresql, autocommit=not number)))
            for number in range(CONNECTIONS)
        ]


UPDATES: tuple[Write, ...] = ("update",) * 100
KINDS: tuple[tuple[Write, ...], ...] = (
    ("insert",),
    ("insert", "update", "delete"),
    ("update", "update", "update", "insert"),
    (*UPDATES, "delete", "import"),
)

Opened = Callable[[int], SqlList]


@pytest.fixture
def open_list(connections: list[Any], request: pytest.FixtureRequest) -> Opened:
    """Makes the list that is drawn from a seed."""

    def opened(seed: int) -> SqlList:
        chance = Random(f"{request.node.name} {seed}")
        schema = Schema(
            fine=chance.random() < 0.6,
            rounded=chance.random() < 0.25,
            tie_breaker=chance.choice(("", "", "id", "id DESC")),
            indexed=chance.random() < 0.7,
            counted_before=chance.random() < 0.3,
            pace=chance.choice((0.0, 0.5, 2.0, 8.0)),
            kinds=chance.choice(KINDS),
            aimed=chance.choice((0.0, 0.3)),
        )
        found = SqlList(
            reading=connections[0],
            writing=connections[1:],
            name=f"{request.node.name.split('[')[0]}_{seed}",
            schema=schema,
            chance=chance,
            now=START,
            latency=chance.choice((0.02, 0.1, 0.2)),
        )
        found.fill(round(10 ** chance.uniform(2, 3)), 10 ** chance.uniform(1, 5))
        found.advance(20.0)
        return found

    return opened


@asynccontextmanager
async def served(shown: SqlList) -> AsyncGenerator[Client]:
    """A client of a service that answers from *shown*, over loopback."""
    api = Api(RULES, {"work_list": shown}, now=lambda: shown.now, random=shown.chance)

    async def answer(request: web.Request) -> web.Response:
        for _ in range(shown.chance.randrange(6)):  # so that requests pass each other
            await asyncio.sleep(0)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        received = Request("work_list", request.method, request.path_qs, headers, body)
        response = api.answer(received)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with Client(replace(SETTINGS, base_url=url)) as client:
            yield client
    finally:
        await runner.cleanup()


def drawn(chance: Random) -> CrawlOptions:
    return CrawlOptions(
        page_size=chance.choice((20, 50, 100)),
        concurrency=chance.choice((1, 2, 4, 8, 16)),
        ordered=chance.random() < 0.7,
        allowed_lateness=LATENESS,
    )


@pytest.mark.slow
async def test_a_crawl_is_complete_only_if_it_is(open_list: Opened) -> None:
    false: dict[int, set[int]] = {}
    certified: Counter[bool | None] = Counter()
    for seed in range(CRAWLS):
        shown = open_list(seed)
        chance = Random(seed)
        status = chance.choice((None, None, WorkStatus.SUCCESS))
        async with served(shown) as client:
            listing = client.works(
                status=status,
                sort=chance.choice((SortOrder.DESC, SortOrder.DESC, SortOrder.ASC)),
                options=drawn(chance),
            )
            before = set(shown.versions(status))
            shown.left.clear()
            async with listing.crawl() as crawl:
                found = Counter([work.digital_person_works_id async for work in crawl])
            stayed = before & set(shown.versions(status)) - shown.left
        assert max(found.values(), default=1) == 1, f"seed {seed}: a row came twice"
        certified[crawl.report.complete] += 1
        if crawl.report.complete and not stayed <= found.keys():
            false[seed] = stayed - found.keys()
        shown.end_all()
    assert not false
    assert certified[True] >= 0.9 * CRAWLS


@pytest.mark.slow
async def test_chains_of_since_lose_no_change(open_list: Opened) -> None:
    lost: dict[int, set[int]] = {}
    false: dict[int, set[int]] = {}
    for seed in range(CHAINS):
        shown = open_list(seed)
        chance = Random(seed)
        status = chance.choice((None, None, WorkStatus.SUCCESS))
        have: dict[int, object] = {}
        mark: Watermark | None = None
        complete: bool | None = None
        async with served(shown) as client:
            listing = client.works(status=status, options=drawn(chance))
            for run in range(RUNS + 1):
                if run == RUNS:
                    shown.end_all()
                pending = shown.pending(have, status)
                shown.left.clear()
                async with listing.since(mark) as crawl:
                    found = {work.digital_person_works_id: work.fee async for work in crawl}
                complete = crawl.report.complete
                missed = pending & set(shown.versions(status)) - shown.left - found.keys()
                if complete and missed:
                    false[seed] = missed
                mark = crawl.watermark
                have |= found
                shown.advance(chance.choice((0.0, 0.3, 3.0, 20.0)))
            assert mark is not None
            # What changed above the watermark comes in the next run, if this one was not complete.
            below = inf if complete else mark.updated - OFFSET - LATENESS
            if gone := shown.pending(have, status, below=below):
                lost[seed] = gone
    assert not false
    assert not lost
