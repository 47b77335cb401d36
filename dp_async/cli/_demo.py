"""``sync --demo``: three syncs of a simulated server that changes. Needs the extra ``sync``."""

from __future__ import annotations

import sys
from dataclasses import replace

from anyio.from_thread import start_blocking_portal

from dp_async import CrawlOptions
from dp_async.testing import Simulator

from ._files import working_folder
from ._run import Exit
from ._simulator import JITTER
from ._sync import Job, show
from ._target import target_of

WORKS, MESSAGES, LATENCY = 5000, 530, 0.02


def demonstrate_sync(to: str | None, dataset: str, options: CrawlOptions) -> Exit:
    """Sync a simulated server three times, into *to* or a temporary DuckDB file.

    Rows are inserted, updated and deleted after the first sync; the third one reconciles.
    """
    simulator = Simulator(
        works=WORKS, messages=MESSAGES, latency=LATENCY, jitter=JITTER, remember=False
    )
    with (
        working_folder() as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator),
    ):
        target = target_of(to or f"duckdb:///{folder / 'dp.duckdb'}", dataset)
        job = Job(settings=simulator.settings, target=target, options=options)
        _print("first sync: all rows")
        show(job.run())
        ids = simulator.works.ids()
        for key in ids[100:110]:
            simulator.works.update(key, status="FAIL")
        for key in ids[200:203]:
            simulator.works.delete(key)
        for _ in range(10):
            simulator.works.insert()
        _print("10 works inserted, 10 updated, 3 deleted; second sync: what changed")
        show(job.run())
        _print("third sync, with --reconcile: all rows, and which are gone")
        show(replace(job, reconcile=True).run())
    return Exit.OK


def _print(text: str) -> None:
    sys.stdout.write(f"# {text}\n")
    sys.stdout.flush()
