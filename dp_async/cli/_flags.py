"""The flags that commands share: their help, and the settings and options made of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dp_async import ConfigError, CrawlOptions, ReadStatus, Settings, SortOrder, WorkStatus

from ._formats import FormatName
from ._text_files import secret_in

if TYPE_CHECKING:
    from ._export import Target

E = TypeVar("E", WorkStatus, ReadStatus, SortOrder)

OPTIONS = CrawlOptions()
#: For the defaults that the help shows.
SETTINGS = Settings(base_url="https://unset", app_id="unset", app_secret="unset")
SERVER = Group("Server and account", sort_key=1)
SYNC = Group("Sync", sort_key=2)
CRAWL = Group("Crawl", sort_key=2)
OUTPUT = Group("Output", sort_key=3)


def _flag(group: Group, text: str, env: str | None = None) -> Parameter:
    return Parameter(group=group, help=text, env_var=env, env_var_split=_unless_empty)


def _unless_empty(kind: object, value: str, *, delimiter: str | None = None) -> list[str]:
    """An empty variable counts as not set: ``VARIABLE=${VARIABLE:-}`` in a compose file sets it."""
    return [value] if value else []


def _switch(group: Group, text: str) -> Parameter:
    return Parameter(group=group, help=text, show_default=False)


PageSize: TypeAlias = Annotated[int, _flag(CRAWL, "rows per page; the server may cap it")]
Concurrency: TypeAlias = Annotated[
    int | Literal["auto"],
    _flag(CRAWL, "pages fetched at once; auto: adapts to the server"),
]
OnBadItem: TypeAlias = Annotated[
    Literal["raise", "keep"],
    _flag(
        CRAWL,
        "a row that cannot be read: raise ends its list with an error; keep leaves it out, names "
        "it, and exits with 4",
    ),
]
Debug: TypeAlias = Annotated[bool, _switch(OUTPUT, "show the traceback of an error")]
Works: TypeAlias = Annotated[int, Parameter(help="simulated works", validator=Number(gte=0))]
Messages: TypeAlias = Annotated[int, Parameter(help="simulated messages", validator=Number(gte=0))]
Latency: TypeAlias = Annotated[
    float, Parameter(help="median latency of an answer, in ms", validator=Number(gte=0, lte=60_000))
]
Port: TypeAlias = Annotated[
    int,
    Parameter(
        help="port to listen on, on this machine only; 0: any free port",
        validator=Number(gte=0, lte=65_535),
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """The server and the account. The secret is never a flag: other users can see flags."""

    base_url: Annotated[
        str | None, _flag(SERVER, 'base URL of the API, like "https://host"', "DP_BASE_URL")
    ] = None
    app_id: Annotated[str | None, _flag(SERVER, "app id from the console", "DP_APP_ID")] = None
    secret_file: Annotated[
        Path | None, _flag(SERVER, "file that holds the secret, instead of DP_APP_SECRET")
    ] = None
    account: Annotated[
        str | None, _flag(SERVER, "phone number of the sub-account", "DP_ACCOUNT")
    ] = None
    auth_template: Annotated[
        str, _flag(SERVER, "template of the text that is signed with md5", "DP_AUTH_TEMPLATE")
    ] = SETTINGS.auth_template
    timestamp_unit: Annotated[
        Literal["ms", "s"], _flag(SERVER, "unit of the signed timestamp", "DP_TIMESTAMP_UNIT")
    ] = SETTINGS.timestamp_unit
    timeout: Annotated[float, _flag(SERVER, "timeout of an attempt, in seconds")] = SETTINGS.timeout
    max_in_flight: Annotated[int, _flag(SERVER, "maximum requests in flight")] = (
        SETTINGS.max_in_flight
    )
    rate: Annotated[float | None, _flag(SERVER, "maximum requests per second")] = SETTINGS.rate
    allow_http: Annotated[
        bool, _switch(SERVER, "allow http:// to a host other than this machine")
    ] = SETTINGS.allow_http

    def defaults(self) -> dict[str, Any]:
        """The settings that apps may share, by name; ``base_url`` may be None."""
        return {
            "base_url": self.base_url,
            "auth_template": self.auth_template or SETTINGS.auth_template,
            "timestamp_unit": self.timestamp_unit,
            "timeout": self.timeout,
            "max_in_flight": self.max_in_flight,
            "rate": self.rate,
            "allow_http": self.allow_http,
        }

    def settings(self) -> Settings:
        """Settings of these flags and the secret. A ConfigError names the flag and the variable."""
        given: dict[str, Any] = self.defaults() | {
            "base_url": required(self.base_url, "DP_BASE_URL", "--base-url"),
            "app_id": required(self.app_id, "DP_APP_ID", "--app-id"),
            "app_secret": required(_secret(self.secret_file), "DP_APP_SECRET", "--secret-file"),
            "account": self.account or None,
        }
        return Settings(**given)


def choices(kind: type[WorkStatus | ReadStatus | SortOrder]) -> str:
    """The values of *kind*, for the help and for errors."""
    return f"{', '.join(kind)} (in any case), or other:VALUE for one that is new"


def chosen(flag: str, kind: type[E], text: str | None) -> E | None:
    """The member of *kind* that *text* names. Raises ConfigError, which names the choices."""
    if text is None:
        return None
    prefix, _, value = text.partition(":")
    if prefix.lower() == "other" and value:
        return kind(value)
    if text.upper() in kind.__members__:
        return kind(text.upper())
    raise ConfigError(f"{flag}: it must be {choices(kind)}")


def required(value: str | None, variable: str, flag: str) -> str:
    if not value:
        raise ConfigError(f"{variable} is not set: set it in the environment, or use {flag}")
    return value


def _secret(file: Path | None) -> str | None:
    """The secret from *file*, without its final line break, or from the environment."""
    if file is None:
        return os.environ.get("DP_APP_SECRET")
    return secret_in(file, "--secret-file")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListFlags:
    """How a list is crawled and written."""

    limit: Annotated[int | None, _flag(CRAWL, "stop after this many rows")] = OPTIONS.limit
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    overlap: Annotated[
        int | Literal["auto"],
        _flag(
            CRAWL,
            "rows that a page shares with the one before, to link the pages of a list that "
            "changes; auto: once it is seen to change",
        ),
    ] = OPTIONS.overlap
    no_verify: Annotated[
        bool, _switch(CRAWL, "skip the proof of completeness and allow duplicates; saves requests")
    ] = not OPTIONS.verify
    on_bad_item: OnBadItem = OPTIONS.on_bad_item
    strict: Annotated[
        bool,
        _switch(
            CRAWL,
            "exit with 3 and leave --output unchanged if the crawl is known to be incomplete",
        ),
    ] = OPTIONS.strict
    format: Annotated[
        FormatName | None,
        _flag(
            OUTPUT,
            "default: by the suffix of --output, else table on a terminal and ndjson elsewhere. "
            "ndjson keeps every field as sent, the others the documented fields",
        ),
    ] = None
    output: Annotated[
        Path | None, _flag(OUTPUT, "write to this file; it is replaced once all rows are there")
    ] = None
    verbose: Annotated[
        bool, _switch(OUTPUT, "print a summary at the end even if stderr is no terminal")
    ] = False
    debug: Debug = False

    def options(self) -> CrawlOptions:
        """Options of these flags. Raises ConfigError."""
        return CrawlOptions(
            page_size=self.page_size,
            concurrency=self.concurrency,
            limit=self.limit,
            overlap=self.overlap,
            verify=not self.no_verify,
            strict=self.strict,
            on_bad_item=self.on_bad_item,
        )

    def target(self) -> Target:
        """Where the rows go and in which format. Raises ConfigError."""
        from ._export import Target

        if self.output is not None and not self.output.name:
            raise ConfigError("--output: it must name a file")
        return Target(
            format=self.format, output=self.output, limit=self.limit, verbose=self.verbose
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFlags:
    """The destination of a sync, what it loads and how often."""

    to: Annotated[
        str | None,
        _flag(
            SYNC,
            "duckdb:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE (set the variable instead: "
            "other users can see flags), delta:///FOLDER or s3://BUCKET/PREFIX for Delta tables, "
            "or a folder for Parquet files",
            "DP_SYNC_TO",
        ),
    ] = None
    dataset: Annotated[str, _flag(SYNC, "database schema that holds the tables")] = "dp_data"
    accounts: Annotated[
        Path | None, _flag(SYNC, "file of sub-accounts, one per line, instead of --account")
    ] = None
    apps: Annotated[
        Path | None,
        _flag(
            SYNC,
            "TOML file of [[app]] tables: app_id; accounts or accounts_file; secret_file or "
            "secret_env; base_url, rate, auth_template, timestamp_unit, else those of the flags. "
            "Instead of --app-id, --account and the secret; into Delta tables",
        ),
    ] = None
    ray: Annotated[
        bool | str,
        Parameter(
            group=SYNC,
            help="sync --apps on all cores; with an ADDRESS, on that cluster of Ray (auto: the one "
            "of this machine)",
            show_default=False,
        ),
    ] = False
    at_once: Annotated[
        int,
        Parameter(group=SYNC, help="accounts synced at once", validator=Number(gte=1, lte=1000)),
    ] = 4
    full: Annotated[bool, _switch(SYNC, "load all rows again, not only what changed")] = False
    reconcile: Annotated[
        bool,
        _switch(SYNC, "as --full, and set gone_at of rows that are proven to be gone"),
    ] = False
    watch: Annotated[bool, _switch(SYNC, "keep loading changes until Ctrl-C")] = False
    every: Annotated[
        float,
        Parameter(
            group=SYNC,
            help="seconds between runs of --watch",
            validator=Number(gte=1, lte=86_400),
        ),
    ] = 30.0
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    on_bad_item: OnBadItem = OPTIONS.on_bad_item
    demo: Annotated[
        bool, _switch(SYNC, "sync a simulated server three times while it changes; needs no set-up")
    ] = False
    debug: Debug = False

    def options(self) -> CrawlOptions:
        """Options of these flags. Raises ConfigError."""
        return CrawlOptions(
            page_size=self.page_size, concurrency=self.concurrency, on_bad_item=self.on_bad_item
        )


NO_SYNC_FLAGS = SyncFlags()
NO_SERVER_FLAGS = ServerFlags()
NO_LIST_FLAGS = ListFlags()
