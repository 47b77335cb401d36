"""A sync by dlt: into a DuckDB file, a PostgreSQL database, or a folder of Parquet files.

Knows no flag but ``--to`` and ``--dataset``. Needs the extra ``sync``.
"""
# The types of dlt are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# Set before dlt is imported: no telemetry, no handlers of SIGINT and SIGTERM, which would take and
# forget them, and handle an ignored SIGINT; and no log lines of its own.
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__INTERCEPT_SIGNALS"] = "false"
os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")

from ._target import HOW, LoadFailed, Scope  # isort: skip  # first: it configures pyarrow

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from dp_async import ConfigError, CrawlReport, DpError, Message, Work
from dp_async.dlt import source
from dp_async.tables import Outcome, schema

from ._files import part_file, working_folder
from ._signals import signals

#: The database of a folder: holds the rows that its Parquet files are copies of.
STATE = ".dp-async.duckdb"
#: An advisory lock: one sync per dataset at a time.
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('dp_async ' || %s, 0))"
#: Seconds to wait for a PostgreSQL server, unless the URL or the environment says otherwise.
CONNECT_TIMEOUT = 15
#: DuckDB's own limit is most of the machine's memory. Each of its threads takes memory of its own.
BOUNDED: dict[str, object] = {
    "memory_limit": "64MB",
    "threads": 1,
    "preserve_insertion_order": False,
}
MODELS: dict[str, type[Work | Message]] = {"works": Work, "messages": Message}
#: The packages whose errors are about the database.
DATABASES = {"dlt", "duckdb", "psycopg2", "adbc_driver_manager", "pyarrow"}


class OutOfMemory(LoadFailed):
    """The rows do not fit into the memory that DuckDB was allowed."""


@dataclass(frozen=True, slots=True)
class Database:
    """A destination of dlt: *database*, the *dataset* in it, and a *folder* for a Parquet copy.

    *secrets* are never shown. *locks*: whether the database has advisory locks. *unbounded*: the
    same database without a limit of its memory, if it has one.
    """

    database: Any = field(repr=False)
    dataset: str
    folder: Path | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    locks: bool = False
    unbounded: Any = field(default=None, repr=False)

    def load(
        self,
        scope: Scope,
        progress: Callable[[str, str, CrawlReport], object],
        done: Callable[[Outcome], object],
    ) -> list[Outcome]:
        """As ``Target.load``.

        If the rows are too large for the memory that DuckDB is allowed, they are all read again,
        and DuckDB takes what it wants: nothing was loaded.
        """
        try:
            return self._loaded(scope, progress, done)
        except OutOfMemory:
            if self.unbounded is None:
                raise
            target = replace(self, database=self.unbounded, unbounded=None)
            return target.load(scope, progress, done)

    def _loaded(
        self,
        scope: Scope,
        progress: Callable[[str, str, CrawlReport], object],
        done: Callable[[Outcome], object],
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []

        def on_outcome(outcome: Outcome) -> None:
            outcomes.append(outcome)
            done(outcome)

        with self.opened() as pipeline:
            pipeline.run(
                source(
                    scope.settings,
                    accounts=scope.accounts,
                    full=scope.full,
                    reconcile=scope.reconcile,
                    at_once=scope.at_once,
                    options=scope.options,
                    progress=progress,
                    on_outcome=on_outcome,
                )
            )
            self.copy(pipeline)
        return outcomes

    @contextmanager
    def opened(self) -> Generator[dlt.Pipeline]:
        """A pipeline into the database, locked against other syncs for the block.

        The working files are temporary and the state is read from the database, so a run may have
        been stopped anywhere. Raises LoadFailed.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        with working_folder() as working, load_errors(self.secrets):
            pipeline = dlt.pipeline(
                "dp_async",
                destination=self.database,
                dataset_name=self.dataset,
                pipelines_dir=str(working),
            )
            with pipeline.sql_client() as session:  # an open DuckDB file is locked
                if self.locks and session.execute_sql(LOCK, self.dataset) != [(True,)]:
                    raise LoadFailed("--to: another sync into this dataset is running")
                pipeline.sync_destination()
                yield pipeline

    def copy(self, pipeline: dlt.Pipeline) -> None:
        """Write the folder's Parquet files, each replaced atomically; without a folder, nothing."""
        if self.folder is None:
            return
        with pipeline.sql_client() as client:
            client.execute_sql("RESET GLOBAL memory_limit")  # sorting takes more
            for name, model in MODELS.items():
                with part_file(self.folder / f"{name}.parquet") as (_, part):
                    self._write(client, name, schema(model), part)

    def _write(self, client: Any, name: str, columns: pa.Schema, file: Path) -> None:
        """Write the rows of the table *name* to *file*; without that table, no row."""
        if not client.execute_sql(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            self.dataset,
            name,
        ):
            pq.write_table(columns.empty_table(), file)
            return
        table = client.make_qualified_table_name(name)
        quoted = str(file).replace("'", "''")
        client.execute_sql(
            f"COPY (SELECT * FROM {table} ORDER BY account, update_time DESC) TO '{quoted}'"
            " (FORMAT parquet, USE_TMP_FILE false)"  # the locked part file itself is written
        )


@contextmanager
def load_errors(secrets: Sequence[str]) -> Generator[None]:
    """Turns an error of the database in the block into a LoadFailed of one line.

    Any other error that dlt wrapped is raised as it was: a DpError, or a bug.
    """
    try:
        yield
    except Exception as error:
        signals().check()
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, DpError):
            cause = cause.__cause__
        if isinstance(cause, KeyboardInterrupt) or str(cause) == "Query interrupted":
            # How dlt and DuckDB report Ctrl-C.
            raise KeyboardInterrupt from None
        if isinstance(cause, DestinationConnectionError):
            cause = cause.inner_exc
        if type(cause).__module__.lstrip("_").partition(".")[0] not in DATABASES:
            raise cause from None
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        problem = lines[0]
        for secret in secrets:
            problem = problem.replace(secret, "…")
        kind = OutOfMemory if type(cause).__name__ == "OutOfMemoryException" else LoadFailed
    else:
        return
    raise kind(f"--to: {problem}")


