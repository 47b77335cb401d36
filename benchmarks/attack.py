"""What can a hostile server cost a client: how much memory, how much time?

    python -m benchmarks.attack [--rounds 3]

Real HTTP; the server and each client have a process of their own. Every setting is at its default,
except one attempt a call, and a timeout of one second where the server does not end its answer. A
client makes one good call, whose memory is *idle*, and is attacked in the next. Memory is the peak
of the resident set, compared with that just before the attack.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from benchmarks.apart import apart, peak, pinned
from benchmarks.harness import Bars, Cell, Check, Result, at_most, main
from benchmarks.server import simulated
from dp_async import (
    AttemptTimeout,
    Client,
    DpError,
    ResponseTooLarge,
    RetryPolicy,
    ServerError,
    Settings,
    TransportError,
)
from dp_async.testing import Body, Bomb, Drip, Endless, Fault, Hang, HugeHeader

PATIENT, IMPATIENT = 30.0, 1.0  # seconds for an attempt
SLACK = 0.5  # seconds that a busy machine may add
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Attack:
    """What the server does, and the error a call must end with, within *seconds*."""

    name: str
    fault: Callable[[], Fault]  # made when needed: it may be large
    error: type[DpError]
    timeout: float = PATIENT
    seconds: float = 5.0
    at_once: int = 1
    megabytes: float = 64.0


def under_the_cap(opening: bytes, again: bytes, ending: bytes) -> Body:
    """The longest answer that is accepted: as many of *again* as fit."""
    free = 32 * MIB - len(opening) - len(ending)
    return Body(opening + again * (free // len(again)) + ending)


ATTACKS = [
    Attack("1 GB of zeros, gzipped", Bomb, ResponseTooLarge),
    Attack("a chunked body without an end", Endless, ResponseTooLarge),
    Attack("1 GB of zeros, 8 calls at once", Bomb, ResponseTooLarge, at_once=8),
    Attack(
        "32 MB of spaces", partial(under_the_cap, b"", b" ", b""), TransportError, megabytes=128
    ),
    Attack(
        "no, in 32 MB of words",
        partial(under_the_cap, b'{"code":500,"resultMsg":"', b"no ", b'"}'),
        ServerError,
        megabytes=128,
    ),
    Attack(
        "no, with ten million lists for a request id",
        partial(under_the_cap, b'{"code":500,"requestId":[', b"[],", b"[]]}"),
        ServerError,
        megabytes=128,
    ),
    Attack("byte by byte", Drip, AttemptTimeout, IMPATIENT, IMPATIENT + SLACK),
    Attack("no answer", Hang, AttemptTimeout, IMPATIENT, IMPATIENT + SLACK),
    Attack("a header of 64 kB", partial(HugeHeader, 1 << 16), TransportError),
    Attack("a header of 64 MB", partial(HugeHeader, 1 << 26), TransportError),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The names of the *errors*, the *seconds* until the last one, MB before and at the peak."""

    errors: Sequence[str]
    seconds: float
    idle: float
    peak: float


def resident() -> float:
    """The resident memory of this process now, in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024


def attacked(settings: Settings, at_once: int) -> Outcome:
    """One good call, and then the calls that are attacked."""

    async def run() -> Outcome:
        async with Client(settings) as client:
            await client.work_list()
            gc.collect()
            idle = resident()
            began = time.perf_counter()
            calls = [client.work_list() for _ in range(at_once)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            seconds = time.perf_counter() - began
        errors = [type(outcome).__name__ for outcome in outcomes]
        return Outcome(errors, seconds, idle, peak())

    return asyncio.run(run())


def once(attack: Attack) -> Outcome:
    with simulated([(attack.fault(), 1.0)], after=1) as elsewhere:
        settings = replace(
            elsewhere.settings, timeout=attack.timeout, retry=RetryPolicy(attempts=1)
        )
        return apart(attacked, settings, attack.at_once)()


def measure(*, rounds: int = 3) -> Result:
    rows: list[list[Cell]] = []
    checks: list[Check] = []
    above: dict[str, float] = {}
    for attack in ATTACKS:
        outcomes = [once(attack) for _ in range(rounds)]
        errors = [error for outcome in outcomes for error in outcome.errors]
        wrong = sum(error != attack.error.__name__ for error in errors)
        seconds = max(outcome.seconds for outcome in outcomes)
        above[attack.name] = max(outcome.peak - outcome.idle for outcome in outcomes)
        rows.append(
            [
                attack.name,
                ", ".join(sorted({*errors})),
                median(outcome.seconds for outcome in outcomes),
                seconds,
                median(outcome.idle for outcome in outcomes),
                above[attack.name],
            ]
        )
        limit = attack.megabytes * attack.at_once
        checks += [
            at_most(0, f"{attack.name}: errors but {attack.error.__name__}", wrong),
            at_most(attack.seconds, f"{attack.name}: seconds", seconds),
            at_most(limit, f"{attack.name}: MB above idle", above[attack.name]),
        ]
    return Result(
        question=str(__doc__),
        columns=("attack", "error", "seconds", "the most", "MB idle", "MB above it, the most"),
        rows=rows,
        checks=checks,
        chart=Bars("MB above idle, at the peak", above, limits=(64, 128)),
        notes=[pinned()],
    )


if __name__ == "__main__":
    main(measure)
