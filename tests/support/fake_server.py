"""A list server as a ``Send``: it records requests and can be scripted. No HTTP, no signatures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from dp_async import Client, Request, Response, RetryPolicy, Settings

EPOCH = datetime(2023, 7, 13, 17, 0, 0)

SETTINGS = Settings(
    base_url="http://127.0.0.1:1",
    app_id="app",
    app_secret="sesame",
    retry=RetryPolicy(attempts=1),
)


def row(index: int) -> dict[str, object]:
    """Row *index* of either list; newest first, a minute apart."""
    time = (EPOCH - timedelta(minutes=index)).isoformat(sep=" ")
    number = 100_000 - index
    return {"digitalPersonWorksId": number, "msgId": number, "createTime": time, "updateTime": time}


def answer(
    rows: list[dict[str, object]], num: int, size: int, total: int | None = None
) -> Response:
    """Page *num*, from 1, of *rows*; *total* is the total it claims, if not the true one."""
    total = len(rows) if total is None else total
    content = rows[(num - 1) * size : num * size]
    pages = -(-total // size)
    data = {
        "content": content,
        "number": num - 1,
        "size": size,
        "totalElements": total,
        "totalPages": pages,
        "last": num >= pages,
        "first": num == 1,
        "numberOfElements": len(content),
        "empty": not content,
    }
    return good(data)


def good(data: object) -> Response:
    """An answer whose envelope reports success."""
    body = {"code": 200, "data": data, "requestId": "abc", "resultMsg": "ok"}
    return Response(status=200, body=json.dumps(body).encode())


def page_of(request: Request) -> tuple[int, int]:
    """The page number and the page size of *request*."""
    if request.body:
        fields = json.loads(request.body)
        return fields["pageNum"], fields["pageSize"]
    query = parse_qs(urlsplit(request.target).query)
    return int(query["pageNum"][0]), int(query["pageSize"][0])


class Server:
    """Answers with pages of *rows*; larger pages than *clamp* are cut to it.

    ``requests`` are the requests so far, ``pages`` their page numbers and sizes. ``block(num)``
    returns an event: page *num* is answered once it is set. ``script[num]`` are the errors to raise
    and the responses to return for page *num*, one a request. ``before`` is called with the page
    number just before an answer is made.
    """

    def __init__(self, rows: int, *, clamp: int = 10_000) -> None:
        self.rows = [row(index) for index in range(rows)]
        self.clamp = clamp
        self.requests: list[Request] = []
        self.pages: list[tuple[int, int]] = []
        self.in_flight = self.max_in_flight = 0
        self.script: dict[int, list[Exception | Response]] = {}
        self.before: Callable[[int], None] = lambda num: None
        self._blocked: dict[int, asyncio.Event] = {}

    def block(self, num: int) -> asyncio.Event:
        return self._blocked.setdefault(num, asyncio.Event())

    async def __call__(self, request: Request, /) -> Response:
        num, size = page_of(request)
        self.requests.append(request)
        self.pages.append((num, size))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            if num in self._blocked:
                await self._blocked[num].wait()
            self.before(num)
            if planned := self.script.get(num):
                outcome = planned.pop(0)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
            return answer(self.rows, num, min(size, self.clamp))
        finally:
            self.in_flight -= 1


def client(server: Server, settings: Settings = SETTINGS) -> Client:
    """A client of *server*."""
    return Client(settings, send=server)


async def until(condition: Callable[[], bool]) -> None:
    """Runs the loop until *condition* is true, for at most 1000 iterations."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never became true")
