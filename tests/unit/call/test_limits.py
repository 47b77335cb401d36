"""One attempt: its place, which always comes back, its deadline, and what it teaches."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

import pytest
from msgspec import Raw

from dp_async import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    CallError,
    ClientClosed,
    DecodeError,
    RateLimited,
    Request,
    Response,
    Send,
    ServerError,
    TransportError,
)
from dp_async._call.adaptive import Adaptive
from dp_async._call.limiter import Limiter
from dp_async._call.limits import adapted, limited, timed
from dp_async._call.stats import Tally
from tests.support.fake_server import until
from tests.support.samples import REQUEST, Script
from tests.support.virtual_loop import run

GOOD = Response(status=200)
DATA = Raw(b"{}")


class Server:
    """Answers once it is opened; knows how many it is working on."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.under_way = self.most = 0
        self.requests: list[Request] = []

    async def __call__(self, request: Request, /) -> Raw:
        self.requests.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.open.wait()
        finally:
            self.under_way -= 1
        return DATA

    async def send(self, request: Request, /) -> Response:
        await self(request)
        return GOOD


class Pupil(Adaptive):
    """Keeps what it is told; each request has a number of its own."""

    def __init__(self, ceiling: int = 8) -> None:
        super().__init__(ceiling)
        self.count = self.refusals = 0
        self.told: list[tuple[int, float | None]] = []

    def sent(self) -> int:
        self.count += 1
        return self.count

    def answered(self, sent: int, seconds: float | None) -> None:
        self.told.append((sent, seconds))

    def refused(self) -> None:
        self.refusals += 1


def limiter(
    ceiling: int = 8, *, base: float = 0.5, cap: float = 60.0, spread: float = 0.0
) -> Limiter:
    return Limiter(ceiling, base=base, cap=cap, jitter=lambda: spread)


# The place


async def test_no_more_are_under_way_than_there_are_places() -> None:
    server, tally, places = Server(), Tally(), limiter(3)
    call = limited(server, places, tally)
    tasks = [asyncio.create_task(call(REQUEST)) for _ in range(10)]
    await until(lambda: server.under_way == 3)
    assert (tally.requests, tally.in_flight) == (3, 3)
    server.open.set()
    assert await asyncio.gather(*tasks) == [DATA] * 10
    assert server.most == 3
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (10, 0, 3)
    assert places.in_flight == 0


