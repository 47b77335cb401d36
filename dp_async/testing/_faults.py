"""What can go wrong on the way or in an answer, a small frozen value each.

No sockets: a fault of the wire only has a name here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TypeAlias

import msgspec

from dp_async import Response

#: The ``data`` of an answer before it is encoded; rows are ``Raw`` or anything that encodes.
PageData: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """The answer that a fault replaces: *response*, the server's time, how it refuses requests."""

    response: Response
    now: float
    refuse: Callable[[int, str], Response]


@dataclass(frozen=True, slots=True)
class Fault:
    """The root of all faults."""


@dataclass(frozen=True, slots=True)
class WireFault(Fault):
    """Breaks the exchange below HTTP: no answer arrives, or not a whole one."""


@dataclass(frozen=True, slots=True)
class AnswerFault(Fault):
    """Replaces a whole answer."""

    def answer(self, good: Good) -> Response:
        """The answer instead of *good*."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PageFault(Fault):
    """Alters the ``data`` of a good answer; an answer without a page is left alone."""

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        """The data instead of *page*; *key* is the id's column, *read* returns other pages."""
        raise NotImplementedError


# On the wire


@dataclass(frozen=True, slots=True)
class Reset(WireFault):
    """The connection is reset before an answer. In process: TransportError.

    A ``Client`` immediately repeats, once, a request that was lost on a reused connection: with
    ``times=1`` it counts a retry and raises nothing, even if the policy allows one attempt. A plain
    aiohttp session repeats a lost GET once, on any connection.
    """


@dataclass(frozen=True, slots=True)
class HalfBody(WireFault):
    """The connection closes after half of the promised body. In process: TransportError."""


@dataclass(frozen=True, slots=True)
class Drip(WireFault):
    """The body comes one byte every *interval* seconds. In process: no answer ever."""

    interval: float = 0.05


@dataclass(frozen=True, slots=True)
class Hang(WireFault):
    """The server reads the request and never answers."""


@dataclass(frozen=True, slots=True)
class Bomb(WireFault):
    """About *size* zero bytes, gzipped to a thousandth. In process: ResponseTooLarge."""

    size: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Endless(WireFault):
    """A chunked body without end. In process: ResponseTooLarge."""


# In place of an answer


@dataclass(frozen=True, slots=True)
class Html(AnswerFault):
    """A gateway's HTML page, 502 Bad Gateway by default."""

    status: int = 502

    def answer(self, good: Good) -> Response:
        body = f"<html><head><title>{self.status}</title></head><body>nginx</body></html>"
        return Response(
            status=self.status, headers={"content-type": "text/html"}, body=body.encode()
        )


@dataclass(frozen=True, slots=True)
class Empty(AnswerFault):
    """An answer without a body, 200 by default."""

    status: int = 200

    def answer(self, good: Good) -> Response:
        return replace(good.response, status=self.status, body=b"")


@dataclass(frozen=True, slots=True)
class WrongCode(AnswerFault):
    """An envelope with an error code, in HTTP 200 by default."""

    code: int = 500
    text: str = "系统异常"
    status: int = 200

    def answer(self, good: Good) -> Response:
        return replace(good.refuse(self.code, self.text), status=self.status)


@dataclass(frozen=True, slots=True)
class AuthFailure(AnswerFault):
    """The server refuses the signature (code 401) or the account (403), in HTTP *status*."""

    code: int = 401
    status: int = 200

    def answer(self, good: Good) -> Response:
        return replace(good.refuse(self.code, "签名错误"), status=self.status)


@dataclass(frozen=True, slots=True)
class Throttle(AnswerFault):
    """HTTP 429 with a ``Retry-After`` in seconds, as an HTTP date (*date*), or without it (None).

    With *in_envelope*, the envelope's code is 429 and the HTTP status 200.
    """

    retry_after: int | None = 1
    date: bool = False
    in_envelope: bool = False

    def answer(self, good: Good) -> Response:
        refused = good.refuse(429, "请求过于频繁")
        headers = dict(refused.headers)
        if self.retry_after is not None:
            then = formatdate(good.now + self.retry_after, usegmt=True)
            headers["retry-after"] = then if self.date else str(self.retry_after)
        return replace(refused, status=200 if self.in_envelope else 429, headers=headers)


@dataclass(frozen=True, slots=True)
class Redirect(AnswerFault):
    """A redirect to *location*, to which a client must not send its signed headers."""

    location: str = "http://127.0.0.1:9/other"
    status: int = 302

    def answer(self, good: Good) -> Response:
        return Response(status=self.status, headers={"location": self.location})


@dataclass(frozen=True, slots=True)
class HugeHeader(AnswerFault):
    """The good answer with a header of *size* bytes."""

    size: int = 1 << 16

    def answer(self, good: Good) -> Response:
        return replace(good.response, headers={**good.response.headers, "x-huge": "x" * self.size})


@dataclass(frozen=True, slots=True)
class Malformed(AnswerFault):
    """The first half of the good answer's JSON, as a whole HTTP body."""

    def answer(self, good: Good) -> Response:
        return replace(good.response, body=good.response.body[: len(good.response.body) // 2])


@dataclass(frozen=True, slots=True)
class Body(AnswerFault):
    """The good answer with this body."""

    body: bytes

    def answer(self, good: Good) -> Response:
        return replace(good.response, body=self.body)


# In the page


@dataclass(frozen=True, slots=True)
class NullData(PageFault):
    """``data`` is null in an envelope that says success."""

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return None


@dataclass(frozen=True, slots=True)
class Altered(PageFault):
    """The page with other values of some fields: ``Altered({"totalElements": 5})``."""

    fields: Mapping[str, object]

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return page | dict(self.fields)


@dataclass(frozen=True, slots=True)
class WrongEcho(PageFault):
    """``number`` is off by *by*: the answer claims to be another page."""

    by: int = 1

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        number = page["number"]
        assert isinstance(number, int)
        return page | {"number": number + self.by}


@dataclass(frozen=True, slots=True)
class SamePage(PageFault):
    """The rows of one *page* in every answer; all other fields are right."""

    page: int = 1

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return page | {"content": read(self.page)["content"]}


@dataclass(frozen=True, slots=True)
class LyingTotals(PageFault):
    """``totalElements``, ``totalPages`` and ``last`` as for a list of *total* rows."""

    total: int

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        size, number = page["size"], page["number"]
        assert isinstance(size, int)
        assert isinstance(number, int)
        pages = -(-self.total // size)
        lies = {"totalElements": self.total, "totalPages": pages, "last": number + 1 >= pages}
        return page | lies


@dataclass(frozen=True, slots=True)
class BadRow(PageFault):
    """The row at *index* has a *value* of the wrong type in *field* (None: in its id)."""

    index: int = 0
    field: str | None = "userId"
    value: object = "not a number"

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return _with_row(page, self.index, lambda row: row | {self.field or key: self.value})


@dataclass(frozen=True, slots=True)
class RowWithoutId(PageFault):
    """The row at *index* lacks its id."""

    index: int = 0

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return _with_row(
            page, self.index, lambda row: {name: row[name] for name in row if name != key}
        )


def _with_row(
    page: PageData, index: int, change: Callable[[dict[str, object]], dict[str, object]]
) -> PageData:
    content = page["content"]
    assert isinstance(content, list)
    rows = msgspec.json.decode(msgspec.json.encode(content), type=list[dict[str, object]])
    if index < len(rows):
        rows[index] = change(rows[index])
    return page | {"content": rows}
