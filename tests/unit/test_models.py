"""Rows mirror the wire: documented values stay intact, unknown and missing ones do no harm."""

from __future__ import annotations

import copy
import json
import pickle
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from dp_async import Align, Message, Page, ReadStatus, SortOrder, Work, WorkStatus
from dp_async._models import OpenEnum
from dp_async._page.decoder import PageDecoder
from dp_async._page.endpoints import MESSAGES, WORKS, ListEndpoint
from tests.support.samples import ENDPOINTS, vector, wire_id

LISTS = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
ROWS = pytest.mark.parametrize(
    ("model", "key"), [(endpoint.model, wire_id(endpoint.key)) for endpoint in ENDPOINTS]
)
ENUMS = pytest.mark.parametrize("enum", [WorkStatus, ReadStatus, SortOrder, Align])

WEIRD = [
    "",
    " ",
    "success",
    "SUCCESS ",
    "已发布",
    "a\nb\x00c\x7f",
    "\u202egnp",
    "😀",
    "x" * 10_000,
    "_missing_",
    "__class__",
    "mro",
    "name",
    "None",
]


def documented(endpoint: ListEndpoint[Struct, Struct]) -> tuple[Any, Page[Any]]:
    """The documented answer's data, as plain JSON and as the page it decodes to."""
    text = vector(endpoint.path.rpartition("/")[2])
    return json.loads(text)["data"], PageDecoder(endpoint.name, endpoint.model)(Raw(text))


def attribute(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def as_sent(value: object) -> object:
    """An attribute as JSON would write it; a time only if it has no offset."""
    if isinstance(value, datetime):
        assert value.tzinfo is None
        return value.isoformat(sep=" ")
    return value


@LISTS
def test_every_documented_value_is_decoded_intact(endpoint: ListEndpoint[Struct, Struct]) -> None:
    data, page = documented(endpoint)
    assert len(page) == len(data["content"]) == 20
    for sent, row in zip(data["content"], page, strict=True):
        assert type(row) is endpoint.model
        for field, value in sent.items():
            got = as_sent(getattr(row, attribute(field)))
            assert got == value
            assert type(got) is type(value) or isinstance(got, OpenEnum)


@LISTS
def test_the_documented_page_is_decoded_intact(endpoint: ListEndpoint[Struct, Struct]) -> None:
    data, page = documented(endpoint)
    for field in ("number", "size", "totalElements", "totalPages", "numberOfElements"):
        assert getattr(page, attribute(field)) == data[field]
    for field in ("first", "last", "empty"):
        assert getattr(page, field) is data[field]
    assert page.page_num == 1


@LISTS
def test_documented_times_are_chinese_times(endpoint: ListEndpoint[Struct, Struct]) -> None:
    data, page = documented(endpoint)
    for sent, row in zip(data["content"], page, strict=True):
        for field, aware in (("createTime", row.created_at), ("updateTime", row.updated_at)):
            assert aware is not None
            assert aware.isoformat(sep=" ") == f"{sent[field]}+08:00"
            assert aware.utcoffset() == timedelta(hours=8)


@LISTS
def test_a_page_survives_copying_and_pickling(endpoint: ListEndpoint[Struct, Struct]) -> None:
    _, page = documented(endpoint)
    assert copy.copy(page) == copy.deepcopy(page) == pickle.loads(pickle.dumps(page)) == page


@LISTS
def test_a_page_encodes_as_it_was_sent(endpoint: ListEndpoint[Struct, Struct]) -> None:
    data, page = documented(endpoint)
    encoded = json.loads(msgspec.json.encode(page))
    assert encoded.keys() == {
        *("content", "number", "size", "totalElements", "totalPages"),
        *("numberOfElements", "first", "last", "empty", "requestId"),
    }
    assert encoded.pop("requestId") == page.request_id != ""
    assert encoded.keys() <= data.keys()
    rows = zip(encoded.pop("content"), data["content"], strict=True)
    assert all(again.keys() >= sent.keys() for again, sent in rows)
    assert encoded == {name: data[name] for name in encoded}
    assert msgspec.json.decode(msgspec.json.encode(page), type=Page[endpoint.model]) == page  # type: ignore[name-defined]


@ROWS
def test_only_the_id_is_needed(model: type[Work | Message], key: str) -> None:
    row = msgspec.json.decode(json.dumps({key: 7}), type=model)
    assert getattr(row, attribute(key)) == 7
    others = [name for name in row.__struct_fields__ if name != attribute(key)]
    assert {getattr(row, name) for name in others} == {None}
    assert (row.created_at, row.updated_at) == (None, None)


@ROWS
def test_every_field_but_the_id_may_be_null(model: type[Work | Message], key: str) -> None:
    nulls: dict[str, object] = {spec.encode_name: None for spec in msgspec.structs.fields(model)}
    row = msgspec.json.decode(json.dumps({**nulls, key: 7}), type=model)
    assert row == msgspec.json.decode(json.dumps({key: 7}), type=model)


@ROWS
def test_a_row_without_a_good_id_is_refused(model: type[Work | Message], key: str) -> None:
    values: list[object] = [None, "7", 7.5, True, [], {}]
    for bad in values:
        with pytest.raises(msgspec.ValidationError, match=key):
            msgspec.json.decode(json.dumps({key: bad}), type=model)
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.json.decode(b"{}", type=model)


@ROWS
def test_unknown_fields_do_no_harm(model: type[Work | Message], key: str) -> None:
    sent = {key: 7, "new": [1, {"deep": None}], "_x": "y", "created_at": 3}
    assert msgspec.json.decode(json.dumps(sent), type=model) == msgspec.json.decode(
        json.dumps({key: 7}), type=model
    )


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "", "text", [], [1, None], {}, {"a": [1]}])
def test_a_field_of_unknown_type_takes_any_json(value: object) -> None:
    work = msgspec.json.decode(json.dumps({"digitalPersonWorksId": 1, "fee": value}), type=Work)
    assert work.fee == value
    sent = {"msgId": 1, "type": value, "params": value}
    message = msgspec.json.decode(json.dumps(sent), type=Message)
    assert (message.type, message.params) == (value, value)


