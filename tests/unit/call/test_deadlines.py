"""Deadlines: who is cancelled when, who is not, and what is left behind."""

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
    """Sleep so long; the time at which it ended, None if it was not let."""
    attempt = deadlines.begin()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not deadlines.end(attempt):
            raise
        return None
    assert not deadlines.end(attempt)
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_each_has_its_own_time_from_when_it_began() -> None:
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
async def test_there_is_one_timer_however_many_are_under_way_and_none_after_the_last() -> None:
    deadlines = Deadlines(10)
    attempts = [deadlines.begin() for _ in range(100)]
    assert timers() == 1
    for attempt in attempts:
        assert not deadlines.end(attempt)
    assert timers() == 0


@in_virtual_time
async def test_who_is_cancelled_besides_is_cancelled() -> None:
    deadlines = Deadlines(10)
    task = asyncio.create_task(within(deadlines, 100))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(10, task.cancel)  # in the turn in which its time is over
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timers() == 0


@in_virtual_time
async def test_a_cancellation_from_before_is_not_taken_for_ours() -> None:
    deadlines = Deadlines(10)

    async def cancelled_before() -> float | None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert await within(deadlines, 100) is None
        return task.cancelling()

    assert await asyncio.create_task(cancelled_before()) == 1  # theirs alone is left


@in_virtual_time
async def test_who_does_not_end_at_once_is_told_once_and_holds_up_nobody() -> None:
    deadlines, told = Deadlines(10), 0

    async def stubborn() -> bool:
        nonlocal told
        attempt = deadlines.begin()
        for _ in range(3):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                told += 1
        return deadlines.end(attempt)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    assert await within(deadlines, 100) is None
    assert asyncio.get_running_loop().time() == 11
    assert await within(deadlines, 100) is None
    assert asyncio.get_running_loop().time() == 21
    assert await task
    assert told == 1
