"""The commands in this process, with both outputs on a pseudo-terminal."""

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
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

    async def run(*argv: str) -> str:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", terminal.file)
            patch.setattr("sys.stderr", terminal.file)
            code = await asyncio.to_thread(main, argv)
        shown = await terminal.show()
        assert code == 0, shown
        return shown

    return run


async def test_rows_are_a_table(on_terminal: Callable[..., Awaitable[str]]) -> None:
    lines = (await on_terminal("messages")).splitlines()
    assert lines[1].split() == ["id", "status", "title", "content", "params", "create_time"]
    assert lines[-2].startswith("(not shown: ")
    assert lines[-1].startswith("dp-async: 5 items in 1 page, 1 request, ")


async def test_a_bar_shows_the_progress_of_a_file(
    on_terminal: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    file = tmp_path / "rows"
    shown = await on_terminal("works", "--limit", "150", "--output", str(file))
    assert "150/150" in shown
    assert len(file.read_bytes().splitlines()) == 150


async def test_the_demo_shows_bars_and_a_table(on_terminal: Callable[..., Awaitable[str]]) -> None:
    shown = await on_terminal("demo", "--works", "150", "--messages", "5", "--latency", "0")
    assert "150/150" in shown
    assert "verdict" in shown
