"""CPU per page of 100 works: the SDK against a loop written by hand that does the same work.

    python -m benchmarks.cpu [--rounds 7] [--pages 300]

The loop signs with md5, reads in chunks against a cap, decodes in the same two steps and touches
every item; eight pages at once, as the SDK. Rounds alternate; medians of the process's CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
from yarl import URL

from benchmarks.server import simulator
from dp_async import Client, CrawlOptions, Settings, Work

IN_FLIGHT = 8
SIZE = 100


class Envelope(msgspec.Struct, rename="camel"):
    code: int
    data: msgspec.Raw
    request_id: str | None = None
    result_msg: str | None = None


class Content(msgspec.Struct, rename="camel"):
    content: list[Work]
    number: int
    size: int
    total_elements: int
    total_pages: int
    number_of_elements: int
    first: bool
    last: bool
    empty: bool


async def by_hand(settings: Settings, pages: int) -> int:
    """The loop; returns how many items it saw."""
    envelope = msgspec.json.Decoder(Envelope)
    content = msgspec.json.Decoder(Content)
    numbers = iter(range(1, pages + 1))
    seen = 0

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal seen
        for number in numbers:
            timestamp = str(int(time.time() * 1000))
            auth = f"{settings.app_id}{settings.app_secret}{timestamp}"
            headers = {
                "req_from": "C",
                "app_id": settings.app_id,
                "timestamp": timestamp,
                "authorization": hashlib.md5(auth.encode(), usedforsecurity=False).hexdigest(),
            }
            path = f"/openApiDigitalPerson/customer/workList?pageNum={number}&pageSize={SIZE}"
            url = URL(settings.base_url + path, encoded=True)
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                chunks: list[bytes] = []
                length = 0
                async for chunk in answer.content.iter_any():
                    length += len(chunk)
                    if length > settings.max_response_bytes:
                        raise ValueError("too large")
                    chunks.append(chunk)
            sent = envelope.decode(b"".join(chunks))
            if answer.status != 200 or sent.code != 200:
                raise ValueError(sent.code)
            for _ in content.decode(sent.data).content:
                seen += 1

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(worker(session))
    return seen


async def by_sdk(settings: Settings, pages: int) -> int:
    """The same with the SDK."""
    seen = 0
    options = CrawlOptions(page_size=SIZE, concurrency=IN_FLIGHT)
    async with Client(settings) as client:
        async for _ in client.works(options=options):
            seen += 1
    return seen


def microseconds(
    crawl: Callable[[Settings, int], Awaitable[int]], settings: Settings, pages: int
) -> float:
    """CPU per page of one crawl, in microseconds."""

    async def run() -> float:
        gc.collect()
        start = time.process_time()
        seen = await crawl(settings, pages)
        spent = time.process_time() - start
        assert seen == pages * SIZE, seen
        return spent / pages * 1e6

    return asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pages", type=int, default=300)
    given = parser.parse_args()
    hand: list[float] = []
    sdk: list[float] = []
    with simulator(given.pages * SIZE) as settings:
        for _ in range(given.rounds + 1):  # the first round warms up
            hand.append(microseconds(by_hand, settings, given.pages))
            sdk.append(microseconds(by_sdk, settings, given.pages))
    one, other = statistics.median(hand[1:]), statistics.median(sdk[1:])
    ratio = statistics.median(b / a for a, b in zip(hand[1:], sdk[1:], strict=True))
    sys.stdout.write(
        f"CPU per page of {SIZE} works, median of {given.rounds} rounds of {given.pages} pages\n"
        f"  by hand  {one:6.0f} µs\n  dp_async {other:6.0f} µs\n  ratio    {ratio:6.2f}\n"
    )


if __name__ == "__main__":
    main()
