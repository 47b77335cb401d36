"""Any response is a good answer or one of our errors, which show no server internals."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_async import (
    ApiError,
    AuthError,
    BadRequest,
    CallError,
    DecodeError,
    DpError,
    RateLimited,
    Request,
    Response,
    ServerError,
    TransportError,
    Work,
)
from dp_async._call import envelope as module
from dp_async._call.envelope import checked, good, opened
from dp_async._call.observe import Attempt, Observers
from dp_async._errors import may_retry_now
from dp_async._http import Answer
from dp_async._page.decoder import PageDecoder
from tests.support.samples import REQUEST, SECRET, Script, vector

HTML = b"\n <!DOCTYPE html><title>Bad Gateway</title>"
NOW = 1_700_000_000.0


def envelope(**fields: object) -> bytes:
    """An answer as the API writes it, internals included, with *fields* changed."""
    usual: dict[str, object] = {
        "data": None,
        "requestId": "abc",
        "resultMsg": "vendor's words",
        "host": f"host-{SECRET}",
        "errorStackTrace": f"at com.vendor.{SECRET}(Main.java)",
    }
    return json.dumps({**usual, **fields}).encode()


def failure(body: bytes, status: int = 200, **headers: str) -> CallError:
    """The error for *body*, after checking that it shows no internals."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(CallError) as caught:
        opened(REQUEST, Response(status=status, headers=named, body=body), clock=lambda: NOW)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.args} {vars(error)}"
    assert SECRET not in "".join(traceback.format_exception(error))
    assert error.__context__ is None
    assert error.__cause__ is None
    assert str(error).isprintable()
    assert str(error).startswith("work_list: ")
    assert error.endpoint == "work_list"
    assert not may_retry_now(error)
    return error


GOOD = [
    (200, b'{"code":200,"data":{}}', b"{}"),
    (200, b'{"code":"200","data":[1]}', b"[1]"),
    (200, b' {"data" : 0 , "code":200}\n', b"0"),
    (200, b'{"code":200,"data":"null"}', b'"null"'),
    (200, envelope(code=200, data=False, resultMsg="失败", errorStackTrace="x"), b"false"),
    (200, b'{"code":200,"data":{},"new":[1],"resultMsg":{},"requestId":7}', b"{}"),
    (500, b'{"code":200,"data":{}}', b"{}"),
]


def test_a_good_answer_gives_its_data() -> None:
    for status, body, data in GOOD:
        assert bytes(opened(REQUEST, Response(status=status, body=body)).data) == data


@pytest.mark.parametrize("name", ["workList", "msgList"])
def test_the_documented_answers_are_good(name: str) -> None:
    body = vector(name)
    envelope = opened(REQUEST, Response(status=200, body=body))
    assert json.loads(bytes(envelope.data)) == json.loads(body)["data"]
    assert json.loads(bytes(envelope.request_id)) == json.loads(body)["requestId"]


Kinds = type[CallError]

