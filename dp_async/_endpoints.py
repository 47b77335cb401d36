"""The lists of the API, a row of the table each: how to ask for a page and how to read one.

GET and POST differ in ``ListEndpoint.request`` alone. No I/O, and no branch on which list it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Raw, Struct, field, structs

from ._errors import ConfigError, DecodeError
from ._http import Request
from ._json import decode
from ._models import Message, MessageQuery, Page, Work, WorkQuery
from ._settings import text

T = TypeVar("T")
V = TypeVar("V")
Row = TypeVar("Row", bound=Struct, covariant=True)
Query = TypeVar("Query", bound=Struct, covariant=True)


class Key(Struct, frozen=True, gc=False):
    """What every list's rows are told apart and ordered by."""

    id: int
    create_time: datetime | None = field(default=None, name="createTime")
    update_time: datetime | None = field(default=None, name="updateTime")


class WorkKey(Key, frozen=True, gc=False):
    id: int = field(name="digitalPersonWorksId")


class MessageKey(Key, frozen=True, gc=False):
    id: int = field(name="msgId")


Count: TypeAlias = Annotated[int, Meta(ge=0)]


class _Numbers(Struct, rename="camel"):
    """A page's numbers; later versions of the server's framework nest them under ``page``."""

    number: Count | None = None
    size: Count | None = None
    total_elements: Count | None = None
    total_pages: Count | None = None


class _WirePage(_Numbers, Generic[T], rename="camel", kw_only=True):
    """A page as sent, in either shape."""

    content: list[T]
    page: _Numbers | None = None
    number_of_elements: int | None = None
    first: bool | None = None
    last: bool | None = None
    empty: bool | None = None


class PageDecoder(Generic[T]):
    """Reads the ``data`` of an answer as a page of items of one type. Made once, used often."""

    def __init__(self, endpoint: str, item: type[T]) -> None:
        self._endpoint = endpoint
        self._decoder: msgspec.json.Decoder[_WirePage[T]]
        try:
            self._decoder = msgspec.json.Decoder(_WirePage[item])  # type: ignore[valid-type]
        except TypeError as error:
            problem = f"typed() needs a Struct, dict or msgspec.Raw: {error}"
        else:
            return
        raise ConfigError(problem)

    def __call__(self, data: Raw) -> Page[T]:
        """The page. Raises DecodeError, with the path inside the answer."""
        wire = decode(self._decoder, data, self._endpoint, root="$.data")
        numbers = wire.page or wire
        number, size, total = numbers.number, numbers.size, numbers.total_elements
        if number is None or size is None or total is None:
            missing = "number" if number is None else "size" if size is None else "totalElements"
            text = f"{self._endpoint}: the page has no `{missing}` - at `$.data`"
            raise DecodeError(text, endpoint=self._endpoint)
        pages = numbers.total_pages
        if pages is None:
            pages = -(-total // size) if size else 0
        count = len(wire.content)
        return Page(
            content=wire.content,
            number=number,
            size=size,
            total_elements=total,
            total_pages=pages,
            number_of_elements=_or(wire.number_of_elements, count),
            first=_or(wire.first, number == 0),
            last=_or(wire.last, number + 1 >= pages),
            empty=_or(wire.empty, count == 0),
        )


def _or(sent: V | None, derived: V) -> V:
    return derived if sent is None else sent


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEndpoint(Generic[Row, Query]):
    """One list of the API.

    *name* is the endpoint coroutine's, for errors and logs; *params* are the query's names on the
    wire in the order the API documents them; *key* reads id and times from any row.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    params: tuple[str, ...]
    model: type[Row]
    query: type[Query]
    key: type[Key]

    def ask(self, filters: Mapping[str, object]) -> Query:
        """The query for *filters*. Raises ConfigError, which names the filter of a wrong type."""
        for spec in structs.fields(self.query):
            value = filters[spec.name]
            if isinstance(value, str):
                text(spec.name, value)
            try:
                msgspec.convert(value, spec.type)
            except msgspec.ValidationError as error:
                problem = f"{spec.name}: {error}"
            else:
                continue
            raise ConfigError(problem)
        sent = {spec.encode_name: filters[spec.name] for spec in structs.fields(self.query)}
        return msgspec.convert(sent, self.query)

    def decoder(self, item: type[T]) -> PageDecoder[T]:
        """A reader of this list's pages whose items are of type *item*."""
        return PageDecoder(self.name, item)

    def request(self, query: Struct, page_num: int, page_size: int) -> Request:
        """The request for one page; *page_num* counts from 1."""
        given: dict[str, object] = msgspec.to_builtins(query)
        given |= {"pageNum": page_num, "pageSize": page_size}
        fields = {name: given[name] for name in self.params if name in given}
        if self.method == "GET":
            target = f"{self.path}?{urlencode(fields, quote_via=quote)}"
            return Request(endpoint=self.name, method="GET", target=target)
        return Request(
            endpoint=self.name,
            method="POST",
            target=self.path,
            headers={"content-type": "application/json"},
            body=msgspec.json.encode(fields),
        )


WORKS = ListEndpoint(
    name="work_list",
    method="GET",
    path="/openApiDigitalPerson/customer/workList",
    params=("name", "pageNum", "pageSize", "sort", "status"),
    model=Work,
    query=WorkQuery,
    key=WorkKey,
)

MESSAGES = ListEndpoint(
    name="msg_list",
    method="POST",
    path="/openApiDigitalPerson/customer/msgList",
    params=("pageNum", "pageSize", "readStatus"),
    model=Message,
    query=MessageQuery,
    key=MessageKey,
)
