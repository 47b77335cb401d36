"""Ways to read all works: floors, this package in its forms, and what else one could use.

Each signs every request with md5, keeps its connections alive, has up to *in_flight* requests in
flight, and touches every item. Each returns the number of items it saw, and imports what it needs
when it runs, so that no way pays for another's modules.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import msgspec

from dp_async import Client, CrawlOptions, Settings, Work

if TYPE_CHECKING:
    import aiohttp
    import httpx

    from benchmarks.models import Answer

SIZE = 100
PATH = "/openApiDigitalPerson/customer/workList"


@dataclass(frozen=True, slots=True)
class Task:
    """Read *pages* pages of ``SIZE`` works, *in_flight* at once."""

    settings: Settings
    pages: int
    in_flight: int = 8

    def client(self) -> Client:
        most = max(self.in_flight, self.settings.max_in_flight)
        return Client(replace(self.settings, max_in_flight=most))

    def target(self, num: int) -> str:
        return f"{PATH}?pageNum={num}&pageSize={SIZE}"

    def url(self, num: int) -> str:
        return self.settings.base_url + self.target(num)

    def signed(self) -> dict[str, str]:
        """The headers of one request."""
        settings = self.settings
        timestamp = str(int(time.time() * 1000))
        auth = f"{settings.app_id}{settings.app_secret}{timestamp}"
        return {
            "req_from": "C",
            "app_id": settings.app_id,
            "timestamp": timestamp,
            "authorization": hashlib.md5(auth.encode(), usedforsecurity=False).hexdigest(),
        }


Way: TypeAlias = Callable[[Task], Awaitable[int]]


def touch(items: Sequence[object]) -> int:
    """Iterates over the items, as a consumer would."""
    seen = 0
    for _ in items:
        seen += 1
    return seen


async def workers(task: Task, fetch: Callable[[int], Awaitable[Sequence[object]]]) -> int:
    """All pages by *in_flight* workers, the usual bound on concurrency."""
    nums = iter(range(1, task.pages + 1))
    seen = 0

    async def worker() -> None:
        nonlocal seen
        for num in nums:
            items = await fetch(num)  # apart from the sum: other workers change it meanwhile
            seen += touch(items)

    async with asyncio.TaskGroup() as group:
        for _ in range(task.in_flight):
            group.create_task(worker())
    return seen


# Floors


async def raw_sockets(task: Task) -> int:
    """Bytes through the kernel and nothing else: no event loop, no signature, no decoding."""
    address = urlsplit(task.settings.base_url)
    heads = "".join(f"{name}: {value}\r\n" for name, value in task.signed().items())
    opened = [
        socket.create_connection((address.hostname, address.port)) for _ in range(task.in_flight)
    ]
    buffer = memoryview(bytearray(1 << 20))
    nums = iter(range(1, task.pages + 1))

    def send(sock: socket.socket) -> bool:
        num = next(nums, None)
        if num is not None:
            sock.sendall(f"GET {task.target(num)} HTTP/1.1\r\nhost: x\r\n{heads}\r\n".encode())
        return num is not None

    sent = deque(sock for sock in opened if send(sock))
    while sent:
        sock = sent.popleft()
        got = sock.recv_into(buffer)
        head, _, body = bytes(buffer[: min(got, 512)]).partition(b"\r\n\r\n")
        left = int(head.rpartition(b"content-length: ")[2]) + len(head) + 4 - got
        while left:
            left -= sock.recv_into(buffer)
        assert body.startswith(b'{"code":200')
        if send(sock):
            sent.append(sock)
    for sock in opened:
        sock.close()
    return task.pages * SIZE


class Envelope(msgspec.Struct, rename="camel"):
    """An answer whose data stays encoded."""

    code: int
    data: msgspec.Raw
    request_id: str | None = None
    result_msg: str | None = None


class Content(msgspec.Struct, rename="camel"):
    """A page of works."""

    content: list[Work]
    number: int
    size: int
    total_elements: int
    total_pages: int
    number_of_elements: int
    first: bool
    last: bool
    empty: bool


class Whole(msgspec.Struct, rename="camel"):
    """An answer with its data, decoded in one step."""

    code: int
    data: Content
    request_id: str | None = None
    result_msg: str | None = None


class ByHand:
    """A page by aiohttp and msgspec: size-capped while it is read, and decoded in two steps.

    *trusting*: in one step, so that an error answer, whose data is null, is a decode error.
    """

    def __init__(
        self, session: aiohttp.ClientSession, task: Task, *, trusting: bool = False
    ) -> None:
        import aiohttp

        self._session = session
        self._task = task
        self._timeout = aiohttp.ClientTimeout(total=task.settings.timeout)
        self._envelope = msgspec.json.Decoder(Envelope)
        self._content = msgspec.json.Decoder(Content)
        self._answer = msgspec.json.Decoder(Whole) if trusting else None

    async def __call__(self, num: int) -> list[Work]:
        from yarl import URL

        task = self._task
        async with self._session.get(
            URL(task.url(num), encoded=True),
            headers=task.signed(),
            allow_redirects=False,
            timeout=self._timeout,
        ) as answer:
            chunks: list[bytes] = []
            length = 0
            async for chunk in answer.content.iter_any():
                length += len(chunk)
                if length > task.settings.max_response_bytes:
                    raise ValueError("too large")
                chunks.append(chunk)
        if self._answer is not None:
            return self._answer.decode(b"".join(chunks)).data.content
        envelope = self._envelope.decode(b"".join(chunks))
        if answer.status != 200 or envelope.code != 200:
            raise ValueError(envelope.code)
        return self._content.decode(envelope.data).content


async def by_hand(task: Task) -> int:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        return await workers(task, ByHand(session, task))


async def by_hand_trusting(task: Task) -> int:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        return await workers(task, ByHand(session, task, trusting=True))


async def one_by_one(task: Task) -> int:
    """The paginator that most SDKs ship: the next page once the last one is consumed."""
    import aiohttp

    seen = 0
    async with aiohttp.ClientSession() as session:
        fetch = ByHand(session, task)
        for num in range(1, task.pages + 1):
            seen += touch(await fetch(num))
    return seen


async def batches(task: Task) -> int:
    """Page 1, then one gather of *in_flight* pages after the other."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        fetch = ByHand(session, task)
        seen = touch(await fetch(1))
        for start in range(2, task.pages + 1, task.in_flight):
            nums = range(start, min(start + task.in_flight, task.pages + 1))
            seen += sum(map(touch, await asyncio.gather(*map(fetch, nums))))
    return seen


