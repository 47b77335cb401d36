"""The commands, run in this process against a simulated server."""
# pyright: reportUnknownMemberType=false

import asyncio
import csv
import errno
import io
import os
import select
import shlex
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import msgspec
import pytest
from pyarrow import parquet

from dp_async import Client, CrawlOptions, CrawlReport, DpError, Message, Work, __version__, arrow
from dp_async._call.stats import ClientStats
from dp_async.cli import _output, _run, main
from dp_async.cli._export import Target
from dp_async.cli._progress import proof, summary
from dp_async.testing import Body, LyingTotals, Simulator

SECRET = "simulated-secret"
#: Every page says that more follow, so the end of the list cannot be proven.
NO_END = LyingTotals(500)


@dataclass(frozen=True)
class Ended:
    """The exit code and the outputs of a command."""

    code: int
    out: str
    err: str


Cli: TypeAlias = Callable[[str], Awaitable[Ended]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=230, messages=30) as running:
        yield running


@pytest.fixture
def cli(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Cli:
    """Runs a command in a thread, with the simulator's settings in the environment."""
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DP_BASE_URL", simulator.url)
    monkeypatch.setenv("DP_APP_ID", "simulated-app")
    monkeypatch.setenv("DP_APP_SECRET", SECRET)

    async def run(line: str) -> Ended:
        code = await asyncio.to_thread(main, shlex.split(line))
        out, err = capfdbinary.readouterr()
        ended = Ended(code, out.decode(), err.decode())
        assert SECRET not in ended.out + ended.err
        return ended

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def pipe() -> Generator[tuple[BinaryIO, BinaryIO]]:
    reader, writer = os.pipe()
    with open(reader, "rb") as source, open(writer, "wb", buffering=0) as sink:
        yield source, sink


def ids(lines: str) -> list[object]:
    rows = [msgspec.json.decode(line, type=dict[str, object]) for line in lines.splitlines()]
    return [row.get("digitalPersonWorksId", row.get("msgId")) for row in rows]


# Rows


async def test_piped_rows_are_ndjson_as_sent(cli: Cli, simulator: Simulator) -> None:
    key = simulator.works.insert(brandNew={"nested": [1.50, None]}, name="新\u2028品")
    ended = await cli("works")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.split("\n")
    assert lines.pop() == ""
    assert set(ids("\n".join(lines[1:]))) | {key} == set(simulator.works.ids())
    assert msgspec.json.decode(lines[0], type=dict[str, object])["brandNew"] == {
        "nested": [1.5, None]
    }


async def test_messages_are_filtered(cli: Cli, simulator: Simulator) -> None:
    ended = await cli("messages --read-status UNREAD")
    assert ids(ended.out) == list(simulator.messages.ids(readStatus="UNREAD"))


async def test_filters_and_paging_reach_the_server(cli: Cli, simulator: Simulator) -> None:
    words = "works --name 测 --status DRAFT --sort ASC --page-size 2 --concurrency 1 --limit 3"
    ended = await cli(words)
    assert ended.code == 0
    assert len(ids(ended.out)) == 3
    assert [seen.page_num for seen in simulator.requests] == [1, 2]
    assert {seen.page_size for seen in simulator.requests} == {2}
    assert simulator.requests[0].filters["name"] == "测"
    assert simulator.requests[0].filters["status"] == "DRAFT"


async def test_a_filter_takes_any_case_and_new_values(cli: Cli, simulator: Simulator) -> None:
    for words, name, value in (
        ("works --status in_Progress", "status", "IN_PROGRESS"),
        ("works --status other:New", "status", "New"),
        ("works --status OTHER:other:", "status", "other:"),
        ("messages --read-status unread", "readStatus", "UNREAD"),
    ):
        assert (await cli(f"{words} --limit 1")).code == 0
        assert simulator.requests[-1].filters[name] == value
    oldest, same, newest = [
        ids((await cli(f"works --limit 1 {sort}")).out)
        for sort in ("--sort asc", "--sort ASC", "--sort Desc")
    ]
    assert oldest == same != newest == [simulator.works.ids()[0]]


async def test_a_filter_that_is_no_choice_is_refused(cli: Cli, simulator: Simulator) -> None:
    works = "SUCCESS, DRAFT, IN_PROGRESS, FAIL (in any case), or other:VALUE for one that is new"
    for words, choices in (
        ("works --status SUCESS", works),
        ("works --status SUCCESS,FAIL", works),
        ("works --status other:", works),
        ("works --status ''", works),
        ("works --sort up", "ASC, DESC (in any case), or other:VALUE for one that is new"),
        ("messages --read-status no", "UNREAD, READ (in any case), or other:VALUE for one that "),
    ):
        ended = await cli(words)
        flag = words.split()[1]
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert ended.err.startswith(f"dp-async: {flag}: it must be {choices}")
    assert simulator.requests == []
    assert " ".join(works.split()[:4]) in " ".join((await cli("works --help")).out.split())


async def test_one_page_and_one_request_are_singular(cli: Cli) -> None:
    ended = await cli("works --limit 1 --page-size 1 --no-verify --verbose")
    assert ended.err.startswith("dp-async: 1 item in 1 page, 1 request, ")


@pytest.mark.parametrize("words", ["works", "messages", "works --page-size 10 --max-in-flight 3"])
async def test_concurrency_may_be_auto(
    cli: Cli, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    made: list[CrawlOptions] = []

    def make(**given: Any) -> CrawlOptions:
        made.append(CrawlOptions(**given))
        return made[0]

    monkeypatch.setattr("dp_async.cli._flags.CrawlOptions", make)
    ended = await cli(f"{words} --concurrency auto --strict")
    assert made[0].concurrency == "auto"
    rows = simulator.messages if words == "messages" else simulator.works
    assert (ended.code, ended.err) == (0, "")
    assert ids(ended.out) == list(rows.ids())
    assert simulator.max_in_flight <= (3 if "3" in words else 16)


async def test_the_suffix_selects_csv(cli: Cli, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "works.CSV"
    ended = await cli(f"works --output {file}")
    assert ended == Ended(0, "", "")
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))
    found = [int(row["digital_person_works_id"]) for row in rows]
    assert found == list(simulator.works.ids())


@pytest.mark.parametrize("words", ["--output works.Parquet", "--format parquet --output rows"])
async def test_parquet_has_groups_of_rows(
    cli: Cli, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dp_async.cli._parquet.GROUP", 150)
    monkeypatch.setattr("dp_async.cli._parquet.BATCH", 100)
    ended = await cli(f"works {words}")
    assert ended == Ended(0, "", "")
    file = parquet.ParquetFile(tmp_path / words.split()[-1])
    assert file.metadata.num_row_groups == 2
    table = file.read()
    assert table["digital_person_works_id"].to_pylist() == simulator.works.ids()
    assert table.schema == arrow.schema(Work)


@pytest.mark.parametrize("output", [None, object(), io.StringIO()], ids=["none", "object", "text"])
def test_an_output_without_a_descriptor_is_no_file(
    monkeypatch: pytest.MonkeyPatch, output: object
) -> None:
    monkeypatch.setattr(sys, "stdout", output)
    assert not Target().to_file


async def test_parquet_without_rows_has_columns(cli: Cli, tmp_path: Path) -> None:
    ended = await cli(f"messages --limit 0 --output {tmp_path / 'none.parquet'}")
    assert ended == Ended(0, "", "")
    assert parquet.read_table(tmp_path / "none.parquet").schema == arrow.schema(Message)


async def test_parquet_without_pyarrow_names_the_extra(
    cli: Cli, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_async.cli._parquet", None)
    ended = await cli("works --format parquet")
    message = "dp-async: --format parquet needs pyarrow, an extra: pip install 'dp_async[arrow]'\n"
    assert ended == Ended(2, "", message)
    assert simulator.requests == []


async def test_parquet_is_refused_on_a_terminal(
    cli: Cli, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_async.cli._export.Target.on_terminal", True)
    ended = await cli("works --format parquet")
    message = "dp-async: --format parquet is not for a terminal: use --output FILE\n"
    assert ended == Ended(2, "", message)
    assert simulator.requests == []


async def test_a_table_without_a_terminal(cli: Cli) -> None:
    ended = await cli("works --format table --limit 2")
    assert ended.out.splitlines()[-1].startswith("(not shown: ")
    assert "测试OpenApi的作品" in ended.out


async def test_limit_zero_sends_no_request(cli: Cli, simulator: Simulator) -> None:
    ended = await cli("works --limit 0 --format csv")
    assert ended.code == 0
    assert ended.out.startswith("digital_person_works_id,")
    assert simulator.requests == []


# Completeness


VERDICTS = [
    ("", 4, "complete, proven: as many rows were read as the list held at one moment"),
    ("--overlap 0", 4, "complete, proven: as many rows were read as the list held at one moment"),
    ("--overlap 9", 4, "complete, proven: linked pages lead from one end of the list to the other"),
    ("--no-verify", 3, "not known to be complete: not verified"),
    ("--no-verify --strict", 3, "not known to be complete: not verified"),
    ("--limit 231 --strict", 4, "complete, proven: as many rows were read as the list held"),
    ("--limit 201 --strict", 3, "not known to be complete: stopped at the limit of 201 items"),
]


@pytest.mark.parametrize(("words", "requests", "verdict"), VERDICTS)
async def test_the_summary_has_the_verdict(
    cli: Cli, words: str, requests: int, verdict: str
) -> None:
    ended = await cli(f"works --verbose {words}")
    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert f" in 3 pages, {requests} requests, " in ended.err
    bears = ", even if rows appear a day late"
    assert (bears in ended.err) is verdict.startswith("complete")
    assert f" s; {verdict}" in ended.err.replace(bears, "")


@dataclass
class Limited:
    stats: ClientStats


REPORT = CrawlReport(
    complete=True,
    reason="so it is",
    items=2,
    pages=1,
    requests=1,
    retries=0,
    passes=1,
    duplicates=0,
    bad_items=0,
    total_elements=2,
    drifted=False,
    margin=None,
    max_in_flight=1,
    elapsed=1.0,
)


@pytest.mark.parametrize(
    ("limit", "pace", "words"),
    [
        (None, None, "so it is"),
        (None, 49.7, "so it is; the server allowed about 50 requests a second"),
        (8, None, "so it is; the server allowed about 8 requests at once"),
        (1, 3.2, "so it is; the server allowed about 3 requests a second"),
    ],
)
def test_the_summary_says_what_the_server_allowed(
    limit: int | None, pace: float | None, words: str
) -> None:
    stats = ClientStats(requests=1, retries=0, throttles=0, in_flight=0, limit=limit, pace=pace)
    client = cast("Client", Limited(stats))
    assert summary(REPORT, client).partition("proven: ")[2] == words


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        (3.2, ", even if rows appear up to 3 s late"),
        (86_400.0, ", even if rows appear a day late"),
        (inf, ""),
    ],
)
def test_the_summary_says_what_the_proof_bears(margin: float, words: str) -> None:
    assert proof(replace(REPORT, margin=margin)) == words


@pytest.mark.parametrize("words", ["works --strict", "messages"])
async def test_a_complete_crawl_prints_no_summary(cli: Cli, words: str) -> None:
    ended = await cli(words)
    assert (ended.code, ended.err) == (0, "")


async def test_an_incomplete_crawl_prints_its_summary(cli: Cli, simulator: Simulator) -> None:
    simulator.fail(NO_END, times=None)
    ended = await cli("works")
    assert sorted(map(str, ids(ended.out))) == sorted(map(str, simulator.works.ids()))
    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert " s; NOT complete: " in ended.err


async def test_strict_has_its_own_exit_code_and_keeps_the_file(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "works.ndjson"
    file.write_text("before")
    simulator.fail(NO_END, times=None)
    ended = await cli(f"works --strict --output {file}")
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert ended.err.startswith("dp-async: the crawl is not complete: ")
    assert (file.read_text(), files(tmp_path)) == ("before", ["works.ndjson"])


# Files


async def test_a_file_is_replaced_at_the_end(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "works.ndjson"
    file.write_text("before")
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file.name)
    assert (await cli(f"works --output {link}")).code == 0
    assert len(file.read_text().splitlines()) == 230
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert files(tmp_path) == ["link", "works.ndjson"]


async def test_a_failed_crawl_keeps_the_file(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "works.ndjson"
    file.write_text("before")
    simulator.fail(Body(b"{}"), times=None, page=3)
    ended = await cli(f"works --output {file}")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert file.read_text() == "before"
    assert files(tmp_path) == ["works.ndjson"]


async def test_a_device_is_written_directly(cli: Cli) -> None:
    assert (await cli("works --output /dev/null")).code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


async def test_a_full_disk_is_one_line(cli: Cli) -> None:
    ended = await cli("works --output /dev/full")
    assert ended == Ended(1, "", "dp-async: /dev/full: No space left on device\n")


async def test_an_output_without_a_name_is_refused_before_any_request(cli: Cli) -> None:
    ended = await cli("works --output ''")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "dp-async: --output: it must name a file\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nowhere/x", "No such file or directory"), (".", "Is a directory")],
)
async def test_an_output_that_cannot_be_opened_is_one_line(
    cli: Cli, tmp_path: Path, name: str, problem: str, simulator: Simulator
) -> None:
    ended = await cli(f"works --output {tmp_path / name}")
    assert ended == Ended(1, "", f"dp-async: {tmp_path / name}: {problem}\n")
    assert simulator.requests == []


# Settings


async def test_flags_override_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(
        works=3,
        messages=0,
        app_id="other-app",
        auth_template="{timestamp}{app_secret}",
        timestamp_unit="s",
        accounts=["19900000000"],
    )
    async with simulator:
        words = f"works --base-url {simulator.url} --app-id other-app --account 19900000000"
        words += " --auth-template {timestamp}{app_secret} --timestamp-unit s"
        words += " --timeout 5 --max-in-flight 2 --rate 1000 --allow-http"
        assert len(ids((await cli(words)).out)) == 3
        assert simulator.requests[0].headers["account"] == "19900000000"
        monkeypatch.setenv("DP_BASE_URL", simulator.url)
        monkeypatch.setenv("DP_APP_ID", "other-app")
        monkeypatch.setenv("DP_ACCOUNT", "")
        monkeypatch.setenv("DP_AUTH_TEMPLATE", "{timestamp}{app_secret}")
        monkeypatch.setenv("DP_TIMESTAMP_UNIT", "s")
        assert len(ids((await cli("works")).out)) == 3
        assert "account" not in simulator.requests[-1].headers


async def test_an_empty_variable_counts_as_not_set(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT"):
        monkeypatch.setenv(name, "")
    assert (await cli("works --limit 1")).code == 0
    for name, words in (
        ("DP_SYNC_TO", "sync"),
        ("DP_APP_SECRET", "works"),
        ("DP_APP_ID", "works"),
        ("DP_BASE_URL", "works"),
    ):
        monkeypatch.setenv(name, "")
        assert (await cli(words)).err.startswith(f"dp-async: {name} is not set: ")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
async def test_the_secret_may_be_in_a_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, end: bytes
) -> None:
    monkeypatch.delenv("DP_APP_SECRET")
    file = tmp_path / "secret"
    file.write_bytes(start + SECRET.encode() + end)
    assert (await cli(f"messages --secret-file {file}")).code == 0


async def test_blanks_around_a_secret_in_a_file_are_refused(
    cli: Cli, tmp_path: Path, simulator: Simulator
) -> None:
    file = tmp_path / "secret"
    problem = "--secret-file: there are blanks or line breaks around the secret; remove them"
    for text in ("{}\n\n", "{} ", " {}\n", "\n{}", "{}\r\n\r\n", "{}\u3000"):
        file.write_text(text.format(SECRET), newline="")
        ended = await cli(f"messages --secret-file {file}")
        assert ended == Ended(2, "", f"dp-async: {problem}\n"), text
    assert simulator.requests == []


async def test_an_unreadable_secret_file_is_one_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    ended = await cli(f"works --secret-file {file}")
    problem = "dp-async: --secret-file cannot be read: "
    assert ended == Ended(2, "", f"{problem}No such file or directory\n")
    file.write_bytes(SECRET.encode() + b"\xff")
    assert await cli(f"works --secret-file {file} --debug") != ended
    ended = await cli(f"works --secret-file {file}")
    assert ended == Ended(2, "", f"{problem}it is not UTF-8 text\n")


@pytest.mark.parametrize("name", ["DP_BASE_URL", "DP_APP_ID", "DP_APP_SECRET"])
async def test_a_missing_setting_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    ended = await cli("works")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"dp-async: {name} is not set: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "works --page-size 0",
        "works --overlap 51",
        "messages --page-size 9 --overlap 5",
        "works --rate 0",
        "works --base-url http://example.com",
        "works --auth-template {app_id}",
        "works --concurrency 0",
        "demo --concurrency 0",
    ],
)
async def test_an_invalid_setting_is_one_line(cli: Cli, words: str) -> None:
    ended = await cli(words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("dp-async: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "--bogus",
        "works --app-secret=hunter2",
        "works --limit x",
        "works --overlap x",
        "works --concurrency x",
        "demo --concurrency automatic",
        "demo --works -1",
        "works 5",
    ],
)
async def test_wrong_usage_has_its_exit_code(cli: Cli, words: str) -> None:
    ended = await cli(words)
    assert (ended.code, ended.out) == (2, "")
    assert "hunter2" not in ended.err
    assert "Traceback" not in ended.err


