"""What a killed run leaves behind is removed by the next one, and never refuses it."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dp_async.cli import _output
from dp_async.cli._files import LOCK, part_file, working_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, for this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, text: bytes) -> None:
    with part_file(target) as (descriptor, _):
        os.write(descriptor, text)


def test_a_part_file_replaces_its_target(tmp_path: Path) -> None:
    target = tmp_path / "rows"
    write(target, b"new")
    assert (target.read_bytes(), names(tmp_path)) == (b"new", ["rows"])
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    target.chmod(0o604)
    write(target, b"newer")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"newer", 0o604)


def test_a_block_that_raises_removes_its_part_file(tmp_path: Path) -> None:
    target = tmp_path / "rows"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        with part_file(target):
            raise KeyboardInterrupt
    assert (target.read_text(), names(tmp_path)) == ("before", ["rows"])


def test_part_files_that_no_process_holds_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    (tmp_path / "link").touch()
    kept = [".other.csv.0123abcd.part", ".rows.csv.backup.part", "rows.csv.0123abcd.part", "link"]
    for name in (".rows.csv.0123abcd.part", ".rows.csv.00000000.part", *kept):
        (tmp_path / name).touch()
    (tmp_path / ".rows.csv.11111111.part").symlink_to("link")
    (tmp_path / ".rows.csv.22222222.part").mkdir()
    write(target, b"")
    links = [".rows.csv.11111111.part", ".rows.csv.22222222.part"]
    assert names(tmp_path) == sorted([*kept, *links, "rows.csv"])


def test_part_files_of_other_users_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".rows.0123abcd.part").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    write(tmp_path / "rows", b"")
    assert names(tmp_path) == [".rows.0123abcd.part", "rows"]


def test_two_runs_write_the_same_target_side_by_side(tmp_path: Path) -> None:
    target = tmp_path / "rows"
    with part_file(target) as (first, _):
        os.write(first, b"first")
        write(target, b"second")
        assert target.read_bytes() == b"second"
    assert (target.read_bytes(), names(tmp_path)) == (b"first", ["rows"])


def test_a_long_name_has_a_part_file(tmp_path: Path) -> None:
    target = tmp_path / ("作" * 85)
    write(target, b"x")
    assert names(tmp_path) == [target.name]


def removed_before_the_lock(monkeypatch: pytest.MonkeyPatch, remove: Callable[[int], None]) -> None:
    """The first lock is granted only after another run has taken the file for a left one."""
    real, pending = fcntl.flock, [remove]

    def flock(descriptor: int, operation: int) -> None:
        if pending:
            pending.pop()(descriptor)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


def path_of(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


def test_a_part_file_removed_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed_before_the_lock(monkeypatch, lambda descriptor: path_of(descriptor).unlink())
    write(tmp_path / "rows", b"x")
    assert (names(tmp_path), (tmp_path / "rows").read_bytes()) == (["rows"], b"x")


def test_a_file_system_without_locks_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".rows.0123abcd.part").touch()
    write(tmp_path / "rows", b"x")
    assert names(tmp_path) == [".rows.0123abcd.part", "rows"]


def test_a_working_folder_is_removed_at_the_end(temporary: Path) -> None:
    with working_folder() as folder:
        (folder / "deep").mkdir()
        assert (names(temporary), names(folder)) == ([folder.name], [LOCK, "deep"])
    assert names(temporary) == []


def test_a_working_folder_removed_before_its_lock_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(descriptor: int) -> None:
        path_of(descriptor).unlink()
        (temporary / next(iter(names(temporary)))).rmdir()

    removed_before_the_lock(monkeypatch, remove)
    with working_folder() as folder:
        assert names(folder) == [LOCK]


def test_working_folders_that_no_process_holds_are_removed(temporary: Path) -> None:
    left = temporary / "dp-async-left"
    (left / "deep").mkdir(parents=True)
    (left / LOCK).touch()
    (temporary / "dp-async-of-the-user").mkdir()
    with working_folder() as first:
        with working_folder() as second:
            expected = [first.name, second.name, "dp-async-of-the-user"]
            assert names(temporary) == sorted(expected)
    assert names(temporary) == ["dp-async-of-the-user"]


def test_an_output_is_not_refused_by_what_a_killed_run_left(tmp_path: Path) -> None:
    part = tmp_path / ".rows.0123abcd.part"
    part.touch()
    with _output.opened(tmp_path / "rows"):
        assert not part.exists()
    assert names(tmp_path) == ["rows"]
