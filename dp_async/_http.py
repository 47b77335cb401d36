"""A request, a response, and the protocols of the callables that handle them.

No HTTP library and no logic. Neither repr shows a header, a query or a body. Each page has two
requests and a response, and a frozen dataclass takes eight times as long to make: so nothing keeps
you from changing one, but the package never does, and a wrapper of ``Send`` makes a new one by
``dataclasses.replace``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from msgspec import Raw, Struct


@dataclass(slots=True)
class Request:
    """One HTTP request.

    - *endpoint*: the name of the API's function, for errors and logs.
    - *target*: path and query, percent-encoded once and sent as it is. *body*: JSON, or empty.
    - *idempotent*: whether it may be repeated; decided by the endpoint, since POST reads lists too.
    - *attempt*: which attempt of its call this is, from 1.
    - *page_num*, *page_size*: the page it is for, for errors.
    - *bulk*: whether it is for a page of a crawl, which lets single calls go first.
    - *clock_ahead*: seconds that the server's clock is taken to be ahead of this machine's in the
      signature of this attempt; None for what the client knows.
    """

    endpoint: str
    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)
    idempotent: bool = True
    attempt: int = 1
    page_num: int | None = None
    page_size: int | None = None
    bulk: bool = False
    clock_ahead: float | None = field(default=None, repr=False)


@dataclass(slots=True)
class Response:
    """One HTTP response: *headers* by lower-case name, *body* complete and decompressed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)


class Send(Protocol):
    """Sends a request and returns any response. Raises TransportError if there is none."""

    async def __call__(self, request: Request, /) -> Response: ...


class Answer(Struct, frozen=True, gc=False):
    """A good answer: its JSON, undecoded, and when it was given, in seconds since the epoch.

    *date*: the server's ``Date``; None if it sent none. *now*: the same, or else this machine's
    clock. *request_id*: decodes the envelope's, redacted, for an error. A Struct, since each page
    has one: a frozen dataclass takes six times as long to make.
    """

    data: Raw
    date: float | None = None
    now: float = inf
    request_id: Callable[[], str] = str


class Call(Protocol):
    """Sends a request and returns a good answer; raises CallError for any other."""

    async def __call__(self, request: Request, /) -> Answer: ...


class Sign(Protocol):
    """Returns the headers that authenticate a request at *now*, in seconds since the epoch.

    It may be a coroutine function, for credentials that are fetched. That time is not part of
    ``Settings.timeout``; keep credentials, since every attempt is signed.
    """

    def __call__(
        self, request: Request, now: float, /
    ) -> Mapping[str, str] | Awaitable[Mapping[str, str]]: ...
