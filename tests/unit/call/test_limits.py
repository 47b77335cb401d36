"""One attempt: its permit is always released, it has a deadline, and reports its outcome."""

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
from dp_async._call.limits import (
    SERVING,
    adapted,
    is_excused,
    is_refusal,
    limited,
    timed,
    wait_of,
)
from dp_async._call.stats import Tally
from dp_async._http import Answer
from tests.support.fake_server import until
from tests.support.samples import REQUEST, Script
from tests.support.virtual_loop import run

GOOD = Response(status=200)
DATA = Answer(Raw(b"{}"))


class Server:
    """Answers once ``open`` is set; counts the requests in flight."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.in_flight = self.most = 0
        self.requests: list[Request] = []

    async def __call__(self, request: Request, /) -> Answer:
        self.requests.append(request)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.open.wait()
        finally:
            self.in_flight -= 1
        return DATA

    async def send(self, request: Request, /) -> Response:
        await self(request)
        return GOOD


def test_a_retry_after_of_more_than_a_day_is_ignored() -> None:
    cases: list[tuple[CallError, float | None]] = [
        (RateLimited(""), None),
        (RateLimited("", retry_after=0), 0),
        (ServerError("", retry_after=86_400.0), 86_400.0),
        (ServerError("", retry_after=86_401.0), None),
        (RateLimited("", retry_after=1_700_000_000.0), None),  # an epoch second
        (TransportError(""), None),
    ]
    for error, wait in cases:
        assert wait_of(error) == wait


class Recorder(Adaptive):
    """Keeps what is reported to it; each request has its own number."""

    def __init__(self, ceiling: int = 8) -> None:
        super().__init__(ceiling)
        self.count = self.refusals = 0
        self.answers: list[tuple[int, float | None]] = []

    def sent(self) -> int:
        self.count += 1
        return self.count

    def answered(self, sent: int, seconds: float | None) -> None:
        self.answers.append((sent, seconds))

    def refused(self) -> None:
        self.refusals += 1


def limiter(
    ceiling: int = 8, *, base: float = 0.5, cap: float = 60.0, jitter: float = 0.0
) -> Limiter:
    return Limiter(ceiling, base=base, cap=cap, jitter=lambda: jitter)


# Permits


async def test_the_requests_in_flight_are_limited() -> None:
    server, tally, permits = Server(), Tally(), limiter(3)
    call = limited(server, permits, tally)
    tasks = [asyncio.create_task(call(REQUEST)) for _ in range(10)]
    await until(lambda: server.in_flight == 3)
    assert (tally.requests, tally.in_flight) == (3, 3)
    server.open.set()
    assert await asyncio.gather(*tasks) == [DATA] * 10
    assert server.most == 3
    assert (tally.requests, tally.in_flight, tally.max_in_flight) == (10, 0, 3)
    assert permits.in_flight == 0


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


async def test_any_error_releases_the_permits_and_is_reported() -> None:
    for error in ERRORS:
        permits, narrow, tally, adaptive = limiter(1, base=0), limiter(8), Tally(), Recorder()
        narrow.limit = 1
        script = Script[Answer](error, error, DATA)
        call = limited(script, permits, tally)
        narrowed = adapted(limited(script, permits, tally, adaptive), narrow, adaptive)
        for each in (call, narrowed):
            with pytest.raises(type(error)) as caught:
                await each(REQUEST)
            assert caught.value is error
            assert (permits.in_flight, narrow.in_flight, tally.in_flight) == (0, 0, 0)
        assert adaptive.answers == [(1, None)]
        refused = isinstance(error, ApiError) and error.retry_after is not None
        assert adaptive.refusals == refused
        assert tally.throttles == 2 * isinstance(error, RateLimited)
        assert await narrowed(REQUEST) is DATA
        assert tally.requests == len(script.requests) == 3


@pytest.mark.parametrize("waits", [True, False])
async def test_a_cancelled_call_releases_its_permit(waits: bool) -> None:
    server, permits, tally, adaptive = Server(), limiter(1), Tally(), Recorder()
    if waits:
        await permits.acquire()
    task = asyncio.create_task(limited(server, permits, tally, adaptive)(REQUEST))
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.in_flight == (not waits)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if waits:
        permits.release()
    assert (server.in_flight, permits.in_flight, tally.in_flight) == (0, 0, 0)
    assert tally.requests == len(adaptive.answers) == (not waits)


async def test_a_retry_is_admitted_first() -> None:
    server, permits = Server(), limiter(1)
    call = limited(server, permits, Tally())
    again = replace(REQUEST, attempt=2)
    tasks = [asyncio.create_task(call(request)) for request in (REQUEST, REQUEST, again)]
    await until(lambda: server.in_flight == 1)
    server.open.set()
    await asyncio.gather(*tasks)
    assert [request.attempt for request in server.requests] == [1, 2, 1]


def test_a_call_that_is_not_sent_counts_nowhere() -> None:
    async def work() -> None:
        permits, tally, adaptive = limiter(cap=10.0), Tally(), Recorder()
        script = Script[Answer](RateLimited("too fast", retry_after=60.0))
        call = limited(script, permits, tally, adaptive)
        with pytest.raises(RateLimited):
            await call(REQUEST)
        with pytest.raises(RateLimited) as caught:
            await call(REQUEST)
        assert caught.value.endpoint == "work_list"
        assert caught.value.retry_after == 60.0
        assert (tally.requests, tally.throttles, len(adaptive.answers)) == (1, 1, 1)
        assert (permits.in_flight, tally.in_flight) == (0, 0)

    run(work())


def test_a_call_waits_no_longer_than_its_own_cap() -> None:
    async def work() -> None:
        permits, tally = limiter(cap=60.0), Tally()
        script = Script[Answer](RateLimited("too fast", retry_after=30.0), DATA)
        call = limited(script, permits, tally)
        with pytest.raises(RateLimited):
            await call(REQUEST)
        with pytest.raises(RateLimited, match="not sent") as caught:
            await limited(script, permits, tally, cap=20.0)(REQUEST)
        assert caught.value.retry_after == 30.0
        assert await call(REQUEST) is DATA
        assert permits.clock() == 30.0

    run(work())


# The deadline


def test_an_attempt_times_out() -> None:
    async def work() -> None:
        server = Server()
        task = asyncio.create_task(timed(server.send, 30.0)(REQUEST))
        await asyncio.sleep(29.0)
        assert server.in_flight == 1
        await asyncio.sleep(1.5)
        with pytest.raises(AttemptTimeout) as caught:
            await task
        assert str(caught.value) == (
            "work_list: no complete answer within 30 s; the setting timeout limits one attempt"
        )
        assert caught.value.endpoint == "work_list"
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert server.in_flight == 0

    run(work())


async def test_an_answer_in_time_is_returned() -> None:
    script = Script[Response](GOOD)
    assert await timed(script, 30.0)(REQUEST) is GOOD
    assert script.requests == [REQUEST]


async def test_an_error_in_time_is_raised_as_it_is() -> None:
    for error in ERRORS:
        with pytest.raises(type(error)) as caught:
            await timed(Script[Response](error), 30.0)(REQUEST)
        assert caught.value is error


def test_a_send_that_turns_our_cancellation_into_a_timeout_is_timed_out() -> None:
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


def with_deadline(send: Send, permits: Limiter, tally: Tally) -> Coroutine[object, object, Answer]:
    sending = timed(send, 30.0)

    async def call(request: Request, /) -> Answer:
        await sending(request)
        return DATA

    return limited(call, permits, tally)(REQUEST)


def test_the_deadline_starts_once_the_call_is_admitted() -> None:
    async def work() -> None:
        server, permits, tally = Server(), limiter(1), Tally()
        await permits.acquire()
        task = asyncio.create_task(with_deadline(server.send, permits, tally))
        await asyncio.sleep(3600.0)
        assert (tally.requests, task.done()) == (0, False)
        permits.release()
        await asyncio.sleep(29.0)
        server.open.set()
        assert await task is DATA

    run(work())


def test_a_timeout_releases_the_permit() -> None:
    async def work() -> None:
        permits, tally = limiter(1), Tally()
        for _ in range(3):
            with pytest.raises(AttemptTimeout):
                await with_deadline(Server().send, permits, tally)
            assert (permits.in_flight, tally.in_flight) == (0, 0)

    run(work())


# What is reported to the limiter


@pytest.mark.parametrize(
    ("error", "refused"),
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
def test_a_refusal_pauses_all_calls_and_no_other_error_does(
    error: CallError, refused: bool
) -> None:
    async def work() -> None:
        permits = limiter(base=10.0, jitter=0.4)
        call = limited(Script[Answer](error, DATA), permits, Tally())
        with pytest.raises(type(error)):
            await call(REQUEST)
        assert permits.generation == refused
        before = permits.clock()
        await call(REQUEST)
        after = getattr(error, "retry_after", None)
        waited = after + 0.2 if after else 1.0  # jitter: up to a tenth of Retry-After
        assert permits.clock() - before == (waited if refused else 0.0)

    run(work())


@pytest.mark.parametrize(
    ("outcome", "reopened"),
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
def test_any_answer_but_a_refusal_reopens_the_limiter(
    outcome: Answer | BaseException, reopened: bool
) -> None:
    async def work() -> None:
        permits = limiter(4, base=0)
        acquired = [await permits.acquire() for _ in range(4)]
        permits.refused(acquired[0], 0.0)
        for _ in range(4):
            permits.release()
        call = limited(Script[Answer](outcome), permits, Tally())
        try:
            await call(REQUEST)
        except (CallError, ClientClosed, asyncio.CancelledError):
            assert outcome is not DATA
        assert permits.limit == (4 if reopened else 1)

    run(work())


STATUSES: list[tuple[CallError, bool, bool]] = [
    (RateLimited("", status=429), True, True),
    (ServerError("", status=503), False, True),
    (ServerError("", status=200, code=503), False, True),
    (ServerError("", status=503, code=500), False, False),
    (ServerError("", status=503, retry_after=1.0), True, True),
    (ServerError("", status=502), False, False),
    (TransportError(""), False, False),
]


def test_a_503_is_a_refusal_while_the_server_lets_others_through() -> None:
    async def work() -> None:
        for error, always, while_serving in STATUSES:
            permits = limiter(base=0)
            assert is_refusal(error, permits) is always
            await limited(Script[Answer](DATA), permits, Tally())(REQUEST)
            await asyncio.sleep(SERVING)
            assert is_refusal(error, permits) is while_serving
            await asyncio.sleep(0.1)
            assert is_refusal(error, permits) is always

    run(work())


def test_a_503_is_a_refusal_for_the_cap_while_the_server_refuses_all() -> None:
    async def work() -> None:
        permits, outage = limiter(base=0, cap=60.0), ServerError("", status=503)
        await limited(Script[Answer](DATA), permits, Tally())(REQUEST)
        for seconds, refused in ((1.0, True), (58.9, True), (0.2, False)):
            await asyncio.sleep(seconds)
            assert is_refusal(outage, permits) is refused
            with pytest.raises(ServerError):  # nothing else is in flight, so that all are refused
                await limited(Script[Answer](outage), permits, Tally())(REQUEST)
            assert permits.is_refused is refused

    run(work())


def test_a_refusal_is_excused_while_the_server_let_others_through_in_the_last_seconds() -> None:
    async def work() -> None:
        permits, refusal = limiter(base=0), RateLimited("", status=429)
        assert not is_excused(refusal, permits, 20.0)
        await limited(Script[Answer](DATA), permits, Tally())(REQUEST)
        await asyncio.sleep(5.0)
        assert is_excused(refusal, permits, 5.0)
        assert not is_excused(refusal, permits, 4.9)
        assert not is_excused(ServerError("", status=502), permits, 5.0)

    run(work())


def test_refusals_of_one_burst_count_as_one() -> None:
    async def work() -> None:
        server, permits, tally, adaptive = Server(), limiter(8), Tally(), Recorder()

        async def refusing(request: Request, /) -> Answer:
            await server(request)
            raise RateLimited("too fast", retry_after=5.0)

        tasks = [
            asyncio.create_task(limited(refusing, permits, tally, adaptive)(REQUEST))
            for _ in range(6)
        ]
        await until(lambda: server.in_flight == 6)
        server.open.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (permits.generation, adaptive.refusals, tally.throttles) == (1, 1, 6)
        permits.passed(await permits.acquire(), good=True)
        assert permits.limit == 3

    run(work())


# What is reported to the adaptive limit


def test_the_latency_of_a_good_answer_counts_from_when_it_was_sent() -> None:
    async def work() -> None:
        server, permits, adaptive = Server(), limiter(1), Recorder()
        await permits.acquire()
        task = asyncio.create_task(limited(server, permits, Tally(), adaptive)(REQUEST))
        await asyncio.sleep(100.0)
        assert adaptive.count == 0
        permits.release()
        await asyncio.sleep(3.0)
        server.open.set()
        await task
        assert adaptive.answers == [(1, 3.0)]

    run(work())


async def test_adaptive_calls_are_limited_by_what_was_learned() -> None:
    server, permits, narrow, adaptive = Server(), limiter(64), limiter(64), Adaptive(64)
    narrow.limit = adaptive.limit = 3
    call = adapted(limited(server, permits, Tally(), adaptive), narrow, adaptive)
    tasks = [asyncio.create_task(call(REQUEST)) for _ in range(10)]
    await until(lambda: server.in_flight == 3)
    assert (narrow.in_flight, permits.in_flight) == (3, 3)
    adaptive.limit = 1
    tasks[0].cancel()  # any call that ends applies the new limit
    await until(lambda: server.in_flight == 2)
    adaptive.limit = 5
    tasks[1].cancel()
    await until(lambda: server.in_flight == 5)
    adaptive.limit = 2
    for task in tasks[2:5]:
        task.cancel()
    await until(lambda: server.in_flight == 2)
    server.open.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert server.most == 5
    assert (narrow.in_flight, permits.in_flight) == (0, 0)


async def test_other_calls_do_not_wait_for_the_adaptive_limit() -> None:
    server, permits, narrow, adaptive = Server(), limiter(64), limiter(64), Adaptive(64)
    narrow.limit = adaptive.limit = 1
    call = limited(server, permits, Tally())
    narrowed = adapted(limited(server, permits, Tally(), adaptive), narrow, adaptive)
    tasks = [asyncio.create_task(narrowed(REQUEST)) for _ in range(4)]
    await until(lambda: server.in_flight == 1)
    tasks += [asyncio.create_task(call(REQUEST)) for _ in range(4)]
    await until(lambda: server.in_flight == 5)
    server.open.set()
    await asyncio.gather(*tasks)


async def test_a_retry_is_admitted_first_by_the_adaptive_limit() -> None:
    server, narrow, adaptive = Server(), limiter(8), Adaptive(8)
    narrow.limit = adaptive.limit = 1
    call = adapted(server, narrow, adaptive)
    again = replace(REQUEST, attempt=2)
    tasks = [asyncio.create_task(call(request)) for request in (REQUEST, REQUEST, again)]
    await until(lambda: server.in_flight == 1)
    server.open.set()
    await asyncio.gather(*tasks)
    assert [request.attempt for request in server.requests] == [1, 2, 1]
