"""The lists of the API as a table of ``ListEndpoint``, which make the requests for their pages.

GET and POST differ in ``ListEndpoint.requests`` alone. No I/O, and no branch on which list it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Generic, Literal, TypeVar, get_args
from urllib.parse import quote

import msgspec
from msgspec import Struct, structs

from .._checks import text
from .._errors import ConfigError
from .._http import Request
from .._models import (
    Key,
    Message,
    MessageKey,
    MessageQuery,
    OpenEnum,
    ReadStatus,
    Work,
    WorkKey,
    WorkQuery,
)

_PAGE = {"pageNum": "{0}", "pageSize": "{1}"}
# All requests share them, so a wrapper of ``Send`` must not be able to change them.
_JSON = MappingProxyType({"content-type": "application/json"})
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Row = TypeVar("Row", bound=Struct, covariant=True)
Query = TypeVar("Query", bound=Struct, covariant=True)


class ListEndpoint(Struct, Generic[Row, Query], frozen=True, kw_only=True):
    """One list of the API.

    - *name*: the name of its coroutine in ``Client``, for errors and logs.
    - *params*: the names of its parameters on the wire, in the documented order.
    - *model*, *query_type*, *key*: the types of its rows, of its filters, and of a row's id and
      times.
    - *oldest_first*: the filter and the value that reverse the list, if there are any.
    - *unstamped*: a filter that rows may enter without a new update time, unless its value is one
      of these; None if there is none. A message that is read keeps its update time; UNREAD is
      entered by birth alone. A work that changes its status or its name is stamped.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    params: tuple[str, ...]
    model: type[Row]
    query_type: type[Query]
    key: type[Key]
    oldest_first: tuple[str, str] | None = None
    unstamped: tuple[str, frozenset[str]] | None = None

    def query(self, filters: Mapping[str, object]) -> Query:
        """The query for *filters*. Raises ConfigError, which names a filter that cannot be right.

        A text for an enum must be the value of a known member; a member of that enum made from
        another text, ``WorkStatus("NEW")``, is sent as it is.
        """
        specs = _specs(self.query_type)
        for spec in specs:
            value = filters[spec.name]
            if isinstance(value, str):
                text(spec.name, value)
                enum = _enum(spec.type)
                if enum and not isinstance(value, enum) and value not in list(enum):
                    known = ", ".join(repr(str(member)) for member in enum)
                    raise ConfigError(
                        f"{spec.name} must be one of {known}; what this library does not know is "
                        f"sent if it is given as {enum.__name__}(...)"
                    )
            try:
                msgspec.convert(value, spec.type)
            except msgspec.ValidationError as error:
                problem = f"{spec.name}: {error}"
                for kind in (list, tuple, set):
                    if isinstance(value, kind):
                        one = f"{spec.name} must be one value, not a {kind.__name__}"
                        problem = f"{one}: make a listing for each"
            else:
                continue
            raise ConfigError(problem)
        sent = {spec.encode_name: filters[spec.name] for spec in specs}
        return msgspec.convert(sent, self.query_type)

    def newest_first(self, query: Struct) -> None:
        """Raise ConfigError if *query* sorts the list oldest first."""
        if self.oldest_first and getattr(query, self.oldest_first[0]) == self.oldest_first[1]:
            name, value = self.oldest_first
            raise ConfigError(
                f"{name}={value}: changes are found in a list sorted newest first; leave {name} out"
            )

    def entered_unstamped(self, query: Struct) -> str:
        """The filter of *query* that rows may enter without a new update time; "" if none."""
        if self.unstamped is None:
            return ""
        name, stamped = self.unstamped
        value = getattr(query, name)
        return "" if value is None or value in stamped else _filter(name, value)

    def described(self, query: Struct, account: str) -> str:
        """The list, the filters of *query* and the end of *account*, if there is one, for reprs.

        ``work_list, status=SUCCESS, name=…``: a filter that is not a known value may be a
        customer's text, and is not shown.
        """
        given: dict[str, object] = structs.asdict(query)
        parts = [_filter(name, value) for name, value in given.items() if value is not None]
        if account:
            parts.append(f"account=…{account[-4:]}")
        return ", ".join([self.name, *parts])

    def request(self, query: Struct, page_num: int, page_size: int) -> Request:
        """The request for one page; *page_num* counts from 1."""
        return self.requests(query, bulk=False)(page_num, page_size)

    def requests(self, query: Struct, *, bulk: bool = True) -> Callable[[int, int], Request]:
        """A function from a page's number, from 1, and size to its request; *bulk*: for a crawl.

        The part that all pages of a query share is built once.
        """
        name, path = self.name, self.path
        given: dict[str, object] = msgspec.to_builtins(query)
        known = {param: given.get(param, 0) for param in self.params if param in (*given, *_PAGE)}
        if self.method == "GET":
            pairs = [
                f"{param}={_PAGE.get(param) or quote(f'{value}', safe='')}"
                for param, value in known.items()
            ]
            target = f"{path}?{'&'.join(pairs)}".format  # quoted values hold no braces
            return lambda num, size: Request(
                name,
                "GET",
                target(num, size),
                _NO_HEADERS,
                page_num=num,
                page_size=size,
                bulk=bulk,
            )

        def post(num: int, size: int) -> Request:
            body = msgspec.json.encode(known | {"pageNum": num, "pageSize": size})
            return Request(name, "POST", path, _JSON, body, page_num=num, page_size=size, bulk=bulk)

        return post


def _filter(name: str, value: object) -> str:
    """``name=value``; the value only if it is a known one."""
    known = isinstance(value, OpenEnum) and value in list(type(value))
    return f"{name}={value if known else '…'}"


@lru_cache(maxsize=64)
def _specs(query_type: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    """The filters of *query_type*. msgspec evaluates annotations anew each time it is asked."""
    return structs.fields(query_type)


def _enum(kind: object) -> type[OpenEnum] | None:
    """The enum that *kind* is or allows, if there is one."""
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, OpenEnum):
            return each
    return None


WORKS = ListEndpoint(
    name="work_list",
    method="GET",
    path="/openApiDigitalPerson/customer/workList",
    params=("name", "pageNum", "pageSize", "sort", "status"),
    model=Work,
    query_type=WorkQuery,
    key=WorkKey,
    oldest_first=("sort", "ASC"),
)

MESSAGES = ListEndpoint(
    name="msg_list",
    method="POST",
    path="/openApiDigitalPerson/customer/msgList",
    params=("pageNum", "pageSize", "readStatus"),
    model=Message,
    query_type=MessageQuery,
    key=MessageKey,
    unstamped=("read_status", frozenset({ReadStatus.UNREAD})),
)
