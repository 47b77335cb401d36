"""The pager: order, window, concurrency, errors, closing. Jobs are numbers, results doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from dp_async import ClientClosed, ConfigError
from dp_async._pager import Pager, ended
from tests.scripted import until


class Work:
    """Jobs 1 to *count*; each waits for its event if one is set, and may fail first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.planned = self.finished = 0
        self.started: list[int] = []
        self.under_way = self.peak = 0
        self.gates: dict[int, asyncio.Event] = {}
        self.failures: dict[int, list[Exception]] = {}

    def plan(self) -> int | None:
        if self.planned == self.count:
            return None
        self.planned += 1
        return self.planned

    async def fetch(self, job: int) -> int:
        self.started.append(job)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(0)
            if job in self.gates:
                await self.gates[job].wait()
            if self.failures.get(job):
                raise self.failures[job].pop(0)
            self.finished += 1
            return job * 2
        finally:
            self.under_way -= 1

    def pager(self, concurrency: int = 3, window: int = 6, ordered: bool = True) -> Pager[int, int]:
        return Pager(
            self.plan, self.fetch, spawn, concurrency=concurrency, window=window, ordered=ordered
        )


def spawn(work: Coroutine[object, object, int]) -> asyncio.Task[int]:
    return asyncio.get_running_loop().create_task(work)


async def drain(pager: Pager[int, int]) -> list[int]:
    results: list[int] = []
    while (result := await pager()) is not None:
        results.append(result)
    return results


@pytest.mark.parametrize("concurrency", [1, 2, 7, 64])
@pytest.mark.parametrize("window", [1, 3, 200])
async def test_results_come_in_order_within_the_bounds(concurrency: int, window: int) -> None:
    work = Work(50)
    results = await drain(work.pager(concurrency, window))
    assert results == [2 * job for job in range(1, 51)]
    assert work.peak <= min(concurrency, window)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("suspends", [0, 1, 2])
@pytest.mark.parametrize("turns", range(6))
async def test_the_end_comes_after_the_last_job_however_the_turns_of_the_loop_fall(
    turns: int, suspends: int, concurrency: int, ordered: bool
) -> None:
    work = Work(20)

    async def fetch(job: int) -> int:
        for _ in range(suspends):
            await asyncio.sleep(0)
        return job

    pager = Pager(
        work.plan, fetch, spawn, concurrency=concurrency, window=2 * concurrency, ordered=ordered
    )
    results: list[int] = []
    while (result := await pager()) is not None:
        results.append(result)
        for _ in range(turns):
            await asyncio.sleep(0)
    assert sorted(results) == list(range(1, 21))


async def test_nothing_starts_before_the_first_call() -> None:
    work = Work(3)
    pager = work.pager()
    await asyncio.sleep(0)
    assert work.planned == 0
    assert not pager.running


async def test_the_window_goes_on_filling_while_the_first_is_slow() -> None:
    work = Work(50)
    gate = work.gates[1] = asyncio.Event()
    pager = work.pager(concurrency=3, window=6)
    first = asyncio.ensure_future(pager())
    await until(lambda: len(work.started) == 6 and work.under_way == 1)
    gate.set()
    assert await first == 2
    await pager.aclose()


async def test_as_they_come_in_one_slow_job_holds_nobody_up() -> None:
    work = Work(5)
    gate = work.gates[1] = asyncio.Event()
    pager = work.pager(ordered=False)
    assert [await pager() for _ in range(4)] == [4, 6, 8, 10]
    gate.set()
    assert await pager() == 2
    assert await pager() is None


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_is_raised_once_and_the_job_done_again(ordered: bool) -> None:
    work = Work(6)
    work.failures[3] = [RuntimeError("no")]
    pager = work.pager(ordered=ordered)
    results: list[int] = []
    errors = 0
    while True:
        try:
            result = await pager()
        except RuntimeError:
            errors += 1
            continue
        if result is None:
            break
        results.append(result)
    assert errors == 1
    assert sorted(results) == [2, 4, 6, 8, 10, 12]
    assert not ordered or results == sorted(results)
    assert sorted(work.started) == [1, 2, 3, 3, 4, 5, 6]


async def test_no_new_job_starts_until_the_consumer_has_seen_the_error() -> None:
    work = Work(50)
    work.failures[1] = [RuntimeError("no")]
    gate = work.gates[2] = asyncio.Event()
    pager = work.pager(concurrency=2, window=50)
    waiting = asyncio.ensure_future(pager())
    await until(waiting.done)
    gate.set()
    await until(lambda: work.under_way == 0)
    assert work.started == [1, 2]
    with pytest.raises(RuntimeError):
        await waiting
    assert len(await drain(pager)) == 50


