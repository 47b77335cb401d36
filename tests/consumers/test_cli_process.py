"""The command as a process of its own: pipes, signals, locales, and a missing extra."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import md5
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import pytest

from dp_async.testing import Fault, Hang, Malformed, Redirect, Reset, Simulator, WrongCode

pytestmark = pytest.mark.slow  # each test starts a process

#: As the installed script; the handler is set because background shells ignore SIGINT.
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
    def find_spec(self, name, *_):
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
    """Starts the command with pipes for its outputs; kills it at the end if it still runs."""
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
    while not condition():  # the limit is pytest's timeout
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(("line", "read"), [("works", 1), ("works", 0), ("works --help", 0)])
async def test_a_closed_pipe_is_silent(start: Start, line: str, read: int) -> None:
    reader, writer = os.pipe()
    process = await start(*line.split(), stdout=writer)
    os.close(writer)
    assert len(await asyncio.to_thread(os.read, reader, read)) == read
    os.close(reader)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_ctrl_c_while_waiting_for_a_page(
    start: Start, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.fail(Hang(), times=None, page=2)
    process = await start("works", "--output", str(tmp_path / "rows.csv"))
    await until(lambda: any(seen.page_num == 2 for seen in simulator.requests))
    process.send_signal(signal.SIGINT)
    line = f"interrupted after 100 rows; {tmp_path / 'rows.csv'} was not written\n"
    assert await process.communicate() == (b"", f"dp-async: {line}".encode())
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


async def test_ctrl_c_while_the_output_is_blocked(start: Start, simulator: Simulator) -> None:
    reader, writer = os.pipe()
    process = await start("works", stdout=writer)
    os.close(writer)
    # Window and pipe are full: the window holds 24 pages, the pipe those before them.
    await until(lambda: simulator.served > 24 and not simulator.in_flight)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    os.close(reader)
    assert re.fullmatch(rb"dp-async: interrupted after \d+ rows\n", err)
    assert process.returncode == 130
    assert simulator.served < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_simulator(start: Start, number: signal.Signals) -> None:
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
    server.send_signal(number)
    assert await server.communicate() == (b"", b"dp-async: interrupted\n")
    assert server.returncode == 128 + number


async def test_output_is_utf8_in_any_locale(start: Start) -> None:
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = await start("works", "--limit", "1", "--format", "csv", **locale)
    out, err = await process.communicate()
    assert "测试OpenApi的作品" in out.decode()
    assert (process.returncode, err) == (0, b"")


async def test_a_missing_extra_is_named(start: Start) -> None:
    process = await start("works", script=NO_EXTRA)
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err == b"dp-async: the command line is an extra: pip install 'dp_async[cli]'\n"


async def test_an_unreachable_server_is_one_line(start: Start) -> None:
    process = await start("works", DP_BASE_URL="http://127.0.0.1:1")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"dp-async: work_list, page 1 of 100 rows: no connection to 127.0.0.1:1 ")
    assert err.count(b"\n") == 1


# What its output may contain

ACCOUNT = "+8619912345678"
FILTER = "张三丰-filter"
TEMPLATE = "pepper{app_id}{app_secret}{timestamp}"

WORKS = ("works", "--name")
MESSAGES = ("messages", "--read-status")

#: The command, the fault of the server, and the settings.
ERRORS: dict[str, tuple[tuple[str, str], Fault | None, dict[str, str]]] = {
    "a wrong secret": (WORKS, None, {"DP_APP_SECRET": "open/Sesame+42"}),
    "an echo": (MESSAGES, WrongCode(412, f"simulated-secret {ACCOUNT}\r\n{FILTER} pepper"), {}),
    "an echo of the query": (WORKS, WrongCode(412, quote(f"{FILTER}&simulated-secret")), {}),
    "half an answer": (MESSAGES, Malformed(), {}),
    "a reset": (WORKS, Reset(), {}),
    "a redirect": (MESSAGES, Redirect(), {}),
    "no such host": (WORKS, None, {"DP_BASE_URL": "https://nonexistent.invalid"}),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_show_nothing_private(name: str, start: Start) -> None:
    command, fault, env = ERRORS[name]
    async with Simulator(auth_template=TEMPLATE) as simulator:
        if fault is not None:
            simulator.fail(fault, times=None)
        given = {
            "DP_BASE_URL": simulator.url,
            "DP_ACCOUNT": ACCOUNT,
            "DP_AUTH_TEMPLATE": TEMPLATE,
            "PYTHONDEVMODE": "1",  # with warnings and the debug output of asyncio
            **env,
        }
        value = FILTER if command == WORKS else f"other:{FILTER}"
        process = await start(*command, value, "--debug", "--verbose", **given)
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
