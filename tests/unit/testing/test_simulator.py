"""The simulator in process, in virtual time: how its parts work together."""

import asyncio
import json
from collections.abc import Callable
from hashlib import md5
from typing import Any

import pytest

from dp_async import (
    ConfigError,
    DpError,
    Request,
    Response,
    ResponseTooLarge,
    Settings,
    TransportError,
)
from dp_async.testing import (
    Bomb,
    Database,
    Drip,
    Endless,
    Fault,
    HalfBody,
    Hang,
    Html,
    Reset,
    SeenRequest,
    SimulatedList,
    Simulator,
    SimulatorMisused,
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
    return Request(endpoint="work_list", method="GET", target=target, headers=headers | changed)


def code(response: Response) -> Any:
    return json.loads(response.body)["code"]


def duration(seen: SeenRequest) -> float:
    assert seen.ended is not None
    return seen.ended - seen.started


def test_without_a_server() -> None:
    simulator = Simulator()
    assert simulator.in_process_settings == Settings(
        base_url="http://127.0.0.1", app_id="simulated-app", app_secret="simulated-secret"
    )
    for name in ("url", "settings"):
        with pytest.raises(SimulatorMisused, match="this simulator is not running, ") as caught:
            getattr(simulator, name)
        assert isinstance(caught.value, DpError)
        assert isinstance(caught.value, RuntimeError)
        assert "`async with Simulator(...) as simulator:`" in str(caught.value)
        assert "Client(simulator.in_process_settings, send=simulator.send)" in str(caught.value)
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
        simulator.fail(Html(), page=2, endpoint="work_list", probability=1.0)
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


def test_a_database_is_behind_both_lists_and_the_answers() -> None:
    async def main() -> None:
        database = Database(stampers=(3600.0,), echoes_page_size=False)
        simulator = Simulator(clock=clock, max_page_size=5, database=database)
        for rows in (simulator.works, simulator.messages):
            assert rows.row(rows.insert())["createTime"] == "2023-11-15 07:13:20"
        simulator.works.update(simulator.works.ids()[0], status="DRAFT")
        page = json.loads((await simulator.send(request(size=9))).body)["data"]
        assert (page["size"], page["numberOfElements"]) == (9, 5)

    run(main())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"works": -1}, "count must be a whole number of at least 0, not -1"),
    ({"messages": 1.5}, "count must be a whole number of at least 0, not 1.5"),
    ({"latency": -0.1}, "latency must be a number of at least 0, not -0.1"),
    ({"jitter": "1"}, "jitter must be a number"),
    ({"capacity": 0}, "capacity must be a whole number of at least 1"),
    ({"service": float("nan")}, "service must be a number"),
    ({"limit_rate": True}, "limit_rate must be a whole number"),
    ({"lateness": float("inf")}, "lateness must be a number"),
    ({"max_page_size": 0}, "max_page_size must be a whole number of at least 1"),
    ({"shape": "deep"}, "shape must be 'flat' or 'nested', not 'deep'"),
    ({"timestamp_unit": "us"}, "timestamp_unit must be 'ms' or 's', not 'us'"),
    ({"port": -1}, "port must be a whole number of at least 0 and at most 65535, not -1"),
    ({"port": 99_999}, "port must be a whole number of at least 0 and at most 65535, not 99999"),
    ({"accounts": "123"}, "accounts must be a list of texts or None, not '123'"),
    ({"accounts": 7}, "accounts must be a list of texts or None, not 7"),
    ({"tolerance": -1}, "tolerance must be a number of at least 0, not -1"),
    ({"skew": "1"}, "skew must be a number"),
    ({"clock": 5}, "clock must be a callable, not 5"),
    ({"database": "pg"}, "database must be a Database, not 'pg'"),
    ({"auth_template": "{x}"}, "auth_template may hold only the plain fields"),
    ({"app_id": ""}, "app_id must be printable ASCII"),
    ({"app_secret": ""}, "app_secret must not be empty"),
]


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_what_cannot_work_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Simulator(**given)


NAMES_A_LIST: dict[str, Callable[[Any], object]] = {
    "writing": lambda name: Simulator().writing(name, inserts=1),
    "fail": lambda name: Simulator().fail(Html(), endpoint=name),
    "SimulatedList": lambda name: SimulatedList(name, 1),
}


@pytest.mark.parametrize("wrong", ["workList", "works", "", 1, Simulator().works])
@pytest.mark.parametrize("method", NAMES_A_LIST)
def test_an_unknown_list_is_refused_with_the_known_ones(method: str, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^endpoint must be 'work_list' or 'msg_list', not "):
        NAMES_A_LIST[method](wrong)


def test_a_writer_names_its_list() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'endpoint'"):
        Simulator().writing(inserts=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # as in a hurry
