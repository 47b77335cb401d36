"""Syncs into Delta tables that are killed, and several at once: nothing is lost or there twice."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

from dp_async import Client, delta
from dp_async.testing import Simulator
from tests.support.databases import truth
from tests.support.lake import Lake

pytestmark = pytest.mark.slow

ACCOUNTS = ["19900000001", "19900000002"]
#: A sync that kills itself at an event: which one, and how often it comes first.
CHILD = """
import asyncio, os, signal, sys
from dp_async import Client, Settings, delta
from dp_async.delta import _marks, _round, _run, _spool, _table, _windows
from dp_async.tables import _reading

folder, url, event, number, *accounts = sys.argv[1:]
_reading.PIECE, _round.ROWS, _round.WAITING, _windows.ROWS = 100, 300, 300, 200
left = int(number)

def dying(owner, name, before):
    plain = getattr(owner, name)
    def call(*given, **options):
        global left
        left -= 1
        if before and left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        found = plain(*given, **options)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, call)

if event == "a page is read":
    dying(_run.Run, "_own", True)
elif event == "in the middle of a merge":
    dying(_spool, "fitted", True)
elif event == "the rows are committed":
    dying(_table.Table, "_merged", False)
elif event == "before the watermarks":
    dying(_marks.Marks, "write", True)
elif event == "the watermarks are committed":
    dying(_marks.Marks, "write", False)

async def main():
    settings = Settings(
        base_url=url, app_id="simulated-app", app_secret="simulated-secret", allow_http=True
    )
    async with Client(settings) as client:
        async for outcome in delta.sync(client, accounts, folder):
            assert outcome.error is None, outcome.error

asyncio.run(main())
"""
EVENTS = {
    "a page is read": 3,
    "in the middle of a merge": 2,
    "the rows are committed": 1,
    "before the watermarks": 0,
    "the watermarks are committed": 0,
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    simulator = Simulator(works=700, messages=150)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulator) as running:
        yield running


def child(lake: Lake, simulator: Simulator, event: str, number: int) -> subprocess.Popen[bytes]:
    given = [lake.to, simulator.url, event, str(number), *ACCOUNTS]
    return subprocess.Popen([sys.executable, "-c", CHILD, *given], stderr=subprocess.PIPE)


def write(simulator: Simulator) -> None:
    """Change enough rows for a commit or two, so that each event comes.

    The messages are ordered by their create time: a sync without ``full`` need not see an update.
    """
    for key in simulator.works.ids()[5:150]:
        simulator.works.update(key)
    for _ in range(5):
        simulator.works.insert()
        simulator.messages.insert()


async def agrees(lake: Lake, simulator: Simulator) -> bool:
    """One more sync, to its end; then the tables are what the lists are, each id once."""
    async with Client(simulator.settings) as client:
        async for outcome in delta.sync(client, ACCOUNTS, lake.to):
            assert outcome.error is None
    return all(
        lake.rows(name, account=account) == truth(rows)
        for name, rows in (("works", simulator.works), ("messages", simulator.messages))
        for account in ACCOUNTS
    )


async def test_twenty_kills_lose_nothing_and_repeat_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    between = 0  # kills after a commit of rows and before that of their watermarks
    for turn, (event, number) in enumerate(islice(cycle(EVENTS.items()), 20)):
        write(simulator)
        number += "watermarks" in event and turn > 9  # those of the messages
        before = lake.versions() if lake.is_there() else {}
        with child(lake, simulator, event, number) as process:
            _, problem = process.communicate()
        assert process.returncode == -signal.SIGKILL, (event, problem.decode())
        after = lake.versions()
        rows = sum(after[name] - before.get(name, 0) for name in ("works", "messages"))
        between += rows > after["watermarks"] - before.get("watermarks", 0)
        for name in ("works", "messages"):
            if after[name]:
                for account in ACCOUNTS:
                    lake.rows(name, account=account)  # no id is there twice
    assert between >= 4
    assert await agrees(lake, simulator)


async def test_four_processes_into_one_app_lose_nothing_and_repeat_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for _ in range(2):
        running = [child(lake, simulator, "none", 0) for _ in range(4)]
        write(simulator)
        for process in running:
            _, problem = process.communicate()
            overtaken = b"another sync of this app committed" in problem
            assert overtaken or not process.returncode, problem.decode()
    assert await agrees(lake, simulator)
