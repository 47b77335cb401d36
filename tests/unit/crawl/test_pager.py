"""The pager: order, window, concurrency, errors, closing. Jobs are numbers, results doubled."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise, product
from typing import Any, cast

import pytest

from dp_async import ClientClosed, ConfigError
from dp_async._crawl.pager import AT_ONCE, Pager, ended
from tests.support.fake_server import until


class Work:
    """Jobs 1 to *count*; each waits for its event if one is set, and may fail first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.planned = self.finished = 0
        self.started: list[int] = []
        self.under_way = self.peak = 0
        self.events: dict[int, asyncio.Event] = {}
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
            if job in self.events:
                await self.events[job].wait()
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


async def drain_failing(pager: Pager[int, int], iterations: int = 0) -> tuple[list[int], int]:
    """All results, and the number of errors before them; *iterations* of the loop after each."""
    results: list[int] = []
    failures = 0
    while True:
        try:
            result = await pager()
        except (RuntimeError, ValueError):
            failures += 1
        else:
            if result is None:
                return results, failures
            results.append(result)
        for _ in range(iterations):
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("concurrency", "window"), [(1, 1), (1, 200), (2, 3), (7, 3), (7, 200), (64, 1), (64, 200)]
)
async def test_results_come_in_order_within_the_bounds(concurrency: int, window: int) -> None:
    work = Work(50)
    results = await drain(work.pager(concurrency, window))
    assert results == [2 * job for job in range(1, 51)]
    assert work.peak <= min(concurrency, window)


async def test_the_end_comes_after_the_last_job_in_every_interleaving() -> None:
    async def main(iterations: int, suspends: int, concurrency: int, ordered: bool) -> None:
        async def fetch(job: int) -> Callable[[], int]:
            for _ in range(suspends):
                await asyncio.sleep(0)
            return lambda: job

        pager = Pager(
            Work(20).plan,
            fetch,
            spawn,
            concurrency=concurrency,
            window=2 * concurrency,
            ordered=ordered,
        )
        results: list[int] = []
        while (result := await pager()) is not None:
            results.append(result)
            for _ in range(iterations):  # of the loop, until the consumer is back
                await asyncio.sleep(0)
        assert sorted(results) == list(range(1, 21))

    for case in product(range(6), range(3), (1, 2, 8), (True, False)):
        await main(*case)


async def test_nothing_starts_before_the_first_call() -> None:
    work = Work(3)
    pager = work.pager()
    await asyncio.sleep(0)
    assert work.planned == 0
    assert not pager.running


async def test_the_window_fills_while_the_first_job_is_slow() -> None:
    work = Work(50)
    slow = work.events[1] = asyncio.Event()
    pager = work.pager(concurrency=3, window=6)
    first = asyncio.ensure_future(pager())
    await until(lambda: len(work.started) == 6 and work.under_way == 1)
    slow.set()
    assert await first == 2
    await until(lambda: len(work.started) == 7)  # while the consumer is busy
    await pager.aclose()


async def test_unordered_results_do_not_wait_for_a_slow_job() -> None:
    work = Work(5)
    slow = work.events[1] = asyncio.Event()
    pager = work.pager(ordered=False)
    assert [await pager() for _ in range(4)] == [4, 6, 8, 10]
    slow.set()
    assert await pager() == 2
    assert await pager() is None


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_is_raised_once_and_the_job_done_again(ordered: bool) -> None:
    work = Work(6)
    work.failures[3] = [RuntimeError("no")]
    results, failures = await drain_failing(work.pager(ordered=ordered))
    assert failures == 1
    assert sorted(results) == [2, 4, 6, 8, 10, 12]
    assert not ordered or results == sorted(results)
    assert sorted(work.started) == [1, 2, 3, 3, 4, 5, 6]


