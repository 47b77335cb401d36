"""Each list is a row of the table: its requests byte for byte, filters, and an unknown list."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from dp_async import Align, ConfigError, ReadStatus, SortOrder, WorkStatus
from dp_async._models import Key, OpenEnum
from dp_async._page.endpoints import MESSAGES, WORKS, ListEndpoint
from dp_async._page.reader import RowReader

WORKS_PATH = "/openApiDigitalPerson/customer/workList"
MESSAGES_PATH = "/openApiDigitalPerson/customer/msgList"


def work_target(num: int = 1, size: int = 20, **filters: Any) -> str:
    query = WORKS.query({"name": None, "sort": None, "status": None, **filters})
    return WORKS.request(query, num, size).target.removeprefix(WORKS_PATH)


TARGETS: list[tuple[dict[str, Any], str]] = [
    ({}, "?pageNum=1&pageSize=20"),
    (
        {"status": "DRAFT", "sort": "ASC", "name": "a"},
        "?name=a&pageNum=1&pageSize=20&sort=ASC&status=DRAFT",
    ),
    ({"status": WorkStatus.SUCCESS}, "?pageNum=1&pageSize=20&status=SUCCESS"),
    ({"status": WorkStatus("NEW ONE")}, "?pageNum=1&pageSize=20&status=NEW%20ONE"),
    ({"sort": SortOrder.DESC}, "?pageNum=1&pageSize=20&sort=DESC"),
    ({"name": ""}, "?name=&pageNum=1&pageSize=20"),
    ({"status": WorkStatus("")}, "?pageNum=1&pageSize=20&status="),
    ({"name": "作品"}, "?name=%E4%BD%9C%E5%93%81&pageNum=1&pageSize=20"),
    (
        {"name": "a b+c&d=e%f#g?h/i"},
        "?name=a%20b%2Bc%26d%3De%25f%23g%3Fh%2Fi&pageNum=1&pageSize=20",
    ),
    ({"name": "%20"}, "?name=%2520&pageNum=1&pageSize=20"),
    ({"name": "a\r\nx: y\x00"}, "?name=a%0D%0Ax%3A%20y%00&pageNum=1&pageSize=20"),
    ({"name": "😀'\"~"}, "?name=%F0%9F%98%80%27%22~&pageNum=1&pageSize=20"),
]


@pytest.mark.parametrize(("filters", "target"), TARGETS)
def test_a_get_is_its_target_byte_for_byte(filters: dict[str, Any], target: str) -> None:
    assert work_target(**filters) == target


@pytest.mark.parametrize(
    ("endpoint", "filters", "unstamped"),
    [
        (MESSAGES, {"read_status": "READ"}, "read_status=READ"),
        (MESSAGES, {"read_status": ReadStatus("ARCHIVED")}, "read_status=…"),
        (MESSAGES, {"read_status": "UNREAD"}, ""),
        (MESSAGES, {"read_status": None}, ""),
        (WORKS, {"status": "SUCCESS", "name": "a", "sort": None}, ""),
    ],
)
def test_filters_that_rows_enter_without_a_new_update_time(
    endpoint: ListEndpoint[Struct, Struct], filters: dict[str, Any], unstamped: str
) -> None:
    assert endpoint.entered_unstamped(endpoint.query(filters)) == unstamped


def test_a_get_has_no_body() -> None:
    request = WORKS.request(WORKS.query_type(), 3, 50)
    assert (request.endpoint, request.method, request.idempotent) == ("work_list", "GET", True)
    assert request.target == f"{WORKS_PATH}?pageNum=3&pageSize=50"
    assert (request.headers, request.body, request.attempt) == ({}, b"", 1)
    assert (request.page_num, request.page_size) == (3, 50)


BODIES: list[tuple[object, bytes]] = [
    (None, b'{"pageNum":3,"pageSize":50}'),
    ("UNREAD", b'{"pageNum":3,"pageSize":50,"readStatus":"UNREAD"}'),
    (ReadStatus.READ, b'{"pageNum":3,"pageSize":50,"readStatus":"READ"}'),
    (ReadStatus(""), b'{"pageNum":3,"pageSize":50,"readStatus":""}'),
    (ReadStatus('已"\n'), '{"pageNum":3,"pageSize":50,"readStatus":"已\\"\\n"}'.encode()),
]


@pytest.mark.parametrize(("read_status", "body"), BODIES)
def test_a_post_is_its_body_byte_for_byte(read_status: object, body: bytes) -> None:
    request = MESSAGES.request(MESSAGES.query({"read_status": read_status}), 3, 50)
    assert (request.endpoint, request.method, request.idempotent) == ("msg_list", "POST", True)
    assert (request.page_num, request.page_size) == (3, 50)
    assert request.target == MESSAGES_PATH
    assert request.headers == {"content-type": "application/json"}
    assert request.body == body


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 10**9))
def test_any_text_arrives_as_it_was(text: str, num: int) -> None:
    target = work_target(num, name=text)
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert parse_qsl(urlsplit(target).query, keep_blank_values=True)[0] == ("name", text)
    body = MESSAGES.request(MESSAGES.query({"read_status": ReadStatus(text)}), num, 1).body
    assert json.loads(body)["readStatus"] == text


def test_the_headers_that_requests_share_cannot_be_changed() -> None:
    """Else what one ``Send`` sets would be in the requests of all clients."""
    work = WORKS.request(WORKS.query({"name": None, "sort": None, "status": None}), 1, 20)
    message = MESSAGES.request(MESSAGES.query({"read_status": None}), 1, 20)
    for request in (work, message):
        with pytest.raises(TypeError):
            request.headers["x"] = "y"  # type: ignore[index]  # a Mapping has no such method


@pytest.mark.parametrize("name", ["name", "sort", "status"])
def test_a_filter_that_cannot_be_sent_is_named(name: str) -> None:
    values: list[Any] = [1, True, b"a", 1.5, ["a"], {"a": 1}, object(), "\ud800"]
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{name}\b") as caught:
            work_target(**{name: value})
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "enum"), [("status", WorkStatus), ("sort", SortOrder), ("read_status", ReadStatus)]
)
def test_a_plain_string_is_a_known_value(name: str, enum: type[OpenEnum]) -> None:
    def query(value: object) -> Struct:
        if name == "read_status":
            return MESSAGES.query({name: value})
        return WORKS.query({"name": None, "sort": None, "status": None, name: value})

    for known in enum:
        assert getattr(query(known.value), name) is getattr(query(known), name) is known
    listed = ", ".join(repr(known.value) for known in enum)
    texts = ("", "NEW", "success", "asc", "unread", "SUCCESS,FAIL", "SUCCESS ", "name", "\n")
    for wrong in (*texts, Align("VERTICAL"), Align("NEW"), type("Text", (str,), {})("SUCESS")):
        with pytest.raises(ConfigError) as caught:
            query(wrong)
        assert str(caught.value) == (
            f"{name} must be one of {listed}; what this library does not know is sent if it is "
            f"given as {enum.__name__}(...)"
        )
        assert getattr(query(enum(wrong)), name) == wrong
    for row in (b'"NEW"', b'"SUCCESS"'):  # as it came from the server
        sent = msgspec.json.decode(row, type=enum)
        assert getattr(query(sent), name) == sent


def test_a_known_value_of_another_enum_is_its_text() -> None:
    assert work_target(status=Align("FAIL"), name=SortOrder.ASC) == (
        "?name=ASC&pageNum=1&pageSize=20&status=FAIL"
    )


# A list that the package does not have: a model, a query, a key and a row of the table suffice.


class Voice(Struct, frozen=True, kw_only=True, rename="camel"):
    voice_id: int
    title: str | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None


class VoiceQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    voice_kind: str | None = None
    min_age: int | None = None
    kind: Literal["a", "b"] | None = None
    order: SortOrder = SortOrder.DESC


class VoiceKey(Key, frozen=True, gc=False):
    id: int = msgspec.field(name="voiceId")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_third_list_is_a_row_of_the_table(method: Any) -> None:
    unset = {"voice_kind": None, "min_age": None, "kind": None, "order": "DESC"}
    voices = ListEndpoint(
        name="voice_list",
        method=method,
        path="/voices",
        params=("voiceKind", "minAge", "pageNum", "pageSize"),
        model=Voice,
        query_type=VoiceQuery,
        key=VoiceKey,
    )
    request = voices.request(voices.query({**unset, "voice_kind": "a b", "min_age": 7}), 2, 5)
    assert request.endpoint == "voice_list"
    if method == "GET":
        assert request.target == "/voices?voiceKind=a%20b&minAge=7&pageNum=2&pageSize=5"
    else:
        assert request.body == b'{"voiceKind":"a b","minAge":7,"pageNum":2,"pageSize":5}'
    with pytest.raises(ConfigError, match=r"^min_age: Expected `int \| null`, got `str`"):
        voices.query({**unset, "min_age": "7"})
    with pytest.raises(ConfigError, match=r"^kind: Invalid enum value 'c'"):
        voices.query({**unset, "kind": "c"})
    with pytest.raises(ConfigError, match=r"^order must be one of 'ASC', 'DESC';"):
        voices.query({**unset, "order": "down"})
    assert voices.query({**unset, "kind": "a", "order": "ASC"}).order is SortOrder.ASC
    data = b'{"content":[{"voiceId":9}],"number":1,"size":5,"totalElements":6,"totalPages":2}'
    answer = Raw(b'{"code":200,"data":' + data + b"}")
    read = RowReader(voices.name, voices.model, voices.model, voices.key, keep=False)
    assert read(answer).page.content == [Voice(voice_id=9)]
    assert list(read(answer).ids) == [9]


def test_a_query_that_sorts_oldest_first_is_refused_where_newest_first_is_needed() -> None:
    WORKS.newest_first(WORKS.query({"name": None, "sort": "DESC", "status": None}))
    WORKS.newest_first(WORKS.query({"name": None, "sort": None, "status": None}))
    MESSAGES.newest_first(MESSAGES.query({"read_status": ReadStatus("ASC")}))
    for sort in ("ASC", SortOrder.ASC):
        with pytest.raises(ConfigError, match="sort=ASC"):
            WORKS.newest_first(WORKS.query({"name": None, "sort": sort, "status": None}))
