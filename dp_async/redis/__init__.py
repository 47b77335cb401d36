"""A request rate that the clients of many processes share, in Redis. Needs the extra ``redis``.

Built on the package's public names. Redis is a shared clock and two small values, so that a server
without persistence will do. No text and no repr holds an address or a password.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, TypeAlias, cast

from .. import ConfigError, InProcessRateLimiter, Reservation
from ._scripts import PAUSE, RESERVE, SHA

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.client import Pipeline
    from redis.exceptions import NoScriptError, RedisClusterException, RedisError
except ImportError as error:
    raise ImportError(
        "dp_async.redis needs redis, which is an extra: pip install 'dp_async[redis]'"
    ) from error

__all__ = ["RedisRateLimiter"]

#: Seconds between two tries while Redis is away.
_AGAIN = 1.0
#: Seconds after its return in which a process keeps to its share: others may not know of it yet.
_SETTLING = 2 * _AGAIN + 0.5
#: What is raised while Redis is away; TimeoutError is an OSError.
_AWAY = (RedisError, RedisClusterException, OSError, EOFError)
#: The first word of an answer such as "NOPERM this user has no permissions".
_CODE = re.compile(r"[A-Z]{3,}\b")

_log = logging.getLogger("dp_async")

_Client: TypeAlias = "Redis | RedisCluster"


class RedisRateLimiter:
    """A ``RateLimiter`` for the clients of many processes: all together send *rate* a second.

    ::

        redis = Redis.from_url("redis://localhost")
        shared = RedisRateLimiter(redis, rate=50, key="app-1", peers=8)
        async with Client(settings, rate_limiter=shared) as client:
            ...
        await redis.aclose()

    At most ``rate + 1`` slots are in any second, by Redis' own clock; the clocks of the machines
    need not agree. When the server refuses requests at that rate, all processes pause together and
    go on a little slower, until the rate has recovered.

    - *redis*: a ``redis.asyncio`` client, of one server or a cluster. You close it.
    - *rate*: requests a second of all processes together; give each process the same.
    - *key*: the name of what is shared, such as the app's id. Redis gets the keys ``{key}:next``
      and ``{key}:pause``, braces included: a cluster then keeps them on one node. They expire.
    - *peers*: how many processes share *key*, at most.
    - *timeout*: seconds after which Redis counts as away if it does not answer.

    While Redis is away, each process goes on at ``rate / peers``, with one warning in the log
    ``dp_async``, and asks again each second. Only if Redis was never reached, calls raise
    ConfigError: its address may be wrong. Raises ConfigError for arguments that cannot work.
    """

    def __init__(
        self,
        redis: _Client,
        *,
        rate: float,
        key: str,
        peers: int = 8,
        timeout: float = 1.0,
    ) -> None:
        _check_client(redis)
        _check_number("rate", rate, 0.001, 100_000)
        _check_key(key)
        _check_number("peers", peers, 1, 100_000, whole=True)
        _check_number("timeout", timeout, 0.001, 5)
        self._redis = redis
        self._rate = rate
        self._key = key
        self._peers = peers
        self._timeout = timeout
        self._share = InProcessRateLimiter(max(0.001, rate / peers))
        self._was_reached = self._is_away = False
        self._asked = 0.0  # when Redis was asked last while it is away
        self._settled = 0.0  # when all processes know that it is back
        self._asking: asyncio.Task[None] | None = None

    async def reserve(self, want: int, /) -> Reservation:
        """Up to *want* slots, at least one; of this process's share while Redis is away.

        Raises ConfigError if Redis was never reached, and for a number below 1.
        """
        _check_number("want", want, 1, 2**31, whole=True)
        now = asyncio.get_running_loop().time
        if not self._is_away and now() >= self._settled:
            reserved = await self._reserve(want)
            return reserved or await self._share.reserve(want)
        self._look(now())
        own = await self._share.reserve(want)
        reserved = None if self._is_away else await self._reserve(own.count)
        return own if reserved is None else _slower(own, reserved)

    async def pause(self, seconds: float, /) -> None:
        """No process sends for so many seconds; while Redis is away, this one alone."""
        await self._share.pause(seconds)
        if not self._is_away:
            await self._run(PAUSE, seconds)

    def __repr__(self) -> str:
        return f"RedisRateLimiter(rate={self._rate!r}, key={self._key!r}, peers={self._peers!r})"

    async def _reserve(self, want: int) -> Reservation | None:
        """A reservation in Redis; None if it is away."""
        return await self._run(RESERVE, want)

    async def _run(self, script: str, argument: float) -> Reservation | None:
        """What *script* answers; None if Redis is away, which is then known.

        Raises ConfigError if it was never there.
        """
        try:
            reservation = await self._answer(script, argument)
        except _AWAY as error:
            reason = _described(error)
        else:
            self._was_reached = True
            return reservation
        # Out here, so that no error of Redis, which may name its address, stays in reach.
        if not self._was_reached:
            raise ConfigError(
                f"redis: Redis was never reached ({reason}): check the address and the password of "
                "the client given to RedisRateLimiter, and that nothing else uses its key"
            )
        if not self._is_away:
            self._is_away, self._asked = True, asyncio.get_running_loop().time()
            _log.warning(
                "Redis is away (%s): this process goes on at its share of the rate, %g of %g a "
                "second, and asks again each second",
                reason,
                self._rate / self._peers,
                self._rate,
            )
        return None

    async def _answer(self, script: str, argument: float) -> Reservation:
        arguments = (f"{{{self._key}}}:next", f"{{{self._key}}}:pause", self._rate, argument)
        async with asyncio.timeout(self._timeout):
            try:
                answer = await _awaited(self._redis.evalsha(SHA[script], 2, *arguments))
            except NoScriptError:  # Redis was started anew, or is asked for the first time
                answer = await _awaited(self._redis.eval(script, 2, *arguments))
        wait, step, count, paused = answer
        return Reservation(float(wait), float(step), int(count), float(paused))

    def _look(self, now: float) -> None:
        """Ask in the background, once a second, whether Redis is back: the answer may take long."""
        is_asking = self._asking is not None and not self._asking.done()
        if self._is_away and not is_asking and now >= self._asked + _AGAIN:
            self._asked = now
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            await self._answer(RESERVE, 0)
        except _AWAY:
            return
        self._is_away = False
        self._settled = asyncio.get_running_loop().time() + _SETTLING
        _log.info("Redis is back: all processes share the rate again")


def _slower(own: Reservation, shared: Reservation) -> Reservation:
    """Slots within both."""
    return Reservation(
        max(own.wait, shared.wait),
        max(own.step, shared.step),
        min(own.count, shared.count),
        max(own.paused, shared.paused),
    )


async def _awaited(answer: Any) -> list[bytes]:
    """The answer, whose type redis leaves open."""
    return cast("list[bytes]", await answer)


def _described(error: BaseException) -> str:
    """What happened, without the text of the error, which may name an address."""
    code = _CODE.match(str(error))
    return f"{type(error).__name__}, {code[0]}" if code else type(error).__name__


def _check_client(given: object) -> None:
    if isinstance(given, Redis | RedisCluster) and not isinstance(given, Pipeline):
        return
    kind = f"{type(given).__module__}.{type(given).__name__}"
    raise ConfigError(
        f"redis must be a client of redis.asyncio, a Redis or a RedisCluster, not a {kind}"
    )


def _check_key(given: object) -> None:
    if not isinstance(given, str):
        raise ConfigError(f"key must be a string, not {type(given).__name__}")
    if not given.isprintable() or not given.strip() or set(given) & set("{}"):
        raise ConfigError(
            f"key must be a printable text without braces, not {given[:40]!r}: it stands in braces "
            "in the names of the keys"
        )


def _check_number(
    name: str, given: object, low: float, high: float, *, whole: bool = False
) -> None:
    good = isinstance(given, int if whole else (int, float)) and not isinstance(given, bool)
    if not good or not low <= cast("float", given) <= high:
        what = "a whole number" if whole else "a number"
        shown = repr(given) if isinstance(given, int | float) else f"a {type(given).__name__}"
        raise ConfigError(f"{name} must be {what} from {low:g} to {high:,.0f}, not {shown}")
