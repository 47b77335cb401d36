"""How much CPU does a page of 100 works cost, compared with minimal loops and other libraries?

    python -m benchmarks.cpu [--rounds 7] [--pages 300]

CPU time of the client's process: no latency, eight requests in flight, keep-alive, every request
signed, every item touched. Each way runs four times in a process of its own: the first run is a
warm-up, the fastest of the others counts. The pages that a verified crawl reads twice are included.

The loop by hand decodes an answer in two steps: the envelope, then, if its code is good, the data.
*In one step*, a refusal and an unreadable answer look the same. dp_async takes one step when the
answer starts with a good code, two otherwise. With the heap *kept*, glibc returns no memory to the
system; without, a loop that keeps nothing faults in the buffers of nearly every page again, which
the other ways do only now and then.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable

from msgspec import Raw

from benchmarks import ways
from benchmarks.apart import apart, kept, pinned
from benchmarks.harness import Bars, Result, ahead, at_least, at_most, interleaved, main, require
from benchmarks.server import served
from benchmarks.ways import SIZE, Task
from dp_async import Client, CrawlOptions, Page, Request, Response, Settings
from dp_async.testing import Simulator

OURS = "dp_async"
FLOOR = "by hand: aiohttp + msgspec"
TRUSTING = "by hand, decoded in one step"
RAW = "raw sockets, nothing decoded"
PYDANTIC = "httpx + pydantic"
GATHER = "aiohttp + json, gather"
KEPT = " (heap kept)"

#: By label: the function in ``ways``, and the type of its items.
WAYS = {
    RAW: ("raw_sockets", "none"),
    FLOOR: ("by_hand", "Work"),
    TRUSTING: ("by_hand_trusting", "Work"),
    OURS: ("ours", "Work"),
    "dp_async, verify=False": ("ours_plain", "Work"),
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
    FLOOR + KEPT: ("by_hand", "Work"),
    OURS + KEPT: ("ours", "Work"),
}
PEERS = [way for way in WAYS if way.startswith(("aio", "niquests", "httpx", "dlt"))]
LIBRARIES = [
    *("dp_async", "aiohttp", "msgspec", "anyio"),
    *("aiometer", "dlt", "httpx", "niquests", "pydantic", "requests", "urllib3-future"),
]
ITEMS = 100_000  # in the page that measures the cost of handing out an item


def microseconds(name: str, settings: Settings, pages: int) -> float:
    """CPU per page: the best of three runs after a warm-up."""
    task = Task(settings, pages)

    async def run() -> float:
        gc.collect()
        start = time.process_time()
        seen = await getattr(ways, name)(task)
        spent = time.process_time() - start
        assert seen == pages * SIZE, f"{name} saw {seen} items"
        return spent / pages * 1e6

    return min([asyncio.run(run()) for _ in range(4)][1:])


def call(way: str, settings: Settings, pages: int) -> Callable[[], float]:
    run = apart(microseconds, WAYS[way][0], settings, pages)
    return kept(run) if way.endswith(KEPT) else run


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


def measure(*, rounds: int = 7, pages: int = 300) -> Result:
    require(LIBRARIES)
    with served(pages * SIZE) as settings:
        available = apart(capacity, settings, pages)()
        spent = interleaved(
            {way: call(way, settings, pages) for way in WAYS},
            rounds,
        )
    forms = interleaved(
        {form: apart(nanoseconds, form) for form in ("bare", "listing", "crawl")},
        rounds,
    )
    requested = 1e6 / min(spent.median(way) for way in WAYS if way != RAW)
    handing_out = (
        "Handing out one item, in ns: a bare async generator over the pages "
        f"{forms.median('bare'):.0f}, `async for item in listing` "
        f"{forms.median('listing'):.0f}, `async for item in crawl` {forms.median('crawl'):.0f}."
    )
    compared = (
        f"dp_async takes {spent.ratio(OURS, TRUSTING):.2f} times the CPU of a loop by hand that "
        f"decodes in one step, and {spent.ratio(OURS + KEPT, FLOOR + KEPT):.2f} times that of the "
        "one in two steps if both keep the heap."
    )
    capable = (
        f"The server sends {available:,.0f} pages a second to raw sockets; the fastest client "
        f"fetches {requested:,.0f}."
    )
    return Result(
        question=str(__doc__),
        columns=("way", "items", "µs a page", "least-most", "x by hand", "x dp_async"),
        rows=[
            (
                way,
                items,
                spent.median(way),
                spent.extremes(way),
                spent.ratio(way, FLOOR),
                spent.ratio(way, OURS),
            )
            for way, (_, items) in WAYS.items()
        ],
        checks=[
            at_most(1.2, "dp_async, against by hand", spent.ratio(OURS, FLOOR)),
            at_least(4, f"{PYDANTIC}, against dp_async", spent.ratio(PYDANTIC, OURS)),
            at_least(1.2, f"{GATHER}, against dp_async", spent.ratio(GATHER, OURS)),
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
            {way: spent.ratio(way, FLOOR) for way in WAYS},
            limits=[1.2],
        ),
        notes=[
            compared,
            handing_out,
            capable,
            pinned(),
            *ahead(spent, [(way, OURS) for way in WAYS if way in PEERS], {}),
        ],
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
