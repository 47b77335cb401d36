"""Background writes: their rates, their counts, and how the writer ends."""

import asyncio
from typing import Any

import pytest

from dp_async import ConfigError
from dp_async.testing import SimulatedList, Simulator, Writes
from tests.support.virtual_loop import run

NOW = 1_700_000_000.0


def clock() -> float:
    return NOW + asyncio.get_running_loop().time()


async def deleted(simulator: Simulator) -> set[int]:
    """The ids that a writer deletes in ten seconds."""
    before = set(simulator.works.ids())
    async with simulator.writing("work_list", deletes=2):
        await asyncio.sleep(10)
    return before - set(simulator.works.ids())


def test_background_writes() -> None:
    async def main() -> None:
        simulator = Simulator(works=500, clock=clock)
        mark = simulator.works.mark()
        before = simulator.works.present_since(mark)
        async with simulator.writing("work_list", inserts=10, updates=5, deletes=5) as writes:
            await asyncio.sleep(20)
        assert 150 < writes.inserts < 250
        assert 60 < writes.updates < 140
        assert 60 < writes.deletes < 140
        assert len(simulator.works) == 500 + writes.inserts - writes.deletes
        present = simulator.works.present_since(mark)
        assert present < before
        assert present == before & set(simulator.works.ids())
        done = Writes(writes.inserts, writes.updates, writes.deletes)
        await asyncio.sleep(20)
        assert writes == done

    run(main())


def test_evenly_spaced_writes_to_the_messages() -> None:
    async def main() -> None:
        simulator = Simulator(messages=5, clock=clock)
        async with simulator.writing("msg_list", deletes=2, even=True) as writes:
            await asyncio.sleep(2.25)
            assert writes.deletes == 4
            await asyncio.sleep(10)
        assert writes == Writes(deletes=5)  # then the list is empty
        assert len(simulator.messages) == 0

    run(main())


def test_imports_are_rows_of_one_time() -> None:
    async def main() -> None:
        simulator = Simulator(messages=5, clock=clock)
        async with simulator.writing("msg_list", imports=1, import_size=30, even=True) as writes:
            await asyncio.sleep(2.5)
        assert writes == Writes(imports=2)
        assert len(simulator.messages) == 65
        newest = {
            simulator.messages.row(key)["createTime"] for key in simulator.messages.ids()[:30]
        }
        assert len(newest) == 1

    run(main())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"inserts": -1}, "inserts must be a number of at least 0, not -1"),
    ({"updates": float("nan")}, "updates must be a number"),
    ({"deletes": "1"}, "deletes must be a number"),
    ({"imports": float("inf")}, "imports must be a number"),
    ({"import_size": 0}, "import_size must be a whole number of at least 1, not 0"),
]


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_rates_that_cannot_work_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{text}"):
        Simulator().writing("work_list", **given)


def test_the_same_seed_makes_the_same_writes() -> None:
    async def main() -> None:
        async def ids(simulator: Simulator, seed: int | None) -> list[int]:
            async with simulator.writing("work_list", inserts=5, updates=5, deletes=5, seed=seed):
                await asyncio.sleep(10)
            return simulator.works.ids()

        fixed = [await ids(Simulator(works=100, clock=lambda: NOW), 7) for _ in range(2)]
        assert fixed[0] == fixed[1]
        own = [await ids(Simulator(works=100, clock=lambda: NOW, seed=n), None) for n in (1, 1, 2)]
        assert own[0] == own[1] != own[2]
        first = await deleted(Simulator(works=100, clock=lambda: NOW))
        assert await deleted(Simulator(works=100, clock=lambda: NOW)) == first
        simulator = Simulator(works=100, clock=lambda: NOW)
        async with simulator.writing("work_list"):
            pass
        assert await deleted(simulator) != first  # each writer has its own seed

    run(main())


def test_no_rates_are_no_writes() -> None:
    async def main() -> None:
        async with Simulator(clock=clock).writing("work_list") as writes:
            await asyncio.sleep(10)
        assert writes == Writes()

    run(main())


def test_the_writer_s_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def insert(rows: SimulatedList) -> None:
        raise RuntimeError("full")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="full"):
            async with Simulator(clock=clock).writing("work_list", inserts=10):
                await asyncio.sleep(10)

    monkeypatch.setattr(SimulatedList, "insert", insert)
    run(main())


def test_an_error_in_the_block_ends_the_writer() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with Simulator(clock=clock).writing("work_list", inserts=10):
                raise ZeroDivisionError
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