# This package


def options(task: Task, *, verify: bool = True, ordered: bool = True) -> CrawlOptions:
    return CrawlOptions(page_size=SIZE, concurrency=task.in_flight, verify=verify, ordered=ordered)


async def ours(task: Task) -> int:
    """Items, verified: the default."""
    return await _items(task, options(task))


async def ours_plain(task: Task) -> int:
    return await _items(task, options(task, verify=False))


async def ours_unordered(task: Task) -> int:
    return await _items(task, options(task, ordered=False))


async def _items(task: Task, options: CrawlOptions) -> int:
    seen = 0
    async with task.client() as client:
        async for _ in client.works(options=options):
            seen += 1
    return seen


async def ours_pages(task: Task) -> int:
    seen = 0
    async with task.client() as client:
        async for page in client.works(options=options(task)).pages():
            seen += touch(page.content)
    return seen


async def ours_dict(task: Task) -> int:
    seen = 0
    async with task.client() as client:
        async for _ in client.works(options=options(task)).typed(dict):
            seen += 1
    return seen


async def ours_raw(task: Task) -> int:
    seen = 0
    async with task.client() as client:
        async for _ in client.works(options=options(task)).typed(msgspec.Raw):
            seen += 1
    return seen


# What else one could use


async def aiohttp_gather(task: Task) -> int:
    """The usual loop: a semaphore, a task for every page, dicts."""
    import aiohttp

    places = asyncio.Semaphore(task.in_flight)

    async def fetch(session: aiohttp.ClientSession, num: int) -> list[dict[str, object]]:
        async with places, session.get(task.url(num), headers=task.signed()) as answer:
            answer.raise_for_status()
            content: list[dict[str, object]] = (await answer.json())["data"]["content"]
            return content

    async with aiohttp.ClientSession() as session:
        nums = range(1, task.pages + 1)
        pages = await asyncio.gather(*(fetch(session, num) for num in nums))
    return sum(map(touch, pages))


def _httpx(task: Task) -> httpx.AsyncClient:
    import httpx

    limits = httpx.Limits(max_connections=task.in_flight, max_keepalive_connections=task.in_flight)
    return httpx.AsyncClient(limits=limits, timeout=task.settings.timeout)


async def httpx_json(task: Task) -> int:
    async with _httpx(task) as client:

        async def fetch(num: int) -> list[dict[str, object]]:
            answer = await client.get(task.url(num), headers=task.signed())
            answer.raise_for_status()
            content: list[dict[str, object]] = answer.json()["data"]["content"]
            return content

        return await workers(task, fetch)


async def httpx_pydantic(task: Task) -> int:
    from benchmarks.models import Answer

    async with _httpx(task) as client:

        async def fetch(num: int) -> Sequence[object]:
            answer = await client.get(task.url(num), headers=task.signed())
            answer.raise_for_status()
            return Answer.model_validate_json(answer.content).data.content

        return await workers(task, fetch)


async def aiometer_httpx(task: Task) -> int:
    import aiometer

    from benchmarks.models import Answer

    seen = 0
    async with _httpx(task) as client:

        async def fetch(num: int) -> Answer:
            answer = await client.get(task.url(num), headers=task.signed())
            answer.raise_for_status()
            return Answer.model_validate_json(answer.content)

        nums = range(1, task.pages + 1)
        async with aiometer.amap(fetch, nums, max_at_once=task.in_flight) as answers:
            async for answer in answers:
                seen += touch(answer.data.content)
    return seen


async def niquests_json(task: Task) -> int:
    import niquests

    async with niquests.AsyncSession(
        pool_maxsize=task.in_flight, timeout=task.settings.timeout
    ) as session:

        async def fetch(num: int) -> list[dict[str, object]]:
            answer = await session.get(task.url(num), headers=task.signed())
            answer.raise_for_status()
            content: list[dict[str, object]] = answer.json()["data"]["content"]
            return content

        return await workers(task, fetch)


async def dlt_rest_client(task: Task) -> int:
    """One page after the other, the only way it has."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
    from requests import PreparedRequest
    from requests.auth import AuthBase

    class Signed(AuthBase):
        def __call__(self, r: PreparedRequest) -> PreparedRequest:
            r.headers.update(task.signed())
            return r

    client = RESTClient(
        task.settings.base_url,
        auth=Signed(),
        paginator=PageNumberPaginator(
            base_page=1, page_param="pageNum", total_path="data.totalPages"
        ),
        data_selector="data.content",
    )
    # In the order of the server's regular expression.
    params = {"pageNum": 1, "pageSize": SIZE}
    return sum(touch(page) for page in client.paginate(PATH, params=params))
