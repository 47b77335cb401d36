"""The lists of the API, a row of the table each: how to ask for a page and how to read one.

GET and POST differ in ``ListEndpoint.request`` alone. No I/O, and no branch on which list it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct, structs

from .._checks import text
from .._errors import ConfigError
from .._http import Request
from .._models import Key, Message, MessageKey, MessageQuery, Work, WorkKey, WorkQuery

_PAGE = {"pageNum": "{0}", "pageSize": "{1}"}
_JSON = {"content-type": "application/json"}

Row = TypeVar("Row", bound=Struct, covariant=True)
Query = TypeVar("Query", bound=Struct, covariant=True)


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
    query_type: type[Query]
    key: type[Key]
    oldest_first: tuple[str, str] | None = None
    """The filter that turns the list round, and its value."""

    def query(self, filters: Mapping[str, object]) -> Query:
        """The query for *filters*. Raises ConfigError, which names the filter of a wrong type."""
        for spec in structs.fields(self.query_type):
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
        sent = {spec.encode_name: filters[spec.name] for spec in structs.fields(self.query_type)}
        return msgspec.convert(sent, self.query_type)

    def newest_first(self, query: Struct) -> None:
        """Raises ConfigError if *query* asks for the list oldest first."""
        if self.oldest_first and getattr(query, self.oldest_first[0]) == self.oldest_first[1]:
            name, value = self.oldest_first
            raise ConfigError(
                f"{name}={value}: what is new is found in a list that is newest first"
            )

    def request(self, query: Struct, page_num: int, page_size: int) -> Request:
        """The request for one page; *page_num* counts from 1."""
        return self.requests(query)(page_num, page_size)

    def requests(self, query: Struct) -> Callable[[int, int], Request]:
        """The request for a page by its number, from 1, and its size.

        What all pages of a query have in common is put together once.
        """
        given: dict[str, object] = msgspec.to_builtins(query)
        known = {name: given.get(name, 0) for name in self.params if name in (*given, *_PAGE)}
        if self.method == "GET":
            pairs = [
                f"{name}={_PAGE.get(name) or quote(f'{value}', safe='')}"
                for name, value in known.items()
            ]
            target = f"{self.path}?{'&'.join(pairs)}".format  # what is quoted holds no brace
            return lambda num, size: Request(self.name, "GET", target(num, size))

        def posted(num: int, size: int) -> Request:
            body = msgspec.json.encode(known | {"pageNum": num, "pageSize": size})
            return Request(self.name, "POST", self.path, _JSON, body)

        return posted


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
)
