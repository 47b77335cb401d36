"""What is learned from latencies alone, against simulated servers of known capacity.

No loop and no clock: the simulation is a queue of events, and chance has a seed.
"""

from __future__ import annotations

import heapq
import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async._call.adaptive import PROBE_EVERY_AT_ONE, ROUND, START, Adaptive

SERVICE = 0.05
#: What a client needs from an answer to the next request, at most.
TURN = 0.002

Service = Callable[[Random, int], float]


def steady(chance: Random, number: int) -> float:
    """Each request takes the same time."""
    return SERVICE


def spread(chance: Random, number: int) -> float:
    """Some take long, most do not: log-normal, as latencies are."""
    return SERVICE * chance.lognormvariate(0, 0.6)


@dataclass
class Fixed(Adaptive):
    """Learns nothing."""

    limit: int

    def sent(self) -> int:
        return 0

    def answered(self, sent: int, seconds: float | None) -> None:
        pass


@dataclass
class Crawl:
    """So many pages, with as many in flight as *pupil* says, of a server that works on *at_once*
    and lets the others wait.
    """

    pupil: Adaptive
    pages: int
    at_once: float
    service: Service = steady
    seed: int = 1
    times: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])
    limits: list[int] = field(default_factory=list[int])

    def run(self) -> Crawl:
        chance = Random(self.seed)
        done: list[tuple[float, int]] = []  # when, which
        waiting: deque[int] = deque()
        sent: list[tuple[float, int]] = []  # when, and what the pupil said
        under_way = 0
        now = 0.0
        while len(self.times) < self.pages:
            while under_way + len(waiting) < self.pupil.limit and len(sent) < self.pages:
                sent.append((now + chance.uniform(0, TURN), self.pupil.sent()))
                waiting.append(len(sent) - 1)
                while waiting and under_way < self.at_once:
                    under_way += 1
                    number = waiting.popleft()
                    start = max(now, sent[number][0])
                    heapq.heappush(done, (start + self.service(chance, number), number))
            now, number = heapq.heappop(done)
            under_way -= 1
            self.times.append(now)
            self.latencies.append(now - sent[number][0])
            self.pupil.answered(sent[number][1], self.latencies[-1])
            self.limits.append(self.pupil.limit)
            if waiting:
                under_way += 1
                number = waiting.popleft()
                heapq.heappush(done, (now + self.service(chance, number), number))
        return self

    def throughput(self, start: float = 0.5) -> float:
        """Pages a second, once *start* of them are done."""
        first = int(self.pages * start)
        return (self.pages - 1 - first) / (self.times[-1] - self.times[first])

    def p95(self, start: float = 0.5) -> float:
        latencies = sorted(self.latencies[int(self.pages * start) :])
        return latencies[int(len(latencies) * 0.95)]


def best(at_once: float, service: Service = steady, most: int = 64) -> float:
    """The throughput that no fixed number in flight, from 1 to *most*, can exceed."""
    mean = SERVICE * (exp(0.6**2 / 2) if service is spread else 1)
    return min(at_once, most) / mean


NO_LIMIT = 10_000


# What it finds


