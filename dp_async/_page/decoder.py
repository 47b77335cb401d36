"""Reads a good answer as a page of items of any type.

Pure. Both shapes of a page are read, and every list in the same way.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated, Generic, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta, Raw, Struct, structs

from .._errors import ConfigError, DecodeError
from .._json import decode
from .._models import Key, Page
from .split import row_id, split

T = TypeVar("T")

Count: TypeAlias = Annotated[int, Meta(ge=0)]


class _Numbers(Struct, rename="camel", gc=False):
    """A page's numbers, named as by Spring Data, whose newer versions nest them under ``page``."""

    number: Count | None = None
    size: Count | None = None
    total_elements: Count | None = None
    total_pages: Count | None = None


class _WirePage(_Numbers, Generic[T], rename="camel", gc=False, kw_only=True):
    """A page as sent: its numbers beside the content, or nested under ``page``."""

    content: list[T]
    page: _Numbers | None = None
    number_of_elements: int | None = None
    first: bool | None = None
    last: bool | None = None
    empty: bool | None = None


class _Answer(Struct, Generic[T], gc=False, rename="camel"):
    """A good answer; the envelope was checked before."""

    data: _WirePage[T]
    request_id: Raw = Raw(b"null")


def _decoder(item: type[T]) -> msgspec.json.Decoder[_Answer[T]]:
    try:
        # lru_cache loses the type parameter.
        return cast("msgspec.json.Decoder[_Answer[T]]", _made(cast("Hashable", item)))
    except TypeError as error:
        problem = f"typed() needs a Struct, dict or msgspec.Raw: {error}"
    raise ConfigError(problem)


@lru_cache(maxsize=64)  # making a decoder costs as much as decoding a page
def _made(item: Hashable) -> object:
    return msgspec.json.Decoder(_Answer[item])  # type: ignore[valid-type]


class PageDecoder(Generic[T]):
    """Reads a good answer as a page of items of one type.

    *key*: finds the id of a bad row, for the error.
    """

    def __init__(self, endpoint: str, item: type[T], key: type[Key] = Key) -> None:
        self._endpoint = endpoint
        self._item = item
        self._key = key
        self._decoder = _decoder(item)
        self._raw = item is Raw  # whose text msgspec does not look at

    def __call__(self, answer: Raw) -> Page[T]:
        """The page. Raises DecodeError, with the path within the answer and the row's id."""
        try:
            good = decode(self._decoder, answer, self._endpoint, utf8=self._raw)
            wire = good.data
            numbers = wire.page or wire
            number, size, total = numbers.number, numbers.size, numbers.total_elements
            if number is None or size is None or total is None:
                missing = (
                    "number" if number is None else "size" if size is None else "totalElements"
                )
                text = f"{self._endpoint}: the page has no `{missing}` - at `$.data`"
                raise DecodeError(text, endpoint=self._endpoint)
            pages = numbers.total_pages
            if pages is None:
                pages = -(-total // size) if size else 0
            count, sent, first, last, empty = (
                len(wire.content),
                wire.number_of_elements,
                wire.first,
                wire.last,
                wire.empty,
            )
            try:
                request_id: object = msgspec.json.decode(good.request_id)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                request_id = None
            return Page(
                content=wire.content,
                number=number,
                size=size,
                total_elements=total,
                total_pages=pages,
                number_of_elements=count if sent is None else sent,
                first=number == 0 if first is None else first,
                last=number + 1 >= pages if last is None else last,
                empty=count == 0 if empty is None else empty,
                request_id=f"{request_id}" if type(request_id) in (str, int) else "",
            )
        except DecodeError as caught:
            error = caught
        return self._by_row(answer, error)

    def _by_row(self, answer: Raw, error: DecodeError) -> Page[T]:
        """The page, if its rows can be decoded after all; raises the error of the first bad row."""
        if self._item is type(None):
            raise error
        page, rows = undecoded(self._endpoint, answer, error)
        row = RowDecoder(self._endpoint, self._item)
        name = id_name(self._key)
        try:
            items = [row(raw, index, row_id(raw, name)) for index, raw in enumerate(rows)]
        except DecodeError:
            del page  # loggers that write a traceback's variables must not find the server's words
            raise
        return cast("Page[T]", structs.replace(page, content=items))


class RowDecoder(Generic[T]):
    """Reads one row of a page as an item."""

    def __init__(self, endpoint: str, item: type[T]) -> None:
        self._endpoint = endpoint
        self._decoder = msgspec.json.Decoder(item)
        self._raw = item is Raw

    def __call__(self, row: Raw, index: int, number: int | None) -> T:
        """The item. Raises DecodeError, with the path of row *index* and its id *number*."""
        what = "the answer" if number is None else f"the row with id {number}"
        path = f"$.data.content[{index}]"
        return decode(self._decoder, row, self._endpoint, path, what, utf8=self._raw)


@lru_cache(maxsize=64)
def id_name(key: type[Key]) -> str:
    """The name on the wire of the id that *key* decodes."""
    return next(field.encode_name for field in structs.fields(key) if field.name == "id")


def undecoded(endpoint: str, answer: Raw, error: DecodeError) -> tuple[Page[None], list[Raw]]:
    """A page with None for each row, and the rows. Raises *error* if they cannot be split."""
    parts = split(bytes(answer))
    if parts is None:
        raise error
    page = PageDecoder(endpoint, type(None))(parts[0])
    if len(page) != len(parts[1]):  # a second content, its name written with escapes
        raise error
    return page, parts[1]
