"""Writes to a list in the background, like those of other users of the real server.

It knows lists and the event loop's time, and nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from random import Random

from ._arguments import number, whole
from ._lists import SimulatedList


@dataclass(slots=True)
class Writes:
    """The numbers of writes so far; *imports* counts the transactions."""

    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    imports: int = 0


def writing(
    rows: SimulatedList,
    *,
    inserts: float,
    updates: float,
    deletes: float,
    imports: float,
    import_size: int,
    even: bool,
    random: Random,
) -> AbstractAsyncContextManager[Writes]:
    """Writes while the block runs; see ``Simulator.writing``. Raises ConfigError."""
    rates = {"inserts": inserts, "updates": updates, "deletes": deletes, "imports": imports}
    whole("import_size", import_size, 1)
    for name, rate in rates.items():
        number(name, rate, 0)
    return _writing(rows, rates, import_size, even, random)


@asynccontextmanager
async def _writing(
    rows: SimulatedList, rates: dict[str, float], size: int, even: bool, random: Random
) -> AsyncGenerator[Writes, None]:
    """Writes while the block runs. Raises the writer's error."""
    writes = Writes()
    task = asyncio.create_task(_write(rows, writes, rates, size, even, random))
    try:
        yield writes
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def _write(
    rows: SimulatedList,
    writes: Writes,
    rates: dict[str, float],
    size: int,
    even: bool,
    random: Random,
) -> None:
    loop = asyncio.get_running_loop()
    total = sum(rates.values())
    due = loop.time()
    while total:
        due += 1 / total if even else random.expovariate(total)
        # Awaits even with no delay: a writer that is behind must not block the loop.
        await asyncio.sleep(max(0.0, due - loop.time()))
        (kind,) = random.choices(list(rates), list(rates.values()))
        if kind == "inserts":
            rows.insert()
            writes.inserts += 1
        elif kind == "imports":
            rows.insert_many(size)
            writes.imports += 1
        elif (key := rows.any_id(random)) is None:
            continue
        elif kind == "updates":
            rows.update(key, **rows.kind.changed(random))
            writes.updates += 1
        else:
            rows.delete(key)
            writes.deletes += 1
