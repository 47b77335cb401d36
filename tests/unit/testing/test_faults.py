"""Faults of answers and of pages."""

import json
from typing import Any

import pytest

from dp_async import Request, Response
from dp_async.testing import (
    Altered,
    AnswerFault,
    AuthFailure,
    BadRow,
    Body,
    Empty,
    Fault,
    Hang,
    Html,
    HugeHeader,
    LyingTotals,
    Malformed,
    NullData,
    PageFault,
    Redirect,
    Reset,
    RowWithoutId,
    SamePage,
    Simulator,
    Throttle,
    WrongCode,
    WrongEcho,
)
from dp_async.testing._faults import Good

from .test_answers import WORKS, api, get, signed


def altered(fault: Fault, request: Request | None = None) -> Response:
    return api().answer(request or get(WORKS + "?pageNum=2&pageSize=20"), fault)


def body(fault: Fault, request: Request | None = None) -> Any:
    return json.loads(altered(fault, request).body)


def page(fault: Fault) -> Any:
    answer = body(fault)
    assert answer["code"] == 200
    return answer["data"]


GOOD: Any = json.loads(api().answer(get(WORKS + "?pageNum=2&pageSize=20")).body)["data"]


def test_html() -> None:
    response = altered(Html())
    assert response.status == 502
    assert response.headers == {"content-type": "text/html"}
    assert response.body.startswith(b"<html>")
    assert altered(Html(200)).status == 200


def test_empty() -> None:
    assert (altered(Empty()).status, altered(Empty()).body) == (200, b"")
    assert altered(Empty(204)).status == 204


def test_wrong_code() -> None:
    answer = body(WrongCode())
    assert (answer["code"], answer["data"], answer["resultMsg"]) == (500, None, "系统异常")
    assert answer["errorStackTrace"] == Simulator.internals[1]
    assert altered(WrongCode()).status == 200
    other = WrongCode(412, "text", status=500)
    assert (body(other)["code"], body(other)["resultMsg"], altered(other).status) == (
        412,
        "text",
        500,
    )


def test_auth_failure() -> None:
    assert (altered(AuthFailure()).status, body(AuthFailure())["code"]) == (200, 401)
    assert (altered(AuthFailure(403, 403)).status, body(AuthFailure(403))["code"]) == (403, 403)


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (Throttle(), 429, "1"),
        (Throttle(7, in_envelope=True), 200, "7"),
        (Throttle(10, date=True), 429, "Tue, 14 Nov 2023 22:13:30 GMT"),
        (Throttle(None), 429, None),
    ],
)
def test_throttle(fault: Throttle, status: int, retry_after: str | None) -> None:
    response = altered(fault)
    assert response.status == status
    assert response.headers.get("retry-after") == retry_after
    assert json.loads(response.body)["code"] == 429


def test_redirect() -> None:
    response = altered(Redirect())
    assert (response.status, response.body) == (302, b"")
    assert response.headers["location"] == "http://127.0.0.1:9/other"


def test_huge_header() -> None:
    response = altered(HugeHeader(size=9000))
    assert len(response.headers["x-huge"]) == 9000
    assert json.loads(response.body)["code"] == 200


def test_malformed() -> None:
    with pytest.raises(json.JSONDecodeError):
        body(Malformed())


def test_body() -> None:
    assert altered(Body(b"[]")).body == b"[]"


def test_null_data() -> None:
    assert page(NullData()) is None


def test_altered() -> None:
    assert page(Altered({"size": 7})) == GOOD | {"size": 7}


def test_wrong_echo() -> None:
    assert page(WrongEcho()) == GOOD | {"number": 2}
    assert page(WrongEcho(-1))["number"] == 0


def test_same_page() -> None:
    first = json.loads(api().answer(get(WORKS + "?pageNum=1&pageSize=20")).body)["data"]
    assert page(SamePage()) == GOOD | {"content": first["content"]}
    assert page(SamePage(2)) == GOOD


@pytest.mark.parametrize(
    ("total", "pages", "last"), [(1000, 50, False), (40, 2, True), (0, 0, True)]
)
def test_lying_totals(total: int, pages: int, last: bool) -> None:
    lies = {"totalElements": total, "totalPages": pages, "last": last}
    assert page(LyingTotals(total)) == GOOD | lies


def test_bad_rows() -> None:
    def expected(index: int, row: dict[str, object]) -> Any:
        return [*GOOD["content"][:index], row, *GOOD["content"][index + 1 :]]

    first, third = GOOD["content"][0], GOOD["content"][2]
    assert page(BadRow())["content"] == expected(0, first | {"userId": "not a number"})
    assert page(BadRow(2, "duration", []))["content"] == expected(2, third | {"duration": []})
    nulled = third | {"digitalPersonWorksId": None}
    assert page(BadRow(2, None, None))["content"] == expected(2, nulled)
    del third["digitalPersonWorksId"]
    assert page(RowWithoutId(2))["content"] == expected(2, third)
    assert (
        page(BadRow(99))
        == json.loads(api().answer(get(WORKS + "?pageNum=2&pageSize=20")).body)["data"]
    )


def test_a_page_fault_does_not_change_a_refusal() -> None:
    assert body(NullData(), get(headers=signed(app_id="x")))["code"] == 401


def test_a_wire_fault_does_not_change_the_answer() -> None:
    assert page(Reset()) == page(Hang())


def test_the_base_classes_are_abstract() -> None:
    good = Good(
        response=Response(status=200), now=0, refuse=lambda code, text: Response(status=code)
    )
    with pytest.raises(NotImplementedError):
        AnswerFault().answer(good)
    with pytest.raises(NotImplementedError):
        PageFault().bend({}, "", lambda number: {})