PRIVATE = [
    "works --account '+8619912345678\r\nx-evil: 1'",
    "works --account +8619912345678张",
    "works --base-url https://user:+8619912345678@host",
    "works --base-url https://host/?+8619912345678",
    "works --auth-template +8619912345678{app_secret}",
    "works --auth-template +8619912345678{",
]


@pytest.mark.parametrize("debug", ["", " --debug"])
@pytest.mark.parametrize("words", PRIVATE)
async def test_an_invalid_setting_is_not_shown(cli: Cli, words: str, debug: str) -> None:
    ended = await cli(words + debug)
    assert (ended.code, ended.out) == (2, "")
    assert "19912345" not in ended.err
    assert "evil" not in ended.err
    assert "Traceback" in ended.err if debug else ended.err.count("\n") == 1


# Errors


async def test_a_wrong_secret_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DP_APP_SECRET", "wrong-secret")
    ended = await cli("works --debug")
    assert (ended.code, ended.out) == (1, "")
    assert "Traceback" in ended.err
    assert "wrong-secret" not in ended.err
    brief = await cli("works")
    assert brief.err.startswith("dp-async: work_list, page 1 of ")
    assert " rows: the server answered 401" in brief.err
    assert brief.err.count("\n") == 1


async def test_a_wrong_path_is_one_line(cli: Cli, simulator: Simulator) -> None:
    ended = await cli(f"works --base-url {simulator.url}/openApiDigitalPerson/customer/x")
    assert ended.code == 1
    assert ended.err.count("\n") == 1


