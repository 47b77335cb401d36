"""How near a crawl comes to the time it would ideally take, in order and in completion order.

    python -m benchmarks.ordering [--seeds 100] [--pages 400]

Virtual time; 10 in flight, 80 ms median latency, log-normal with sigma 0.6. Ideal: the reads that
have to come one after the other (page 1, the last page, page 1 again), and all other latencies
divided by ten.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from statistics import mean

from dp_async import Client, CrawlOptions, Request, Response, Settings
from dp_async.testing import Simulator
from tests.virtual import run

IN_FLIGHT = 10
SIZE = 10
SERIAL = 2  # at the start; and one at the end


async def share(pages: int, seed: int, ordered: bool) -> float:
    """The ideal time of one crawl, as a share of the time it took."""
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
        base_url="http://127.0.0.1", app_id="simulated-app", app_secret="simulated-secret"
    )
    options = CrawlOptions(page_size=SIZE, concurrency=IN_FLIGHT, ordered=ordered)
    start = loop.time()
    client = Client(settings, send=timed)
    async with client, client.works(options=options).crawl() as crawl:
        async for _ in crawl.pages():
            pass
        assert crawl.report.complete
    first, between, last = latencies[:SERIAL], latencies[SERIAL:-1], latencies[-1]
    return (sum(first) + sum(between) / IN_FLIGHT + last) / (loop.time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--pages", type=int, default=400)
    given = parser.parse_args()
    for ordered in (True, False):
        shares = [run(share(given.pages, seed, ordered)) for seed in range(given.seeds)]
        name = "in order" if ordered else "as they come in"
        sys.stdout.write(f"{name:16} {mean(shares):.3f} of the ideal (least {min(shares):.3f})\n")


if __name__ == "__main__":
    main()
