"""Cancellation leaves nothing behind, at any moment; and one consumer does not affect another.

Work is cancelled as a task, by a cancel scope and in a task group: at each iteration of the event
loop, in process and over HTTP on loopback, both in virtual time; and at random moments in real
time. The quick run takes a sample; the slow tests take every combination.
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
from itertools import count, product
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
    WorkStatus,
    crawl_accounts,
)
from dp_async.testing import Fault, HalfBody, Hang, Html, Reset, Simulator, Throttle
from tests.support.fake_server import SETTINGS, Server, until
from tests.support.loopback import (
    Advancing,
    LoopbackLoop,
    connections,
    nothing_left,
    permits_in_use,
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


async def stop_early(client: Client) -> None:
    """While pages are in flight; the end of the block waits for their cancellation."""
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


async def crawl_adaptively(client: Client) -> None:
    """With small pages: enough of them to adapt to."""
    options = CrawlOptions(page_size=2, concurrency="auto")
    assert len(await client.works(options=options).collect()) == ROWS


async def watch(client: Client) -> None:
    """From the start to the second poll."""
    async with client.works(options=OPTIONS).watch(1.0) as watching:
        with suppress(TimeoutError):  # anyio 4.5: its scope swallows a second cancellation
            async with asyncio.timeout(1.5):
                await anext(watching)


async def crawl_several(client: Client) -> None:
    """Three accounts, two at once: the third starts when another is done."""
    accounts = ["1390", "1391", "1392"]
    async with crawl_accounts(
        client, accounts, lambda sub: sub.works(options=OPTIONS), at_once=2
    ) as crawling:
        assert len([work async for _, work in crawling]) == len(accounts) * ROWS


@dataclass(frozen=True)
class Scene:
    """The work to cancel, faults (each once, at a page), and settings."""

    work: Callable[[Client], Coroutine[object, object, None]]
    faults: list[tuple[Fault, int]] = field(default_factory=list[tuple[Fault, int]])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @asynccontextmanager
    async def running(
        self, *, in_process: bool, latency: float = 0.0
    ) -> AsyncGenerator[Client, None]:
        """A client of a simulator; after the block, nothing of its work may be left."""
        simulator = Simulator(works=ROWS, messages=ROWS, latency=latency, jitter=0.6)
        for fault, page in self.faults:
            simulator.fail(fault, page=page)
        async with nullcontext() if in_process else simulator:
            given: dict[str, Any] = {"retry": RetryPolicy(base=0), "timeout": 40.0}
            served = simulator.in_process_settings if in_process else simulator.settings
            settings = replace(served, **(given | dict(self.settings)))
            async with Client(settings, send=simulator.send if in_process else None) as client:
                yield client
                simulator.heal()
                await nothing_left(client)
                await still_works(client)
            await until(lambda: not connections())


LONG_BACKOFF = RetryPolicy(attempts=3, base=10)
SCENES = {
    "a call": Scene(call),
    "a call by POST": Scene(call_by_post),
    "a call that sleeps before a retry": Scene(call, [(Html(), 1)] * 2, {"retry": LONG_BACKOFF}),
    "a call whose connection was reset": Scene(call, [(Reset(), 1)]),
    "a call that times out": Scene(call, [(Hang(), 1)] * 2, {"timeout": 5.0}),
    "a call that waits after a 429": Scene(call, [(Throttle(5), 1)] * 2),
    "a crawl": Scene(crawl),
    "a crawl that stops early": Scene(stop_early),
    "a crawl by iterating its listing": Scene(iterate),
    "a crawl by its pages": Scene(pages),
    "a crawl in any order": Scene(collect_in_any_order),
    "a crawl that waits for slots": Scene(crawl, settings={"max_in_flight": 1}),
    "a crawl at a limited rate": Scene(crawl, settings={"rate": 1.0}),
    "a crawl that waits after a 429": Scene(crawl, [(Throttle(5), 2), (Throttle(5), 3)]),
    "a crawl that waits after a 429, with low limits": Scene(
        crawl, [(Throttle(5), 1), (Throttle(5), 2)], {"max_in_flight": 2, "rate": 2.0}
    ),
    "a crawl that sleeps before a retry": Scene(
        crawl, [(Html(), 1), (HalfBody(), 2), (Html(), 3)], {"retry": LONG_BACKOFF}
    ),
    "a watch": Scene(watch),
    "a watch through failures": Scene(watch, [(Html(), 1), (Reset(), 1)] * 2),
    "a crawl of several accounts through failures": Scene(
        crawl_several, [(Html(), 2), (HalfBody(), 3)], {"retry": LONG_BACKOFF}
    ),
    "a crawl with adaptive concurrency": Scene(crawl_adaptively, settings={"max_in_flight": 4}),
}


# Ways to cancel

Job = Callable[[], Coroutine[object, object, None]]
Started = tuple["asyncio.Task[bool]", Callable[[], object]]
"""A task that returns whether its work was cancelled, and the function that cancels it."""


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
    """Runs the work twice at once: as a task of the group, and in its host task."""
    scope = anyio.CancelScope()

    async def working() -> bool:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await work()
        return scope.cancelled_caught

    return asyncio.create_task(working()), scope.cancel


Way = Callable[[Job], Started]


# At each iteration of the event loop


class Countdown(Advancing):
    """A selector that calls a function before one of the loop's next iterations."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self.moment = moment
        self._left: int | None = None
        self._callback: Callable[[], object] = lambda: None

    def start(self, iterations: int, callback: Callable[[], object]) -> None:
        """Calls *callback* after this many iterations."""
        self._left, self._callback = iterations, callback

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._left is None:
            return super().select(timeout)
        self._left -= 1
        if self._left >= 0:
            return super().select(timeout)
        self._left = None
        self._callback()
        return super().select(0)  # the callback has made something ready


