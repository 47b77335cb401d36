"""The simulator in process, in virtual time: how its parts work together."""

import asyncio
import json
from hashlib import md5
from typing import Any

import pytest

from dp_async import Request, Response, ResponseTooLarge, Settings, TransportError
from dp_async.testing import (
    Bomb,
    Drip,
    Endless,
    Fault,
    HalfBody,
    Hang,
    Html,
    Reset,
    SeenRequest,
    Simulator,
)
from tests.support.virtual_loop import run

NOW = 1_700_000_000.0


def now() -> float:
    return asyncio.get_running_loop().time()


def clock() -> float:
    return NOW + now()


def request(page: int = 1, size: int = 10, **changed: str) -> Request:
    timestamp = str(round((NOW + now()) * 1000))
    auth = f"simulated-appsimulated-secret{timestamp}"
    headers = {
        "authorization": md5(auth.encode(), usedforsecurity=False).hexdigest(),
        "req_from": "C",
        "timestamp": timestamp,
        "app_id": "simulated-app",
    }
    target = f"/openApiDigitalPerson/customer/workList?pageNum={page}&pageSize={size}&status=DRAFT"
    return Request(endpoint="workList", method="GET", target=target, headers=headers | changed)


def code(response: Response) -> Any:
    return json.loads(response.body)["code"]


def duration(seen: SeenRequest) -> float:
    assert seen.ended is not None
    return seen.ended - seen.started


def test_without_a_server() -> None:
    simulator = Simulator()
    assert simulator.url == "http://127.0.0.1"
    assert simulator.settings == Settings(
        base_url="http://127.0.0.1", app_id="simulated-app", app_secret="simulated-secret"
    )
    assert (len(simulator.works), len(simulator.messages)) == (1070, 530)


def test_an_answer_in_process() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        response = await simulator.send(request())
        assert code(response) == 200
        assert now() == 0
        assert len(json.loads(response.body)["data"]["content"]) == 10

    run(main())


def test_rows_are_read_between_request_and_answer() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=1.0)
        moments: list[float] = []
        simulator.works.between = lambda: moments.append(now())
        for _ in range(50):
            await simulator.send(request())
        shares = [moment - number for number, moment in enumerate(moments)]
        assert 0 <= min(shares) < 0.2
        assert 0.8 < max(shares) <= 1

    run(main())


def test_latency_service_and_capacity_add_up() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=8.0, capacity=3, service=1.0)
        await asyncio.gather(*(simulator.send(request(page)) for page in range(1, 9)))
        took = sorted(duration(seen) for seen in simulator.requests)
        assert took[0] >= 9.0  # latency and service
        assert took[-1] > 9.0  # and time in the queue
        assert (simulator.max_in_flight, simulator.in_flight) == (8, 0)
        jittered = Simulator(clock=clock, latency=8.0, jitter=0.5)
        await asyncio.gather(*(jittered.send(request(page)) for page in range(1, 9)))
        assert len({duration(seen) for seen in jittered.requests}) == 8

    run(main())


def test_requests_beyond_the_rate_get_a_429() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, limit_rate=2)
        codes = [code(await simulator.send(request())) for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        refused = await simulator.send(request())
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        await asyncio.sleep(1)
        assert code(await simulator.send(request())) == 200

    run(main())


def test_a_429_uses_no_fault_up() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, limit_rate=0)
        simulator.fail(Html())
        assert (await simulator.send(request())).status == 429
        simulator.heal()

    run(main())


def test_the_server_s_clock_can_be_ahead() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, skew=600.0)
        response = await simulator.send(request())
        assert code(response) == 401
        assert response.headers["date"] == "Tue, 14 Nov 2023 22:23:20 GMT"
        assert code(await Simulator(clock=clock, skew=600, tolerance=601).send(request())) == 200

    run(main())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reset(), TransportError),
        (HalfBody(), TransportError),
        (Bomb(), ResponseTooLarge),
        (Endless(), ResponseTooLarge),
        (Hang(), TimeoutError),
        (Drip(), TimeoutError),
    ],
)
def test_wire_faults_in_process(fault: Fault, error: type[Exception]) -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        simulator.fail(fault)
        with pytest.raises(error):
            async with asyncio.timeout(1000):
                await simulator.send(request())
        assert simulator.in_flight == 0
        assert code(await simulator.send(request())) == 200

    run(main())


def test_faults_are_selected_by_endpoint_page_and_probability() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        simulator.fail(Html(), page=2, endpoint="workList", probability=1.0)
        assert (await simulator.send(request(1))).status == 200
        assert (await simulator.send(request(2))).status == 502
        simulator.fail(Html(503), times=None)
        assert [(await simulator.send(request())).status for _ in range(3)] == [503] * 3
        simulator.heal()
        assert (await simulator.send(request())).status == 200

    run(main())


def test_the_seed_decides_which_requests_get_a_fault() -> None:
    async def statuses(seed: int) -> list[int]:
        simulator = Simulator(clock=clock, seed=seed)
        simulator.fail(Html(), times=None, probability=0.5)
        return [(await simulator.send(request())).status for _ in range(20)]

    async def main() -> None:
        assert await statuses(1) == await statuses(1) != await statuses(2)

    run(main())


def test_a_fault_for_the_second_request_of_a_page() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        simulator.fail(Html(), page=1, after=1)
        statuses = [(await simulator.send(request(page))).status for page in (1, 2, 1, 1)]
        assert statuses == [200, 200, 502, 200]
        with pytest.raises(ValueError, match="after must be"):
            simulator.fail(Html(), after=-1)
        assert (await simulator.send(request())).status == 200

    run(main())
