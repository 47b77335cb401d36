"""Rows keep their ids and times; a bad row is named, and no other row is lost with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from dp_async import DecodeError, Page, Work
from dp_async._models import WorkKey
from dp_async._page.decoder import PageDecoder
from dp_async._page.endpoints import ListEndpoint
from dp_async._page.reader import BadItem, RowReader, Rows
from tests.support.samples import ENDPOINTS, vector, wire_id

Row: TypeAlias = dict[str, object]

LISTS = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


def documented(endpoint: ListEndpoint[Struct, Struct]) -> tuple[list[Row], Raw]:
    """The documented rows, and the answer they came in."""
    answer = vector(endpoint.path.rpartition("/")[2])
    return json.loads(answer)["data"]["content"], Raw(answer)


def around(data: bytes) -> Raw:
    """A good answer with these data."""
    return Raw(b'{"code":200,"host":"10.0.0.1","data":' + data + b',"requestId":"r"}')


# Rows


class Brief(Struct, frozen=True):
    """A caller's own idea of a row: neither its id nor its times."""

    name: str | None = None


def wire(*rows: bytes | Row, number: int = 0, nested: bool = False) -> Raw:
    """The answer with page *number*, whose rows may be any bytes, in either shape."""
    numbers = {"number": number, "size": 9, "totalElements": 99}
    sent = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    fields = json.dumps({"page": numbers} if nested else numbers).encode()
    return around(b'{"content":[' + b",".join(sent) + b"]," + fields[1:])


def read(*rows: bytes | Row, number: int = 0, keep: bool = True) -> Rows[Work]:
    return RowReader("work_list", Work, Work, WorkKey, keep=keep)(wire(*rows, number=number))


def work(number: object, **fields: object) -> Row:
    return {"digitalPersonWorksId": number, **fields}


def times(sent: object) -> list[int]:
    """A time as sent, in whole seconds of a clock that knows no time zones."""
    return [int(datetime.fromisoformat(str(sent)).replace(tzinfo=UTC).timestamp())]


@LISTS
@pytest.mark.parametrize(
    ("item", "keep"),
    [
        (None, True),
        (None, False),
        (Brief, True),
        (dict, False),
        (dict[str, object], True),
        (Raw, False),
    ],
)
def test_ids_and_times_are_exact_for_each_type_of_item(
    endpoint: ListEndpoint[Struct, Struct], item: Any, keep: bool
) -> None:
    sent, data = documented(endpoint)
    key = wire_id(endpoint.key)
    reader: RowReader[object] = RowReader(
        endpoint.name, item or endpoint.model, endpoint.model, endpoint.key, keep=keep
    )
    rows = reader(data)
    assert list(rows.ids) == list(rows.keyed) == [row[key] for row in sent]
    assert list(rows.updated) == [time for row in sent for time in times(row["updateTime"])]
    assert list(rows.created) == [time for row in sent for time in times(row["createTime"])]
    assert (rows.count, len(rows.page), list(rows.bad)) == (20, 20, [])
    assert rows.keyed.typecode == "q"


@LISTS
def test_items_are_of_the_type_given(endpoint: ListEndpoint[Struct, Struct]) -> None:
    sent, data = documented(endpoint)
    for item in (endpoint.model, Brief):
        typed = RowReader(endpoint.name, item, endpoint.model, endpoint.key, keep=False)(data)
        assert {type(row) for row in typed.page} == {item}
    plain = RowReader(endpoint.name, dict[str, Any], endpoint.model, endpoint.key, keep=False)
    assert plain(data).page.content == sent
    raw = RowReader(endpoint.name, Raw, endpoint.model, endpoint.key, keep=False)
    assert [json.loads(bytes(row)) for row in raw(data).page] == sent


AT = "2023-07-13 17:15:27"
THEN = 1689268527  # AT, as if it were UTC


