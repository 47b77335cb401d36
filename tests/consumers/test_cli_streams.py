"""Standard streams that are closed, missing, full, or of an encoding without the characters."""

import errno
import io
import os
import sys

import pytest

from dp_async.cli import _run, main
from dp_async.cli._streams import forget, open_descriptors, usable_streams


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


def test_what_a_forgotten_stream_holds_goes_nowhere() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        stream.write("lost")
        forget(stream)  # else the stream could not be closed: its pipe is
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull))


def test_a_stream_of_another_kind_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with usable_streams():
        assert sys.stdout is stream
