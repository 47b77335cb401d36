"""The pager: order, window, concurrency, errors, closing. Jobs are numbers, results doubled."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

import pytest

from dp_async import ClientClosed, ConfigError
from dp_async._crawl.pager import Pager, ended
from tests.support.fake_server import until


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

    async def fetch(self, job: int) -> Callable[[], int]:
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
            return lambda: job * 2
        finally:
            self.under_way -= 1

    def pager(self, concurrency: int = 3, window: int = 6, ordered: bool = True) -> Pager[int, int]:
        return Pager(
            self.plan, self.fetch, spawn, concurrency=concurrency, window=window, ordered=ordered
        )


def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
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

    async def fetch(job: int) -> Callable[[], int]:
        for _ in range(suspends):
            await asyncio.sleep(0)
        return lambda: job

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
    limiter = work.gates[1] = asyncio.Event()
    pager = work.pager(concurrency=3, window=6)
    first = asyncio.ensure_future(pager())
    await until(lambda: len(work.started) == 6 and work.under_way == 1)
    limiter.set()
    assert await first == 2
    await pager.aclose()


async def test_as_they_come_in_one_slow_job_holds_nobody_up() -> None:
    work = Work(5)
    limiter = work.gates[1] = asyncio.Event()
    pager = work.pager(ordered=False)
    assert [await pager() for _ in range(4)] == [4, 6, 8, 10]
    limiter.set()
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
    limiter = work.gates[2] = asyncio.Event()
    pager = work.pager(concurrency=2, window=50)
    waiting = asyncio.ensure_future(pager())
    await until(waiting.done)
    limiter.set()
    await until(lambda: work.under_way == 0)
    assert work.started == [1, 2]
    with pytest.raises(RuntimeError):
        await waiting
    assert len(await drain(pager)) == 50


async def test_another_failure_before_the_consumer_is_back_holds_nothing_up() -> None:
    work = Work(6)
    work.failures = {1: [RuntimeError("one")], 2: [RuntimeError("two")]}
    limiter = work.gates[2] = asyncio.Event()
    pager = work.pager(concurrency=2)
    with pytest.raises(RuntimeError, match="one"):
        await pager()
    limiter.set()
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
    limiter = work.gates[1] = asyncio.Event()
    pager = work.pager()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pager(), 0)
    limiter.set()
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
    limiter = work.gates[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    with pytest.raises(ConfigError, match="one consumer"):
        await pager()
    limiter.set()
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
    limiter = asyncio.Event()
    stubborn = asyncio.ensure_future(limiter.wait())
    waiting = asyncio.ensure_future(ended([stubborn]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    limiter.set()
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

    async def fetch(job: int) -> Callable[[], int]:
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
    pager.concurrency, pager.window.size = 7, 30
    results += [await pager() for _ in range(20)]
    assert 2 < work.peak <= 7
    pager.concurrency, pager.window.size = 1, 2
    await until(lambda: work.under_way <= 1)
    work.peak = 0
    results += await drain(pager)
    assert work.peak == 1
    assert results == [2 * job for job in range(1, 61)]


# When a result is made


class Made:
    """A pager of *work* that tells *made* of each result it makes, and fails where told to."""

    def __init__(self, work: Work, **how: Any) -> None:
        self.made: list[int] = []
        self.bad: list[int] = []
        self.work = work
        self.pager: Pager[int, int] = Pager(work.plan, self.fetch, spawn, **how)

    async def fetch(self, job: int) -> Callable[[], int]:
        result = await self.work.fetch(job)
        return lambda: self.make(job, result())

    def make(self, job: int, result: int) -> int:
        self.made.append(job)
        if job in self.bad:
            self.bad.remove(job)
            raise ValueError(job)
        return result


async def test_what_the_consumer_waits_for_is_made_when_it_takes_it() -> None:
    work = Work(6)
    made = Made(work, concurrency=6, window=6)
    gates = [work.gates.setdefault(job, asyncio.Event()) for job in range(1, 7)]
    first = asyncio.ensure_future(made.pager())
    await until(lambda: work.under_way == 6)
    for limiter in gates:
        limiter.set()
    assert await first == 2
    # All came in one turn of the loop, and the consumer was about to run.
    assert made.made == [1]
    assert await made.pager() == 4
    assert made.made == [1, 2]


async def test_what_comes_while_the_consumer_is_away_or_out_of_turn_is_made_at_once() -> None:
    work = Work(6)
    made = Made(work, concurrency=3, window=6)
    first = work.gates[1] = asyncio.Event()
    waiting = asyncio.ensure_future(made.pager())
    await until(lambda: work.finished == 5)
    await until(lambda: made.made == [2, 3, 4, 5, 6])
    first.set()
    assert await waiting == 2
    assert await drain(made.pager) == [4, 6, 8, 10, 12]
    assert sorted(made.made) == [1, 2, 3, 4, 5, 6]


async def test_out_of_order_all_that_came_waits_for_the_consumer_who_waits() -> None:
    work = Work(3)
    made = Made(work, concurrency=3, window=3, ordered=False)
    limiter = work.gates[1] = asyncio.Event()
    assert await made.pager() == 4
    assert made.made == [2]
    limiter.set()
    assert sorted(await drain(made.pager)) == [2, 6]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("concurrency", [1, 3, 6])
@pytest.mark.parametrize("late", [0, 2])
async def test_a_result_that_cannot_be_made_is_an_error_and_its_job_is_done_again(
    late: int, concurrency: int, ordered: bool
) -> None:
    work = Work(6)
    made = Made(work, concurrency=concurrency, window=6, ordered=ordered)
    made.bad = [1, 3, 6]
    results: list[int] = []
    failed: list[int] = []
    ended = False
    while not ended:
        try:
            result = await made.pager()
        except ValueError as error:
            failed += error.args
        else:
            ended = result is None
            results += [] if result is None else [result]
        for _ in range(late):
            await asyncio.sleep(0)
    assert sorted(results) == [2, 4, 6, 8, 10, 12]
    assert ordered is False or results == sorted(results)
    assert sorted(failed) == [1, 3, 6]
    assert sorted(work.started) == [1, 1, 2, 3, 3, 4, 5, 6, 6]


async def test_what_is_no_exception_loses_no_result_that_was_just_being_made() -> None:
    class Stop(BaseException):
        pass

    stops = [Stop()]

    def make(job: int) -> int:
        if job == 2 and stops:
            raise stops.pop()
        return job

    async def fetch(job: int) -> Callable[[], int]:
        await asyncio.sleep(0)
        return lambda: make(job)

    pager = Pager(Work(4).plan, fetch, spawn, concurrency=4, window=4)
    assert await pager() == 1
    with pytest.raises(Stop):
        await pager()
    assert await drain(pager) == [2, 3, 4]


# Tasks


async def test_a_task_does_one_job_after_another() -> None:
    work = Work(50)
    spawned: list[asyncio.Task[None]] = []

    def counting(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        spawned.append(spawn(coroutine))
        return spawned[-1]

    pager = Pager(work.plan, work.fetch, counting, concurrency=4, window=50)
    assert len(await drain(pager)) == 50
    assert len(spawned) == 4


async def test_with_less_concurrency_tasks_end_and_with_more_others_begin() -> None:
    work = Work(60)
    pager = work.pager(concurrency=6, window=60)
    await pager()
    pager.concurrency = 2
    await until(lambda: work.under_way <= 2)
    work.peak = 0
    for _ in range(20):
        await pager()
    assert work.peak == 2
    pager.concurrency = 5
    assert len(await drain(pager)) == 39
    assert work.peak == 5


async def test_whoever_clears_the_frames_of_an_error_ends_no_task() -> None:
    # The task whose job fails second goes on with the one that failed first.
    work = Work(3)
    work.failures = {1: [RuntimeError("one")], 2: [RuntimeError("two")]}
    second = work.gates[2] = asyncio.Event()
    pager = work.pager(concurrency=2, window=3, ordered=False)
    with pytest.raises(RuntimeError, match="one"):
        await pager()
    first = work.gates[1] = asyncio.Event()
    pager.concurrency = 1
    waiting = asyncio.ensure_future(pager())
    await asyncio.sleep(0)
    second.set()
    with pytest.raises(RuntimeError, match="two") as caught:
        await waiting
    assert work.started == [1, 2, 1]
    traceback.clear_frames(caught.tb)
    first.set()
    assert sorted(await drain(pager)) == [2, 4, 6]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_task_that_another_cancels_closes_the_pager_and_the_consumer_hears_of_it(
    turns: int,
) -> None:
    work = Work(9)
    tasks: list[asyncio.Task[None]] = []

    def kept(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        tasks.append(spawn(coroutine))
        return tasks[-1]

    pager = Pager(work.plan, work.fetch, kept, concurrency=3, window=9)
    work.gates[4] = asyncio.Event()
    waiting = asyncio.ensure_future(drain(pager))
    await until(lambda: len(tasks) == 3)
    for _ in range(turns):  # with none, it is cancelled before it began
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
    assert pager.closed
    await pager.aclose()
    assert not pager.running


async def test_a_task_that_is_cancelled_makes_room_for_a_job_to_be_done_again() -> None:
    work = Work(9)
    work.failures[1] = [RuntimeError("no")]
    work.gates[2] = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    def kept(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        tasks.append(spawn(coroutine))
        return tasks[-1]

    pager = Pager(work.plan, work.fetch, kept, concurrency=2, window=9)
    with pytest.raises(RuntimeError):
        await pager()
    pager.concurrency = 1
    waiting = asyncio.ensure_future(drain(pager))
    await asyncio.sleep(0)
    assert work.started == [1, 2]  # there is no place for the first
    tasks[1].cancel()
    await until(waiting.done)
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
    assert work.started == [1, 2, 1]


async def test_a_job_that_will_not_be_cancelled_is_the_last_of_its_task() -> None:
    work = Work(9)
    work.gates[1] = asyncio.Event()

    async def stubborn(job: int) -> Callable[[], int]:
        with suppress(asyncio.CancelledError):
            await work.fetch(job)
        return lambda: job

    pager = Pager(work.plan, stubborn, spawn, concurrency=1, window=9)
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    await pager.aclose()
    with pytest.raises(ClientClosed):
        await waiting
    assert work.started == [1]
    assert not pager.running


@pytest.mark.parametrize("at", [2, 3])
async def test_a_bug_in_the_plan_leaves_no_task_behind(at: int) -> None:
    # It shows when a task looks for its next job, or when that one would begin others beside it.
    work = Work(9)
    work.gates = {job: asyncio.Event() for job in range(1, 10)}
    limiter = work.gates[1]

    def broken() -> int | None:
        if work.planned >= at:
            raise ZeroDivisionError
        return work.plan() if work.finished or not work.planned else None

    pager = Pager(broken, work.fetch, spawn, concurrency=4, window=9)
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    limiter.set()
    with pytest.raises(ZeroDivisionError):
        await waiting
    await pager.aclose()
    assert work.under_way == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_is_no_exception_ends_the_task_and_reaches_the_consumer() -> None:
    class Stop(BaseException):
        pass

    async def stopping(job: int) -> Callable[[], int]:
        raise Stop(job)

    pager = Pager(Work(3).plan, stopping, spawn, concurrency=1, window=3)
    with pytest.raises(Stop):
        await pager()
    await pager.aclose()


def begun_at_once(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """A task as an eager task factory makes it, of what never waits: it has ended by now."""
    task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio, "current_task", lambda: task)
        try:
            coroutine.send(None)
        except StopIteration:
            task.set_result(None)
        except asyncio.CancelledError:
            task.cancel()
    return cast("asyncio.Task[None]", task)


@pytest.mark.parametrize("concurrency", [1, 3, 400])
async def test_tasks_that_have_ended_before_they_are_known_are_fine_as_well(
    concurrency: int,
) -> None:
    work = Work(1000)

    async def fetch(job: int) -> Callable[[], int]:
        return lambda: job

    pager = Pager(work.plan, fetch, begun_at_once, concurrency=concurrency, window=2 * concurrency)
    assert await drain(pager) == list(range(1, 1001))
    assert not pager.running


async def test_a_task_that_was_cancelled_before_it_is_known_is_an_error_not_an_end() -> None:
    async def cancelled(job: int) -> Callable[[], int]:
        raise asyncio.CancelledError

    pager = Pager(Work(3).plan, cancelled, begun_at_once, concurrency=2, window=3)
    waiting = asyncio.ensure_future(pager())
    await until(waiting.done)
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
