"""Permits bound what is under way and always come back; turns are even; the deadline is ours."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_async import AttemptTimeout, Request, Response, Send, TransportError
from dp_async._limits import Pace, limited
from dp_async._report import Tally
from tests.scripted import until
from tests.unit.given import REQUEST

GOOD = Response(status=200)


class Gate:
    """A send that waits until it is opened, and knows how many are inside."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = self.most = 0

    async def __call__(self, request: Request, /) -> Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
        return GOOD


@pytest.fixture
async def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Moves the loop's clock forward; what is due then has run on return."""
    loop = asyncio.get_running_loop()
    real = loop.time
    ahead = 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + ahead)

    async def jumping(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds
        due = asyncio.Event()
        loop.call_later(0, due.set)
        await due.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    return jumping


def permits(count: int) -> anyio.Semaphore:
    return anyio.Semaphore(count, fast_acquire=True)


async def test_no_more_are_under_way_than_there_are_permits() -> None:
    gate, tally = Gate(), Tally()
    send = limited(gate, permits(3), 30.0, tally)
    tasks = [asyncio.create_task(send(REQUEST)) for _ in range(10)]
    await until(lambda: gate.inside == 3)
    assert (tally.requests, tally.in_flight) == (3, 3)
    gate.open.set()
    assert await asyncio.gather(*tasks) == [GOOD] * 10
    assert gate.most == 3
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (10, 0, 3)


async def failing(request: Request, /) -> Response:
    raise TransportError("gone")


async def cancelling(request: Request, /) -> Response:
    raise asyncio.CancelledError


async def timing_out(request: Request, /) -> Response:
    raise TimeoutError("the inner one's own")


@pytest.mark.parametrize(
    ("send", "error"),
    [
        (failing, TransportError),
        (cancelling, asyncio.CancelledError),
        (timing_out, TimeoutError),
    ],
)
async def test_a_permit_comes_back_after_an_error_which_is_not_changed(
    send: Send, error: type[BaseException]
) -> None:
    semaphore, tally = permits(1), Tally()
    sending = limited(send, semaphore, 30.0, tally)
    for _ in range(3):
        with pytest.raises(error) as caught:
            await sending(REQUEST)
        assert type(caught.value) is error
        assert (semaphore.value, tally.in_flight) == (1, 0)
    assert tally.requests == 3


async def test_an_attempt_ends_when_its_time_is_up(
    jump: Callable[[float], Awaitable[None]],
) -> None:
    gate, semaphore, tally = Gate(), permits(1), Tally()
    task = asyncio.create_task(limited(gate, semaphore, 30.0, tally)(REQUEST))
    await until(lambda: gate.inside == 1)
    await jump(29.0)
    assert not task.done()
    await jump(2.0)
    with pytest.raises(AttemptTimeout) as caught:
        await task
    assert str(caught.value) == (
        "work_list: no whole answer within 30 s; the setting timeout is for one attempt"
    )
    assert caught.value.endpoint == "work_list"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert (gate.inside, semaphore.value, tally.in_flight) == (0, 1, 0)


async def test_the_time_starts_with_the_permit(jump: Callable[[float], Awaitable[None]]) -> None:
    gate, semaphore = Gate(), permits(1)
    semaphore.acquire_nowait()
    task = asyncio.create_task(limited(gate, semaphore, 30.0, Tally())(REQUEST))
    await until(lambda: semaphore.statistics().tasks_waiting == 1)
    await jump(3600.0)
    semaphore.release()
    await until(lambda: gate.inside == 1)
    gate.open.set()
    assert await task is GOOD


@pytest.mark.parametrize("held", [True, False])
async def test_a_cancellation_is_a_cancellation_wherever_it_comes(held: bool) -> None:
    gate, semaphore, tally = Gate(), permits(1), Tally()
    if held:
        semaphore.acquire_nowait()
    task = asyncio.create_task(limited(gate, semaphore, 30.0, tally)(REQUEST))
    await until(lambda: semaphore.statistics().tasks_waiting == 1 if held else gate.inside == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if held:
        semaphore.release()
    assert (gate.inside, semaphore.value, tally.in_flight) == (0, 1, 0)
    assert tally.requests == (0 if held else 1)


async def test_a_send_that_turns_our_cancellation_into_its_timeout_is_timed_out_by_us(
    jump: Callable[[float], Awaitable[None]],
) -> None:
    entered = asyncio.Event()

    async def converting(request: Request, /) -> Response:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TimeoutError from None
        raise AssertionError

    task = asyncio.create_task(limited(converting, permits(1), 30.0, Tally())(REQUEST))
    await entered.wait()
    await jump(31.0)
    with pytest.raises(AttemptTimeout):
        await task


class Time:
    """A clock that moves by sleeping, each time later than asked by the next of *late*."""

    def __init__(self, *late: float) -> None:
        self.now = 1000.0
        self.late = list(late)
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, wait: float) -> None:
        self.waits.append(wait)
        self.now += wait + (self.late.pop(0) if self.late else 0.0)

    async def turns(self, pace: Pace, count: int) -> list[float]:
        """When, since the start, each of *count* turns came."""
        times: list[float] = []
        for _ in range(count):
            await pace.turn()
            times.append(self.now - 1000.0)
        return times


async def test_turns_are_even() -> None:
    time = Time()
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    assert await time.turns(pace, 6) == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]


