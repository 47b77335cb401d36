"""A guard that does not time: how many calls a crawl makes, for a page and for an item.

Counted is every Python function of the package that is entered, or that goes on where it waited,
and every call that the package's code makes of anything else, in Python or in C. Not counted are
classes written in C, and what C calls by itself (``map``, a decoder). The server answers from
memory, so that the counts are the same on every machine and every time; what the HTTP exchange
costs is not in them. Those of newer Pythons are smaller: they inline comprehensions.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable
from types import FrameType
from typing import TypeAlias

import pytest
from msgspec import Raw

from dp_async import Client, CrawlOptions, Request, Response
from tests.support.fake_server import SETTINGS, answer, page_of, row
from tests.support.virtual_loop import run

#: The calls for a page, and those for an item, at most. A page's are what was counted, and 3 or 4
#: more. Of an item's, the 1 is the generator, or the iterator, that goes on: nothing else runs.
LIMITS: dict[str, tuple[float, float]] = {
    "items, verified": (180, 1),
    "items, not verified": (140, 1),
    "items of a crawl, verified": (181, 1),
    "items of a crawl, not verified": (141, 1),
    "pages, verified": (181, 0),
    "pages, not verified": (141, 0),
    "pages, as they come in": (178, 0),
    "pages of raw rows, verified": (184, 0),
    "collected, verified": (180, 0),
    "page by page": (173, 0),
}
PACKAGE = "dp_async."
FEW, MANY = 20, 60  # pages
SMALL, LARGE = 20, 100  # rows of a page
PAGES, ITEMS = MANY - FEW, (MANY - FEW) * (LARGE - SMALL)


class Counting:
    """While it is entered: the calls of this thread, by the name of what is called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Counter[str]:
        gc.collect()  # what others left behind may end in a function of the package
        gc.disable()
        sys.setprofile(self._told)
        return self.calls

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _told(self, frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and ours(frame):
            self.calls[getattr(called, "__qualname__", repr(called))] += 1
        elif event == "call" and (ours(frame) or ours(frame.f_back)):
            self.calls[frame.f_code.co_qualname] += 1


def ours(frame: FrameType | None) -> bool:
    """Whether it runs code of the package, or code that a dataclass of the package came with."""
    return frame is not None and str(frame.f_globals.get("__name__")).startswith(PACKAGE)


Form: TypeAlias = Callable[[Client, CrawlOptions], Awaitable[int]]


async def items(client: Client, options: CrawlOptions) -> int:
    return await seen(client.works(options=options))


async def items_of_a_crawl(client: Client, options: CrawlOptions) -> int:
    async with client.works(options=options).crawl() as crawl:
        return await seen(crawl)


async def seen(listed: AsyncIterable[object]) -> int:
    rows = 0
    async for _ in listed:
        rows += 1
    return rows


async def pages(client: Client, options: CrawlOptions) -> int:
    return sum([len(page.content) async for page in client.works(options=options).pages()])


async def pages_of_raw_rows(client: Client, options: CrawlOptions) -> int:
    listing = client.works(options=options).typed(Raw)
    return sum([len(page.content) async for page in listing.pages()])


async def collected(client: Client, options: CrawlOptions) -> int:
    return len(await client.works(options=options).collect())


async def page_by_page(client: Client, options: CrawlOptions) -> int:
    rows = num = 0
    last = False
    while not last:
        num += 1
        page = await client.work_list(page_num=num, page_size=options.page_size)
        rows += len(page.content)
        last = page.last
    return rows


FORMS: dict[str, Form] = {
    "items": items,
    "items of a crawl": items_of_a_crawl,
    "pages": pages,
    "pages of raw rows": pages_of_raw_rows,
    "collected": collected,
    "page by page": page_by_page,
}


async def counted(name: str, number: int, size: int) -> Counter[str]:
    """The calls of a crawl of so many pages of so many rows, the last one row short."""
    form, *how = name.split(", ")
    rows = [row(index) for index in range(number * size - 1)]
    answers = [answer(rows, num, size) for num in range(1, number + 1)]

    async def send(request: Request, /) -> Response:
        await asyncio.sleep(0)  # no answer comes within the same turn of the loop
        return answers[page_of(request)[0] - 1]

    options = CrawlOptions(
        page_size=size, verify="not verified" not in how, ordered="as they come in" not in how
    )
    async with Client(SETTINGS, send=send) as client:
        with Counting() as calls:
            found = await FORMS[form](client, options)
    assert found == len(rows)
    return calls


def costs(name: str) -> tuple[Counter[str], Counter[str]]:
    """The calls for a page without its items, and for an item, each times the pages or the items.

    What is called once, or for the items of one page alone, is in neither.
    """
    run(counted(name, 2, SMALL))  # what is made once, and kept, is made now
    small, large = (
        less(run(counted(name, MANY, size)), run(counted(name, FEW, size)))
        for size in (SMALL, LARGE)
    )
    items = less(large, small)
    at_zero = Counter(
        {what: small[what] - items[what] * SMALL // (LARGE - SMALL) for what in small}
    )
    return at_zero, items


def less(calls: Counter[str], others: Counter[str]) -> Counter[str]:
    left = Counter(calls)
    left.subtract(others)
    return left


def told(calls: Counter[str], each: int) -> str:
    """What is called most, for whoever has to find what crept in."""
    return "\n".join(
        f"{count / each:8.2f} {name}" for name, count in calls.most_common(50) if count
    )


@pytest.mark.parametrize("name", LIMITS)
def test_a_page_and_an_item_cost_no_more_calls_than_they_did(name: str) -> None:
    most_of_a_page, most_of_an_item = LIMITS[name]
    for_pages, for_items = costs(name)
    assert for_pages.total() / PAGES <= most_of_a_page, told(for_pages, PAGES)
    assert for_items.total() / ITEMS <= most_of_an_item, told(for_items, ITEMS)


def test_the_calls_are_counted() -> None:
    calls = run(counted("items, verified", 2, SMALL))
    assert calls["Listing.__aiter__"] > 2 * SMALL  # Python of the package, each time it goes on
    assert calls["Decoder.decode"] == 3  # C: each page, and page 1 once more, in one go
    assert calls["VirtualLoop.time"] >= 2  # Python of others


def test_the_count_is_the_same_every_time() -> None:
    counts = [run(counted("items, verified", 5, SMALL)) for _ in range(6)]
    assert counts[1:] == counts[:-1]
