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
    """The answer a fault spoils: the *response* itself, and the server's time."""

    response: Response
    now: float
    refuse: Callable[[int, str], Response]


@dataclass(frozen=True, slots=True)
class Fault:
    """The root of all faults."""


@dataclass(frozen=True, slots=True)
class WireFault(Fault):
    """Breaks the exchange below HTTP's meaning: the answer does not come, or not whole."""


@dataclass(frozen=True, slots=True)
class AnswerFault(Fault):
    """Replaces a whole answer."""

    def answer(self, good: Good) -> Response:
        """What is answered instead of *good*."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PageFault(Fault):
    """Spoils the ``data`` of a good answer; an answer that is no page stays as it is."""

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        """What stands in place of *page*; *key* is the id's column, *read* gives other pages."""
        raise NotImplementedError


# On the wire


@dataclass(frozen=True, slots=True)
class Reset(WireFault):
    """The connection is reset, with no answer. In process: TransportError.

    A ``Client`` repeats a request lost on a connection that has served before, once and at once:
    with ``times=1`` it counts a retry and raises nothing, even by a policy of one attempt. An
    aiohttp session of one's own sends any lost GET once more by itself.
    """


@dataclass(frozen=True, slots=True)
class HalfBody(WireFault):
    """All is promised, half is sent, the connection closes. In process: TransportError."""


@dataclass(frozen=True, slots=True)
class Drip(WireFault):
    """The body comes byte by byte, one every *interval* seconds. In process: silence."""

    interval: float = 0.05


@dataclass(frozen=True, slots=True)
class Hang(WireFault):
    """The request is read and never answered."""


@dataclass(frozen=True, slots=True)
class Bomb(WireFault):
    """About *size* bytes of zeros in a thousandth of it, gzipped. In process: ResponseTooLarge."""

    size: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Endless(WireFault):
    """A chunked body that never ends, as fast as it is read. In process: ResponseTooLarge."""


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
    """An envelope that says no, in HTTP 200 by default."""

    code: int = 500
    text: str = "系统异常"
    status: int = 200

    def answer(self, good: Good) -> Response:
        return replace(good.refuse(self.code, self.text), status=self.status)


@dataclass(frozen=True, slots=True)
class AuthFailure(AnswerFault):
    """The signature is refused, in HTTP *status*; code 401, or 403 for the account."""

    code: int = 401
    status: int = 200

    def answer(self, good: Good) -> Response:
        return replace(good.refuse(self.code, "签名错误"), status=self.status)


@dataclass(frozen=True, slots=True)
class Throttle(AnswerFault):
    """429, with ``Retry-After`` in whole seconds, or as an HTTP date, or without (None).

    *in_envelope* puts the 429 into the envelope's code and leaves HTTP at 200.
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
    """A redirect to *location*, where nothing good may follow with signed headers."""

    location: str = "http://127.0.0.1:9/elsewhere"
    status: int = 302

    def answer(self, good: Good) -> Response:
        return Response(status=self.status, headers={"location": self.location})


@dataclass(frozen=True, slots=True)
class HugeHeader(AnswerFault):
    """The good answer with one header of *size* bytes."""

    size: int = 1 << 16

    def answer(self, good: Good) -> Response:
        return replace(good.response, headers={**good.response.headers, "x-huge": "x" * self.size})


@dataclass(frozen=True, slots=True)
class Malformed(AnswerFault):
    """The good answer's JSON, cut in half and whole as far as HTTP knows."""

    def answer(self, good: Good) -> Response:
        return replace(good.response, body=good.response.body[: len(good.response.body) // 2])


@dataclass(frozen=True, slots=True)
class Body(AnswerFault):
    """The good answer with exactly this body."""

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
    """The page with *fields* over its own: ``Altered({"totalElements": 5})``."""

    fields: Mapping[str, object]

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return page | dict(self.fields)


@dataclass(frozen=True, slots=True)
class WrongEcho(PageFault):
    """``number`` is off by so much: the answer claims to be another page."""

    by: int = 1

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        number = page["number"]
        assert isinstance(number, int)
        return page | {"number": number + self.by}


@dataclass(frozen=True, slots=True)
class SamePage(PageFault):
    """The rows of one page, whatever page is asked; all else is as it should be."""

    page: int = 1

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return page | {"content": read(self.page)["content"]}


@dataclass(frozen=True, slots=True)
class LyingTotals(PageFault):
    """``totalElements`` and ``totalPages`` of a list of *total* rows; ``last`` follows them."""

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
    """One row of the page, *index*, with a *value* of the wrong type in *field* (None: the id)."""

    index: int = 0
    field: str | None = "userId"
    value: object = "not a number"

    def bend(self, page: PageData, key: str, read: Callable[[int], PageData]) -> PageData | None:
        return _with_row(page, self.index, lambda row: row | {self.field or key: self.value})


@dataclass(frozen=True, slots=True)
class RowWithoutId(PageFault):
    """One row of the page, *index*, without its id."""

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
