"""Rows that cannot be read, in each consumer alike: all others arrive, the bad ones are named."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import csv
import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pytest
from anyio.from_thread import start_blocking_portal
from pyarrow import parquet

from dp_async import Client, CrawlOptions, DecodeError, Response, arrow
from dp_async.cli import main
from dp_async.testing import AnswerFault, Simulator
from dp_async.testing._faults import Good

KEEP = CrawlOptions(on_bad_item="keep")
#: What stands in a row in place of its name, and makes it a bad one, whatever the type of items.
UNREADABLE = {
    "utf8": b'"name":"\xb2\xe2"',
    "surrogate": rb'"name":"nice \ud83d"',
    "nameless": b'"digitalPersonWorksId":null',
    "wide": b'"digitalPersonWorksId":%d' % 2**70,
}
#: The same for items with the documented fields. A line of NDJSON is the row as it was sent.
UNDOCUMENTED = {
    "range": b'"duration":1e400',
    "large": b'"userId":%d' % 2**63,
    "type": b'"duration":"long"',
    "array": b'"works_url":1,"worksUrl":[]',
}
BAD = UNREADABLE | UNDOCUMENTED
GOOD = 20


@dataclass(frozen=True, slots=True)
class Spoiled(AnswerFault):
    """The rows whose names are keys of BAD are bad."""

    def answer(self, good: Good) -> Response:
        def spoiled(found: re.Match[bytes]) -> bytes:
            return BAD.get(found[1].decode(), found[0])

        return replace(good.response, body=re.sub(rb'"name":"(\w+)"', spoiled, good.response.body))


@pytest.fixture
def simulator() -> Simulator:
    simulator = Simulator(works=GOOD - 1, messages=3)
    for name in BAD:
        simulator.works.insert(name=name)
    simulator.works.insert(name="fine")
    simulator.fail(Spoiled(), times=None, endpoint="work_list")
    return simulator


Cli: TypeAlias = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def cli(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Cli]:
    """Runs a command in this process; its exit code and its outputs."""

    def run(line: str) -> tuple[int, str, str]:
        code = main(shlex.split(line))
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulator):
        monkeypatch.setenv("DP_BASE_URL", simulator.url)
        monkeypatch.setenv("DP_APP_ID", "simulated-app")
        monkeypatch.setenv("DP_APP_SECRET", "simulated-secret")
        yield run


# In Arrow


async def test_a_table_lacks_the_bad_rows_and_says_so(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    readable = CrawlOptions(on_bad_item="keep", verify=False)  # two of them have no id
    async with Client(simulator.in_process_settings, send=simulator.send) as client:
        with caplog.at_level(logging.WARNING, "dp_async"):
            table = await arrow.to_table(client.works(options=readable))
        assert table.num_rows == GOOD
        assert f"{len(BAD)} rows could not be read, and the table lacks them" in caplog.text
        async with client.works(options=KEEP).crawl() as crawl:
            assert sum([batch.num_rows async for batch in arrow.batches(crawl)]) == GOOD
            assert crawl.report.bad_items == len(BAD)
        with pytest.raises(DecodeError, match=r"^work_list, page 1 of 100 rows: "):
            await arrow.to_table(client.works())


# On the command line


def rows_in(path: Path) -> int:
    if path.suffix == ".csv":
        return len(list(csv.DictReader(path.read_text("utf-8").splitlines())))
    if path.suffix == ".parquet":
        return parquet.read_table(path).num_rows
    return len([json.loads(each) for each in path.read_text("utf-8").splitlines()])


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson"])
def test_a_file_holds_all_other_rows(cli: Cli, tmp_path: Path, suffix: str) -> None:
    left_out = UNREADABLE if suffix == "ndjson" else BAD
    path = tmp_path / f"works.{suffix}"
    code, out, err = cli(f"works --output {path}")
    assert (code, out, path.exists()) == (1, "", False)
    assert err.startswith("dp-async: work_list, page 1 of 100 rows: the ")
    code, out, err = cli(f"works --on-bad-item keep --output {path}")
    assert (code, out) == (4, "")
    assert rows_in(path) == GOOD + len(BAD) - len(left_out)
    *lines, summary = err.splitlines()
    assert len(lines) == len(left_out)
    assert all(each.startswith("dp-async: left out, on page 1: work_list: the ") for each in lines)
    assert f"NOT complete, {len(left_out)} bad rows: 2 rows have no id" in summary


def test_a_table_shows_all_other_rows(cli: Cli) -> None:
    code, out, err = cli("works --format table --on-bad-item keep")
    assert (code, len(out.splitlines()) - 5) == (4, GOOD)
    assert err.count("left out") == len(BAD)


def test_a_list_without_bad_rows_is_done(cli: Cli) -> None:
    code, out, err = cli("messages --on-bad-item keep")
    assert (code, len(out.splitlines()), err) == (0, 3, "")


def test_many_bad_rows_are_counted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_async.cli._progress.NAMED", 3)
    _, _, err = cli("works --format csv --on-bad-item keep")
    assert len(err.splitlines()) == 5
    assert err.splitlines()[3] == f"dp-async: left out: {len(BAD) - 3} other bad rows"


def test_a_choice_that_is_none_is_refused(cli: Cli) -> None:
    for command in ("works", "messages", "sync"):
        code, _, err = cli(f"{command} --on-bad-item ignore")
        assert code == 2
        assert "raise" in err


def test_a_sync_loads_all_other_rows(cli: Cli, simulator: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "synced"
    code, out, err = cli(f"sync --to {folder}")
    assert code == 1
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["proven", "FAILED"]
    assert err.startswith("dp-async: works of main: work_list, page 1 of 100 rows: the ")
    assert rows_in(folder / "messages.parquet") == 3
    code, out, err = cli(f"sync --to {folder} --on-bad-item keep")
    assert code == 3  # two of them have no id, so the list is not known to be complete
    assert rows_in(folder / "works.parquet") == GOOD
    assert f"NOT complete, {len(BAD)} bad rows" in out
    assert err.count("dp-async: works of main: left out, on page 1: work_list: the ") == len(BAD)
    simulator.heal()
    simulator.works.insert(duration="long")
    code, out, err = cli(f"sync --to {folder} --on-bad-item keep --reconcile")
    assert code == 4
    assert "complete, proven, 1 bad row\n" in out
    assert err.count("left out") == 1
