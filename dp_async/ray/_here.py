"""One worker in a thread of this process, for few apps and without Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue

import anyio
from anyio.from_thread import start_blocking_portal

from ._apps import Result
from ._queue import Queue
from ._worker import Job, Worker


def results_here(job: Job, queue: Queue) -> Generator[Result, None, None]:
    """What became of each app, as they end. Closing it cancels the others."""
    worker = Worker(job)
    arrived: SimpleQueue[Result | None] = SimpleQueue()
    with start_blocking_portal() as portal:
        portal.call(worker.ready)
        running = portal.start_task_soon(_all, worker, queue, arrived.put)
        running.add_done_callback(lambda _: arrived.put(None))
        try:
            while (result := arrived.get()) is not None:
                yield result
        finally:
            running.cancel()
        running.result()


async def _all(worker: Worker, queue: Queue, done: Callable[[Result], object]) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(queue.at_once):
            group.start_soon(_some, worker, queue, done)


async def _some(worker: Worker, queue: Queue, done: Callable[[Result], object]) -> None:
    while (app := queue.take(0)) is not None:
        try:
            result = Result(app, await worker.sync(app))
        except Exception as bug:
            result = Result(app, bug=bug)
        queue.done(0, app)
        done(result)
