"""How close does a crawl's order of requests come to the ideal time, if CPU costs nothing?

    python -m benchmarks.ordering [--seeds 100] [--pages 400]

In virtual time only a crawl's plan counts: which page it requests when. Latencies are log-normal
with median 80 ms and sigma 0.6. Ideal: the reads that must be serial (page 1, the last page, page 1
again), plus all other latencies divided by the number in flight.
"""

from __future__ import annotations

import asyncio
from statistics import mean

from benchmarks.harness import Lines, Result, main
from dp_async import Client, CrawlOptions, Request, Response, Settings
from dp_async.testing import Simulator
from tests.support.virtual_loop import run

IN_FLIGHT = (4, 10, 32)
SIZE = 10
SERIAL = 2  # serial reads at the start; there is one more at the end
ORDERS = {True: "in order", False: "as they arrive"}


async def share(pages: int, seed: int, in_flight: int, ordered: bool) -> float:
    """The ideal time of one crawl divided by the time it took."""
    loop = asyncio.get_running_loop()
    simulator = Simulator(
        works=pages * SIZE - 1, latency=0.08, jitter=0.6, seed=seed, remember=False
    )
    latencies: list[float] = []

    async def timed(request: Request, /) -> Response:
        start = loop.time()
        response = await simulator.send(request)
        latencies.append(loop.time() - start)
        return response

    settings = Settings(
        base_url="http://127.0.0.1",
        app_id="simulated-app",
        app_secret="simulated-secret",
        max_in_flight=in_flight,
    )
    options = CrawlOptions(page_size=SIZE, concurrency=in_flight, ordered=ordered)
    start = loop.time()
    client = Client(settings, send=timed)
    async with client, client.works(options=options).crawl() as crawl:
        async for _ in crawl.pages():
            pass
        assert crawl.report.complete
    first, between, last = latencies[:SERIAL], latencies[SERIAL:-1], latencies[-1]
    return (sum(first) + sum(between) / in_flight + last) / (loop.time() - start)


def measure(*, seeds: int = 100, pages: int = 400) -> Result:
    shares = {
        (ordered, in_flight): [run(share(pages, seed, in_flight, ordered)) for seed in range(seeds)]
        for ordered in ORDERS
        for in_flight in IN_FLIGHT
    }
    return Result(
        question=str(__doc__),
        columns=("pages handed out", "in flight", "of the ideal", "minimum"),
        rows=[
            (ORDERS[ordered], in_flight, mean(found), min(found))
            for (ordered, in_flight), found in shares.items()
        ],
        chart=Lines(
            "requests in flight",
            "share of the ideal",
            {
                name: [(number, mean(shares[ordered, number])) for number in IN_FLIGHT]
                for ordered, name in ORDERS.items()
            },
        ),
        notes=[f"{seeds} crawls each, of {pages} pages."],
        libraries=("dp_async",),
    )


if __name__ == "__main__":
    main(measure)
