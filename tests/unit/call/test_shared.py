"""A limiter in slots of a rate limiter: reserved for who waits, used on time, refusals passed on.

In virtual time, so that each wait is exact.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dp_async import ClientClosed, InProcessRateLimiter, RateLimited, Reservation, TransportError
from dp_async._call.places import Permit
from dp_async._call.shared import AHEAD, BRIEF, LATE, LONGEST, MOST, SharedLimiter, Slots
from tests.support.virtual_loop import VirtualLoop, run


class Noted(InProcessRateLimiter):
    """Notes what it is asked, and answers after *seconds*; at first with *answers*."""

    def __init__(self, rate: float = 10, *answers: Reservation, seconds: float = 0.0) -> None:
        super().__init__(rate)
        self.answers = list(answers)
        self.seconds = seconds
        self.wants: list[int] = []
        self.pauses: list[float] = []

    async def reserve(self, want: int, /) -> Reservation:
        self.wants.append(want)
        await asyncio.sleep(self.seconds)
        return self.answers.pop(0) if self.answers else await super().reserve(want)

    async def pause(self, seconds: float, /) -> None:
        self.pauses.append(seconds)
        await super().pause(seconds)


class Callers:
    """Callers of a limiter; each holds its permit for *seconds*. When they were admitted."""

    def __init__(self, shared: Any, ceiling: int = 100, *, seconds: float = 0.0, **given: Any):
        self.tasks: list[asyncio.Task[None]] = []
        self.own: set[asyncio.Task[object]] = set()  # the limiter's
        self.limiter = SharedLimiter(ceiling, rate_limiter=shared, spawn=self._spawn, **given)
        self.seconds = seconds
        self.times: list[float] = []
        self.permits: list[Permit] = []

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self.own.add(task)
        task.add_done_callback(self.own.discard)

    def start(self, count: int = 1, cap: float | None = None) -> None:
        self.tasks += [asyncio.ensure_future(self._call(cap)) for _ in range(count)]

    async def _call(self, cap: float | None) -> None:
        self.permits.append(await self.limiter.acquire("work_list", cap=cap))
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        self.limiter.release()

    async def ended(self) -> list[BaseException]:
        """Return when all callers have; their errors."""
        found = await asyncio.gather(*self.tasks, return_exceptions=True)
        return [each for each in found if each is not None]


def trial(test: Callable[[], Coroutine[object, object, None]]) -> Callable[[], None]:
    def trying() -> None:
        run(test())

    trying.__name__ = test.__name__
    return trying


def block(seconds: float) -> None:
    """As if a callback took so long: every timer due meanwhile runs after it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._jumping.now += seconds  # pyright: ignore[reportPrivateUsage]  # as its tests do


@trial
async def test_callers_are_admitted_in_the_slots_of_the_rate_limiter() -> None:
    callers = Callers(Noted(10))
    callers.start(5)
    assert not await callers.ended()
    assert callers.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert not callers.own


@trial
async def test_slots_are_reserved_for_those_that_wait_a_few_at_a_time() -> None:
    shared = Noted(1000)
    callers = Callers(shared)
    callers.start(40)
    await callers.ended()
    assert shared.wants[0] == MOST
    assert max(shared.wants) == MOST
    assert sum(shared.wants) == 40


@trial
async def test_the_next_slots_are_reserved_before_the_last_is_used() -> None:
    """An answer that takes almost as long as that costs no slot."""
    shared = Noted(500, seconds=0.9 * AHEAD)
    callers = Callers(shared)
    callers.start(1)
    await callers.ended()
    start = asyncio.get_running_loop().time()
    callers.start(60)
    await callers.ended()
    assert callers.times[-1] - start < 60 / 500 + 2 * AHEAD


