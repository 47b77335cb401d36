"""A rate limiter may raise, hang or answer nonsense: nobody hangs, and the error says which."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dp_async import ConfigError, Reservation, TransportError
from dp_async._call.reserving import PATIENCE, Reserving, failure
from tests.support.virtual_loop import run


class Scripted:
    """A rate limiter that does what the script says, and notes what it was called with."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.calls: list[tuple[str, float]] = []

    async def _next(self, name: str, argument: float) -> Any:
        self.calls.append((name, argument))
        action = self.script.pop(0)
        if isinstance(action, BaseException):
            raise action
        if action is hang:
            await hang()
        return action

    def reserve(self, want: int, /) -> Awaitable[Any]:
        return self._next("reserve", want)

    def pause(self, seconds: float, /) -> Awaitable[Any]:
        return self._next("pause", seconds)


class Client:
    """Wants as many slots as *wants* says, one entry a reservation."""

    def __init__(self, rate_limiter: Any, *wants: int) -> None:
        self.wants = list(wants)
        self.granted: list[Reservation] = []
        self.failed: list[BaseException] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.reserving = Reserving(
            rate_limiter,
            lambda work: self.tasks.append(asyncio.ensure_future(work)),
            wanted=lambda: self.wants[0] if self.wants else 0,
            granted=self._grant,
            failed=self._fail,
        )

    def _grant(self, given: Reservation) -> None:
        self.granted.append(given)
        self.wants.pop(0)
        self.reserving.reserve()  # as a caller that is woken does

    def _fail(self, error: BaseException) -> None:
        self.failed.append(error)
        self.wants.clear()

    async def ended(self) -> None:
        while not all(task.done() for task in self.tasks):
            await asyncio.wait(self.tasks)


def tried(client: Callable[[], Client], *, pause: float = 0.0) -> Client:
    """*client* after it has reserved what it wants, and told of a pause before."""

    async def main() -> Client:
        made = client()
        if pause:
            made.reserving.pause(pause)
        made.reserving.reserve()
        await made.ended()
        return made

    return run(main())


ONE = Reservation(0.0, 0.1, 1)


def test_one_task_reserves_while_there_is_need() -> None:
    limiter = Scripted(ONE, ONE, Reservation(0.5, 0.1, 2, 0.5))
    client = tried(lambda: Client(limiter, 1, 3, 2))
    assert limiter.calls == [("reserve", 1), ("reserve", 3), ("reserve", 2)]
    assert (len(client.granted), len(client.tasks)) == (3, 1)


def test_a_pause_is_told_before_anything_else() -> None:
    limiter = Scripted(None, ONE)
    tried(lambda: Client(limiter, 1), pause=2.5)
    assert limiter.calls == [("pause", 2.5), ("reserve", 1)]


def test_the_longest_of_several_pauses_is_told() -> None:
    async def main() -> None:
        limiter = Scripted(None)
        client = Client(limiter)
        for seconds in (1.0, 3.0, 2.0):
            client.reserving.pause(seconds)
        await client.ended()
        assert limiter.calls == [("pause", 3.0)]

    run(main())


def test_nothing_starts_after_closing() -> None:
    async def main() -> None:
        limiter = Scripted()
        client = Client(limiter, 1)
        client.reserving.close()
        client.reserving.reserve()
        client.reserving.pause(1.0)
        assert not client.tasks

    run(main())


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (KeyError("redis://:password@host"), TransportError, r"reserve a slot: KeyError$"),
        (hang, TransportError, rf"no answer within {PATIENCE:g} s \(TimeoutError\)$"),
        (asyncio.CancelledError(), TransportError, r"reserve a slot: CancelledError$"),
        (ConfigError("no such rate"), ConfigError, "^no such rate$"),
        (None, ConfigError, r"reserve\(\) must return a Reservation, not NoneType$"),
        ((0.0, 0.1, 1), ConfigError, r"must return a Reservation, not tuple$"),
        (Reservation(-1.0, 0.1, 1), ConfigError, "^rate_limiter: wait of a Reservation must be"),
        (Reservation(0.0, float("nan"), 1), ConfigError, "step of a Reservation must be"),
        (Reservation(0.0, 0.1, 2), ConfigError, "count of a Reservation .* from 0 to 1, not 2$"),
        (Reservation(0.0, 0.1, 1, -1), ConfigError, "paused of a Reservation must be"),
    ],
)
def test_what_goes_wrong_is_an_error_of_the_callers_that_wait(
    answer: object, kind: type[Exception], text: str
) -> None:
    (failed,) = tried(lambda: Client(Scripted(answer), 1)).failed
    with pytest.raises(kind, match=text) as caught:
        raise failure(failed)
    assert "password" not in str(caught.value)
    assert failure(failed) is not failure(failed)


def test_a_method_that_is_not_async_is_named() -> None:
    class Plain:
        def reserve(self, want: int, /) -> int:
            return want

    (failed,) = tried(lambda: Client(Plain(), 1)).failed
    assert str(failure(failed)) == (
        "the methods of a rate_limiter must be async functions: one returned int"
    )


@pytest.mark.parametrize("answer", [KeyError("key"), hang, asyncio.CancelledError()])
def test_a_pause_that_cannot_be_told_is_a_warning(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    client = tried(lambda: Client(Scripted(answer, ONE), 1), pause=1.0)
    assert client.granted == [ONE]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the rate_limiter was not told to pause for 1 s")


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_it_can_be_cancelled_and_used_again(pause: float) -> None:
    async def main() -> None:
        limiter = Scripted(hang, ONE)
        client = Client(limiter, 1)
        if pause:
            client.reserving.pause(pause)
        client.reserving.reserve()
        await asyncio.sleep(1)
        client.tasks[0].cancel()
        await client.ended()
        assert not client.failed
        client.reserving.reserve()
        await client.ended()
        assert client.granted == [ONE]

    run(main())