def cancel_at_each_iteration(scene: Scene, way: Way, *, in_process: bool, every: int = 1) -> None:
    """Runs *scene* again and again, cancelled *every* iteration later, until it ends before that.

    After each run, nothing may be left of it.
    """
    countdown = Countdown(0.0 if in_process else Countdown.moment)
    latency = 0.05 if in_process else 0.0  # of virtual time: answers rarely share an iteration

    async def cancelled_at(iteration: int) -> bool:
        async with scene.running(in_process=in_process, latency=latency) as client:
            task, cancel = way(partial(scene.work, client))
            cancelled = False

            def cancel_work() -> None:
                nonlocal cancelled
                if not task.done():
                    cancel()
                    cancelled = True

            countdown.start(iteration, cancel_work)
            await asyncio.wait({task})
            if cancelled and way is by_task:
                assert task.cancelled(), "a cancellation was swallowed"
            else:  # a scope may be cancelled too late to interrupt the work
                assert task.result() <= cancelled
        return cancelled

    async def main() -> None:
        for iteration in count(0, every):
            if not await cancelled_at(iteration):
                assert iteration > 5
                break

    quietly(main(), lambda: LoopbackLoop(countdown))
    gc.collect()  # a dropped object with a pending task would complain here


SAMPLE = "a crawl that sleeps before a retry"
WAYS: list[Way] = [by_task, by_scope, by_group]


@pytest.mark.parametrize("way", WAYS)
def test_cancel_at_every_iteration(way: Way) -> None:
    cancel_at_each_iteration(SCENES[SAMPLE], way, in_process=True)


@pytest.mark.parametrize("name", SCENES)
def test_cancel_each_scene_at_some_iterations(name: str) -> None:
    cancel_at_each_iteration(SCENES[name], by_task, in_process=True, every=9)


def test_cancel_over_http() -> None:
    cancel_at_each_iteration(SCENES[SAMPLE], by_task, in_process=False, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCENES)