def test_a_time_that_comes_with_an_offset_keeps_it() -> None:
    sent = (
        b'{"msgId": 1, "createTime": "2023-07-13T09:15:27Z", "updateTime": "2023-07-13 17:15:27"}'
    )
    message = msgspec.json.decode(sent, type=Message)
    assert message.created_at == message.updated_at == datetime(2023, 7, 13, 9, 15, 27, tzinfo=UTC)
    assert message.created_at is not None
    assert message.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        Work(digital_person_works_id=1),
        Message(msg_id=1),
        WORKS.query_type(),
        MESSAGES.query_type(),
        documented(WORKS)[1],
    ],
)
def test_nothing_can_be_changed(value: Struct) -> None:
    for name in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, name, 2)


def test_a_page_is_iterable_and_has_a_length() -> None:
    _, page = documented(WORKS)
    assert list(page) == page.content
    assert list(page) == list(page)
    assert len(page) == 20
    empty = msgspec.structs.replace(page, content=[])
    assert (list(empty), len(empty)) == ([], 0)


@pytest.mark.parametrize("text", WEIRD)
def test_an_unknown_text_is_a_member_with_that_value(text: str) -> None:
    enum = WorkStatus
    member = enum(text)
    assert type(member) is enum
    assert member == text
    assert text == member
    assert hash(member) == hash(text)
    assert str(member) == f"{member}" == member.value == member.name == text
    assert {text: 1}[member] == 1
    assert member == enum(text)
    decoded = msgspec.json.decode(json.dumps(text), type=enum)
    assert (type(decoded), decoded) == (enum, member)
    assert json.loads(msgspec.json.encode(member)) == text
    assert json.loads(json.dumps(member)) == text
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(member, protocol))
        assert (type(again), again) == (enum, member)
    assert copy.deepcopy(member) == copy.copy(member) == member


@ENUMS
def test_known_texts_are_the_members(enum: type[OpenEnum]) -> None:
    for member in enum:
        assert enum(member.value) is member
        assert msgspec.json.decode(json.dumps(member.value), type=enum) is member
        assert member == member.name == member.value


def test_unknown_texts_are_not_registered() -> None:
    before = dict(WorkStatus.__members__)
    for number in range(1000):
        sent = {"digitalPersonWorksId": 1, "status": f"NEW_{number}"}
        work = msgspec.json.decode(json.dumps(sent), type=Work)
        assert work.status == f"NEW_{number}"
    assert dict(WorkStatus.__members__) == before
    assert [str(member) for member in WorkStatus] == list(before)
    assert not hasattr(WorkStatus, "NEW_1")


@ENUMS
def test_only_texts_are_members(enum: type[OpenEnum]) -> None:
    values: list[Any] = [None, 1, b"SUCCESS", True, 1.5, ("SUCCESS",)]
    for value in values:
        with pytest.raises(ValueError, match="not a valid"):
            enum(value)
    member = enum("NEW")
    assert (type(member), member) == (enum, "NEW")


def test_an_unknown_text_cannot_break_a_log_line() -> None:
    assert repr(WorkStatus("a\nb")) == "WorkStatus('a\\nb')"
    assert repr(WorkStatus.SUCCESS) == "WorkStatus('SUCCESS')"
