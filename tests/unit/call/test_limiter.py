"""The limiter: concurrency, rate and the pause after a refusal hold for any order of calls.

All in virtual time, so that each wait is exact. The rate itself is tested in ``test_pace``.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVarTuple

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_async import ClientClosed, RateLimited
from dp_async._call.limiter import Limiter
from dp_async._call.places import START, Permit
from tests.support.virtual_loop import VirtualLoop

P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

ROUNDING = 1e-9


class Loop(VirtualLoop):
    """Knows its timers, and can be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[asyncio.TimerHandle] = []
        self.kept: list[asyncio.Task[None]] = []  # else a task that waits may be collected

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self._timers.append(timer)
        return timer

    @property
    def timers(self) -> int:
        """How many timers are still to come."""
        self._timers = [
            timer
            for timer in self._timers
            if not timer.cancelled() and timer.when() > self.time() + ROUNDING
        ]
        return len(self._timers)

    def block(self, seconds: float) -> None:
        """As if a callback took so long: every timer due meanwhile runs after it."""
        self._jumping.now += seconds


def loop() -> Loop:
    running = asyncio.get_running_loop()
    assert isinstance(running, Loop)
    return running


def in_virtual_time(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """*test* in a loop of its own; fails if an exception is never retrieved."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        noise: list[dict[str, Any]] = []
        gc.freeze()  # then a whole collection looks at what this test has made, and takes no time
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.get_loop().set_exception_handler(lambda _, context: noise.append(context))
                runner.run(test(*args, **kwargs))
            gc.collect()
        finally:
            gc.unfreeze()
        assert not noise

    return wrapped


async def run_due() -> None:
    """Return when all callbacks that are due have run, with no time passing."""
    for _ in range(8):
        await asyncio.sleep(0)


def no_jitter() -> float:
    return 0.0


class Callers:
    """Tasks that acquire a limiter, by number: which are in flight, admitted when, in what order.

    ``in_flight`` maps each to its permit.
    """

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.tasks: list[asyncio.Task[None]] = []
        self.in_flight: dict[int, Permit] = {}
        self.order: list[int] = []
        self.times: list[float] = []

    def start(self, count: int = 1, *, first: bool = False, cap: float | None = None) -> None:
        for _ in range(count):
            task = asyncio.create_task(self._acquire(len(self.tasks), first, cap))
            self.tasks.append(task)
            loop().kept.append(task)

    async def _acquire(self, number: int, first: bool, cap: float | None) -> None:
        self.in_flight[number] = await self.limiter.acquire("work_list", first=first, cap=cap)
        self.order.append(number)
        self.times.append(self.limiter.clock())

    def release(self, *numbers: int) -> None:
        """They end without an outcome, as if cancelled."""
        for number in numbers:
            del self.in_flight[number]
            self.limiter.release()

    def succeed(self, *numbers: int, good: bool = True) -> None:
        """They are answered, and not refused."""
        for number in numbers:
            self.limiter.passed(self.in_flight[number], good=good)
            self.release(number)

    def refuse(self, number: int, retry_after: float | None = None) -> bool:
        """It is refused. True if this is the first refusal of its generation."""
        first = self.limiter.refused(self.in_flight[number], retry_after)
        self.release(number)
        return first

    async def succeed_all(self) -> None:
        """Every caller is admitted sooner or later, and succeeds."""
        while not all(task.done() for task in self.tasks):
            self.succeed(*self.in_flight)
            await asyncio.sleep(0.02)
        self.succeed(*self.in_flight)
        assert self.limiter.in_flight == 0


async def started(limiter: Limiter, count: int) -> Callers:
    """*count* callers, as many of them admitted as may be."""
    callers = Callers(limiter)
    callers.start(count)
    await run_due()
    return callers


def error_of(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


# Concurrency


@in_virtual_time
async def test_concurrency_is_limited_first_come_first_served() -> None:
    limiter = Limiter(3)
    callers = await started(limiter, 10)
    assert (callers.order, limiter.in_flight) == ([0, 1, 2], 3)
    callers.succeed(1)
    await run_due()
    assert (callers.order, limiter.in_flight) == ([0, 1, 2, 3], 3)
    await callers.succeed_all()
    assert callers.order == list(range(10))


@in_virtual_time
async def test_a_retry_goes_first() -> None:
    callers = await started(Limiter(1), 4)
    callers.start(first=True)
    await run_due()
    await callers.succeed_all()
    assert callers.order == [0, 4, 1, 2, 3]


@in_virtual_time
async def test_a_free_permit_is_taken_without_a_loop_iteration() -> None:
    limiter = Limiter(2)
    acquiring = limiter.acquire()
    with pytest.raises(StopIteration):
        acquiring.send(None)
    assert limiter.in_flight == 1


@in_virtual_time
async def test_a_new_caller_does_not_overtake_a_waiter() -> None:
    callers = await started(Limiter(1), 2)
    callers.release(0)
    callers.start()
    await run_due()
    assert callers.order == [0, 1]


@in_virtual_time
async def test_a_cancelled_waiter_takes_no_permit() -> None:
    callers = await started(Limiter(1), 5)
    for number in (1, 3):
        callers.tasks[number].cancel()
    callers.release(0)  # in the same loop iteration: the first waiter is gone
    await run_due()
    assert callers.order == [0, 2]
    await callers.succeed_all()
    assert callers.order == [0, 2, 4]


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_a_caller_cancelled_just_after_it_was_admitted_frees_its_permit(
    rate: float | None,
) -> None:
    limiter = Limiter(1, rate=rate)
    callers = await started(limiter, 3)
    await asyncio.sleep(10)
    callers.release(0)
    assert limiter.in_flight == 1  # the next caller has it, and has not resumed yet
    callers.tasks[1].cancel()
    await run_due()
    assert callers.tasks[1].cancelled()
    assert callers.order == [0, 2]
    await callers.succeed_all()


@in_virtual_time
async def test_the_limit_can_be_set_and_is_rounded_down() -> None:
    limiter = Limiter(8)
    limiter.limit = 2.9
    callers = await started(limiter, 12)
    assert limiter.in_flight == 2
    limiter.limit = 5
    limiter.wake()
    await run_due()
    assert limiter.in_flight == 5
    limiter.limit = 1
    callers.release(0, 1, 2, 3)
    await run_due()
    assert callers.order == [0, 1, 2, 3, 4]
    callers.release(4)
    await run_due()
    assert callers.order == [0, 1, 2, 3, 4, 5]


# Rate


def test_uvloop_s_timers_of_less_than_half_a_millisecond_do_not_know_their_time() -> None:
    async def main() -> None:
        limiter = Limiter(8, rate=5000.0)
        await asyncio.gather(*(limiter.acquire() for _ in range(8)))
        assert limiter.in_flight == 8

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@in_virtual_time
async def test_a_rate_spaces_the_callers_and_only_a_timer_s_lateness_is_caught_up() -> None:
    callers = await started(Limiter(100, rate=4), 6)
    assert callers.times == [0.0]
    await asyncio.sleep(0.3)
    assert callers.times == [0.0, 0.25]
    loop().block(10.0)
    await asyncio.sleep(1)
    assert callers.times == pytest.approx([0.0, 0.25, 10.3, 10.549, 10.798, 11.047])


@in_virtual_time
async def test_a_cancelled_waiter_takes_no_slot() -> None:
    callers = await started(Limiter(100, rate=1), 6)
    callers.tasks[1].cancel()  # the one with the next slot
    callers.tasks[4].cancel()
    await asyncio.sleep(10)
    assert callers.order == [0, 2, 3, 5]
    assert callers.times == [0.0, 1.0, 2.0, 3.0]


@in_virtual_time
async def test_the_slot_counts_from_when_the_caller_resumes() -> None:
    callers = await started(Limiter(100, rate=5), 2)
    loop().call_at(0.2 + ROUNDING / 10, loop().block, 0.25)  # just after the second is admitted
    await asyncio.sleep(0.3)
    callers.start(3)
    await asyncio.sleep(10)
    assert callers.times == pytest.approx([0.0, 0.45, 0.649, 0.848, 1.047])


# The pause after a refusal


@in_virtual_time
async def test_a_refusal_pauses_all_calls_for_retry_after_and_jitter() -> None:
    callers = await started(Limiter(4, base=1.0, cap=20.0, jitter=lambda: 0.5), 6)
    assert callers.refuse(0, 7.0)
    callers.succeed(1, 2, 3)
    callers.start(3)
    callers.start(first=True)
    await callers.succeed_all()
    assert callers.times[4] == 7.35
    assert callers.order == [0, 1, 2, 3, 9, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_a_caller_admitted_just_before_a_refusal_waits_too(rate: float | None) -> None:
    callers = await started(Limiter(2, rate=rate, jitter=no_jitter), 4)
    await asyncio.sleep(10)
    callers.release(1)
    callers.refuse(0, 5.0)  # in the loop iteration in which the next were admitted
    await asyncio.sleep(4.9)
    assert callers.order == [0, 1]
    await asyncio.sleep(0.2)
    assert len(callers.order) == 3  # the probe
    await callers.succeed_all()


@pytest.mark.parametrize(("released", "retry_after"), [(1, 5.0), (3, 0.0)])
@in_virtual_time
async def test_a_caller_that_has_to_wait_again_keeps_its_place(
    released: int, retry_after: float
) -> None:
    callers = await started(Limiter(released + 1, jitter=no_jitter), 10)
    callers.release(*range(released))
    callers.refuse(released, retry_after)
    await run_due()
    await callers.succeed_all()
    assert callers.order == list(range(10))


@in_virtual_time
async def test_a_caller_admitted_before_a_refusal_and_cancelled_frees_its_permit() -> None:
    limiter = Limiter(2, jitter=no_jitter)
    callers = await started(limiter, 5)
    callers.release(1)
    callers.refuse(0, 5.0)
    callers.tasks[2].cancel()
    await run_due()
    assert limiter.in_flight == 0
    await callers.succeed_all()
    assert sorted(callers.order) == [0, 1, 3, 4]


# What a refusal teaches


@in_virtual_time
async def test_nothing_is_sent_until_it_is_known_what_explains_a_refusal() -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 40)
    callers.refuse(3)  # eleven are in flight, and two of them may take long
    callers.succeed(*range(3), *range(4, 9))
    await run_due()
    assert (len(callers.order), limiter.limit) == (12, 0)
    callers.succeed(9)
    await run_due()
    assert len(callers.order) > 12


@pytest.mark.parametrize(
    ("missing", "retry_after", "waited"),
    [(2, None, 0.0), (2, 1.0, 1.0), (3, None, 5.0), (6, 1.0, 5.0), (6, 9.0, 9.0)],
)
@in_virtual_time
async def test_answers_that_never_come_stop_the_others_for_some_seconds_at_most(
    missing: int, retry_after: float | None, waited: float
) -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 40)
    callers.refuse(11, retry_after)
    callers.succeed(*range(11 - missing))
    for number in range(11 - missing, 11):  # a deadline ends them much later
        loop().call_later(30, callers.release, number)
    while len(callers.order) == 12:
        await asyncio.sleep(0.5)
    assert loop().time() == pytest.approx(waited, abs=0.6)


@in_virtual_time
async def test_one_refusal_among_many_good_answers_changes_nothing() -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 400)
    for _ in range(10):
        callers.succeed(*callers.in_flight)
        await asyncio.sleep(0.05)
    callers.refuse(min(callers.in_flight))
    callers.succeed(*callers.in_flight)
    await run_due()
    assert (limiter.in_flight, limiter.limit, limiter.pace.learned) == (12, 12, None)


@in_virtual_time
async def test_a_server_that_takes_eight_at_once_gets_eight() -> None:
    limiter = Limiter(64, jitter=no_jitter)
    callers = await started(limiter, 1000)
    rounds: list[int] = []
    for _ in range(60):
        await asyncio.sleep(0.05)
        flying = list(callers.in_flight)
        rounds.append(len(flying))
        callers.succeed(*flying[:8])
        await run_due()
        for number in flying[8:]:
            callers.refuse(number)
        await run_due()
    assert rounds[0] == START
    assert {*rounds[5:]} == {8, 9}  # one more is tried from time to time
    assert rounds[5:].count(9) <= 3  # after a second, then after twice as long
    assert limiter.pace.learned is None


@in_virtual_time
async def test_a_server_that_takes_four_at_once_instead_of_many_gets_four() -> None:
    limiter = Limiter(64, jitter=no_jitter)
    callers = await started(limiter, 4000)
    rounds: list[int] = []
    for number in range(200):
        await asyncio.sleep(0.05)
        flying = list(callers.in_flight)
        rounds.append(len(flying))
        room = 64 if number < 40 else 4
        callers.succeed(*flying[:room])
        await run_due()
        for caller in flying[room:]:
            callers.refuse(caller)
        await run_due()
    assert max(rounds[:40]) == 64
    assert {*rounds[100:]} <= {4, 5}  # slower was no help, so that it is the number
    assert rounds[100:].count(5) <= 4


@in_virtual_time
async def test_a_server_that_takes_twenty_a_second_gets_about_twenty() -> None:
    limiter = Limiter(8, jitter=lambda: 0.5)
    callers = await started(limiter, 1000)
    accepted: list[float] = []
    refused = 0
    for _ in range(400):
        await asyncio.sleep(0.05)
        now = limiter.clock()
        for number in list(callers.in_flight):
            if len([each for each in accepted if each > now - 1]) < 20:
                accepted.append(now)
                callers.succeed(number)
            else:
                refused += 1
                callers.refuse(number)
        await run_due()
    assert len(accepted) > 0.85 * 20 * 20
    assert refused < 0.1 * len(accepted)


@in_virtual_time
async def test_answers_that_came_with_the_refusals_count() -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 12)
    await asyncio.sleep(0.05)  # all take equally long
    callers.succeed(*range(8))
    for number in range(8, 12):
        callers.refuse(number)
    assert limiter.places.learned == 8
    assert limiter.limit == 8


@in_virtual_time
async def test_what_was_learned_and_the_pause_can_be_seen() -> None:
    limiter = Limiter(8, jitter=no_jitter)

    def learned() -> tuple[int | None, float | None]:
        return limiter.learned

    callers = await started(limiter, 100)
    assert learned() == (None, None)
    assert limiter.pause == 0.0
    callers.refuse(0)
    callers.refuse(1)
    callers.succeed(*range(2, 8))
    assert learned() == (6, None)
    await asyncio.sleep(0.05)
    for number in list(callers.in_flight):
        callers.refuse(number, 3.0)
    assert learned() == (None, 6)
    assert limiter.pause == 3.0


@in_virtual_time
async def test_a_refusal_of_the_least_guess_stops_nothing() -> None:
    limiter = Limiter(8, jitter=no_jitter)
    callers = await started(limiter, 20)
    callers.succeed(0)
    limiter.pace.refused(0.0, 0.0)  # a guess from one answer
    assert callers.refuse(2)
    assert (limiter.limit, limiter.pause) == (8, 0.0)
    await asyncio.sleep(0.3)
    assert callers.refuse(max(callers.in_flight))  # with no good answer in between
    assert limiter.limit == 0


@pytest.mark.parametrize(("seconds", "is_chance"), [(2.1, True), (1.9, False)])
@in_virtual_time
async def test_a_second_refusal_within_two_seconds_is_no_chance(
    seconds: float, *, is_chance: bool
) -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 400)
    for wait in (1.0, seconds):
        for _ in range(10):
            callers.succeed(*callers.in_flight)
            await asyncio.sleep(wait / 10)
        callers.refuse(min(callers.in_flight))
        callers.succeed(*callers.in_flight)
        await run_due()
    assert (limiter.pace.learned is None) is is_chance


@pytest.mark.parametrize("retry_after", [1.0, None])
@in_virtual_time
async def test_with_a_pause_a_number_that_is_far_exceeded_was_a_matter_of_rate(
    retry_after: float | None,
) -> None:
    limiter = Limiter(12, jitter=no_jitter)
    limiter.places.estimate(4, 0.0, 0.0)
    limiter.places.limit = limiter.limit = 12
    callers = await started(limiter, 400)
    callers.succeed(*range(11))  # ten times as many as are refused
    await run_due()
    callers.refuse(11, retry_after)
    callers.succeed(*callers.in_flight)
    assert limiter.learned == ((11, None) if retry_after is None else (None, 22.0))


@pytest.mark.parametrize(
    ("after", "refused", "is_lowered"), [(0.3, 1, False), (0.3, 4, True), (0.6, 1, True)]
)
@in_virtual_time
async def test_refusals_are_of_a_pace_that_binds_unless_one_is_chance_below_what_was_allowed(
    after: float, refused: int, *, is_lowered: bool
) -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 400)
    callers.succeed(*range(12))
    await run_due()
    limiter.pace.refused(0.0, 0.0)  # 12 a second, after half a second
    await asyncio.sleep(after)
    for number in range(12, 12 + refused):
        callers.refuse(number)
    callers.succeed(*callers.in_flight)
    assert limiter.pace.learned is not None
    assert (limiter.pace.learned.began > 0) is is_lowered
    assert limiter.places.learned == 0


@in_virtual_time
async def test_refusals_by_rate_leave_the_number_that_was_proven() -> None:
    limiter = Limiter(40, jitter=no_jitter)
    callers = await started(limiter, 400)
    for _ in range(6):
        callers.succeed(*callers.in_flight)
        await asyncio.sleep(0.05)
    assert len(callers.in_flight) == 40
    for number in list(callers.in_flight):
        callers.refuse(number)
    assert limiter.pace.learned is not None
    assert limiter.places.limit == 40


@in_virtual_time
async def test_an_answer_to_a_request_sent_before_the_refusals_ends_no_probe() -> None:
    limiter = Limiter(8, jitter=no_jitter)
    callers = await started(limiter, 20)
    for number in range(7):
        callers.refuse(number)
    callers.succeed(7)
    await run_due()
    assert limiter.is_refused
    assert limiter.in_flight == 1


@in_virtual_time
async def test_a_number_that_is_refused_soon_was_a_matter_of_rate() -> None:
    limiter = Limiter(8, jitter=no_jitter)
    callers = await started(limiter, 100)
    for number in range(3):
        callers.refuse(number)
    callers.succeed(3, 4, 5, 6, 7)
    await run_due()
    assert (limiter.places.learned, limiter.in_flight) == (5, 5)
    await asyncio.sleep(0.05)
    for number in list(callers.in_flight):
        callers.refuse(number)
    assert (limiter.places.learned, limiter.places.limit) == (0, 8)
    assert limiter.pace.learned is not None


@in_virtual_time
async def test_if_all_are_refused_one_probes_and_half_follow() -> None:
    limiter = Limiter(12, jitter=no_jitter)
    callers = await started(limiter, 400)
    for number in range(12):
        callers.refuse(number, 1.0)
    for probe in (12, 13, 14):  # cancelled: the next caller probes
        await asyncio.sleep(1)
        assert list(callers.in_flight) == [probe]
        callers.release(probe)
        await run_due()
    callers.succeed(15, good=False)  # failed, but was not refused
    await run_due()
    assert limiter.in_flight == 6


@in_virtual_time
async def test_later_refusals_of_a_generation_may_lengthen_the_wait() -> None:
    limiter = Limiter(8, base=1.0, cap=60.0, jitter=lambda: 0.5)
    callers = await started(limiter, 20)
    assert callers.refuse(0, 2.0)  # 2.1 with jitter
    await asyncio.sleep(1)
    assert not callers.refuse(1, 4.0)  # until 5.2
    assert not callers.refuse(2, 1.0)
    assert not callers.refuse(3)
    callers.succeed(4, 5, 6, 7)
    await asyncio.sleep(4.1)
    assert not callers.times[8:]
    await asyncio.sleep(0.2)
    assert callers.times[8:] == [5.2] * 4
    assert limiter.served_within(4.31)
    assert not limiter.served_within(4.29)


@in_virtual_time
async def test_backoff_grows_up_to_the_cap_and_starts_again_after_a_success() -> None:
    callers = await started(Limiter(1, base=1.0, cap=10.0, jitter=lambda: 0.5), 40)

    async def wait() -> float:
        before = callers.limiter.clock()
        callers.refuse(*callers.in_flight)
        while not callers.in_flight:
            await asyncio.sleep(1 / 64)
        return callers.limiter.clock() - before

    waits = [pytest.approx(min(1.5**number / 8, 5.0), abs=1 / 64) for number in range(12)]
    assert [await wait() for _ in waits] == waits
    callers.succeed(*callers.in_flight, good=False)
    await run_due()
    assert [await wait() for _ in range(2)] == waits[:2]


@in_virtual_time
async def test_thousands_of_refusals_in_a_row_wait_no_longer_than_the_cap() -> None:
    limiter = Limiter(1, base=1.0, cap=2.0, jitter=lambda: 0.5)
    for _ in range(1100):  # 2.0 ** 1024 is an OverflowError
        limiter.refused(await limiter.acquire(), None)
        limiter.release()
    before = limiter.clock()
    await limiter.acquire()
    assert limiter.clock() - before == 1.0


@in_virtual_time
async def test_jitter_is_random_over_the_whole_backoff() -> None:
    waits: set[float] = set()
    for _ in range(20):
        limiter = Limiter(1, base=1.0)
        limiter.refused(await limiter.acquire(), None)
        limiter.release()
        before = limiter.clock()
        await limiter.acquire()
        waits.add(limiter.clock() - before)
    assert len(waits) == 20
    assert all(0 <= wait < 1 for wait in waits)


@pytest.mark.parametrize(
    ("retry_after", "waited"), [(7.9, 8.0), (4.0, 4.2), (8.0, 8.0), (0.0, 0.5)]
)
@in_virtual_time
async def test_jitter_lengthens_no_wait_beyond_the_cap(retry_after: float, waited: float) -> None:
    limiter = Limiter(1, base=4.0, cap=8.0, jitter=lambda: 0.5)
    limiter.refused(await limiter.acquire(), retry_after)
    limiter.release()
    await limiter.acquire()
    assert limiter.clock() == waited


@in_virtual_time
async def test_a_wait_of_exactly_the_cap_does_not_raise_whatever_the_rounding() -> None:
    limiter = Limiter(1, base=100.0, cap=0.3, jitter=lambda: 0.9)
    for _ in range(100):
        limiter.refused(await limiter.acquire(), 0.3)
        limiter.release()
        await limiter.acquire()
        limiter.release()
        await asyncio.sleep(0.0107)


# Caps


@in_virtual_time
async def test_a_wait_above_the_cap_raises_in_all_waiters_and_new_callers() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    callers = await started(limiter, 5)
    callers.release(1)  # the third is admitted, and has not resumed yet
    callers.refuse(0, 100.0)
    await run_due()
    for task in callers.tasks[2:]:
        error = error_of(task)
        assert isinstance(error, RateLimited)
        assert (error.endpoint, error.status, error.retry_after) == ("work_list", 0, 100.0)
        assert str(error) == (
            "work_list: not sent: the server refused a request, so that all calls pause for "
            "another 100 s, and RetryPolicy.cap is 20 s"
        )
    assert (callers.order, limiter.in_flight) == ([0, 1], 0)
    await asyncio.sleep(64)
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire()
    assert caught.value.retry_after == 36.0
    await asyncio.sleep(16)  # now the rest of the pause is within the cap
    callers.start(2)
    await callers.succeed_all()
    assert callers.times[2] == 100.0
    assert callers.order == [0, 1, 5, 6]


@in_virtual_time
async def test_a_later_refusal_above_the_cap_raises_in_the_waiters_too() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    callers = await started(limiter, 4)
    callers.refuse(0, 10.0)
    await run_due()
    callers.tasks[3].cancel()
    callers.refuse(1, 50.0)
    await run_due()
    assert isinstance(error_of(callers.tasks[2]), RateLimited)
    assert callers.tasks[3].cancelled()
    assert limiter.in_flight == 0


@in_virtual_time
async def test_each_caller_is_refused_as_soon_as_the_wait_exceeds_its_own_cap() -> None:
    limiter = Limiter(3, cap=20.0, jitter=no_jitter)
    callers = await started(limiter, 3)
    for cap in (5.0, None, 60.0, 10.0, 30.0):  # callers 3 to 7
        callers.start(cap=cap)
    await run_due()

    def left() -> list[int]:
        return [number for number, task in enumerate(callers.tasks) if error_of(task)]

    callers.refuse(0, 5.0)
    await run_due()
    assert left() == []
    callers.refuse(1, 10.0)
    await run_due()
    assert left() == [3]
    callers.refuse(2, 25.0)
    await run_due()
    assert left() == [3, 4, 6]
    error = error_of(callers.tasks[6])
    assert isinstance(error, RateLimited)
    assert error.retry_after == 25.0
    assert str(error).endswith("pause for another 25 s, and RetryPolicy.cap is 10 s")
    callers.start(cap=24.0)
    callers.start(cap=25.0)
    await run_due()
    assert left() == [3, 4, 6, 8]
    await callers.succeed_all()
    assert callers.order[3:] == [5, 7, 9]
    assert callers.times[3] == 25.0


@in_virtual_time
async def test_the_others_keep_their_order_when_some_callers_are_refused() -> None:
    callers = await started(Limiter(1, jitter=no_jitter), 1)
    callers.start(cap=1.0)
    callers.start(6)
    callers.start(first=True, cap=1.0)  # before all others
    await run_due()
    callers.refuse(0, 5.0)
    await callers.succeed_all()
    assert callers.order == [0, 2, 3, 4, 5, 6, 7]
    assert isinstance(error_of(callers.tasks[1]), RateLimited)
    assert isinstance(error_of(callers.tasks[8]), RateLimited)


@in_virtual_time
async def test_jitter_does_not_count_against_the_caller_s_own_cap() -> None:
    limiter = Limiter(1, base=100.0, cap=100.0, jitter=lambda: 0.99)
    callers = await started(limiter, 1)
    callers.start(cap=5.0)
    callers.refuse(0, 5.0)
    await callers.succeed_all()
    assert callers.times[1] == 5.495


@in_virtual_time
async def test_a_backoff_above_the_caller_s_own_cap_raises() -> None:
    limiter = Limiter(1, base=80.0, cap=100.0, jitter=lambda: 0.5)
    callers = await started(limiter, 2)
    callers.start(cap=4.0)
    await run_due()
    callers.refuse(0)  # 5 s
    callers.start(cap=4.0)
    await run_due()
    assert all(isinstance(error_of(callers.tasks[number]), RateLimited) for number in (2, 3))
    await callers.succeed_all()
    assert callers.order == [0, 1]


@in_virtual_time
async def test_a_waiter_cancelled_as_it_is_refused_frees_no_permit() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    callers = await started(limiter, 3)
    callers.refuse(0, 50.0)
    callers.tasks[2].cancel()
    await run_due()
    assert callers.tasks[2].cancelled()
    assert (list(callers.in_flight), limiter.in_flight) == ([1], 1)


# Closing


@in_virtual_time
async def test_closing_raises_in_waiters_and_new_callers() -> None:
    limiter = Limiter(1, rate=0.1, jitter=no_jitter)
    callers = await started(limiter, 4)
    callers.release(0)
    assert loop().timers == 1
    callers.tasks[2].cancel()
    limiter.close()
    limiter.close()
    assert loop().timers == 0
    await run_due()
    callers.start(first=True)
    await run_due()
    assert all(isinstance(error_of(callers.tasks[number]), ClientClosed) for number in (1, 3, 4))
    assert callers.tasks[2].cancelled()
    assert (callers.order, limiter.in_flight) == ([0], 0)


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_closing_raises_in_a_caller_admitted_just_before(rate: float | None) -> None:
    limiter = Limiter(2, rate=rate)
    callers = await started(limiter, 3)
    await asyncio.sleep(10)
    callers.release(0)
    limiter.close()
    await run_due()
    assert isinstance(error_of(callers.tasks[2]), ClientClosed)
    assert (list(callers.in_flight), limiter.in_flight) == ([1], 1)


@in_virtual_time
async def test_a_closed_limiter_can_be_released_and_refused() -> None:
    limiter = Limiter(1)
    callers = await started(limiter, 2)
    limiter.close()
    callers.refuse(0, 5.0)
    await run_due()
    assert isinstance(error_of(callers.tasks[1]), ClientClosed)
    assert (limiter.in_flight, loop().timers) == (0, 0)


@in_virtual_time
async def test_a_waiter_cancelled_as_the_limiter_closes_is_cancelled() -> None:
    limiter = Limiter(1)
    callers = await started(limiter, 2)
    limiter.close()
    callers.tasks[1].cancel()
    await run_due()
    assert callers.tasks[1].cancelled()
    assert limiter.in_flight == 1


# Any order of events

CAPS = (4.0, 16.0)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a scenario; *which* of the callers it may happen to; *seconds* it takes."""

    kind: Literal["start", "first", "cancel", "release", "succeed", "fail", "refuse", "run", "wait"]
    which: int = 0
    seconds: float | None = None


def scenarios(*retry_after: float | None) -> st.SearchStrategy[list[Event]]:
    """Events in any order; refusals carry one of *retry_after*."""
    which = st.integers(0, 30)
    event = (
        st.builds(Event, st.sampled_from(("start", "start", "start", "first")), which)
        | st.builds(Event, st.sampled_from(("cancel", "release", "succeed", "fail")), which)
        | st.builds(Event, st.just("succeed"), which)
        | st.builds(Event, st.just("refuse"), which, st.sampled_from(retry_after))
        | st.builds(Event, st.just("run"))
        | st.builds(Event, st.just("wait"), st.just(0), st.sampled_from((0.1, 1.0, 7.0)))
    )
    return st.lists(event, max_size=80)


class Scenario(Callers):
    """Callers that check, as they are admitted or turned away, that it was right."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self.queue: list[int] = []  # waiters, in the order they came
        self.firsts: dict[int, set[int]] = {}  # and who may have been admitted when they came
        self.reopens = 0.0

    async def _acquire(self, number: int, first: bool, cap: float | None) -> None:
        limiter = self.limiter
        if first:
            others = [other for other in self.queue if other not in self.firsts]
            admitted = self._admitted
            self.firsts[number] = {*self._line()[:admitted], *others[:admitted]}
        self.queue.append(number)
        try:
            permit = await limiter.acquire("work_list", first=first, cap=cap)
        except RateLimited as error:
            self._check_refused(number, error, cap)
            return
        except ClientClosed:
            self.queue.remove(number)
            return
        known = len(self.in_flight)
        self.in_flight[number] = permit
        assert permit.generation == limiter.generation
        assert known < min(limiter.places.ceiling, int(limiter.limit))
        assert limiter.clock() >= self.reopens
        line = self._line()
        before = line[: line.index(number)]
        # Before it are at most those that are admitted as well, and those it was admitted before.
        overtaken = [other for other in before if number in self.firsts.get(other, ())]
        assert len(before) - len(overtaken) <= self._admitted
        self.queue.remove(number)
        self.order.append(number)
        self.times.append(limiter.clock())

    def _check_refused(self, number: int, error: RateLimited, cap: float | None) -> None:
        self.queue.remove(number)
        wait = self.reopens - self.limiter.clock()
        assert error.retry_after == pytest.approx(wait)
        assert wait > (CAPS[1] if cap is None else cap)

    @property
    def _admitted(self) -> int:
        """How many are admitted and have not resumed yet."""
        return self.limiter.in_flight - len(self.in_flight)

    def _line(self) -> list[int]:
        """The waiters, in the order to be admitted."""
        return sorted(self.queue, key=lambda number: number not in self.firsts)

    async def play(self, event: Event) -> None:
        waiting = [number for number, task in enumerate(self.tasks) if not task.done()]
        candidates = waiting if event.kind == "cancel" else list(self.in_flight)
        match event.kind:
            case "start" | "first":
                self.start(first=event.kind == "first", cap=CAPS[0] if event.which % 2 else None)
            case "run":
                await asyncio.sleep(0)
            case "wait":
                await asyncio.sleep(event.seconds or 0)
            case _ if candidates:
                self._happen(event, candidates[event.which % len(candidates)])
            case _:
                pass

    def _happen(self, event: Event, number: int) -> None:
        match event.kind:
            case "cancel":
                self.tasks[number].cancel()
                if number in self.queue:
                    self.queue.remove(number)
            case "release":
                self.release(number)
            case "refuse":
                newest = self.in_flight[number].generation == self.limiter.generation
                self.reopens = max(self.reopens, self.limiter.clock() + (event.seconds or 0.0))
                assert self.refuse(number, event.seconds) is newest
            case _:
                self.succeed(number, good=event.kind == "succeed")

    async def end(self) -> None:
        """All succeed from now on, so every waiter must be admitted."""
        for _ in range(10_000):
            await asyncio.sleep(0.5)
            if all(task.done() for task in self.tasks) and not self.in_flight:
                break
            for number in list(self.in_flight):
                self._happen(Event("succeed"), number)
        for task in self.tasks:
            if not task.cancelled():
                task.result()
        assert not self.queue
        assert self.limiter.in_flight == 0


@settings(max_examples=60)
@given(
    st.integers(1, 9),
    st.none() | st.sampled_from((1, 4.5, 30)),
    st.integers(0, 20),
    scenarios(None, 0, 1.0, 5.0, 64.0),
)
@in_virtual_time
async def test_in_any_order_of_events_all_limits_hold_and_no_waiter_is_lost(
    ceiling: int, rate: float | None, queue: int, events: list[Event]
) -> None:
    scenario = Scenario(Limiter(ceiling, rate=rate, base=0.5, cap=CAPS[1], jitter=no_jitter))
    scenario.start(queue)
    await run_due()
    for event in events:
        await scenario.play(event)
    await scenario.end()
    times = scenario.times
    for number, time in enumerate(times):
        assert rate is None or sum(time <= each < time + 1 - 1e-6 for each in times[number:]) <= (
            rate + 1
        )


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(0, 20), scenarios(0))
@in_virtual_time
async def test_no_permit_is_free_while_a_caller_waits(
    ceiling: int, queue: int, events: list[Event]
) -> None:
    limiter = Limiter(ceiling, base=0.0)  # a refusal pauses for no time
    scenario = Scenario(limiter)
    scenario.start(queue)
    for event in events:
        await scenario.play(event)
        if event.kind in ("run", "wait"):
            await run_due()
            assert len(scenario.in_flight) == limiter.in_flight
            assert not scenario.queue or limiter.in_flight >= int(limiter.limit)


@settings(max_examples=40)
@given(
    st.integers(1, 9),
    st.none() | st.sampled_from((1, 30)),
    st.integers(0, 20),
    scenarios(None, 0, 5.0, 64.0),
)
@in_virtual_time
async def test_closing_at_any_moment_ends_all_waits_and_timers(
    ceiling: int, rate: float | None, queue: int, events: list[Event]
) -> None:
    limiter = Limiter(ceiling, rate=rate, cap=CAPS[1], jitter=no_jitter)
    scenario = Scenario(limiter)
    scenario.start(queue)
    await run_due()
    for event in events:
        await scenario.play(event)
    limiter.close()
    scenario.start()
    await run_due()
    assert all(task.done() for task in scenario.tasks)
    assert len(scenario.in_flight) == limiter.in_flight
    scenario.release(*list(scenario.in_flight))
    assert limiter.in_flight == 0
    assert loop().timers == 0
