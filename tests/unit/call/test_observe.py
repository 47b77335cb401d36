"""Observers and the log get each request and its outcome once, and cannot change it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from dp_async import (
    Attempt,
    AttemptTimeout,
    ClientClosed,
    RateLimited,
    Request,
    Response,
    ResponseTooLarge,
    TransportError,
)
from dp_async._call.envelope import checked
from dp_async._call.observe import Observers, log
from dp_async._call.redact import Secrets
from dp_async._http import Answer
from tests.support.fake_server import until
from tests.support.samples import REQUEST, SECRET, Script


def answer(status: int = 200, **said: object) -> Response:
    return Response(status=status, body=json.dumps(said).encode())


GOOD = answer(code=200, data=[1], requestId="id-1", resultMsg="words")
REFUSED = answer(code=429, requestId="id-2", resultMsg="words")


class Observed:
    """A checked call over a script; ``attempts`` holds what an observer got."""

    def __init__(self, *outcomes: Response | BaseException, observing: bool = True) -> None:
        self.attempts: list[Attempt] = []
        self.observers = Observers()
        if observing:
            self.observers.add(self.attempts.append)
        self.script = Script(*outcomes)
        self.call = checked(self.script, self.observers, Secrets(SECRET))

    async def outcome(self, request: Request = REQUEST) -> bytes | BaseException:
        return await outcome_of(self.call(request))


async def outcome_of(work: Awaitable[Answer]) -> bytes | BaseException:
    try:
        return bytes((await work).data)
    except BaseException as error:
        return error


class Ticks:
    """Stands for ``time``: between two readings 0.0625 s pass."""

    readings = 0

    def perf_counter(self) -> float:
        self.readings += 1
        return 7.0 + 0.0625 * self.readings


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    ticks = Ticks()
    monkeypatch.setattr("dp_async._call.envelope.time", ticks)
    return ticks


async def test_a_good_answer_is_reported() -> None:
    observed = Observed(GOOD)
    assert await observed.outcome() == GOOD.body
    assert observed.attempts == [
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


async def test_any_other_outcome_is_reported() -> None:
    for outcome, status, code, request_id, error in FAILED:
        observed = Observed(outcome)
        raised = await observed.outcome(replace(REQUEST, endpoint="msg_list", attempt=3))
        assert type(raised).__name__ == error
        assert observed.attempts == [
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


async def test_a_cancelled_request_is_reported() -> None:
    in_flight = asyncio.Event()

    async def forever(request: Request, /) -> Response:
        in_flight.set()
        await asyncio.Event().wait()
        raise AssertionError

    observed = Observed()
    task = asyncio.ensure_future(checked(forever, observed.observers)(REQUEST))
    await until(in_flight.is_set)
    assert observed.attempts == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [attempt.error for attempt in observed.attempts] == ["CancelledError"]


async def test_every_request_is_reported_once_to_every_observer() -> None:
    observed = Observed(GOOD, TransportError("gone"), REFUSED, GOOD)
    more: list[Attempt] = []
    observed.observers.add(more.append)
    for number in range(1, 5):
        await observed.outcome(replace(REQUEST, attempt=number))
        assert len(observed.attempts) == number
    assert [attempt.number for attempt in observed.attempts] == [1, 2, 3, 4]
    assert [attempt.error for attempt in observed.attempts] == [
        "",
        "TransportError",
        "RateLimited",
        "",
    ]
    assert more == observed.attempts


def test_a_removed_observer_gets_no_more() -> None:
    observers, got = Observers(), list[str]()
    attempt = Attempt(endpoint="work_list", number=1, seconds=0.1)

    def once(attempt: Attempt) -> None:
        got.append("once")
        removals[0]()  # from inside its own call

    removals = [observers.add(once)]
    removals += [observers.add(lambda _: got.append("other")) for _ in range(2)]
    observers.notify(attempt)
    observers.notify(attempt)
    assert got == ["once", *["other"] * 4]
    removals[1]()
    removals[1]()
    observers.notify(attempt)
    assert got[5:] == ["other"]
    assert observers.listening
    removals[2]()
    assert not observers.listening


def test_an_attempt_holds_no_header_query_body_or_message() -> None:
    names = {field.name for field in fields(Attempt)}
    assert names == {
        *("endpoint", "number", "seconds", "status", "code", "request_id", "error", "page_num")
    }


@pytest.mark.parametrize("outcome", [GOOD, REFUSED, TransportError("gone")])
async def test_an_observer_that_raises_is_logged_and_changes_nothing(
    outcome: Response | BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    mistake = KeyError("its own mistake")

    def broken(attempt: Attempt) -> None:
        raise mistake

    alone = Observed(outcome, observing=False)
    observed = Observed(outcome, observing=False)
    observed.observers.add(broken)
    observed.observers.add(observed.attempts.append)
    expected, raised = await alone.outcome(), await observed.outcome()
    assert type(raised) is type(expected)
    assert raised == GOOD.body or str(raised) == str(expected)
    if isinstance(raised, BaseException):
        assert raised.__context__ is None
        assert raised.__cause__ is None
    assert len(observed.attempts) == 1
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dp_async", "ERROR")
    assert "observer" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is mistake


async def test_without_observers_and_debug_log_nothing_is_measured(
    clock: Ticks,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def notify(self: Observers, attempt: Attempt) -> None:
        raise AssertionError

    caplog.set_level(logging.INFO, "dp_async")
    monkeypatch.setattr(Observers, "notify", notify)
    observed = Observed(GOOD, REFUSED, TransportError("gone"), observing=False)
    assert await observed.outcome() == GOOD.body
    assert type(await observed.outcome()).__name__ == "RateLimited"
    assert type(await observed.outcome()).__name__ == "TransportError"
    assert clock.readings == 0
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


@pytest.mark.parametrize(("outcome", "attributes", "words"), LOGGED)
async def test_each_request_is_a_debug_record_with_a_message_and_attributes(
    outcome: Response | BaseException,
    attributes: dict[str, object],
    words: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    await Observed(outcome, observing=False).outcome(replace(REQUEST, attempt=3))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dp_async", "DEBUG")
    found = vars(record)
    assert {name: found[name] for name in attributes} == attributes
    assert (found["endpoint"], found["ms"], found["attempt"]) == ("work_list", 62.5, 3)
    assert record.exc_info is None
    text = record.getMessage()
    for word in ("work_list", "62 ms", "attempt 3", "request id", *words):
        assert word in text
    assert "words" not in text


async def test_the_debug_message_has_the_status_and_not_the_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    for request in (REQUEST, replace(REQUEST, page_num=7, page_size=20)):
        await Observed(answer(502, code=10086)).outcome(request)
    same = "ServerError, status 502, in 62 ms, attempt 1, request id none"
    assert caplog.messages == [f"work_list, page none: {same}", f"work_list, page 7: {same}"]
    assert [vars(record)["page_num"] for record in caplog.records] == [None, 7]


@pytest.fixture
def factory() -> Iterator[Callable[..., logging.LogRecord]]:
    """The LogRecord factory before the test, which the test may replace."""
    plain = logging.getLogRecordFactory()
    yield plain
    logging.setLogRecordFactory(plain)


async def test_an_attribute_of_the_application_s_record_factory_stays(
    factory: Callable[..., logging.LogRecord], caplog: pytest.LogCaptureFixture
) -> None:
    def with_request_id(*args: Any, **given: Any) -> logging.LogRecord:
        record = factory(*args, **given)
        record.request_id = "of the web request"
        return record

    logging.setLogRecordFactory(with_request_id)
    caplog.set_level(logging.DEBUG, "dp_async")
    assert await Observed(GOOD).outcome() == GOOD.body
    (record,) = caplog.records
    found = vars(record)
    assert (found["request_id"], found["endpoint"]) == ("of the web request", "work_list")
    assert record.getMessage().endswith("request id id-1")


def test_a_record_shows_its_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log(logging.WARNING, "%d rows", 7, name="other", args=(), rows=7)
    log(logging.DEBUG, "below the level")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("dp_async", "7 rows")
    assert (record.filename, record.module) == ("test_observe.py", "test_observe")
    assert record.funcName == test_a_record_shows_its_caller.__name__
    assert vars(record)["rows"] == 7


class Broken(logging.Handler):
    """A handler, and with its ``handle`` a filter, a factory or an observer, that raises."""

    def handle(self, *args: Any, **given: Any) -> Any:
        raise ZeroDivisionError("a mistake of the application")


@pytest.mark.parametrize("part", ["factory", "filter", "handler"])
async def test_a_log_that_raises_changes_nothing(
    part: str,
    factory: Callable[..., logging.LogRecord],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    logger, broken = logging.getLogger("dp_async"), Broken()
    if part == "factory":
        logging.setLogRecordFactory(broken.handle)
    elif part == "filter":
        monkeypatch.setattr(logger, "filters", [broken.handle])
    else:
        monkeypatch.setattr(logger, "handlers", [broken])
    observed = Observed(GOOD, REFUSED)
    observed.observers.add(broken.handle)  # its failure is logged, which fails too
    assert await observed.outcome() == GOOD.body
    raised = await observed.outcome()
    assert isinstance(raised, RateLimited)
    assert raised.__context__ is None
    assert [attempt.error for attempt in observed.attempts] == ["", "RateLimited"]
    assert capsys.readouterr().err.count("ZeroDivisionError: a mistake") >= 4


@pytest.mark.parametrize("stderr", [None, "closed", "silenced"])
def test_without_a_stderr_a_log_that_raises_is_silent(
    stderr: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("dp_async"), "handlers", [Broken()])
    if stderr == "silenced":
        monkeypatch.setattr(logging, "raiseExceptions", False)
    else:
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, "stderr", None if stderr is None else stream)
    log(logging.WARNING, "lost")
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


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
async def test_private_values_are_redacted_in_a_request_id(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    headers = {"account": "13800001234", "authorization": "signature"}
    request = replace(REQUEST, target="/path?name=of%20ours&pageNum=1", headers=headers)
    words = "signature 13800001234 of ours of%20ours"
    observed = Observed(answer(code=code, data={}, requestId=words))
    await observed.outcome(request)
    assert observed.attempts[0].request_id == "*** …1234 *** ***"
    assert caplog.messages[0].endswith("request id *** …1234 *** ***")


@pytest.mark.parametrize("code", [200, 500])
async def test_a_request_id_is_printable_truncated_and_redacted(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "dp_async")
    for sent, expected in IDS:
        caplog.clear()
        observed = Observed(answer(code=code, data={}, requestId=sent, resultMsg=SECRET))
        await observed.outcome()
        assert observed.attempts[0].request_id == expected
        assert vars(caplog.records[0])["request_id"] == expected
        assert caplog.messages[0].endswith(f"request id {expected or 'none'}")
        assert SECRET not in f"{observed.attempts} {vars(caplog.records[0])}"
