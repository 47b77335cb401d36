"""Reads a good answer as a page of items, with the ids and times of its rows.

Pure. Both shapes of a page are read, and every list in the same way.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Generic, Protocol, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta, Raw, Struct, structs

from .._errors import ConfigError, DecodeError
from .._json import decode
from .._models import CHINA, Key, Page

T = TypeVar("T")

Count: TypeAlias = Annotated[int, Meta(ge=0)]

_EPOCH = datetime(1970, 1, 1)
_EPOCH_CHINA = datetime(1970, 1, 1, tzinfo=CHINA)
_NONE: array[int] = array("q")

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ID: msgspec.json.Decoder[int] = msgspec.json.Decoder(
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
)


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


class _Answer(Struct, Generic[T], gc=False):
    """A good answer; the envelope was checked before."""

    data: _WirePage[T]


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
    """Reads a good answer as a page of items of one type."""

    def __init__(self, endpoint: str, item: type[T]) -> None:
        self._endpoint = endpoint
        self._decoder = _decoder(item)

    def __call__(self, answer: Raw) -> Page[T]:
        """The page. Raises DecodeError, with the path within the answer."""
        wire = decode(self._decoder, answer, self._endpoint).data
        numbers = wire.page or wire
        number, size, total = numbers.number, numbers.size, numbers.total_elements
        if number is None or size is None or total is None:
            missing = "number" if number is None else "size" if size is None else "totalElements"
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
        )


class Timed(Protocol):
    """A row with times: a model or a key."""

    @property
    def create_time(self) -> datetime | None: ...

    @property
    def update_time(self) -> datetime | None: ...


class _Plain(Protocol):
    """A row with both times set, the usual case."""

    @property
    def create_time(self) -> datetime: ...

    @property
    def update_time(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class BadItem:
    """A row that could not be decoded.

    - *page_num*: the page it came on, from 1. *path*: its place in the answer.
    - *problem*: why, with the path of the bad value. *raw*: the row's JSON.
    - *id*: None where the id cannot be decoded either.
    """

    page_num: int
    path: str
    problem: str
    raw: bytes
    id: int | None


@dataclass(slots=True)  # not frozen: that would triple the time to make one
class Rows(Generic[T]):
    """A page, with the ids and times of its rows.

    - *ids*: parallel to the page's content.
    - *keyed*, *updated*, *created*: ids and times, in whole seconds at UTC+08:00 since 1970 there,
      of all rows with an id and an update time, bad ones included; *created* is empty if one of
      them has no create time.
    - *count*: how many rows were sent. *bad*: those that could not be decoded.
    """

    page: Page[T]
    count: int
    ids: Sequence[int]
    keyed: array[int]
    updated: array[int]
    created: array[int]
    bad: Sequence[BadItem] = ()


class RowReader(Generic[T]):
    """Reads a good answer as ``Rows`` of one type of item.

    Ids and times come from the items if these are of type *model*; else *key* decodes them from the
    same bytes. With *keep*, rows that cannot be decoded go to ``Rows.bad``; without, the first one
    raises DecodeError.
    """

    def __init__(
        self, endpoint: str, item: type[T], model: type[Struct], key: type[Key], *, keep: bool
    ) -> None:
        self._endpoint = endpoint
        self._keep = keep
        self._whole = PageDecoder(endpoint, item)
        self._keys = None if item is model else PageDecoder(endpoint, key)
        self._id_sent = _id_sent(key)
        self._id_of = attrgetter(_attribute(model, self._id_sent) if item is model else "id")
        self._raw = PageDecoder(endpoint, Raw)
        self._item = msgspec.json.Decoder(item)
        self._key = msgspec.json.Decoder(key)

    def __call__(self, answer: Raw, *, keys: bool = True, created: bool = True) -> Rows[T]:
        """The rows; without times if not *keys*, without create times if not *created*.

        Not *keys*: no ids either where these would need a second decoding. Raises DecodeError, with
        the path within the answer.
        """
        try:
            page = self._whole(answer)
            if not keys:
                ids = [] if self._keys else list(map(self._id_of, page.content))
                return Rows(page, len(page.content), ids, _NONE, _NONE, _NONE)
            timed = self._keys(answer).content if self._keys else cast("list[Timed]", page.content)
            return Rows(page, len(timed), *_columns(timed, self._id_of, created))
        except (DecodeError, OverflowError):  # OverflowError: an id of more than 64 bits
            pass
        return self._one_by_one(self._raw(answer))

    def _one_by_one(self, page: Page[Raw]) -> Rows[T]:
        """The rows, decoded one by one, so that a bad row is named and the others are kept."""
        items: list[T] = []
        ids: list[int] = []
        keys: list[Key] = []
        bad: list[BadItem] = []
        for index, raw in enumerate(page.content):
            path = f"$.data.content[{index}]"
            number = self._id(raw)
            try:
                key = decode(self._key, raw, self._endpoint, path)
                if number is None:
                    text = f"the id does not fit into 64 bits - at `{path}.{self._id_sent}`"
                    raise DecodeError(f"{self._endpoint}: {text}", endpoint=self._endpoint)
                keys.append(key)
                item = decode(self._item, raw, self._endpoint, path)
            except DecodeError as error:
                if not self._keep:
                    raise
                bad.append(BadItem(page.page_num, path, str(error), bytes(raw), number))
            else:
                items.append(item)
                ids.append(number)
        _, keyed, updated, created = _columns(keys, attrgetter("id"))
        good = cast("Page[T]", structs.replace(page, content=items))
        return Rows(good, len(page.content), ids, keyed, updated, created, bad)

    def _id(self, raw: Raw) -> int | None:
        """The id of a row, or None; other fields may be bad."""
        try:
            fields = decode(_FIELDS, raw, self._endpoint)
            return decode(_ID, fields[self._id_sent], self._endpoint)
        except (DecodeError, KeyError):
            return None


def _id_sent(key: type[Key]) -> str:
    """The name on the wire of the id that *key* decodes."""
    return next(field.encode_name for field in structs.fields(key) if field.name == "id")


def _attribute(model: type[Struct], sent: str) -> str:
    """The attribute of *model* whose name on the wire is *sent*."""
    return next(field.name for field in structs.fields(model) if field.encode_name == sent)


def _columns(
    rows: Sequence[Timed], id_of: Callable[[Timed], int], with_created: bool = True
) -> tuple[list[int], array[int], array[int], array[int]]:
    """The ids of *rows*; then ids, update and create times of the rows with an update time."""
    ids = list(map(id_of, rows))
    keyed = array("q", ids)  # first: raises OverflowError for an id of more than 64 bits
    plain = cast("Sequence[_Plain]", rows)
    try:
        # The usual case: no time is null or has an offset (else TypeError). The loop runs for every
        # row of a crawl, so it makes no call of its own.
        updated = [(gap := row.update_time - _EPOCH).days * 86400 + gap.seconds for row in plain]
        created = [
            (gap := row.create_time - _EPOCH).days * 86400 + gap.seconds
            for row in (plain if with_created else ())
        ]
        return ids, keyed, array("q", updated), array("q", created)
    except TypeError:
        timed = [row for row in rows if row.update_time is not None]
        times = [row.create_time for row in timed] if with_created else []
        return (
            ids,
            array("q", map(id_of, timed)),
            _china_seconds(row.update_time for row in timed),
            _china_seconds([] if None in times else times),
        )


def _china_seconds(times: Iterable[datetime | None]) -> array[int]:
    """*times* but None, as whole seconds at UTC+08:00; a time may have another offset."""
    gaps = (time - (_EPOCH_CHINA if time.tzinfo else _EPOCH) for time in times if time is not None)
    return array("q", [gap.days * 86400 + gap.seconds for gap in gaps])