@pytest.mark.parametrize(
    ("sent", "second"),
    [
        (AT, THEN),
        ("2023-07-13T17:15:27", THEN),
        ("2023-07-13 17:15:27.999", THEN),
        ("2023-07-13T17:15:27+08:00", THEN),
        ("2023-07-13T09:15:27Z", THEN),
        ("2023-07-13T09:15:27.5Z", THEN),
        ("2023-07-12T23:15:27-10:00", THEN),
        ("1970-01-01 00:00:00", 0),
        ("1969-12-31 23:59:59", -1),
        ("1969-12-31 23:59:58.5", -2),
        ("0001-01-01T00:00:00+14:00", -62135596800 - 6 * 3600),
        ("9999-12-31T23:59:59-12:00", 253402300799 + 20 * 3600),
    ],
)
@pytest.mark.parametrize("beside", [AT, "2023-07-13T17:15:27+08:00"])
def test_a_time_is_its_whole_second_in_china(sent: str, second: int, beside: str) -> None:
    rows = read(work(1, updateTime=sent, createTime=beside), work(2, updateTime=beside))
    assert list(rows.updated) == [second, THEN]
    assert list(rows.created) == []  # one has none
    rows = read(work(1, updateTime=AT, createTime=sent), work(2, updateTime=AT, createTime=beside))
    assert list(rows.created) == [second, THEN]


COLUMNS: list[tuple[list[Row], list[int], int]] = [
    ([], [], 0),
    ([work(1)], [], 0),
    ([work(1, createTime=AT)], [], 0),
    ([work(1, updateTime=AT)], [1], 0),
    ([work(1, updateTime=AT, createTime=AT)], [1], 1),
    ([work(1, updateTime=AT, createTime=AT), work(2, createTime=AT)], [1], 1),
    ([work(1, updateTime=None), work(2, updateTime=AT, createTime=AT)], [2], 1),
    ([work(1, updateTime=AT, createTime=AT), work(2, updateTime=AT)], [1, 2], 0),
    ([work(1, updateTime=AT, createTime=None), work(2, updateTime=AT, createTime=AT)], [1, 2], 0),
]


@pytest.mark.parametrize(("sent", "keyed", "created"), COLUMNS)
@pytest.mark.parametrize("item", [Work, Raw])
@pytest.mark.parametrize("spoilt", [True, False])
def test_rows_that_lack_a_time(
    sent: list[Row], keyed: list[int], created: int, item: Any, spoilt: bool
) -> None:
    reader: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=True)
    rows = reader(wire(*sent, *[b"{}"] * spoilt))
    assert list(rows.ids) == [row["digitalPersonWorksId"] for row in sent]
    assert list(rows.keyed) == keyed
    assert list(rows.updated) == [THEN] * len(keyed)
    assert list(rows.created) == [THEN] * created
    assert (rows.count, len(rows.bad)) == (len(sent) + spoilt, spoilt)


@pytest.mark.parametrize("beside", [AT, "2023-07-13T17:15:27+08:00", None])
def test_create_times_are_read_only_if_wanted(beside: str | None) -> None:
    data = wire(work(1, updateTime=AT, createTime=AT), work(2, updateTime=beside, createTime=AT))
    reader = RowReader("work_list", Work, Work, WorkKey, keep=False)
    with_them, without = reader(data), reader(data, created=False)
    assert len(with_them.created) == len(without.updated)
    assert (without.ids, without.keyed) == (with_them.ids, with_them.keyed)
    assert (without.updated, list(without.created)) == (with_them.updated, [])


@pytest.mark.parametrize("item", [Work, Raw])
def test_times_are_read_only_if_wanted(item: Any) -> None:
    reader: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=False)
    rows = reader(wire(work(1, updateTime=AT), work(2)), keys=False)
    assert (len(rows.page), rows.count, list(rows.bad)) == (2, 2, [])
    assert list(rows.ids) == ([1, 2] if item is Work else [])  # of other items they cost a decoding
    assert [list(found) for found in (rows.keyed, rows.updated, rows.created)] == [[]] * 3