async def test_control_characters_of_a_server_are_escaped(cli: Cli, simulator: Simulator) -> None:
    simulator.fail(Body(b'{"code":412,"resultMsg":"\\u001b[2J\\nno","data":null}'))
    ended = await cli("works")
    assert ended.code == 1
    assert "\x1b" not in ended.err
    assert ended.err.count("\n") == 1


async def test_a_bug_is_raised() -> None:
    async def bug() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(_run.execute, bug(), debug=False)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError("odd"), 1, "odd"),
        (OSError(errno.EADDRINUSE, "address in use"), 1, "address in use"),
        (DpError("no"), 1, "no"),
    ],
)
async def test_an_error_is_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing() -> int:
        raise error

    assert await asyncio.to_thread(_run.execute, failing(), debug=False) == code
    assert capsys.readouterr().err == f"dp-async: {line}\n"


# Simulated servers


async def test_the_demo_prints_a_summary(cli: Cli) -> None:
    ended = await cli("demo --works 250 --messages 30 --latency 1 --page-size 50")
    assert (ended.code, ended.err) == (0, "")
    heading, works, messages, *reasons = (line.split() for line in ended.out.splitlines())
    assert heading[:4] == ["list", "items", "pages", "requests"]
    assert works[:3] == ["works", "250", "5"]
    assert messages[:3] == ["messages", "30", "1"]
    assert [heading[-1], works[-2:], messages[-2:]] == ["verdict", *[["complete,", "proven"]] * 2]
    assert [" ".join(reason) for reason in reasons] == [
        "works: as many rows were read as the list held at one moment",
        "messages: the whole list came in one answer",
    ]