def test_cancel_each_scene_at_every_iteration(name: str, way: Way) -> None:
    cancel_at_each_iteration(SCENES[name], way, in_process=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, by_task) for name in SCENES),
        *product(("a call", SAMPLE, "a crawl that waits after a 429"), (by_scope, by_group)),
    ],
)
def test_cancel_each_scene_at_every_iteration_over_http(name: str, way: Way) -> None:
    cancel_at_each_iteration(SCENES[name], way, in_process=False)


# At any moment


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == SAMPLE else [pytest.mark.slow]) for name in SCENES],
)
def test_move_on_after_any_time(name: str) -> None:
    scene = SCENES[name]

    async def main() -> None:
        now = asyncio.get_running_loop().time
        ends: Counter[bool] = Counter()
        async with scene.running(in_process=True, latency=0.05) as client:
            began = now()
            await scene.work(client)
            took = now() - began
        for moment in range(30):
            async with scene.running(in_process=True, latency=0.05) as client:
                with anyio.move_on_after(moment / 30 * took) as scope:
                    await scene.work(client)
            ends[scope.cancelled_caught] += 1
        assert ends[True] >= 10  # jitter makes some runs shorter than the first

    quietly(main(), lambda: LoopbackLoop(Countdown(0.0)))
    gc.collect()


@pytest.mark.parametrize(
    ("loop_factory", "moments"),
    [
        pytest.param(asyncio.new_event_loop, 30, id="asyncio"),
        pytest.param(uvloop.new_event_loop, 30, id="uvloop"),
        pytest.param(asyncio.new_event_loop, 400, id="asyncio, long", marks=pytest.mark.slow),
        pytest.param(uvloop.new_event_loop, 400, id="uvloop, long", marks=pytest.mark.slow),
    ],
)
def test_cancel_at_random_moments_in_real_time(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], moments: int
) -> None:
    random = Random(1)
    works = [call, call_by_post, crawl, iterate, pages, collect_in_any_order]
    cancelled = 0

    async def main() -> None:
        nonlocal cancelled
        async with Simulator(works=ROWS, messages=ROWS, latency=0.0005, jitter=1.0) as simulator:
            retry = RetryPolicy(attempts=9, base=0.001)
            settings = replace(simulator.settings, retry=retry, rate=5000.0)
            async with Client(settings) as client:
                for moment in range(moments):
                    for fault in (Html(), Reset(), HalfBody(), Throttle(0)):
                        simulator.fail(fault, times=None, probability=0.05)
                    task = asyncio.create_task(random.choice(works)(client))
                    for _ in range(random.randrange(300) if moment else 1):  # the first cancels
                        await asyncio.sleep(0)
                    cancelled += task.cancel()
                    await asyncio.wait({task})
                    assert task.cancelled() or task.result() is None
                    simulator.heal()
                    await nothing_left(client)
                await still_works(client)
            await until(lambda: not connections())

    quietly(main(), loop_factory)
    gc.collect()
    assert cancelled  # how many more is up to the machine


# One consumer does not affect another


@pytest.mark.parametrize(
    ("template", "accounts"),
    [
        ("{app_id}{app_secret}{timestamp}", [None, "13800000001", "13900000002"]),
        ("{app_secret}{account}{timestamp}", ["13700000000", "13800000001", "13900000002"]),
    ],
)
async def test_requests_are_signed_for_their_own_client_and_account(
    template: str, accounts: list[str | None]
) -> None:
    """Each server checks the signatures with its own secret, which the other client lacks."""
    apps = {"one": "sesame", "two": "barley"}
    # Each account has its own filter, by which the server's record identifies it.
    account_by_filter: dict[str, str | None] = dict(
        zip(("SUCCESS", "DRAFT", "FAIL"), accounts, strict=True)
    )
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
            for status, account in account_by_filter.items():
                listing = client.for_account(account).works(
                    status=WorkStatus(status), options=OPTIONS
                )
                crawls += [listing.collect(), listing.collect()]
        found = await asyncio.gather(*crawls)
    assert all(found)  # so all signatures were right
    for app_id, simulator in simulators.items():
        assert simulator.max_in_flight > CONCURRENCY  # several crawls ran at once
        for seen in simulator.requests:
            assert seen.headers["app_id"] == app_id
            assert seen.headers.get("account") == account_by_filter[seen.filters["status"]]