ID = "digitalPersonWorksId"
DEEP = b"[" * 100_000 + b"]" * 100_000
BAD_ROWS: list[tuple[bytes, str, int | None]] = [
    (b"{}", f"Object missing required field `{ID}` - at `$.data.content[1]`", None),
    (b"null", "Expected `object`, got `null` - at `$.data.content[1]`", None),
    (b"[1, 2]", "Expected `object`, got `array` - at `$.data.content[1]`", None),
    (b'"text"', "Expected `object`, got `str` - at `$.data.content[1]`", None),
    (b'{"%s":null}', f"Expected `int`, got `null` - at `$.data.content[1].{ID}`", None),
    (b'{"%s":"7"}', f"Expected `int`, got `str` - at `$.data.content[1].{ID}`", None),
    (b'{"%s":7.5}', f"Expected `int`, got `float` - at `$.data.content[1].{ID}`", None),
    (b'{"%s":true}', f"Expected `int`, got `bool` - at `$.data.content[1].{ID}`", None),
    (b'{"%%s":%d}' % 2**63, f"does not fit into 64 bits - at `$.data.content[1].{ID}`", None),
    (b'{"%s":7,"userId":"x"}', "got `str` - at `$.data.content[1].userId`", 7),
    (b'{"%s":7,"name":3}', "got `int` - at `$.data.content[1].name`", 7),
    (b'{"%s":7,"name":"\xff"}', "text that is not UTF-8 - at `$.data.content[1]`", 7),
    (b'{"%s":7,"x":"\\ud83d"}', "half a surrogate pair - at `$.data.content[1]`", 7),
    (b'{"%s":7,"x":"\\ude00!"}', "half a surrogate pair - at `$.data.content[1]`", 7),
    (b'{"%s":7,"duration":1e999}', "Number out of range - at `$.data.content[1].duration`", 7),
    (b'{"%s":7,"x":NaN}', "invalid character (byte 30) - at `$.data.content[1]`", 7),
    (b'{"%s":7,"x":"\x01"}', "invalid character (byte 31) - at `$.data.content[1]`", 7),
    (b'{"%s":7,"x":tru}', "invalid character (byte 31) - at `$.data.content[1]`", None),
    (b'{"%s":7,"x":' + DEEP + b"}", "nested too deeply - at `$.data.content[1]`", None),
    (b'{"%s":7,"updateTime":"soon"}', "datetime - at `$.data.content[1].updateTime`", 7),
    (b'{"%s":7,"createTime":1}', "got `int` - at `$.data.content[1].createTime`", 7),
]


@pytest.mark.parametrize(("row", "problem", "number"), BAD_ROWS)
def test_a_bad_row_is_kept_whole_with_its_path(
    row: bytes, problem: str, number: int | None
) -> None:
    row = row.replace(b"%s", ID.encode())
    good = work(1, updateTime=AT), work(2, updateTime=AT)
    rows = read(good[0], row, good[1], number=4)
    assert ([item.digital_person_works_id for item in rows.page], list(rows.ids)) == (
        [1, 2],
        [1, 2],
    )
    (bad,) = rows.bad
    assert bad == BadItem(5, "$.data.content[1]", bad.problem, row, number)
    what = "the answer" if number is None else "the row with id 7"
    assert number is not None or "the row" not in bad.problem
    assert bad.problem.startswith(f"work_list: {what} cannot be read: ") or number is None
    assert bad.problem.endswith(problem)
    assert rows.count == 3
    assert (rows.page.page_num, rows.page.total_elements, rows.page.number_of_elements) == (
        5,
        99,
        3,
    )


@pytest.mark.parametrize(("row", "problem", "number"), BAD_ROWS)
def test_a_bad_row_is_an_error_unless_rows_are_kept(
    row: bytes, problem: str, number: int | None
) -> None:
    with pytest.raises(DecodeError) as caught:
        read(work(1), row.replace(b"%s", ID.encode()), keep=False)
    assert str(caught.value).endswith(problem)
    assert (caught.value.endpoint, caught.value.__context__) == ("work_list", None)


def test_a_bad_row_with_an_id_and_times_is_still_in_the_columns() -> None:
    sent = {"updateTime": AT, "createTime": AT}
    rows = read(work(1, **sent), work(2, **sent, name=7), work(3, **sent))
    assert (list(rows.ids), list(rows.keyed)) == ([1, 3], [1, 2, 3])
    assert (list(rows.updated), list(rows.created)) == ([THEN] * 3, [THEN] * 3)


