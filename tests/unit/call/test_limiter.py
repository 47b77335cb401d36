"""The gate: places, turns and pauses are kept whoever comes, goes or is cancelled, whenever.

All in virtual time, so that each wait is exact.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, ParamSpec, TypeVarTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async import ClientClosed, RateLimited
from dp_async._call.limiter import Limiter
from tests.support.virtual_loop import VirtualLoop

P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

ROUNDING = 1e-9


class Loop(VirtualLoop):
    """Knows its timers, and can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[asyncio.TimerHandle] = []
        self.kept: list[asyncio.Task[None]] = []  # else who waits at the end may be collected

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
        """The timers that are still to come."""
        self._timers = [
            timer
            for timer in self._timers
            if not timer.cancelled() and timer.when() > self.time() + ROUNDING
        ]
        return len(self._timers)

    def busy(self, seconds: float) -> None:
        """As if something had kept the loop so long: whoever is due meanwhile is late."""
        self._jumping.now += seconds


def loop() -> Loop:
    running = asyncio.get_running_loop()
    assert isinstance(running, Loop)
    return running


def in_virtual_time(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """*test* in a loop of its own, to which nothing may be reported that nobody looked at."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        noise: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, told: noise.append(told))
            runner.run(test(*args, **kwargs))
        gc.collect(0)
        assert not noise

    return wrapped


async def settled() -> None:
    """Return when all that is due has run, at the same time as before."""
    for _ in range(8):
        await asyncio.sleep(0)


def no_jitter() -> float:
    return 0.0


class Guests:
    """Those who come to a gate, by number: who is inside, since which era, and who came in when."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.tasks: list[asyncio.Task[None]] = []
        self.in_flight: dict[int, int] = {}
        self.order: list[int] = []
        self.times: list[float] = []

    def come(self, count: int = 1, *, first: bool = False) -> None:
        for _ in range(count):
            coming = self._coming(len(self.tasks), first)
            task = asyncio.create_task(coming)
            self.tasks.append(task)
            loop().kept.append(task)

    async def _coming(self, number: int, first: bool) -> None:
        generation = await self.limiter.acquire("work_list", first=first)
        self.in_flight[number] = generation
        self.order.append(number)
        self.times.append(self.limiter.clock())

    def go(self, *numbers: int) -> None:
        """They leave, and nothing is said of how it went."""
        for number in numbers:
            del self.in_flight[number]
            self.limiter.release()

    def pass_(self, *numbers: int, good: bool = True) -> None:
        """They were not refused, and leave."""
        for number in numbers:
            self.limiter.passed(self.in_flight[number], good=good)
            self.go(number)

    def refuse(self, number: int, asked: float | None = None) -> bool:
        """One was refused, and leaves."""
        first = self.limiter.refused(self.in_flight[number], asked)
        self.go(number)
        return first

    async def pass_all(self) -> None:
        """Whoever is inside passes, and all who come in then; until nobody waits."""
        while not all(task.done() for task in self.tasks):
            self.pass_(*self.in_flight)
            await asyncio.sleep(0.001)
        self.pass_(*self.in_flight)


# Places


@in_virtual_time
async def test_no_more_are_inside_than_there_is_room_for_and_the_first_to_come_is_first() -> None:
    limiter = Limiter(3)
    guests = Guests(limiter)
    guests.come(10)
    await settled()
    assert (guests.order, limiter.in_flight) == ([0, 1, 2], 3)
    guests.pass_(1)
    await settled()
    assert (guests.order, limiter.in_flight) == ([0, 1, 2, 3], 3)
    guests.pass_(0, 2, 3)
    await settled()
    assert (guests.order, limiter.in_flight) == ([0, 1, 2, 3, 4, 5, 6], 3)
    await guests.pass_all()
    assert guests.order == list(range(10))
    assert limiter.in_flight == 0


@in_virtual_time
async def test_who_is_to_be_first_goes_before_all() -> None:
    limiter = Limiter(1)
    guests = Guests(limiter)
    guests.come(4)
    await settled()
    guests.come(first=True)
    await settled()
    await guests.pass_all()
    assert guests.order == [0, 4, 1, 2, 3]


@in_virtual_time
async def test_a_free_place_is_taken_at_once() -> None:
    limiter = Limiter(2)
    entering = limiter.acquire()
    with pytest.raises(StopIteration):  # it ends without having waited
        entering.send(None)
    assert limiter.in_flight == 1


@in_virtual_time
async def test_who_comes_does_not_overtake_who_waits() -> None:
    limiter = Limiter(1)
    guests = Guests(limiter)
    guests.come(2)
    await settled()
    guests.go(0)
    guests.come()  # there is no place, though nobody new is inside yet
    await settled()
    assert guests.order == [0, 1]


@in_virtual_time
async def test_a_waiter_that_is_cancelled_takes_no_place() -> None:
    limiter = Limiter(1)
    guests = Guests(limiter)
    guests.come(5)
    await settled()
    for number in (1, 3):
        guests.tasks[number].cancel()
    guests.go(0)  # in the same turn of the loop: the first in the queue is gone
    await settled()
    assert guests.order == [0, 2]
    await guests.pass_all()
    assert guests.order == [0, 2, 4]
    assert limiter.in_flight == 0


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_who_is_cancelled_in_the_very_turn_it_was_let_in_gives_its_place_to_the_next(
    rate: float | None,
) -> None:
    limiter = Limiter(1, rate=rate)
    guests = Guests(limiter)
    guests.come(3)
    await asyncio.sleep(10)
    guests.go(0)
    assert limiter.in_flight == 1  # the next one has it, and does not know yet
    guests.tasks[1].cancel()
    await settled()
    assert guests.tasks[1].cancelled()
    assert guests.order == [0, 2]
    await guests.pass_all()
    assert limiter.in_flight == 0


@in_virtual_time
async def test_the_room_may_be_changed_from_outside_and_counts_in_whole_places() -> None:
    limiter = Limiter(8)
    limiter.limit = 2.9
    guests = Guests(limiter)
    guests.come(12)
    await settled()
    assert limiter.in_flight == 2
    limiter.limit = 5
    limiter.wake()
    await settled()
    assert limiter.in_flight == 5
    limiter.limit = 1
    guests.go(0, 1, 2, 3)
    await settled()
    assert guests.order == [0, 1, 2, 3, 4]
    guests.go(4)
    await settled()
    assert guests.order == [0, 1, 2, 3, 4, 5]


# Turns


@in_virtual_time
async def test_turns_are_even_and_who_was_idle_gets_no_burst() -> None:
    limiter = Limiter(100, rate=4)
    guests = Guests(limiter)
    guests.come(5)
    await asyncio.sleep(3600)
    guests.come(4)
    await asyncio.sleep(10)
    assert guests.times[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert guests.times[5:] == [3600.0, 3600.0, 3600.25, 3600.5]  # one turn is caught up


@in_virtual_time
async def test_a_late_turn_does_not_slow_the_next() -> None:
    limiter = Limiter(100, rate=4)
    guests = Guests(limiter)
    guests.come(5)
    await settled()
    loop().busy(0.35)
    await settled()
    assert guests.times == [0.0, 0.35]
    await asyncio.sleep(10)
    assert guests.times == pytest.approx([0.0, 0.35, 0.5, 0.75, 1.0])


@in_virtual_time
async def test_of_many_late_turns_only_one_is_caught_up() -> None:
    limiter = Limiter(100, rate=4)
    guests = Guests(limiter)
    guests.come(6)
    await settled()
    loop().busy(10.0)
    await asyncio.sleep(10)
    assert guests.times == pytest.approx([0.0, 10.0, 10.0, 10.25, 10.5, 10.75])


@in_virtual_time
async def test_a_turn_is_first_come_first_served_and_a_cancelled_one_is_not_taken() -> None:
    limiter = Limiter(100, rate=1)
    guests = Guests(limiter)
    guests.come(6)
    await settled()
    guests.tasks[1].cancel()  # the one whose turn is next
    guests.tasks[4].cancel()
    await asyncio.sleep(10)
    assert guests.order == [0, 2, 3, 5]
    assert guests.times == [0.0, 1.0, 2.0, 3.0]


def most_in_a_second(times: list[float]) -> int:
    """In any second, of which the end does not count."""
    most = start = 0
    for end, time in enumerate(times):
        while time - times[start] >= 1 - ROUNDING:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.parametrize("rate", [0.4, 1, 2.5, 4, 33.3, 50, 1000])
@in_virtual_time
async def test_no_second_of_a_thousand_turns_holds_more_than_the_rate_and_one(rate: float) -> None:
    limiter = Limiter(10_000, rate=rate)
    guests = Guests(limiter)
    await asyncio.sleep(100)  # idle: then a turn can be caught up
    guests.come(1000)
    await asyncio.sleep(2000 / rate)
    assert guests.order == list(range(1000))
    assert most_in_a_second(guests.times) <= rate + 1
    # And the rate is reached, wherever there is enough to do.
    assert guests.times[-1] - guests.times[0] == pytest.approx(998.5 / rate, rel=0.001)


@given(
    st.integers(1, 60) | st.floats(0.1, 60),
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 0.7), st.floats(0, 0.4)), max_size=60),
    st.sets(st.integers(0, 300), max_size=60),
)
@in_virtual_time
async def test_the_rate_holds_for_those_who_come_late_go_or_are_held_up(
    rate: float, steps: list[tuple[int, float, float]], cancelled: set[int]
) -> None:
    limiter = Limiter(10_000, rate=rate)
    guests = Guests(limiter)
    for count, idle, held_up in steps:
        guests.come(count)
        await asyncio.sleep(idle)
        for number in cancelled & set(range(len(guests.tasks))):
            guests.tasks[number].cancel()
        await settled()
        loop().busy(held_up)
    total = len(guests.tasks)
    await asyncio.sleep(total / rate + 1)
    assert all(task.done() for task in guests.tasks)
    # Who comes in the turn of the loop in which another was let in may go that turn before it.
    assert sorted(zip(guests.times, guests.order, strict=True)) == sorted(
        zip(guests.times, sorted(guests.order), strict=True)
    )
    assert limiter.in_flight == len(guests.order) >= total - len(cancelled)
    assert most_in_a_second(guests.times) <= rate + 1


