"""A performance test without timing: how many calls a crawl makes for a page and for an item.

It counts each start and each resumption of a Python function of the package, and each call that the
package's code makes of anything else, in Python or in C. It does not count classes written in C, or
calls made by C code (``map``, a decoder). The server answers from memory: the counts are the same
on every machine, and exclude the HTTP exchange. They are smaller on newer Pythons, which inline
comprehensions.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import replace
from types import FrameType
from typing import TypeAlias

import pytest
from msgspec import Raw

from dp_async import Client, CrawlOptions, Request, Response
from tests.support.fake_server import SETTINGS, answer, page_of, row
from tests.support.virtual_loop import run

#: Upper limits of the calls for a page and for an item. A page's limit is the measured count,
#: rounded up. An item's 1 is the resumption of the generator or iterator.
LIMITS: dict[str, tuple[float, float]] = {
    "items, verified": (185, 1),
    "items, not verified": (124, 1),
    "items of a crawl, verified": (186, 1),
    "items of a crawl, not verified": (125, 1),
    "pages, verified": (186, 0),
    "pages, not verified": (125, 0),
    "pages, as they come in": (186, 0),
    "pages of raw rows, verified": (190, 0),
    "collected, verified": (185, 0),
    "page by page": (160, 0),
}
DATE = "Thu, 13 Jul 2023 09:00:00 GMT"
PACKAGE = "dp_async."
CHECKED_SEND = "dp_async._call.checked_send"
FEW, MANY = 20, 60  # pages
SMALL, LARGE = 20, 100  # rows of a page
PAGES, ITEMS = MANY - FEW, (MANY - FEW) * (LARGE - SMALL)


class Counting:
    """Counts the calls of this thread while the block runs, by the name of the function."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Counter[str]:
        gc.collect()  # garbage of other tests may call a function of the package
        gc.disable()
        sys.setprofile(self._profile)
        return self.calls

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _profile(self, frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and ours(frame):
            self.calls[getattr(called, "__qualname__", repr(called))] += 1
        elif event == "call" and (ours(frame) or ours(frame.f_back)):
            self.calls[frame.f_code.co_qualname] += 1


def ours(frame: FrameType | None) -> bool:
    """Whether the frame runs code of the package, generated code of its dataclasses included.

    Not the checks of an application's own ``Send``, which stands here for the client's exchange.
    """
    name = "" if frame is None else str(frame.f_globals.get("__name__"))
    return name.startswith(PACKAGE) and name != CHECKED_SEND


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
    """The calls of a crawl of *number* pages of *size* rows; the last page lacks one row."""
    form, *how = name.split(", ")
    rows = [row(index) for index in range(number * size - 1)]
    answers = [
        replace(answer(rows, num, size), headers={"date": DATE}) for num in range(1, number + 1)
    ]

    async def send(request: Request, /) -> Response:
        await asyncio.sleep(0)  # no answer comes in the iteration that sent the request
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
    """The calls for ``PAGES`` pages without their items, and for ``ITEMS`` items.

    Differences of crawls of different lengths: calls made once a crawl cancel out.
    """
    run(counted(name, 2, SMALL))  # fills the caches
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
    difference = Counter(calls)
    difference.subtract(others)
    return difference


def breakdown(calls: Counter[str], each: int) -> str:
    """The functions called most, with their calls for each page or item."""
    return "\n".join(
        f"{count / each:8.2f} {name}" for name, count in calls.most_common(50) if count
    )


@pytest.mark.parametrize("name", LIMITS)
def test_calls_for_a_page_and_for_an_item(name: str) -> None:
    most_of_a_page, most_of_an_item = LIMITS[name]
    for_pages, for_items = costs(name)
    assert for_pages.total() / PAGES <= most_of_a_page, breakdown(for_pages, PAGES)
    assert for_items.total() / ITEMS <= most_of_an_item, breakdown(for_items, ITEMS)


def test_calls_of_all_kinds_are_counted() -> None:
    calls = run(counted("items, verified", 2, SMALL))
    assert calls["Listing.__aiter__"] > 2 * SMALL  # Python in the package, once a resumption
    assert calls["Decoder.decode"] == 3  # C: each page, and page 1 once more
    assert calls["VirtualLoop.time"] >= 2  # Python outside the package


def test_the_count_is_repeatable() -> None:
    counts = [run(counted("items, verified", 5, SMALL)) for _ in range(6)]
    assert counts[1:] == counts[:-1]
