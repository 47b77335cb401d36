"""Over HTTP: a watch through restarts and refusals, and many accounts of which some fail.

Client and server share an event loop in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random

import anyio
import pytest

from dp_async import (
    AccountsFailed,
    AuthError,
    Client,
    CrawlOptions,
    Request,
    Response,
    RetryPolicy,
    Settings,
    Watermark,
    crawl_accounts,
)
from dp_async.testing import Html, Reset, SimulatedList, Simulator, Throttle
from tests.support.fake_server import until
from tests.support.loopback import Advancing, LoopbackLoop, connections, nothing_left, quietly
from tests.support.virtual_loop import VirtualLoop

NOW = 1_800_000_000.0  # when the loop's time is 0


class ShortWaits(Advancing):
    """Waits less for loopback: an answer that misses a wait is retried like the failures here."""

    moment = 0.001


# A watch


class Restarting:
    """A simulator that can be stopped and started again, with the same rows at the same port."""

    def __init__(self, works: int, seed: int, port: int) -> None:
        loop = asyncio.get_running_loop()
        self.simulator = Simulator(
            works=works,
            seed=seed,
            port=port,
            latency=0.05,
            jitter=0.6,
            tolerance=1e12,
            clock=lambda: NOW + loop.time(),
        )
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        await self._stack.enter_async_context(self.simulator)

    async def stop(self) -> None:
        await self._stack.aclose()

    def settings(self) -> Settings:
        return replace(
            self.simulator.settings, retry=RetryPolicy(attempts=2, base=0.1), timeout=5.0
        )


async def free_port() -> int:
    async with Simulator(works=0, messages=0) as simulator:
        return int(simulator.url.rpartition(":")[2])


async def change(rows: SimulatedList, times: int, random: Random) -> dict[int, object]:
    """Inserts and updates rows at random moments; returns their final update times by id."""
    changed: set[int] = set()
    last: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    for _ in range(times):
        await asyncio.sleep(random.expovariate(2.0))
        key = rows.any_id(random)
        if random.random() < 0.5 or key is None or last.get(key) == int(loop.time()):
            key = rows.insert()
        else:
            rows.update(key, **rows.kind.changed(random))
        last[key] = int(loop.time())  # no second write to a row in one second
        changed.add(key)
    return {key: rows.row(key)["updateTime"] for key in changed}


async def disturb(server: Restarting, random: Random) -> None:
    """Restarts the server, refuses requests and breaks connections until it is cancelled."""
    while True:
        await asyncio.sleep(random.uniform(5, 20))
        match random.randrange(4):
            case 0:
                await server.stop()
                try:
                    await asyncio.sleep(random.uniform(0.1, 20))
                finally:
                    await server.start()
            case 1:
                server.simulator.fail(Throttle(random.randrange(8)), times=random.randrange(1, 5))
            case 2:
                server.simulator.fail(Html(), times=random.randrange(1, 9))
            case _:
                server.simulator.fail(Reset(), times=random.randrange(1, 9))


@pytest.mark.parametrize(
    ("seed", "page_size", "changes"),
    [
        (0, 20, 200),
        pytest.param(0, 20, 1_000, marks=pytest.mark.slow),
        pytest.param(1, 100, 1_000, marks=pytest.mark.slow),
        pytest.param(2, 20, 1_000, marks=pytest.mark.slow),
    ],
)
def test_a_watch_loses_no_change_through_restarts_and_refusals(
    seed: int, page_size: int, changes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The consumer also restarts from its last watermark now and then."""

    async def main() -> None:
        random = Random(seed)
        server = Restarting(300, seed, await free_port())
        await server.start()
        seen: dict[int, object] = {}
        async with Client(server.settings()) as client:
            listing = client.works(options=CrawlOptions(page_size=page_size))
            mark: Watermark | None = None
            async with listing.watch(2.0) as watch:
                with anyio.move_on_after(1):
                    await anext(watch)
                mark = watch.watermark
            assert mark is not None
            changing = asyncio.create_task(change(server.simulator.works, changes, random))
            disturbing = asyncio.create_task(disturb(server, random))
            done = False
            while not done:
                done = changing.done()
                if done:
                    disturbing.cancel()
                    await asyncio.wait({disturbing})
                    server.simulator.heal()
                    await server.stop()
                    await server.start()
                async with listing.watch(2.0, since=mark) as watch:
                    with anyio.move_on_after(100 if done else random.uniform(1, 100)):
                        async for work in watch:
                            seen[work.digital_person_works_id] = work.update_time
                mark = watch.watermark
            assert {key: str(time) for key, time in seen.items()} == changing.result()
            await until(lambda: client.stats.in_flight == 0)
        await server.stop()

    with caplog.at_level(logging.CRITICAL, "dp_async"):
        quietly(main(), lambda: LoopbackLoop(ShortWaits()))


