"""``--since FILE`` and ``dp-async watch``: a watermark in a file, rows as they come."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from dp_async import Client, DecodeError, Listing, Watermark, Work
from dp_async.cli import _since, _watch, main
from dp_async.cli._flags import FeedFlags
from dp_async.testing import AuthFailure, LyingTotals, Reset, Simulator

Ended: TypeAlias = tuple[int, list[int], str]
Cli: TypeAlias = Callable[[str], Awaitable[Ended]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=230, messages=30) as running:
        yield running


@pytest.fixture
def cli(
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Cli:
    """Runs a command in *tmp_path*: its code, the ids of its rows, and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_BASE_URL", simulator.url)
    monkeypatch.setenv("DP_APP_ID", "simulated-app")
    monkeypatch.setenv("DP_APP_SECRET", "simulated-secret")

    async def run(line: str) -> Ended:
        code = await asyncio.to_thread(main, shlex.split(line))
        out, err = capfd.readouterr()
        return code, ids(out), err

    return run


def ids(lines: str) -> list[int]:
    rows = [msgspec.json.decode(line, type=dict[str, object]) for line in lines.splitlines()]
    return [int(str(row["digitalPersonWorksId"])) for row in rows]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_each_run_writes_what_changed_since_the_last(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    assert await cli("works --since mark") == (0, list(simulator.works.ids()), "")
    assert await cli("works --since mark") == (0, [], "")
    new, old = simulator.works.insert(), simulator.works.ids()[100]
    simulator.works.update(old, status="FAIL")
    assert await cli("works --since mark --output changes.ndjson") == (0, [], "")
    assert sorted(ids((tmp_path / "changes.ndjson").read_text())) == sorted([new, old])
    assert await cli("works --since mark") == (0, [], "")
    assert names(tmp_path) == ["changes.ndjson", "mark"]
    assert Watermark.from_json((tmp_path / "mark").read_text()).updated > 0


async def test_a_limit_leaves_the_rest_for_the_next_run(cli: Cli, simulator: Simulator) -> None:
    await cli("works --since mark")
    new = {simulator.works.insert() for _ in range(9)}
    first = (await cli("works --since mark --limit 4"))[1]
    later = (await cli("works --since mark"))[1]
    assert len(first) == 4
    assert {*first, *later} == new


async def test_a_run_that_fails_leaves_the_file_as_it_was(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    await cli("works --since mark")
    before = (tmp_path / "mark").read_bytes()
    new = simulator.works.insert()
    simulator.fail(AuthFailure(), times=1)
    assert (await cli("works --since mark"))[0] == 1
    assert (tmp_path / "mark").read_bytes() == before
    assert (await cli("works --since mark"))[1] == [new]


async def test_with_strict_an_incomplete_run_keeps_nothing(
    cli: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.fail(LyingTotals(500), times=None)
    assert (await cli("works --strict --since mark"))[0] == 3
    assert names(tmp_path) == []


REFUSED = {
    "works --since bad": "--since bad: it is not a watermark of this version, or is damaged",
    "messages --since mark": "--since mark: the watermark is of another list",
    "works --status FAIL --since mark": "--since mark: the watermark is of another list",
    "works --sort asc --since mark": "--since mark: sort=ASC: ",
    "works --no-verify --since mark": "--since and --no-verify exclude each other",
    "works --since no/mark": "--since no/mark: there is no such folder",
    "works --since ''": "--since: it must name a file",
    "works --since folder": "--since folder: Is a directory",
    "works --since both --output both": "--since and --output must be two files",
    "works --output rows.xlsx": "--output: .xlsx is no format that this command writes; use .csv, ",
    "works --output rows.json": "--output: .json is no format",
    "watch works --since bad": "--since bad: it is not a watermark",
    "watch works --since ''": "--since: it must name a file",
    "watch works --sort ASC": "sort=ASC: ",
    "watch messages --since mark": "--since mark: the watermark is of another list",
}


@pytest.mark.parametrize("line", REFUSED)
async def test_what_cannot_work_is_one_line(
    cli: Cli, simulator: Simulator, tmp_path: Path, line: str
) -> None:
    await cli("works --since mark")
    (tmp_path / "bad").write_bytes(b"\xffrows")
    (tmp_path / "folder").mkdir()
    requests = len(simulator.requests)
    code, rows, err = await cli(line)
    assert (code, rows, err.count("\n")) == (2, [], 1)
    assert err.startswith(f"dp-async: {REFUSED[line]}")
    assert len(simulator.requests) == requests


@pytest.mark.parametrize("ending", ["ndjson", "JSONL", "out", ""])
async def test_the_ending_is_a_format_or_format_is_given(
    cli: Cli, simulator: Simulator, tmp_path: Path, ending: str
) -> None:
    flag = "--format ndjson" if ending == "out" else ""
    file = tmp_path / f"rows{ending and '.'}{ending}"
    assert (await cli(f"works {flag} --output {file}"))[0] == 0
    assert ids(file.read_text()) == list(simulator.works.ids())


def test_no_watermark_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    kept = _since.Kept(tmp_path / "mark")
    kept.replace(None)
    kept.replace(Watermark.start("0" * 24))
    text = (tmp_path / "mark").read_text()
    (tmp_path / "mark").unlink()
    kept.replace(Watermark.from_json(text))  # there already
    assert names(tmp_path) == []


# The feed


class Feed:
    """A ``watch`` that runs: ``rows`` are the ids it has written, ``said`` its other lines."""

    def __init__(self, task: asyncio.Task[object], capfd: pytest.CaptureFixture[str]) -> None:
        self.task = task
        self._capfd = capfd
        self.text = self.said = ""

    async def end(self) -> None:
        """As a signal ends it."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def wrote(self, key: int) -> None:
        await self.until(lambda feed: key in ids(feed.text))

    async def until(self, condition: Callable[["Feed"], bool]) -> None:
        while not condition(self):
            assert not self.task.done(), self.task.exception()
            await asyncio.sleep(0.01)
            out, err = self._capfd.readouterr()
            self.text, self.said = self.text + out, self.said + err


@pytest.fixture
async def watching(
    simulator: Simulator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> AsyncIterator[Callable[[FeedFlags], Feed]]:
    """Starts ``watch works`` with these flags, but for a poll every 10 ms."""
    running: list[asyncio.Task[object]] = []

    def start(flags: FeedFlags) -> Feed:
        feed = replace(flags.feed(), every=0.01)
        running.append(asyncio.ensure_future(_watch.watch(client.works(), Work, feed)))
        return Feed(running[-1], capfd)

    async with Client(simulator.settings) as client:
        yield start
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


Watching: TypeAlias = Callable[[FeedFlags], Feed]


async def test_a_feed_writes_each_change_and_goes_on_from_its_file(
    watching: Watching, simulator: Simulator, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    feed = watching(FeedFlags(since=mark, format="ndjson"))
    await feed.until(lambda _: len(simulator.requests) >= 2)
    await feed.end()  # without a row
    known = {*simulator.works.ids()}
    for _ in range(2):
        missed = simulator.works.insert()
        feed = watching(FeedFlags(since=mark))
        await feed.wrote(missed)
        seen = simulator.works.insert()
        await feed.wrote(seen)
        await feed.end()
        assert not known & {*ids(feed.text)}
        known |= {missed}


async def test_a_feed_says_what_it_waits_for(watching: Watching, simulator: Simulator) -> None:
    feed = watching(FeedFlags())
    await feed.until(lambda _: bool(simulator.requests))
    simulator.fail(Reset(), times=20)
    await feed.until(lambda feed: "dp-async: a watch waits for " in feed.said)
    assert feed.text == ""


async def test_a_feed_leaves_out_bad_rows_or_ends(watching: Watching, simulator: Simulator) -> None:
    feeds = [watching(FeedFlags(on_bad_item=each, format="csv")) for each in ("keep", "raise")]
    await feeds[0].until(lambda _: len(simulator.requests) >= 2)
    simulator.works.insert(duration="long")
    await feeds[0].until(lambda feed: "dp-async: left out, on page 1: " in feed.said)
    with pytest.raises(DecodeError, match="duration"):
        await feeds[1].task


@pytest.mark.parametrize("terminal", [True, False])
async def test_a_feed_is_a_table_on_a_terminal(
    watching: Watching, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    feed = watching(FeedFlags(format=None if terminal else "csv"))
    await feed.until(lambda _: len(simulator.requests) >= 2)
    key = simulator.works.insert(name="新")
    await feed.until(lambda feed: str(key) in feed.text)
    assert ("works_id    name" in feed.text) is terminal
    assert ("digital_person_works_id,name" in feed.text) is not terminal


async def test_a_feed_without_rows_that_ends_is_done(simulator: Simulator) -> None:
    class Ending:
        watermark = None

        def __init__(self, *given: object, **named: object) -> None: ...
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *error: object) -> None: ...
        def __aiter__(self) -> "Ending":
            return self

        async def __anext__(self) -> None:
            raise StopAsyncIteration

    async with Client(simulator.settings) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Listing, "watch", Ending)
            assert await _watch.watch(client.works(), Work, FeedFlags().feed()) == 0


@pytest.mark.parametrize("words", ["works", "messages"])
async def test_the_command_runs_until_an_error(
    cli: Cli, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("DP_APP_SECRET", "another")
    code, rows, err = await cli(f"watch {words} --every 1")
    assert (code, rows) == (1, [])
    assert "401" in err