async def test_the_demo_takes_auto_concurrency(cli: Cli) -> None:
    ended = await cli("demo --works 250 --messages 30 --latency 1 --page-size 5 --concurrency auto")
    assert (ended.code, ended.err) == (0, "")
    _, works, messages, *_ = (line.split() for line in ended.out.splitlines())
    assert works[:3] == ["works", "250", "50"]
    assert messages[:3] == ["messages", "30", "6"]


async def test_the_demo_fails_when_rows_are_missing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_more(rows: object) -> int:
        return 31

    monkeypatch.setattr("dp_async.testing.SimulatedList.__len__", one_more)
    ended = await cli("demo --works 30 --messages 31 --latency 0")
    assert ended.code == 1
    assert ended.err == "dp-async: works: 30 of 31 items were read\n"


async def test_a_port_in_use_is_one_line(cli: Cli, simulator: Simulator) -> None:
    port = simulator.url.rpartition(":")[2]
    ended = await cli(f"simulate --port {port}")
    assert (ended.code, ended.out) == (1, "")
    assert "address already in use" in ended.err
    assert ended.err.count("\n") == 1


# Help, signals and streams


async def test_help_and_version_are_printed(cli: Cli) -> None:
    assert (await cli("--version")).out == f"{__version__}\n"
    for words in ("", "--help", "works --help"):
        ended = await cli(words)
        assert (ended.code, ended.err) == (0, "")
        assert "130 Ctrl-C" in ended.out.replace("\n", " ")