async def test_another_failure_before_the_consumer_is_back_holds_nothing_up() -> None:
    work = Work(6)
    work.failures = {1: [RuntimeError("one")], 2: [RuntimeError("two")]}
    gate = work.gates[2] = asyncio.Event()
    pager = work.pager(concurrency=2)
    with pytest.raises(RuntimeError, match="one"):
        await pager()
    gate.set()
    await until(lambda: work.under_way == 0)
    assert await pager() == 2
    with pytest.raises(RuntimeError, match="two"):
        await pager()
    assert await drain(pager) == [4, 6, 8, 10, 12]


@pytest.mark.parametrize("at", [1, 3])
async def test_a_bug_in_the_plan_reaches_the_consumer(at: int) -> None:
    work = Work(6)

    def broken() -> int | None:
        if work.planned == at:
            raise ZeroDivisionError
        return work.plan()

    pager = Pager(broken, work.fetch, spawn, concurrency=1, window=6)
    with pytest.raises(ZeroDivisionError):
        await drain(pager)
    await pager.aclose()


async def test_a_timeout_round_a_call_loses_nothing() -> None:
    work = Work(4)
    gate = work.gates[1] = asyncio.Event()
    pager = work.pager()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pager(), 0)
    gate.set()
    assert await drain(pager) == [2, 4, 6, 8]
    assert sorted(work.started) == [1, 2, 3, 4]


async def test_closing_while_a_call_waits_is_an_error_not_an_end() -> None:
    work = Work(4)
    work.gates[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    await pager.aclose()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        await pager()
    assert not pager.running
    await pager.aclose()


async def test_tasks_cancelled_from_outside_are_an_error_not_an_end() -> None:
    work = Work(4)
    work.gates[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    for task in asyncio.all_tasks() - {waiting, asyncio.current_task()}:
        task.cancel()
    with pytest.raises(ClientClosed):
        await waiting


async def test_two_consumers_are_refused() -> None:
    work = Work(4)
    gate = work.gates[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    with pytest.raises(ConfigError, match="one consumer"):
        await pager()
    gate.set()
    assert await waiting == 2
    await pager.aclose()


async def test_a_plan_may_have_nothing_now_and_more_after_the_next_result() -> None:
    work = Work(6)

    def one_by_one() -> int | None:
        return work.plan() if work.planned == work.finished else None

    pager = Pager(one_by_one, work.fetch, spawn, concurrency=4, window=8)
    assert await drain(pager) == [2, 4, 6, 8, 10, 12]
    assert work.peak == 1


async def test_ended_waits_through_a_cancellation_and_then_raises_it() -> None:
    gate = asyncio.Event()
    stubborn = asyncio.ensure_future(gate.wait())
    waiting = asyncio.ensure_future(ended([stubborn]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stubborn.done()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("turns", range(8))
async def test_in_whatever_turn_of_the_loop_a_job_fails_the_others_still_come(
    turns: int, ordered: bool
) -> None:
    # The consumer, woken by the job before, may see the failure before the pager itself does.
    work = Work(12)
    work.failures[3] = [ValueError("once")]

    async def fetch(job: int) -> int:
        for _ in range(turns if job == 3 else 0):
            await asyncio.sleep(0)
        return await work.fetch(job)

    pager = Pager(work.plan, fetch, spawn, concurrency=3, window=6, ordered=ordered)
    results: list[int] = []
    failures = 0
    while True:
        try:
            result = await pager()
        except ValueError:
            failures += 1
            continue
        if result is None:
            break
        results.append(result)
    assert sorted(results) == [2 * job for job in range(1, 13)]
    assert failures == 1


async def test_the_bounds_may_be_changed_at_any_time() -> None:
    work = Work(60)
    pager = work.pager(concurrency=2, window=3)
    results = [await pager() for _ in range(6)]
    assert work.peak == 2
    assert len(work.started) - len(results) <= 3
    pager.concurrency, pager.window = 7, 30
    results += [await pager() for _ in range(20)]
    assert 2 < work.peak <= 7
    pager.concurrency, pager.window = 1, 2
    await until(lambda: work.under_way <= 1)
    work.peak = 0
    results += await drain(pager)
    assert work.peak == 1
    assert results == [2 * job for job in range(1, 61)]
