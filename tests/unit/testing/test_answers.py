"""Answers without a socket: what is checked, and what a page contains."""

import json
from dataclasses import replace
from hashlib import md5
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from dp_async import Request
from dp_async.testing import Endpoint, Fault, SimulatedList, Simulator, WrongEcho
from dp_async.testing._answers import Api, Rules

INTERNAL_HOST, INTERNAL_TRACE = Simulator.internals
VECTORS = Path(__file__).parents[2] / "vectors"
NOW = 1_700_000_000.0
WORKS = "/openApiDigitalPerson/customer/workList"
MESSAGES = "/openApiDigitalPerson/customer/msgList"


def rules(
    *,
    template: str = "{app_id}{app_secret}{timestamp}",
    unit: Literal["ms", "s"] = "ms",
    accounts: list[str] | None = None,
    limit: int | None = 100,
    shape: Literal["flat", "nested"] = "flat",
    http_errors: bool = False,
) -> Rules:
    return Rules(
        app_id="app",
        app_secret="secret",
        auth_template=template,
        timestamp_unit=unit,
        accounts=accounts,
        tolerance=300.0,
        max_page_size=limit,
        shape=shape,
        http_errors=http_errors,
    )


def api(given: Rules | None = None, works: int = 107, messages: int = 53) -> Api:
    lists: dict[Endpoint, SimulatedList] = {"work_list": SimulatedList("work_list", works)}
    lists["msg_list"] = SimulatedList("msg_list", messages)
    return Api(given or rules(), lists, now=lambda: NOW, random=Random(1))


def signed(auth: str = "appsecret1700000000000", **changed: str) -> dict[str, str]:
    headers = {
        "authorization": md5(auth.encode(), usedforsecurity=False).hexdigest(),
        "req_from": "C",
        "timestamp": "1700000000000",
        "app_id": "app",
    }
    return headers | changed


def get(target: str = WORKS, headers: dict[str, str] | None = None, method: str = "GET") -> Request:
    given = signed() if headers is None else headers
    return Request(endpoint="work_list", method=method, target=target, headers=given)


def post(body: object, target: str = MESSAGES, headers: dict[str, str] | None = None) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = signed() if headers is None else headers
    return Request(endpoint="msg_list", method="POST", target=target, headers=given, body=data)


def query(server: Api, request: Request, fault: Fault | None = None) -> Any:
    response = server.answer(request, fault)
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    return json.loads(response.body)


def data(server: Api, request: Request) -> Any:
    answer = query(server, request)
    assert (answer["code"], answer["resultMsg"]) == (200, "执行成功")
    return answer["data"]


def in_order(text: bytes | str) -> Any:
    """The JSON value, with objects as lists of pairs, so that the order of keys counts."""
    return json.loads(text, object_pairs_hook=lambda pairs: pairs)


@pytest.mark.parametrize(
    ("segment", "request_"),
    [
        ("workList", get(WORKS + "?pageNum=1&pageSize=20")),
        ("msgList", post({"pageNum": 1, "pageSize": 20})),
    ],
)
def test_the_documented_first_page(segment: str, request_: Request) -> None:
    sample = (VECTORS / f"{segment}.json").read_text("utf-8")
    response = api().answer(request_)
    answer = json.loads(response.body)
    assert answer["host"] == INTERNAL_HOST
    assert len(answer["requestId"]) == 8
    assert answer["requestId"].isalpha()
    for name in ("requestId", "host"):
        sample = sample.replace(json.loads(sample)[name], answer[name])
    assert in_order(response.body) == in_order(sample)


def test_request_ids_differ() -> None:
    server = api()
    assert query(server, get())["requestId"] != query(server, get())["requestId"]


def test_page_numbers_start_at_1_in_requests_and_at_0_in_answers() -> None:
    page = data(api(), get(WORKS + "?pageNum=6&pageSize=20"))
    assert (page["number"], page["pageable"]["pageNumber"], page["pageable"]["offset"]) == (
        5,
        5,
        100,
    )
    assert (page["numberOfElements"], page["first"], page["last"]) == (7, False, True)
    assert (page["totalElements"], page["totalPages"]) == (107, 6)


