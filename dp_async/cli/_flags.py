"""The flags of the commands, their help, and the settings made of them. No command is here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dp_async import ConfigError, CrawlOptions, Settings

from ._export import FormatName, Target

OPTIONS = CrawlOptions()
#: Only for the defaults, which the help shows.
SETTINGS = Settings(base_url="https://unset", app_id="unset", app_secret="unset")
SERVER = Group("Server and account", sort_key=1)
SYNC = Group("Sync", sort_key=2)
CRAWL = Group("Crawl", sort_key=2)
OUTPUT = Group("Output", sort_key=3)


def _flag(group: Group, text: str, env: str | None = None) -> Parameter:
    return Parameter(group=group, help=text, env_var=env)


def _switch(group: Group, text: str) -> Parameter:
    return Parameter(group=group, help=text, show_default=False)


PageSize: TypeAlias = Annotated[
    int, _flag(CRAWL, "rows asked for per page; the server may answer with fewer")
]
Concurrency: TypeAlias = Annotated[
    int | Literal["auto"], _flag(CRAWL, "pages under way at once; auto: as the server can take")
]
Debug: TypeAlias = Annotated[bool, _switch(OUTPUT, "show the traceback of an error")]
Works: TypeAlias = Annotated[int, Parameter(help="works to make up", validator=Number(gte=0))]
Messages: TypeAlias = Annotated[int, Parameter(help="messages to make up", validator=Number(gte=0))]
Latency: TypeAlias = Annotated[
    float, Parameter(help="median time of an answer, in ms", validator=Number(gte=0, lte=60_000))
]
Port: TypeAlias = Annotated[
    int,
    Parameter(
        help="where to listen, on this machine only; 0 for any free one",
        validator=Number(gte=0, lte=65_535),
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """Where the API is and who asks. The secret itself is never a flag: others can see those."""

    base_url: Annotated[
        str | None, _flag(SERVER, 'where the API is, like "https://host"', "DP_BASE_URL")
    ] = None
    app_id: Annotated[str | None, _flag(SERVER, "from the platform's console", "DP_APP_ID")] = None
    secret_file: Annotated[
        Path | None, _flag(SERVER, "a file with the secret, instead of DP_APP_SECRET")
    ] = None
    account: Annotated[
        str | None, _flag(SERVER, "the sub-account's phone number", "DP_ACCOUNT")
    ] = None
    auth_template: Annotated[
        str, _flag(SERVER, "what the md5 signature is made of", "DP_AUTH_TEMPLATE")
    ] = SETTINGS.auth_template
    timestamp_unit: Annotated[
        Literal["ms", "s"], _flag(SERVER, "of the signed timestamp", "DP_TIMESTAMP_UNIT")
    ] = SETTINGS.timestamp_unit
    timeout: Annotated[float, _flag(SERVER, "seconds for one attempt")] = SETTINGS.timeout
    max_in_flight: Annotated[int, _flag(SERVER, "requests under way at once, at most")] = (
        SETTINGS.max_in_flight
    )
    rate: Annotated[float | None, _flag(SERVER, "requests a second, at most")] = SETTINGS.rate
    allow_http: Annotated[
        bool, _switch(SERVER, "permit http:// to a host that is not this machine")
    ] = SETTINGS.allow_http

    def settings(self) -> Settings:
        """These flags and the secret. Raises ConfigError, which names the flag and the variable."""
        return Settings(
            base_url=required(self.base_url, "DP_BASE_URL", "--base-url"),
            app_id=required(self.app_id, "DP_APP_ID", "--app-id"),
            app_secret=required(_secret(self.secret_file), "DP_APP_SECRET", "--secret-file"),
            account=self.account or None,
            auth_template=self.auth_template or SETTINGS.auth_template,
            timestamp_unit=self.timestamp_unit,
            timeout=self.timeout,
            max_in_flight=self.max_in_flight,
            rate=self.rate,
            allow_http=self.allow_http,
        )


def required(value: str | None, variable: str, flag: str) -> str:
    if not value:
        raise ConfigError(f"{variable} is not set: set it in the environment, or use {flag}")
    return value


def _secret(file: Path | None) -> str | None:
    """The secret from *file*, less the line break an editor leaves, or from the environment."""
    if file is None:
        return os.environ.get("DP_APP_SECRET")
    try:
        return file.read_text("utf-8").removesuffix("\n")  # \r\n was read as \n
    except OSError as error:
        problem = error.strerror
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    raise ConfigError(f"--secret-file cannot be read: {problem}")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListFlags:
    """How a list is crawled and written; the same for every list."""

    limit: Annotated[int | None, _flag(CRAWL, "stop after so many rows")] = OPTIONS.limit
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    overlap: Annotated[
        int | Literal["auto"],
        _flag(
            CRAWL,
            "rows a page shares with the one before, so that a list that moves holds together; "
            "auto: once it is seen to move",
        ),
    ] = OPTIONS.overlap
    no_verify: Annotated[
        bool, _switch(CRAWL, "prove nothing and let rows repeat: saves a request or more")
    ] = not OPTIONS.verify
    strict: Annotated[
        bool,
        _switch(
            CRAWL,
            "exit with 3, and leave --output as it was, if the crawl is known not to be complete",
        ),
    ] = OPTIONS.strict
    format: Annotated[
        FormatName | None,
        _flag(
            OUTPUT,
            "table on a terminal, else ndjson unless --output ends in .csv or .parquet. ndjson "
            "keeps every field as sent; the others hold the documented ones",
        ),
    ] = None
    output: Annotated[
        Path | None, _flag(OUTPUT, "write to this file, replaced only when all rows have come")
    ] = None
    verbose: Annotated[
        bool, _switch(OUTPUT, "say at the end what came, also when not on a terminal")
    ] = False
    debug: Debug = False

    def options(self) -> CrawlOptions:
        """How to crawl. Raises ConfigError."""
        return CrawlOptions(
            page_size=self.page_size,
            concurrency=self.concurrency,
            limit=self.limit,
            overlap=self.overlap,
            verify=not self.no_verify,
            strict=self.strict,
        )

    def target(self) -> Target:
        """Where the rows go."""
        return Target(
            format=self.format, output=self.output, limit=self.limit, verbose=self.verbose
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFlags:
    """Where to, how much and how often."""

    to: Annotated[
        str | None,
        _flag(
            SYNC,
            "duckdb:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE (others can see flags: set "
            "the variable), or a folder for Parquet files",
            "DP_SYNC_TO",
        ),
    ] = None
    dataset: Annotated[str, _flag(SYNC, "the schema of the tables in the database")] = "dp_data"
    accounts: Annotated[
        Path | None, _flag(SYNC, "a file of sub-accounts, one a line; else that of --account")
    ] = None
    at_once: Annotated[
        int, Parameter(group=SYNC, help="accounts at once", validator=Number(gte=1, lte=1000))
    ] = 4
    full: Annotated[bool, _switch(SYNC, "take all rows again, not only what is new")] = False
    reconcile: Annotated[
        bool,
        _switch(SYNC, "the same, and set gone_at of rows that are not there any more, if proven"),
    ] = False
    watch: Annotated[bool, _switch(SYNC, "go on until Ctrl-C, with what is new")] = False
    every: Annotated[
        float,
        Parameter(
            group=SYNC, help="seconds from one to the next", validator=Number(gte=1, lte=86_400)
        ),
    ] = 30.0
    page_size: PageSize = OPTIONS.page_size
    concurrency: Concurrency = OPTIONS.concurrency
    demo: Annotated[
        bool, _switch(SYNC, "sync a simulated server three times, while it changes; no set-up")
    ] = False
    debug: Debug = False


NO_SYNC_FLAGS = SyncFlags()
NO_SERVER_FLAGS = ServerFlags()
NO_LIST_FLAGS = ListFlags()
