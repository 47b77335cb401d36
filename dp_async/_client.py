"""The composition root: binds the endpoints to a ``Call``, owns the session and the tasks.

No paging, no parsing, no HTTP. Everything the layers need is put together here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from msgspec import Struct

from ._call.auth import Md5Signer
from ._call.observe import Attempt
from ._call.stats import ClientStats
from ._call.transport import HttpTransport
from ._checks import instance
from ._errors import ConfigError
from ._http import Send, Sign
from ._listing import Listing
from ._models import Message, Page, ReadStatus, SortOrder, Work, WorkStatus
from ._page.endpoints import MESSAGES, WORKS, ListEndpoint
from ._runtime import Core, View
from ._settings import CrawlOptions, RetryPolicy, Settings, with_attempts

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
R = TypeVar("R", bound=Struct)


class Client:
    """The API for one app: its endpoints as coroutines, its lists as listings.

    ``async with Client(settings) as client``, or ``await client.aclose()`` at the end. It belongs
    to the event loop it is first used in; any number of tasks may use it at once, and it may be
    entered in one task and left in another.

    - *session*: your own ``aiohttp.ClientSession``, for a proxy or a CA; it is not closed.
    - *sign*: how to sign, instead of md5 by ``Settings.auth_template``.
    - *send*: the HTTP exchange, instead of aiohttp's, or a wrapper round an ``HttpTransport``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: aiohttp.ClientSession | None = None,
        sign: Sign | None = None,
        send: Send | None = None,
    ) -> None:
        instance("settings", settings, Settings)
        if session is not None and send is not None:
            raise ConfigError("session and send exclude each other: a send has its own exchange")
        signer = sign or Md5Signer(
            app_id=settings.app_id,
            app_secret=settings.app_secret,
            template=settings.auth_template,
            unit=settings.timestamp_unit,
        )
        own = HttpTransport(settings, session)  # opens nothing until it is used
        core = Core(settings, send or own, signer, None if send else own)
        self._view = View(core, settings)
        self._owner = True

    @classmethod
    def from_env(cls) -> Self:
        """A client with ``Settings.from_env()``. Raises ConfigError, naming what is missing."""
        return cls(Settings.from_env())

    def for_account(self, account: str | None) -> Self:
        """The same client for another sub-account; None is the main account.

        A cheap view: connections, limits and tasks are shared, and closing it closes nothing.
        Raises ConfigError for what is not an account.
        """
        return self._with(self._view.settings.with_account(account))

    def with_options(
        self, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Self:
        """The same client with another time limit for one attempt, or another retry policy.

        A cheap view, as of ``for_account``. None keeps what is set. ``retry.cap`` also bounds how
        long calls of this view wait while the server has asked the client to pause. Raises
        ConfigError, which names the option.
        """
        return self._with(with_attempts(self._view.settings, timeout, retry))

    def _with(self, settings: Settings) -> Self:
        view = object.__new__(type(self))
        view._view = View(self._view.core, settings)
        view._owner = False
        return view

    @property
    def settings(self) -> Settings:
        """The settings of this client, or of this view."""
        return self._view.settings

    @property
    def stats(self) -> ClientStats:
        """What the client and all its views have sent so far."""
        tally = self._view.core.tally
        return ClientStats(
            requests=tally.requests,
            retries=tally.retries,
            throttles=tally.throttles,
            in_flight=tally.in_flight,
        )

    def observe(self, callback: Callable[[Attempt], object]) -> Callable[[], None]:
        """Call *callback* with the ``Attempt`` of each request that was answered or has failed.

        Covers the requests of all views, until the returned function is called; calling that twice
        is fine. *callback* runs inside the event loop and must not block; an exception it raises is
        logged and dropped. Raises ConfigError for anything that cannot be called.
        """
        if not callable(callback):
            raise ConfigError(f"observe() needs a callable, not {type(callback).__name__}")
        return self._view.core.observers.add(callback)

    async def work_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        name: str | None = None,
        sort: SortOrder | str | None = None,
        status: WorkStatus | str | None = None,
    ) -> Page[Work]:
        """One page of the works; *page_num* counts from 1. Filters as in ``works``."""
        return await self.works(name=name, sort=sort, status=status).page(page_num, page_size)

    async def msg_list(
        self,
        *,
        page_num: int = 1,
        page_size: int = 20,
        read_status: ReadStatus | str | None = None,
    ) -> Page[Message]:
        """One page of the messages; *page_num* counts from 1. Filters as in ``messages``."""
        return await self.messages(read_status=read_status).page(page_num, page_size)

    def works(
        self,
        *,
        name: str | None = None,
        status: WorkStatus | str | None = None,
        sort: SortOrder | str | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Work]:
        """The account's works, newest update first unless *sort* says otherwise.

        *name* is searched for inside the names; *status* must match. Sends nothing until it is
        iterated. Raises ConfigError for a filter of the wrong type.
        """
        return self._list(WORKS, options, name=name, status=status, sort=sort)

    def messages(
        self,
        *,
        read_status: ReadStatus | str | None = None,
        options: CrawlOptions | None = None,
    ) -> Listing[Message]:
        """The account's messages, newest first. Sends nothing until it is iterated.

        Raises ConfigError for a filter of the wrong type.
        """
        return self._list(MESSAGES, options, read_status=read_status)

    def _list(
        self, endpoint: ListEndpoint[R, Struct], options: CrawlOptions | None, **filters: object
    ) -> Listing[R]:
        options = CrawlOptions() if options is None else options
        instance("options", options, CrawlOptions)
        return Listing(endpoint, endpoint.query(filters), endpoint.model, options, self._view)

    async def aclose(self) -> None:
        """End all requests and close the session, unless it was passed in. Twice is fine."""
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
