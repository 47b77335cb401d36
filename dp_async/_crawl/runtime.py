"""What a crawl needs of its client (``Runtime``) and of its list (``Source``). Shapes only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from .._call.stats import Tally
from .._http import Call, Request
from .._page.reader import RowReader

T = TypeVar("T")


class Runtime(Protocol):
    """What a crawl needs of the client it runs on."""

    @property
    def max_in_flight(self) -> int: ...

    @property
    def scope(self) -> tuple[str, ...]:
        """What distinguishes this client's lists from another client's."""
        ...

    def check_usable(self) -> None:
        """Raises ClientClosed or, in another loop, thread or process, ConfigError."""

    @property
    def adaptive_limit(self) -> int:
        """The concurrency learned so far."""
        ...

    def tally(self) -> Tally:
        """New counts, which also count into the client's."""
        ...

    def call(self, tally: Tally, *, adaptive: bool = False) -> Call:
        """A call that counts into *tally*; with *adaptive*, one that learns the concurrency."""
        ...

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """A task that ends no later than the client."""
        ...

    async def sleep(self, seconds: float, until: asyncio.Future[None]) -> None:
        """Return after *seconds*, or once *until* has a result or the client is closed."""
        ...

    def clock(self) -> float:
        """Monotonic time, in seconds."""
        ...


class Source(Struct, Generic[T], frozen=True):
    """One list on the server: its *request* for page *num* of *size* rows, and its reader.

    *scope* is a digest of the client, the list and its filters. *unstamped*: the filter that rows
    may enter without a new update time, as text; "" if there is none. *name*: the list and its
    filters for reprs, without a hidden value.
    """

    request: Callable[[int, int], Request]
    read: RowReader[T]
    runtime: Runtime
    scope: str
    unstamped: str = ""
    name: str = ""