def test_past_the_end() -> None:
    page = data(api(), get(WORKS + "?pageNum=9&pageSize=20"))
    assert (page["content"], page["empty"], page["last"], page["first"]) == ([], True, True, False)
    assert (page["totalElements"], page["totalPages"], page["number"]) == (107, 6, 8)


def test_no_rows() -> None:
    page = data(api(works=0), get())
    assert (page["content"], page["first"], page["last"]) == ([], True, True)
    assert (page["totalElements"], page["totalPages"]) == (0, 0)


def test_a_full_last_page() -> None:
    page = data(api(works=40), get(WORKS + "?pageNum=2&pageSize=20"))
    assert (page["last"], page["totalElements"], page["totalPages"]) == (True, 40, 2)


@pytest.mark.parametrize(("limit", "size"), [(100, 100), (50, 50), (None, 5000)])
def test_large_pages_are_cut_silently(limit: int | None, size: int) -> None:
    page = data(api(rules(limit=limit), works=300), get(WORKS + "?pageNum=2&pageSize=5000"))
    assert page["size"] == page["pageable"]["pageSize"] == size
    assert page["pageable"]["offset"] == size
    assert page["numberOfElements"] == max(0, min(300 - size, size))


def test_a_cut_page_that_is_not_echoed() -> None:
    server = api(replace(rules(limit=50), echoes_page_size=False), works=300)
    page = data(server, get(WORKS + "?pageNum=3&pageSize=100"))
    assert page["size"] == page["pageable"]["pageSize"] == 100
    assert (page["numberOfElements"], page["pageable"]["offset"]) == (50, 100)
    assert (page["totalElements"], page["totalPages"], page["last"]) == (300, 3, True)
    page = data(server, get(WORKS + "?pageNum=6&pageSize=100"))
    assert (page["numberOfElements"], page["totalPages"], page["last"]) == (50, 3, True)


def test_defaults_and_empty_parameters() -> None:
    for request in (get(), get(WORKS + "?name=&pageNum=&pageSize=&sort=&status=")):
        page = data(api(), request)
        assert (page["number"], page["size"], page["totalElements"]) == (0, 10, 107)
    page = data(api(), post({"readStatus": None}))
    assert (page["number"], page["size"], page["totalElements"]) == (0, 10, 53)


def test_filters_and_sort() -> None:
    page = data(api(), get(WORKS + "?status=DRAFT&name=TTS&pageSize=100"))
    assert page["content"]
    assert {row["status"] for row in page["content"]} == {"DRAFT"}
    assert all("TTS" in row["name"] for row in page["content"])
    page = data(api(), get(WORKS + "?name=%E6%9C%AA%E5%91%BD%E5%90%8D&pageSize=100"))
    assert {row["name"] for row in page["content"]} == {"未命名视频"}
    page = data(api(), post({"readStatus": "UNREAD", "pageSize": 100}))
    assert {row["readStatus"] for row in page["content"]} == {"UNREAD"}
    up = data(api(), get(WORKS + "?sort=ASC&pageSize=100"))["content"]
    assert up[0]["updateTime"] < up[-1]["updateTime"]
    assert data(api(), get(WORKS + "?sort=DESC"))["content"] == data(api(), get())["content"]


@pytest.mark.parametrize(
    ("delta", "rows", "total"), [(-1, 20, 39), (-25, 20, 20), (1, 20, 41)], ids=str
)
def test_the_last_page_s_total_is_rewritten(delta: int, rows: int, total: int) -> None:
    """Content first, then the count; a nonempty last page corrects the count, as in PageImpl."""
    works = SimulatedList("work_list", 40)

    def write() -> None:
        for _ in range(delta):
            works.insert()
        for key in works.ids()[: max(0, -delta)]:
            works.delete(key)

    works.between = write
    lists: dict[Endpoint, SimulatedList] = {"work_list": works}
    server = Api(rules(), lists, now=lambda: NOW, random=Random(1))
    page = data(server, get(WORKS + "?pageNum=1&pageSize=20"))
    assert (page["numberOfElements"], page["totalElements"]) == (rows, total)


