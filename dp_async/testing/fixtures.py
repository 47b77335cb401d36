"""pytest fixtures for tests of code that uses this library; they need pytest-asyncio.

Import them in ``conftest.py``, where pytest finds fixtures by name::

    from dp_async.testing.fixtures import dp_client, dp_simulator, dp_started  # noqa: F401

    async def test_my_code(dp_simulator, dp_client):
        dp_simulator.fail(Throttle(retry_after=0))
        assert await my_code(dp_client) == 20

``dp_simulator`` serves the 20 documented rows of each list. Override it for another simulator;
``dp_client`` uses the override. ``dp_started`` starts a simulator and stops it after the test::

    @pytest_asyncio.fixture
    async def dp_simulator(dp_started):
        return await dp_started(Simulator(works=5000, latency=0.01))

The only file here that imports pytest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest_asyncio

from dp_async import Client

from ._simulator import Simulator

Started: TypeAlias = Callable[[Simulator], Awaitable[Simulator]]


@pytest_asyncio.fixture
async def dp_started() -> AsyncIterator[Started]:
    """Starts a simulator and stops it after the test: ``await dp_started(Simulator(...))``."""
    async with AsyncExitStack() as running:
        yield running.enter_async_context


@pytest_asyncio.fixture
async def dp_simulator(dp_started: Started) -> Simulator:
    """A running simulator with the 20 documented rows in each list."""
    return await dp_started(Simulator(works=20, messages=20))


@pytest_asyncio.fixture
async def dp_client(dp_simulator: Simulator) -> AsyncIterator[Client]:
    """A client for ``dp_simulator``."""
    async with Client(dp_simulator.settings) as client:
        yield client