@pytest.mark.parametrize(
    ("item", "row", "bad"),
    [
        (Raw, b"{}", True),
        (dict, b'{"name":"no id"}', True),
        (Brief, b'{"name":"no id"}', True),
        (Raw, work(7, name=3), False),
        (dict, work(7, name=3, userId="x"), False),
        (Brief, work(7, userId="x"), False),
        (Brief, work(7, name=3), True),
        (Raw, work(7, updateTime="soon"), True),
        (Raw, b'{"%s":7,"x":"\xff"}', True),
        (Raw, b'{"%s":7,"\xff":1}', True),
        (dict, b'{"%s":7,"x":"\xff"}', True),
        (Brief, b'{"%s":7,"name":"\xff"}', True),
        (Brief, b'{"%s":7,"x":"\xff"}', False),  # a field that nobody reads
        (Raw, b'{"%s":7,"x":"\\ud83d"}', True),
        (dict, b'{"%s":7,"x":"\\ud83d"}', True),
        (Brief, b'{"%s":7,"x":"\\ud83d"}', True),
        (dict, b'{"%s":7,"x":1e999}', True),
        (Raw, b'{"%s":7,"x":1e999}', False),  # it is JSON, and stays as it was sent
    ],
)
def test_a_row_of_another_type_is_bad_by_that_type_or_its_key(
    item: Any, row: bytes | Row, bad: bool
) -> None:
    row = row.replace(b"%s", ID.encode()) if isinstance(row, bytes) else row
    reader: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=True)
    rows = reader(wire(work(1), row))
    assert (len(rows.page), len(rows.bad), rows.count) == (2 - bad, bad, 2)
    assert len(rows.ids) == 2 - bad
    if bad:
        strict: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=False)
        with pytest.raises(DecodeError, match=r"at `\$\.data\.content\[1\]"):
            strict(wire(work(1), row))


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"content":[{}]}', b'{"content":[', b"7"])
def test_data_that_is_no_page_is_an_error_even_if_rows_are_kept(data: bytes) -> None:
    for keep in (True, False):
        with pytest.raises(DecodeError) as caught:
            RowReader("work_list", Work, Work, WorkKey, keep=keep)(around(data))
        assert caught.value.__context__ is None


SENT = st.one_of(
    st.builds(
        work,
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.none(), st.text(max_size=2)),
        name=st.one_of(st.none(), st.text(max_size=3), st.integers()),
        updateTime=st.sampled_from([None, AT, "2023-07-13T17:15:27Z", "soon", 3]),
        createTime=st.sampled_from([None, AT, "soon"]),
    ),
    st.sampled_from([b"{}", b"null", b"[]", b"7"]),
)


@given(st.lists(SENT, max_size=4), st.booleans(), st.sampled_from([Work, Brief, dict, Raw]))
def test_every_row_sent_is_either_good_or_bad(
    sent: list[bytes | Row], nested: bool, item: Any
) -> None:
    data = wire(*sent, nested=nested)
    reader: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=True)
    rows = reader(data)
    assert rows.count == len(sent) == len(rows.page) + len(rows.bad)
    assert len(rows.ids) == len(rows.page)
    assert set(rows.ids) | {bad.id for bad in rows.bad} >= set(rows.keyed)
    assert len(rows.keyed) == len(rows.updated)
    assert len(rows.created) in (0, len(rows.keyed))
    whole: Page[Raw] = PageDecoder("work_list", Raw)(data)
    for bad in rows.bad:
        place = int(bad.path.removeprefix("$.data.content[").removesuffix("]"))
        assert bad.raw == bytes(whole.content[place])
    strict: RowReader[object] = RowReader("work_list", item, Work, WorkKey, keep=False)
    if rows.bad:
        with pytest.raises(DecodeError):
            strict(data)
    else:
        again = strict(data)
        assert (again.ids, again.keyed) == (rows.ids, rows.keyed)
        assert (again.updated, again.created) == (rows.updated, rows.created)
