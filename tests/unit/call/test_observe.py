"""Whoever looks on is told of each request, once, what came of it, and changes nothing by it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from dataclasses import fields, replace

import pytest
from msgspec import Raw

from dp_async import (
    Attempt,
    AttemptTimeout,
    ClientClosed,
    Request,
    Response,
    ResponseTooLarge,
    TransportError,
)
from dp_async._call.envelope import checked
from dp_async._call.observe import Observers
from dp_async._call.redact import Secrets
from tests.support.fake_server import until
from tests.support.samples import REQUEST, SECRET, Script


def answer(status: int = 200, **said: object) -> Response:
    return Response(status=status, body=json.dumps(said).encode())


GOOD = answer(code=200, data=[1], requestId="id-1", resultMsg="words")
REFUSED = answer(code=429, requestId="id-2", resultMsg="words")


class Watch:
    """A checked call over a script; ``told`` holds what an observer was told."""

    def __init__(self, *outcomes: Response | BaseException, observed: bool = True) -> None:
        self.told: list[Attempt] = []
        self.observers = Observers()
        if observed:
            self.observers.add(self.told.append)
        self.script = Script(*outcomes)
        self.call = checked(self.script, self.observers, Secrets(SECRET))

    async def outcome(self, request: Request = REQUEST) -> Raw | BaseException:
        return await outcome_of(self.call(request))


async def outcome_of(work: Awaitable[Raw]) -> Raw | BaseException:
    try:
        return await work
    except BaseException as error:
        return error


class Ticks:
    """Stands for ``time``: from one look at it to the next, 0.0625 s go by."""

    looks = 0

    def perf_counter(self) -> float:
        self.looks += 1
        return 7.0 + 0.0625 * self.looks


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    ticks = Ticks()
    monkeypatch.setattr("dp_async._call.envelope.time", ticks)
    return ticks


async def test_a_good_answer_is_told() -> None:
    watch = Watch(GOOD)
    assert await watch.outcome() == Raw(GOOD.body)
    assert watch.told == [
        Attempt(
            endpoint="work_list", number=1, seconds=0.0625, status=200, code=200, request_id="id-1"
        )
    ]


FAILED: list[tuple[Response | BaseException, int | None, int | None, str, str]] = [
    # refused
    (REFUSED, 200, 429, "id-2", "RateLimited"),
    (answer(401, code=10086, requestId=7), 401, 10086, "7", "AuthError"),
    (answer(404, requestId="id-3"), 404, None, "id-3", "BadRequest"),
    (Response(status=502, body=b"<html>"), 502, None, "", "ServerError"),
    # not the API's answer
    (Response(status=200), 200, None, "", "TransportError"),
    (answer(data={}), 200, None, "", "DecodeError"),
    # no answer
    (TransportError("gone"), None, None, "", "TransportError"),
    (AttemptTimeout("slow"), None, None, "", "AttemptTimeout"),
    (ResponseTooLarge("more"), None, None, "", "ResponseTooLarge"),
    (ClientClosed("closed"), None, None, "", "ClientClosed"),
    (ValueError("bug"), None, None, "", "ValueError"),
    (asyncio.CancelledError(), None, None, "", "CancelledError"),
    (KeyboardInterrupt(), None, None, "", "KeyboardInterrupt"),
]


@pytest.mark.parametrize(("outcome", "status", "code", "request_id", "error"), FAILED)
async def test_whatever_else_comes_of_a_request_is_told(
    outcome: Response | BaseException,
    status: int | None,
    code: int | None,
    request_id: str,
    error: str,
) -> None:
    watch = Watch(outcome)
    raised = await watch.outcome(replace(REQUEST, endpoint="msg_list", attempt=3))
    assert type(raised).__name__ == error
    assert watch.told == [
        Attempt(
            endpoint="msg_list",
            number=3,
            seconds=0.0625,
            status=status,
            code=code,
            request_id=request_id,
            error=error,
        )
    ]


async def test_a_request_that_is_cancelled_on_its_way_is_told() -> None:
    in_flight = asyncio.Event()

    async def forever(request: Request, /) -> Response:
        in_flight.set()
        await asyncio.Event().wait()
        raise AssertionError

    watch = Watch()
    task = asyncio.ensure_future(checked(forever, watch.observers)(REQUEST))
    await until(in_flight.is_set)
    assert watch.told == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [attempt.error for attempt in watch.told] == ["CancelledError"]


async def test_every_request_is_told_once_and_to_all() -> None:
    watch = Watch(GOOD, TransportError("gone"), REFUSED, GOOD)
    more: list[Attempt] = []
    watch.observers.add(more.append)
    for number in range(1, 5):
        await watch.outcome(replace(REQUEST, attempt=number))
        assert len(watch.told) == number
    assert [attempt.number for attempt in watch.told] == [1, 2, 3, 4]
    assert [attempt.error for attempt in watch.told] == ["", "TransportError", "RateLimited", ""]
    assert more == watch.told


def test_an_attempt_holds_nothing_of_what_was_asked_or_answered() -> None:
    names = {field.name for field in fields(Attempt)}
    assert names == {"endpoint", "number", "seconds", "status", "code", "request_id", "error"}


@pytest.mark.parametrize("outcome", [GOOD, REFUSED, TransportError("gone")])
async def test_an_observer_that_raises_is_logged_and_changes_nothing(
    outcome: Response | BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    mistake = KeyError("its own mistake")

    def broken(attempt: Attempt) -> None:
        raise mistake

    alone = Watch(outcome, observed=False)
    watch = Watch(outcome, observed=False)
    watch.observers.add(broken)
    watch.observers.add(watch.told.append)
    expected, raised = await alone.outcome(), await watch.outcome()
    assert type(raised) is type(expected)
    assert raised == Raw(GOOD.body) or str(raised) == str(expected)
    if isinstance(raised, BaseException):
        assert raised.__context__ is None
        assert raised.__cause__ is None
    assert len(watch.told) == 1
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dp_async", "ERROR")
    assert "observer" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is mistake


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
async def test_with_nobody_there_nothing_is_told_and_the_clock_is_not_looked_at(
    level: int,
    clock: Ticks,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def notify(self: Observers, attempt: Attempt) -> None:
        raise AssertionError

    caplog.set_level(level, "dp_async")
    monkeypatch.setattr(Observers, "notify", notify)
    watch = Watch(GOOD, REFUSED, TransportError("gone"), observed=False)
    assert await watch.outcome() == Raw(GOOD.body)
    assert type(await watch.outcome()).__name__ == "RateLimited"
    assert type(await watch.outcome()).__name__ == "TransportError"
    assert clock.looks == 0
    assert not caplog.records


LOGGED = [
    (GOOD, {"status": 200, "code": 200, "request_id": "id-1"}, ["good", "status 200", "id-1"]),
    (
        REFUSED,
        {"status": 200, "code": 429, "request_id": "id-2"},
        ["RateLimited", "status 200", "id-2"],
    ),
    (
        TransportError("x"),
        {"status": None, "code": None, "request_id": ""},
        ["TransportError", "status none", "request id none"],
    ),
]


@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize(("outcome", "attributes", "words"), LOGGED)
async def test_each_request_is_a_debug_record_in_words_and_in_attributes(
    outcome: Response | BaseException,
    attributes: dict[str, object],
    words: list[str],
    observed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    await Watch(outcome, observed=observed).outcome(replace(REQUEST, attempt=3))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dp_async", "DEBUG")
    held = vars(record)
    assert {name: held[name] for name in attributes} == attributes
    assert (held["endpoint"], held["ms"], held["attempt"]) == ("work_list", 62.5, 3)
    assert record.exc_info is None
    text = record.getMessage()
    for word in ("work_list", "62 ms", "attempt 3", "request id", *words):
        assert word in text
    assert "words" not in text


async def test_the_debug_record_says_the_status_and_not_the_code_in_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    await Watch(answer(502, code=10086)).outcome()
    assert caplog.messages == [
        "work_list: ServerError, status 502, in 62 ms, attempt 1, request id none"
    ]


IDS: list[tuple[object, str]] = [
    (f"of {SECRET}", "of ***"),
    ("%s %d %(x)s", "%s %d %(x)s"),
    ("a\r\nb\x1b[31m", "a  b [31m"),
    ("i" * 99, "i" * 63 + "…"),
    ("i" * 60 + SECRET, "i" * 60 + "***"),
    (12, "12"),
    ([SECRET], ""),
    (None, ""),
]


@pytest.mark.parametrize("code", [200, 500])
async def test_a_request_id_repeats_nothing_of_what_was_sent(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    headers = {"account": "13800001234", "authorization": "signature"}
    request = replace(REQUEST, target="/path?name=of%20ours&pageNum=1", headers=headers)
    words = "signature 13800001234 of ours of%20ours"
    watch = Watch(answer(code=code, data={}, requestId=words))
    await watch.outcome(request)
    assert watch.told[0].request_id == "*** …1234 *** ***"
    assert caplog.messages[0].endswith("request id *** …1234 *** ***")


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize(("sent", "told"), IDS)
async def test_a_request_id_is_fit_for_a_terminal_and_holds_no_secret(
    code: int, sent: object, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    watch = Watch(answer(code=code, data={}, requestId=sent, resultMsg=SECRET))
    await watch.outcome()
    assert watch.told[0].request_id == told
    assert vars(caplog.records[0])["request_id"] == told
    assert caplog.messages[0].endswith(f"request id {told or 'none'}")
    assert SECRET not in f"{watch.told} {vars(caplog.records[0])}"
