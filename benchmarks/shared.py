"""Do four processes keep one rate together, and what does that cost?

    python -m benchmarks.shared [--seconds 20] [--rounds 3]

Four processes with eight callers each fetch pages of 100 works for so many seconds from a simulator
in a process of its own, which notes when each request came; it answers after 20 ms (log-normal,
sigma 0.3). They share a rate of 200 a second by a ``RedisRateLimiter``, in a redis-server of the
benchmark's own (apt-get install redis-server):

- *all is well*, and *Redis killed and back*: killed after a third of the time, and started anew
  after two thirds;
- *the server allows 150*: in each second of its clock, with ``Retry-After: 1``; the rate given is
  the same, or too high. What is learned in the time that is measured is learned from nothing.

*Most*: requests in any second, as the server saw them. CPU a request: of a client's process,
against the same with ``Settings.rate`` of 50 in each and no rate limiter, in turns.
"""

from __future__ import annotations

import time

from benchmarks.harness import Bars, Check, Result, at_least, at_most, interleaved, main, require
from benchmarks.sharing import Seen, Sharing, Worked, backend, worked
from tests.support.redis_server import PASSWORD, RedisServer, running

PEERS, RATE, ALLOWED = 4, 200.0, 150

WELL, KILLED = "all is well", "Redis killed and back"
RIGHT, HIGH = f"the server allows {ALLOWED}, as given", f"the server allows {ALLOWED}, 200 given"
WITH, WITHOUT = "with a RedisRateLimiter", "without"


def run(server: RedisServer, name: str, seconds: float) -> tuple[Seen, list[Worked]]:
    """Four processes for so many seconds: what the server saw, and what they did."""

    def kill() -> None:
        time.sleep(seconds / 3)
        server.kill()
        time.sleep(seconds / 3)
        server.start()

    rate = ALLOWED if name == RIGHT else RATE
    with backend(ALLOWED if name in (RIGHT, HIGH) else None) as simulator:
        sharing = Sharing(rate, PEERS, server.url)
        meanwhile = kill if name == KILLED else None
        did = worked(simulator.settings, sharing, seconds, meanwhile)
        return simulator.seen(), did


def cpu(server: RedisServer, seconds: float, way: str) -> float:
    """CPU milliseconds a request."""
    own = RATE / PEERS if way == WITHOUT else None
    with backend() as simulator:
        sharing = Sharing(RATE, PEERS, "" if own else server.url, own)
        did = worked(simulator.settings, sharing, seconds)
    return 1000 * sum(each.cpu for each in did) / sum(each.answered for each in did)


def measure(*, seconds: float = 20.0, rounds: int = 3) -> Result:
    require(["redis"])
    rows: list[tuple[str | float, ...]] = []
    checks: list[Check] = []
    errors = 0
    with running("--requirepass", PASSWORD) as server:
        for name in (WELL, KILLED, RIGHT, HIGH):
            seen, did = run(server, name, seconds)
            mean = sum(each.answered for each in did) / seconds
            refused = 100 * seen.refused / len(seen.times)
            errors += (failed := sum(len(each.errors) for each in did))
            rows.append((name, mean, seen.most, refused, failed))
            if name in (WELL, KILLED):
                most = 1.05 if name == WELL else 1.1
                checks.append(at_most(most, f"{name}: most, of the rate", seen.most / RATE))
            if name != KILLED:
                best = RATE if name == WELL else ALLOWED
                least = 0.95 if name == WELL else 0.9
                checks.append(at_least(least, f"{name}: of what is allowed", mean / best))
            if name in (RIGHT, HIGH):
                checks.append(at_most(3, f"{name}: % refused", refused))
        ways = {way: lambda way=way: cpu(server, seconds / 4, way) for way in (WITH, WITHOUT)}
        costs = interleaved(ways, rounds)
    cost = (
        f"CPU a request, ms: {costs.median(WITH):.2f} with a rate limiter "
        f"({costs.extremes(WITH)}), {costs.median(WITHOUT):.2f} without "
        f"({costs.extremes(WITHOUT)})."
    )
    checks.append(at_most(1.1, "CPU a request, with a rate limiter", costs.ratio(WITH, WITHOUT)))
    return Result(
        question=str(__doc__),
        columns=("", "answered a second", "most in a second", "% refused", "errors"),
        rows=rows,
        checks=[at_most(0, "errors", errors), *checks],
        notes=[cost],
        chart=Bars(
            "answered a second",
            {f"{row[0]}": float(row[1]) for row in rows},
            limits=(RATE, ALLOWED),
        ),
        libraries=("dp_async", "aiohttp", "msgspec", "redis"),
    )


if __name__ == "__main__":
    main(measure)
