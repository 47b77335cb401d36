"""The commands and their flags: what can be typed, and what the help says. No work is done here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.validators import Number
from msgspec import Struct

from dp_async import (
    Client,
    ConfigError,
    CrawlOptions,
    Listing,
    Message,
    Settings,
    Work,
    __version__,
)
from dp_async.testing import Simulator

from ._export import FormatName, Target, export
from ._run import Exit, attempt, execute, guarded
from ._simulator import JITTER, demonstrate, simulate

R = TypeVar("R", bound=Struct)

OPTIONS = CrawlOptions()
#: Only for the defaults, which the help shows.
SETTINGS = Settings(base_url="https://unset", app_id="unset", app_secret="unset")

EXIT_CODES = """\
Exit codes: 0 done · 1 the API, the network or the output failed · 2 wrong usage or a missing \
setting · 3 with --strict, or of a sync: a crawl is known not to be complete · 130 Ctrl-C · 141 \
the reader of the output left (as in `| head`)"""

app = App(
    name="dp-async",
    help="The lists of a digital-human video platform's Open API, as rows.",
    help_epilogue=EXIT_CODES,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)

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
            base_url=_required(self.base_url, "DP_BASE_URL", "--base-url"),
            app_id=_required(self.app_id, "DP_APP_ID", "--app-id"),
            app_secret=_required(_secret(self.secret_file), "DP_APP_SECRET", "--secret-file"),
            account=self.account or None,
            auth_template=self.auth_template or SETTINGS.auth_template,
            timestamp_unit=self.timestamp_unit,
            timeout=self.timeout,
            max_in_flight=self.max_in_flight,
            rate=self.rate,
            allow_http=self.allow_http,
        )


def _required(value: str | None, variable: str, flag: str) -> str:
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


@app.command
def works(
    *,
    name: Annotated[str | None, Parameter(help="only works with this in their name")] = None,
    status: Annotated[
        str | None, Parameter(help="SUCCESS, DRAFT, IN_PROGRESS, FAIL or another")
    ] = None,
    sort: Annotated[
        str | None, Parameter(help="ASC for oldest first; newest first without it")
    ] = None,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every work of the account."""

    def ask(client: Client, options: CrawlOptions) -> Listing[Work]:
        return client.works(name=name, status=status, sort=sort, options=options)

    return _export(ask, Work, server, flags)


@app.command
def messages(
    *,
    read_status: Annotated[str | None, Parameter(help="UNREAD, READ or another")] = None,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every message to the account."""

    def ask(client: Client, options: CrawlOptions) -> Listing[Message]:
        return client.messages(read_status=read_status, options=options)

    return _export(ask, Message, server, flags)


def _export(
    ask: Callable[[Client, CrawlOptions], Listing[R]],
    model: type[R],
    server: ServerFlags,
    flags: ListFlags,
) -> int:
    async def work() -> int:
        options = flags.options()
        async with Client(server.settings()) as client:
            await export(ask(client, options), model, flags.target())
        return Exit.OK

    return execute(work(), debug=flags.debug)


@app.command(name="sync")
def sync_command(*, server: ServerFlags = NO_SERVER_FLAGS, flags: SyncFlags = NO_SYNC_FLAGS) -> int:
    """Bring both lists into a database, and again what is new since; no row twice, none lost.

    Each run goes on from the last one that was loaded: stop it whenever you like. Rows that were
    deleted and messages that were read are seen by --reconcile alone.
    """

    def work() -> int:
        try:
            from ._demo import demonstrate_sync
            from ._sync import Job, accounts_in, sync
            from ._target import target_of
        except ImportError:
            raise ConfigError(
                "sync needs dlt, pyarrow and duckdb, an extra: pip install 'dp_async[sync]'"
            ) from None
        options = CrawlOptions(page_size=flags.page_size, concurrency=flags.concurrency)
        if flags.demo:
            return demonstrate_sync(flags.to, flags.dataset, options)
        target = target_of(_required(flags.to, "DP_SYNC_TO", "--to"), flags.dataset)
        settings = server.settings()
        if flags.accounts is not None and settings.account:
            raise ConfigError("--accounts and --account exclude each other: use one of them")
        job = Job(
            settings=settings,
            target=target,
            accounts=accounts_in(flags.accounts, settings) if flags.accounts else None,
            full=flags.full,
            reconcile=flags.reconcile,
            at_once=flags.at_once,
            options=options,
        )
        return sync(job, flags.every if flags.watch else None)

    return attempt(work, debug=flags.debug)


@app.command
def demo(
    *,
    works: Works = 1070,
    messages: Messages = 530,
    latency: Latency = 20.0,
    concurrency: Concurrency = OPTIONS.concurrency,
    page_size: PageSize = OPTIONS.page_size,
    debug: Debug = False,
) -> int:
    """Crawl both lists of a simulated server in this process, and tell what came.

    Needs no server and no account. Exits 1 if fewer rows came than there are.
    """

    async def work() -> int:
        options = CrawlOptions(page_size=page_size, concurrency=concurrency)
        return await demonstrate(_simulator(works, messages, latency), options)

    return execute(work(), debug=debug)


@app.command(name="simulate")
def simulate_command(
    *,
    port: Port = 8080,
    works: Works = 1070,
    messages: Messages = 530,
    latency: Latency = 20.0,
    debug: Debug = False,
) -> int:
    """Run the simulated server until Ctrl-C, and print how another shell can use it.

    Its secret is made up and no secret: it opens nothing but this.
    """

    async def work() -> int:
        return await simulate(_simulator(works, messages, latency, port))

    return execute(work(), debug=debug)


def _simulator(works: int, messages: int, latency: float, port: int = 0) -> Simulator:
    """A simulator that may run for long. *latency* is in milliseconds."""
    return Simulator(
        works=works,
        messages=messages,
        port=port,
        latency=latency / 1000,
        jitter=JITTER,
        remember=False,
    )


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    return guarded(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str]) -> int:
    try:
        code: int | None = app(argv, exit_on_error=False, result_action="return_value")
    except CycloptsError:  # cyclopts has said what is wrong
        return Exit.USAGE
    return Exit.OK if code is None else code  # help and version return nothing
