"""What does the first page cost, from nothing: a new client, a connection, one page of 100 works?

    python -m benchmarks.cold [--rounds 7] [--times 50]

CPU time of the client's process for making a client, connecting, the TLS handshake, signing,
decoding one page and closing: the median of *times* rounds in one event loop, without imports. The
server's certificate is checked against the one authority made for the run. With the hundreds of
authorities of a system, httpx takes several times as long, as it reads them for each client;
aiohttp reads them once, when it is imported.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from statistics import median

from benchmarks import ways
from benchmarks.apart import apart, pinned
from benchmarks.harness import Bars, Result, ahead, interleaved, main, require
from benchmarks.server import HOST, served
from benchmarks.tls import trusted
from benchmarks.ways import SIZE, Task
from dp_async import Settings

OURS = "dp_async"
FLOOR = "by hand: aiohttp + msgspec"


async def page(task: Task) -> int:
    async with task.client() as client:
        return len(await client.work_list(page_num=1, page_size=SIZE))


WAYS: dict[str, Callable[[Task], Awaitable[int]]] = {
    FLOOR: ways.one_by_one,
    OURS: page,
    "dp_async, a crawl that is verified": ways.ours,
    "aiohttp + json": ways.aiohttp_gather,
    "niquests + json": ways.niquests_json,
    "httpx + json": ways.httpx_json,
    "httpx + pydantic": ways.httpx_pydantic,
}

LIBRARIES = ("dp_async", "aiohttp", "msgspec", "anyio", "httpx", "niquests", "pydantic", "trustme")
WHY = {
    FLOOR: "it has no limiter, no retry budget and no clock, and checks no setting",
    "aiohttp + json": "the same connection and dicts: it prepares nothing for a second page",
}


def milliseconds(way: str, settings: Settings, times: int) -> float:
    """CPU for a first page."""

    async def run() -> float:
        spent: list[float] = []
        for _ in range(times):
            start = time.process_time()
            seen = await WAYS[way](Task(settings, pages=1))
            spent.append(time.process_time() - start)
            assert seen == SIZE - 1, f"{way} saw {seen} items"
        return median(spent) * 1e3

    return asyncio.run(run())


def measure(*, rounds: int = 7, times: int = 50) -> Result:
    require(LIBRARIES)
    with ExitStack() as stack:
        chain = stack.enter_context(trusted(HOST))
        lists = {  # one short page is the whole list: a crawl needs no second request
            "TLS": stack.enter_context(served(SIZE - 1, chain=chain)),
            "plain": stack.enter_context(served(SIZE - 1)),
        }
        spent = interleaved(
            {
                named(way, over): apart(milliseconds, way, settings, times)
                for over, settings in lists.items()
                for way in WAYS
            },
            rounds,
        )

    def against(way: str, over: str, other: str) -> float:
        return spent.ratio(named(way, over), named(other, over))

    return Result(
        question=str(__doc__),
        columns=("way", "over", "ms", "least-most", "x by hand", "x dp_async"),
        rows=[
            (
                way,
                over,
                spent.median(named(way, over)),
                spent.extremes(named(way, over)),
                against(way, over, FLOOR),
                against(way, over, OURS),
            )
            for over in lists
            for way in WAYS
        ],
        chart=Bars(
            "CPU for the first page of a new client over TLS, against a loop by hand",
            {way: against(way, "TLS", FLOOR) for way in WAYS},
        ),
        notes=[
            pinned(),
            *ahead(
                spent,
                [
                    (named(way, over), named(OURS, over))
                    for over in lists
                    for way in WAYS
                    if not way.startswith(OURS)
                ],
                WHY,
            ),
        ],
        libraries=LIBRARIES,
    )


def named(way: str, over: str) -> str:
    return f"{way}, {over}"


if __name__ == "__main__":
    main(measure)