REFUSED: list[tuple[int, bytes, Kinds, str]] = [
    # HTTP says 200, the envelope says no
    (200, envelope(code=401), AuthError, "the server answered 401 (HTTP 200) "),
    (200, envelope(code="401"), AuthError, "the server answered 401 (HTTP 200) "),
    (200, envelope(code=403), AuthError, "the server answered 403 (HTTP 200) "),
    (200, envelope(code=404), BadRequest, "the server answered 404 (HTTP 200) "),
    (200, envelope(code=412, data={}), BadRequest, "the server answered 412 (HTTP 200) "),
    (200, envelope(code=429), RateLimited, "the server answered 429 (HTTP 200) "),
    (200, envelope(code=500), ServerError, "the server answered 500 (HTTP 200) "),
    (200, envelope(code=599), ServerError, "the server answered 599 (HTTP 200) "),
    (200, envelope(code=10086), ApiError, "the server answered 10086 (HTTP 200) "),
    (200, envelope(code=0), ApiError, "the server answered 0 (HTTP 200) "),
    (200, envelope(code=-1), ApiError, "the server answered -1 (HTTP 200) "),
    (200, envelope(code=600), ApiError, "the server answered 600 (HTTP 200) "),
    # both say no: the envelope decides, unless its code is of the vendor's own numbering
    (
        401,
        envelope(code=401),
        AuthError,
        'the server answered 401 "vendor\'s words", request id abc',
    ),
    (403, envelope(code=500), ServerError, "the server answered 500 (HTTP 403) "),
    (403, envelope(code=10086), AuthError, "the server answered 10086 (HTTP 403) "),
    (502, envelope(code=10086), ServerError, "the server answered 10086 (HTTP 502) "),
    (502, envelope(code=600), ServerError, "the server answered 600 (HTTP 502) "),
    (502, envelope(code=299), ServerError, "the server answered 299 (HTTP 502) "),
    (502, envelope(code=300), ApiError, "the server answered 300 (HTTP 502) "),
    (400, envelope(code=599), ServerError, "the server answered 599 (HTTP 400) "),
    # no code: HTTP decides, the envelope has the message
    (401, envelope(), AuthError, 'the server answered 401 "vendor\'s words", request id abc'),
    (429, envelope(code="slow"), RateLimited, 'the server answered 429 "vendor\'s words"'),
    (400, b"{}", BadRequest, "the server answered 400"),
    (400, HTML, BadRequest, "the server answered 400. The answer is not the API's JSON"),
    (400, b"<p>plain HTTP request was sent to HTTPS port", BadRequest, "base_url with https://"),
    # no envelope at all
    (502, HTML, ServerError, "the server answered 502"),
    (503, b"", ServerError, "the server answered 503"),
    (500, b"[]", ServerError, "the server answered 500"),
    (429, b"slow down", RateLimited, "the server answered 429"),
    (404, HTML, BadRequest, "the server answered 404. Check base_url"),
    (302, b"", ApiError, "the server answered 302. Redirects are not followed"),
    (300, b"", ApiError, "the server answered 300. Redirects are not followed"),
    (300, b"{}", ApiError, "the server answered 300. Redirects are not followed"),
    (300, envelope(code=10086), ApiError, "the server answered 10086 (HTTP 300) "),
    (299, b"", TransportError, "the answer was empty"),
    (299, b"{}", DecodeError, "`$.code` is missing"),
    (304, b"", ApiError, "the server answered 304. Redirects are not followed"),
    (100, b"", ApiError, "the server answered 100"),
    (999, b"", ApiError, "the server answered 999"),
    (200, HTML, TransportError, "the answer is HTML, not the API's JSON"),
    (200, b"", TransportError, "the answer was empty"),
    (204, b" \r\n\t", TransportError, "the answer was empty"),
    # not what the API documents
    (200, b'{"data":{}}', DecodeError, "`$.code` is missing"),
    (200, envelope(code=None, data={}), DecodeError, "`$.code` is missing"),
    (200, envelope(code="A0400", data={}), DecodeError, "`$.code` is a string, not a number"),
    (200, envelope(code="²00", data={}), DecodeError, "`$.code` is a string, not a number"),
    (200, envelope(code="999999999"), ApiError, "the server answered 999999999 (HTTP 200) "),
    (200, envelope(code="0000000200", data={}), DecodeError, "`$.code` is a string, not a number"),
    (200, envelope(code="9" * 5000), DecodeError, "`$.code` is a string, not a number"),
    (200, envelope(code=200), DecodeError, "code 200, but `$.data` is null or missing"),
    (200, b'{"code":200,"data": null }', DecodeError, "code 200, but `$.data` is null"),
    (200, b'{"code":200}', DecodeError, "code 200, but `$.data` is null or missing"),
    (500, envelope(code=200), DecodeError, "code 200, but `$.data` is null or missing"),
    (200, envelope(code=True), DecodeError, "got `bool` - at `$.code`"),
    (200, envelope(code=200.5), DecodeError, "got `float` - at `$.code`"),
    (200, envelope(code=[200]), DecodeError, "got `array` - at `$.code`"),
    (200, b'{"code":' + b"9" * 5000 + b"}", DecodeError, "out of range - at `$.code`"),
    (200, b"[]", DecodeError, "Expected `object`, got `array` - at `$`"),
    (200, b"7", DecodeError, "Expected `object`, got `int` - at `$`"),
    (200, b"null", DecodeError, "Expected `object`, got `null` - at `$`"),
    (200, b'"200"', DecodeError, "Expected `object`, got `str` - at `$`"),
    (200, b'{"code":200,"data":{', DecodeError, "Input data was truncated"),
    (200, b'{"code":200,"data":{}}{}', DecodeError, "trailing characters"),
    (200, b"code=200", DecodeError, "JSON is malformed"),
    (200, b"\xff\xfe{}", DecodeError, "JSON is malformed"),
    (200, b'{"resultMsg":' + b"[" * 100_000, DecodeError, "nested too deeply - at `$`"),
    (500, b'{"resultMsg":' + b"[" * 100_000, ServerError, "the server answered 500"),
]