async def test_a_stopped_consumer_does_not_block_other_crawls() -> None:
    async with Simulator(works=200, messages=200) as simulator:
        async with Client(replace(simulator.settings, max_in_flight=2)) as client:
            async with client.works(options=OPTIONS).crawl() as stopped:
                first = await anext(stopped)
                assert len(await client.messages(options=OPTIONS).collect()) == 200
                view = client.for_account("13800000001")
                assert len(await view.works(options=OPTIONS).collect()) == 200
                await until(lambda: not client.stats.in_flight)
                assert not any(permits_in_use(client))
                others = [work async for work in stopped]
            ids = [work.digital_person_works_id for work in (first, *others)]
            assert ids == simulator.works.ids()


# The client is closed

LONG = 3600.0
PATIENT = RetryPolicy(attempts=3, base=LONG, cap=LONG)


async def close_and_check(client: Client, tasks: list[asyncio.Task[None]]) -> None:
    """Closes the client: all *tasks* must raise ClientClosed, and no time may pass."""
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
    ("fault", "settings", "requests", "in_flight"),
    [
        pytest.param(Hang(), {"max_in_flight": 1}, 1, 1, id="for a slot"),
        pytest.param(Hang(), {"rate": 0.001}, 1, 1, id="for the rate"),
        pytest.param(Throttle(1000), {}, 2, 0, id="after a 429"),
        pytest.param(Html(), {}, 4, 0, id="before a retry"),
    ],
)
def test_closing_the_client_ends_waiting_calls_at_once(
    fault: Fault, settings: dict[str, Any], requests: int, in_flight: int
) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.fail(fault, times=None)
        client = Client(
            replace(simulator.in_process_settings, timeout=LONG, retry=PATIENT, **settings),
            send=simulator.send,
        )
        tasks = started(client)
        state = (requests, in_flight)
        await until(lambda: (client.stats.requests, client.stats.in_flight) == state)
        await close_and_check(client, tasks[in_flight:])
        for task in tasks[:in_flight]:  # in a Send passed in, which the client does not cancel
            task.cancel()
            await asyncio.wait({task})
        assert not any(permits_in_use(client))

    quietly(main(), lambda: LoopbackLoop(Countdown(0.0)))


@pytest.mark.parametrize("attempts", [1, 3])
def test_closing_the_client_ends_exchanges_at_once(attempts: int) -> None:
    async def main() -> None:
        async with Simulator() as simulator:
            simulator.fail(Hang(), times=None)
            retry = replace(PATIENT, attempts=attempts)
            client = Client(replace(simulator.settings, timeout=LONG, retry=retry))
            tasks = started(client)
            await until(lambda: simulator.in_flight == len(tasks))
            await close_and_check(client, tasks)
            assert not any(permits_in_use(client))
            await until(lambda: not connections())

    quietly(main())


def test_no_retry_after_the_client_is_closed() -> None:
    async def main() -> None:
        server = Server(20)
        answers = server.block(1)
        server.script[1] = [Response(status=503)]
        client = Client(replace(SETTINGS, retry=RetryPolicy(base=LONG, cap=LONG)), send=server)
        task = asyncio.create_task(call(client))
        await until(lambda: server.in_flight == 1)
        await client.aclose()
        answers.set()
        await close_and_check(client, [task])

    quietly(main(), lambda: LoopbackLoop(Countdown(0.0)))
