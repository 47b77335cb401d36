"""What passes between the layers: a request, a response, and the shapes of those who handle them.

No HTTP library, no logic. Neither value shows a header, a query or a body in its ``repr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Raw


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to send.

    *target* is path and query, percent-encoded once and sent as it is; *body* is JSON or empty.
    *idempotent* is the endpoint's word, not the verb's: may it be sent again? *attempt* counts from
    1 how often it is.
    """

    endpoint: str
    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)
    idempotent: bool = True
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response: *headers* under lower-case names, *body* read whole and decompressed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)


class Send(Protocol):
    """Sends a request and returns whatever was answered. Raises TransportError for no answer."""

    async def __call__(self, request: Request, /) -> Response: ...


class Call(Protocol):
    """Sends a request and returns good answers only, unread: one that says no is an error."""

    async def __call__(self, request: Request, /) -> Raw: ...


class Sign(Protocol):
    """The headers that prove who sends *request*; *now* is in seconds since the epoch."""

    def __call__(self, request: Request, now: float, /) -> Mapping[str, str]: ...