def test_any_other_answer_is_its_error() -> None:
    for status, body, kind, text in REFUSED:
        error = failure(body, status)
        assert type(error) is kind
        assert text in str(error)
        if isinstance(error, ApiError):
            assert error.status == status


def test_an_api_error_has_the_envelope_s_values() -> None:
    error = failure(envelope(code=10086, requestId="id-7"), 200)
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.message) == (200, 10086, "vendor's words")
    assert (error.request_id, error.retry_after) == ("id-7", None)


def test_without_an_envelope_its_values_are_empty() -> None:
    error = failure(HTML, 502)
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.message, error.request_id) == (502, None, "", "")


@pytest.mark.parametrize("status", [200, 401])
def test_a_401_names_the_settings_and_the_dropped_headers(status: int) -> None:
    text = str(failure(envelope(code=401), status))
    for word in ("auth_template", "timestamp_unit", "app_id", "app_secret", "clock", "req_from"):
        assert word in text
    assert "underscores_in_headers" in text
    assert "assumptions" in text


HINTS = {
    300: "set base_url to the final address.",
    399: "set base_url to the final address.",
    403: "check app_id and account.",
    404: "Check base_url and its path prefix.",
    429: "Lower max_in_flight, or set rate.",
    400: "request id abc",
    500: "request id abc",
}


def test_an_error_ends_with_a_hint_where_there_is_one() -> None:
    for code, hint in HINTS.items():
        assert str(failure(envelope(code=code))).endswith(hint)
        assert str(failure(envelope(code=10086), code)).endswith(hint)


MESSAGES: list[tuple[object, str]] = [
    ("plain", "plain"),
    ("a\r\nb\tc\x00\x1b[31md\x7f\x85\u2028\u202ee", "a  b c  [31md    e"),
    ("中文 😀", "中文 😀"),
    ("x" * 200, "x" * 200),
    ("x" * 100_000, "x" * 199 + "…"),
    ("", ""),
    (None, ""),
    (7, "7"),
    (1.5, "1.5"),
    ([SECRET], ""),
    ({"host": SECRET}, ""),
]
REQUEST_IDS: list[tuple[object, str]] = [
    ("a\nb", "a b"),
    ("i" * 99, "i" * 63 + "…"),
    (12, "12"),
    ([SECRET], ""),
]


def test_the_message_is_printable_and_truncated() -> None:
    for sent, kept in MESSAGES:
        error = failure(envelope(code=500, resultMsg=sent))
        assert isinstance(error, ApiError)
        assert error.message == kept
        assert repr(kept)[1:-1] in str(error)


def test_the_request_id_is_printable_and_truncated() -> None:
    for sent, kept in REQUEST_IDS:
        error = failure(envelope(code=500, requestId=sent))
        assert isinstance(error, ApiError)
        assert error.request_id == kept
        assert str(error).endswith(f", request id {kept}" if kept else 'words"')


@pytest.mark.parametrize(
    ("field", "opening", "closing"),
    [("requestId", b"[", b"]"), ("resultMsg", b'{"a":', b"}"), ("new", b"[", b"]")],
)
def test_no_depth_of_nesting_raises_a_recursion_error(
    field: str, opening: bytes, closing: bytes
) -> None:
    limit = sys.getrecursionlimit()  # the stack of this test has used part of it
    for depth in (1, *range(limit - 150, limit)):
        value = opening * depth + b"1" + closing * depth
        error = failure(b'{"code":500,"%s":%s}' % (field.encode(), value))
        assert isinstance(error, ServerError | DecodeError)


AT = datetime.fromtimestamp(NOW, UTC)
DATE = format_datetime(AT, usegmt=True)
LATER = format_datetime(AT.replace(second=50), usegmt=True)  # NOW is at second 20