async def test_no_new_job_starts_until_the_consumer_has_seen_the_error() -> None:
    work = Work(50)
    work.failures[1] = [RuntimeError("no")]
    slow = work.events[2] = asyncio.Event()
    pager = work.pager(concurrency=2, window=50)
    waiting = asyncio.ensure_future(pager())
    await until(waiting.done)
    slow.set()
    await until(lambda: work.under_way == 0)
    assert work.started == [1, 2]
    with pytest.raises(RuntimeError):
        await waiting
    assert len(await drain(pager)) == 50


async def test_two_failures_are_raised_one_by_one() -> None:
    work = Work(6)
    work.failures = {1: [RuntimeError("one")], 2: [RuntimeError("two")]}
    slow = work.events[2] = asyncio.Event()
    pager = work.pager(concurrency=2)
    with pytest.raises(RuntimeError, match="one"):
        await pager()
    slow.set()
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
    slow = work.events[1] = asyncio.Event()
    pager = work.pager()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pager(), 0)
    slow.set()
    assert await drain(pager) == [2, 4, 6, 8]
    assert sorted(work.started) == [1, 2, 3, 4]


async def test_closing_while_a_call_waits_is_an_error_not_an_end() -> None:
    work = Work(4)
    work.events[1] = asyncio.Event()
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
    work.events[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    for task in asyncio.all_tasks() - {waiting, asyncio.current_task()}:
        task.cancel()
    with pytest.raises(ClientClosed):
        await waiting


async def test_two_consumers_are_refused() -> None:
    work = Work(4)
    slow = work.events[1] = asyncio.Event()
    pager = work.pager()
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    with pytest.raises(ConfigError, match="one consumer"):
        await pager()
    slow.set()
    assert await waiting == 2
    await pager.aclose()


async def test_a_plan_may_have_nothing_now_and_more_after_the_next_result() -> None:
    work = Work(6)

    def one_by_one() -> int | None:
        return work.plan() if work.planned == work.finished else None

    pager = Pager(one_by_one, work.fetch, spawn, concurrency=4, window=8)
    assert await drain(pager) == [2, 4, 6, 8, 10, 12]
    assert work.peak == 1


async def test_others_run_after_a_few_results_that_were_ready() -> None:
    work = Work(40)
    work.events[1] = asyncio.Event()
    pager = work.pager(concurrency=40, window=40)
    first = asyncio.create_task(pager())
    await until(lambda: work.finished == 39)
    work.events[1].set()
    taken = [await first]
    ran: list[int] = []

    def run() -> None:
        ran.append(len(taken))
        if len(taken) < 40:
            asyncio.get_running_loop().call_soon(run)

    run()
    while (result := await pager()) is not None:
        taken.append(result)
    assert taken == [2 * job for job in range(1, 41)]
    assert max(after - before for before, after in pairwise(ran)) <= AT_ONCE


async def test_ended_waits_through_a_cancellation_and_then_raises_it() -> None:
    slow = asyncio.Event()
    stubborn = asyncio.ensure_future(slow.wait())
    waiting = asyncio.ensure_future(ended([stubborn]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    slow.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stubborn.done()


async def test_a_job_that_fails_costs_no_other_in_any_interleaving() -> None:
    # The consumer, woken by the job before, may see the failure before the pager itself does.
    async def main(iterations: int, ordered: bool) -> None:
        work = Work(12)
        work.failures[3] = [ValueError("once")]

        async def fetch(job: int) -> Callable[[], int]:
            for _ in range(iterations if job == 3 else 0):
                await asyncio.sleep(0)
            return await work.fetch(job)

        pager = Pager(work.plan, fetch, spawn, concurrency=3, window=6, ordered=ordered)
        results, failures = await drain_failing(pager)
        assert sorted(results) == [2 * job for job in range(1, 13)]
        assert failures == 1

    for case in product(range(8), (True, False)):
        await main(*case)


async def test_concurrency_and_window_can_be_changed_at_any_time() -> None:
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


# When a result is built


class Built:
    """A pager of *work*; *built* lists the jobs whose results it has built, *bad* ones fail."""

    def __init__(self, work: Work, **how: Any) -> None:
        self.built: list[int] = []
        self.bad: list[int] = []
        self.work = work
        self.pager: Pager[int, int] = Pager(work.plan, self.fetch, spawn, **how)

    async def fetch(self, job: int) -> Callable[[], int]:
        result = await self.work.fetch(job)
        return lambda: self.build(job, result())

    def build(self, job: int, result: int) -> int:
        self.built.append(job)
        if job in self.bad:
            self.bad.remove(job)
            raise ValueError(job)
        return result


async def test_the_result_the_consumer_waits_for_is_built_just_before_delivery() -> None:
    work = Work(6)
    built = Built(work, concurrency=6, window=6)
    slow = [work.events.setdefault(job, asyncio.Event()) for job in range(1, 7)]
    first = asyncio.ensure_future(built.pager())
    await until(lambda: work.under_way == 6)
    for event in slow:
        event.set()
    assert await first == 2
    # All came in one iteration of the loop, and the consumer was about to run.
    assert built.built == [1]
    assert await built.pager() == 4
    assert built.built == [1, 2]


async def test_results_that_come_early_or_out_of_order_are_built_at_once() -> None:
    work = Work(6)
    built = Built(work, concurrency=3, window=6)
    first = work.events[1] = asyncio.Event()
    waiting = asyncio.ensure_future(built.pager())
    await until(lambda: work.finished == 5)
    await until(lambda: built.built == [2, 3, 4, 5, 6])
    first.set()
    assert await waiting == 2
    assert await drain(built.pager) == [4, 6, 8, 10, 12]
    assert sorted(built.built) == [1, 2, 3, 4, 5, 6]


async def test_results_that_come_while_the_consumer_is_busy_are_built_at_once() -> None:
    work = Work(3)
    built = Built(work, concurrency=3, window=3)
    slow = work.events[2] = asyncio.Event()
    assert await built.pager() == 2
    slow.set()
    await until(lambda: work.finished == 3)
    await until(lambda: sorted(built.built) == [1, 2, 3])


async def test_an_unordered_result_is_built_when_a_waiting_consumer_takes_it() -> None:
    work = Work(3)
    built = Built(work, concurrency=3, window=3, ordered=False)
    slow = work.events[1] = asyncio.Event()
    assert await built.pager() == 4
    assert built.built == [2]
    slow.set()
    assert sorted(await drain(built.pager)) == [2, 6]


async def test_a_result_that_cannot_be_built_is_an_error_and_its_job_is_done_again() -> None:
    async def main(iterations: int, concurrency: int, ordered: bool) -> None:
        work = Work(6)
        built = Built(work, concurrency=concurrency, window=6, ordered=ordered)
        built.bad = [1, 3, 6]
        results, failures = await drain_failing(built.pager, iterations)
        assert sorted(results) == [2, 4, 6, 8, 10, 12]
        assert not ordered or results == sorted(results)
        assert failures == 3
        assert not built.bad
        assert sorted(work.started) == [1, 1, 2, 3, 3, 4, 5, 6, 6]

    for case in product((0, 2), (1, 3, 6), (True, False)):
        await main(*case)


async def test_an_interrupt_while_a_result_is_built_loses_no_result() -> None:
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


# Workers


async def test_a_worker_does_one_job_after_another() -> None:
    work = Work(50)
    spawned: list[asyncio.Task[None]] = []

    def counting(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        spawned.append(spawn(coroutine))
        return spawned[-1]

    pager = Pager(work.plan, work.fetch, counting, concurrency=4, window=50)
    assert len(await drain(pager)) == 50
    assert len(spawned) == 4


async def test_workers_end_with_less_concurrency_and_start_with_more() -> None:
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


async def test_clearing_the_frames_of_an_error_ends_no_worker() -> None:
    # The worker whose job fails second goes on with the job that failed first.
    work = Work(3)
    work.failures = {1: [RuntimeError("one")], 2: [RuntimeError("two")]}
    second = work.events[2] = asyncio.Event()
    pager = work.pager(concurrency=2, window=3, ordered=False)
    with pytest.raises(RuntimeError, match="one"):
        await pager()
    first = work.events[1] = asyncio.Event()
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


@pytest.mark.parametrize("iterations", [0, 1, 2, 3])
async def test_a_cancelled_worker_closes_the_pager_and_is_an_error(
    iterations: int,
) -> None:
    work = Work(9)
    tasks: list[asyncio.Task[None]] = []

    def kept(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        tasks.append(spawn(coroutine))
        return tasks[-1]

    pager = Pager(work.plan, work.fetch, kept, concurrency=3, window=9)
    work.events[4] = asyncio.Event()
    waiting = asyncio.ensure_future(drain(pager))
    await until(lambda: len(tasks) == 3)
    for _ in range(iterations):  # with 0, it is cancelled before it began
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
    assert pager.closed
    await pager.aclose()
    assert not pager.running


async def test_a_cancelled_worker_frees_its_place_for_a_failed_job() -> None:
    work = Work(9)
    work.failures[1] = [RuntimeError("no")]
    work.events[2] = asyncio.Event()
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
    assert work.started == [1, 2]  # there is no worker for the first
    tasks[1].cancel()
    await until(waiting.done)
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
    assert work.started == [1, 2, 1]


async def test_a_job_that_ignores_cancellation_is_the_last_of_its_worker() -> None:
    work = Work(9)
    end = asyncio.Event()
    work.events[1] = asyncio.Event()

    async def stubborn(job: int) -> Callable[[], int]:
        with suppress(asyncio.CancelledError):
            await work.fetch(job)
        await end.wait()
        return lambda: job

    pager = Pager(work.plan, stubborn, spawn, concurrency=1, window=9)
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    closing = asyncio.ensure_future(pager.aclose())
    await until(waiting.done)
    assert not closing.done()
    end.set()
    await closing
    with pytest.raises(ClientClosed):
        await waiting
    assert work.started == [1]
    assert not pager.running


@pytest.mark.parametrize("at", [2, 3])
async def test_a_bug_in_the_plan_leaves_no_task_behind(at: int) -> None:
    # It shows when a worker takes its next job, or when it would then start other workers.
    work = Work(9)
    work.events = {job: asyncio.Event() for job in range(1, 10)}
    slow = work.events[1]
    bugs = [ZeroDivisionError()]

    def broken() -> int | None:
        if work.planned >= at and bugs:
            raise bugs.pop()
        return work.plan() if work.finished or not work.planned else None

    pager = Pager(broken, work.fetch, spawn, concurrency=4, window=9)
    waiting = asyncio.ensure_future(pager())
    await until(lambda: work.under_way == 1)
    slow.set()
    with pytest.raises(ZeroDivisionError):
        await waiting
    await pager.aclose()
    assert work.under_way == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_interrupt_in_a_job_ends_the_worker_and_reaches_the_consumer() -> None:
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
async def test_eager_workers_that_end_at_once_do_all_jobs(
    concurrency: int,
) -> None:
    work = Work(1000)

    async def fetch(job: int) -> Callable[[], int]:
        return lambda: job

    pager = Pager(work.plan, fetch, begun_at_once, concurrency=concurrency, window=2 * concurrency)
    assert await drain(pager) == list(range(1, 1001))
    assert not pager.running


async def test_an_eager_worker_that_is_cancelled_at_once_is_an_error_not_an_end() -> None:
    async def cancelled(job: int) -> Callable[[], int]:
        raise asyncio.CancelledError

    pager = Pager(Work(3).plan, cancelled, begun_at_once, concurrency=2, window=3)
    waiting = asyncio.ensure_future(pager())
    await until(waiting.done)
    with pytest.raises(ClientClosed, match="cancelled from outside"):
        await waiting
