"""An answer is split into the rows that were sent, whatever is in them, or not at all."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from dp_async._page import split as module
from dp_async._page.split import row_id, split

Json: TypeAlias = Any

TEXT = st.text(st.sampled_from('ab"\\,:[]{} \n字\ud83d\ude00'), max_size=5)
JSON: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


def around(rows: bytes) -> bytes:
    """A good answer with *rows* between the brackets of its content."""
    return b'{"code":200,"data":{"content":[%b],"size":9,"page":{}},"more":[{"a":[1]}]}' % rows


def rows_of(answer: bytes) -> list[bytes] | None:
    parts = split(answer)
    return None if parts is None else [bytes(row) for row in parts[1]]


@given(
    st.lists(JSON, max_size=4),
    st.dictionaries(TEXT, JSON, max_size=2),
    st.dictionaries(TEXT, JSON, max_size=2),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_the_rows_of_a_valid_answer_are_those_that_json_finds(
    rows: list[Json], before: dict[str, Json], after: dict[str, Json], indent: Any, ascii: bool
) -> None:
    data = {**before, "content": rows, **after}
    text = json.dumps({**before, "data": data, **after}, indent=indent, ensure_ascii=ascii)
    answer = text.encode("utf-8", "surrogatepass")
    parts = split(answer)
    assert parts is not None
    empty, found = parts
    again = [json.loads(bytes(row).decode("utf-8", "surrogatepass")) for row in found]
    assert json.dumps(again) == json.dumps(rows)
    left = json.loads(bytes(empty).decode("utf-8", "surrogatepass"))
    whole = {**before, "data": {**data, "content": [None] * len(rows)}, **after}
    assert json.dumps(left) == json.dumps(whole)


BAD_ROWS = [
    b'{"a":"\xff"}',
    b'{"a":"\xd0\x5c\x5c"}',
    rb'{"a":"\ud83d"}',
    b'{"a":1e999}',
    b'{"a":NaN,"b":01}',
    b'{"a":"\x01\n"}',
    b'{"a":"]},[{\\"","b":"\\\\"}',
    b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"a" 1 :}',
    b"nonsense",
    b'"text"',
    b"[[],[{}]]",
    b"{}",
]


@pytest.mark.parametrize("row", BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_any_row_with_matching_brackets_is_set_apart_as_sent(row: bytes) -> None:
    for good in (b'{"id":1}', b'{"id":1,"of":{"a":[]}}'):
        assert rows_of(around(row)) == [row]
        assert rows_of(around(b"%b,%b" % (good, row))) == [good, row]
        assert rows_of(around(b" %b\n,\t%b\r ,%b" % (row, good, row))) == [row, good, row]


def test_only_the_blanks_of_json_are_cut_off() -> None:
    assert rows_of(around(b"\x0b{}\x0c,\xa01")) == [b"\x0b{}\x0c", b"\xa01"]


NOT_SPLIT = [
    b"",
    b"]",
    b'{"code":200,"data":{"content":[{"id":1},{"id":',
    b'{"code":200,"data":{"content":[{"id":"1}]}}',
    b'{"code":200,"data":{"content":[1]}',
    b'{"code":200,"data":{"content":{"id":[1]}}}',
    b'{"code":200,"data":[{"content":[1]}]}',
    b'{"code":200,"data":{"content":1}}',
    b'{"code":200,"content":[1]}',
    b'{"code":200,"data":{"page":{"content":[1]}}}',
    b'[{"data":{"content":[1]}}]',
    b'{"data":{"content":[1],"content":[2]}}',
    b'{"data":{"content":[1]},"data":{"content":[]}}',
    *[around(rows) for rows in (b",", b"1,", b",1", b"1,,2", b"]", b"[", b"[}", b"{]", b'"')],
    *[around(rows) for rows in (b'{"a":[1},{"b":2}]', b'{"a":"b\\"}', b'{"a":"b}')],
]


@pytest.mark.parametrize("answer", NOT_SPLIT)
def test_an_answer_without_one_array_of_rows_is_not_split(answer: bytes) -> None:
    assert split(answer) is None


@given(st.lists(st.sampled_from([*b'{}[]",:\\ 1a', b'"data":']), max_size=20))
def test_any_bytes_are_split_into_what_they_are_or_not_at_all(parts: list[int | bytes]) -> None:
    rows = b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)
    found = rows_of(around(rows))
    if found is not None:
        sent = b"".join(rows.split())  # the content may end before, as in `1],[2`
        assert sent.startswith(b"".join(b",".join(found).split()))


@pytest.mark.parametrize(
    ("row", "number"),
    [
        (b'{"id":7}', 7),
        (b'{"id":7,"name":"\xff"}', 7),
        (rb'{"id":7,"name":"\ud83d"}', 7),
        (b'{"id":7,"name":"\x01"}', 7),
        (b'{"id":7,"fee":NaN}', 7),
        (b'{"id":1,"id":7}', 7),
        (b'{"id":%d}' % (2**63 - 1), 2**63 - 1),
        (b'{"id":-%d}' % 2**63, -(2**63)),
        (b'{"id":%d}' % 2**63, None),
        (b'{"id":-%d}' % (2**63 + 1), None),
        (b'{"id":' + b"9" * 5_000 + b"}", None),
        (b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"id":7.0}', None),
        (b'{"id":"7"}', None),
        (b'{"id":true}', None),
        (b'{"id":null}', None),
        (b'{"of":{"id":7}}', None),
        (b'{"id":7,"a":tru}', None),
        (b"[7]", None),
        (b"7", None),
        (b"", None),
    ],
    ids=range(21),
)
def test_an_id_is_read_whatever_the_other_fields_hold(row: bytes, number: int | None) -> None:
    assert row_id(Raw(row), "id") == number


def test_an_answer_of_too_many_tokens_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'{"data":{"content":[1,2,3]}}'
    assert split(answer) is not None
    monkeypatch.setattr(module, "MOST_TOKENS", 10)
    assert split(answer) is None
