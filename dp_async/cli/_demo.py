"""A sync to look at, without a server and without an account: three runs, while the lists change.

Needs the extra ``sync``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from dp_async import CrawlOptions
from dp_async.testing import Simulator

from ._run import Exit
from ._simulator import JITTER
from ._sync import Job, show
from ._target import target_of

WORKS, MESSAGES, LATENCY = 5000, 530, 0.02


def demonstrate_sync(to: str | None, dataset: str, options: CrawlOptions) -> Exit:
    """Sync a simulated server *to* some place, or a DuckDB file that goes in the end, three times.

    Between the first two, rows come, change and go; the third reconciles.
    """
    simulator = Simulator(
        works=WORKS, messages=MESSAGES, latency=LATENCY, jitter=JITTER, remember=False
    )
    with (
        tempfile.TemporaryDirectory(prefix="dp-async-") as folder,
        start_blocking_portal() as elsewhere,
        elsewhere.wrap_async_context_manager(simulator),
    ):
        target = target_of(to or f"duckdb:///{Path(folder) / 'dp.duckdb'}", dataset)
        job = Job(settings=simulator.settings, target=target, options=options)
        _tell("the first sync: everything")
        show(job.run())
        ids = simulator.works.ids()
        for key in ids[100:110]:
            simulator.works.update(key, status="FAIL")
        for key in ids[200:203]:
            simulator.works.delete(key)
        for _ in range(10):
            simulator.works.insert()
        _tell("10 works come, 10 change, 3 go; the second sync: what is new")
        show(job.run())
        _tell("with --reconcile: everything, and what is gone")
        show(replace(job, reconcile=True).run())
    return Exit.OK


def _tell(text: str) -> None:
    sys.stdout.write(f"# {text}\n")
    sys.stdout.flush()
