"""How much CPU does a page of 100 works cost, compared with minimal loops and other libraries?

    python -m benchmarks.cpu [--rounds 15] [--pages 300]

CPU time of the client's process: no latency, eight requests in flight, keep-alive, every request
signed, every item touched. All ways run in one process, in turns after a warm-up of each, so that
none has a heap of its own: the least of all rounds counts. The pages that a verified crawl reads
twice are included.

The loop by hand decodes an answer in two steps: the envelope, then, if its code is good, the data.
*In one step*, a refusal and an unreadable answer look the same. dp_async takes one step when the
answer starts with a good code, two otherwise.

Below, what each wrapper of a call adds, by leaving it out, and the whole call against a bare
``session.get``: nothing is decoded.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Mapping
from statistics import median

from msgspec import Raw

from benchmarks import ways
from benchmarks.apart import apart, pinned
from benchmarks.chain import BARE, TRANSPORT, WHOLE, WRAPPERS, wrappers
from benchmarks.harness import Bars, Result, at_least, at_most, interleaved, main, require
from benchmarks.server import served
from benchmarks.ways import SIZE, Task, Way
from dp_async import Client, CrawlOptions, Page, Request, Response, Settings
from dp_async.testing import Simulator

OURS = "dp_async"
PLAIN = "dp_async, verify=False"
FLOOR = "by hand: aiohttp + msgspec"
TRUSTING = "by hand, decoded in one step"
RAW = "raw sockets, nothing decoded"
PYDANTIC = "httpx + pydantic"
GATHER = "aiohttp + json, gather"

#: By label: the function in ``ways``, and the type of its items.
WAYS = {
    RAW: ("raw_sockets", "none"),
    FLOOR: ("by_hand", "Work"),
    TRUSTING: ("by_hand_trusting", "Work"),
    OURS: ("ours", "Work"),
    PLAIN: ("ours_plain", "Work"),
    "dp_async, pages()": ("ours_pages", "Work"),
    "dp_async, ordered=False": ("ours_unordered", "Work"),
    "dp_async, typed(dict)": ("ours_dict", "dict"),
    "dp_async, typed(Raw)": ("ours_raw", "Raw"),
    GATHER: ("aiohttp_gather", "dict"),
    "niquests + json": ("niquests_json", "dict"),
    "httpx + json": ("httpx_json", "dict"),
    PYDANTIC: ("httpx_pydantic", "model"),
    "aiometer + httpx + pydantic": ("aiometer_httpx", "model"),
    "dlt RESTClient, one by one": ("dlt_rest_client", "dict"),
}
PEERS = [way for way in WAYS if way.startswith(("aio", "niquests", "httpx", "dlt"))]
LIBRARIES = [
    *("dp_async", "aiohttp", "msgspec", "anyio"),
    *("aiometer", "dlt", "httpx", "niquests", "pydantic", "requests", "urllib3-future"),
]
ITEMS = 100_000  # in the page that measures the cost of handing out an item


def turns(
    ways: Mapping[str, Way], settings: Settings, pages: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds of CPU a page: all *ways* in turns in this process, after a warm-up of each."""
    task = Task(settings, pages)
    spent: dict[str, list[float]] = {name: [] for name in ways}

    async def run(way: Way) -> float:
        gc.collect()
        start = time.process_time()
        seen = await way(task)
        assert seen == pages * SIZE, f"{seen} items"
        return (time.process_time() - start) / pages * 1e6

    for number in range(rounds + 1):
        for name, way in ways.items():
            took = asyncio.run(run(way))
            if number:
                spent[name].append(took)
    return spent


def all_ways(settings: Settings, pages: int, rounds: int) -> dict[str, list[float]]:
    return turns(
        {way: getattr(ways, name) for way, (name, _) in WAYS.items()}, settings, pages, rounds
    )


def call_ways(settings: Settings, pages: int, rounds: int) -> dict[str, list[float]]:
    return turns(wrappers(), settings, pages, rounds)


def capacity(settings: Settings, pages: int) -> float:
    """Pages a second that the server sends to the cheapest client: the best of three runs."""
    task = Task(settings, pages)
    took: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        asyncio.run(ways.raw_sockets(task))
        took.append(time.perf_counter() - start)
    return pages / min(took)


def nanoseconds(form: str) -> float:
    """CPU per item of one large page that is already read: handing out alone."""
    return min(asyncio.run(_iterated(form)) for _ in range(5))