def test_a_cancelled_command_is_an_interrupted_one() -> None:
    def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(KeyboardInterrupt):
        _run.guarded(cancelled)


def test_a_closed_pipe_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def printing() -> int:
        stream.write("help")
        return 0

    with pipe() as (source, sink), open(os.devnull, "w") as errors:
        source.close()
        with open(os.dup(sink.fileno()), "w") as stream:
            monkeypatch.setattr("sys.stdout", stream)
            monkeypatch.setattr("sys.stderr", errors)
            assert _run.guarded(printing) == 141
            monkeypatch.undo()
            assert os.path.samestat(os.fstat(stream.fileno()), os.stat(os.devnull))


def test_a_closed_pipe_for_which_rich_exits_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def printing() -> int:
        raise SystemExit(1)  # as rich does when the help is printed

    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as sys.stdout, open(os.devnull, "w") as sys.stderr:
        code = _run.guarded(printing)
    sys.stdout, sys.stderr = before
    assert (code, *capfd.readouterr()) == (141, "", "")


async def test_a_closed_pipe_is_raised() -> None:
    async def writing() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await asyncio.to_thread(_run.execute, writing(), debug=False)


async def test_simulate_prints_how_to_reach_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(simulator: Simulator, *, ready: Callable[[Simulator], object]) -> None:
        async with simulator:
            ready(simulator)

    monkeypatch.setattr("dp_async.cli._simulator.serve", serve)
    assert await asyncio.to_thread(main, ["simulate", "--works", "3", "--port", "0"]) == 0
    assert "export DP_BASE_URL=http://127.0.0.1:" in capfd.readouterr().out


