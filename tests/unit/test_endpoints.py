"""A row of the table is all a list needs: its requests byte for byte, its pages in either shape."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from dp_async import (
    ConfigError,
    DecodeError,
    Message,
    Page,
    ReadStatus,
    SortOrder,
    Work,
    WorkStatus,
)
from dp_async._endpoints import MESSAGES, WORKS, Key, ListEndpoint
from tests.unit.given import vector

WORKS_PATH = "/openApiDigitalPerson/customer/workList"
MESSAGES_PATH = "/openApiDigitalPerson/customer/msgList"


def work_target(num: int = 1, size: int = 20, **filters: Any) -> str:
    query = WORKS.ask({"name": None, "sort": None, "status": None, **filters})
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
    ({"status": ""}, "?pageNum=1&pageSize=20&status="),
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


def test_a_get_has_no_body() -> None:
    request = WORKS.request(WORKS.query(), 3, 50)
    assert (request.endpoint, request.method, request.idempotent) == ("work_list", "GET", True)
    assert request.target == f"{WORKS_PATH}?pageNum=3&pageSize=50"
    assert (request.headers, request.body) == ({}, b"")


BODIES: list[tuple[object, bytes]] = [
    (None, b'{"pageNum":3,"pageSize":50}'),
    ("UNREAD", b'{"pageNum":3,"pageSize":50,"readStatus":"UNREAD"}'),
    (ReadStatus.READ, b'{"pageNum":3,"pageSize":50,"readStatus":"READ"}'),
    ("", b'{"pageNum":3,"pageSize":50,"readStatus":""}'),
    ('已"\n', '{"pageNum":3,"pageSize":50,"readStatus":"已\\"\\n"}'.encode()),
]


@pytest.mark.parametrize(("read_status", "body"), BODIES)
def test_a_post_is_its_body_byte_for_byte(read_status: object, body: bytes) -> None:
    request = MESSAGES.request(MESSAGES.ask({"read_status": read_status}), 3, 50)
    assert (request.endpoint, request.method, request.idempotent) == ("msg_list", "POST", True)
    assert request.target == MESSAGES_PATH
    assert request.headers == {"content-type": "application/json"}
    assert request.body == body


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 10**9))
def test_any_text_arrives_as_it_was(text: str, num: int) -> None:
    target = work_target(num, name=text)
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert parse_qsl(urlsplit(target).query, keep_blank_values=True)[0] == ("name", text)
    body = MESSAGES.request(MESSAGES.ask({"read_status": text}), num, 1).body
    assert json.loads(body)["readStatus"] == text


@pytest.mark.parametrize("name", ["name", "sort", "status"])
@pytest.mark.parametrize("value", [1, True, b"a", 1.5, ["a"], {"a": 1}, object(), "\ud800"])
def test_a_filter_that_could_not_be_sent_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}\b") as caught:
        work_target(**{name: value})
    assert caught.value.__context__ is None


def test_a_filter_of_another_list_s_enum_is_its_text() -> None:
    assert work_target(status=ReadStatus.READ, name=SortOrder.ASC) == (
        "?name=ASC&pageNum=1&pageSize=20&status=READ"
    )


# A list the package does not know: a model, a query and a row of the table are all it needs.


class Voice(Struct, frozen=True, kw_only=True, rename="camel"):
    voice_id: int
    title: str | None = None


class VoiceQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    voice_kind: str | None = None
    min_age: int | None = None


class VoiceKey(Key, frozen=True, gc=False):
    id: int = msgspec.field(name="voiceId")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_third_list_is_a_row_of_the_table(method: Any) -> None:
    voices = ListEndpoint(
        name="voice_list",
        method=method,
        path="/voices",
        params=("voiceKind", "minAge", "pageNum", "pageSize"),
        model=Voice,
        query=VoiceQuery,
        key=VoiceKey,
    )
    request = voices.request(voices.ask({"voice_kind": "a b", "min_age": 7}), 2, 5)
    assert request.endpoint == "voice_list"
    if method == "GET":
        assert request.target == "/voices?voiceKind=a%20b&minAge=7&pageNum=2&pageSize=5"
    else:
        assert request.body == b'{"voiceKind":"a b","minAge":7,"pageNum":2,"pageSize":5}'
    with pytest.raises(ConfigError, match=r"^min_age: Expected `int \| null`, got `str`"):
        voices.ask({"voice_kind": None, "min_age": "7"})
    data = Raw(b'{"content":[{"voiceId":9}],"number":1,"size":5,"totalElements":6,"totalPages":2}')
    assert voices.decoder(voices.model)(data).content == [Voice(voice_id=9)]
    assert voices.decoder(voices.key)(data).content == [VoiceKey(id=9)]


# Pages


def page(**fields: object) -> Page[dict[str, object]]:
    usual: dict[str, object] = {
        "content": [{"id": 1}, {"id": 2}],
        "number": 0,
        "size": 2,
        "totalElements": 5,
        "totalPages": 3,
    }
    data = json.dumps({**usual, **fields}).encode()
    return WORKS.decoder(dict[str, object])(Raw(data))


def test_a_page_that_says_little_is_completed() -> None:
    assert page() == Page(
        content=[{"id": 1}, {"id": 2}],
        number=0,
        size=2,
        total_elements=5,
        total_pages=3,
        number_of_elements=2,
        first=True,
        last=False,
        empty=False,
    )


@pytest.mark.parametrize("last", [True, False])
def test_what_the_server_says_of_its_page_is_kept(last: bool) -> None:
    told = page(numberOfElements=7, first=not last, last=last, empty=True, totalPages=9)
    assert (told.number_of_elements, told.first, told.last) == (7, not last, last)
    assert (told.empty, told.total_pages) == (True, 9)


NUMBERS = {"number": 1, "size": 2, "totalElements": 5, "totalPages": 3}
TOP = dict.fromkeys(NUMBERS)


@pytest.mark.parametrize("fields", [NUMBERS, {**TOP, "page": NUMBERS}, {"page": NUMBERS}])
def test_either_shape_is_read(fields: dict[str, object]) -> None:
    shaped = page(**fields)
    assert (shaped.number, shaped.size, shaped.page_num) == (1, 2, 2)
    assert (shaped.total_elements, shaped.total_pages) == (5, 3)
    assert (shaped.first, shaped.last, shaped.empty) == (False, False, False)


@pytest.mark.parametrize(
    ("fields", "pages", "last"),
    [
        ({"number": 0, "size": 2, "totalElements": 5}, 3, False),
        ({"number": 1, "size": 2, "totalElements": 5}, 3, False),
        ({"number": 2, "size": 2, "totalElements": 5}, 3, True),
        ({"number": 9, "size": 2, "totalElements": 5}, 3, True),
        ({"number": 1, "size": 2, "totalElements": 4}, 2, True),
        ({"number": 0, "size": 2, "totalElements": 0, "content": []}, 0, True),
        ({"number": 0, "size": 0, "totalElements": 0, "content": []}, 0, True),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_the_number_of_pages_is_derived_if_it_is_not_sent(
    fields: dict[str, Any], pages: int, last: bool, nested: bool
) -> None:
    content = {"content": fields.get("content", [{}])}
    sent = {**content, **TOP, "page": fields} if nested else {"totalPages": None, **fields}
    derived = page(**sent)
    assert (derived.total_pages, derived.last) == (pages, last)
    assert derived.first is (fields["number"] == 0)
    assert derived.empty is (derived.content == [])


BAD_PAGES: list[tuple[dict[str, object], str]] = [
    ({"content": None}, "Expected `array`, got `null` - at `$.data.content`"),
    ({"content": {}}, "Expected `array`, got `object` - at `$.data.content`"),
    ({"content": [{}, 7]}, "Expected `object`, got `int` - at `$.data.content[1]`"),
    ({"number": None}, "the page has no `number` - at `$.data`"),
    ({"size": None}, "the page has no `size` - at `$.data`"),
    ({"totalElements": None}, "the page has no `totalElements` - at `$.data`"),
    ({"page": {}}, "the page has no `number` - at `$.data`"),
    ({"number": -1}, "Expected `int` >= 0 - at `$.data.number`"),
    ({"size": -1}, "Expected `int` >= 0 - at `$.data.size`"),
    ({"totalElements": -1}, "Expected `int` >= 0 - at `$.data.totalElements`"),
    ({"totalPages": -1}, "Expected `int` >= 0 - at `$.data.totalPages`"),
    ({"page": {"number": -1}}, "Expected `int` >= 0 - at `$.data.page.number`"),
    ({"number": "0"}, "Expected `int | null`, got `str` - at `$.data.number`"),
    ({"size": 2.5}, "Expected `int | null`, got `float` - at `$.data.size`"),
    ({"last": "false"}, "Expected `bool | null`, got `str` - at `$.data.last`"),
]


@pytest.mark.parametrize(("fields", "problem"), BAD_PAGES)
def test_a_page_that_cannot_be_trusted_is_an_error(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(DecodeError) as caught:
        page(**fields)
    assert str(caught.value).endswith(problem)
    assert str(caught.value).startswith("work_list: ")
    assert caught.value.endpoint == "work_list"


@pytest.mark.parametrize("data", [b"[]", b"7", b'"text"', b"{}", b"false"])
def test_data_that_is_no_page_is_an_error_with_its_place(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"at `\$\.data`$"):
        WORKS.decoder(Work)(Raw(data))


@pytest.mark.parametrize(
    ("name", "endpoint", "key"),
    [("workList", WORKS, "digitalPersonWorksId"), ("msgList", MESSAGES, "msgId")],
)
def test_the_keys_are_the_rows_ids_and_times(
    name: str, endpoint: ListEndpoint[Struct, Struct], key: str
) -> None:
    data = json.loads(vector(name))["data"]
    raw = Raw(json.dumps(data).encode())
    rows = endpoint.decoder(endpoint.model)(raw)
    for sent, row, found in zip(
        data["content"], rows, endpoint.decoder(endpoint.key)(raw), strict=True
    ):
        assert isinstance(row, Work | Message)
        assert found.id == sent[key]
        assert (found.create_time, found.update_time) == (row.create_time, row.update_time)


def test_items_may_be_of_another_type() -> None:
    data = json.loads(vector("msgList"))["data"]
    raw = Raw(json.dumps(data).encode())
    assert MESSAGES.decoder(dict[str, object])(raw).content == data["content"]
    assert [json.loads(bytes(item)) for item in MESSAGES.decoder(Raw)(raw)] == data["content"]


@pytest.mark.parametrize("item", ["text", 7, lambda: None, set[Work] | list[Work]])
def test_a_type_that_items_cannot_have_is_refused(item: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^typed\(\) needs a Struct, dict or msgspec.Raw"
    ) as caught:
        WORKS.decoder(item)
    assert caught.value.__context__ is None
