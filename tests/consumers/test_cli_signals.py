"""SIGINT, SIGTERM and SIGHUP: what each does in the main thread and in the watching one."""

import asyncio
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from dp_async.cli import _app, _run, main
from dp_async.cli._output import Output
from dp_async.cli._signals import CLEAN, HANDLED, Signals, as_current
from dp_async.testing import Simulator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of a new process, and that they are back at the end."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler)]
    before += [signal.signal(number, signal.SIG_DFL) for number in HANDLED[1:]]
    yield
    assert signal.set_wakeup_fd(-1) == -1
    after = [signal.signal(number, old) for number, old in zip(HANDLED, before, strict=True)]
    assert after == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]


class Forced:
    """Replaces ``os._exit``: keeps the exit codes."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.called = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.called.set()

    def wait(self) -> list[int]:
        assert self.called.wait(60)
        return self.codes


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Forced:
    end = Forced()
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr("dp_async.cli._signals.GRACE", 1000.0)
    return end


@pytest.fixture
def signals() -> Iterator[Signals]:
    given = Signals()
    given.install()
    with as_current(given):
        yield given
    given.restore()


@pytest.fixture
def exiting() -> Iterator[Signals]:
    """The signals of a command with which the process exits."""
    given = Signals(exiting=True)
    given.install()
    with as_current(given):
        yield given
    given.restore()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator(works=200, messages=0)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        yield running


def swallow(*_: object) -> None:
    """A handler of a library that forgets the signal."""


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_raises_once_and_sets_the_exit_code(
    signals: Signals, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    signals.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        signals.check()
    assert signals.finish(None) == 128 + number
    assert capsys.readouterr().err == "dp-async: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_a_signal_the_exit_code_is_the_commands(
    signals: Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    assert signals.finish(3) == 3
    assert capsys.readouterr().err == ""


def test_a_signal_after_the_command_has_ended_is_not_lost(signals: Signals) -> None:
    signals.disarm()
    signal.raise_signal(signal.SIGTERM)
    assert signals.finish(0) == 143


def test_a_signal_that_a_library_takes_is_not_lost(signals: Signals) -> None:
    ours = signal.signal(signal.SIGTERM, swallow)
    signal.raise_signal(signal.SIGTERM)
    assert signals.finish(None) == 143
    with pytest.raises(KeyboardInterrupt):
        signals.check()
    assert callable(ours)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = Signals()
    signals.install()
    signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, swallow)  # as a library does
    signal.raise_signal(signal.SIGINT)
    assert signals.finish(0) == 0
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is swallow


def test_outside_the_main_thread_nothing_is_handled() -> None:
    codes: list[int] = []

    def command() -> None:
        signals = Signals(exiting=True)
        signals.install()
        codes.append(signals.finish(None))

    thread = threading.Thread(target=command)
    thread.start()
    thread.join()
    assert codes == [130]


def test_a_block_may_be_interrupted_in_its_own_way(signals: Signals) -> None:
    calls: list[str] = []
    with signals.interrupting(lambda: calls.append("cancelled")):
        signal.raise_signal(signal.SIGINT)
    assert calls == ["cancelled"]
    assert signals.finish(0) == 130


def test_a_signal_cancels_the_running_task(signals: Signals) -> None:
    async def work() -> int:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()
        return 0

    with pytest.raises(KeyboardInterrupt):
        _run.guarded(lambda: _run.execute(work(), debug=False))
    assert signals.finish(None) == 143


def test_a_signal_before_the_loop_runs_leaves_no_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> int:
        return 0

    def run(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", run)
    with pytest.raises(KeyboardInterrupt):
        _run.execute(work(), debug=False)


def test_the_line_of_a_block_is_said_if_it_is_interrupted(
    signals: Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with signals.saying(lambda: "not this"):
        pass
    with pytest.raises(KeyboardInterrupt), signals.saying(lambda: f"after {rows} rows"):
        rows = 2
        signal.raise_signal(signal.SIGINT)
    rows = 3
    signals.finish(None)
    assert capsys.readouterr().err == "dp-async: after 3 rows\n"


def test_a_missing_stderr_stops_nothing(signals: Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert signals.finish(None) == 130


# The forced end


def test_a_command_that_goes_on_is_ended_by_force(
    forced: Forced,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dp_async.cli._signals.GRACE", 0.0)
    part, folder = tmp_path / "part", tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    part.touch()
    (tmp_path / "done").touch()
    signals = Signals()
    signals.install()
    with signals.removing(tmp_path / "done"):
        pass
    signal.signal(signal.SIGTERM, swallow)
    with (
        signals.removing(tmp_path / "gone"),
        signals.removing(part),
        signals.removing(folder),
        signals.saying(lambda: "after 2 rows"),
    ):
        signal.raise_signal(signal.SIGTERM)
        assert forced.wait() == [143]
        assert [path.name for path in tmp_path.iterdir()] == ["done"]
    assert capfd.readouterr().err == "dp-async: after 2 rows\n"
    signals.restore()


def test_a_second_signal_ends_it_at_once_with_one_line(
    forced: Forced, signals: Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert forced.wait() == [130]
    assert signals.finish(None) == 130
    assert capfd.readouterr().err == "dp-async: interrupted\n"


def test_a_second_signal_while_the_line_is_said_does_not_repeat_it(
    forced: Forced,
    signals: Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            signal.raise_signal(signal.SIGINT)
            forced.wait()
            return super().write(text)

    stream = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(sys, "stderr", stream)
    assert signals.finish(None) == 130
    assert (stream.getvalue(), capfd.readouterr().err) == ("dp-async: interrupted\n", "")


@pytest.mark.parametrize(
    ("writable", "terminal", "shown"),
    [
        (True, False, "dp-async: interrupted\n"),
        (True, True, CLEAN.decode() + "dp-async: interrupted\n"),
        (False, False, ""),
    ],
)
def test_a_forced_end_never_waits_for_stderr(
    forced: Forced,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    writable: bool,
    terminal: bool,
    shown: str,
) -> None:
    def ready(*_: object) -> tuple[list[int], list[int], list[int]]:
        return [], [2] if writable else [], []

    def is_terminal(_: int) -> bool:
        return terminal

    signals = Signals()
    signals.install()
    with monkeypatch.context() as patch:
        patch.setattr(select, "select", ready)
        patch.setattr(os, "isatty", is_terminal)
        signals.disarm()
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        assert forced.wait() == [130]
    assert capfd.readouterr().err == shown
    signals.restore()


def test_while_the_process_exits_a_signal_ends_it_at_once(forced: Forced, exiting: Signals) -> None:
    assert exiting.finish(0) == 0
    signal.raise_signal(signal.SIGTERM)
    assert forced.wait() == [143]


def test_an_interrupted_process_ends_without_what_runs_at_exit(
    forced: Forced, exiting: Signals
) -> None:
    with exiting.interrupting(lambda: None):
        signal.raise_signal(signal.SIGTERM)
        exiting.finish(None)
    assert forced.wait() == [143]


@pytest.mark.parametrize("number", HANDLED)
def test_where_no_task_runs_a_signal_ends_the_process_at_once(
    forced: Forced, exiting: Signals, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    signal.raise_signal(number)  # no exception: it might be lost, or fatal to an import
    assert forced.wait() == [128 + number]
    assert capfd.readouterr().err == "dp-async: interrupted\n"


def test_a_signal_that_a_library_takes_ends_the_process_at_once(
    forced: Forced, exiting: Signals
) -> None:
    signal.signal(signal.SIGTERM, swallow)
    signal.raise_signal(signal.SIGTERM)
    assert forced.wait() == [143]


def test_a_folder_that_a_thread_still_writes_to_is_removed(
    forced: Forced, exiting: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, others = tmp_path / "folder", os.walk, ["file"]
    folder.mkdir()

    def walk(top: Path, topdown: bool) -> Iterator[tuple[str, list[str], list[str]]]:
        yield from real(top, topdown=topdown)
        if others:
            (folder / others.pop()).touch()

    monkeypatch.setattr(os, "walk", walk)
    with exiting.removing(folder):
        signal.raise_signal(signal.SIGINT)
        assert forced.wait() == [130]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_removed_does_not_stop_the_end(
    forced: Forced, exiting: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(top: Path, topdown: bool) -> Iterator[tuple[str, list[str], list[str]]]:
        raise PermissionError

    monkeypatch.setattr(os, "walk", walk)
    with exiting.removing(tmp_path):
        signal.raise_signal(signal.SIGINT)
        assert forced.wait() == [130]


# The entry point


def test_a_signal_while_the_command_runs_is_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(argv: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(_app, "run", run)
    assert main([]) == 143
    assert capsys.readouterr().err == "dp-async: interrupted\n"


@pytest.mark.parametrize(
    ("output", "size", "line"),
    [
        ("rows", 100, "interrupted after 100 rows; rows was not written"),
        ("rows", 1, "interrupted after 1 row; rows was not written"),
        ("/dev/null", 100, "interrupted after 100 rows"),
        (
            "/dev/null --since mark",
            100,
            "interrupted after 100 rows; mark is as it was, so the next run writes them again",
        ),
        (None, 100, "interrupted after 100 rows"),
    ],
)
def test_an_interrupted_export_says_what_was_written(
    output: str | None,
    size: int,
    line: str,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real, writes = Output.write, list[int]()

    async def write(self: Output, data: bytes) -> None:
        writes.append(len(data))
        if len(writes) == 2:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        await real(self, data)

    monkeypatch.setattr(Output, "write", write)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_APP_SECRET", "simulated-secret")
    words = ["works", "--base-url", simulator.url, "--app-id", "simulated-app"]
    words += ["--page-size", str(size), *(["--output", *output.split()] if output else [])]
    assert main(words) == 130
    assert capfd.readouterr().err == f"dp-async: {line}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_raised_and_the_handlers_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(_app, "run", run)
    with pytest.raises(ZeroDivisionError):
        main([])