@trial
async def test_where_others_hold_slots_a_reservation_is_for_those_in_flight_too() -> None:
    """It waits until they have come back, and yet no slot is left out."""
    shared = Noted(200)
    clients = [Callers(shared, seconds=0.02) for _ in range(4)]
    end = asyncio.get_running_loop().time() + 10

    async def caller(of: Callers) -> None:
        while asyncio.get_running_loop().time() < end:
            of.start()
            await of.tasks[-1]

    await asyncio.gather(*(caller(each) for each in clients for _ in range(8)))
    sent = sum(len(each.times) for each in clients)
    assert sent == pytest.approx(10 * 200, rel=0.03)
    assert sum(shared.wants) / len(shared.wants) > 6.5
    assert sum(shared.wants) == sent
    for each in clients:
        assert len(each.times) == pytest.approx(sent / 4, rel=0.05)


@pytest.mark.parametrize(
    ("paused", "seconds", "expected"),
    [
        (0.0, 60.0, LONGEST),  # the caller may come back: the next slot is reserved after a while
        (0.0, 0.001, 0.01),  # it has: at once
        (6.0, 60.0, 0.01),  # a pause is nobody's slot
    ],
)
def test_a_reservation_waits_a_little_for_a_caller_in_flight_alone(
    paused: float, seconds: float, expected: float
) -> None:
    async def main() -> None:
        shared = Noted(100, Reservation(6.0, 0.01, 1, paused), Reservation(0.01, 0.01, 3))
        callers = Callers(shared, seconds=seconds)
        callers.start()
        await asyncio.sleep(6.005)
        callers.seconds = 0.0
        callers.start(3)
        await asyncio.sleep(0.5)
        assert len(callers.times) == 4
        assert callers.times[:2] == pytest.approx([6.0, 6.0 + expected], abs=0.011)
        await callers.ended()

    run(main())


@trial
async def test_no_slot_is_reserved_for_who_cannot_be_in_flight() -> None:
    shared = Noted(100)
    callers = Callers(shared, 3, seconds=1.0)
    callers.start(7)
    await callers.ended()
    assert callers.times == pytest.approx([0, 0.01, 0.02, 1.0, 1.01, 1.02, 2.0], abs=0.011)
    assert sum(shared.wants) == 7


@trial
async def test_a_slot_is_dropped_when_it_is_late() -> None:
    shared = Noted(100)
    callers = Callers(shared)
    callers.start(10)
    await asyncio.sleep(0.005)
    assert len(callers.times) == 1
    block(3.0)
    await callers.ended()
    assert callers.times[1:] == pytest.approx([3.005 + index / 100 for index in range(9)])


@pytest.mark.parametrize(("late", "used"), [(0.9 * LATE, True), (1.1 * LATE, False)])
def test_a_slot_may_be_a_little_late(late: float, used: bool) -> None:
    async def main() -> None:
        shared = Noted(100, Reservation(0.5, 0.01, 1))
        callers = Callers(shared)
        callers.start()
        await asyncio.sleep(0.4)
        block(0.1 + late)
        await callers.ended()
        assert len(shared.wants) == (1 if used else 2)

    run(main())


def test_a_caller_that_is_resumed_after_its_slot_was_dropped_takes_no_other() -> None:
    slots = Slots(math.inf)
    slots.hold(Reservation(0.0, 1.0, 1), 0.0)
    slots.drop_late(2.0)
    slots.take_slot(2.0)
    slots.hold(Reservation(0.0, 1.0, 1), 2.0)
    assert [slot for slot, _ in slots.held] == [2.0]


def test_refusals_teach_no_pace() -> None:
    slots = Slots(math.inf)
    for _ in range(10):
        slots.accepted(0.0)
    slots.refused(0.1, 0.1)
    assert slots.learned is None


@trial
async def test_a_cancelled_caller_takes_no_slot() -> None:
    callers = Callers(Noted(10))
    callers.start(4)
    await asyncio.sleep(0.05)
    callers.tasks[1].cancel()
    callers.tasks[3].cancel()
    assert [type(error) for error in await callers.ended()] == [asyncio.CancelledError] * 2
    assert callers.times == pytest.approx([0, 0.1])
    assert callers.limiter.in_flight == 0


