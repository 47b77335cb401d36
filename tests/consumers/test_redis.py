"""A rate that processes share in Redis: against a real redis-server, killed, stopped and restarted.

The schedule is compared with the one in Python in a time that the test gives, so that nothing
depends on how fast the machine is.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

pytest.importorskip("redis", reason="needs redis: dp_async[redis]")

import redis as synchronous
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

import dp_async.redis
from dp_async import Client, ConfigError, RateLimiter, Reservation
from dp_async._call.rate_limiter import Schedule
from dp_async.redis import RedisRateLimiter
from dp_async.redis._scripts import PAUSE, RESERVE
from tests.support.fake_server import SETTINGS, Server
from tests.support.redis_server import PASSWORD, RedisServer, running

NEXT, PAUSED = "{app}:next", "{app}:pause"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server that no test stops."""
    with running("--requirepass", PASSWORD) as started:
        yield started


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with running("--requirepass", PASSWORD) as started:
        yield started


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def own_redis(own_server: RedisServer) -> AsyncIterator[Redis]:
    """It tries nothing again by itself, so that a killed server is seen at once."""
    async with Redis.from_url(own_server.url, retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks again at once, and is settled at once."""
    monkeypatch.setattr(dp_async.redis, "_AGAIN", 0.0)
    monkeypatch.setattr(dp_async.redis, "_SETTLING", 0.0)


# The schedule


class Timed:
    """The scripts at a time that is given, with keys that do not expire meanwhile."""

    def __init__(self, redis: Any, rate: float) -> None:
        self.redis, self.rate = redis, rate

    async def run(self, script: str, argument: float, now: float) -> Reservation:
        script = script.replace("redis.call('TIME')", "{ARGV[3], 0}").replace(
            "(seconds + 1)", "(seconds + 1000)"
        )
        keys = (2, NEXT, PAUSED)
        answer = await self.redis.eval(script, *keys, self.rate, argument, f"{now:.6f}")
        wait, step, count, paused = answer
        return Reservation(float(wait), float(step), int(count), float(paused))


@pytest.mark.parametrize("seed", range(8))
async def test_it_reserves_as_the_schedule_of_one_process_does(redis: Redis, seed: int) -> None:
    random = Random(seed)
    rate = random.choice([0.5, 7, 100, 1000])
    timed, schedule, now = Timed(redis, rate), Schedule(rate), 1_700_000_000.0
    for _ in range(150):
        now = round(now + random.choice([0, 0.001, 0.1, 1.5, 4, 30]) * random.random(), 6)
        if random.random() < 0.2:
            seconds = round(random.choice([0.02, 1, 5]) * random.random(), 6)
            schedule.pause(seconds, now)
            await timed.run(PAUSE, seconds, now)
        else:
            want = random.choice([1, 3, 16])
            expected = schedule.reserve(want, now)
            found = await timed.run(RESERVE, want, now)
            assert found.count == expected.count
            assert found.step == pytest.approx(expected.step, rel=1e-4)  # it keeps microseconds
            assert found.wait == pytest.approx(expected.wait, abs=1e-4)
            assert found.paused == pytest.approx(expected.paused, abs=1e-4)


async def test_a_clock_that_is_set_back_makes_nobody_wait_for_it(redis: Redis) -> None:
    timed = Timed(redis, 1)
    for _ in range(3):
        await timed.run(RESERVE, 1, 10_000.0)
    await timed.run(PAUSE, 5.0, 10_000.0)
    assert (await timed.run(RESERVE, 1, 6_400.0)).wait == pytest.approx(5.0)
    again = await timed.run(RESERVE, 1, 6_401.0)
    assert again.wait == pytest.approx(5.0, abs=0.2)
    assert again.paused == pytest.approx(5.0)  # the pause was not written again


@pytest.mark.parametrize("decode", [False, True])
async def test_all_limiters_of_a_key_share_its_slots(server: RedisServer, decode: bool) -> None:
    client: Any
    async with Redis.from_url(server.url, decode_responses=decode) as client:
        await client.flushall()
        limiters: list[RateLimiter] = [
            RedisRateLimiter(client, rate=200, key=key, timeout=5)
            for key in ("app", "app", "other")
        ]
        first = await limiters[0].reserve(1)
        assert (first.wait, first.step, first.count) == (0.0, 0.005, 1)
        began = float(await client.hget(NEXT, "slot") or 0)
        given = [await limiters[index % 2].reserve(16) for index in range(20)]
        assert {each.count for each in given} == {10}
        ended = float(await client.hget(NEXT, "slot") or 0)
        assert ended >= began + 200 / 200 - 1e-4  # no slot was given twice
        assert (await limiters[2].reserve(1)).wait == 0


async def test_a_pause_is_that_of_all_limiters_of_the_key(redis: Redis) -> None:
    one, two, other = (
        RedisRateLimiter(redis, rate=50, key=key, timeout=5) for key in ("app", "app", "b")
    )
    await one.pause(100.0)
    for limiter in (one, two):
        found = await limiter.reserve(1)
        assert 90 < found.paused <= found.wait <= 101
    assert (await other.reserve(1)).paused == 0


async def test_its_keys_expire_and_lie_on_one_node_of_a_cluster(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis, rate=50, key="app", timeout=5)
    await limiter.reserve(1)
    await limiter.pause(1.0)
    names: Any = await redis.keys("*")
    assert sorted(names) == [NEXT.encode(), PAUSED.encode()]
    assert len({*map(key_slot, names)}) == 1
    for name in names:
        assert 0 < await redis.pttl(name) < 60_000


async def test_scripts_that_redis_has_forgotten_are_sent_again(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis, rate=50, key="app", timeout=5)
    await limiter.reserve(1)
    await redis.script_flush()
    await limiter.reserve(1)
    assert (await limiter.reserve(1)).step == 0.02


async def test_it_works_on_a_cluster() -> None:
    with running("--cluster-enabled", "yes") as started:
        node: Any
        async with Redis(port=started.port) as node:
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in await node.execute_command("CLUSTER", "INFO"):
                await asyncio.sleep(0.05)
        async with RedisCluster("127.0.0.1", started.port) as cluster:
            limiter = RedisRateLimiter(cluster, rate=50, key="app", timeout=5)
            await limiter.pause(30.0)
            assert 20 < (await limiter.reserve(1)).paused <= 30


# Redis is away


async def test_without_redis_it_goes_on_at_its_share_and_returns(
    own_server: RedisServer,
    own_redis: Redis,
    quick: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    limiter = RedisRateLimiter(own_redis, rate=80, key="app", peers=4, timeout=5)
    assert (await limiter.reserve(16)).step == 1 / 80
    own_server.kill()
    for each in await asyncio.gather(*(limiter.reserve(16) for _ in range(3))):
        assert each.step == 1 / 20
    await limiter.pause(0.01)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("dp_async", logging.WARNING)
    assert re.fullmatch(
        r"Redis is away \(\w+\): this process goes on at its share of the rate, 20 of 80 a second, "
        "and asks again each second",
        record.getMessage(),
    )
    own_server.start()
    while len(caplog.records) == 1:
        await limiter.reserve(1)
        await asyncio.sleep(0.01)
    assert caplog.records[1].getMessage() == "Redis is back: all processes share the rate again"
    assert (await limiter.reserve(16)).step == 1 / 80
    assert len(caplog.records) == 2
    assert PASSWORD not in caplog.text


async def test_a_redis_that_hangs_is_away(
    own_server: RedisServer, own_redis: Redis, quick: None
) -> None:
    limiter = RedisRateLimiter(own_redis, rate=80, key="app", peers=4, timeout=5)
    await limiter.reserve(1)
    limiter._timeout = 0.1  # pyright: ignore[reportPrivateUsage]  # short only while it hangs
    own_server.signal(signal.SIGSTOP)
    assert (await limiter.reserve(16)).step == 1 / 20
    limiter._timeout = 5  # pyright: ignore[reportPrivateUsage]  # as above
    own_server.signal(signal.SIGCONT)
    while (await limiter.reserve(16)).step != 1 / 80:
        await asyncio.sleep(0.01)


async def test_it_is_not_asked_more_often_than_once_a_second(
    own_server: RedisServer, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RedisRateLimiter(own_redis, rate=80, key="app", timeout=5)
    await limiter.reserve(1)
    own_server.kill()
    await limiter.reserve(1)
    monkeypatch.setattr(dp_async.redis, "_AGAIN", 3600.0)
    own_server.start()
    for _ in range(20):
        assert (await limiter.reserve(16)).step == 1 / 10
    assert limiter._asking is None  # pyright: ignore[reportPrivateUsage]  # no public name says it
    monkeypatch.setattr(dp_async.redis, "_AGAIN", 0.0)
    while (await limiter.reserve(16)).count == 1 and limiter._is_away:  # pyright: ignore[reportPrivateUsage]  # no public name says it
        await asyncio.sleep(0.01)


async def test_after_its_return_a_process_keeps_to_its_share_for_a_while(
    own_server: RedisServer, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes may not know yet that it is back, and go on at theirs."""
    monkeypatch.setattr(dp_async.redis, "_AGAIN", 0.0)
    monkeypatch.setattr(dp_async.redis, "_SETTLING", 3600.0)
    limiter = RedisRateLimiter(own_redis, rate=80, key="app", peers=4, timeout=5)
    await limiter.reserve(1)
    own_server.kill()
    await limiter.reserve(1)
    own_server.start()
    while not await own_redis.exists(NEXT):
        found = await limiter.reserve(16)
        assert found.step == 1 / 20
        await asyncio.sleep(0.01)
    await limiter.pause(100.0)
    assert (await limiter.reserve(16)).wait > 90  # it takes part in what all share
    own_server.kill()
    assert (await limiter.reserve(16)).step >= 1 / 20


async def test_requests_go_on_when_redis_is_killed_in_mid_run(
    own_server: RedisServer, own_redis: Redis, quick: None
) -> None:
    backend = Server(1)
    limiter = RedisRateLimiter(own_redis, rate=400, key="app", peers=1, timeout=5)

    answered = count(1)

    def before(_: int) -> None:
        match next(answered):
            case 20:
                own_server.kill()
            case 60:
                own_server.start()
            case _:
                pass

    backend.before = before
    async with Client(SETTINGS, send=backend, rate_limiter=limiter) as client:
        pages = await asyncio.gather(*(client.work_list() for _ in range(100)))
    assert len(pages) == 100


# Bad input


@pytest.mark.parametrize("where", ["nobody listens", "wrong password"])
async def test_a_redis_that_was_never_reached_is_an_error_before_any_request(
    own_server: RedisServer, where: str
) -> None:
    url = f"{own_server.url}".replace(PASSWORD, "another-secret")
    if where == "nobody listens":
        own_server.kill()
    backend = Server(1)
    async with Redis.from_url(url) as redis:
        limiter = RedisRateLimiter(redis, rate=50, key="app", timeout=0.2)
        async with Client(SETTINGS, send=backend, rate_limiter=limiter) as client:
            with pytest.raises(ConfigError) as caught:
                await client.work_list()
    found = str(caught.value)
    assert re.match(r"^redis: Redis was never reached \(\w+\): check the address", found)
    assert "\n" not in found
    assert not backend.requests
    error: BaseException | None = caught.value
    while error is not None:
        assert "another-secret" not in f"{error!r}"
        error = error.__cause__ or error.__context__


async def test_a_key_of_another_use_is_named(redis: Redis) -> None:
    await redis.set(NEXT, "a text")
    with pytest.raises(ConfigError, match=r"never reached \(ResponseError, WRONGTYPE\).* its key$"):
        await RedisRateLimiter(redis, rate=50, key="app", timeout=5).reserve(1)


async def test_a_call_that_makes_no_sense_is_refused(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis, rate=50, key="app", timeout=5)
    with pytest.raises(ConfigError, match=r"^want must be a whole number from 1"):
        await limiter.reserve(0)
    with pytest.raises(ConfigError, match=r"^seconds must be a number from 0"):
        await limiter.pause(-1.0)


CLIENT = Redis()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"redis": synchronous.Redis()},
            r"a client of redis\.asyncio.* not a redis\.client\.Redis$",
        ),
        ({"redis": "redis://:secret@host"}, r"a client of redis\.asyncio.* not a builtins\.str$"),
        ({"redis": CLIENT.pipeline()}, r"not a redis\.asyncio\.client\.Pipeline$"),
        ({"rate": 0}, r"^rate must be a number from 0\.001 to 100,000, not 0$"),
        ({"rate": "50"}, "^rate must be a number .* not a str$"),
        ({"rate": float("nan")}, "^rate must be a number .* not nan$"),
        ({"rate": True}, "^rate must be a number .* not True$"),
        ({"key": ""}, "^key must be a printable text without braces, not ''"),
        ({"key": " "}, "^key must be a printable text"),
        ({"key": "{app}"}, "^key must be a printable text without braces, not '{app}'"),
        ({"key": "a\nb"}, "^key must be a printable text"),
        ({"key": b"app"}, "^key must be a string, not bytes$"),
        ({"peers": 0}, "^peers must be a whole number from 1 to 100,000, not 0$"),
        ({"peers": 1.5}, "^peers must be a whole number .* not 1.5$"),
        ({"timeout": 0}, r"^timeout must be a number from 0\.001 to 5, not 0$"),
        ({"timeout": None}, "^timeout must be a number .* not a NoneType$"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"redis": CLIENT, "rate": 50, "key": "app"} | given
    with pytest.raises(ConfigError, match=text) as caught:
        RedisRateLimiter(arguments.pop("redis"), **arguments)
    assert "secret" not in str(caught.value)


def test_its_repr_holds_no_address(server: RedisServer) -> None:
    limiter = RedisRateLimiter(Redis.from_url(server.url), rate=50, key="app", peers=4)
    assert repr(limiter) == "RedisRateLimiter(rate=50, key='app', peers=4)"


def test_without_the_extra_importing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "dp_async.redis")
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[redis\]'"):
        importlib.import_module("dp_async.redis")
