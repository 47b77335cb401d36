"""Peak memory of a crawl whose items are not kept: 100,000 works against 1,000.

    python -m benchmarks.memory [--works 100000]

Each crawl runs in a process of its own against a simulator in another; eight pages at once.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys

from benchmarks.server import simulator
from dp_async import Client, CrawlOptions, Settings


async def crawl(settings: Settings) -> int:
    """How many works there are."""
    seen = 0
    async with Client(settings) as client:
        async for _ in client.works(options=CrawlOptions(concurrency=8)):
            seen += 1
    return seen


def peak(works: int) -> float:
    """The peak of the resident memory, in MB, of crawling so many *works*."""
    with simulator(works) as settings:
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", "--url", settings.base_url],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.split()
    assert int(out[0]) == works, out
    return int(out[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", type=int, default=100_000)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.url:
        settings = Settings(
            base_url=given.url, app_id="simulated-app", app_secret="simulated-secret"
        )
        seen = asyncio.run(crawl(settings))
        sys.stdout.write(f"{seen} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")
        return
    small, large = peak(1000), peak(given.works)
    sys.stdout.write(
        f"peak RSS of a crawl of   1,000 works {small:6.1f} MB\n"
        f"peak RSS of a crawl of {given.works:,} works {large:6.1f} MB\n"
        f"difference {large - small:.1f} MB\n"
    )


if __name__ == "__main__":
    main()
