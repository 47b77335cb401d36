"""The same list of many accounts, crawled side by side.

Some accounts are crawled at once, each by a crawl of its own; when one is done the next begins. An
account that fails does not stop the others. No HTTP, no page numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Self, TypeVar, cast

from ._checks import header, instance, whole
from ._client import Client
from ._crawl.crawl import Crawl
from ._crawl.pager import Pager, ended
from ._crawl.report import CrawlReport
from ._errors import ClientClosed, ConfigError, DpError, RateLimited
from ._listing import Listing
from ._models import Page

T = TypeVar("T")


class AccountsFailed(DpError):
    """Some accounts could not be crawled; *errors* says why, by account. All others were."""

    def __init__(self, errors: dict[str, DpError]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        account, error = next(iter(self.errors.items()))
        noun = "1 account" if len(self.errors) == 1 else f"{len(self.errors)} accounts"
        return f"{noun} could not be crawled (see .errors), first …{account[-4:]}: {error}"

    def __repr__(self) -> str:  # the usual one would show the accounts
        return f"{type(self).__name__}({str(self)!r})"


class Accounts(Generic[T]):
    """The items of many accounts, each with its account; ``async with`` ends its requests promptly.

    An account's items come in its list's order, the accounts' as they come in. When all others are
    done, AccountsFailed is raised, once, for those that failed. A slow consumer is waited for. It
    has one consumer; a timeout round ``anext`` loses nothing. Where the server asks the client to
    wait for longer than ``RetryPolicy.cap``, RateLimited is raised: no account's failure. The next
    call goes on.

    ``reports`` has the report of each account that is done, failed ones too; ``errors`` the errors
    of those that failed.
    """

    def __init__(self, listings: Mapping[str, Listing[T]], at_once: int) -> None:
        self._waiting = deque(listings.items())
        self._at_once = at_once = min(at_once, len(listings) or 1)
        self._ready: deque[str] = deque()  # whose last page was handed out
        self._crawls: dict[str, Crawl[T]] = {}
        # In the pager's window is one page of each crawl; what is fetched ahead is in the crawls'.
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
        self._told = False
        self.errors: dict[str, DpError] = {}
        self.reports: dict[str, CrawlReport] = {}

    def _plan(self) -> str | None:
        """The account whose next page is to be had: those begun in turn, then a new one."""
        if self._ready:
            return self._ready.popleft()
        if self._waiting and len(self._crawls) < self._at_once:
            account, listing = self._waiting.popleft()
            # A share of the places each, so that accounts that are slow do not take them all.
            crawl = listing._crawl_beside(self._at_once - 1)  # pyright: ignore[reportPrivateUsage]
            self._crawls[account] = crawl
            return account
        return None

    async def _fetch(self, account: str) -> Callable[[], tuple[str, Page[T] | DpError | None]]:
        came: Page[T] | DpError | None
        try:
            came = await self._crawls[account].next_page()
        except (ClientClosed, ConfigError):  # no account's own trouble
            raise
        except RateLimited as error:
            if not error.status:  # not sent: the server has asked the whole client to wait
                raise
            came = error
        except DpError as error:
            came = error
        return lambda: (account, came)

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
                continue
            crawl = self._crawls.pop(account)
            self.reports[account] = crawl.report
            if page is not None:
                self.errors[account] = page
            await crawl.aclose()
        if self.errors and not self._told:
            self._told = True
            raise AccountsFailed(dict(self.errors))
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it; returns when none of its requests is under way. Twice is fine."""
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
) -> Accounts[T]:
    """The items of one list of many sub-accounts, each with its account.

    ``crawl_accounts(client, accounts, lambda sub: sub.works())``: *at_once* accounts are crawled at
    a time, under the limits of *client*, which they share. An account that fails does not stop the
    others; at the end AccountsFailed tells of it. One that is given twice is crawled once. Sends
    nothing until it is iterated. Raises ConfigError for what is not an account, before any request.
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
    return Accounts(listings, at_once)
