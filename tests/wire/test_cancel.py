"""Whoever is cancelled, whenever, leaves nothing behind; and one's trouble is nobody else's.

At every turn of the loop that a call or a crawl takes, in process and over HTTP on loopback, both
in virtual time; and at random moments in real time. Cancelled as a task, by a cancel scope, in a
task group.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from random import Random
from typing import Any

import anyio
import pytest
import uvloop

from dp_async import (
    Client,
    ClientClosed,
    CrawlOptions,
    Response,
    RetryPolicy,
    Work,
    crawl_accounts,
)
from dp_async.testing import Fault, HalfBody, Hang, Html, Reset, Simulator, Throttle
from tests.support.fake_server import SETTINGS, Server, until
from tests.wire.test_faults import (
    Advancing,
    LoopbackLoop,
    connections,
    in_flight,
    nothing_left,
    quietly,
    still_works,
)

ROWS = 45
CONCURRENCY = 3
OPTIONS = CrawlOptions(page_size=10, concurrency=CONCURRENCY)


# What is cancelled


async def call(client: Client) -> None:
    assert len(await client.work_list()) == 20


async def call_by_post(client: Client) -> None:
    assert len(await client.msg_list()) == 20


async def crawl(client: Client) -> None:
    async with client.works(options=OPTIONS).crawl() as crawling:
        assert len([work async for work in crawling]) == ROWS
        assert crawling.report.complete


async def leave(client: Client) -> None:
    """With pages under way, whose end is waited for."""
    async with client.works(options=OPTIONS).crawl() as crawling:
        rows = [await anext(crawling) for _ in range(11)]
    assert len(rows) == 11


async def iterate(client: Client) -> None:
    assert len([work async for work in client.works(options=OPTIONS)]) == ROWS


async def pages(client: Client) -> None:
    async with client.messages(options=OPTIONS).pages() as crawling:
        assert sum([len(page) async for page in crawling]) == ROWS


async def collect_in_any_order(client: Client) -> None:
    options = replace(OPTIONS, ordered=False)
    assert len(await client.messages(options=options).collect()) == ROWS


async def crawl_as_wide_as_it_goes(client: Client) -> None:
    """With pages so small that there are enough of them to adapt to."""
    options = CrawlOptions(page_size=2, concurrency="auto")
    assert len(await client.works(options=options).collect()) == ROWS


async def watch(client: Client) -> None:
    """From its beginning, through a rest, to its second look."""
    async with client.works(options=OPTIONS).watch(1.0) as watching:
        with suppress(TimeoutError):  # not by anyio: in 4.5 its scope swallows who cancels besides
            async with asyncio.timeout(1.5):
                await anext(watching)


async def crawl_several(client: Client) -> None:
    """Two accounts at once, of which the third begins when one is done."""
    accounts = ["1390", "1391", "1392"]
    async with crawl_accounts(
        client, accounts, lambda sub: sub.works(options=OPTIONS), at_once=2
    ) as crawling:
        assert len([work async for _, work in crawling]) == len(accounts) * ROWS


@dataclass(frozen=True)
class Scene:
    """What is done, the faults that are met once by a page each, and settings to wait by."""

    work: Callable[[Client], Coroutine[object, object, None]]
    faults: list[tuple[Fault, int]] = field(default_factory=list[tuple[Fault, int]])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @asynccontextmanager
    async def on_stage(
        self, *, in_process: bool, latency: float = 0.0
    ) -> AsyncGenerator[Client, None]:
        """A client of a simulator; afterwards nothing may be left of what was done with it."""
        simulator = Simulator(works=ROWS, messages=ROWS, latency=latency, jitter=0.6)
        for fault, page in self.faults:
            simulator.fail(fault, page=page)
        async with nullcontext() if in_process else simulator:
            given: dict[str, Any] = {"retry": RetryPolicy(base=0), "timeout": 40.0}
            settings = replace(simulator.settings, **(given | dict(self.settings)))
            async with Client(settings, send=simulator.send if in_process else None) as client:
                yield client
                simulator.heal()
                await nothing_left(client)
                await still_works(client)
            await until(lambda: not connections())


SLOW = RetryPolicy(attempts=3, base=10)
SCENES = {
    "a call": Scene(call),
    "a call by POST": Scene(call_by_post),
    "a call that sleeps before a retry": Scene(call, [(Html(), 1)] * 2, {"retry": SLOW}),
    "a call whose connection was reset": Scene(call, [(Reset(), 1)]),
    "a call whose time runs out": Scene(call, [(Hang(), 1)] * 2, {"timeout": 5.0}),
    "a call at the closed gate": Scene(call, [(Throttle(5), 1)] * 2),
    "a crawl": Scene(crawl),
    "a crawl that is left early": Scene(leave),
    "a crawl by its listing": Scene(iterate),
    "a crawl by its pages": Scene(pages),
    "a crawl in any order": Scene(collect_in_any_order),
    "a crawl that waits for places": Scene(crawl, settings={"max_in_flight": 1}),
    "a crawl that waits for its turns": Scene(crawl, settings={"rate": 1.0}),
    "a crawl at the closed gate": Scene(crawl, [(Throttle(5), 2), (Throttle(5), 3)]),
    "a crawl at the closed and narrow gate": Scene(
        crawl, [(Throttle(5), 1), (Throttle(5), 2)], {"max_in_flight": 2, "rate": 2.0}
    ),
    "a crawl that sleeps before a retry": Scene(
        crawl, [(Html(), 1), (HalfBody(), 2), (Html(), 3)], {"retry": SLOW}
    ),
    "a watch": Scene(watch),
    "a watch that waits through trouble": Scene(watch, [(Html(), 1), (Reset(), 1)] * 2),
    "a crawl of several accounts through trouble": Scene(
        crawl_several, [(Html(), 2), (HalfBody(), 3)], {"retry": SLOW}
    ),
    "a crawl that adapts": Scene(crawl_as_wide_as_it_goes, settings={"max_in_flight": 4}),
}


# Ways to cancel

Job = Callable[[], Coroutine[object, object, None]]
Started = tuple["asyncio.Task[bool]", Callable[[], object]]
"""A task, whose result is whether it was cut short, and what cancels it."""


def by_task(work: Job) -> Started:
    async def working() -> bool:
        await work()
        return False

    task = asyncio.create_task(working())
    return task, task.cancel


def by_scope(work: Job) -> Started:
    scope = anyio.CancelScope()

    async def working() -> bool:
        with scope:
            await work()
        return scope.cancelled_caught

    return asyncio.create_task(working()), scope.cancel


def by_group(work: Job) -> Started:
    """Twice at once: in the group, and beside it."""
    scope = anyio.CancelScope()

    async def working() -> bool:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await work()
        return scope.cancelled_caught

    return asyncio.create_task(working()), scope.cancel


Way = Callable[[Job], Started]


# At every turn


class Turns(Advancing):
    """Does something at the beginning of one of the loop's turns."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self.moment = moment
        self._left: int | None = None
        self._then: Callable[[], object] = lambda: None

    def count(self, turns: int, then: Callable[[], object]) -> None:
        """Call *then* after so many turns."""
        self._left, self._then = turns, then

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._left is None:
            return super().select(timeout)
        self._left -= 1
        if self._left >= 0:
            return super().select(timeout)
        self._left = None
        self._then()
        return super().select(0)  # there is something to do now


