"""The same list of many accounts, crawled concurrently.

*at_once* accounts have a crawl each; when one ends the next begins. An account that fails does not
stop the others. No HTTP and no page numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Generic, Self, TypeAlias, TypeVar, cast

from ._checks import callback, header, instance, whole
from ._client import Client
from ._crawl.crawl import Crawl
from ._crawl.pager import Pager, ended
from ._crawl.report import CrawlReport
from ._errors import ClientClosed, ConfigError, DpError, RateLimited
from ._listing import Listing
from ._misuse import AsyncEntered, AsyncIterated
from ._models import Page
from ._plan.watermark import Watermark

T = TypeVar("T")

Progress: TypeAlias = Callable[[str, CrawlReport], object]


class AccountsFailed(DpError):
    """Some accounts failed, all others were crawled. ``errors`` has the error of each account."""

    def __init__(self, errors: dict[str, DpError]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        account, error = next(iter(self.errors.items()))
        noun = "1 account" if len(self.errors) == 1 else f"{len(self.errors)} accounts"
        return f"{noun} could not be crawled (see .errors), first …{account[-4:]}: {error}"

    def __repr__(self) -> str:  # the default repr would show the accounts
        return f"{type(self).__name__}({str(self)!r})"


class AccountsCrawl(AsyncIterated, AsyncEntered, Generic[T]):
    """Pairs of an account and one of its items, for all accounts of a ``crawl_accounts()``.

    The items of one account come in its list's order, the accounts as they arrive. After the last
    item AccountsFailed is raised, once, if any account failed; one that is known not to be complete
    has failed with IncompleteCrawl, after its rows were yielded. If the server makes the whole
    client wait for longer than ``RetryPolicy.cap``, RateLimited is raised, and the next call goes
    on: no account has failed.

    It has one consumer. A timeout round ``anext`` loses nothing. ``async with`` ends its requests
    promptly.

    - ``reports``: the report of each account that was begun, those under way and failed included.
    - ``errors``: the error of each account that failed.
    - ``watermarks``: how far each account is, to keep and pass as ``since`` the next time.
    """

    def __init__(
        self,
        listings: Mapping[str, Listing[T]],
        at_once: int,
        max_in_flight: int,
        progress: Progress | None,
        since: Mapping[str, Watermark] | None = None,
    ) -> None:
        self._since = since
        self._waiting = deque(listings.items())
        self._at_once = at_once = min(at_once, len(listings) or 1)
        self._share = max(1, max_in_flight // at_once)
        self._progress = progress
        self._ready: deque[str] = deque()  # accounts whose last page was handed out
        self._crawls: dict[str, Crawl[T]] = {}
        # This window holds one page of each crawl; each crawl fetches ahead in a window of its own.
        self._pager = Pager[str, tuple[str, Page[T] | DpError | None]](
            self._plan,
            self._fetch,
            lambda work: asyncio.get_running_loop().create_task(work),
            concurrency=at_once,
            window=at_once,
            ordered=False,
        )
        self._kept: tuple[str, Page[T] | DpError | None] | None = None
        self._current = ""
        self._items: Iterator[T] = iter(())
        self._ended = self._raised = False
        self._done: dict[str, CrawlReport] = {}
        self.errors: dict[str, DpError] = {}
        self.watermarks: dict[str, Watermark] = dict(since or {})

    @property
    def reports(self) -> dict[str, CrawlReport]:
        """The report of each account that was begun, as it is now."""
        running = {account: crawl.report for account, crawl in self._crawls.items()}
        return {**self._done, **running}

    def __repr__(self) -> str:
        done, failed = len(self._done), len(self.errors)
        running, waiting = len(self._crawls), len(self._waiting)
        accounts = (
            "1 account" if (total := done + running + waiting) == 1 else f"{total:,} accounts"
        )
        ended = f"{done:,} done ({failed:,} failed)" if failed else f"{done:,} done"
        return f"<AccountsCrawl of {accounts}: {ended}, {running:,} under way>"

    def _plan(self) -> str | None:
        """The account to fetch the next page of: first those begun, in turn, then a new one."""
        if self._ready:
            return self._ready.popleft()
        if self._waiting and len(self._crawls) < self._at_once:
            account, listing = self._waiting.popleft()
            listing = self._shared(listing)
            if self._since is None:
                self._crawls[account] = listing.crawl()
            else:
                self._crawls[account] = listing.since(self._since.get(account))
            return account
        return None

    def _shared(self, listing: Listing[T]) -> Listing[T]:
        """*listing* with its share of the client's slots, so that slow accounts cannot hold all."""
        if self._at_once == 1:
            return listing.with_options(strict=True)
        options = listing.options
        most = [self._share, options.window or self._share]
        if options.concurrency != "auto":
            most.append(options.concurrency)
        return listing.with_options(concurrency=min(most), strict=True)

    async def _fetch(self, account: str) -> Callable[[], tuple[str, Page[T] | DpError | None]]:
        result: Page[T] | DpError | None
        try:
            result = await self._crawls[account].next_page()
        except (ClientClosed, ConfigError):  # the client failed, not this account
            raise
        except RateLimited as error:
            if not error.status:  # not sent: the limiter pauses the whole client
                raise
            result = error
        except DpError as error:
            result = error
        return lambda: (account, result)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, T]:
        while not self._ended:
            for item in self._items:
                return self._current, item
            result = await self._pager() if self._kept is None else self._kept
            if result is None:
                self._ended = True
                self._pager.cancel()  # so that all is freed with the last reference to this
                break
            account, page = result
            if isinstance(page, Page):
                if self._progress is not None:
                    self._kept = result  # the page is not lost if the callback raises
                    self._progress(account, self._crawls[account].report)
                    self._kept = None
                self._current, self._items = account, iter(page.content)
                self._ready.append(account)
                continue
            crawl = self._crawls.pop(account)
            self._done[account] = crawl.report
            if crawl.watermark is not None:  # its last row was delivered
                self.watermarks[account] = crawl.watermark
            if page is not None:
                self.errors[account] = page
            await crawl.aclose()
        if self.errors and not self._raised:
            self._raised = True
            raise AccountsFailed(dict(self.errors))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it; returns when none of its requests is in flight. May be called twice."""
        closing = [crawl.aclose() for crawl in self._crawls.values()]
        await ended([asyncio.ensure_future(each) for each in (self._pager.aclose(), *closing)])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def crawl_accounts(
    client: Client,
    accounts: Iterable[str],
    listing: Callable[[Client], Listing[T]],
    *,
    since: Mapping[str, Watermark] | None = None,
    at_once: int = 8,
    progress: Progress | None = None,
) -> AccountsCrawl[T]:
    """Pairs ``(account, item)`` of one list of many sub-accounts.

    ``crawl_accounts(client, accounts, lambda sub: sub.works())`` crawls each account once, and
    sends nothing until it is iterated.

    - *listing*: makes the list of one account from a view of the client.
    - *since*: the ``watermarks`` of an earlier run: only the rows that are new or were updated, as
      ``Listing.since`` yields them, and all rows of an account without a watermark. ``{}`` begins.
    - *at_once*: accounts crawled concurrently; they share the limits of *client*.
    - *progress*: called with the account and its report after each page. An exception it
      raises reaches the caller of ``anext``; the next call returns that page.

    An account that fails does not stop the others: AccountsFailed is raised at the end. Raises
    ConfigError for a bad account, before any request.
    """
    instance("client", client, Client)
    whole("at_once", at_once, 1, 10_000)
    if not callable(listing):
        raise ConfigError(
            f"listing must be a callable, such as lambda sub: sub.works(), not "
            f"{type(listing).__name__}"
        )
    callback("progress", progress)
    instance("since", {} if since is None else since, Mapping)
    given = cast("object", accounts)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigError(
            f"accounts must be a list of accounts, not {type(given).__name__}: "
            "put a single one into a list"
        )
    listings: dict[str, Listing[T]] = {}
    for place, account in enumerate(accounts):
        header(f"accounts[{place}]", account)
        made = cast("object", listing(client.for_account(account)))
        if isinstance(made, Coroutine):
            made.close()  # it is never awaited
            raise ConfigError(
                "listing() must return a list that is not awaited, such as sub.works(); what it "
                "returned, as sub.work_list() does, is a request for one page"
            )
        instance("what listing() returns", made, Listing)
        listings[account] = checked = cast("Listing[T]", made)
        if since is not None:
            checked.since(since.get(account))  # raises ConfigError before any request
    return AccountsCrawl(listings, at_once, client.settings.max_in_flight, progress, since)
