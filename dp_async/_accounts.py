"""The same list of many accounts, crawled side by side.

Each account has a crawl of its own; when one is done the next begins. An account that fails does
not stop the others. No HTTP, no page numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Self, TypeAlias, TypeVar, cast

from ._checks import header, instance, whole
from ._client import Client
from ._crawl.crawl import Crawl
from ._crawl.pager import Pager, ended
from ._crawl.report import CrawlReport
from ._errors import ClientClosed, ConfigError, DpError, RateLimited
from ._listing import Listing
from ._models import Page

T = TypeVar("T")

Progress: TypeAlias = Callable[[str, CrawlReport], object]


class AccountsFailed(DpError):
    """Some accounts could not be crawled; *errors* has why, by account. All others were."""

    def __init__(self, errors: dict[str, DpError]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        account, error = next(iter(self.errors.items()))
        noun = "1 account" if len(self.errors) == 1 else f"{len(self.errors)} accounts"
        return f"{noun} could not be crawled (see .errors), first …{account[-4:]}: {error}"

    def __repr__(self) -> str:  # the default would show the accounts
        return f"{type(self).__name__}({str(self)!r})"


class AccountsCrawl(Generic[T]):
    """The items of many accounts, each with its account; ``async with`` ends its requests promptly.

    The items of an account come in the order of its list, the accounts as they are answered. When
    all others are done, AccountsFailed is raised, once, for those that failed, among them accounts
    whose crawl is known not to be complete. A slow consumer is waited for. There is one consumer; a
    timeout round ``anext`` loses nothing. If the server asks the client to wait for longer than
    ``RetryPolicy.cap``, RateLimited is raised: no account's failure. The next call goes on.

    *reports* has the report of each account that is done, also of those that failed; *errors* the
    errors of those that failed.
    """

    def __init__(
        self,
        listings: Mapping[str, Listing[T]],
        at_once: int,
        max_in_flight: int,
        progress: Progress | None,
    ) -> None:
        self._waiting = deque(listings.items())
        self._at_once = at_once = min(at_once, len(listings) or 1)
        # A share of the permits for each, so that slow accounts do not take them all.
        self._share = max(1, max_in_flight // at_once)
        self._progress = progress
        self._ready: deque[str] = deque()  # accounts whose last page was handed out
        self._crawls: dict[str, Crawl[T]] = {}
        # The pager's window holds one page of each crawl; each crawl reads ahead in its own window.
        self._pager = Pager[str, tuple[str, Page[T] | DpError | None]](
            self._plan,
            self._fetch,
            lambda work: asyncio.get_running_loop().create_task(work),
            concurrency=at_once,
            window=at_once,
            ordered=False,
        )
        self._current = ""
        self._items: Iterator[T] = iter(())
        self._raised = False
        self.errors: dict[str, DpError] = {}
        self.reports: dict[str, CrawlReport] = {}

    def _plan(self) -> str | None:
        """The account whose next page to fetch: those that began in turn, then a new one."""
        if self._ready:
            return self._ready.popleft()
        if self._waiting and len(self._crawls) < self._at_once:
            account, listing = self._waiting.popleft()
            self._crawls[account] = self._begin(listing)
            return account
        return None

    def _begin(self, listing: Listing[T]) -> Crawl[T]:
        wanted = listing.options.concurrency
        if self._at_once > 1:
            wanted = self._share if wanted == "auto" else min(wanted, self._share)
        return listing.with_options(concurrency=wanted, strict=True).crawl()

    async def _fetch(self, account: str) -> Callable[[], tuple[str, Page[T] | DpError | None]]:
        answer: Page[T] | DpError | None
        try:
            answer = await self._crawls[account].next_page()
        except (ClientClosed, ConfigError):  # not the account's fault
            raise
        except RateLimited as error:
            if not error.status:  # not sent: the server has asked the whole client to wait
                raise
            answer = error
        except DpError as error:
            answer = error
        return lambda: (account, answer)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, T]:
        while True:
            for item in self._items:
                return self._current, item
            result = await self._pager()
            if result is None:
                break
            account, page = result
            if isinstance(page, Page):
                self._current, self._items = account, iter(page.content)
                self._ready.append(account)
                if self._progress is not None:
                    self._progress(account, self._crawls[account].report)
                continue
            crawl = self._crawls.pop(account)
            self.reports[account] = crawl.report
            if page is not None:
                self.errors[account] = page
            await crawl.aclose()
        if self.errors and not self._raised:
            self._raised = True
            raise AccountsFailed(dict(self.errors))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it; returns when none of its requests is in flight. Twice is fine."""
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
    at_once: int = 8,
    progress: Progress | None = None,
) -> AccountsCrawl[T]:
    """The items of one list of many sub-accounts, each with its account.

    ``crawl_accounts(client, accounts, lambda sub: sub.works())`` crawls *at_once* accounts at a
    time, under the limits of *client*, which they share. An account that fails does not stop the
    others; AccountsFailed is raised for it at the end. One that is given twice is crawled once.
    *progress* is called with the account and its report before the items of each page; an exception
    that it raises reaches the consumer and loses no item.

    Sends nothing until it is iterated. Raises ConfigError, before any request, for anything that is
    not an account.
    """
    instance("client", client, Client)
    whole("at_once", at_once, 1, 10_000)
    given = cast("object", accounts)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigError(
            f"accounts must be a list of accounts, not {type(given).__name__}: "
            "put a single one into a list"
        )
    listings: dict[str, Listing[T]] = {}
    for place, account in enumerate(accounts):
        header(f"accounts[{place}]", account)
        listings[account] = listing(client.for_account(account))
        instance("what listing() returns", listings[account], Listing)
    return AccountsCrawl(listings, at_once, client.settings.max_in_flight, progress)