@trial
async def test_the_own_rate_bounds_besides() -> None:
    shared = Noted(1000)
    callers = Callers(shared, rate=10)
    callers.start(5)
    await callers.ended()
    assert callers.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=2 * AHEAD)
    assert shared.wants == [1] * 5  # no slot is reserved that others could have


@trial
async def test_no_slot_now_means_to_ask_again_after_the_wait() -> None:
    callers = Callers(Noted(10, Reservation(3.0, 0.0, 0), Reservation(0.0, 0.0, 0)))
    callers.start()
    await callers.ended()
    assert callers.times == pytest.approx([3.0], abs=3 * AHEAD)


@trial
async def test_a_refusal_is_passed_on_once() -> None:
    shared = Noted(1000)
    callers = Callers(shared, seconds=0.5)
    callers.start(6)
    await asyncio.sleep(0.2)
    limiter, permits = callers.limiter, callers.permits
    for index, permit in enumerate(permits[:3]):
        assert limiter.refused(permit, 4.0) == (index == 0)
        await asyncio.sleep(0.01)
    assert shared.pauses == [4.0]
    limiter.refused(permits[3], 60.0)  # which asks for much more
    await callers.ended()
    assert shared.pauses == [4.0, 60.0]


@trial
async def test_a_refusal_without_a_wait_is_passed_on() -> None:
    shared = Noted(1000)
    callers = Callers(shared, seconds=0.5, base=0.0)
    callers.start(8)
    await asyncio.sleep(0.2)
    for permit in callers.permits:
        callers.limiter.refused(permit, None)
    await callers.ended()
    assert shared.pauses == [BRIEF]


@trial
async def test_a_pause_of_another_client_pauses_this_one() -> None:
    shared = Noted(10)
    await shared.pause(6.0)
    callers = Callers(shared, cap=20.0)
    callers.start(2)
    callers.start(1, cap=5.0)
    await asyncio.sleep(0.1)
    assert callers.limiter.pause == pytest.approx(5.9)
    (error,) = await callers.ended()
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(6.0)
    assert callers.times == pytest.approx([6.0, 6.1])


@trial
async def test_nobody_asks_in_a_pause() -> None:
    shared = Noted(10)
    callers = Callers(shared, seconds=0.1)
    callers.start()
    await asyncio.sleep(0.05)
    callers.limiter.refused(callers.permits[0], 2.0)
    callers.start(3)
    await asyncio.sleep(1.8)
    assert shared.wants == [1]
    await callers.ended()
    assert callers.times[1] >= 2.05


@trial
async def test_a_rate_limiter_that_fails_ends_the_calls_that_wait_for_it() -> None:
    class Broken(InProcessRateLimiter):
        async def reserve(self, want: int, /) -> Reservation:
            await asyncio.sleep(1)
            asyncio.get_running_loop().call_soon(callers.tasks[1].cancel)  # when it has failed
            raise KeyError(want)

    callers = Callers(Broken(10))
    callers.start(3)
    errors = await callers.ended()
    assert [type(error) for error in errors] == [
        TransportError,
        asyncio.CancelledError,
        TransportError,
    ]
    assert isinstance(errors[0].__cause__, KeyError)
    assert errors[0] is not errors[2]
    assert callers.limiter.in_flight == 0
    callers.start()  # which asks again
    assert len(await callers.ended()) == 4


@trial
async def test_closing_ends_those_that_wait_and_asks_nothing_any_more() -> None:
    shared = Noted(1)
    callers = Callers(shared, seconds=5.0)
    callers.start(3)
    await asyncio.sleep(0.5)
    callers.limiter.close()
    callers.limiter.refused(callers.permits[0], 1.0)
    assert [type(error) for error in await callers.ended()] == [ClientClosed] * 2
    assert not callers.own
    assert not shared.pauses
