"""The reader of raw rows into tables: what the tests of dlt and Arrow do not reach."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

import pytest
from msgspec import Raw

from dp_async import (
    BadItem,
    Client,
    ConfigError,
    CrawlReport,
    DecodeError,
    IncompleteCrawl,
    Page,
    Settings,
    Watermark,
    Work,
)
from dp_async.tables import List, Plan, Reading, TableReader, account_names
from dp_async.testing import Simulator

DEEP = b"[" * 100_000 + b"]" * 100_000


def page(*rows: bytes) -> Page[Raw]:
    count = len(rows)
    return Page(
        content=[Raw(row) for row in rows],
        number=6,
        size=50,
        total_elements=count,
        total_pages=1,
        number_of_elements=count,
        first=False,
        last=True,
        empty=False,
        request_id="abc",
    )


def test_the_accounts_of_a_sync() -> None:
    settings = Settings(base_url="https://host", app_id="app", app_secret="s")
    assert account_names(settings, None) == [""]
    assert account_names(settings.with_account("sub"), None) == ["sub"]
    assert account_names(settings, iter(["b", "a", "b"])) == ["b", "a"]
    refused: list[Any] = [[], "sub", b"sub", 7, ["sub", ""], ["sub", 7], ["a\nb"]]
    for given in refused:
        with pytest.raises(ConfigError):
            account_names(settings, given)


def test_rows_with_and_without_undocumented_fields_are_one_table() -> None:
    read = TableReader("work_list", Work, keep=False)
    table = read(
        page(b'{"digitalPersonWorksId":1}', b'{"digitalPersonWorksId":2,"b":[1.50, null]}')
    )
    assert table["digital_person_works_id"].to_pylist() == [1, 2]
    assert table["b"].to_pylist() == [None, "[1.50, null]"]


def test_a_bad_row_is_named_by_its_page_and_its_id() -> None:
    bad = b'{"digitalPersonWorksId":7,"new":1,"fee":{},"name":["\\u0000"]}'
    with pytest.raises(DecodeError) as caught:
        TableReader("work_list", Work, keep=False)(page(bad))
    assert str(caught.value) == (
        "work_list, page 7 of 50 rows: the row with id 7 cannot be read: Expected `str | null`, "
        "got `array` - at `$.data.content[?@.digitalPersonWorksId==7].name`"
    )
    assert (caught.value.page_num, caught.value.request_id) == (7, "abc")
    read = TableReader("work_list", Work, keep=True)
    assert read(page(bad, b'{"digitalPersonWorksId":8,"name":"\\u0000"}'))["name"].to_pylist() == [
        "\ufffd"
    ]
    assert [(one.id, one.raw, one.page_num) for one in read.bad_items] == [(7, bad, 7)]


class TooDeep:
    def decode(self, row: Raw) -> Any:
        raise RecursionError


def test_a_row_that_is_nested_too_deeply_is_a_bad_one() -> None:
    good = b'{"digitalPersonWorksId":8}'
    read = TableReader("work_list", Work, keep=True)
    with pytest.raises(
        DecodeError, match="a row cannot be read: nested too deeply"
    ):  # its id cannot be read either
        read(page(good, b'{"digitalPersonWorksId":7,"fee":%b}' % DEEP))
    vars(read)["_one"] = TooDeep()  # how deep is too deep depends on the stack of the moment
    read(page(b'{"digitalPersonWorksId":7,"fee":1,"name":1}'))
    (item,) = read.bad_items
    assert item.id == 7
    assert "nested too deeply - at `$.data.content[?@.digitalPersonWorksId==7]`" in item.problem


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in [*sys.modules]:
        if name.startswith("dp_async.tables"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"dp_async.tables .* pip install 'dp_async\[arrow\]'"):
        importlib.import_module("dp_async.tables")


class Failing:
    """A strict crawl that read all of its list and is not complete: it has a watermark."""

    watermark = Watermark.start("list")
    bad_items: Sequence[BadItem] = ()

    def __init__(self, report: CrawlReport) -> None:
        self.report = report

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def pages(self) -> AsyncGenerator[Page[Raw], None]:
        yield page(b'{"digitalPersonWorksId":1}')
        raise IncompleteCrawl(self.report)


async def test_a_crawl_that_ended_in_an_error_has_rows_and_no_watermark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = Simulator(works=0, messages=0)
    plan = Plan([""], full=False, reconcile=False, allowed_lateness=2, at_once=1, progress=None)
    of = List("works", "work_list", Work, Client.works)
    async with Client(simulator.in_process_settings, send=simulator.send) as client:
        failing = Failing(client.works().crawl().report)

        def since(*given: object) -> Failing:
            return failing

        monkeypatch.setattr(List, "since", since)
        reading = Reading(of, client, "", plan, None)
        pieces = [piece.num_rows async for piece in reading.pieces(lambda rows: rows)]
    assert pieces == [1]
    assert isinstance(reading.error, IncompleteCrawl)
    assert reading.watermark is None
