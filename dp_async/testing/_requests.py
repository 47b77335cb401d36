"""What a simulator knows about the requests it got.

It reads requests and the event loop's time; it answers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dp_async import Request

from ._answers import Refused, kind_of, parse
from ._faults import Fault


@dataclass(slots=True, kw_only=True)
class SeenRequest:
    """One request as the simulator saw it.

    *endpoint* is "work_list" or "msg_list", "" if the path names no list; *page_num* is None if the
    request is invalid. *headers* have lower-case names;
    ``authorization`` is left out. *started* and *ended* are in the event loop's time. *ended* and
    *status* are None while the request is in flight; *status* stays None if no whole answer was
    sent. *fault* is the fault that was applied.
    """

    endpoint: str
    page_num: int | None
    page_size: int | None
    filters: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    started: float
    ended: float | None = None
    status: int | None = None
    fault: Fault | None = None


class RequestLog:
    """Counters of all requests, and the requests themselves if *keep* is set."""

    def __init__(self, *, keep: bool) -> None:
        self.requests: list[SeenRequest] = []
        self.served = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._keep = keep

    @contextmanager
    def track(self, request: Request) -> Generator[SeenRequest, None, None]:
        """Records *request*, which is in flight while the block runs."""
        loop = asyncio.get_running_loop()
        seen = _seen(request, loop.time())
        if self._keep:
            self.requests.append(seen)
        self.served += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield seen
        finally:
            seen.ended = loop.time()
            self.in_flight -= 1


def _seen(request: Request, now: float) -> SeenRequest:
    kind = kind_of(request)
    seen = SeenRequest(
        endpoint="" if kind is None else kind.endpoint,
        page_num=None,
        page_size=None,
        filters={},
        headers={
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() != "authorization"
        },
        started=now,
    )
    try:
        query = parse(request)
    except Refused:
        return seen
    seen.page_num, seen.page_size = query.page_num, query.page_size
    seen.filters = {name: value for name, value in query.filters.items() if value}
    return seen
