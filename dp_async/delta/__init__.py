"""Both lists of any number of accounts in Delta tables, kept up to date. Needs the extra ``delta``.

- ``_place``: where the tables are, and the errors of deltalake.
- ``_table``: a Delta table: made, checked, read, merged into.
- ``_windows``: which keys one merge takes.
- ``_marks``: the table of the watermarks.
- ``_spool``: rows that wait for their commit, in a temporary file.
- ``_comparison``: what was read against what a table holds.
- ``_run``: one list of one account, with the table's own columns.
- ``_round``: some accounts crawled, committed, and their watermarks.
- ``_load``: one list of all accounts, round after round.

The tables are changed by whole commits alone, rows before the watermarks that cover them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from inspect import iscoroutinefunction

from .. import Client, ConfigError, CrawlOptions, CrawlReport, Listing, Message, Work

try:
    from anyio.to_thread import run_sync

    from ..tables import List, ListName, Outcome, Plan, account_names
    from ._load import Load, table_of
    from ._marks import Marks
    from ._place import LoadFailed, Place, place_of
except ImportError as error:
    raise ImportError(
        "dp_async.delta needs deltalake and pyarrow, which are an extra: "
        "pip install 'dp_async[delta]'"
    ) from error

__all__ = ["LoadFailed", "prepare", "sync"]

LoadFailed.__module__ = __name__  # tracebacks show the public name

DEFAULTS = CrawlOptions()


def sync(
    client: Client,
    accounts: Iterable[str] | None,
    uri: str | os.PathLike[str],
    *,
    full: bool = False,
    reconcile: bool = False,
    allowed_lateness: float = 10.0,
    options: CrawlOptions = DEFAULTS,
    at_once: int = 4,
    storage_options: Mapping[str, str] | None = None,
    progress: Callable[[ListName, str, CrawlReport], object] | None = None,
) -> AsyncGenerator[Outcome, None]:
    """The outcome of each list of each account, once its rows and watermark are committed.

    ``async for outcome in sync(client, accounts, "folder")`` keeps the tables ``works`` and
    ``messages``, and ``watermarks``, under *uri*. The first run loads all rows, each later one
    those that are new or updated. An account that fails stops no other: its outcome has the error.

    - *accounts*: the sub-accounts of the client's app, crawled *at_once* at a time; None for the
      client's own.
    - *uri*: a folder, or ``s3://BUCKET/PREFIX``. *storage_options*: of deltalake's store; what they
      leave out, such as the credentials, it takes from the environment. No error shows them.
    - *full*: load all rows again, ignoring the watermarks.
    - *reconcile*: the same, and set ``gone_at`` on rows that are no longer in the list, if the
      crawl is proven complete; otherwise mark none and log a warning.
    - *allowed_lateness*: as in ``Listing.since``. *options*: of the crawls; with
      ``on_bad_item="keep"``, rows that are not as documented go to ``Outcome.bad_items``.
    - *progress*: called after each page; what it raises ends the sync.

    The tables are partitioned by ``app_id``. Their keys are ``app_id``, ``account`` ("" for the
    main one) and the id; the other columns are those of ``dp_async.tables.schema``, and each
    undocumented field as its JSON in the column that ``dp_async.tables.column_name`` says. Times
    are instants at UTC.

    The rows of an app and list are merged in one commit, or, to bound the memory, in one for about
    each 50,000 rows; its watermarks are in one after that. A sync that is killed at any moment and
    run again loses no row and has none twice. Syncs of different apps may run at once, anywhere. Of
    two syncs of one app at once, the one that commits second reads its rows again.

    All rows of an account are loaded again, with a warning and ``Outcome.reloaded``, if the table
    lacks the newest row loaded before, or a documented column.

    Raises ConfigError for arguments that are not valid and, before any request to the API, for a
    folder that holds something else, a table of another shape and a watermark of another list; and
    LoadFailed if a table cannot be read or written.
    """
    if not isinstance(client, Client):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"client must be a Client, not {type(client).__name__}")
    if progress is not None and (not callable(progress) or iscoroutinefunction(progress)):
        raise ConfigError("progress must be a plain function: an async one is never awaited")
    plan = Plan(
        account_names(client.settings, accounts),
        full or reconcile,
        reconcile,
        allowed_lateness,
        at_once,
        progress,
    )
    place = place_of(uri, storage_options)
    return _outcomes(client, plan, place, options)


def prepare(
    uri: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None
) -> None:
    """Make the tables under *uri*, or check those that are there, as each ``sync`` does first.

    For many syncs into one place: what is wrong with it is said once, before they begin. Blocks.
    Raises ConfigError and LoadFailed as ``sync`` does.
    """
    place = place_of(uri, storage_options)
    Marks(place).make()
    works, messages = _lists(DEFAULTS)
    for table in (table_of(works, place), table_of(messages, place)):
        table.make()


async def _outcomes(
    client: Client, plan: Plan, place: Place, options: CrawlOptions
) -> AsyncGenerator[Outcome, None]:
    marks = Marks(place)
    found = await run_sync(marks.read, client.settings.app_id, plan.accounts)
    works, messages = _lists(options)
    loads = (
        Load(works, client, plan, place, marks),
        Load(messages, client, plan, place, marks),
    )
    for load in loads:
        await load.check(found)
    for load in loads:
        async for outcomes in load.rounds():
            for outcome in outcomes:
                yield outcome


def _lists(options: CrawlOptions) -> tuple[List[Work], List[Message]]:
    def works(view: Client) -> Listing[Work]:
        return view.works(options=options)

    def messages(view: Client) -> Listing[Message]:
        return view.messages(options=options)

    return (
        List("works", "work_list", Work, works),
        List("messages", "msg_list", Message, messages),
    )
