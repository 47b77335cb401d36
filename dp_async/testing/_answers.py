"""The API's answer to a request, as a function of the lists. No sockets, no asyncio, no delays.

The check of the signature shares no code with the client's signer: a mistake in shared code would
pass its own test.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import md5
from math import inf
from random import Random
from typing import Annotated, Literal, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

from dp_async import ConfigError, Request, Response

from ._arguments import choice, number, whole
from ._faults import AnswerFault, Fault, Good, PageData, PageFault
from ._rows import KINDS, Endpoint, Kind

PATH = "/openApiDigitalPerson/customer/"
SEGMENTS = {kind.segment: kind for kind in KINDS.values()}
SORTS: dict[object, bool] = {None: False, "": False, "DESC": False, "ASC": True}
DEFAULT_PAGE_SIZE = 10
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
#: Internals of the server that its answers contain, and that a client must never show.
INTERNAL_HOST = "simulated-internal-host-01"
INTERNAL_TRACE = "com.example.internal.SimulatedException: at Simulated.java:42"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the server requires of requests, and the shape of its answers; see ``Simulator``."""

    app_id: str
    app_secret: str
    auth_template: str
    timestamp_unit: Literal["ms", "s"]
    accounts: Collection[str] | None
    tolerance: float
    max_page_size: int | None
    echoes_page_size: bool = True
    shape: Literal["flat", "nested"]
    http_errors: bool

    def __post_init__(self) -> None:
        choice("timestamp_unit", self.timestamp_unit, ("ms", "s"))
        choice("shape", self.shape, ("flat", "nested"))
        if self.tolerance != inf:  # any timestamp will do
            number("tolerance", self.tolerance, 0)
        if self.max_page_size is not None:
            whole("max_page_size", self.max_page_size, 1)
        accounts = cast("object", self.accounts)
        if isinstance(accounts, str) or not isinstance(accounts, Collection | None):
            raise ConfigError(f"accounts must be a list of texts or None, not {accounts!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A parsed request: one page of one list."""

    kind: Kind
    page_num: int
    page_size: int
    filters: Mapping[str, str | None]
    ascending: bool


class Refused(Exception):
    """The server refuses the request with this envelope code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Readable(Protocol):
    """A list whose pages can be read, as ``SimulatedList.read`` does it."""

    def read(
        self,
        offset: int,
        size: int,
        filters: Mapping[str, str | None],
        *,
        ascending: bool = False,
    ) -> tuple[list[msgspec.Raw], int]: ...


class Api:
    """Answers requests for the given lists. *now* is the server's time, in seconds."""

    def __init__(
        self,
        rules: Rules,
        lists: Mapping[Endpoint, Readable],
        *,
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self.rules = rules
        self._lists = lists
        self._now = now
        self._random = random

    def answer(self, request: Request, fault: Fault | None = None) -> Response:
        """The answer to *request*, altered by *fault* if that is a fault of answers or pages."""
        try:
            self._authenticate(request)
            query = parse(request)
        except Refused as refused:
            response = self.refuse(refused.code, refused.text)
        else:
            response = self._envelope(200, "执行成功", self._data(query, fault))
        if isinstance(fault, AnswerFault):
            return fault.answer(Good(response=response, now=self._now(), refuse=self.refuse))
        return response

    def _authenticate(self, request: Request) -> None:
        """Raises Refused if the request is not signed as the rules say."""
        rules = self.rules
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("req_from") != "C":
            raise Refused(403, "req_from错误")
        timestamp = headers.get("timestamp", "")
        if not (timestamp.isascii() and timestamp.isdigit()):
            raise Refused(401, "时间戳错误")
        account = headers.get("account", "")
        auth = rules.auth_template.format(
            app_id=headers.get("app_id", ""),
            app_secret=rules.app_secret,
            timestamp=timestamp,
            account=account,
        )
        signature = md5(auth.encode(), usedforsecurity=False).hexdigest()
        if (headers.get("app_id"), headers.get("authorization")) != (rules.app_id, signature):
            raise Refused(401, "签名错误")
        sent = int(timestamp) / (1000 if rules.timestamp_unit == "ms" else 1)
        if abs(sent - self._now()) > rules.tolerance:
            raise Refused(401, "时间戳过期")
        if account and rules.accounts is not None and account not in rules.accounts:
            raise Refused(403, "子账号不存在")

    def _data(self, query: PageQuery, fault: Fault | None) -> PageData | None:
        page = self._page(query, query.page_num)
        if not isinstance(fault, PageFault):
            return self._shaped(page)
        bent = fault.bend(page, query.kind.key, lambda number: self._page(query, number))
        return None if bent is None else self._shaped(bent)

    def _page(self, query: PageQuery, page_num: int) -> PageData:
        """One page, with the fields of Spring Data's ``PageImpl``."""
        limit = self.rules.max_page_size
        used = query.page_size if limit is None else min(query.page_size, limit)
        number = page_num - 1
        offset = number * used
        rows = self._lists[query.kind.endpoint]
        content, total = rows.read(offset, used, query.filters, ascending=query.ascending)
        if content and offset + used > total:  # PageImpl corrects it by the rows of a last page
            total = offset + len(content)
        size = used if self.rules.echoes_page_size else query.page_size  # all else follows it
        pages = -(-total // size)
        order = {"sorted": True, "unsorted": False, "empty": False}
        totals = {"last": page_num >= pages, "totalPages": pages, "totalElements": total}
        return {
            "content": content,
            "pageable": {
                "sort": order,
                "pageNumber": number,
                "pageSize": size,
                "offset": offset,
                "paged": True,
                "unpaged": False,
            },
            # The order of these three differs between the documented answers of the two lists.
            **{name: totals[name] for name in query.kind.order},
            "first": number == 0,
            "sort": order,
            "numberOfElements": len(content),
            "size": size,
            "number": number,
            "empty": not content,
        }

    def _shaped(self, page: PageData) -> PageData:
        if self.rules.shape == "flat":
            return page
        names = ("size", "number", "totalElements", "totalPages")
        return {"content": page["content"], "page": {name: page[name] for name in names}}

    def refuse(self, code: int, text: str) -> Response:
        """An envelope that refuses a request."""
        return self._envelope(code, text, None)

    def _envelope(self, code: int, text: str, data: object) -> Response:
        good = code == 200
        body = {
            "code": code,
            "data": data,
            "requestId": "".join(self._random.choices(string.ascii_letters, k=8)),
            "resultMsg": text,
            "host": INTERNAL_HOST,
            "errorStackTrace": None if good else INTERNAL_TRACE,
        }
        return Response(
            status=code if self.rules.http_errors else 200,
            headers={
                "content-type": "application/json;charset=UTF-8",
                "date": formatdate(self._now(), usegmt=True),
            },
            body=msgspec.json.encode(body),
        )


def kind_of(request: Request) -> Kind | None:
    """The list that a request's path names, with any prefix; None if it names no list."""
    _, found, name = urlsplit(request.target).path.partition(PATH)
    return SEGMENTS.get(name) if found else None


def parse(request: Request) -> PageQuery:
    """The page of a list that *request* is for. Raises Refused with code 404, 405 or 412."""
    kind = kind_of(request)
    if kind is None:
        raise Refused(404, "接口不存在")
    if request.method != kind.method:
        raise Refused(405, "请求方式错误")
    given = _query(request) if request.method == "GET" else _json(request)
    sort = given.get("sort") if kind.sortable else None
    if not isinstance(sort, str | None) or sort not in SORTS:
        raise Refused(412, "参数错误: sort")
    return PageQuery(
        kind=kind,
        page_num=_positive(given, "pageNum", 1),
        page_size=_positive(given, "pageSize", DEFAULT_PAGE_SIZE),
        filters={name: _text(given, name) for name in kind.exact + kind.fuzzy},
        ascending=SORTS[sort],
    )


def _query(request: Request) -> dict[str, object]:
    return dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))


def _json(request: Request) -> dict[str, object]:
    try:
        return msgspec.json.decode(request.body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(412, "参数错误: body") from None


def _positive(given: Mapping[str, object], name: str, default: int) -> int:
    value = given.get(name)
    if value in (None, ""):
        return default
    try:
        number: int = msgspec.convert(value, Positive, strict=False)
    except msgspec.ValidationError:
        raise Refused(412, f"参数错误: {name}") from None
    return number


def _text(given: Mapping[str, object], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(412, f"参数错误: {name}")
    return value