def database_of(to: str, dataset: str) -> Database:
    """The database or folder that *to* names. Raises ConfigError; opens and creates nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", dataset):
        raise ConfigError("--dataset: use a-z, 0-9 and _, beginning with a letter, at most 40")
    scheme, separator, location = to.partition("://")
    if not separator:
        return _folder(Path(to), dataset)
    if scheme == "duckdb":
        if not location.startswith("/") or location == "/" or ":memory:" in location:
            raise ConfigError("--to: a DuckDB file is duckdb:///FILE, or duckdb:////FOLDER/FILE")
        if Path(location).stem.lower() in (dataset, f"{dataset}_staging"):
            raise ConfigError(f"--dataset: DuckDB calls the file {dataset} too; use another name")
        return _duckdb(location[1:], dataset)
    return _postgresql(to, dataset)


def _duckdb(file: str, dataset: str, folder: Path | None = None) -> Database:
    """DuckDB in bounded memory: what does not fit goes to a temporary folder beside the *file*."""
    bounded = DuckDbCredentials(file, global_config=dict(BOUNDED))
    return Database(
        dlt.destinations.duckdb(bounded),
        dataset,
        folder=folder,
        unbounded=dlt.destinations.duckdb(file),
    )


def _as_given(url: str, parts: dict[str, str]) -> Any:
    """Credentials whose *url* libpq gets as it was given; dlt itself wants a password in it."""
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    class AsGiven(PostgresCredentials):
        def to_native_representation(self) -> str:
            return url

    credentials = AsGiven()
    # dlt wants each of them to be set, and adds its own options to the query's.
    credentials.username = credentials.password = ""
    credentials.host = parts.get("host") or "default"
    credentials.database = parts.get("dbname") or "default"
    credentials.query = {"options": parts.get("options", "")}
    credentials.resolve()  # else dlt makes a copy of its own class
    return credentials


def _postgresql(to: str, dataset: str) -> Database:
    """Any URL that libpq takes; what it leaves out, libpq takes from its environment and files."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parts: dict[str, str] = parse_dsn(to)
        named = all(0 < int(port) < 65_536 for port in parts.get("port", "5432").split(","))
    except (ProgrammingError, ValueError):  # their text may contain the password
        named, parts = False, {}
    if not named:
        raise ConfigError("--to: it must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    url = to
    if "connect_timeout" not in parts and "PGCONNECT_TIMEOUT" not in os.environ:
        url += f"{'&' if '?' in to else '?'}connect_timeout={CONNECT_TIMEOUT}"
    credentials = _as_given(url, parts)
    hidden = tuple(parts[name] for name in ("password", "sslpassword") if parts.get(name))
    return Database(dlt.destinations.postgres(credentials), dataset, secrets=hidden, locks=True)


def _folder(path: Path, dataset: str) -> Database:
    if (path.exists() and not path.is_dir()) or path.suffix in (".duckdb", ".db", ".parquet"):
        raise ConfigError(
            f"--to: {path} is no folder; for DuckDB say duckdb:///{path}; else use {HOW}"
        )
    return _duckdb(str(path / STATE), dataset, path)
