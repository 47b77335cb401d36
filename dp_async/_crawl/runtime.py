"""What a crawl needs of its client, and of the list it reads. Shapes only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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
        """What tells its lists from another client's."""
        ...

    def check_usable(self) -> None:
        """Refuse, by an error, to work on: closed, or in another loop, thread or process."""

    @property
    def adaptive_limit(self) -> int:
        """The requests to have in flight, as learned so far."""
        ...

    def tally(self) -> Tally:
        """Counts of one's own, which are the client's too."""
        ...

    def call(self, tally: Tally, *, adaptive: bool = False) -> Call:
        """A way to call that counts into *tally*; *adaptive*: and that learns how many at once."""
        ...

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """A task that ends with the client at the latest."""
        ...

    async def sleep(self, seconds: float, until: asyncio.Future[None]) -> None:
        """Return after so many *seconds*, when *until* has a result, or the client is closed."""
        ...

    def clock(self) -> float:
        """Seconds, from any start."""
        ...


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """One list on the server: a request for page *num* of *size* rows, the reader of its data."""

    request: Callable[[int, int], Request]
    read: RowReader[T]
    runtime: Runtime
    scope: str
