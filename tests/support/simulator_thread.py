"""A simulator in its own thread: the event loop of a test runs only the client's tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from dp_async.testing import Simulator, serve


@pytest.fixture(scope="session")
def simulator_in_thread() -> Iterator[Simulator]:
    """A running simulator of 1,070 works and 530 messages, with a median latency of 2 ms."""
    simulator = Simulator(latency=0.002, jitter=0.6)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    serving = loop.create_task(serve(simulator, ready=lambda _: ready.set()))

    def run() -> None:
        try:
            loop.run_until_complete(serving)
        except asyncio.CancelledError:
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    yield simulator
    loop.call_soon_threadsafe(serving.cancel)
    thread.join(10)