ERRORS: list[BaseException] = [
    TransportError("gone"),
    AttemptTimeout("slow"),
    RateLimited("too fast", retry_after=0),
    ServerError("no"),
    ServerError("later", retry_after=0),
    AuthError("who"),
    BadRequest("what"),
    DecodeError("what"),
    ClientClosed("closed"),
    TimeoutError("the inner one's own"),
    ValueError("a bug"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("learns", [False, True])
async def test_a_place_comes_back_after_an_error_which_is_not_changed(
    error: BaseException, learns: bool
) -> None:
    places, tally, pupil = limiter(1, base=0), Tally(), Pupil()
    script = Script[Raw](error, error, error)
    call = limited(script, places, tally, pupil if learns else None)
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            await call(REQUEST)
        assert caught.value is error
        assert (places.in_flight, tally.in_flight) == (0, 0)
    assert (tally.requests, len(script.requests)) == (3, 3)
    assert [sent for sent, _ in pupil.told] == ([1, 2, 3] if learns else [])


@pytest.mark.parametrize("held", [True, False])
async def test_a_cancellation_is_a_cancellation_wherever_it_comes(held: bool) -> None:
    server, places, tally, pupil = Server(), limiter(1), Tally(), Pupil()
    if held:
        await places.acquire()
    task = asyncio.create_task(limited(server, places, tally, pupil)(REQUEST))
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.under_way == (not held)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if held:
        places.release()
    assert (server.under_way, places.in_flight, tally.in_flight) == (0, 0, 0)
    assert tally.requests == len(pupil.told) == (not held)


async def test_a_repetition_goes_before_what_is_sent_for_the_first_time() -> None:
    server, places = Server(), limiter(1)
    call = limited(server, places, Tally())
    again = replace(REQUEST, attempt=2)
    tasks = [asyncio.create_task(call(request)) for request in (REQUEST, REQUEST, again)]
    await until(lambda: server.under_way == 1)
    server.open.set()
    await asyncio.gather(*tasks)
    assert [request.attempt for request in server.requests] == [1, 2, 1]


def test_what_is_not_sent_because_all_must_wait_long_counts_nowhere() -> None:
    async def work() -> None:
        places, tally, pupil = limiter(cap=10.0), Tally(), Pupil()
        script = Script[Raw](RateLimited("too fast", retry_after=60.0))
        call = limited(script, places, tally, pupil)
        with pytest.raises(RateLimited):
            await call(REQUEST)
        with pytest.raises(RateLimited) as caught:
            await call(REQUEST)
        assert caught.value.endpoint == "work_list"
        assert caught.value.retry_after == 60.0
        assert (tally.requests, tally.throttles, len(pupil.told)) == (1, 1, 1)
        assert (places.in_flight, tally.in_flight) == (0, 0)

    run(work())


# The deadline


def test_an_attempt_ends_when_its_time_is_up() -> None:
    async def work() -> None:
        server = Server()
        task = asyncio.create_task(timed(server.send, 30.0)(REQUEST))
        await asyncio.sleep(29.0)
        assert server.under_way == 1
        await asyncio.sleep(1.5)
        with pytest.raises(AttemptTimeout) as caught:
            await task
        assert str(caught.value) == (
            "work_list: no complete answer within 30 s; the setting timeout limits one attempt"
        )
        assert caught.value.endpoint == "work_list"
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert server.under_way == 0

    run(work())


async def test_a_good_answer_in_time_is_what_it_was() -> None:
    script = Script[Response](GOOD)
    assert await timed(script, 30.0)(REQUEST) is GOOD
    assert script.requests == [REQUEST]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_an_error_in_time_is_not_changed(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await timed(Script[Response](error), 30.0)(REQUEST)
    assert caught.value is error


def test_a_send_that_turns_our_cancellation_into_its_timeout_is_timed_out_by_us() -> None:
    async def converting(request: Request, /) -> Response:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TimeoutError from None
        raise AssertionError

    async def work() -> None:
        with pytest.raises(AttemptTimeout):
            await timed(converting, 30.0)(REQUEST)

    run(work())


def with_deadline(send: Send, places: Limiter, tally: Tally) -> Coroutine[object, object, Raw]:
    sending = timed(send, 30.0)

    async def call(request: Request, /) -> Raw:
        await sending(request)
        return DATA

    return limited(call, places, tally)(REQUEST)


def test_the_time_starts_inside_the_gate() -> None:
    async def work() -> None:
        server, places, tally = Server(), limiter(1), Tally()
        await places.acquire()
        task = asyncio.create_task(with_deadline(server.send, places, tally))
        await asyncio.sleep(3600.0)
        assert (tally.requests, task.done()) == (0, False)
        places.release()
        await asyncio.sleep(29.0)
        server.open.set()
        assert await task is DATA

    run(work())


def test_a_place_comes_back_when_the_time_is_up() -> None:
    async def work() -> None:
        places, tally = limiter(1), Tally()
        for _ in range(3):
            with pytest.raises(AttemptTimeout):
                await with_deadline(Server().send, places, tally)
            assert (places.in_flight, tally.in_flight) == (0, 0)

    run(work())


# What the gate is told


@pytest.mark.parametrize(
    "error", [error for error in ERRORS if isinstance(error, CallError)], ids=repr
)
async def test_only_429_is_a_throttle(error: CallError) -> None:
    tally = Tally()
    with pytest.raises(type(error)):
        await limited(Script[Raw](error), limiter(base=0), tally)(REQUEST)
    assert tally.throttles == isinstance(error, RateLimited)


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (RateLimited("too fast", retry_after=5.0), True),
        (RateLimited("too fast"), True),
        (ServerError("later", retry_after=5.0), True),
        (ApiError("later", retry_after=5.0), True),
        (ServerError("no"), False),
        (BadRequest("no"), False),
        (TransportError("gone"), False),
        (DecodeError("what"), False),
    ],
    ids=repr,
)
def test_a_refusal_closes_the_gate_and_another_error_does_not(
    error: CallError, closed: bool
) -> None:
    async def work() -> None:
        places = limiter(base=10.0, spread=0.4)
        call = limited(Script[Raw](error, DATA), places, Tally())
        with pytest.raises(type(error)):
            await call(REQUEST)
        assert places.generation == closed
        before = places.clock()
        await call(REQUEST)
        asked = getattr(error, "retry_after", None)
        waited = asked + 0.2 if asked else 4.0  # jitter is a tenth of what was asked, at most
        assert places.clock() - before == (waited if closed else 0.0)

    run(work())


@pytest.mark.parametrize(
    ("outcome", "opened"),
    [
        (DATA, True),
        (ServerError("no"), True),
        (TransportError("gone"), True),
        (RateLimited("too fast", retry_after=0), False),
        (ClientClosed("closed"), False),  # it may not have been sent
        (asyncio.CancelledError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_after_a_refusal_whatever_comes_back_but_a_refusal_opens_the_gate(
    outcome: Raw | BaseException, opened: bool
) -> None:
    async def work() -> None:
        places = limiter(4, base=0)
        for _ in range(4):
            await places.acquire()
        places.refused(0, 0.0)
        for _ in range(4):
            places.release()
        call = limited(Script[Raw](outcome), places, Tally())
        try:
            await call(REQUEST)
        except (CallError, ClientClosed, asyncio.CancelledError):
            assert outcome is not DATA
        assert places.limit == (2 if opened else 1)

    run(work())


def test_only_good_answers_make_more_room() -> None:
    async def work() -> None:
        places = limiter(4, base=0)
        places.refused(await places.acquire(), 0.0)
        places.release()
        outcomes: list[Raw | BaseException] = [DATA, ServerError("no"), TransportError("gone")]
        call = limited(Script[Raw](*outcomes, DATA), places, Tally())
        assert await call(REQUEST) is DATA
        assert places.limit == 1
        for error in (ServerError, TransportError):
            with pytest.raises(error):
                await call(REQUEST)
            assert places.limit == 1
        assert await call(REQUEST) is DATA
        assert places.limit == 2

    run(work())


def test_several_refusals_of_one_time_are_one_refusal() -> None:
    async def work() -> None:
        server, places, tally, pupil = Server(), limiter(8), Tally(), Pupil()

        async def refusing(request: Request, /) -> Raw:
            await server(request)
            raise RateLimited("too fast", retry_after=5.0)

        tasks = [
            asyncio.create_task(limited(refusing, places, tally, pupil)(REQUEST)) for _ in range(6)
        ]
        await until(lambda: server.under_way == 6)
        server.open.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (places.generation, pupil.refusals, tally.throttles) == (1, 1, 6)
        generation = await places.acquire()
        places.passed(generation, good=True)
        assert places.limit == 3

    run(work())


# What is learned


def test_the_time_of_a_good_answer_is_told_from_when_it_was_sent() -> None:
    async def work() -> None:
        server, places, pupil = Server(), limiter(1), Pupil()
        await places.acquire()
        task = asyncio.create_task(limited(server, places, Tally(), pupil)(REQUEST))
        await asyncio.sleep(100.0)
        assert pupil.count == 0
        places.release()
        await asyncio.sleep(3.0)
        server.open.set()
        await task
        assert pupil.told == [(1, 3.0)]

    run(work())


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_failure_is_told_once_and_without_a_time(error: BaseException) -> None:
    pupil = Pupil()
    with pytest.raises(type(error)):
        await limited(Script[Raw](error), limiter(base=0), Tally(), pupil)(REQUEST)
    assert pupil.told == [(1, None)]
    refusal = isinstance(error, ApiError) and error.retry_after is not None
    assert pupil.refusals == refusal


async def test_no_more_go_to_the_gate_than_was_learned_to_be_good() -> None:
    server, places, narrow, pupil = Server(), limiter(64), limiter(64), Adaptive(64)
    narrow.limit = pupil.limit = 3
    call = adapted(limited(server, places, Tally(), pupil), narrow, pupil)
    tasks = [asyncio.create_task(call(REQUEST)) for _ in range(10)]
    await until(lambda: server.under_way == 3)
    assert (narrow.in_flight, places.in_flight) == (3, 3)
    pupil.limit = 1
    tasks[0].cancel()  # any of them that ends makes it known
    await until(lambda: server.under_way == 2)
    pupil.limit = 5
    tasks[1].cancel()
    await until(lambda: server.under_way == 5)
    pupil.limit = 2
    for task in tasks[2:5]:
        task.cancel()
    await until(lambda: server.under_way == 2)
    server.open.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert server.most == 5
    assert (narrow.in_flight, places.in_flight) == (0, 0)


async def test_what_is_not_adapted_goes_past_those_who_wait_for_that() -> None:
    server, places, narrow, pupil = Server(), limiter(64), limiter(64), Adaptive(64)
    narrow.limit = pupil.limit = 1
    call = limited(server, places, Tally())
    narrowed = adapted(limited(server, places, Tally(), pupil), narrow, pupil)
    tasks = [asyncio.create_task(narrowed(REQUEST)) for _ in range(4)]
    await until(lambda: server.under_way == 1)
    tasks += [asyncio.create_task(call(REQUEST)) for _ in range(4)]
    await until(lambda: server.under_way == 5)
    server.open.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_both_places_come_back_after_an_error(error: BaseException) -> None:
    places, narrow, pupil = limiter(1, base=0), limiter(8), Adaptive(8)
    narrow.limit = 1
    call = adapted(limited(Script[Raw](error, DATA), places, Tally(), pupil), narrow, pupil)
    with pytest.raises(type(error)):
        await call(REQUEST)
    assert (narrow.in_flight, places.in_flight) == (0, 0)
    assert await call(REQUEST) is DATA


async def test_a_repetition_goes_first_there_too() -> None:
    server, narrow, pupil = Server(), limiter(8), Adaptive(8)
    narrow.limit = pupil.limit = 1
    call = adapted(server, narrow, pupil)
    again = replace(REQUEST, attempt=2)
    tasks = [asyncio.create_task(call(request)) for request in (REQUEST, REQUEST, again)]
    await until(lambda: server.under_way == 1)
    server.open.set()
    await asyncio.gather(*tasks)
    assert [request.attempt for request in server.requests] == [1, 2, 1]
