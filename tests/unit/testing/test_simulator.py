"""The simulator in process, in a loop whose time is only as long as what is waited for."""

import asyncio
import json
import selectors
from collections.abc import Coroutine
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
    SimulatedList,
    Simulator,
    Writes,
)

NOW = 1_700_000_000.0


class Selector(selectors.DefaultSelector):
    """Lets time pass instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "everything waits, for nothing"
        if not ready:
            self.now += timeout or 0.0
        return ready


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main)


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


def test_what_was_asked_is_remembered_without_the_signature() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=1.0)
        await simulator.send(request(3))
        await simulator.send(Request(endpoint="", method="GET", target="/other"))
        simulator.fail(Reset())
        with pytest.raises(TransportError):
            await simulator.send(request(4, Authorization="x"))
        good, bad, broken = simulator.requests
        assert (good.endpoint, good.page_num, good.page_size) == ("workList", 3, 10)
        assert good.filters == {"status": "DRAFT"}
        assert sorted(good.headers) == ["app_id", "req_from", "timestamp"]
        assert (good.started, good.ended, good.status, good.fault) == (0.0, 1.0, 200, None)
        assert (bad.endpoint, bad.page_num, bad.page_size, bad.status) == ("", None, None, 200)
        assert (broken.status, broken.fault, broken.ended) == (None, Reset(), 3.0)
        assert sorted(broken.headers) == ["app_id", "req_from", "timestamp"]
        assert simulator.served == 3
        assert "simulated-app" not in repr(good)

    run(main())


def test_nothing_is_remembered_if_so_wished() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, remember=False)
        await simulator.send(request())
        assert (simulator.requests, simulator.served) == ([], 1)

    run(main())


def test_latency_is_log_normal_about_its_median() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, latency=0.1, jitter=0.6)
        await asyncio.gather(*(simulator.send(request()) for _ in range(1001)))
        took = sorted(seen.ended - seen.started for seen in simulator.requests if seen.ended)
        assert 0.09 < took[500] < 0.11
        assert 0.04 < took[159] < 0.07  # one sigma below: 0.1 * exp(-0.6) = 0.055
        assert 0.16 < took[841] < 0.21
        assert (simulator.max_in_flight, simulator.in_flight) == (1001, 0)

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


def test_capacity_makes_the_others_wait_in_line() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock, capacity=3, service=1.0)
        await asyncio.gather(*(simulator.send(request(page)) for page in range(1, 9)))
        ends = [seen.ended for seen in simulator.requests]
        assert ends == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0]

    run(main())


def test_a_limited_rate() -> None:
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


def test_the_server_s_clock_may_be_ahead() -> None:
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
def test_faults_of_the_wire_in_process(fault: Fault, error: type[Exception]) -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        simulator.fail(fault)
        with pytest.raises(error):
            async with asyncio.timeout(1000):
                await simulator.send(request())
        assert simulator.in_flight == 0
        assert code(await simulator.send(request())) == 200

    run(main())


def test_faults_are_dealt_by_endpoint_page_and_probability() -> None:
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


def test_the_second_request_for_a_page_can_be_hit() -> None:
    async def main() -> None:
        simulator = Simulator(clock=clock)
        simulator.fail(Html(), page=1, after=1)
        statuses = [(await simulator.send(request(page))).status for page in (1, 2, 1, 1)]
        assert statuses == [200, 200, 502, 200]
        with pytest.raises(ValueError, match="after must be"):
            simulator.fail(Html(), after=-1)
        assert (await simulator.send(request())).status == 200

    run(main())


def test_background_writes() -> None:
    async def main() -> None:
        simulator = Simulator(works=500, clock=clock)
        mark = simulator.works.mark()
        before = simulator.works.present_since(mark)
        async with simulator.writing(inserts=10, updates=5, deletes=5) as writes:
            await asyncio.sleep(20)
        assert 150 < writes.inserts < 250
        assert 60 < writes.updates < 140
        assert 60 < writes.deletes < 140
        assert len(simulator.works) == 500 + writes.inserts - writes.deletes
        present = simulator.works.present_since(mark)
        assert present < before
        assert present == before & set(simulator.works.ids())
        done = Writes(writes.inserts, writes.updates, writes.deletes)
        await asyncio.sleep(20)
        assert writes == done

    run(main())


def test_even_writes_to_the_messages() -> None:
    async def main() -> None:
        simulator = Simulator(messages=5, clock=clock)
        async with simulator.writing(simulator.messages, deletes=2, even=True) as writes:
            await asyncio.sleep(2.25)
            assert writes.deletes == 4
            await asyncio.sleep(10)
        assert writes == Writes(deletes=5)  # there was no more to delete
        assert len(simulator.messages) == 0

    run(main())


def test_writes_are_the_same_for_the_same_seed() -> None:
    async def main() -> None:
        async def ids(simulator: Simulator, seed: int | None) -> list[int]:
            async with simulator.writing(inserts=5, updates=5, deletes=5, seed=seed):
                await asyncio.sleep(10)
            return simulator.works.ids()

        fixed = [await ids(Simulator(works=100, clock=lambda: NOW), 7) for _ in range(2)]
        assert fixed[0] == fixed[1]
        own = [await ids(Simulator(works=100, clock=lambda: NOW, seed=n), None) for n in (1, 1, 2)]
        assert own[0] == own[1] != own[2]

    run(main())


def test_no_writes_at_all() -> None:
    async def main() -> None:
        async with Simulator(clock=clock).writing() as writes:
            await asyncio.sleep(10)
        assert writes == Writes()

    run(main())


def test_an_error_of_the_writer_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def insert(rows: SimulatedList) -> None:
        raise RuntimeError("full")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="full"):
            async with Simulator(clock=clock).writing(inserts=10):
                await asyncio.sleep(10)

    monkeypatch.setattr(SimulatedList, "insert", insert)
    run(main())


def test_an_error_of_the_block_ends_the_writer() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with Simulator(clock=clock).writing(inserts=10):
                raise ZeroDivisionError
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