def at_every_turn(scene: Scene, way: Way, *, in_process: bool) -> None:
    """Cancel *scene* at the loop's first turn, and anew at its second, until it is over by then."""
    turns = Turns(0.0 if in_process else Turns.moment)
    latency = 0.05 if in_process else 0.0  # of virtual time: hardly two answers in one turn

    async def cancelled_at(turn: int) -> bool:
        async with scene.on_stage(in_process=in_process, latency=latency) as client:
            task, cancel = way(partial(scene.work, client))
            came = 0

            def cut_short() -> None:
                nonlocal came
                if not task.done():
                    cancel()
                    came += 1

            turns.count(turn, cut_short)
            await asyncio.wait({task})
            if came and way is by_task:
                assert task.cancelled(), "a cancellation was swallowed"
            else:  # what a scope could not cut short any more is whole
                assert task.result() <= came
        return bool(came)

    async def main() -> None:
        for turn in count():
            if not await cancelled_at(turn):
                assert turn > 5
                break

    quietly(main(), lambda: LoopbackLoop(turns))
    gc.collect()  # what was dropped would complain now


@pytest.mark.parametrize("way", [by_task, by_scope, by_group])
@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_left_at_whatever_turn_it_is_cancelled(name: str, way: Way) -> None:
    at_every_turn(SCENES[name], way, in_process=True)