def test_an_idle_watch_costs_one_request_an_interval() -> None:
    async def main() -> None:
        server = Restarting(5_000, 0, await free_port())
        await server.start()
        async with Client(server.settings()) as client:
            async with client.works().watch(10) as watch:
                with anyio.move_on_after(300):
                    await anext(watch)
            polls = server.simulator.requests[1:]
            assert 300 / 11 - 1 <= len(polls) <= 300 / 9  # the jitter is a tenth of the interval
            assert {(seen.page_num, seen.page_size) for seen in polls} == {(1, 21)}
            await nothing_left(client)
        await until(lambda: not connections())
        await server.stop()

    quietly(main(), LoopbackLoop)


# Many accounts


class Agency:
    """A simulator in process: some accounts are *slow*, some *refused*; all see the same rows."""

    def __init__(self, slow: set[str]) -> None:
        self.simulator = Simulator(works=25, latency=0.05, jitter=1.0, tolerance=1e12)
        self.slow = slow
        self.in_flight = self.most = 0
        self.refused: set[str] = set()
        self.requests: Counter[str] = Counter()

    async def __call__(self, request: Request, /) -> Response:
        account = request.headers["account"]
        self.requests[account] += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            if account in self.slow:
                await asyncio.sleep(20)
            if account in self.refused:
                return Response(status=403)
            return await self.simulator.send(request)
        finally:
            self.in_flight -= 1


@pytest.mark.parametrize("number", [200, pytest.param(1_000, marks=pytest.mark.slow)])
def test_many_accounts_of_which_five_fail_and_one_is_slow(number: int) -> None:
    async def main() -> None:
        names = [f"139{index:08}" for index in range(number)]
        bad, slow = set(names[number // 10 :: number // 5]), names[3]
        agency = Agency({slow})
        agency.refused = bad
        settings = replace(agency.simulator.in_process_settings, max_in_flight=16)
        done: dict[str, float] = {}
        items: Counter[str] = Counter()
        options = CrawlOptions(page_size=10)
        began = asyncio.get_running_loop().time()
        async with Client(settings, send=agency) as client:
            async with crawl_accounts(
                client, names, lambda sub: sub.works(options=options)
            ) as accounts:
                with pytest.raises(AccountsFailed) as failed:
                    async for account, _ in accounts:
                        items[account] += 1
                        done[account] = asyncio.get_running_loop().time() - began
            assert set(failed.value.errors) == bad
            assert {type(error) for error in failed.value.errors.values()} == {AuthError}
            assert items == {name: 25 for name in names if name not in bad}
            assert all(accounts.reports[name].complete for name in items)
            assert agency.most <= 16
            assert {agency.requests[name] for name in items} == {4}
            # 4 requests an account, 16 at once, at about 80 ms; the slow one takes 20 s more each.
            assert max(done[name] for name in done if name != slow) < 60 < done[slow]
            await nothing_left(client)

    quietly(main(), VirtualLoop)