def test_the_nested_shape() -> None:
    page = data(api(rules(shape="nested")), get(WORKS + "?pageNum=2&pageSize=20"))
    assert list(page) == ["content", "page"]
    assert page["page"] == {"size": 20, "number": 1, "totalElements": 107, "totalPages": 6}
    answer = query(api(rules(shape="nested")), get(), WrongEcho())
    assert answer["data"]["page"]["number"] == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (get(headers={}), 403),
        (get(headers=signed(req_from="B")), 403),
        (get(headers=signed(timestamp="")), 401),
        (get(headers=signed(timestamp="1.7e12")), 401),
        (get(headers=signed(timestamp="²")), 401),
        (get(headers=signed(app_id="other")), 401),
        (get(headers=signed(authorization="0" * 32)), 401),
        (get(headers=signed("appsecret1699999699000", timestamp="1699999699000")), 401),
        (get(headers=signed("appsecret1700000301000", timestamp="1700000301000")), 401),
        (get("/openApiDigitalPerson/customer/other"), 404),
        (get("/customer/workList"), 404),
        (get(WORKS + "/"), 404),
        (get(method="POST"), 405),
        (get(MESSAGES), 405),
        (get(WORKS + "?pageNum=0"), 412),
        (get(WORKS + "?pageNum=1.5"), 412),
        (get(WORKS + "?pageSize=ten"), 412),
        (get(WORKS + "?pageSize=99999999999"), 412),
        (get(WORKS + "?sort=up"), 412),
        (post(b""), 412),
        (post(b"\xff"), 412),
        (post(b'{"a": "\xff"}'), 412),
        (post([]), 412),
        (post({"pageNum": -1}), 412),
        (post({"pageSize": []}), 412),
        (post({"readStatus": 1}), 412),
    ],
)
def test_refusals(request_: Request, code: int) -> None:
    response = api().answer(request_)
    answer = json.loads(response.body)
    names = ["code", "data", "requestId", "resultMsg", "host", "errorStackTrace"]
    assert list(answer) == names
    assert (response.status, answer["code"], answer["data"]) == (200, code, None)
    assert (answer["host"], answer["errorStackTrace"]) == (INTERNAL_HOST, INTERNAL_TRACE)
    assert api(rules(http_errors=True)).answer(request_).status == code


def test_the_text_of_a_wrong_signature() -> None:
    assert query(api(), get(headers=signed(authorization="")))["resultMsg"] == "签名错误"


@pytest.mark.parametrize("timestamp", ["1699999701000", "1700000299000"])
def test_a_timestamp_within_tolerance(timestamp: str) -> None:
    data(api(), get(headers=signed(f"appsecret{timestamp}", timestamp=timestamp)))


def test_without_a_limit_any_timestamp_is_taken() -> None:
    data(api(replace(rules(), tolerance=inf)), get(headers=signed("appsecret5", timestamp="5")))


def test_header_names_in_any_case() -> None:
    data(api(), get(headers={name.upper(): value for name, value in signed().items()}))


def test_another_template_and_unit() -> None:
    server = api(rules(template="{account}|{timestamp}|{app_secret}|{app_id}", unit="s"))
    auth = "19999999999|1700000000|secret|app"
    data(server, get(headers=signed(auth, timestamp="1700000000", account="19999999999")))


def test_accounts() -> None:
    server = api(rules(accounts=["19999999999"]))
    data(server, get())
    data(server, get(headers=signed(account="19999999999")))
    assert query(server, get(headers=signed(account="18888888888")))["code"] == 403
    data(api(), get(headers=signed(account="18888888888")))


@pytest.mark.parametrize("prefix", ["/prefix", "/a/b", ""])
def test_a_path_may_have_a_prefix(prefix: str) -> None:
    data(api(), get(prefix + WORKS))


def test_the_date_is_the_server_s() -> None:
    assert api().answer(get()).headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_json_integers_may_be_text() -> None:
    assert data(api(), post({"pageNum": "2", "pageSize": "5"}))["number"] == 1
