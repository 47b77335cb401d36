"""What a simulator records of each request, and its counters."""

import asyncio

import pytest

from dp_async import Request, TransportError
from dp_async.testing import Reset, Simulator
from tests.support.virtual_loop import run

from .test_simulator import clock, request


def test_requests_are_recorded_without_the_signature() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=1.0)
        await simulator.send(request(3))
        await simulator.send(Request(endpoint="", method="GET", target="/other"))
        simulator.fail(Reset())
        with pytest.raises(TransportError):
            await simulator.send(request(4, Authorization="x"))
        good, bad, broken = simulator.requests
        assert (good.endpoint, good.page_num, good.page_size) == ("work_list", 3, 10)
        assert good.filters == {"status": "DRAFT"}
        assert sorted(good.headers) == ["app_id", "req_from", "timestamp"]
        assert (good.started, good.ended, good.status, good.fault) == (0.0, 1.0, 200, None)
        assert (bad.endpoint, bad.page_num, bad.page_size, bad.status) == ("", None, None, 200)
        assert (broken.status, broken.fault, broken.ended) == (None, Reset(), 3.0)
        assert sorted(broken.headers) == ["app_id", "req_from", "timestamp"]
        assert simulator.served == 3
        assert "simulated-app" not in repr(good)

    run(main())


def test_with_remember_off_requests_are_only_counted() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, remember=False)
        await simulator.send(request())
        assert (simulator.requests, simulator.served) == ([], 1)

    run(main())


def test_the_largest_number_in_flight() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=1.0)
        assert (simulator.served, simulator.in_flight, simulator.max_in_flight) == (0, 0, 0)
        tasks = [asyncio.create_task(simulator.send(request())) for _ in range(3)]
        await asyncio.sleep(0.5)
        assert (simulator.served, simulator.in_flight, simulator.max_in_flight) == (3, 3, 3)
        assert [seen.ended for seen in simulator.requests] == [None] * 3
        tasks[0].cancel()
        await asyncio.wait(tasks)
        await simulator.send(request())
        assert (simulator.served, simulator.in_flight, simulator.max_in_flight) == (4, 0, 3)
        assert [seen.status for seen in simulator.requests] == [None, 200, 200, 200]
        assert simulator.requests[0].ended == 0.5

    run(main())
