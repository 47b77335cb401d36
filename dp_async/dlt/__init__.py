"""Both lists as a source for dlt: into a warehouse, again and again. Needs the extra ``dlt``.

A consumer of the package's public names. What dlt has loaded is what it goes on from: how far each
list is known is kept in dlt's state, which counts once the rows it belongs to are loaded. It
changes nothing in the destination but by the rows that it yields.
"""
# The types of dlt and pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from .. import Client, ConfigError, CrawlOptions, CrawlReport, Listing, Message, Settings, Work

try:
    import dlt
    from dlt.extract import DltResource, DltSource

    from ._rows import ListName, StrictMessage, StrictWork, schema
    from ._run import List, Outcome, Plan, Shared
except ImportError as error:
    raise ImportError(
        "dp_async.dlt needs dlt and pyarrow, which are an extra: pip install 'dp_async[dlt]'"
    ) from error

__all__ = ["Outcome", "schema", "source"]
NONE = CrawlOptions()


def source(
    settings: Settings,
    *,
    accounts: Iterable[str] | None = None,
    full: bool = False,
    reconcile: bool = False,
    allowed_lateness: float = 2.0,
    options: CrawlOptions = NONE,
    at_once: int = 4,
    client: Callable[[Settings], Client] = Client,
    progress: Callable[[ListName, str, CrawlReport], object] | None = None,
    told: Callable[[Outcome], object] | None = None,
) -> DltSource:
    """The resources ``works`` and ``messages``, to be run by a dlt pipeline as often as you like.

    The first run takes all rows, the next ones what is new or was updated since, by the watermark
    of each account and list; rows are merged on account and id.

    - *accounts*: the sub-accounts, *at_once* at a time; None for that of *settings*. An account
      that fails stops no other one: at the end AccountsFailed is raised, and dlt loads nothing,
      unless *told* is there to hear of it.
    - *full*: take all rows again, whatever the watermark.
    - *reconcile*: the same, and set ``gone_at`` of the rows that are not in the list any more, if
      the crawl is proven to be complete; else mark none, and say so in the log.
    - *allowed_lateness*: as in ``Listing.since``. *options*: of the crawls. *client*:
      makes the client.
    - *progress* is called after each page, in a thread of the crawls; *told* at the end of each
      list of each account.

    The columns: ``account`` ("" for the main one), those of ``dp_async.arrow``, ``gone_at``, and
    each field that is not documented, as its JSON. A list without rows makes no table. Raises
    ConfigError; in a run too, before any request for the list, for a table of another shape and for
    a watermark of another list. Nothing is loaded then.
    """
    given = cast("object", accounts)  # whatever its type says
    if isinstance(given, str | bytes) or not isinstance(given, Iterable | None):
        raise ConfigError("accounts needs a list of accounts, not a single one")
    if not _is_whole(at_once) or at_once < 1:
        raise ConfigError("at_once must be a whole number, 1 or more")
    names = [settings.account or ""] if accounts is None else list(dict.fromkeys(accounts))
    for place, name in enumerate(() if accounts is None else names):
        if not _is_text(name):
            raise ConfigError(f"accounts[{place}] must be an account, and is blank or no text")
        settings.with_account(name)
    if not names:
        raise ConfigError("accounts is empty: give at least one, or None for the main account")
    shared = Shared(lambda: client(settings))
    plan = Plan(names, full or reconcile, reconcile, allowed_lateness, at_once, progress, told)

    def works(view: Client) -> Listing[Work]:
        return view.works(options=options)

    def messages(view: Client) -> Listing[Message]:
        return view.messages(options=options)

    @dlt.source(name="dp_async")
    def lists() -> list[DltResource]:
        return [
            List("works", Work, StrictWork, works, plan, shared).resource(),
            List("messages", Message, StrictMessage, messages, plan, shared).resource(),
        ]

    return lists()


def _is_text(given: object) -> bool:
    return isinstance(given, str) and bool(given.strip())


def _is_whole(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


Outcome.__module__ = schema.__module__ = __name__  # tracebacks and pickles show the public name
