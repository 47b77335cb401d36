"""CPU per page of 100 works: the SDK against a loop written by hand that does the same work.

    python -m benchmarks.cpu [--rounds 7] [--pages 300]

The loop signs with md5, reads in chunks against a cap, decodes in the same two steps and touches
every item; eight pages at once, as the SDK. Rounds alternate; each way has a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import statistics
import subprocess
import sys
import time

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
    """The same with the SDK, not verified."""
    return await crawled(settings, verify=False)


async def verified(settings: Settings, pages: int) -> int:
    """The same with the SDK, verified: the closing page is one more, and counted in."""
    return await crawled(settings, verify=True)


async def crawled(settings: Settings, *, verify: bool) -> int:
    seen = 0
    options = CrawlOptions(page_size=SIZE, concurrency=IN_FLIGHT, verify=verify)
    async with Client(settings) as client:
        async for _ in client.works(options=options):
            seen += 1
    return seen


WAYS = {"by hand": by_hand, "dp_async": by_sdk, "dp_async, verified": verified}


def microseconds(way: str, settings: Settings, pages: int) -> float:
    """CPU per page of a crawl, in microseconds: the least of three, after one to warm up."""

    async def run() -> float:
        gc.collect()
        start = time.process_time()
        seen = await WAYS[way](settings, pages)
        spent = time.process_time() - start
        assert seen == pages * SIZE, seen
        return spent / pages * 1e6

    return min([asyncio.run(run()) for _ in range(4)][1:])


def in_a_process(way: str, settings: Settings, pages: int) -> float:
    """The same in a process of its own: what one way leaves on the heap is not the other's."""
    command = [sys.executable, "-m", "benchmarks.cpu", "--pages", str(pages)]
    command += ["--way", way, "--url", settings.base_url]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        settings = Settings(
            base_url=given.url, app_id="simulated-app", app_secret="simulated-secret"
        )
        sys.stdout.write(str(microseconds(given.way, settings, given.pages)))
        return
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    with simulator(given.pages * SIZE) as settings:
        for _ in range(given.rounds):
            for way in WAYS:
                spent[way].append(in_a_process(way, settings, given.pages))
    hand, sdk, proven = spent.values()

    def ratio(each: list[float], to: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(each, to, strict=True))

    plain, over, total = ratio(sdk, hand), ratio(proven, sdk), ratio(proven, hand)
    sys.stdout.write(
        f"CPU per page of {SIZE} works, median of {given.rounds} rounds of {given.pages} pages\n"
        f"  by hand             {statistics.median(hand):5.0f} µs\n"
        f"  dp_async            {statistics.median(sdk):5.0f} µs  {plain:.2f} x by hand\n"
        f"  dp_async, verified  {statistics.median(proven):5.0f} µs  {over:.2f} x not "
        f"verified, {total:.2f} x by hand\n"
    )


if __name__ == "__main__":
    main()