@pytest.fixture
def in_china(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


DATES: list[tuple[dict[str, str], float | None]] = [
    ({"date": DATE}, NOW),
    ({"date": "Tuesday, 14-Nov-23 22:13:50 GMT"}, NOW + 30),
    ({"date": "Tue Nov 14 22:13:50 2023"}, NOW + 30),
    ({"date": ""}, None),
    ({"date": "garbage"}, None),
    ({}, None),
]


@pytest.mark.usefixtures("in_china")
@pytest.mark.parametrize(("status", "body"), [(429, b""), (503, HTML), (200, envelope(code=401))])
def test_any_api_error_has_retry_after_and_the_server_s_date(status: int, body: bytes) -> None:
    error = failure(body, status, retry_after=LATER)
    assert isinstance(error, ApiError)
    assert error.retry_after == 30.0
    for headers, date in DATES:
        error = failure(body, status, **headers)
        assert isinstance(error, ApiError)
        assert error.date == date


async def test_a_checked_send_returns_good_answers_only() -> None:
    send = Script(
        Response(status=200, body=b'{"code":200,"data":[1]}'),
        Response(status=429, headers={"retry-after": LATER}),
        TransportError("gone"),
    )
    call = checked(send, Observers(), clock=lambda: NOW)
    assert bytes((await call(REQUEST)).data) == b'{"code":200,"data":[1]}'
    with pytest.raises(RateLimited) as caught:
        await call(REQUEST)
    assert caught.value.retry_after == 30.0
    with pytest.raises(TransportError, match="gone"):
        await call(REQUEST)


GOOD_PREFIX = [
    b'{"code":200,"data":{"content":[]},"requestId":"r"}',
    b'\r\n { "code" : 200 ,\t"data" : { } }',
    b'{"code":200,"data":{"code":500}}',
]
NO_GOOD_PREFIX = [
    b'{"code":"200","data":{}}',
    b'{"code":2000,"data":{}}',
    b'{"code":200,"data":null}',
    b'{"code":200,"data":[]}',
    b'{"code":200,"requestId":"r","data":{}}',
    b'{"requestId":"r","code":200,"data":{}}',
    b'{"code":500,"data":{}}',
    b'{"code":200}',
    b'x{"code":200,"data":{}}',
    b'[{"code":200,"data":{}}]',
    b" " * 100 + b'{"code":200,"data":{}}',
    b"",
]


@pytest.mark.parametrize("body", [*GOOD_PREFIX, vector("workList"), vector("msgList")])
def test_an_answer_with_a_good_prefix_is_not_decoded(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(REQUEST, Response(status=200, body=body))
    monkeypatch.delattr(module, "opened")
    assert bytes(good(REQUEST, Response(status=200, body=body)).data) == body


@pytest.mark.parametrize("code", ["null", '"ok"', "200"])
def test_an_error_of_reading_the_envelope_has_its_request_id(code: str) -> None:
    body = b'{"code":%s,"data":null,"requestId":"id-7"}' % code.encode()
    error = outcome(Response(status=200, body=body))
    assert isinstance(error, DecodeError)
    assert error.request_id == "id-7"


#: Rows of an answer that no decoder reads.
UNREADABLE = {
    "half a pair": rb'{"name":"\ud83d"}',
    "NaN": b'{"fee":NaN}',
    "a comma": b'{"id":1,}',
    "depth": b'{"fee":%b}' % (b"[" * 3000 + b"]" * 3000),
}
#: Envelopes around such a row: the fields come in any order.
AROUND = (
    b'{"code":200,"data":{"content":[%b]},"requestId":"id-7","resultMsg":"x"}',
    b' { "requestId":"id-7" , "code":"200", "data" : {"content":[%b]} } ',
)


@pytest.mark.parametrize("observing", [False, True])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("row", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_answer_with_a_row_that_no_decoder_reads_is_left_to_the_page_decoder(
    row: bytes, around: bytes, observing: bool
) -> None:
    observers, attempts = Observers(), list[Attempt]()
    if observing:
        observers.add(attempts.append)
    body = around % row
    sent = await checked(Script(Response(status=200, body=body)), observers)(REQUEST)
    assert bytes(sent.data) == body
    assert sent.request_id() == "id-7"
    assert [(each.error, each.request_id) for each in attempts] == [("", "id-7")] * observing


def test_a_refusal_is_told_whatever_its_stack_trace_holds() -> None:
    body = rb'{"code":401,"resultMsg":"no","requestId":"id-7","errorStackTrace":"\ud83d"}'
    error = failure(body)
    assert isinstance(error, AuthError)
    assert (error.message, error.request_id) == ("no", "id-7")


@pytest.mark.parametrize("code", [rb'"\ud83d"', b"{}"])
def test_an_unreadable_code_is_a_decode_error(code: bytes) -> None:
    assert isinstance(failure(b'{"code":%b,"errorStackTrace":NaN}' % code), DecodeError)


def test_an_answer_that_is_cut_has_no_request_id() -> None:
    cut = good(REQUEST, Response(status=200, body=GOOD_PREFIX[0][:-1]))
    assert cut.request_id() == ""


@pytest.mark.parametrize("observing", [False, True])
@pytest.mark.parametrize(
    ("headers", "date"),
    [
        ({"date": "Thu, 13 Jul 2023 09:00:00 GMT"}, 1689238800.0),
        ({"date": "Thu Jul 13 09:00:00 2023"}, 1689238800.0),  # asctime: no zone, GMT is meant
        ({"date": "soon"}, None),
        ({}, None),
    ],
)
async def test_a_good_answer_has_the_servers_date_or_else_this_machines_time(
    observing: bool, headers: dict[str, str], date: float | None
) -> None:
    observers = Observers()
    if observing:
        observers.add(print)
    response = Response(status=200, headers=headers, body=GOOD_PREFIX[0])
    sent = await checked(Script(response), observers, clock=lambda: NOW)(REQUEST)
    assert (bytes(sent.data), sent.date) == (GOOD_PREFIX[0], date)
    assert sent.now == (NOW if date is None else date)


@pytest.mark.parametrize(
    ("status", "body"), [*((200, each) for each in NO_GOOD_PREFIX), (500, GOOD_PREFIX[0])]
)
def test_any_other_answer_is_decoded(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = Response(status=status, body=body)
    opening = Mock(wraps=opened)
    monkeypatch.setattr(module, "opened", opening)
    expected, result = outcome(response), outcome(response, good)
    assert opening.call_count == 1
    if isinstance(expected, Answer):
        assert isinstance(result, Answer)
        assert bytes(result.data) == body
    else:
        assert (type(result), str(result)) == (type(expected), str(expected))


@settings(max_examples=30)
@given(st.sampled_from(GOOD_PREFIX), st.data())
def test_a_truncated_answer_with_a_good_prefix_is_an_error_of_the_page_decoder(
    body: bytes, data: Any
) -> None:
    # A truncated body is no refusal, so reading it later changes no outcome.
    cut = Response(status=200, body=body[: data.draw(st.integers(0, len(body) - 1))])
    assert isinstance(outcome(cut), DecodeError | TransportError)
    unread = outcome(cut, good)
    if isinstance(unread, Answer):
        with pytest.raises(DecodeError):
            PageDecoder("work_list", Work)(unread.data)


def data_of(request: Request, response: Response) -> Answer:
    return Answer(opened(request, response, clock=lambda: NOW).data)


def outcome(
    response: Response, read: Callable[[Request, Response], Answer] = data_of
) -> Answer | DpError:
    try:
        return read(REQUEST, response)
    except DpError as error:
        return error


def assert_data_or_our_error(response: Response) -> None:
    """*response* is data or one of our errors, with a printable text."""
    result = outcome(response)
    assert isinstance(result, Answer) or str(result).isprintable()
    assert len(str(result)) < 6000


statuses = st.integers(100, 999)
headers = st.dictionaries(st.sampled_from(["retry-after", "date", "location"]), st.text())


@settings(max_examples=50)
@given(statuses, headers, st.binary() | st.text().map(lambda text: f"<{text}".encode()))
def test_any_bytes_are_data_or_our_error(status: int, headers: Any, body: bytes) -> None:
    assert_data_or_our_error(Response(status=status, headers=headers, body=body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([200, "200", 401, 429, 500, None]) | st.integers() | json_values,
        "data": json_values,
        "requestId": json_values,
        "resultMsg": json_values,
        "host": json_values,
    },
)


@settings(max_examples=50)
@given(statuses, headers, envelopes, st.integers(0, 20))
def test_any_envelope_is_data_or_our_error(
    status: int, headers: Any, fields: dict[str, object], cut: int
) -> None:
    body = json.dumps(fields).encode()
    assert_data_or_our_error(Response(status=status, headers=headers, body=body))
    assert_data_or_our_error(
        Response(status=status, headers=headers, body=body[: max(0, len(body) - cut)])
    )


@pytest.mark.parametrize(
    "words",
    [b'"\xff"', b'"' + b"x" * 200_000 + b'"', b"[" + b"[]," * 50_000 + b"0]", b"[]"],
    ids=["no text", "too long", "too many", "a list"],
)
@pytest.mark.parametrize("name", ["resultMsg", "requestId"])
def test_a_message_that_cannot_be_read_is_left_out(name: str, words: bytes) -> None:
    body = b'{"code":500,"' + name.encode() + b'":' + words + b"}"
    error = failure(body)
    assert isinstance(error, ServerError)
    assert (error.message, error.request_id) == ("", "")
    assert str(error) == "work_list: the server answered 500 (HTTP 200)"
