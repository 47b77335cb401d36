"""Deadlines: which tasks are cancelled, when, and that no timer is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps

import pytest

from dp_async._call.deadlines import Deadlines
from tests.support.virtual_loop import VirtualLoop, run


def in_virtual_time(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    @wraps(test)
    def running() -> None:
        run(test())

    return running


def timers() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]  # pyright: ignore


async def within(deadlines: Deadlines, seconds: float) -> float | None:
    """Sleep for *seconds*: the time at its end, None if it timed out."""
    deadline = deadlines.begin()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not deadlines.end(deadline):
            raise
        return None
    assert not deadlines.end(deadline)
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_each_attempt_has_its_own_deadline() -> None:
    deadlines, loop = Deadlines(10), asyncio.get_running_loop()
    ends: list[tuple[int, float | None, float]] = []

    async def one(number: int, start: float, seconds: float) -> None:
        await asyncio.sleep(start)
        ended = await within(deadlines, seconds)
        ends.append((number, ended, loop.time()))

    lengths = [(0, 100), (1, 5), (3, 100), (3, 100), (4, 9.5), (12, 100), (40, 100)]
    await asyncio.gather(*[one(n, start, length) for n, (start, length) in enumerate(lengths)])
    assert sorted(ends, key=lambda end: (end[2], end[0])) == [
        (1, 6.0, 6.0),
        (0, None, 10.0),
        (2, None, 13.0),
        (3, None, 13.0),
        (4, 13.5, 13.5),
        (5, None, 22.0),
        (6, None, 50.0),
    ]
    assert timers() == 0


@in_virtual_time
async def test_there_is_one_timer_for_all_attempts_and_none_after_the_last() -> None:
    deadlines = Deadlines(10)
    running = [deadlines.begin() for _ in range(100)]
    assert timers() == 1
    for deadline in running:
        assert not deadlines.end(deadline)
    assert timers() == 0


@in_virtual_time
async def test_a_task_also_cancelled_from_elsewhere_is_cancelled() -> None:
    deadlines = Deadlines(10)
    task = asyncio.create_task(within(deadlines, 100))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(10, task.cancel)  # in the loop iteration of its deadline
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timers() == 0


@in_virtual_time
async def test_an_earlier_cancellation_is_not_uncancelled() -> None:
    deadlines = Deadlines(10)

    async def cancelled_before() -> float | None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert await within(deadlines, 100) is None
        return task.cancelling()

    assert await asyncio.create_task(cancelled_before()) == 1  # the earlier one


@in_virtual_time
async def test_a_task_that_ignores_its_cancellation_is_cancelled_once() -> None:
    deadlines, cancellations = Deadlines(10), 0

    async def stubborn() -> bool:
        nonlocal cancellations
        deadline = deadlines.begin()
        for _ in range(3):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancellations += 1
        return deadlines.end(deadline)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    assert await within(deadlines, 100) is None
    assert asyncio.get_running_loop().time() == 11
    assert await within(deadlines, 100) is None
    assert asyncio.get_running_loop().time() == 21
    assert await task
    assert cancellations == 1
