"""The fifteen commonest mistakes of a user: what each is answered, and that it says what to do.

What Python itself answers is explained in README's troubleshooting, under Python's own words.
"""
# Mistakes are what type checkers refuse:
# mypy: disable-error-code="attr-defined,arg-type,call-arg,misc"
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import aiohttp
import pytest

from dp_async import Client, ConfigError, RetryPolicy, Settings
from dp_async.testing import Simulator
from tests.support.examples import README

#: What a user does, with the simulator's client.
Mistake: TypeAlias = Callable[[Client], Awaitable[object]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Simulator(works=30) as simulator:
        settings = replace(simulator.settings, retry=RetryPolicy(attempts=1))
        async with Client(settings) as made:
            yield made


async def forgotten_await(client: Client) -> None:
    page = client.work_list()
    try:
        assert page.total_elements
    finally:
        page.close()


async def loop_over_one_page(client: Client) -> None:
    page = client.work_list()
    try:
        async for _ in page:
            pass
    finally:
        page.close()


async def wrong_keyword(client: Client) -> None:
    client.works().with_options(pagesize=50)


async def list_for_a_string(client: Client) -> None:
    client.works(status=["SUCCESS", "DRAFT"])


async def closed_client(client: Client) -> None:
    await client.aclose()
    await client.work_list()


async def second_loop(client: Client) -> None:
    await client.work_list()
    await asyncio.to_thread(lambda: asyncio.run(client.works().collect()))


async def wrong_secret(client: Client) -> None:
    async with Client(replace(client.settings, app_secret="another")) as other:
        await other.work_list()


async def wrong_address(client: Client) -> None:
    async with Client(replace(client.settings, base_url="http://127.0.0.1:9")) as other:
        await other.work_list()


async def plain_http(client: Client) -> None:
    replace(client.settings, base_url="http://api.example.com")


async def proxy_that_is_down(client: Client) -> None:
    async with aiohttp.ClientSession(proxy="http://127.0.0.1:9") as session:
        async with Client(client.settings, session=session) as other:
            await other.work_list()


async def extra_that_is_not_installed(client: Client) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; import dp_async.arrow"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], stderr=subprocess.PIPE, check=False
    )
    raise ImportError(done.stderr.splitlines()[-1].decode())


async def old_checkpoint(client: Client) -> None:
    async with client.works().with_options(page_size=10).crawl() as crawl:
        await anext(crawl)
        client.works().crawl(resume=crawl.checkpoint().replace("dp1", "dp0"))


async def two_consumers(client: Client) -> None:
    async with client.works().crawl() as crawl:
        await asyncio.gather(anext(crawl), anext(crawl))


async def naive_and_aware_times(client: Client) -> None:
    work = await client.works().first()
    assert work is not None
    assert work.update_time is not None
    assert work.update_time < datetime.now(UTC)


async def script_without_async(client: Client) -> None:
    for _ in client.works():
        pass


#: The error's type, and its text, or what README explains of it.
MISTAKES: dict[Mistake, tuple[str, str]] = {
    forgotten_await: ("AttributeError", "'coroutine' object has no attribute"),
    loop_over_one_page: (
        "TypeError",
        "'async for' requires an object with __aiter__ method, got coroutine",
    ),
    wrong_keyword: (
        "ConfigError",
        "there is no option 'pagesize'; options: page_size, concurrency",
    ),
    list_for_a_string: (
        "ConfigError",
        "status must be one value, not a list: make a listing for each",
    ),
    closed_client: ("ClientClosed", "the client is closed: use it within its `async with`"),
    second_loop: (
        "ConfigError",
        "it was first used in: make another Client for another loop, thread or process",
    ),
    wrong_secret: (
        "AuthError",
        "Check app_id and app_secret, then the signature: the settings auth_template and",
    ),
    wrong_address: ("TransportError", "no connection to 127.0.0.1:9"),
    plain_http: (
        "ConfigError",
        "use https, or set allow_http=True if this network is yours",
    ),
    proxy_that_is_down: (
        "TransportError",
        "check the proxy of the session, or HTTP_PROXY and HTTPS_PROXY",
    ),
    extra_that_is_not_installed: ("ImportError", "pip install 'dp_async[arrow]'"),
    old_checkpoint: (
        "ConfigError",
        "resume is a checkpoint of another version of this library: start anew",
    ),
    two_consumers: (
        "ConfigError",
        "a crawl has one consumer: it was asked for the next page twice at once; let one task",
    ),
    naive_and_aware_times: ("TypeError", "can't compare offset-naive and offset-aware datetimes"),
    script_without_async: (
        "TypeError",
        "a Listing needs `async for`, in a coroutine: asyncio.run(main())",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
async def test_a_mistake_is_answered_with_what_to_do(client: Client, mistake: Mistake) -> None:
    kind, text = MISTAKES[mistake]
    with pytest.raises(Exception) as answered:  # noqa: PT011  # each has its own
        await mistake(client)
    assert type(answered.value).__name__ == kind
    assert text in str(answered.value)
    pythons_own = kind in ("AttributeError", "TypeError") and "asyncio.run" not in text
    assert not pythons_own or f"`{text}`" in README


def test_there_are_fifteen() -> None:
    assert len(MISTAKES) == 15


def test_what_is_missing_in_the_environment_is_named() -> None:
    with pytest.raises(ConfigError, match="set the environment variable DP_BASE_URL"):
        Settings.from_env({})
