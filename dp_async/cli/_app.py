"""The commands and their help. Their flags: ``_filters``, ``_server``, ``_flags``, ``_sync_flags``.

A command imports what it needs when it runs: help and an error in the flags need no network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cyclopts import App, CycloptsError, Parameter
from msgspec import Struct

from dp_async import ConfigError, CrawlOptions, __version__

from ._filters import NO_MESSAGE_FILTERS, NO_WORK_FILTERS, MessageFilters, WorkFilters
from ._flags import (
    NO_FEED_FLAGS,
    NO_LIST_FLAGS,
    OPTIONS,
    Concurrency,
    Debug,
    FeedFlags,
    Latency,
    ListFlags,
    Messages,
    PageSize,
    Port,
    Works,
)
from ._help import EXIT_CODES, examples
from ._run import Exit, attempt, execute, guarded
from ._server import NO_SERVER_FLAGS, ServerFlags, required
from ._streams import forget
from ._sync_flags import NO_SYNC_FLAGS, SyncFlags

if TYPE_CHECKING:
    from dp_async import Client, Listing

R = TypeVar("R", bound=Struct)

app = App(
    name="dp-async",
    help="The lists of a digital-human video platform's Open API, as rows.",
    help_epilogue=EXIT_CODES,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]  # **kwargs
    help="Install completion of commands and flags for a shell."
)
watch = App(
    name="watch",
    help="Rows of a list as they are created or updated, until Ctrl-C.",
    help_epilogue=EXIT_CODES,
)
app.command(watch)


@app.command(
    help_epilogue=examples(
        "dp-async works --status SUCCESS --limit 100",
        "dp-async works | jq -r .worksUrl",
        "dp-async works --strict --output works.parquet",
        "dp-async works --since works.watermark >> works.ndjson",
    )
)
def works(
    *,
    filters: WorkFilters = NO_WORK_FILTERS,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every work of the account."""
    from dp_async import Work

    return _export(filters.listing, Work, server, flags)


@app.command(
    help_epilogue=examples(
        "dp-async messages --read-status UNREAD",
        "dp-async messages --output messages.csv",
        "dp-async messages --since messages.watermark --format csv",
    )
)
def messages(
    *,
    filters: MessageFilters = NO_MESSAGE_FILTERS,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: ListFlags = NO_LIST_FLAGS,
) -> int:
    """Every message to the account."""
    from dp_async import Message

    return _export(filters.listing, Message, server, flags)


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


@watch.command(
    name="works",
    help_epilogue=examples(
        "dp-async watch works --status FAIL",
        "dp-async watch works --every 30 --since works.watermark >> works.ndjson",
    ),
)
def watch_works(
    *,
    filters: WorkFilters = NO_WORK_FILTERS,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: FeedFlags = NO_FEED_FLAGS,
) -> int:
    """Works as they are created or updated."""
    from dp_async import Work

    return _watch(filters.listing, Work, server, flags)


@watch.command(
    name="messages",
    help_epilogue=examples("dp-async watch messages", "dp-async watch messages | jq -r .title"),
)
def watch_messages(
    *,
    filters: MessageFilters = NO_MESSAGE_FILTERS,
    server: ServerFlags = NO_SERVER_FLAGS,
    flags: FeedFlags = NO_FEED_FLAGS,
) -> int:
    """Messages as they come."""
    from dp_async import Message

    return _watch(filters.listing, Message, server, flags)


def _watch(
    listing: Callable[[Client, CrawlOptions], Listing[R]],
    model: type[R],
    server: ServerFlags,
    flags: FeedFlags,
) -> int:
    from dp_async import Client

    from ._watch import watch

    async def work() -> int:
        feed = flags.feed()
        async with Client(server.settings()) as client:
            return await watch(listing(client, OPTIONS), model, feed)

    return execute(work(), debug=flags.debug)


@app.command(
    name="sync",
    help_epilogue=examples(
        "dp-async sync --demo",
        "dp-async sync --to duckdb:///videos.duckdb",
        "dp-async sync --to lake --accounts accounts.txt --watch --every 60",
    ),
)
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
            return flags.fleet(server, flags.apps).sync()
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


@app.command(
    help_epilogue=examples("dp-async demo", "dp-async demo --works 10000 --concurrency auto")
)
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

    from ._simulator import demonstrate, simulator

    async def work() -> int:
        options = CrawlOptions(page_size=page_size, concurrency=concurrency)
        return await demonstrate(simulator(works, messages, latency), options)

    return execute(work(), debug=debug)


@app.command(
    name="simulate", help_epilogue=examples("dp-async simulate", "dp-async simulate --port 0")
)
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

    from ._simulator import simulate, simulator

    async def work() -> int:
        return await simulate(simulator(works, messages, latency, port))

    return execute(work(), debug=debug)


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
