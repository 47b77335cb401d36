"""Used without ``async``, each public object says what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import dp_async
from dp_async import Client, HttpTransport, crawl_accounts
from tests.support.fake_server import SETTINGS


async def _awaited(value: Any) -> None:
    await value


def _entered(value: Any) -> None:
    with value:
        raise AssertionError


OBJECTS: dict[str, Callable[[Client], object]] = {
    "Client": lambda client: client,
    "HttpTransport": lambda client: HttpTransport(client.settings),
    "Listing": lambda client: client.works(),
    "Crawl": lambda client: client.works().crawl(),
    "Pages": lambda client: client.works().pages(),
    "Watch": lambda client: client.works().watch(5.0),
    "AccountsCrawl": lambda client: crawl_accounts(client, ["139"], lambda sub: sub.works()),
}

ITERABLE = [name for name in OBJECTS if name not in ("Client", "HttpTransport")]


def made(name: str) -> Any:
    return OBJECTS[name](Client(SETTINGS))


def test_every_asynchronous_class_is_here() -> None:
    found = {
        name
        for name in dp_async.__all__
        if isinstance(value := getattr(dp_async, name), type)
        and (hasattr(value, "__aiter__") or hasattr(value, "__aenter__"))
    }
    assert found == {*OBJECTS}


@pytest.mark.parametrize("name", ITERABLE)
def test_a_loop_without_async_says_so(name: str) -> None:
    with pytest.raises(TypeError, match=rf"a {name} needs `async for`, in a coroutine: asyncio"):
        list(made(name))


@pytest.mark.parametrize("name", [name for name in OBJECTS if name != "Listing"])
def test_a_block_without_async_says_so(name: str) -> None:
    with pytest.raises(TypeError, match=rf"a {name} needs `async with`, in a coroutine: asyncio"):
        _entered(made(name))


@pytest.mark.parametrize("name", ITERABLE)
def test_an_iterable_that_is_awaited_says_so(name: str) -> None:
    expected = rf"a {name} is not awaited: iterate it by `async for`"
    with pytest.raises(TypeError, match=expected) as why:
        asyncio.run(_awaited(made(name)))
    assert ("or await its collect(), page() or first()" in str(why.value)) is (name == "Listing")
