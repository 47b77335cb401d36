"""For how long does a crawl hold the event loop, with a million rows, under writes, 10 million?

    python -m benchmarks.loop [--rounds 5] [--most 10000000]

The longest callback of the loop in a crawl, by thread time; the median over crawls, each in a
process of its own. What the server of this benchmark takes does not count: it runs in the same
loop, and makes its answers up. Eight pages of 100 in flight, verified, no item is kept. Under
writes, 20 works a second are updated, deleted or created, on a clock that moves by 5 ms with each
request.
"""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio.events import Handle
from random import Random
from time import thread_time

from benchmarks.apart import apart
from benchmarks.harness import Bars, Result, at_most, interleaved, main
from dp_async import Client, CrawlOptions, Request, Response, Settings
from tests.support.fake_server import page_of

SIZE = 100
WRITES = 20.0  # a second
STEP = 0.005  # seconds of the server's clock for each request
FIRST = 1_600_000_000  # when the work with id 0 was created, in seconds
NOW = 1_700_000_000
SETTINGS = Settings(base_url="http://127.0.0.1:1", app_id="app", app_secret="sesame")
_ROW = (
    '{{"digitalPersonWorksId":{},"name":"work","status":"SUCCESS","align":"VERTICAL",'
    '"createTime":"{}","updateTime":"{}","duration":12.5}}'
).format
_BODY = '{{"code":200,"data":{{"content":[{}],"number":{},"size":{},"totalElements":{}}}}}'.format


class Made:
    """A list of *rows* works, a second apart, as a ``Send``; *writes* a second.

    *spent*: the thread time that it took.
    """

    def __init__(self, rows: int, writes: float) -> None:
        self.spent = 0.0
        self._rows = [(row, NOW - rows + row) for row in range(rows)]  # the oldest first
        self._writes = writes
        self._next_id = rows
        self._written = 0
        self._clock = 0.0
        self._random = Random(rows)

    async def __call__(self, request: Request, /) -> Response:
        await asyncio.sleep(0)
        began = thread_time()
        response = self._answer(*page_of(request))
        self.spent += thread_time() - began
        return response

    def _answer(self, num: int, size: int) -> Response:
        self._clock += STEP
        while self._written < self._clock * self._writes:
            self._written += 1
            self._write()
        rows = self._rows
        end = max(len(rows) - (num - 1) * size, 0)
        shown = rows[max(end - size, 0) : end]
        listed = ",".join(
            [_ROW(row, _text(FIRST + row), _text(updated)) for row, updated in reversed(shown)]
        )
        body = _BODY(listed, num - 1, size, len(rows)).encode()
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(NOW + self._clock - 28800))
        return Response(200, {"date": date}, body)

    def _write(self) -> None:
        """Update a work, or in one of ten cases delete it, or create one."""
        kind, now = self._random.random(), NOW + int(self._clock)
        if kind < 0.9:
            number, _ = self._rows.pop(self._random.randrange(len(self._rows)))
        else:
            number, self._next_id = self._next_id, self._next_id + 1
        if kind >= 0.1:
            self._rows.append((number, now))


def _text(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def timed(server: Made, took: list[float]) -> None:
    """From now on, note in *took* the seconds of each callback, without those of *server*."""
    run = Handle._run

    def timing(handle: Handle) -> None:
        began = thread_time() - server.spent
        run(handle)
        took.append(thread_time() - server.spent - began)

    setattr(Handle, "_run", timing)  # noqa: B010 - a method cannot be assigned, says mypy


async def _crawled(server: Made) -> int:
    rows = 0
    options = CrawlOptions(page_size=SIZE, concurrency=8)
    async with Client(SETTINGS, send=server) as client:
        async for _ in client.works(options=options):
            rows += 1
    return rows


def longest(rows: int, writes: float) -> float:
    """The longest callback of one crawl, in milliseconds."""
    server = Made(rows, writes)
    gc.collect()
    gc.freeze()  # no garbage collection of the crawl visits the rows of the server
    took: list[float] = []
    timed(server, took)
    assert asyncio.run(_crawled(server)) >= rows * 0.99
    return max(took) * 1000


def measure(*, rounds: int = 5, most: int = 10_000_000) -> Result:
    cases = [
        ("at rest", min(1_000_000, most), 0.0, 10),
        ("under writes", min(1_000_000, most), WRITES, 10),
        ("at rest, many", most, 0.0, 20),
    ]
    took = interleaved(
        {kind: apart(longest, rows, writes) for kind, rows, writes, _ in cases}, rounds
    )
    return Result(
        question=str(__doc__),
        columns=("crawl", "rows", "ms", "least-most"),
        rows=[(kind, rows, took.median(kind), took.extremes(kind)) for kind, rows, _, _ in cases],
        checks=[
            at_most(limit, f"{kind}: longest callback, ms", took.median(kind))
            for kind, _, _, limit in cases
        ],
        chart=Bars("longest callback, ms", {kind: took.median(kind) for kind, *_ in cases}),
    )


if __name__ == "__main__":
    main(measure)
