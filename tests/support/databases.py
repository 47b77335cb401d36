"""Databases to sync into, and their content: a DuckDB file or a database of a PostgreSQL server.

The server is started once, as an unprivileged user on a free port, and stops after the tests.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import msgspec
import psycopg2
import pytest

from dp_async.testing import SimulatedList
from tests.support.programs import skip_without, spare_port, unprivileged

#: Made up: it opens only the server of the tests.
PASSWORD = "open-sesame"
KEYS = {"works": "digital_person_works_id", "messages": "msg_id"}


@dataclass(frozen=True)
class Warehouse:
    """One database; *to* is its name on the command line."""

    to: str
    dataset: str = "dp_data"

    def _connected(self) -> Any:
        if self.to.startswith("duckdb:///"):
            return duckdb.connect(self.to.removeprefix("duckdb:///"))
        connection = psycopg2.connect(self.to)
        connection.autocommit = True
        return connection

    def run(self, sql: str) -> list[dict[str, Any]]:
        """The rows that *sql* selects; none for another statement."""
        with closing(self._connected()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            if not cursor.description:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def tables(self) -> set[str]:
        """All tables of the database, without the system's."""
        return {
            f"{row['table_schema']}.{row['table_name']}"
            for row in self.run("SELECT table_schema, table_name FROM information_schema.tables")
            if row["table_schema"] not in ("information_schema", "pg_catalog")
        }

    def rows(self, table: str, *, account: str = "", gone: bool = False) -> dict[int, Any]:
        """The compared values of each row of *account*, by id. Fails if an id is there twice."""
        sql = (
            f"SELECT *, CAST(EXTRACT(EPOCH FROM update_time) AS BIGINT) AS second"
            f" FROM {self.dataset}.{table}"
            f" WHERE account = '{account}' AND (gone_at IS NOT NULL) = {gone}"
        )
        rows = self.run(sql)
        found = {row[KEYS[table]]: compared(row) for row in rows}
        assert len(found) == len(rows), "an id is there twice"
        return found


def compared(row: dict[str, Any]) -> tuple[object, ...]:
    """The values of a row that are compared."""
    texts = ("name", "avatar", "status", "works_url", "title", "content", "read_status")
    return (row["second"], *(row.get(name) for name in texts), row.get("duration"))


def truth(rows: SimulatedList) -> dict[int, Any]:
    """What a table must hold: the values of ``compared`` by id."""
    raws, total = rows.read(0, 10_000_000, {})
    assert len(raws) == total
    found: dict[int, Any] = {}
    for raw in raws:
        sent = msgspec.json.decode(raw, type=dict[str, Any])
        row = {_snake(name): _stored(value) for name, value in sent.items()}
        row["second"] = _second(row["update_time"])
        found[row.get("digital_person_works_id") or row["msg_id"]] = compared(row)
    return found


def _stored(value: Any) -> Any:
    """A text as it is stored: U+0000 is replaced, which PostgreSQL cannot store."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _second(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+08:00").timestamp())


def _binaries() -> Path | None:
    """The folder of PostgreSQL's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def is_installed() -> bool:
    """Whether PostgreSQL is on this machine."""
    return _binaries() is not None


@contextmanager
def running() -> Generator[str]:
    """Starts a PostgreSQL server; the address of its default database."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="dp-async-tests-") as folder:
        home = Path(folder)
        (home / "password").write_text(PASSWORD)
        user = unprivileged(home, home / "password")
        initdb = [f"{binaries}/initdb", f"--pgdata={home}/data", "--username=dp", "--no-sync"]
        initdb += ["--auth=scram-sha-256", f"--pwfile={home}/password", "--encoding=UTF8"]
        subprocess.run([*user, *initdb], cwd="/", check=True, stdout=subprocess.DEVNULL)
        port = spare_port()
        server = [f"{binaries}/postgres", f"-D{home}/data", f"-p{port}", f"-k{home}", "-F"]
        server += ["-clisten_addresses=127.0.0.1"]
        log = (home / "log").open("wb")
        with log, subprocess.Popen([*user, *server], cwd="/", stdout=log, stderr=log) as process:
            try:
                ready = [f"{binaries}/pg_isready", "-h127.0.0.1", f"-p{port}", "-t1"]
                while subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode:
                    assert process.poll() is None, (home / "log").read_text()
                yield f"postgresql://dp:{PASSWORD}@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)  # fast shutdown: ends open connections


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of the default database of a running server."""
    skip_without(is_installed(), "PostgreSQL", "postgresql")
    with running() as address:
        yield address


_numbers = count()


def create(
    kind: str, folder: Path, request: pytest.FixtureRequest, like: Warehouse | None = None
) -> Warehouse:
    """A database of *kind* ("duckdb" or "postgresql"), empty or a copy of *like*."""
    number = next(_numbers)
    if kind == "duckdb":
        file = folder / f"dp{number}.duckdb"
        if like is not None:
            shutil.copyfile(like.to.removeprefix("duckdb:///"), file)
        return Warehouse(f"duckdb:///{file}")
    server: str = request.getfixturevalue("postgresql")
    template = "template1" if like is None else urlsplit(like.to).path.strip("/")
    Warehouse(server).run(f"CREATE DATABASE dp{number} TEMPLATE {template}")
    return Warehouse(urlsplit(server)._replace(path=f"/dp{number}").geturl())


@pytest.fixture
def open_warehouse(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Warehouse]:
    """Makes an empty database of a kind, "duckdb" or "postgresql"."""
    return lambda kind: create(kind, tmp_path, request)


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.slow)])
def warehouse(
    request: pytest.FixtureRequest, open_warehouse: Callable[[str], Warehouse]
) -> Warehouse:
    """An empty database, once of each kind."""
    return open_warehouse(request.param)
