"""Decoding any bytes gives a value or a DecodeError with the path of the bad value."""

from __future__ import annotations

from contextlib import suppress
from traceback import TracebackException
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async import DecodeError
from dp_async import _json as module
from dp_async._json import decode, members


class Inner(msgspec.Struct):
    number: int


class Outer(msgspec.Struct):
    content: list[Inner]


DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Outer)
ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder(object)


def test_a_good_text_is_decoded_from_bytes_and_raw_alike() -> None:
    text = b'{"content": [{"number": 1}]}'
    expected = Outer([Inner(1)])
    assert decode(DECODER, text, "work_list") == expected
    assert decode(DECODER, msgspec.Raw(text), "work_list") == expected


INNER = b'{"content": [{"number": %s}]}'
DEEP = b'{"content": [], "other": ' + b"[" * 100_000

TRAILING = "JSON is malformed: trailing characters"
HALF = "text with half a surrogate pair"
HALVES = (
    rb'"\ud83d"',
    rb'"\uDE00 and more"',
    rb'["\\\uD83d\n and more"]',
    rb'"\ud83d\ud83d\ude00"',
)

BAD = [
    (DECODER, INNER % b'"x"', "Expected `int`, got `str` - at `$.data.content[0].number`"),
    (DECODER, INNER % b"1e999", "Number out of range - at `$.data.content[0].number`"),
    (DECODER, b'{"content": 1}', "Expected `array`, got `int` - at `$.data.content`"),
    (DECODER, b"{}", "Object missing required field `content` - at `$.data`"),
    (DECODER, b"[]", "Expected `object`, got `array` - at `$.data`"),
    (DECODER, b"null", "Expected `object`, got `null` - at `$.data`"),
    (DECODER, b"", "Input data was truncated - at `$.data`"),
    (DECODER, b'{"content": [', "Input data was truncated - at `$.data`"),
    (
        DECODER,
        b'{"content": []} more',
        f"{TRAILING} (byte 17) - at `$.data`",
    ),
    (DECODER, b"<html>", "JSON is malformed: invalid character (byte 0) - at `$.data`"),
    (DECODER, DEEP, "nested too deeply - at `$.data`"),
    (ANYTHING, b"[" * 100_000, "nested too deeply - at `$.data`"),
    (ANYTHING, b'"\xff"', "text that is not UTF-8 - at `$.data`"),
    *[(ANYTHING, text, f"{HALF} - at `$.data`") for text in HALVES],
    (
        ANYTHING,
        rb'"\ud83d\ude00" 1',
        f"{TRAILING} (byte 16) - at `$.data`",
    ),
    (ANYTHING, rb'"\\ud83d" 1', f"{TRAILING} (byte 11) - at `$.data`"),
    (ANYTHING, b'{"\xff": 1}', "text that is not UTF-8 - at `$.data`"),
]


@pytest.mark.parametrize(("decoder", "text", "problem"), BAD)
def test_a_bad_text_is_an_error_with_its_path(
    decoder: msgspec.json.Decoder[Any], text: bytes, problem: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(decoder, text, "work_list", root="$.data")
    assert str(caught.value) == f"work_list: the answer cannot be read: {problem}"
    assert caught.value.endpoint == "work_list"


def test_the_path_starts_at_the_answer_by_default() -> None:
    with pytest.raises(DecodeError, match=r"at `\$\.content`$"):
        decode(DECODER, b'{"content": 1}', "work_list")


@pytest.mark.parametrize("text", [b"{}", b'"\xff"', b"[" * 100_000])
def test_the_error_of_msgspec_is_not_kept(text: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(DECODER if text == b"{}" else ANYTHING, text, "work_list")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_no_traceback_variable_shows_the_data() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(DECODER, b'{"content": 1, "name": "open-sesame"}', "work_list")
    stack = TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert [frame.name for frame in stack][1:] == ["decode"]
    assert "open-sesame" not in f"{stack[1].locals}"


RAW = msgspec.json.Decoder(msgspec.Raw)


def test_text_is_checked_on_request() -> None:
    text = b'{"name": "\xff"}'
    assert decode(RAW, text, "work_list") == msgspec.Raw(text)
    assert decode(RAW, msgspec.Raw('"字"'.encode()), "work_list", utf8=True)
    for data in (text, msgspec.Raw(text)):
        with pytest.raises(DecodeError, match=r"^work_list: the row cannot be .* UTF-8 - at `\$`"):
            decode(RAW, data, "work_list", what="the row", utf8=True)


@given(st.binary())
def test_any_bytes_are_a_value_or_a_decode_error(text: bytes) -> None:
    with suppress(DecodeError):
        decode(ANYTHING, text, "work_list")


#: Objects, and their members.
OBJECTS: list[tuple[bytes, dict[bytes, bytes] | None]] = [
    (b"{}", {}),
    (b' {"a" : 1 , "b":[{"c":[1,{}]},2] }\n', {b'"a"': b"1", b'"b"': b'[{"c":[1,{}]},2]'}),
    (rb'{"a":"\"}{,:","b":{"c":1}}', {b'"a"': rb'"\"}{,:"', b'"b"': b'{"c":1}'}),
    (b'{"a":NaN,"a":\xff,"b":x:y}', {b'"a"': b"\xff", b'"b"': b"x:y"}),
    (b'{"a"}', {}),
    (b"", None),
    (b"[]", None),
    (b'{"a":1', None),
    (b'{"a":1}}', None),
    (b'{"a":[1}]}', None),
    (b'{"a":1]', None),
    (b'{"a":"1}', None),
]


@pytest.mark.parametrize(("data", "expected"), OBJECTS)
def test_the_members_of_an_object_are_found_whatever_they_hold(
    data: bytes, expected: dict[bytes, bytes] | None
) -> None:
    assert members(data) == expected


def test_an_object_of_too_many_tokens_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 4)
    assert members(b'{"a":1}') is not None
    assert members(b'{"a":1,"b":2}') is None