async def test_who_was_idle_gets_no_burst() -> None:
    time = Time()
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    await pace.turn()
    time.now += 3600
    assert await time.turns(pace, 4) == [3600.0, 3600.0, 3600.25, 3600.5]


async def test_a_late_turn_does_not_slow_the_next() -> None:
    time = Time(0.1, 0.0, 0.2)
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    times = await time.turns(pace, 5)
    assert times == pytest.approx([0.0, 0.0, 0.35, 0.5, 0.95])


async def test_a_turn_is_not_early_when_the_sleep_is() -> None:
    time = Time(-0.2)
    pace = Pace(4, clock=time.clock, sleep=time.sleep)
    assert await time.turns(pace, 3) == pytest.approx([0.0, 0.0, 0.25])
    assert time.waits == pytest.approx([0.25, 0.2])


@settings(deadline=None)
@given(
    st.floats(0.1, 50),
    st.lists(st.floats(0, 3) | st.floats(0, 0.01), max_size=200),
    st.lists(st.floats(0, 2), max_size=20),
)
def test_no_second_holds_more_than_the_rate_and_one(
    rate: float, late: list[float], idle: list[float]
) -> None:
    time = Time(*late)
    pace = Pace(rate, clock=time.clock, sleep=time.sleep)
    times: list[float] = []

    async def work() -> None:
        for pause in idle + [0.0] * 200:
            time.now += pause
            await pace.turn()
            times.append(time.now)

    asyncio.run(work())
    most = math.ceil(rate) + 1
    for first, last in zip(times, times[most:], strict=False):
        assert last - first > 1 - 1e-6


async def test_turns_are_first_come_first_served_and_a_cancelled_one_is_not_taken() -> None:
    now, asked, order = 0.0, asyncio.Event(), list[int]()
    wake = asyncio.Event()

    async def sleep(wait: float) -> None:
        nonlocal now
        asked.set()
        await wake.wait()
        now += wait

    pace = Pace(1, clock=lambda: now, sleep=sleep)

    async def taking(number: int) -> None:
        await pace.turn()
        order.append(number)

    await pace.turn()
    tasks = [asyncio.create_task(taking(number)) for number in range(5)]
    await asked.wait()
    tasks[0].cancel()  # the one that sleeps
    tasks[3].cancel()  # one in the queue
    wake.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [1, 2, 4]
    assert now == 3.0


async def test_the_pace_is_kept_under_a_permit_and_outside_the_deadline() -> None:
    time, tally = Time(), Tally()
    seen: list[float] = []

    async def send(request: Request, /) -> Response:
        seen.append(time.now - 1000.0)
        assert tally.in_flight == 1
        return GOOD

    pace = Pace(0.01, clock=time.clock, sleep=time.sleep)
    sending = limited(send, permits(1), 30.0, tally, pace)
    for _ in range(4):
        assert await sending(REQUEST) is GOOD
    assert seen == [0.0, 0.0, 100.0, 200.0]
