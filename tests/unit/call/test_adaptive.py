"""The adaptive limit finds the capacity of simulated servers from latencies alone.

No loop and no clock: the simulation is a queue of events, and randomness has a seed.
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
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_async._call.adaptive import FEW, PROBE_EVERY_AT_ONE, START, Adaptive

SERVICE = 0.05
#: Seconds from an answer to the next request, at most.
REACTION = 0.002

Service = Callable[[Random, int], float]


def steady(chance: Random, number: int) -> float:
    """Every request takes the same time."""
    return SERVICE


def varying(chance: Random, number: int) -> float:
    """Latencies vary, log-normally as real ones do."""
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
    """*pages* requests, as many in flight as *adaptive* says, to a server that works on *at_once*
    and queues the others.
    """

    adaptive: Adaptive
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
        sent: list[tuple[float, int]] = []  # when, in which round
        under_way = 0
        now = 0.0
        while len(self.times) < self.pages:
            while under_way + len(waiting) < self.adaptive.limit and len(sent) < self.pages:
                sent.append((now + chance.uniform(0, REACTION), self.adaptive.sent()))
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
            self.adaptive.answered(sent[number][1], self.latencies[-1])
            self.limits.append(self.adaptive.limit)
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
    mean = SERVICE * (exp(0.6**2 / 2) if service is varying else 1)
    return min(at_once, most) / mean


NO_LIMIT = 10_000


# Simulated servers


def test_it_starts_low_and_doubles_while_latency_does_not_grow() -> None:
    adaptive = Adaptive(64)
    limits = Crawl(adaptive, 400, NO_LIMIT).run().limits
    assert START == 4
    assert list(dict.fromkeys([START, *limits])) == [4, 8, 16, 32, 64]


@pytest.mark.parametrize("at_once", [1, 2, 8, 32])
def test_it_finds_the_capacity_of_a_server(at_once: int) -> None:
    crawl = Crawl(Adaptive(64), 4000, at_once).run()
    assert crawl.throughput() >= 0.9 * best(at_once)
    assert crawl.p95() <= 2 * SERVICE
    assert at_once <= crawl.limits[-1] <= max(at_once + 1, 1.3 * at_once)


def test_without_a_limit_of_the_server_it_goes_to_its_ceiling() -> None:
    crawl = Crawl(Adaptive(64), 4000, NO_LIMIT).run()
    assert crawl.throughput() >= 0.9 * best(NO_LIMIT)
    assert crawl.limits[-1] == 64


@pytest.mark.parametrize("seed", range(3))
def test_random_latencies_cost_little_throughput(seed: int) -> None:
    crawl = Crawl(Adaptive(64), 4000, NO_LIMIT, varying, seed).run()
    ceiling = Crawl(Fixed(64), 4000, NO_LIMIT, varying, seed).run()
    assert crawl.throughput() >= 0.8 * ceiling.throughput()


@pytest.mark.parametrize(("ceiling", "seed"), [(8, 0), (16, 1), (64, 2)])
def test_random_latencies_lower_the_limit_only_to_probe(ceiling: int, seed: int) -> None:
    limits = Crawl(Adaptive(ceiling), 6000, NO_LIMIT, varying, seed).run().limits[2000:]
    assert min(limits) >= ceiling // 2
    assert sum(limit < ceiling for limit in limits) < 0.1 * len(limits)


def test_a_limit_that_had_a_queue_is_not_tried_again_soon() -> None:
    limits = Crawl(Adaptive(64), 8000, 2).run().limits[2000:]
    assert sum(limit > 3 for limit in limits) < 0.1 * len(limits)


def test_the_baseline_is_measured_again() -> None:
    adaptive = Adaptive(64)
    assert Crawl(adaptive, 1000, NO_LIMIT).run().limits[-1] == 64
    adaptive.refused()

    def slower(chance: Random, number: int) -> float:
        return 1.2 * SERVICE  # too little to be a queue, too much to try more

    assert Crawl(adaptive, 4000, NO_LIMIT, slower).run().limits[-1] == 64


@pytest.mark.parametrize(
    ("at_once", "ceiling"),
    [(NO_LIMIT, 8), (NO_LIMIT, 12), (NO_LIMIT, 64), (8, 16), (8, 64)],
)
def test_a_server_that_gets_slower_is_not_taken_for_a_full_one(at_once: int, ceiling: int) -> None:
    def slower(chance: Random, number: int) -> float:
        return SERVICE * (1 if number < 2000 else 3)

    crawl = Crawl(Adaptive(ceiling), 8000, at_once, slower).run()
    assert crawl.throughput(0.7) >= 0.8 * best(at_once, most=ceiling) / 3


@pytest.mark.parametrize("latency", [0.5, 1.0, 2.0])
def test_a_step_in_latency_is_taken_for_a_slower_server_within_20_seconds(latency: float) -> None:
    def stepping(chance: Random, number: int) -> float:
        median = SERVICE if number < 4000 else latency
        return median * chance.lognormvariate(0, 0.3)

    crawl = Crawl(Adaptive(16), 4000 + int(40 * 16 / latency), NO_LIMIT, stepping).run()
    late = [
        crawl.limits[each] for each, time in enumerate(crawl.times) if time > crawl.times[3999] + 20
    ]
    assert sum(late) / len(late) >= 0.9 * 16


def uniform(chance: Random, number: int) -> float:
    return chance.uniform(0.05, 0.15)


def uneven(chance: Random, number: int) -> float:
    return SERVICE * chance.lognormvariate(0, 1.0)


def lossy(chance: Random, number: int) -> float:
    """Of a hundred requests, five are lost and sent again."""
    return SERVICE * chance.lognormvariate(0, 0.3) + (chance.random() < 0.05)


@pytest.mark.parametrize("service", [varying, uneven, uniform, lossy])
def test_chance_is_not_taken_for_load(service: Service) -> None:
    for seed in range(12):
        limits = Crawl(Adaptive(16), 2000, NO_LIMIT, service, seed).run().limits[1000:]
        assert sum(limits) / len(limits) >= 0.7 * 16


def test_more_capacity_is_found() -> None:
    adaptive = Adaptive(64)
    Crawl(adaptive, 1000, 1).run()
    assert Crawl(adaptive, 4000, 8).run().throughput() >= 0.9 * best(8)


def test_less_capacity_is_found() -> None:
    adaptive = Adaptive(64)
    assert Crawl(adaptive, 1000, 32).run().limits[-1] >= 32
    crawl = Crawl(adaptive, 4000, 8).run()
    assert crawl.throughput() >= 0.9 * best(8)
    assert crawl.p95() <= 2 * SERVICE


def test_the_next_crawl_starts_at_the_learned_limit() -> None:
    adaptive = Adaptive(64)
    learned = Crawl(adaptive, 2000, 8).run().limits[-1]
    limits = Crawl(adaptive, 200, 8).run().limits
    assert limits[0] == learned  # and not two, to begin with
    assert min(limits) >= learned // 2


# Single answers


def answer(adaptive: Adaptive, count: int, seconds: float | None = SERVICE) -> None:
    """*count* requests are answered after *seconds*, as many in flight as the limit."""
    while count > 0:
        sent = [adaptive.sent() for _ in range(min(count, adaptive.limit))]
        for one in sent:
            adaptive.answered(one, seconds)
        count -= len(sent)


def test_a_refusal_begins_a_round_and_keeps_the_limit() -> None:
    adaptive = Adaptive(64)
    answer(adaptive, 8 + 8)
    assert adaptive.limit == 16
    adaptive.refused()
    assert adaptive.limit == 16
    earlier = adaptive.sent()
    adaptive.refused()
    adaptive.answered(earlier, 100.0)
    answer(adaptive, 16)
    assert adaptive.limit == 32


def test_after_refusals_the_limit_recovers() -> None:
    adaptive = Adaptive(16)
    for _ in range(6):
        adaptive.refused()
    assert adaptive.limit == START
    assert Crawl(adaptive, 2000, NO_LIMIT).run().limits[-1] == 16


def test_a_refusal_ends_a_probe() -> None:
    adaptive = Adaptive(16)
    limits = [adaptive.limit]
    while len(limits) < 100 and 8 not in limits[4:]:
        answer(adaptive, 32)
        limits.append(adaptive.limit)
    assert limits[-2:] == [16, 8]  # the probe
    adaptive.refused()
    assert adaptive.limit == 16
    answer(adaptive, 32)
    assert adaptive.limit == 16


def test_a_limit_of_one_is_probed_upwards_sooner() -> None:
    adaptive = Adaptive(64)
    limits = Crawl(adaptive, 4000, 1).run().limits
    at_one = limits[limits.index(1) :]
    assert adaptive.limit <= 2
    longest = max(len(run) for run in "".join(map(str, at_one)).split("2"))
    assert longest <= (PROBE_EVERY_AT_ONE + 3) * FEW


def test_the_baseline_is_probed_at_half_the_limit_now_and_then() -> None:
    limits = Crawl(Adaptive(16), 4000, NO_LIMIT).run().limits[1000:]
    assert set(limits) == {8, 16}
    assert limits.count(8) < 0.1 * len(limits)


def test_answers_without_a_latency_change_nothing() -> None:
    adaptive = Adaptive(64)
    answer(adaptive, 1000, None)
    assert adaptive.limit == START
    answer(adaptive, FEW)
    assert adaptive.limit == 2 * START


def test_latencies_of_an_earlier_round_do_not_count() -> None:
    adaptive = Adaptive(64)
    earlier = [adaptive.sent() for _ in range(40)]
    answer(adaptive, FEW)
    assert adaptive.limit == 8
    for one in earlier:
        adaptive.answered(one, 100.0)
    answer(adaptive, 8)
    assert adaptive.limit == 16


def test_the_limit_grows_only_if_it_was_reached() -> None:
    adaptive = Adaptive(64)
    answer(adaptive, 2 + 4)
    for _ in range(500):
        adaptive.answered(adaptive.sent(), SERVICE)
    assert adaptive.limit == 8
    answer(adaptive, 8)
    assert adaptive.limit == 16
    adaptive.refused()
    for _ in range(500):
        adaptive.answered(adaptive.sent(), SERVICE)
    assert adaptive.limit == 16


def test_its_memory_does_not_grow() -> None:
    adaptive = Adaptive(64)
    for _ in range(2000):
        adaptive.answered(adaptive.sent(), SERVICE)  # a slow consumer: one at a time
    assert len(pickle.dumps(adaptive)) < 4000


@pytest.mark.parametrize("ceiling", [1, 2, 3, 64])
def test_a_latency_of_zero_is_accepted(ceiling: int) -> None:
    adaptive = Adaptive(ceiling)
    answer(adaptive, 1000, 0.0)
    assert adaptive.limit == ceiling


def test_a_ceiling_of_one_is_one() -> None:
    assert set(Crawl(Adaptive(1), 500, NO_LIMIT, varying).run().limits) == {1}


@settings(max_examples=40)
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
def test_the_limit_stays_between_one_and_the_ceiling(
    ceiling: int, events: list[str | float], times: int
) -> None:
    adaptive = Adaptive(ceiling)
    in_flight: deque[int] = deque()
    for event in events * min(times, 2000 // max(1, len(events))):
        if event == "refuse":
            adaptive.refused()
        elif event == "send" or not in_flight:
            in_flight.append(adaptive.sent())
        else:
            seconds = None if isinstance(event, str) else event
            adaptive.answered(in_flight.popleft(), seconds)
        assert 1 <= adaptive.limit <= ceiling
        assert isinstance(adaptive.limit, int)


def test_a_limit_that_had_a_queue_is_not_tried_again_before_the_next_baseline() -> None:
    adaptive, limits = Adaptive(64), [START]
    for _ in range(6):
        round_sent = [adaptive.sent() for _ in range(adaptive.limit * 20)]
        limit = adaptive.limit
        for sent in round_sent:
            adaptive.answered(sent, SERVICE if limit < 16 else 1.5 * SERVICE)
        limits.append(adaptive.limit)
    first = limits.index(16)
    assert all(limit < 16 for limit in limits[first + 1 :]), limits
    assert limits[-1] > limits[first + 1], limits
