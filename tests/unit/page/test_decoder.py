"""Both shapes of a page are read; a bad page is an error, and so is a bad row, which is named."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest
from msgspec import Raw

from dp_async import ConfigError, DecodeError, Page, Work
from dp_async._models import WorkKey
from dp_async._page.decoder import PageDecoder

Row: TypeAlias = dict[str, object]


def around(data: bytes) -> Raw:
    """A good answer with these data."""
    return Raw(b'{"code":200,"host":"10.0.0.1","data":' + data + b',"requestId":"r"}')


USUAL: Row = {
    "content": [{"id": 1}, {"id": 2}],
    "number": 0,
    "size": 2,
    "totalElements": 5,
    "totalPages": 3,
}


def page(**fields: object) -> Page[Row]:
    return PageDecoder("work_list", dict[str, object])(around(json.dumps(USUAL | fields).encode()))


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
        request_id="r",
    )


@pytest.mark.parametrize(
    ("sent", "request_id"),
    [
        (b',"requestId":"a-1\\u00e9"', "a-1é"),
        (b',"requestId":17', "17"),
        (b',"requestId":null', ""),
        (b',"requestId":["a"]', ""),
        (b',"requestId":true', ""),
        (b',"requestId":"\xff"', ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("item", [dict, Raw])
def test_the_request_id_is_the_envelope_s(item: Any, sent: bytes, request_id: str) -> None:
    data = json.dumps(USUAL).encode()
    answer = Raw(b'{"code":200,"data":' + data + sent + b"}")
    assert PageDecoder("work_list", item)(answer).request_id == request_id


@pytest.mark.parametrize("last", [True, False])
def test_the_fields_of_the_server_are_kept(last: bool) -> None:
    kept = page(numberOfElements=7, first=not last, last=last, empty=True, totalPages=9)
    assert (kept.number_of_elements, kept.first, kept.last) == (7, not last, last)
    assert (kept.empty, kept.total_pages) == (True, 9)


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
def test_data_that_is_no_page_is_an_error_with_its_path(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"at `\$\.data`$"):
        PageDecoder("work_list", Work)(around(data))


@pytest.mark.parametrize("item", ["text", 7, lambda: None, set[Work] | list[Work]])
def test_a_type_that_cannot_be_decoded_is_refused(item: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^typed\(\) needs a Struct, dict or msgspec.Raw"
    ) as caught:
        PageDecoder("work_list", item)
    assert caught.value.__context__ is None


# A bad row

SIZES = b',"number":0,"size":9,"totalElements":9'
ID = b"digitalPersonWorksId"


def first_of(item: Any, *rows: bytes, more: bytes = SIZES) -> Page[Any]:
    data = b'{"content":[' + b",".join(rows) + b"]" + more + b"}"
    return PageDecoder("work_list", item, WorkKey)(around(data))


@pytest.mark.parametrize(
    ("item", "row", "problem"),
    [
        (Work, b'{"name":7,"%b":5}', r"Expected `str \| null`, got `int` - at `\$%s\.name`"),
        (Work, b'{"name":"\xff","%b":5}', r"text that is not UTF-8 - at `\$%s`"),
        (Raw, b'{"name":"\xff","%b":5}', r"text that is not UTF-8 - at `\$%s`"),
        (dict, b'{"\\ud83d":7,"%b":5}', r"text with half a surrogate pair - at `\$%s`"),
        (Raw, b'{"name":NaN,"%b":5}', r"JSON is malformed: .* - at `\$%s`"),
    ],
)
def test_a_bad_row_is_named_by_its_path_and_id(item: Any, row: bytes, problem: str) -> None:
    good = b'{"%b":1,"name":"a","of":[]}' % ID
    problem = "the row with id 5 cannot be read: " + problem % r"\.data\.content\[1\]"
    with pytest.raises(DecodeError, match=f"^work_list: {problem}$") as caught:
        first_of(item, good, row % ID)
    assert (caught.value.endpoint, caught.value.__context__) == ("work_list", None)


def test_an_error_beside_the_rows_stays_that_of_the_page() -> None:
    bad = b'{"name":"\xff"}'
    for more in (b"", SIZES[:-1] + b"-1", SIZES + b',"last":1', SIZES + b"]"):
        with pytest.raises(DecodeError, match=r"the answer|the page has no `number`") as caught:
            first_of(Work, bad, more=more)
        assert "content[0]" not in str(caught.value)


def test_a_second_content_is_an_error_even_if_its_name_is_written_otherwise() -> None:
    for second in (b"[]", b'[{"name":7}]'):
        more = SIZES + rb',"conten\u0074":' + second
        with pytest.raises(DecodeError, match=r"Expected `(str|null)`, got `(int|object)`"):
            first_of(dict[str, str], b'{"name":7}', more=more)


def test_text_that_nobody_reads_is_no_error() -> None:
    rows = b'{"content":[{"a":1},[2]],"number":0,"size":9,"totalElements":9}'
    answer = Raw(b'{"code":200,"resultMsg":"\xb2\xe2","data":' + rows + b"}")
    page = PageDecoder("work_list", Raw)(answer)
    assert [bytes(row) for row in page] == [b'{"a":1}', b"[2]"]
    assert (page.number_of_elements, page.empty, page.last) == (2, False, True)
