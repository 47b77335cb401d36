"""A simulator in its own thread: the event loop of a test runs only the client's tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from dp_async.testing import Simulator


@pytest.fixture(scope="session")
def simulator_in_thread() -> Iterator[Simulator]:
    """A running simulator of 1,070 works and 530 messages, with a median latency of 2 ms."""
    simulator = Simulator(latency=0.002, jitter=0.6)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulator) as running:
        yield running
