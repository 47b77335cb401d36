"""What does decoding a page of 100 works cost, without any HTTP?

    python -m benchmarks.decode [--rounds 15] [--pages 100]

From the bytes of an answer to its items: CPU time of all *pages*, the best of three runs. The
package first checks that the answer is good, so that a refusal is never mistaken for a page. A
verified crawl also extracts each row's id and update time. *msgspec, direct* decodes in one step
into the same Struct and cannot say what is wrong with a bad answer.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import msgspec

from benchmarks.apart import apart
from benchmarks.harness import Bars, Result, ahead, interleaved, main, require
from benchmarks.ways import SIZE, Content, Envelope, Whole
from dp_async import Client, Request, Response
from dp_async._call.envelope import good
from dp_async._page.decoder import PageDecoder
from dp_async._page.endpoints import WORKS
from dp_async._page.reader import RowReader
from dp_async.testing import Simulator

DIRECT = "msgspec, direct"
PAGE = "dp_async, a page"
ROWS = "dp_async, ids and times apart"
HAND = "msgspec, in two steps"
WAYS = {
    DIRECT: "Work",
    HAND: "Work",
    PAGE: "Work",
    ROWS: "Work",
    "orjson": "dict",
    "json": "dict",
    "pydantic": "model",
}

LIBRARIES = ("dp_async", "msgspec", "orjson", "pydantic")
WHY = {
    DIRECT: "it cannot tell a refusal from an unreadable answer",
    HAND: "its errors name no endpoint, and a path in the data instead of the answer",
    "orjson": "it returns dicts: no time is parsed, no type is checked",
}


def decoder(way: str) -> Callable[[bytes], Sequence[object]]:
    """A function from the bytes of an answer to its items."""
    if way == DIRECT:
        whole = msgspec.json.Decoder(Whole)
        return lambda body: whole.decode(body).data.content
    if way == HAND:
        envelope, content = msgspec.json.Decoder(Envelope), msgspec.json.Decoder(Content)
        return lambda body: content.decode(envelope.decode(body).data).content
    if way == "pydantic":
        from benchmarks.models import Answer

        return lambda body: Answer.model_validate_json(body).data.content
    if way in ("json", "orjson"):
        loads: Callable[[bytes], Any] = import_module(way).loads
        return lambda body: loads(body)["data"]["content"]
    request = Request(WORKS.name, WORKS.method, WORKS.path)
    if way == PAGE:
        page = PageDecoder(WORKS.name, WORKS.model)
        return lambda body: page(good(request, Response(200, {}, body)).data).content
    rows = RowReader(WORKS.name, WORKS.model, WORKS.model, WORKS.key, keep=False)
    return lambda body: (
        rows(good(request, Response(200, {}, body)).data, created=False).page.content
    )


async def answers(pages: int) -> list[bytes]:
    """The bodies of the first *pages* pages."""
    simulator = Simulator(works=pages * SIZE, remember=False)
    bodies: list[bytes] = []

    async def keep(request: Request, /) -> Response:
        response = await simulator.send(request)
        bodies.append(response.body)
        return response

    async with Client(simulator.in_process_settings, send=keep) as client:
        for num in range(1, pages + 1):
            await client.work_list(page_num=num, page_size=SIZE)
    return bodies


def microseconds(way: str, pages: int) -> float:
    """CPU per page."""
    bodies = asyncio.run(answers(pages))
    decode = decoder(way)
    spent: list[float] = []
    for _ in range(4):
        gc.collect()
        start = time.process_time()
        for body in bodies:
            assert len(decode(body)) == SIZE
        spent.append(time.process_time() - start)
    return min(spent[1:]) / pages * 1e6


def measure(*, rounds: int = 15, pages: int = 100) -> Result:
    require(LIBRARIES)
    spent = interleaved({way: apart(microseconds, way, pages) for way in WAYS}, rounds)
    return Result(
        question=str(__doc__),
        columns=("way", "items", "µs a page", "least-most", "x direct", "x dp_async"),
        rows=[
            (
                way,
                items,
                spent.median(way),
                spent.extremes(way),
                spent.ratio(way, DIRECT),
                spent.ratio(way, PAGE),
            )
            for way, items in WAYS.items()
        ],
        chart=Bars(
            "CPU for a page of 100 works, against msgspec in one step",
            {way: spent.ratio(way, DIRECT) for way in WAYS},
        ),
        notes=ahead(spent, [(way, PAGE) for way in WAYS if way not in (PAGE, ROWS)], WHY),
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
