"""Rows as Arrow tables and batches: the columns, their types and their values."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import logging
import sys
from datetime import datetime, timedelta, timezone
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from dp_async import (
    Client,
    ConfigError,
    CrawlOptions,
    DecodeError,
    IncompleteCrawl,
    Message,
    Work,
    arrow,
)
from dp_async.testing import LyingTotals, Simulator
from tests.support.fake_server import Server, client, row

CHINA = timezone(timedelta(hours=8))
INSTANT = pa.timestamp("us", tz="Asia/Shanghai")


def made(simulator: Simulator) -> Client:
    return Client(simulator.in_process_settings, send=simulator.send)


async def test_a_table_holds_every_item_in_order() -> None:
    simulator = Simulator(works=230)
    async with made(simulator) as client:
        table = await arrow.to_table(client.works())
        works = await client.works().collect()
    assert table.num_rows == 230
    for name in ("digital_person_works_id", "name", "status", "works_url", "duration", "user_id"):
        assert table[name].to_pylist() == [getattr(work, name) for work in works]
    assert table["update_time"].to_pylist() == [work.updated_at for work in works]
    assert table["create_time"].to_pylist() == [work.created_at for work in works]


@pytest.mark.parametrize("model", [Work, Message])
def test_columns_are_the_documented_fields(model: type[Work] | type[Message]) -> None:
    columns = arrow.schema(model)
    assert columns.names == list(model.__struct_fields__)
    types = {field.name: field.type for field in columns}
    assert types["create_time"] == types["update_time"] == INSTANT
    assert {name for name, kind in types.items() if kind == pa.int64()} == {
        "user_id",
        "digital_person_works_id" if model is Work else "msg_id",
    }
    required = [field.name for field in columns if not field.nullable]
    assert required == ["digital_person_works_id" if model is Work else "msg_id"]


@pytest.mark.parametrize("name", ["works", "messages"])
async def test_an_empty_list_has_the_same_columns(name: str) -> None:
    async with made(Simulator(works=0, messages=0)) as client:
        if name == "works":
            table = await arrow.to_table(client.works())
        else:
            table = await arrow.to_table(client.messages())
    assert table.num_rows == 0
    assert table.schema == arrow.schema(Work if name == "works" else Message)


async def test_nulls_unknown_enums_and_values_of_any_type() -> None:
    server = Server(1)
    server.rows[:] = [
        {"digitalPersonWorksId": 3, "status": "ARCHIVED", "fee": {"价": [1.5, None]}},
        {"digitalPersonWorksId": 2, "fee": "free", "name": "", "duration": 7},
        {"digitalPersonWorksId": 1, "fee": None, "notDocumented": 1},
    ]
    table = await arrow.to_table(client(server).works(options=CrawlOptions(verify=False)))
    assert table["status"].to_pylist() == ["ARCHIVED", None, None]
    assert table["fee"].to_pylist() == ['{"价":[1.5,null]}', '"free"', None]
    assert table["name"].to_pylist() == [None, "", None]
    assert table["duration"].to_pylist() == [None, 7.0, None]
    assert table["update_time"].to_pylist() == [None, None, None]
    assert "notDocumented" not in table.column_names


async def test_times_with_and_without_an_offset_are_instants() -> None:
    server = Server(0)
    times = ["2023-07-13 17:15:27", "2023-07-13T09:15:27.5Z", None, "1990-05-01 00:00:00"]
    server.rows[:] = [{"msgId": 4 - n, "createTime": time} for n, time in enumerate(times)]
    table = await arrow.to_table(client(server).messages(options=CrawlOptions(verify=False)))
    assert table["create_time"].to_pylist() == [
        datetime(2023, 7, 13, 17, 15, 27, tzinfo=CHINA),
        datetime(2023, 7, 13, 17, 15, 27, 500_000, tzinfo=CHINA),
        None,
        datetime(1990, 5, 1, tzinfo=CHINA),
    ]


async def test_times_at_both_ends_of_the_calendar_are_instants() -> None:
    server = Server(0)
    times = ["9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00"]
    plain = ["9999-12-31 23:59:59", "0001-01-01 00:00:00"]
    server.rows[:] = [
        {"msgId": 4 - n, "createTime": time, "updateTime": other}
        for n, (time, other) in enumerate(zip(times, plain, strict=True))
    ]
    table = await arrow.to_table(client(server).messages(options=CrawlOptions(verify=False)))
    hour, year = 3_600_000_000, datetime(1, 1, 1) - datetime(1970, 1, 1)
    first = year // timedelta(microseconds=1)
    after = (datetime.max - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert table["create_time"].cast(pa.int64()).to_pylist() == [
        after + 12 * hour,
        first - 14 * hour,
    ]
    assert table["update_time"].cast(pa.int64()).to_pylist() == [
        after - 999_999 - 8 * hour,
        first - 8 * hour,
    ]


class Level(IntEnum):
    LOW = 1


class Colour(Enum):
    RED = "red"


class Slim(msgspec.Struct, rename="camel"):
    """Each type of column, and types that become JSON."""

    digital_person_works_id: int
    flag: bool
    share: float | None
    level: Level
    colour: Colour
    either: int | str
    tags: list[str] | None
    raw: msgspec.Raw


async def test_columns_of_a_custom_struct() -> None:
    server = Server(1)
    own = {"flag": True, "share": 1, "level": 1, "colour": "red", "either": "x", "tags": ["a"]}
    server.rows = [row(0) | own | {"raw": {"a": 1.0}}]
    table = await arrow.to_table(client(server).works().typed(Slim))
    assert table.to_pylist() == [
        {
            "digital_person_works_id": 100_000,
            "flag": True,
            "share": 1.0,
            "level": "1",
            "colour": '"red"',
            "either": '"x"',
            "tags": '["a"]',
            "raw": '{"a": 1.0}',
        }
    ]
    assert [field.nullable for field in table.schema] == [
        False,
        False,
        True,
        *[False] * 3,
        True,
        False,
    ]


async def test_batches_are_one_per_page_with_rows() -> None:
    simulator = Simulator(works=230)
    async with made(simulator) as client, client.works().crawl() as crawl:
        sizes = [batch.num_rows async for batch in arrow.batches(crawl)]
        assert sizes == [100, 100, 30]
        assert crawl.report.complete
        assert crawl.watermark is not None
        async with client.works().since(crawl.watermark) as nothing:
            assert [batch async for batch in arrow.batches(nothing)] == []


async def test_an_incomplete_crawl_raises() -> None:
    simulator = Simulator(works=230)
    simulator.fail(LyingTotals(500), times=None)
    async with made(simulator) as client:
        with pytest.raises(IncompleteCrawl):
            await arrow.to_table(client.works())


@pytest.mark.parametrize("item", [dict, msgspec.Raw])
async def test_items_without_columns_are_refused_before_any_request(item: Any) -> None:
    server = Server(1)
    with pytest.raises(ConfigError, match=r"items of a Struct: .*typed\(YourStruct\)"):
        await arrow.to_table(client(server).works().typed(item))
    assert server.requests == []


class Unset(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET


async def test_a_field_that_may_be_unset_has_no_column() -> None:
    server = Server(1)
    with pytest.raises(ConfigError, match=r"name of Unset may be UNSET, .* declare it with None"):
        await arrow.to_table(client(server).works().typed(Unset))
    assert server.requests == []


async def test_batches_of_items_without_columns_are_refused() -> None:
    async with client(Server(1)).works().typed(dict).crawl() as crawl:
        with pytest.raises(ConfigError, match="items of a Struct"):
            await anext(arrow.batches(crawl))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


class Wide(msgspec.Struct, rename="camel"):
    """A number that a decoder takes and no column holds."""

    digital_person_works_id: int
    user_id: int | None


class Counted(msgspec.Struct, rename="camel"):
    """The same without the id."""

    user_id: int | None


@pytest.mark.parametrize("number", [2**70, -(2**63) - 1, 2**63])
async def test_a_number_over_64_bits_names_its_row_and_column(number: int) -> None:
    server = Server(0)
    server.rows = [row(0) | {"userId": None}, row(1) | {"userId": 1}, row(2) | {"userId": number}]
    problem = "the number does not fit into 64 bits; declared as Annotated"
    for item, named in ((Wide, "the row with id 99998"), (Counted, "row 3 of 3")):
        listing = client(server).works(options=CrawlOptions(verify=False)).typed(item)
        with pytest.raises(DecodeError) as caught:
            await arrow.to_table(listing)
        assert str(caught.value).startswith(f"user_id of {named}: {problem}")
        assert caught.value.page_num == 1


class Renamed(msgspec.Struct, rename="camel"):
    """Numbers with defaults and a name of their own, and one that is bounded already."""

    number: int | None = msgspec.field(name="userId", default=None)
    digital_person_works_id: int = 0
    duration: arrow.Int64 = 0
    status: str = ""


@pytest.mark.parametrize("number", [2**70, -(2**63) - 1, 2**63])
async def test_a_row_with_a_number_over_64_bits_is_kept_apart(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(0)
    server.rows = [row(0) | {"userId": None}, row(1) | {"userId": 1}, row(2) | {"userId": number}]
    options = CrawlOptions(verify=False, on_bad_item="keep")
    for item, column in ((Wide, "user_id"), (Renamed, "number")):
        listing = client(server).works(options=options).typed(item)
        table = await arrow.to_table(listing)
        assert table[column].to_pylist() == [None, 1]
        assert table.schema == arrow.schema(item)
        assert "1 rows could not be read" in caplog.text
        caplog.clear()


async def test_a_log_that_raises_costs_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(2)
    server.rows[0] = server.rows[0] | {"duration": "long"}
    options = CrawlOptions(verify=False, on_bad_item="keep")

    def factory(*args: object, **options: object) -> logging.LogRecord:
        raise KeyError("factory")

    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    for raised, closed in ((True, False), (False, False), (True, True)):
        monkeypatch.setattr(logging, "raiseExceptions", raised)
        with monkeypatch.context() as patch:
            if closed:
                patch.setattr(sys, "stderr", object())
            table = await arrow.to_table(client(server).works(options=options))
        assert table.num_rows == 1
        assert ("KeyError: 'factory'" in capsys.readouterr().err) is (raised and not closed)


async def test_a_table_survives_parquet(tmp_path: Path) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    async with made(Simulator(messages=30)) as client:
        table = await arrow.to_table(client.messages())
    parquet.write_table(table, tmp_path / "messages.parquet")
    assert parquet.read_table(tmp_path / "messages.parquet").equals(table)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "dp_async.arrow")
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[arrow\]'"):
        importlib.import_module("dp_async.arrow")