@pytest.mark.parametrize("missing", ["cyclopts", "rich", "another"])
def test_a_missing_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "dp_async.cli._app":
                raise ModuleNotFoundError(name=missing)

    monkeypatch.delitem(sys.modules, "dp_async.cli._app")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    if missing == "another":
        with pytest.raises(ModuleNotFoundError):
            main([])
    else:
        assert main([]) == 2
        assert "pip install 'dp_async[cli]'" in capsys.readouterr().err


async def test_a_cancelled_file_is_deleted(tmp_path: Path) -> None:
    async def stuck() -> None:
        with _output.opened(tmp_path / "rows") as output:
            await output.write(b"half")
            assert len(files(tmp_path)) == 1
            task.cancel()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []


async def test_a_slow_reader_does_not_block_the_loop() -> None:
    data = bytes(range(256)) * 1000
    with pipe() as (source, sink):
        writing = asyncio.create_task(_output.Output(sink.fileno(), "pipe").write(data))
        while select.select([], [sink], [], 0)[1]:
            await asyncio.sleep(0)
        assert not writing.done()  # the pipe is full, and this task still runs
        assert await asyncio.to_thread(source.read, len(data)) == data
        await writing


async def test_a_closed_reader_is_a_broken_pipe() -> None:
    with pipe() as (source, sink):
        source.close()
        with pytest.raises(BrokenPipeError):
            await _output.Output(sink.fileno(), "pipe").write(b"x")