@in_virtual_time
async def test_the_rate_holds_when_the_loop_is_held_up_between_being_let_in_and_going() -> None:
    limiter = Limiter(100, rate=5)
    guests = Guests(limiter)
    guests.come(2)
    loop().call_at(0.2 + ROUNDING / 10, loop().busy, 0.25)  # right after the second is let in
    await asyncio.sleep(0.3)
    guests.come(20)
    await asyncio.sleep(10)
    assert guests.times[:2] == pytest.approx([0.0, 0.45])
    assert most_in_a_second(guests.times) <= 6


# Refusals


@in_virtual_time
async def test_a_refusal_closes_the_gate_for_all_and_never_for_less_than_was_asked() -> None:
    limiter = Limiter(4, base=1.0, cap=20.0, jitter=lambda: 0.5)
    guests = Guests(limiter)
    guests.come(6)
    await settled()
    assert guests.refuse(0, 7.0)
    guests.pass_(1, 2, 3)
    guests.come(3)
    guests.come(first=True)
    await guests.pass_all()
    assert guests.times[4] == 7.35  # jitter comes on top
    assert guests.order == [0, 1, 2, 3, 9, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_who_was_let_in_but_has_not_gone_waits_like_the_others(rate: float | None) -> None:
    limiter = Limiter(2, rate=rate, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(4)
    await asyncio.sleep(10)
    guests.go(1)
    guests.refuse(0, 5.0)  # in the same turn of the loop in which the next were let in
    await asyncio.sleep(4.9)
    assert guests.order == [0, 1]
    await asyncio.sleep(0.2)
    assert len(guests.order) == 3  # the one that probes
    await guests.pass_all()
    assert limiter.in_flight == 0


@pytest.mark.parametrize(("gone", "asked"), [(1, 5.0), (3, 5.0), (3, 0.0), (1, 0.0)])
@in_virtual_time
async def test_who_was_let_in_but_has_not_gone_keeps_its_place_in_the_queue(
    gone: int, asked: float
) -> None:
    limiter = Limiter(gone + 1, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(10)
    await settled()
    guests.go(*range(gone))
    guests.refuse(gone, asked)
    await settled()
    await guests.pass_all()
    assert guests.order == list(range(10))


@in_virtual_time
async def test_who_was_let_in_turned_back_and_cancelled_holds_no_place() -> None:
    limiter = Limiter(2, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(5)
    await settled()
    guests.go(1)
    guests.refuse(0, 5.0)
    guests.tasks[2].cancel()
    await settled()
    assert limiter.in_flight == 0
    await guests.pass_all()
    assert sorted(guests.order) == [0, 1, 3, 4]


@in_virtual_time
async def test_it_opens_with_one_then_half_then_one_more_each_round() -> None:
    limiter = Limiter(12, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(400)
    await settled()
    guests.refuse(0, 1.0)  # eleven more are inside
    assert limiter.in_flight == 11
    await asyncio.sleep(2)
    assert len(guests.order) == 12  # nobody, as long as they are
    guests.pass_(*range(1, 12))
    await settled()
    assert list(guests.in_flight) == [12]
    await asyncio.sleep(60)
    assert list(guests.in_flight) == [12]
    guests.pass_(12)
    await settled()
    assert limiter.in_flight == 6
    rounds = [6]
    for _ in range(10):
        for number in list(guests.in_flight):
            guests.pass_(number)
        await settled()
        rounds.append(limiter.in_flight)
    steps = [after - before for before, after in pairwise(rounds)]
    assert set(steps) <= {0, 1}
    assert rounds[-1] == limiter.ceiling
    assert rounds.index(12) <= 8  # six steps, each of a round and a little


@in_virtual_time
async def test_what_did_not_go_well_makes_no_more_room() -> None:
    limiter = Limiter(4, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(60)
    await settled()
    guests.refuse(0, 1.0)
    guests.pass_(1, 2, 3)
    await asyncio.sleep(1)
    guests.pass_(*guests.in_flight)
    for _ in range(20):
        await settled()
        assert limiter.in_flight == 2
        guests.pass_(*guests.in_flight, good=False)


@in_virtual_time
async def test_refusals_of_what_was_sent_before_lengthen_the_pause_and_do_not_halve_again() -> None:
    limiter = Limiter(8, base=1.0, cap=60.0, jitter=lambda: 0.5)
    guests = Guests(limiter)
    guests.come(20)
    await settled()
    assert guests.refuse(0, 2.0)  # 2.5, with jitter
    await asyncio.sleep(1)
    assert not guests.refuse(1, 4.0)
    assert not guests.refuse(2, 1.0)
    assert not guests.refuse(3)
    guests.pass_(4, 5, 6, 7)
    await asyncio.sleep(3.9)
    assert len(guests.order) == 8
    await asyncio.sleep(0.2)
    assert guests.times[8] == 5.0
    guests.pass_(8)
    await settled()
    assert limiter.in_flight == 4
    assert guests.refuse(guests.order[-1])  # a new era, and again the first refusal in a row
    assert limiter.in_flight == 3
    guests.pass_(*guests.in_flight)
    await asyncio.sleep(0.6)
    assert guests.times[13] == pytest.approx(5.1 + 0.5)


@in_virtual_time
async def test_what_was_sent_before_the_refusal_and_passes_does_not_open_it() -> None:
    limiter = Limiter(4, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(20)
    await settled()
    guests.refuse(0, 1.0)
    guests.pass_(1, 2, 3)
    await asyncio.sleep(1)
    assert limiter.in_flight == 1


@in_virtual_time
async def test_a_probe_that_fails_but_is_not_refused_opens_it_too() -> None:
    limiter = Limiter(4, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(20)
    await settled()
    guests.refuse(0, 1.0)
    guests.pass_(1, 2, 3)
    await asyncio.sleep(1)
    guests.pass_(4, good=False)
    await settled()
    assert limiter.in_flight == 2


@in_virtual_time
async def test_after_a_probe_that_was_cancelled_the_next_probes() -> None:
    limiter = Limiter(4, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(20)
    await settled()
    guests.refuse(0, 1.0)
    guests.pass_(1, 2, 3)
    await asyncio.sleep(1)
    for probe in (4, 5, 6):
        assert list(guests.in_flight) == [probe]
        guests.go(probe)
        await settled()
    guests.pass_(7)
    await settled()
    assert limiter.in_flight == 2


@in_virtual_time
async def test_unasked_waits_grow_up_to_the_cap_and_begin_anew_when_one_passes() -> None:
    limiter = Limiter(1, base=1.0, cap=10.0, jitter=lambda: 0.5)
    guests = Guests(limiter)
    guests.come(40)
    await settled()

    async def wait() -> float:
        before = limiter.clock()
        guests.refuse(*guests.in_flight)
        while not guests.in_flight:
            await asyncio.sleep(0.125)
        return limiter.clock() - before

    assert [await wait() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    guests.pass_(*guests.in_flight)
    await settled()
    assert [await wait() for _ in range(2)] == [0.5, 1.0]
    guests.pass_(*guests.in_flight, good=False)
    await settled()
    assert await wait() == 0.5


@in_virtual_time
async def test_thousands_of_refusals_in_a_row_are_no_more_than_the_cap() -> None:
    limiter = Limiter(1, base=1.0, cap=2.0, jitter=lambda: 0.5)
    for _ in range(3000):
        limiter.refused(await limiter.acquire(), None)
        limiter.release()
    before = limiter.clock()
    await limiter.acquire()
    assert limiter.clock() - before == 1.0


@in_virtual_time
async def test_the_jitter_is_left_to_chance() -> None:
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


@pytest.mark.parametrize(("asked", "waited"), [(7.9, 8.0), (4.0, 4.2), (8.0, 8.0), (0.0, 2.0)])
@in_virtual_time
async def test_a_wait_is_what_was_asked_and_jitter_and_in_all_no_more_than_the_cap(
    asked: float, waited: float
) -> None:
    limiter = Limiter(1, base=4.0, cap=8.0, jitter=lambda: 0.5)
    limiter.refused(await limiter.acquire(), asked)
    limiter.release()
    await limiter.acquire()
    assert limiter.clock() == waited


@in_virtual_time
async def test_a_wait_of_just_the_cap_is_waited_whatever_the_time() -> None:
    limiter = Limiter(1, base=100.0, cap=0.3, jitter=lambda: 0.9)
    for _ in range(100):
        limiter.refused(await limiter.acquire(), 0.3)
        limiter.release()
        await limiter.acquire()
        limiter.release()
        await asyncio.sleep(0.0107)


@in_virtual_time
async def test_where_more_than_the_cap_is_asked_nobody_is_sent_and_all_are_told_how_long() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(5)
    await settled()
    guests.go(1)  # the third is let in, and does not know yet
    guests.refuse(0, 100.0)
    await settled()
    for task in guests.tasks[2:]:
        error = task.exception()
        assert isinstance(error, RateLimited)
        assert error.retry_after == 100.0
        assert (error.endpoint, error.status) == ("work_list", 0)
        assert str(error) == (
            "work_list: not sent: the server refused a request, so that all calls pause for "
            "another 100 s, and RetryPolicy.cap is 20 s"
        )
    assert (guests.order, limiter.in_flight) == ([0, 1], 0)
    await asyncio.sleep(64)
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire()
    assert caught.value.retry_after == 36.0
    await asyncio.sleep(16)  # now the rest is within the cap
    guests.come(2)
    await settled()
    assert len(guests.order) == 2
    await guests.pass_all()
    assert guests.times[2] == 100.0
    assert guests.order == [0, 1, 5, 6]


@in_virtual_time
async def test_a_later_refusal_that_asks_for_more_than_the_cap_sends_the_waiting_away_too() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(4)
    await settled()
    guests.refuse(0, 10.0)
    await settled()
    guests.tasks[3].cancel()
    guests.refuse(1, 50.0)
    await settled()
    assert isinstance(guests.tasks[2].exception(), RateLimited)
    assert guests.tasks[3].cancelled()
    assert limiter.in_flight == 0


@in_virtual_time
async def test_who_is_cancelled_in_the_very_turn_it_was_sent_away_gives_nothing_back() -> None:
    limiter = Limiter(2, cap=20.0, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(3)
    await settled()
    guests.refuse(0, 50.0)
    guests.tasks[2].cancel()
    await settled()
    assert guests.tasks[2].cancelled()
    assert (list(guests.in_flight), limiter.in_flight) == ([1], 1)


# The pace that the server was seen to allow


async def learned(
    *, passed: int = 5, asked: float | None = 2.0, rate: float | None = None, ago: float = 0.0
) -> Limiter:
    """A gate that *passed* so many and, *ago* seconds later, was refused."""
    limiter = Limiter(64, rate=rate, jitter=no_jitter)
    await asyncio.sleep(100)
    for _ in range(passed):
        limiter.passed(await limiter.acquire(), good=True)
        limiter.release()
    await asyncio.sleep(ago)
    limiter.refused(await limiter.acquire(), asked)
    limiter.release()
    return limiter


async def paces(limiter: Limiter, seconds: float) -> dict[float, float]:
    """What a single one that always comes again finds: after so long the next turn is so soon."""
    times: list[float] = []
    while not times or times[-1] - times[0] < seconds:
        limiter.passed(await limiter.acquire(), good=True)
        limiter.release()
        times.append(limiter.clock())
    return {time - times[0]: 1 / (then - time) for time, then in pairwise(times[1:])}


@in_virtual_time
async def test_the_pace_is_a_little_less_at_first_then_all_of_it_and_later_ever_more() -> None:
    found = await paces(await learned(), 50)

    def at(seconds: float) -> float:
        return found[min(found, key=lambda time: abs(time - seconds))]

    assert at(0) == pytest.approx(0.95 * 5, rel=0.01)
    assert at(10) == pytest.approx(5, rel=1e-6)
    assert at(20) == pytest.approx(1.05 * 5, rel=0.01)
    assert at(30) == pytest.approx(1.4 * 5, rel=0.01)
    assert all(later > before - 1e-6 for before, later in pairwise(found.values()))
    assert all(pace < 5 + 1e-6 for time, pace in found.items() if time < 9.5)
    assert all(pace > 5 for time, pace in found.items() if time > 10.5)


@in_virtual_time
async def test_the_pace_is_forgotten_at_ten_times_what_it_was() -> None:
    limiter = await learned()
    found = await paces(limiter, 66)  # it is ten times as much after 66.5
    assert max(found.values()) == pytest.approx(50, rel=0.05)
    counts: list[int] = []
    for _ in range(3):
        guests = Guests(limiter)
        guests.come(20)
        await settled()
        counts.append(len(guests.order))
        await guests.pass_all()
        await asyncio.sleep(0.5)
    assert counts[0] <= 2
    assert counts[2] == 20


@pytest.mark.parametrize(
    ("passed", "asked", "ago"),
    [
        (5, 0.0, 0.0),  # it may come back at once: that says nothing of a pace
        (4, 2.0, 0.0),
        (4, None, 0.0),
        (9, 2.0, 1.125),  # longer than a second ago
    ],
)
@in_virtual_time
async def test_no_pace_is_learned_from_little(passed: int, asked: float | None, ago: float) -> None:
    limiter = await learned(passed=passed, asked=asked, ago=ago)
    before = limiter.clock()
    for _ in range(50):
        limiter.passed(await limiter.acquire(), good=True)
        limiter.release()
    assert limiter.clock() - before == (asked or 0.0)  # all at once when it opens


@pytest.mark.parametrize(("passed", "asked", "ago"), [(5, None, 0.0), (6, 2.0, 1.0), (7, 3.0, 0.5)])
@in_virtual_time
async def test_a_pace_is_learned_from_enough(passed: int, asked: float | None, ago: float) -> None:
    limiter = await learned(passed=passed, asked=asked, ago=ago)
    assert next(iter((await paces(limiter, 1)).values())) == pytest.approx(0.95 * passed, rel=0.01)


@in_virtual_time
async def test_who_was_on_the_way_at_a_first_refusal_and_is_let_through_counts_half() -> None:
    limiter = Limiter(64, jitter=no_jitter)
    eras = [await limiter.acquire() for _ in range(29)]
    for generation in eras[:20]:
        limiter.passed(generation, good=True)
    limiter.refused(eras[20], 2.0)
    for number, generation in enumerate(eras[21:]):
        limiter.passed(generation, good=number % 2 == 0)  # four of the eight well
    for _ in eras:
        limiter.release()
    found = await paces(limiter, 1)
    assert next(iter(found.values())) == pytest.approx(0.95 * (20 + 4 / 2), rel=0.01)


async def refused_again(kept: float, seconds: float) -> tuple[float, dict[float, float]]:
    """The pace that was tried when a learned one is refused after so long, and those found then."""
    limiter = await learned(passed=20)
    tried = await paces(limiter, kept)
    generation = await limiter.acquire()
    last = await limiter.acquire()
    limiter.passed(generation, good=True)
    limiter.refused(generation, 2.0)
    limiter.passed(last, good=True)  # counts no more: the pace was not counted in a rush
    limiter.release()
    limiter.release()
    return list(tried.values())[-1], await paces(limiter, seconds)


@pytest.mark.parametrize(
    ("kept", "share", "plateau"),
    [
        (1.0, 1 - 0.3 * 2 / 3, 10),  # 2 of 3 seconds were a pause
        (8.0, 1 - 0.3 * 2 / 10, 16),
        (28.0, 1 - 0.3 * 2 / 30, 30),
    ],
)
@in_virtual_time
async def test_a_pace_refused_soon_was_far_too_much_and_a_later_one_a_little(
    kept: float, share: float, plateau: float
) -> None:
    tried, found = await refused_again(kept, 2.2 * plateau)
    first = next(iter(found.values()))
    assert first == pytest.approx(0.95 * share * tried, rel=0.06)  # what is counted is whole
    back = min(found, key=lambda time: abs(time - plateau))
    assert found[back] == pytest.approx(first / 0.95, rel=0.01)
    twice = min(found, key=lambda time: abs(time - 2 * plateau))
    assert found[twice] == pytest.approx(1.05 * first / 0.95, rel=0.01)


@in_virtual_time
async def test_what_did_not_go_well_was_not_let_through() -> None:
    limiter = Limiter(64, jitter=no_jitter)
    for number in range(9):
        limiter.passed(await limiter.acquire(), good=number % 2 == 1)  # four of them well
        limiter.release()
    limiter.refused(await limiter.acquire(), 2.0)
    limiter.release()
    for _ in range(50):
        limiter.passed(await limiter.acquire(), good=True)
        limiter.release()
    assert limiter.clock() == 2.0


@pytest.mark.parametrize(("rate", "pace"), [(3, 3), (100, 19)])
@in_virtual_time
async def test_of_the_rate_and_the_learned_pace_the_slower_holds(rate: float, pace: float) -> None:
    limiter = await learned(passed=20, rate=1000)
    limiter._pace._rate = rate  # pyright: ignore[reportPrivateUsage]  # twenty came in a second
    found = await paces(limiter, 2)
    assert next(iter(found.values())) == pytest.approx(pace, rel=1e-3)


# Closing


@in_virtual_time
async def test_who_waits_or_comes_when_it_is_closed_is_told_so() -> None:
    limiter = Limiter(1, rate=0.1, jitter=no_jitter)
    guests = Guests(limiter)
    guests.come(4)
    await settled()
    guests.go(0)
    assert loop().timers == 1
    guests.tasks[2].cancel()
    limiter.close()
    limiter.close()
    assert loop().timers == 0
    await settled()
    guests.come(first=True)
    await settled()
    for number in (1, 3, 4):
        assert isinstance(guests.tasks[number].exception(), ClientClosed)
    assert guests.tasks[2].cancelled()
    assert (guests.order, limiter.in_flight) == ([0], 0)


@pytest.mark.parametrize("rate", [None, 1])
@in_virtual_time
async def test_who_was_let_in_but_has_not_gone_when_it_is_closed_is_told_so(
    rate: float | None,
) -> None:
    limiter = Limiter(2, rate=rate)
    guests = Guests(limiter)
    guests.come(3)
    await asyncio.sleep(10)
    guests.go(0)
    limiter.close()
    await settled()
    assert isinstance(guests.tasks[2].exception(), ClientClosed)
    assert (list(guests.in_flight), limiter.in_flight) == ([1], 1)


@in_virtual_time
async def test_a_closed_gate_with_somebody_inside_lets_it_leave() -> None:
    limiter = Limiter(1)
    guests = Guests(limiter)
    guests.come(2)
    await settled()
    limiter.close()
    guests.refuse(0, 5.0)
    await settled()
    assert isinstance(guests.tasks[1].exception(), ClientClosed)
    assert (limiter.in_flight, loop().timers) == (0, 0)


# Anything, at any moment


@dataclass(frozen=True, slots=True)
class Deed:
    """What one step of a play does; *which* of those it may be done to; with *seconds*."""

    kind: Literal["come", "first", "cancel", "go", "pass", "fail", "refuse", "turn", "wait"]
    which: int = 0
    seconds: float | None = None


CAP = 16.0


def plays(*asked: float | None) -> st.SearchStrategy[list[Deed]]:
    """Deeds in any order; refusals ask for one of *asked*."""
    which = st.integers(0, 30)
    deed = (
        st.builds(Deed, st.sampled_from(("come", "come", "come", "first")))
        | st.builds(Deed, st.sampled_from(("cancel", "go", "pass", "fail")), which)
        | st.builds(Deed, st.just("pass"), which)
        | st.builds(Deed, st.just("refuse"), which, st.sampled_from(asked))
        | st.builds(Deed, st.just("turn"))
        | st.builds(Deed, st.just("wait"), st.just(0), st.sampled_from((0.1, 1.0, 7.0)))
    )
    return st.lists(deed, max_size=80)


class Play(Guests):
    """Guests who watch, as they come in, that it was right to let them in."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self.queue: list[int] = []  # who waits, in the order they came
        self.firsts: dict[int, set[int]] = {}  # and who may have been let in when they came
        self.opens = 0.0
        self.probing = False  # nobody has passed since the last refusal

    async def _coming(self, number: int, first: bool) -> None:
        limiter = self.limiter
        if first:
            others = [other for other in self.queue if other not in self.firsts]
            self.firsts[number] = {*self._line()[: self._told], *others[: self._told]}
        self.queue.append(number)
        try:
            generation = await limiter.acquire("work_list", first=first)
        except RateLimited as error:
            self._sent_away(number, error)
            return
        except ClientClosed:
            self.queue.remove(number)
            return
        known = len(self.in_flight)
        self.in_flight[number] = generation
        assert generation == limiter.generation
        assert known < limiter.ceiling
        assert known < int(limiter.limit)
        assert not self.probing or known == 0
        assert limiter.clock() >= self.opens
        line = self._line()
        before = line[: line.index(number)]
        # Before it are at most those who are let in, too, and those it was let in before.
        late = [other for other in before if number in self.firsts.get(other, ())]
        assert len(before) - len(late) <= self._told
        self.queue.remove(number)
        self.order.append(number)
        self.times.append(limiter.clock())

    @property
    def _told(self) -> int:
        """Those who are let in, and do not know it yet."""
        return self.limiter.in_flight - len(self.in_flight)

    def _line(self) -> list[int]:
        """Who waits, in the order to be let in."""
        return sorted(self.queue, key=lambda number: number not in self.firsts)

    def _sent_away(self, number: int, error: RateLimited) -> None:
        self.queue.remove(number)
        assert error.retry_after == pytest.approx(self.opens - self.limiter.clock())
        assert self.opens - self.limiter.clock() > CAP

    async def do(self, deed: Deed) -> None:
        waiting = [number for number, task in enumerate(self.tasks) if not task.done()]
        some = waiting if deed.kind == "cancel" else list(self.in_flight)
        match deed.kind:
            case "come":
                self.come()
            case "first":
                self.come(first=True)
            case "turn":
                await asyncio.sleep(0)
            case "wait":
                await asyncio.sleep(deed.seconds or 0)
            case _ if some:
                self._do_to(some[deed.which % len(some)], deed)
            case _:
                pass

    def _do_to(self, number: int, deed: Deed) -> None:
        match deed.kind:
            case "cancel":
                self.tasks[number].cancel()
                if number in self.queue:
                    self.queue.remove(number)
            case "go":
                self.go(number)
            case "refuse":
                self._refuse(number, deed.seconds)
            case _:
                if self.in_flight[number] == self.limiter.generation:
                    self.probing = False
                self.pass_(number, good=deed.kind == "pass")

    def _refuse(self, number: int, asked: float | None) -> None:
        now = self.limiter.clock()
        newest = self.in_flight[number] == self.limiter.generation
        self.opens = max(self.opens, now + (asked or 0.0))
        self.probing = self.probing or newest
        assert self.refuse(number, asked) is newest

    async def end(self) -> None:
        """All pass from now on, so all must get in: nobody is forgotten."""
        for _ in range(10_000):
            await asyncio.sleep(0.5)
            if all(task.done() for task in self.tasks) and not self.in_flight:
                break
            for number in list(self.in_flight):
                self._do_to(number, Deed("pass"))
        for task in self.tasks:
            if not task.cancelled():
                task.result()
        assert not self.queue
        assert self.limiter.in_flight == 0


@given(
    st.integers(1, 9),
    st.none() | st.sampled_from((1, 4.5, 30)),
    st.integers(0, 20),
    plays(None, 0, 1.0, 5.0, 64.0),
)
@in_virtual_time
async def test_whatever_happens_the_gate_keeps_its_word_and_forgets_nobody(
    ceiling: int, rate: float | None, queue: int, deeds: list[Deed]
) -> None:
    play = Play(Limiter(ceiling, rate=rate, base=0.5, cap=CAP, jitter=no_jitter))
    play.come(queue)
    await settled()
    for deed in deeds:
        await play.do(deed)
    await play.end()
    assert rate is None or most_in_a_second(play.times) <= rate + 1


@given(st.integers(1, 9), st.integers(0, 20), plays(0))
@in_virtual_time
async def test_no_place_is_free_while_somebody_waits(
    ceiling: int, queue: int, deeds: list[Deed]
) -> None:
    limiter = Limiter(ceiling, base=0.0)  # no refusal closes it for any time
    play = Play(limiter)
    play.come(queue)
    for deed in deeds:
        await play.do(deed)
        if deed.kind in ("turn", "wait"):
            await settled()
            assert len(play.in_flight) == limiter.in_flight
            assert not play.queue or limiter.in_flight >= int(limiter.limit)


@given(
    st.integers(1, 9),
    st.none() | st.sampled_from((1, 30)),
    st.integers(0, 20),
    plays(None, 0, 5.0, 64.0),
)
@in_virtual_time
async def test_whenever_it_is_closed_nobody_waits_any_more_and_no_timer_is_left(
    ceiling: int, rate: float | None, queue: int, deeds: list[Deed]
) -> None:
    limiter = Limiter(ceiling, rate=rate, cap=CAP, jitter=no_jitter)
    play = Play(limiter)
    play.come(queue)
    await settled()
    for deed in deeds:
        await play.do(deed)
    limiter.close()
    play.come()
    await settled()
    assert all(task.done() for task in play.tasks)
    assert len(play.in_flight) == limiter.in_flight
    for number in list(play.in_flight):
        play.go(number)
    assert limiter.in_flight == 0
    assert loop().timers == 0


@in_virtual_time
async def test_who_is_cancelled_in_the_very_turn_it_is_closed_gives_back_nothing() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await settled()
    limiter.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert limiter.in_flight == 1
