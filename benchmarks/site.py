"""A list behind a server that refuses, as a ``Send`` in virtual time.

The answers are made here and not by the simulator, so that a fault of one does not hide in both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from benchmarks.refusing import Server
from dp_async import Request, Response

NEWEST = datetime(2024, 1, 1)
SIZE = 2  # rows a page: waiting is measured, not decoding
TRAVEL = 0.1

_PAGE = re.compile(r"pageNum=(\d+)&pageSize=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How a server answers.

    - *seconds*: draws the latency of a request.
    - *status*: of a refusal. *retry_after*: its ``Retry-After``, given the seconds until the server
      would let the request in; None if it has none.
    - *slow*: a refusal takes as long as an answer; it is not sent at once.
    - *early*: whether a request is judged when it arrives; if False, half-way through its latency.
    """

    seconds: Callable[[], float]
    status: int = 429
    retry_after: Callable[[float], float] | None = None
    slow: bool = False
    early: bool = True


@dataclass(slots=True)
class Site:
    """A list of *pages* pages behind a *server*, as a ``Send``.

    ``answers`` are the times and latencies of all good answers; ``refusals`` the times of others.
    """

    pages: int
    server: Server
    answering: Answering
    travel: float = TRAVEL  # the share of a latency that a request travels, and its answer again
    answers: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    refusals: list[float] = field(default_factory=list[float])

    @property
    def refused(self) -> float:
        """The share of all requests that was refused."""
        return len(self.refusals) / max(1, len(self.refusals) + len(self.answers))

    async def send(self, request: Request, /) -> Response:
        loop = asyncio.get_running_loop()
        sent, seconds = loop.time(), self.answering.seconds()
        there = seconds * (self.travel if self.answering.early else 0.5)
        await asyncio.sleep(there)
        back = min(there, seconds * self.travel)
        after, wait = self.server.arrives(loop.time(), seconds - there - back)
        if wait is None:
            await asyncio.sleep(after + back)
            self.answers.append((loop.time(), loop.time() - sent))
            return Response(200, {}, _page(self.pages * SIZE, *_page_of(request)))
        self.refusals.append(loop.time())
        await asyncio.sleep(after + (seconds - there if self.answering.slow else back))
        headers: dict[str, str] = {}
        if self.answering.retry_after is not None:
            headers["retry-after"] = f"{self.answering.retry_after(wait):.0f}"
        return Response(self.answering.status, headers, b"<html>no</html>")


def _page_of(request: Request) -> tuple[int, int]:
    found = _PAGE.search(request.target)
    assert found, request.target
    return int(found[1]), int(found[2])


@lru_cache(maxsize=20_000)
def _page(rows: int, num: int, size: int) -> bytes:
    """Page *num* of a list that does not change, newest row first."""
    pages = -(-rows // size)
    content: list[dict[str, object]] = []
    for index in range((num - 1) * size, min(num * size, rows)):
        time = f"{NEWEST - timedelta(minutes=index)}"
        content.append(
            {"digitalPersonWorksId": rows - index, "createTime": time, "updateTime": time}
        )
    data = {
        "content": content,
        "number": num - 1,
        "size": size,
        "totalElements": rows,
        "totalPages": pages,
        "numberOfElements": len(content),
        "first": num == 1,
        "last": num >= pages,
        "empty": not content,
    }
    return msgspec.json.encode({"code": 200, "data": data, "requestId": "1", "resultMsg": "ok"})