@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_left_over_http_at_whatever_turn_a_task_is_cancelled(name: str) -> None:
    at_every_turn(SCENES[name], by_task, in_process=False)


@pytest.mark.parametrize("way", [by_scope, by_group])
@pytest.mark.parametrize("name", ["a call", "a crawl", "a crawl at the closed gate"])
def test_nothing_is_left_over_http_at_whatever_turn_a_scope_is_cancelled(
    name: str, way: Way
) -> None:
    at_every_turn(SCENES[name], way, in_process=False)


# At any moment


@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_left_whenever_anyio_moves_on(name: str) -> None:
    scene = SCENES[name]

    async def main() -> None:
        now = asyncio.get_running_loop().time
        ends: Counter[bool] = Counter()
        async with scene.on_stage(in_process=True, latency=0.05) as client:
            began = now()
            await scene.work(client)
            took = now() - began
        for moment in range(30):
            async with scene.on_stage(in_process=True, latency=0.05) as client:
                with anyio.move_on_after(moment / 30 * took) as scope:
                    await scene.work(client)
            ends[scope.cancelled_caught] += 1
        assert ends[True] >= 10  # some waits are spread at random, so not of all

    quietly(main(), lambda: LoopbackLoop(Turns(0.0)))
    gc.collect()


@pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_nothing_is_left_at_200_random_moments(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    random = Random(1)
    works = [call, call_by_post, crawl, iterate, pages, collect_in_any_order]
    ends: Counter[bool] = Counter()

    async def main() -> None:
        async with Simulator(works=ROWS, messages=ROWS, latency=0.0005, jitter=1.0) as simulator:
            retry = RetryPolicy(attempts=9, base=0.001)
            settings = replace(simulator.settings, retry=retry, rate=5000.0)
            async with Client(settings) as client:
                for _ in range(200):
                    for fault in (Html(), Reset(), HalfBody(), Throttle(0)):
                        simulator.fail(fault, times=None, probability=0.05)
                    task = asyncio.create_task(random.choice(works)(client))
                    for _ in range(random.randrange(300)):
                        await asyncio.sleep(0)
                    ends[task.cancel()] += 1
                    await asyncio.wait({task})
                    assert task.cancelled() or task.result() is None
                    simulator.heal()
                    await nothing_left(client)
                await still_works(client)
            await until(lambda: not connections())

    quietly(main(), loop_factory)
    gc.collect()
    assert ends[True] > 100


# One's trouble is nobody else's


@pytest.mark.parametrize(
    ("template", "accounts"),
    [
        ("{app_id}{app_secret}{timestamp}", [None, "13800000001", "13900000002"]),
        ("{app_secret}{account}{timestamp}", ["13700000000", "13800000001", "13900000002"]),
    ],
)
async def test_no_account_and_no_client_ever_speaks_for_another(
    template: str, accounts: list[str | None]
) -> None:
    """Each server checks the signatures, by its own secret, which the other client has not."""
    apps = {"one": "sesame", "two": "barley"}
    # Which of them asks is told by the filter that only it has.
    asking: dict[str, str | None] = dict(zip(("SUCCESS", "DRAFT", "FAIL"), accounts, strict=True))
    simulators = {
        app_id: Simulator(
            works=200,
            latency=0.002,
            jitter=1.0,
            app_id=app_id,
            app_secret=secret,
            auth_template=template,
        )
        for app_id, secret in apps.items()
    }
    crawls: list[Coroutine[object, object, list[Work]]] = []
    async with AsyncExitStack() as stack:
        for simulator in simulators.values():
            await stack.enter_async_context(simulator)
            client = await stack.enter_async_context(Client(simulator.settings))
            for status, account in asking.items():
                listing = client.for_account(account).works(status=status, options=OPTIONS)
                crawls += [listing.collect(), listing.collect()]
        found = await asyncio.gather(*crawls)
    assert all(found)  # by a signature that was good
    for app_id, simulator in simulators.items():
        assert simulator.max_in_flight > CONCURRENCY  # several crawls ran at once
        for seen in simulator.requests:
            assert seen.headers["app_id"] == app_id
            assert seen.headers.get("account") == asking[seen.filters["status"]]


async def test_a_consumer_that_stops_keeps_no_other_crawl_from_its_end() -> None:
    async with Simulator(works=200, messages=200) as simulator:
        async with Client(replace(simulator.settings, max_in_flight=2)) as client:
            async with client.works(options=OPTIONS).crawl() as stopped:
                first = await anext(stopped)
                assert len(await client.messages(options=OPTIONS).collect()) == 200
                view = client.for_account("13800000001")
                assert len(await view.works(options=OPTIONS).collect()) == 200
                await until(lambda: not client.stats.in_flight)
                assert not any(in_flight(client))
                rest = [work async for work in stopped]
            ids = [work.digital_person_works_id for work in (first, *rest)]
            assert ids == simulator.works.ids()


# Closed meanwhile

LONG = 3600.0
PATIENT = RetryPolicy(attempts=3, base=LONG, cap=LONG)


async def closed(client: Client, tasks: list[asyncio.Task[None]]) -> None:
    """Close the client, which must end all *tasks* by ClientClosed, without any time going by."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    await client.aclose()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [ClientClosed] * len(tasks)
    assert loop.time() == now


def started(client: Client) -> list[asyncio.Task[None]]:
    """Two calls and two crawls."""
    return [asyncio.create_task(work(client)) for work in (call, call_by_post, crawl, pages)]


@pytest.mark.parametrize(
    ("fault", "settings", "requests", "under_way"),
    [
        pytest.param(Hang(), {"max_in_flight": 1}, 1, 1, id="for a place"),
        pytest.param(Hang(), {"rate": 0.001}, 1, 1, id="for their turn"),
        pytest.param(Throttle(1000), {}, 2, 0, id="at the closed gate"),
        pytest.param(Html(), {}, 4, 0, id="before a retry"),
    ],
)
def test_all_who_wait_end_at_once_when_the_client_is_closed(
    fault: Fault, settings: dict[str, Any], requests: int, under_way: int
) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.fail(fault, times=None)
        client = Client(
            replace(simulator.settings, timeout=LONG, retry=PATIENT, **settings),
            send=simulator.send,
        )
        tasks = started(client)
        state = (requests, under_way)
        await until(lambda: (client.stats.requests, client.stats.in_flight) == state)
        await closed(client, tasks[under_way:])
        for task in tasks[:under_way]:  # on an exchange that is not the client's to end
            task.cancel()
            await asyncio.wait({task})
        assert not any(in_flight(client))

    quietly(main(), lambda: LoopbackLoop(Turns(0.0)))


@pytest.mark.parametrize("attempts", [1, 3])
def test_all_that_is_under_way_ends_at_once_when_the_client_is_closed(attempts: int) -> None:
    async def main() -> None:
        async with Simulator() as simulator:
            simulator.fail(Hang(), times=None)
            retry = replace(PATIENT, attempts=attempts)
            client = Client(replace(simulator.settings, timeout=LONG, retry=retry))
            tasks = started(client)
            await until(lambda: simulator.in_flight == len(tasks))
            await closed(client, tasks)
            assert not any(in_flight(client))
            await until(lambda: not connections())

    quietly(main())


def test_what_fails_after_the_client_was_closed_is_not_waited_for() -> None:
    async def main() -> None:
        server = Server(20)
        answers = server.hold(1)
        server.script[1] = [Response(status=503)]
        client = Client(replace(SETTINGS, retry=RetryPolicy(base=LONG, cap=LONG)), send=server)
        task = asyncio.create_task(call(client))
        await until(lambda: server.in_flight == 1)
        await client.aclose()
        answers.set()
        await closed(client, [task])

    quietly(main(), lambda: LoopbackLoop(Turns(0.0)))
