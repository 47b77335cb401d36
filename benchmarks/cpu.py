"""What CPU does a page of 100 works cost, against floors and against what else one could use?

    python -m benchmarks.cpu [--rounds 7] [--pages 300]

CPU time of the client's process; no latency, eight requests in flight, keep-alive, every request
signed, every item touched. Each way runs in a process of its own, four times: the first is to warm
up, of the others the least counts. The pages that a verified crawl reads twice are counted in.

By hand, an answer is decoded in two steps: first its envelope, and then, if that says that it is
good, its data. *In one step*, a refusal could not be told from an answer that cannot be read;
dp_async takes one step where an answer begins with being good, else two. Where the heap is *kept*,
glibc gives nothing back to the system; without, a loop that keeps nothing pays for faulting the
buffers of each page in again, which the others do only now and then.
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

#: The function of ``ways``, and what its items are.
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
ITEMS = 100_000  # for the cost of handing out an item


def microseconds(name: str, settings: Settings, pages: int) -> float:
    """CPU per page, of the best of three runs after one."""
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
    """How many pages a second the server gives, to the cheapest of clients; the most of three."""
    task = Task(settings, pages)
    took: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        asyncio.run(ways.raw_sockets(task))
        took.append(time.perf_counter() - start)
    return pages / min(took)


def nanoseconds(form: str) -> float:
    """CPU for each item of one large page, from the first one on: handing out, and nothing else."""
    return min(asyncio.run(_iterated(form)) for _ in range(5))


async def _iterated(form: str) -> float:
    simulator = Simulator(works=0, messages=0, max_page_size=None)
    listed = b",".join([b"{}"] * ITEMS)
    numbers = b'"number":0,"size":%d,"totalElements":%d' % (ITEMS, ITEMS)
    body = b'{"code":200,"data":{"content":[%s],%s}}' % (listed, numbers)

    async def send(request: Request, /) -> Response:
        return Response(status=200, body=body)

    options = CrawlOptions(page_size=ITEMS, verify=False)
    async with Client(simulator.settings, send=send) as client:
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
    """The least that turns pages into items."""
    async for page in pages:
        for item in page.content:
            yield item


def measure(*, rounds: int = 7, pages: int = 300) -> Result:
    require(LIBRARIES)
    with served(pages * SIZE) as settings:
        able = apart(capacity, settings, pages)()
        spent = interleaved(
            {way: call(way, settings, pages) for way in WAYS},
            rounds,
        )
    forms = interleaved(
        {form: apart(nanoseconds, form) for form in ("bare", "listing", "crawl")},
        rounds,
    )
    asked = 1e6 / min(spent.median(way) for way in WAYS if way != RAW)
    handing_out = (
        "Handing out an item, in ns: by a bare async generator over the pages "
        f"{forms.median('bare'):.0f}, by `async for item in listing` "
        f"{forms.median('listing'):.0f}, by `async for item in crawl` {forms.median('crawl'):.0f}."
    )
    harder = (
        f"Against a loop by hand that decodes in one step, dp_async takes "
        f"{spent.ratio(OURS, TRUSTING):.2f} of its time; against the one in two steps with the "
        f"heap kept for both, {spent.ratio(OURS + KEPT, FLOOR + KEPT):.2f}."
    )
    capable = (
        f"The server gives {able:,.0f} pages a second to raw sockets; the fastest client asks for "
        f"{asked:,.0f}."
    )
    return Result(
        question=str(__doc__),
        columns=("way", "items", "µs a page", "least-most", "x by hand", "x dp_async"),
        rows=[
            (
                way,
                items,
                spent.median(way),
                spent.spread(way),
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
            at_least(3, "pages the server can, against what the fastest client asks", able / asked),
        ],
        chart=Bars(
            "CPU for a page of 100 works, against a loop by hand",
            {way: spent.ratio(way, FLOOR) for way in WAYS},
            limits=[1.2],
        ),
        notes=[
            harder,
            handing_out,
            capable,
            pinned(),
            *ahead(spent, [(way, OURS) for way in WAYS if way in PEERS], {}),
        ],
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
