"""What runs in a process of Ray's: a worker, until the program that asked for it ends."""

from __future__ import annotations

import os
import pickle
import signal
from functools import cached_property

from ..tables import Outcome
from ._apps import App, RayFailed
from ._program import Program
from ._worker import Job, Worker


class Actor:
    """A worker whose *job* is pickled.

    Ray takes seconds to notice that *program* was killed. Until then a second run of it would send
    requests for the same apps, so the process ends itself at once.
    """

    def __init__(self, job: bytes, program: Program) -> None:
        self._pickled = job
        program.watch(_end)

    @cached_property
    def _worker(self) -> Worker:
        try:
            job = pickle.loads(self._pickled)
        except Exception as error:
            known = isinstance(error, ImportError | AttributeError)
            problem = f"{type(error).__name__}{f': {error}' if known else ''}"
        else:
            assert isinstance(job, Job)
            return Worker(job)
        raise RayFailed(
            f"settings or client cannot be loaded in a worker ({problem}): their modules must be "
            "importable there"
        )

    async def ready(self) -> None:
        """As ``Worker.ready``. Raises RayFailed if the job cannot be loaded here."""
        await self._worker.ready()

    async def sync(self, app: App) -> list[Outcome]:
        """As ``Worker.sync``; Ray repeats it if this process dies."""
        return await self._worker.sync(app)


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
