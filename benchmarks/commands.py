"""The commands that the benchmark ``signals`` runs, and how to see from outside where they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.watched import ESTABLISHED, LISTENING, Watched

WORKS, MESSAGES = 6000, 500
#: The database in the folder of a sync.
STATE = ".dp-async.duckdb"


@dataclass(frozen=True, slots=True)
class Command:
    """Two command lines: one that keeps *working*, and one that becomes *idle*.

    *has_started* and *is_idle* tell from outside where a process of it is.
    *whole*: whether a file or folder that it leaves is whole.
    """

    working: str
    idle: str
    has_started: Callable[[Watched], bool]
    is_idle: Callable[[Watched], bool]
    whole: Callable[[Path], bool] = lambda path: False


def is_connected(process: Watched) -> bool:
    return process.has_socket(ESTABLISHED)


def waits(process: Watched) -> bool:
    """Whether it is connected and uses no CPU."""
    before = process.cpu
    time.sleep(0.2)
    return process.cpu == before and is_connected(process)


def has_loaded(process: Watched) -> bool:
    """Whether the table of a sync was printed."""
    return "verdict" in process.out


def listens(process: Watched) -> bool:
    return process.has_socket(LISTENING) and "export DP_APP_SECRET" in process.out


def is_whole_output(path: Path) -> bool:
    return path.name == "rows.ndjson" and path.read_bytes().count(b"\n") == WORKS


def is_whole_target(path: Path) -> bool:
    """Whether the folder of a sync holds what it should alone, and all of it can be read."""
    tables = [path / "works.parquet", path / "messages.parquet"]
    known = {path / STATE, path / f"{STATE}.wal", *tables}
    return path.name == "to" and {*path.iterdir()} <= known and counts(path) is not None


def counts(folder: Path) -> dict[str, int] | None:
    """The rows of each Parquet file of a sync; None if one, or the database, cannot be read."""
    import duckdb

    found: dict[str, int] = {}
    try:
        if (folder / STATE).exists():
            duckdb.connect(str(folder / STATE)).close()
        for file in folder.glob("*.parquet"):
            rows = duckdb.execute(f"SELECT count(*) FROM '{file}'").fetchall()
            found[file.stem] = int(rows[0][0])
    except duckdb.Error:
        return None
    return found


COMMANDS: dict[str, Command] = {
    "sync --watch": Command(
        "sync --watch --to to --every 1",
        "sync --watch --to to --every 60",
        has_started=is_connected,
        is_idle=has_loaded,
        whole=is_whole_target,
    ),
    "works --output": Command(
        "works --output rows.ndjson",
        "works --output rows.ndjson",
        has_started=is_connected,
        is_idle=waits,
        whole=is_whole_output,
    ),
    "demo": Command(
        "demo --works 20000 --latency 5",
        "demo --latency 60000",
        has_started=is_connected,
        is_idle=waits,
    ),
    "simulate": Command(
        "simulate --port 0 --works 2000",
        "simulate --port 0 --works 2000",
        has_started=listens,
        is_idle=listens,
    ),
}