def test_it_starts_low_and_doubles_while_the_answers_take_no_longer() -> None:
    pupil = Adaptive(64)
    limits = Crawl(pupil, 400, NO_LIMIT).run().limits
    assert START == 2
    assert list(dict.fromkeys([START, *limits])) == [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("at_once", [1, 2, 8, 32])
def test_it_finds_how_many_a_server_works_on_at_once(at_once: int) -> None:
    crawl = Crawl(Adaptive(64), 4000, at_once).run()
    assert crawl.throughput() >= 0.9 * best(at_once)
    assert crawl.p95() <= 2 * SERVICE
    assert at_once <= crawl.limits[-1] <= max(at_once + 1, 1.3 * at_once)


def test_without_a_limit_of_the_server_it_goes_to_its_own() -> None:
    crawl = Crawl(Adaptive(64), 4000, NO_LIMIT).run()
    assert crawl.throughput() >= 0.9 * best(NO_LIMIT)
    assert crawl.limits[-1] == 64


@pytest.mark.parametrize("seed", range(8))
def test_it_is_not_fooled_by_latencies_that_differ_for_no_reason(seed: int) -> None:
    crawl = Crawl(Adaptive(64), 4000, NO_LIMIT, spread, seed).run()
    ceiling = Crawl(Fixed(64), 4000, NO_LIMIT, spread, seed).run()
    assert crawl.throughput() >= 0.8 * ceiling.throughput()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ceiling", [8, 16, 64])
def test_such_latencies_make_it_go_below_its_ceiling_only_to_look(ceiling: int, seed: int) -> None:
    limits = Crawl(Adaptive(ceiling), 6000, NO_LIMIT, spread, seed).run().limits[2000:]
    assert min(limits) >= ceiling // 2
    assert sum(limit < ceiling for limit in limits) < 0.1 * len(limits)


def test_what_was_too_much_is_not_tried_again_for_a_while() -> None:
    limits = Crawl(Adaptive(64), 8000, 2).run().limits[2000:]
    assert sum(limit > 2 for limit in limits) < 0.1 * len(limits)


def test_what_little_load_means_is_measured_anew() -> None:
    pupil = Adaptive(64)
    assert Crawl(pupil, 1000, NO_LIMIT).run().limits[-1] == 64
    pupil.refused()

    def slower(chance: Random, number: int) -> float:
        return 1.2 * SERVICE  # too little to be a queue, too much to try more

    assert Crawl(pupil, 4000, NO_LIMIT, slower).run().limits[-1] == 64


@pytest.mark.parametrize(
    ("at_once", "ceiling"),
    [
        (NO_LIMIT, 8),
        (NO_LIMIT, 12),
        (NO_LIMIT, 16),
        (NO_LIMIT, 32),
        (NO_LIMIT, 64),
        (8, 16),
        (8, 64),
    ],
)
def test_a_server_that_gets_slower_for_good_is_not_taken_for_a_full_one_for_good(
    at_once: int, ceiling: int
) -> None:
    def slower(chance: Random, number: int) -> float:
        return SERVICE * (1 if number < 2000 else 3)

    crawl = Crawl(Adaptive(ceiling), 8000, at_once, slower).run()
    assert crawl.throughput(0.7) >= 0.8 * best(at_once, most=ceiling) / 3


def test_a_server_that_gets_more_room_is_found_to_have_it() -> None:
    pupil = Adaptive(64)
    Crawl(pupil, 1000, 1).run()
    assert Crawl(pupil, 4000, 8).run().throughput() >= 0.9 * best(8)


def test_a_server_that_gets_less_room_is_found_to_have_less() -> None:
    pupil = Adaptive(64)
    assert Crawl(pupil, 1000, 32).run().limits[-1] >= 32
    crawl = Crawl(pupil, 4000, 8).run()
    assert crawl.throughput() >= 0.9 * best(8)
    assert crawl.p95() <= 2 * SERVICE


def test_another_crawl_goes_on_from_what_was_learned() -> None:
    pupil = Adaptive(64)
    learned = Crawl(pupil, 2000, 8).run().limits[-1]
    limits = Crawl(pupil, 200, 8).run().limits
    assert limits[0] == learned  # and not two, to begin with
    assert min(limits) >= learned // 2


# What it is told


def told(pupil: Adaptive, count: int, seconds: float | None = SERVICE) -> None:
    """So many requests are answered, with as many in flight as may be."""
    while count > 0:
        sent = [pupil.sent() for _ in range(min(count, pupil.limit))]
        for one in sent:
            pupil.answered(one, seconds)
        count -= len(sent)


def test_a_refusal_ends_the_doubling_and_keeps_what_is_known() -> None:
    pupil = Adaptive(64)
    told(pupil, 2 + 4 + 8)
    assert pupil.limit == 16
    pupil.refused()  # the gate goes slower; how many at once are good is another question
    assert pupil.limit == 16
    told(pupil, 32)
    assert pupil.limit == 18


def test_after_refusals_it_finds_its_way_back() -> None:
    pupil = Adaptive(16)
    for _ in range(6):
        pupil.refused()
    assert pupil.limit == START
    assert Crawl(pupil, 2000, NO_LIMIT).run().limits[-1] == 16


def test_a_refusal_while_it_looks_at_little_load_ends_the_look() -> None:
    pupil = Adaptive(16)
    limits = [pupil.limit]
    while len(limits) < 100 and 8 not in limits[4:]:
        told(pupil, 32)
        limits.append(pupil.limit)
    assert limits[-2:] == [16, 8]  # the look
    pupil.refused()
    assert pupil.limit == 16
    told(pupil, 32)
    assert pupil.limit == 16


def test_one_at_a_time_is_left_sooner_than_anything_else_as_it_cannot_be_halved() -> None:
    pupil = Adaptive(64)
    limits = Crawl(pupil, 4000, 1).run().limits
    alone = limits[limits.index(1) :]
    assert pupil.limit <= 2
    longest = max(len(run) for run in "".join(map(str, alone)).split("2"))
    assert PROBE_EVERY_AT_ONE * ROUND <= longest <= (PROBE_EVERY_AT_ONE + 2) * ROUND


def test_now_and_then_it_looks_at_half_the_load_and_comes_back() -> None:
    limits = Crawl(Adaptive(16), 4000, NO_LIMIT).run().limits[1000:]
    assert set(limits) == {8, 16}
    assert limits.count(8) < 0.1 * len(limits)


def test_answers_that_say_nothing_change_nothing() -> None:
    pupil = Adaptive(64)
    told(pupil, 1000, None)
    assert pupil.limit == START
    told(pupil, START)
    assert pupil.limit == 2 * START


def test_what_was_sent_at_another_limit_does_not_count() -> None:
    pupil = Adaptive(64)
    late = [pupil.sent() for _ in range(40)]
    told(pupil, START)
    assert pupil.limit == 4
    for one in late:
        pupil.answered(one, 100.0)
    told(pupil, 4)
    assert pupil.limit == 8


def test_where_fewer_are_in_flight_than_might_be_nothing_is_learned_of_more() -> None:
    pupil = Adaptive(64)
    told(pupil, 2 + 4)
    for _ in range(500):
        pupil.answered(pupil.sent(), SERVICE)
    assert pupil.limit == 8
    told(pupil, 8)
    assert pupil.limit == 16
    pupil.refused()
    for _ in range(500):
        pupil.answered(pupil.sent(), SERVICE)
    assert pupil.limit == 16


def test_what_it_remembers_does_not_grow() -> None:
    pupil = Adaptive(64)
    for _ in range(2000):
        pupil.answered(pupil.sent(), SERVICE)  # a slow consumer: one at a time
    assert len(pickle.dumps(pupil)) < 4000


@pytest.mark.parametrize("ceiling", [1, 2, 3, 64])
def test_no_latency_at_all_is_no_problem(ceiling: int) -> None:
    pupil = Adaptive(ceiling)
    told(pupil, 1000, 0.0)
    assert pupil.limit == ceiling


def test_a_ceiling_of_one_is_one() -> None:
    assert set(Crawl(Adaptive(1), 500, NO_LIMIT, spread).run().limits) == {1}


@given(
    st.integers(1, 70),
    st.lists(
        st.sampled_from(("send", "send", "refuse", "fail"))
        | st.floats(0, 1e9)
        | st.sampled_from((0.0, 1e-9, SERVICE, SERVICE, 3 * SERVICE)),
        max_size=300,
    ),
    st.integers(1, 200),
)
def test_whatever_it_is_told_it_stays_between_one_and_the_ceiling(
    ceiling: int, tellings: list[str | float], times: int
) -> None:
    pupil = Adaptive(ceiling)
    in_flight: deque[int] = deque()
    for telling in tellings * min(times, 2000 // max(1, len(tellings))):
        if telling == "refuse":
            pupil.refused()
        elif telling == "send" or not in_flight:
            in_flight.append(pupil.sent())
        else:
            seconds = None if isinstance(telling, str) else telling
            pupil.answered(in_flight.popleft(), seconds)
        assert 1 <= pupil.limit <= ceiling
        assert isinstance(pupil.limit, int)
