"""Standard streams that are closed, missing, full, or of an encoding without the characters."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from dp_async.cli import _run, main
from dp_async.cli._streams import Adapter, forget, open_descriptors, usable_streams
from dp_async.testing import Simulator


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of a running simulator."""
    running = Simulator(works=3, messages=1)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running):
        monkeypatch.setenv("DP_BASE_URL", running.url)
        monkeypatch.setenv("DP_APP_ID", running.settings.app_id)
        monkeypatch.setenv("DP_APP_SECRET", running.settings.app_secret)
        monkeypatch.delenv("DP_ACCOUNT", raising=False)
        yield


class Full(io.StringIO):
    """A stream on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("stream", [None, closed()])
@pytest.mark.parametrize(
    ("line", "code"),
    [("--help", 0), ("--bogus", 2), ("demo --works 3 --messages 1 --latency 0", 0), ("works", 2)],
)
def test_a_command_works_without_a_stream(
    monkeypatch: pytest.MonkeyPatch, name: str, stream: object, line: str, code: int
) -> None:
    for variable in ("DP_BASE_URL", "DP_APP_ID", "DP_APP_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, name, stream)
    assert main(line.split()) == code
    assert getattr(sys, name) is stream


def test_closed_descriptors_are_opened_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []

    def open_(path: str, flags: int) -> None:
        opened.append((path, flags))

    def fstat(number: int) -> None:
        if number == 1:
            raise OSError(errno.EBADF, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        patch.setattr(os, "open", open_)
        open_descriptors()
    assert opened == [(os.devnull, os.O_RDWR)]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    for words in ([], ["works", "--help"], ["sync", "--help"]):
        assert main(words) == 0
    assert raw.getvalue().decode("ascii").count("Usage: dp-async") == 3
    with usable_streams():
        assert sys.stdout.write("作") == 1
    assert stream.errors == "strict"
    stream.flush()
    assert raw.getvalue().endswith(b"\\u4f5c")


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (3, 3)])
def test_a_full_standard_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: int, expected: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert _run.guarded(lambda: code) == expected
    line = "dp-async: standard output: No space left on device\n"
    assert capfd.readouterr().err == ("" if code else line)


def test_a_full_standard_error_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    _run.say("lost")
    assert isinstance(sys.stderr, Full)


@pytest.mark.parametrize("words", [["works", "--nope"], ["nope"], ["works", "--limit", "x"]])
def test_a_usage_error_that_cannot_be_printed_is_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    assert main(words) == 2


def test_what_a_forgotten_stream_holds_goes_nowhere() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        stream.write("lost")
        forget(stream)  # else the stream could not be closed: its pipe is
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull))


class Bare:
    """Nothing but a ``write``, which takes no character outside ASCII."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text.encode("ascii").decode()


class Raising(Bare):
    """Raises from all that is asked but a ``write``."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


class Odd(Bare):
    """Has what a stream has, of other kinds, and a descriptor that is not where its text goes."""

    encoding = closed = None

    def isatty(self) -> str:
        return "no"

    def fileno(self) -> int:
        return 2

    def flush(self) -> None:
        self.text += ""


class Broken(io.TextIOWrapper):
    """One of Python's own, made worse."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    @property
    def text(self) -> str:
        return cast("io.BytesIO", self.buffer).getvalue().decode()

    def fileno(self) -> int:
        raise RuntimeError("fileno")


class InMemory(Broken):
    def fileno(self) -> int:
        return io.BytesIO().fileno()  # raises UnsupportedOperation


class Unnamed(InMemory):
    @property
    def encoding(self) -> str:  # type: ignore[override]
        raise RuntimeError("encoding")


REPLACED = [Bare, Raising, Odd, Broken, InMemory, Unnamed]


@pytest.mark.parametrize("kind", REPLACED)
def test_commands_write_to_a_replaced_stream(
    monkeypatch: pytest.MonkeyPatch, kind: type[Bare | Broken], environment: None
) -> None:
    texts: dict[str, tuple[str, str]] = {}
    lines = {
        "works --limit 2 --verbose": 0,
        "works --limit 2 --format table": 0,
        "demo --works 3 --messages 1 --latency 0": 0,
        "--help": 0,
        "--bogus": 2,
    }
    for line, code in lines.items():
        out, err = kind(), kind()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            assert main(line.split()) == code, line
            assert (sys.stdout, sys.stderr) == (out, err)
        texts[line] = out.text, err.text
    rows, summary = texts["works --limit 2 --verbose"]
    assert [msgspec.json.decode(row)["digitalPersonWorksId"] for row in rows.splitlines()]
    assert summary.startswith("dp-async: 2 items in 1 page")
    assert "(not shown: " in texts["works --limit 2 --format table"][0]
    assert "complete, proven" in texts["demo --works 3 --messages 1 --latency 0"][0]
    assert "Usage: dp-async" in texts["--help"][0]
    assert "--bogus" in texts["--bogus"][1]


def test_bytes_do_not_go_to_a_stream_of_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], environment: None
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["works", "--format", "parquet"]) == 1
    line = "dp-async: standard output: it takes text alone, use --output FILE\n"
    assert capfd.readouterr().err == line
    in_memory = InMemory()
    monkeypatch.setattr(sys, "stdout", in_memory)
    assert main(["works", "--format", "parquet"]) == 0
    assert cast("io.BytesIO", in_memory.buffer).getvalue()[:4] == b"PAR1"


class Failing(Bare):
    """Fails with each of the errors, one after the other."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def write(self, text: str) -> None:
        raise self.errors[0]


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (Failing(RuntimeError("gone")), "gone"),
        (Failing(RuntimeError()), "RuntimeError"),
        (Failing(OSError(errno.ENOSPC, "No space")), "No space"),
        (object(), "it cannot be written to"),
    ],
)
def test_a_replaced_stream_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    environment: None,
    stream: object,
    problem: str,
) -> None:
    for line in ("works --limit 2", "--help"):
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(line.split()) == 1
        assert capfd.readouterr().err == f"dp-async: standard output: {problem}\n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["works", "--limit", "2", "--verbose"]) == 0


def test_what_a_replaced_stream_lacks_has_a_default() -> None:
    stream = Adapter(Raising())
    assert (stream.isatty(), stream.encoding, stream.closed) == (False, "utf-8", False)
    assert Adapter(io.StringIO()).isatty() is False
    assert Adapter(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).encoding == "ascii"
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
    stream.write("作")
    stream.flush()
    forget(cast("TextIO", stream))
