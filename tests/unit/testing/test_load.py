"""Response times, the queue for workers, and the rate limit."""

import asyncio
from random import Random

import pytest

from dp_async.testing._load import Latency, RateLimit, Workers, wait
from tests.support.virtual_loop import run


def test_latency_is_log_normal_and_split_at_random() -> None:
    latency = Latency(0.1, 0.6, Random(1))
    draws = [latency.draw() for _ in range(1001)]
    totals = sorted(before + after for before, after in draws)
    assert 0.09 < totals[500] < 0.11
    assert 0.04 < totals[159] < 0.07  # one sigma below: 0.1 * exp(-0.6) = 0.055
    assert 0.16 < totals[841] < 0.21
    shares = sorted(before / (before + after) for before, after in draws)
    assert 0 <= shares[0] < 0.02
    assert 0.45 < shares[500] < 0.55
    assert 0.98 < shares[-1] <= 1


def test_no_latency() -> None:
    assert Latency(0.0, 0.6, Random(1)).draw() == (0.0, 0.0)


@pytest.mark.parametrize(("capacity", "rounds"), [(1, 8), (3, 3), (None, 1)])
def test_workers_serve_in_order(capacity: int | None, rounds: int) -> None:
    async def main() -> list[tuple[float, int]]:
        loop = asyncio.get_running_loop()
        workers = Workers(capacity, 1.0)
        served: list[tuple[float, int]] = []

        async def serve(number: int) -> None:
            async with workers.serving():
                served.append((loop.time(), number))

        await asyncio.gather(*map(serve, range(8)))
        return served

    served = run(main())
    at_once = capacity or 8
    assert sorted(served) == [(1.0 + number // at_once, number) for number in range(8)]
    assert served[-1][0] == rounds


def test_a_cancelled_request_frees_its_worker() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        workers = Workers(1, 10.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3), workers.serving():
                pass  # pragma: no cover
        async with workers.serving():
            return loop.time()

    assert run(main()) == 13.0


def test_the_rate_limit_counts_in_whole_seconds() -> None:
    rate = RateLimit(2)
    moments = (0.0, 0.9, 0.99, 1.0, 1.5, 1.9, 7.0, 7.0, 7.0)
    accepted = [rate.accept(now) for now in moments]
    assert accepted == [True, True, False] * 3


@pytest.mark.parametrize(("limit", "accepted"), [(0, False), (None, True)])
def test_no_requests_and_no_limit(limit: int | None, accepted: bool) -> None:
    rate = RateLimit(limit)
    assert [rate.accept(0.0) for _ in range(100)] == [accepted] * 100


def test_no_seconds_are_no_iteration_of_the_loop() -> None:
    async def main() -> None:
        others: list[int] = []
        asyncio.get_running_loop().call_soon(others.append, 1)
        await wait(0.0)
        assert not others
        await wait(1.0)
        assert others
        assert asyncio.get_running_loop().time() == 1.0

    run(main())
