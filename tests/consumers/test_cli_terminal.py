"""The commands in this process, with both outputs on a pseudo-terminal."""

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dp_async.cli import main
from dp_async.testing import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=230, messages=5) as running:
        yield running


class Terminal:
    """A pseudo-terminal of 80 columns; ``show`` closes it and returns what was written."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.file = open(self._slave, "w")  # noqa: SIM115  # closed by show
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> str:
        shown = b""
        try:
            while data := os.read(self._master, 4096):
                shown += data
        except OSError:  # EIO: the other side is closed
            os.close(self._master)
        return shown.decode()

    async def show(self) -> str:
        self.file.close()
        return await self._reading


@pytest.fixture
async def on_terminal(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[str]]:
    monkeypatch.setenv("DP_BASE_URL", simulator.url)
    monkeypatch.setenv("DP_APP_ID", "simulated-app")
    monkeypatch.setenv("DP_APP_SECRET", "simulated-secret")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")

    async def run(*argv: str, stdout: Path | None = None) -> str:
        """What the terminal shows; standard output is a pipe or file at *stdout*, if given."""
        terminal = Terminal()
        with monkeypatch.context() as patch, ExitStack() as stack:
            if stdout is None:
                patch.setattr("sys.stdout", terminal.file)
            else:
                if stdout.name == "pipe":
                    os.mkfifo(stdout)
                    reader = os.open(stdout, os.O_RDONLY | os.O_NONBLOCK)
                    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 2**20)  # takes all rows
                    stack.callback(os.close, reader)
                patch.setattr("sys.stdout", stack.enter_context(stdout.open("w")))
            patch.setattr("sys.stderr", terminal.file)
            code = await asyncio.to_thread(main, argv)
        shown = await terminal.show()
        assert code == 0, shown
        return shown

    return run


async def test_rows_are_a_table(on_terminal: Callable[..., Awaitable[str]]) -> None:
    lines = (await on_terminal("messages")).splitlines()
    assert lines[1].split() == ["id", "status", "title", "content", "params", "update_time"]
    assert lines[-2].startswith("(not shown: ")
    assert lines[-1].startswith("dp-async: 5 items in 1 page, 1 request, ")


async def test_a_bar_shows_the_progress_of_a_file(
    on_terminal: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    file = tmp_path / "rows"
    shown = await on_terminal("works", "--limit", "150", "--output", str(file))
    assert "150/150" in shown
    assert len(file.read_bytes().splitlines()) == 150


async def test_no_bar_mixes_with_rows_in_a_pipe(
    simulator: Simulator, on_terminal: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    """A reader of the pipe may show them on the same terminal; a file does not."""
    shown = {name: await on_terminal("works", stdout=tmp_path / name) for name in ("pipe", "file")}
    assert shown["pipe"].startswith("dp-async: 230 items in 3 pages, ")
    assert "230/230" in shown["file"]


async def test_a_bar_of_changes_has_no_total(
    on_terminal: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    shown = await on_terminal(
        "works", "--output", str(tmp_path / "a"), "--since", str(tmp_path / "b")
    )
    assert "230/?" in shown


async def test_the_demo_shows_bars_and_a_table(on_terminal: Callable[..., Awaitable[str]]) -> None:
    shown = await on_terminal("demo", "--works", "150", "--messages", "5", "--latency", "0")
    assert "150/150" in shown
    assert "verdict" in shown
