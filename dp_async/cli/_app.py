"""The commands, their filters and their help. Flags that commands share are in ``_flags``.

A command imports what it needs when it runs: help and an error in the flags need no network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import App, CycloptsError, Parameter
from msgspec import Struct

from dp_async import ConfigError, CrawlOptions, ReadStatus, SortOrder, WorkStatus, __version__

from ._flags import (
    NO_LIST_FLAGS,
    NO_SERVER_FLAGS,
    NO_SYNC_FLAGS,
    OPTIONS,
    Concurrency,
    Debug,
    Latency,
    ListFlags,
    Messages,
    PageSize,
    Port,
    ServerFlags,
    SyncFlags,
    Works,
    choices,
    chosen,
    required,
)
from ._run import Exit, attempt, execute, guarded
from ._streams import forget

if TYPE_CHECKING:
    from dp_async import Client, Listing, Message, Work
    from dp_async.testing import Simulator

    from ._apps import Fleet

R = TypeVar("R", bound=Struct)

EXIT_CODES = """\
Exit codes: 0 done; 1 the API, the network or the output failed; 2 wrong usage or a missing \
setting; 3 with --strict or sync: a crawl is known to be incomplete; 4 with --on-bad-item keep: \
rows that cannot be read were left out, all others are there; 129 SIGHUP; 130 Ctrl-C (SIGINT); \
143 SIGTERM; 141 the reader of the output closed it (as in `| head`)"""

app = App(
    name="dp-async",
    help="The lists of a digital-human video platform's Open API, as rows.",
    help_epilogue=EXIT_CODES,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


@app.command
def works(
    *,
    name: Annotated[str | None, Parameter(help="only works with this in their name")] = None,
    status: Annotated[str | None, Parameter(help=choices(WorkStatus))] = None,
    sort: Annotated[
        str | None,
        Parameter(help=f"ASC: oldest first; default: newest first; {choices(SortOrder)}"),
    ] = None,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every work of the account."""

    def listing(client: Client, options: CrawlOptions) -> Listing[Work]:
        return client.works(
            name=name,
            status=chosen("--status", WorkStatus, status),
            sort=chosen("--sort", SortOrder, sort),
            options=options,
        )

    from dp_async import Work

    return _export(listing, Work, server, flags)


@app.command
def messages(
    *,
    read_status: Annotated[str | None, Parameter(help=choices(ReadStatus))] = None,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every message to the account."""

    def listing(client: Client, options: CrawlOptions) -> Listing[Message]:
        return client.messages(
            read_status=chosen("--read-status", ReadStatus, read_status), options=options
        )

    from dp_async import Message

    return _export(listing, Message, server, flags)


def _export(
    listing: Callable[[Client, CrawlOptions], Listing[R]],
    model: type[R],
    server: ServerFlags,
    flags: ListFlags,
) -> int:
    from dp_async import Client

    from ._export import export

    async def work() -> int:
        options, target = flags.options(), flags.target()
        async with Client(server.settings()) as client:
            return await export(client, listing(client, options), model, target)

    return execute(work(), debug=flags.debug)


@app.command(name="sync")
def sync_command(*, server: ServerFlags = NO_SERVER_FLAGS, flags: SyncFlags = NO_SYNC_FLAGS) -> int:
    """Load both lists into a database, Parquet files or Delta tables; later only what changed.

    Each run continues after the last one that was loaded; it may be stopped at any time.

    Only --reconcile finds deleted rows and messages that were read.
    """

    def work() -> int:
        from ._sync import Job, sync
        from ._target import target_of
        from ._text_files import accounts_in

        options = flags.options()
        if flags.apps is not None:
            return _fleet(server, flags, flags.apps).sync()
        if flags.ray is not False:
            raise ConfigError("--ray syncs many apps: name their file by --apps")
        if flags.demo:
            from ._demo import demonstrate_sync

            return demonstrate_sync(flags.to, flags.dataset, options)
        target = target_of(required(flags.to, "DP_SYNC_TO", "--to"), flags.dataset)
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


def _fleet(server: ServerFlags, flags: SyncFlags, apps: Path) -> Fleet:
    """The apps of a file, and where they go. Raises ConfigError."""
    others = {
        "--account (DP_ACCOUNT)": server.account,
        "--secret-file": server.secret_file,
        "--accounts": flags.accounts,
        "--watch": flags.watch,
        "--demo": flags.demo,
    }
    for name, given in others.items():
        if given:
            raise ConfigError(f"--apps and {name} exclude each other: use one of them")
    to = required(flags.to, "DP_SYNC_TO", "--to")
    if to.partition("://")[0] not in ("delta", "s3"):
        raise ConfigError("--to: --apps needs delta:///FOLDER or s3://BUCKET/PREFIX")
    try:
        from ._app_file import AppFile
        from ._apps import Fleet
        from ._lake import lake_of
    except ImportError:
        raise ConfigError(
            "--apps needs deltalake and pyarrow, an extra: pip install 'dp_async[cli,ray]', "
            "or 'dp_async[cli,delta]' without --ray"
        ) from None
    if flags.ray is not False and find_spec("ray") is None:
        raise ConfigError("--ray needs ray, an extra: pip install 'dp_async[cli,ray]'")
    return Fleet(
        file=AppFile(apps, server.defaults()),
        lake=lake_of(to, flags.dataset),
        address=None if flags.ray is False else "" if flags.ray is True else flags.ray,
        full=flags.full,
        reconcile=flags.reconcile,
        at_once=flags.at_once,
        options=flags.options(),
    )


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
    """Crawl both lists of a simulated server in this process and print a summary.

    Needs no server and no account. Exits with 1 if a row is missing.
    """

    from ._simulator import demonstrate

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
    """Run the simulated server until Ctrl-C and print how to use it from another shell.

    Its secret is made up and opens nothing else.
    """

    from ._simulator import simulate

    async def work() -> int:
        return await simulate(_simulator(works, messages, latency, port))

    return execute(work(), debug=debug)


def _simulator(works: int, messages: int, latency: float, port: int = 0) -> Simulator:
    """A simulator that keeps no log of requests, so may run for long. *latency* in milliseconds."""
    from dp_async.testing import Simulator

    from ._simulator import JITTER

    return Simulator(
        works=works,
        messages=messages,
        port=port,
        latency=latency / 1000,
        jitter=JITTER,
        remember=False,
    )


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return guarded(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str]) -> int:
    try:
        code: int | None = app(argv, exit_on_error=False, result_action="return_value")
    except CycloptsError:  # cyclopts has printed the error
        return Exit.USAGE
    except (OSError, SystemExit) as error:  # it could not print it
        if not isinstance(error.__context__, CycloptsError):
            raise
        forget(sys.stderr)
        return Exit.USAGE
    return Exit.OK if code is None else code  # help and version return nothing
