"""A simulator in a process of its own, so that a benchmark measures the client alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from dp_async import Settings
from dp_async.testing import Simulator, serve


@contextmanager
def simulator(works: int, latency: float = 0.0) -> Generator[Settings]:
    """The settings of a simulator with so many *works*, running while the block does."""
    command = [sys.executable, "-m", "benchmarks.server", str(works), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        known = Simulator().settings
        try:
            yield Settings(base_url=url, app_id=known.app_id, app_secret=known.app_secret)
        finally:
            process.terminate()


def _tell(running: Simulator) -> None:
    sys.stdout.write(f"{running.url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    works, latency = int(sys.argv[1]), float(sys.argv[2])
    asyncio.run(serve(Simulator(works=works, latency=latency, remember=False), ready=_tell))
