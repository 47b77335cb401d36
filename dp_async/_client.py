"""The public client: one coroutine and one listing for each endpoint, views, observers, closing.

No paging, no parsing, no HTTP; ``Core`` puts the layers together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn, Self, TypeAlias, TypeVar

from msgspec import Struct

from ._call.auth import Md5Signer
from ._call.checked_send import checked_send
from ._call.observe import Attempt
from ._call.rate_limiter import RateLimiter, check_rate_limiter
from ._call.stats import ClientStats
from ._call.transport import ClientSession, HttpTransport
from ._checks import callback as check_callback
from ._checks import instance
from ._errors import ConfigError
from ._http import Send, Sign
from ._listing import Listing
from ._misuse import AsyncEntered
from ._models import Message, Page, ReadStatus, SortOrder, Work, WorkStatus
from ._page.endpoints import MESSAGES, WORKS, ListEndpoint
from ._runtime import Core, View
from ._settings import CrawlOptions, RetryPolicy, Settings, with_attempts

R = TypeVar("R", bound=Struct)

#: The filters' known values as plain strings.
_WorkStatus: TypeAlias = Literal["SUCCESS", "DRAFT", "IN_PROGRESS", "FAIL"]
_Sort: TypeAlias = Literal["ASC", "DESC"]
_ReadStatus: TypeAlias = Literal["UNREAD", "READ"]


class Client(AsyncEntered):
    """The API for one app: each endpoint as a coroutine for one page and as a listing of all items.

    Use ``async with Client(settings) as client``, or await ``client.aclose()`` at the end. A client
    belongs to the event loop that it is first used in. Any number of tasks may use it at once, and
    it may be entered in one task and left in another.

    - *session*: your own ``aiohttp.ClientSession``, for a proxy or a private CA. You close it.
    - *sign*: replaces the md5 signature made from ``Settings.auth_template``; a function or a
      coroutine function.
    - *send*: replaces the HTTP exchange, or wraps an ``HttpTransport``.
    - *rate_limiter*: a request rate that this client shares with others: an
      ``InProcessRateLimiter``, or a ``dp_async.redis.RedisRateLimiter`` for those of many
      processes. ``Settings.rate``, if set, bounds this client besides.

    Raises ConfigError for settings, a session or a combination of them that cannot work.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: ClientSession | None = None,
        sign: Sign | None = None,
        send: Send | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        instance("settings", settings, Settings)
        if session is not None and send is not None:
            raise ConfigError("session and send exclude each other: a send has its own exchange")
        for name, given in (("sign", sign), ("send", send)):
            if given is not None and not callable(given):
                raise ConfigError(f"{name} must be a callable, not {type(given).__name__}")
        if rate_limiter is not None:
            check_rate_limiter(rate_limiter)
        if sign is None:
            sign = Md5Signer(
                app_id=settings.app_id,
                app_secret=settings.app_secret,
                template=settings.auth_template,
                unit=settings.timestamp_unit,
            )
        own = HttpTransport(settings, session)  # opens nothing until it is used
        if send is None:
            core = Core(settings, own, sign, own, rate_limiter)
        else:
            core = Core(settings, checked_send(send), sign, None, rate_limiter)
        self._view = View(core, settings)
        self._owner = True

    @classmethod
    def from_env(cls) -> Self:
        """A client with ``Settings.from_env()``. Raises ConfigError, naming what is missing."""
        return cls(Settings.from_env())

    def for_account(self, account: str | None) -> Self:
        """A view of this client for another sub-account, or for the main account if None.

        It shares connections, limits and tasks with the client; closing it closes nothing. Raises
        ConfigError for an account that cannot be sent.
        """
        return self._with(self._view.settings.with_account(account))

    def with_options(
        self, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Self:
        """A view of this client with another *timeout* (seconds), *retry* policy, or both.

        It shares connections, limits and tasks with the client; closing it closes nothing. None
        keeps the present value. Its ``retry.cap`` bounds its own waits, the limiter's included.
        Raises ConfigError for a bad value.
        """
        return self._with(with_attempts(self._view.settings, timeout, retry))

    def _with(self, settings: Settings) -> Self:
        view = object.__new__(type(self))
        view._view = View(self._view.core, settings)
        view._owner = False
        return view

    @property
    def settings(self) -> Settings:
        """The settings of this client or view; their repr hides the secret."""
        return self._view.settings

    @property
    def stats(self) -> ClientStats:
        """Counts of requests, retries and throttles, of the client and all its views; what the
        server was seen to allow, and the pause that it asked for.
        """
        return self._view.core.stats

    def observe(self, callback: Callable[[Attempt], object]) -> Callable[[], None]:
        """Call *callback* with an ``Attempt`` after each request, of the client and all its views.

        Returns a function that ends it; calling that twice is fine. *callback* runs inside the
        event loop and must not block; an exception it raises is logged and dropped. Raises
        ConfigError for what cannot be called.
        """
        if not callable(callback):
            raise ConfigError(f"observe() needs a callable, not {type(callback).__name__}")
        check_callback("the callback of observe()", callback)
        return self._view.core.observers.add(callback)

    async def work_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        name: str | None = None,
        sort: SortOrder | _Sort | None = None,
        status: WorkStatus | _WorkStatus | None = None,
    ) -> Page[Work]:
        """One page of the works; *page_num* counts from 1. The filters are as in ``works``."""
        return await self.works(name=name, sort=sort, status=status).page(page_num, page_size)

    async def msg_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        read_status: ReadStatus | _ReadStatus | None = None,
    ) -> Page[Message]:
        """One page of the messages; *page_num* counts from 1. The filter is as in ``messages``."""
        return await self.messages(read_status=read_status).page(page_num, page_size)

    def works(
        self,
        *,
        name: str | None = None,
        status: WorkStatus | _WorkStatus | None = None,
        sort: SortOrder | _Sort | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Work]:
        """The account's works, newest update first unless *sort* says otherwise.

        - *name*: a text that the work's name contains.
        - *status*: the work's status.

        A plain string must be a known value. ``WorkStatus("NEW")`` is sent although this library
        does not know it, and so is the ``status`` of any work. Sends nothing until it is iterated.
        Raises ConfigError for a filter of the wrong type or an unknown value.
        """
        return self._list(WORKS, options, name=name, status=status, sort=sort)

    def messages(
        self,
        *,
        read_status: ReadStatus | _ReadStatus | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Message]:
        """The account's messages, newest first.

        *read_status* is as *status* in ``works``. Sends nothing until it is iterated. Raises
        ConfigError for a filter of the wrong type or an unknown value.
        """
        return self._list(MESSAGES, options, read_status=read_status)

    def _list(
        self, endpoint: ListEndpoint[R, Struct], options: CrawlOptions | None, **filters: object
    ) -> Listing[R]:
        options = CrawlOptions() if options is None else options
        instance("options", options, CrawlOptions)
        return Listing(endpoint, endpoint.query(filters), endpoint.model, options, self._view)

    async def aclose(self) -> None:
        """End all requests and close the session, unless you passed it in. May be called twice."""
        if self._owner:
            await self._view.core.aclose()

    async def __aenter__(self) -> Self:
        self._view.check_usable()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client({self._view.settings!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client holds connections and cannot be pickled: pickle its Settings")
