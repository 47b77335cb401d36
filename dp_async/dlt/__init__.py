"""Both lists as a dlt source, loaded incrementally and merged. Needs the extra ``dlt``.

Give ``source(settings)`` to a dlt pipeline and run it as often as you like: the first run loads all
rows, each later run what is new or updated.

- ``_resource``: a list as a dlt resource; its accounts are crawled concurrently, in a thread.
- ``_run``: one list of one account, compared with the destination.
- ``_store``: what the destination holds, read by SQL.
- ``_comparison``: the rows that were read, compared with those inside the database.
- ``_callbacks``: the application's callbacks, which end no run.

The watermark of each account and list is kept in dlt's state. State counts only once dlt has loaded
the rows it came with, so a run that is stopped before is simply repeated. The destination is
changed by the rows that the source yields, and by nothing else; rows are compared in temporary
tables, which end with their session.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from .. import Client, CrawlOptions, CrawlReport, Listing, Message, Settings, Work

try:
    import dlt
    from dlt.extract import DltResource, DltSource

    from ..tables import List, ListName, Outcome, Plan, account_names
    from ._callbacks import guarded
    from ._resource import Load, SharedClient, resource
except ImportError as error:
    raise ImportError(
        "dp_async.dlt needs dlt and pyarrow, which are an extra: pip install 'dp_async[dlt]'"
    ) from error

__all__ = ["source"]

DEFAULTS = CrawlOptions()


def source(
    settings: Settings,
    *,
    accounts: Iterable[str] | None = None,
    full: bool = False,
    reconcile: bool = False,
    allowed_lateness: float = 10.0,
    options: CrawlOptions = DEFAULTS,
    on_bad_item: Literal["raise", "keep"] | None = None,
    at_once: int = 4,
    client: Callable[[Settings], Client] = Client,
    progress: Callable[[ListName, str, CrawlReport], object] | None = None,
    on_outcome: Callable[[Outcome], object] | None = None,
) -> DltSource:
    """A dlt source with the resources ``works`` and ``messages``, merged on account and id.

    The first run loads all rows, later ones those that are new or updated since the watermark of
    each account and list.

    - *accounts*: the sub-accounts, crawled *at_once* at a time; None for the one of *settings*. An
      account that fails stops no other. At the end the run raises AccountsFailed (a single account:
      its own error) and loads nothing, unless errors are reported to *on_outcome*.
    - *full*: load all rows again, ignoring the watermarks.
    - *reconcile*: the same, and set ``gone_at`` on rows that are no longer in the list, if the
      crawl is proven complete; otherwise mark none and log a warning.
    - *allowed_lateness*: as in ``Listing.since``. *options*: of the crawls. *client*: makes the
      client.
    - *on_bad_item*: as in CrawlOptions; None: that of *options*. A row that is not as documented
      ends the list of its account with a DecodeError that names page and row, or is kept apart in
      ``Outcome.bad_items`` and counted in its report, while the other rows are loaded.
    - *progress*: called after each page, in the thread of the crawls. *on_outcome*: called at the
      end of each list of each account. What they raise changes nothing: the first exception of each
      is logged, and all are dropped.

    All rows of a list are loaded again, with a warning and ``Outcome.reloaded``, if the destination
    lacks the newest row loaded before, or a column: its table was dropped, emptied or restored from
    a backup, or that row was deleted by hand. Older rows that were deleted are not noticed: use
    *full*. dlt's own tables and its staging tables are made again too.

    The columns: those of ``dp_async.tables.schema``, with "" for the main account, and each
    undocumented field as its JSON, in the column that ``dp_async.tables.column_name`` says. A list
    without rows makes no table.

    Raises ConfigError for arguments that are not valid. A run raises it too, before any request for
    the list and with nothing loaded, if the table in the destination has another shape or the
    watermark belongs to another list.
    """
    if on_bad_item is not None:
        options = replace(options, on_bad_item=on_bad_item)
    plan = Plan(
        account_names(settings, accounts),
        full or reconcile,
        reconcile,
        allowed_lateness,
        at_once,
        None if progress is None else guarded("progress", progress),
    )
    done = None if on_outcome is None else guarded("on_outcome", on_outcome)
    shared = SharedClient(lambda: client(settings))

    def works(view: Client) -> Listing[Work]:
        return view.works(options=options)

    def messages(view: Client) -> Listing[Message]:
        return view.messages(options=options)

    @dlt.source(name="dp_async")
    def lists() -> list[DltResource]:
        return [
            resource(Load(List("works", "work_list", Work, works), plan, done, shared)),
            resource(Load(List("messages", "msg_list", Message, messages), plan, done, shared)),
        ]

    return lists()
