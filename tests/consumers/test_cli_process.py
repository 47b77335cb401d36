"""The command as a process of its own: pipes, signals, terminals, and a missing extra."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import md5
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import pytest

from dp_async.cli import main
from dp_async.testing import Fault, Hang, Malformed, Redirect, Reset, Simulator, WrongCode

#: As the installed script does it; a shell in the background would have us ignore Ctrl-C.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from dp_async.cli import main
sys.exit(main())
"""
NO_EXTRA = (
    """
import sys
class Missing:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("cyclopts", "rich"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""
    + SCRIPT
)

Start: TypeAlias = Callable[..., Awaitable[Process]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=6000, messages=5) as running:
        yield running


@pytest.fixture
async def start(simulator: Simulator) -> AsyncIterator[Start]:
    """Starts the command with pipes for both its outputs; kills it in the end if need be."""
    started: list[Process] = []

    async def run(*argv: str, script: str = SCRIPT, stdout: int = PIPE, **env: str) -> Process:
        settings = {
            "DP_BASE_URL": simulator.url,
            "DP_APP_ID": "simulated-app",
            "DP_APP_SECRET": "simulated-secret",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            *argv,
            stdin=DEVNULL,
            stdout=stdout,
            stderr=PIPE,
            env={**os.environ, **settings, **env},
            limit=1 << 20,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def test_a_reader_that_leaves_ends_it_quietly(start: Start) -> None:
    reader, writer = os.pipe()
    process = await start("works", stdout=writer)
    os.close(writer)
    assert (await asyncio.to_thread(os.read, reader, 1)) == b"{"
    os.close(reader)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_ctrl_c_while_a_page_does_not_come(
    start: Start, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.fail(Hang(), times=None, page=2)
    process = await start("works", "--output", str(tmp_path / "rows.csv"))
    await until(lambda: any(seen.page_num == 2 for seen in simulator.requests))
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


async def test_ctrl_c_while_nobody_reads(start: Start, simulator: Simulator) -> None:
    reader, writer = os.pipe()
    process = await start("works", stdout=writer)
    os.close(writer)
    # The window is full and the pipe too: 24 pages are held, those in the pipe are gone from it.
    await until(lambda: simulator.served > 24 and not simulator.in_flight)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    os.close(reader)
    assert (process.returncode, err) == (130, b"")
    assert simulator.served < 60


async def test_the_simulator_ends_by_ctrl_c(start: Start) -> None:
    server = await start("simulate", "--port", "0", "--works", "3", "--messages", "2")
    about = await first_line(server)
    assert about.startswith(b"# 3 works and 2 messages, until Ctrl-C.")
    lines = [(await first_line(server)).decode() for _ in range(3)]
    exports = dict(line.split()[1].split("=") for line in lines)
    assert sorted(exports) == ["DP_APP_ID", "DP_APP_SECRET", "DP_BASE_URL"]
    assert "made up" in lines[2]
    client = await start("messages", **exports)
    out, err = await client.communicate()
    assert (client.returncode, len(out.splitlines()), err) == (0, 2, b"")
    server.send_signal(signal.SIGINT)
    assert await server.communicate() == (b"", b"")
    assert server.returncode == 130


@pytest.mark.parametrize("format_name", ["ndjson", "csv", "table"])
async def test_chinese_survives_any_locale(start: Start, format_name: str) -> None:
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = await start("works", "--limit", "1", "--format", format_name, **locale)
    out, err = await process.communicate()
    assert "测试OpenApi的作品" in out.decode()
    assert (process.returncode, err) == (0, b"")


async def test_without_the_extra(start: Start) -> None:
    process = await start("works", script=NO_EXTRA)
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err == b"dp-async: the command line is an extra: pip install 'dp_async[cli]'\n"


async def test_a_server_that_is_down(start: Start, simulator: Simulator) -> None:
    await simulator.__aexit__(None, None, None)
    process = await start("works", DP_BASE_URL="http://127.0.0.1:1")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"dp-async: work_list: no connection to 127.0.0.1:1 ")
    assert err.count(b"\n") == 1


# What it shows of its caller

ACCOUNT = "+8619912345678"
FILTER = "张三丰-filter"
TEMPLATE = "pepper{app_id}{app_secret}{timestamp}"

WORKS = ("works", "--name")
MESSAGES = ("messages", "--read-status")

#: The command, what the server does, and what is set.
TROUBLES: dict[str, tuple[tuple[str, str], Fault | None, dict[str, str]]] = {
    "a wrong secret": (WORKS, None, {"DP_APP_SECRET": "open/Sesame+42"}),
    "an echo": (MESSAGES, WrongCode(412, f"simulated-secret {ACCOUNT}\r\n{FILTER} pepper"), {}),
    "an echo of the query": (WORKS, WrongCode(412, quote(f"{FILTER}&simulated-secret")), {}),
    "half an answer": (MESSAGES, Malformed(), {}),
    "a reset": (WORKS, Reset(), {}),
    "a redirect": (MESSAGES, Redirect(), {}),
    "no such host": (WORKS, None, {"DP_BASE_URL": "https://nonexistent.invalid"}),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_trouble_shows_nothing_private(name: str, start: Start) -> None:
    command, fault, env = TROUBLES[name]
    async with Simulator(auth_template=TEMPLATE) as simulator:
        if fault is not None:
            simulator.fail(fault, times=None)
        given = {
            "DP_BASE_URL": simulator.url,
            "DP_ACCOUNT": ACCOUNT,
            "DP_AUTH_TEMPLATE": TEMPLATE,
            "PYTHONDEVMODE": "1",  # warnings, and all that asyncio has to say
            **env,
        }
        process = await start(*command, FILTER, "--debug", "--verbose", **given)
        out, err = await process.communicate()
    secret = given.get("DP_APP_SECRET", "simulated-secret")
    private = [secret, "pepper", ACCOUNT[:-4], ACCOUNT[-7:], FILTER, *Simulator.internals]
    for seen in simulator.requests:
        fields = {"app_id": "simulated-app", "timestamp": seen.headers["timestamp"]}
        signed = TEMPLATE.format(app_secret=secret, **fields)
        private += [signed, md5(signed.encode(), usedforsecurity=False).hexdigest()]
    shown = (out + err).decode().casefold()
    for text in private:
        for form in (text, quote(text, safe=""), repr(text.encode())[2:-1]):
            assert form.casefold() not in shown
    assert (process.returncode, out) == (1, b"")
    assert b"Traceback" in err
    assert bool(simulator.requests) == (name != "no such host")


# In this process, on a terminal


class Terminal:
    """Both outputs on a pseudo-terminal of 80 columns; what was shown is read at the end."""

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
        except OSError:  # the other side is closed
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


async def test_rows_on_a_terminal_are_a_table(on_terminal: Callable[..., Awaitable[str]]) -> None:
    lines = (await on_terminal("messages")).splitlines()
    assert lines[1].split() == ["id", "status", "title", "content", "params", "create_time"]
    assert lines[-2].startswith("(not shown: ")
    assert lines[-1].startswith("dp-async: 5 items in 1 pages, 1 requests, ")


async def test_a_bar_is_shown_while_a_file_is_written(
    on_terminal: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    file = tmp_path / "rows"
    shown = await on_terminal("works", "--limit", "150", "--output", str(file))
    assert "150/150" in shown
    assert len(file.read_bytes().splitlines()) == 150


async def test_the_demo_on_a_terminal(on_terminal: Callable[..., Awaitable[str]]) -> None:
    shown = await on_terminal("demo", "--works", "150", "--messages", "5", "--latency", "0")
    assert "150/150" in shown
    assert "verdict" in shown
