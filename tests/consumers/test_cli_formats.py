"""Rows as NDJSON, CSV and a table, and text escaped for a terminal."""

import csv
import io
from datetime import datetime

import pytest
from msgspec import Raw, Struct

from dp_async import Message, Work, WorkStatus
from dp_async.cli import _formats as formats
from dp_async.cli import _text as text

WORK = Work(digital_person_works_id=1, name="新品", status=WorkStatus("ON_HOLD"))


def table(*items: Work | Message, cells: int = 120) -> list[str]:
    rows = formats.Table(type(items[0]), cells)
    return (rows.page(items) + rows.end()).decode().splitlines()


def read_csv(*items: Work | Message) -> list[dict[str, str]]:
    rows = formats.Csv(type(items[0]))
    data = rows.page(items[:1]) + rows.page(items[1:]) + rows.end()
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_ndjson_changes_only_whitespace() -> None:
    item = b'{\n  "id": 1.50,\n  "new": [1e400, {}],\n  "text": "\\u4f60 \xe4\xbd\xa0"\n}'
    rows = formats.Ndjson()
    line = b'{"id":1.50,"new":[1e400,{}],"text":"\\u4f60 \xe4\xbd\xa0"}\n'
    assert rows.page([Raw(item), Raw(item)]) + rows.end() == line + line


def test_csv_has_one_header_and_the_models_fields() -> None:
    (row,) = read_csv(WORK)
    assert sorted(row) == sorted(Work.__struct_fields__)
    assert list(row)[:2] == ["digital_person_works_id", "name"]
    assert list(row)[-3:] == ["create_time", "update_time", "user_id"]
    assert len(read_csv(WORK, WORK)) == 2


def test_csv_without_rows_is_its_header() -> None:
    rows = formats.Csv(Message)
    assert rows.end().decode() == ",".join(formats.columns(Message)) + "\r\n"


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@x", 'a "quoted", one', "two\r\nlines", "\r", "\n", "新", ""]
)
def test_csv_changes_no_text(name: str) -> None:
    assert read_csv(Work(digital_person_works_id=1, name=name))[0]["name"] == name


def test_csv_values_are_as_sent() -> None:
    message = Message(
        msg_id=7,
        create_time=datetime(2023, 7, 13, 17, 15, 27),
        type=None,
        params={"a": [1, True]},
    )
    (row,) = read_csv(message)
    assert row["msg_id"] == "7"
    assert row["create_time"] == "2023-07-13 17:15:27"
    assert row["type"] == ""
    assert row["params"] == '{"a":[1,true]}'
    assert read_csv(WORK)[0]["status"] == "ON_HOLD"


def test_the_table_aligns_wide_characters() -> None:
    lines = table(WORK, Work(digital_person_works_id=22, name="brand new", status=WorkStatus.FAIL))
    assert lines[:-1] == [
        "digital_",
        "person_",
        "works_id name      status",
        "-------- --------- -------",
        "1        新品      ON_HOLD",
        "22       brand new FAIL",
    ]
    left_out = (
        "avatar, align, resolution, works_url, fee, duration, create_time, update_time, user_id"
    )
    assert lines[-1] == f"(not shown: {left_out}; --format csv has every field)"


def test_the_table_omits_columns_that_do_not_fit() -> None:
    *lines, left_out = table(WORK, cells=20)
    assert all(text.width(line) <= 20 for line in lines)
    assert "status" in left_out
    assert table(WORK, cells=1)[0] == "digital_"  # the first column is always there


def test_the_table_cuts_long_texts_and_omits_urls() -> None:
    work = Work(
        digital_person_works_id=1,
        name="长" * 20,
        avatar="https://host/x",
        works_url="https://" + "x" * 80,
    )
    *lines, left_out = table(work, cells=33)
    assert lines[-1] == "1        " + "长" * 11 + " …"
    assert table(work, cells=34)[-2] == "1        " + "长" * 12 + "…"
    assert table(work)[-2] == "1        " + "长" * 20
    assert "avatar" in left_out
    assert "works_url" in left_out


def test_times_come_before_the_user() -> None:
    time = datetime(2023, 7, 13, 17, 15, 27)
    work = Work(
        digital_person_works_id=1,
        name="长" * 8,
        status=WorkStatus.SUCCESS,
        user_id=81,
        create_time=time,
        update_time=time,
    )
    shown = {cells: table(work, cells=cells)[-3].replace(" ", "") for cells in range(20, 90)}
    rules = [8, 16, 7, 19, 19, 5]  # the widths of all columns, in their order
    at = {
        28: [8, 19],  # the id and when it changed
        45: [8, 16, 19],
        53: [8, 16, 7, 19],
        73: [8, 16, 7, 19, 19],
        79: rules,
    }
    for cells, widths in at.items():
        assert shown[cells] == "-" * sum(widths)
        assert shown[cells - 1] != shown[cells]


def test_the_least_width_of_a_column_is_for_rows_that_come_later() -> None:
    rows = formats.Table(Work, 120, least=11)
    first = rows.page([WORK]).decode().splitlines()[-1]
    assert first == "1           新品        ON_HOLD"


def test_a_table_of_all_fields_leaves_none_out() -> None:
    class Row(Struct):
        id: int
        name: str

    rows = formats.Table(Row, 80)
    assert rows.page([Row(1, "a")]) + rows.end() == b"id name\n-- ----\n1  a\n"


def test_later_pages_keep_the_columns_of_the_first() -> None:
    rows = formats.Table(Work, 120)
    first = rows.page([WORK]).decode().splitlines()
    later = rows.page([Work(digital_person_works_id=2, name="long name", fee=1)]).decode()
    assert later == "2        lon…\n"
    assert first[-1] == "1        新品 ON_HOLD"


def test_an_empty_table_says_so() -> None:
    rows = formats.Table(Work, 120)
    assert rows.page([]) + rows.end() == b"(no rows)\n"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),
        ("[bold red]x[/]", "[bold red]x[/]"),
        (":smile:\u3000你好", ":smile:\u3000你好"),
    ],
)
def test_control_characters_are_escaped(hostile: str, shown: str) -> None:
    assert text.visible(hostile) == shown
    assert shown in table(Work(digital_person_works_id=1, name=hostile))[-2]