async def _iterated(form: str) -> float:
    simulator = Simulator(works=0, messages=0, max_page_size=None)
    listed = b",".join([b"{}"] * ITEMS)
    numbers = b'"number":0,"size":%d,"totalElements":%d' % (ITEMS, ITEMS)
    body = b'{"code":200,"data":{"content":[%s],%s}}' % (listed, numbers)

    async def send(request: Request, /) -> Response:
        return Response(status=200, body=body)

    options = CrawlOptions(page_size=ITEMS, verify=False)
    async with Client(simulator.in_process_settings, send=send) as client:
        listing = client.works(options=options).typed(Raw)
        items: AsyncIterator[Raw]
        match form:
            case "listing":
                items = aiter(listing)
            case "crawl":
                items = listing.crawl()
            case _:
                items = _bare(listing.pages())
        await anext(items)
        start = time.process_time()
        async for _ in items:
            pass
        return (time.process_time() - start) / ITEMS * 1e9


async def _bare(pages: AsyncIterator[Page[Raw]]) -> AsyncIterator[Raw]:
    """The cheapest generator that turns pages into items."""
    async for page in pages:
        for item in page.content:
            yield item


def measure(*, rounds: int = 15, pages: int = 300) -> Result:
    require(LIBRARIES)
    with served(pages * SIZE) as settings:
        available = apart(capacity, settings, pages)()
        spent = apart(all_ways, settings, pages, rounds)()
        # Small differences of large costs: more rounds.
        calls = apart(call_ways, settings, pages, 4 * rounds)()
    forms = interleaved(
        {form: apart(nanoseconds, form) for form in ("bare", "listing", "crawl")},
        7,
    )
    least = {way: min(samples) for way, samples in spent.items()}
    call = {what: min(samples) for what, samples in calls.items()}
    requested = 1e6 / min(took for way, took in least.items() if way != RAW)
    handing_out = (
        "Handing out one item, in ns: a bare async generator over the pages "
        f"{forms.median('bare'):.0f}, `async for item in listing` "
        f"{forms.median('listing'):.0f}, `async for item in crawl` {forms.median('crawl'):.0f}."
    )
    adds = ", ".join(f"{name} {call[WHOLE] - call[f'without {name}']:.1f}" for name in WRAPPERS)
    wrapped = (
        f"A bare exchange takes {call[BARE]:.0f} µs a page, the transport {call[TRANSPORT]:.0f}, "
        f"the whole call {call[WHOLE]:.0f}. By leaving it out, each wrapper adds, in µs: {adds}."
    )
    capable = (
        f"The server sends {available:,.0f} pages a second to raw sockets; the fastest client "
        f"fetches {requested:,.0f}."
    )
    ahead = [way for way in PEERS if least[way] < least[OURS]]
    return Result(
        question=str(__doc__),
        columns=("way", "items", "least µs a page", "median", "x by hand", "x dp_async"),
        rows=[
            (
                way,
                items,
                least[way],
                median(spent[way]),
                least[way] / least[FLOOR],
                least[way] / least[OURS],
            )
            for way, (_, items) in WAYS.items()
        ],
        checks=[
            at_most(1.2, "dp_async, against by hand", least[OURS] / least[FLOOR]),
            at_most(1.1, f"{PLAIN}, against by hand", least[PLAIN] / least[FLOOR]),
            at_least(4.5, f"{PYDANTIC}, against dp_async", least[PYDANTIC] / least[OURS]),
            at_least(1.15, f"{GATHER}, against dp_async", least[GATHER] / least[OURS]),
            at_most(25, "the whole call above a bare session.get, µs", call[WHOLE] - call[BARE]),
            at_most(
                2, "an item of a listing, against a bare generator", forms.ratio("listing", "bare")
            ),
            at_most(
                2, "an item of a crawl, against a bare generator", forms.ratio("crawl", "bare")
            ),
            at_least(
                3, "pages the server can send, against the fastest client", available / requested
            ),
        ],
        chart=Bars(
            "CPU for a page of 100 works, against a loop by hand",
            {way: least[way] / least[FLOOR] for way in WAYS},
            limits=[1.2],
        ),
        notes=[
            wrapped,
            handing_out,
            capable,
            pinned(),
            *(f"Ahead of {OURS}: {way}; the reason is not known." for way in ahead),
        ],
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
