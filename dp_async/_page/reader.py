"""From a good answer to a page of items, and what its rows are told apart by.

Pure. Reads either shape of a page; the same for every list.
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
_EPOCH_THERE = datetime(1970, 1, 1, tzinfo=CHINA)
_NONE: array[int] = array("q")

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ID: msgspec.json.Decoder[int] = msgspec.json.Decoder(
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
)


class _Numbers(Struct, rename="camel", gc=False):
    """A page's numbers; later versions of the server's framework nest them under ``page``."""

    number: Count | None = None
    size: Count | None = None
    total_elements: Count | None = None
    total_pages: Count | None = None


class _WirePage(_Numbers, Generic[T], rename="camel", gc=False, kw_only=True):
    """A page as sent, in either shape."""

    content: list[T]
    page: _Numbers | None = None
    number_of_elements: int | None = None
    first: bool | None = None
    last: bool | None = None
    empty: bool | None = None


class _Answer(Struct, Generic[T], gc=False):
    """A good answer, whose envelope says nothing that is needed any more."""

    data: _WirePage[T]


def _decoder(item: type[T]) -> msgspec.json.Decoder[_Answer[T]]:
    try:
        # What lru_cache hands out no longer says that it depends on what went in.
        return cast("msgspec.json.Decoder[_Answer[T]]", _made(cast("Hashable", item)))
    except TypeError as error:
        problem = f"typed() needs a Struct, dict or msgspec.Raw: {error}"
    raise ConfigError(problem)


@lru_cache(maxsize=64)  # making one costs as much as decoding a page
def _made(item: Hashable) -> object:
    return msgspec.json.Decoder(_Answer[item])  # type: ignore[valid-type]


class PageDecoder(Generic[T]):
    """Reads a good answer as a page of items of one type."""

    def __init__(self, endpoint: str, item: type[T]) -> None:
        self._endpoint = endpoint
        self._decoder = _decoder(item)

    def __call__(self, answer: Raw) -> Page[T]:
        """The page. Raises DecodeError, with the path inside the answer."""
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
    """A row with times: any item of a model, or a key."""

    @property
    def create_time(self) -> datetime | None: ...

    @property
    def update_time(self) -> datetime | None: ...


class _Plain(Protocol):
    """A row as it usually is: with both times."""

    @property
    def create_time(self) -> datetime: ...

    @property
    def update_time(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class BadItem:
    """A row that could not be read: *path* and *problem* say where and why, *raw* is the row.

    *page_num* is the page it came on; *id* is None where even that could not be read.
    """

    page_num: int
    path: str
    problem: str
    raw: bytes
    id: int | None


@dataclass(slots=True)  # frozen, it would take three times as long to make one
class Rows(Generic[T]):
    """A page, and the numbers of its rows.

    *ids* is parallel to the page's content. *keyed*, *updated* and *created* are the ids and times,
    in whole seconds, of the rows that have an id and an update time, read or not; *created* is
    empty where one lacks it. *count* is how many rows were sent.
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

    Ids and times are read off the items where these are of *model*; of another type, from the same
    bytes through *key*. With *keep*, a row that cannot be read is kept apart; without, the page is
    a DecodeError that names the row.
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
        """The rows; without times and what costs a decoding, or without create times, if unwanted.

        Raises DecodeError, with the path inside the answer.
        """
        try:
            page = self._whole(answer)
            if not keys:
                ids = [] if self._keys else list(map(self._id_of, page.content))
                return Rows(page, len(page.content), ids, _NONE, _NONE, _NONE)
            timed = self._keys(answer).content if self._keys else cast("list[Timed]", page.content)
            return Rows(page, len(timed), *_columns(timed, self._id_of, created))
        except (DecodeError, OverflowError):  # or an id that 64 bits do not hold
            pass
        return self._one_by_one(self._raw(answer))

    def _one_by_one(self, page: Page[Raw]) -> Rows[T]:
        """The page again, row by row, so that one bad row is named and spoils no other."""
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
        """The id of a row, whatever else is wrong with it."""
        try:
            fields = decode(_FIELDS, raw, self._endpoint)
            return decode(_ID, fields[self._id_sent], self._endpoint)
        except (DecodeError, KeyError):
            return None


def _id_sent(key: type[Key]) -> str:
    """What the id that *key* reads is called on the wire."""
    return next(field.encode_name for field in structs.fields(key) if field.name == "id")


def _attribute(model: type[Struct], sent: str) -> str:
    """The attribute of *model* that is called *sent* on the wire."""
    return next(field.name for field in structs.fields(model) if field.encode_name == sent)


def _columns(
    rows: Sequence[Timed], id_of: Callable[[Timed], int], with_created: bool = True
) -> tuple[list[int], array[int], array[int], array[int]]:
    """The ids of *rows*, and of those with an update time their ids, update and create times."""
    ids = list(map(id_of, rows))
    keyed = array("q", ids)  # before all else: OverflowError for one that 64 bits do not hold
    plain = cast("Sequence[_Plain]", rows)
    try:
        # The usual case: no time is null, none has an offset; else this is a TypeError. One loop
        # without a call, since it runs for each row there is.
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
            _seconds_there(row.update_time for row in timed),
            _seconds_there([] if None in times else times),
        )


def _seconds_there(times: Iterable[datetime | None]) -> array[int]:
    """*times* but None as whole seconds at +08:00, should one ever come with another offset."""
    gaps = (time - (_EPOCH_THERE if time.tzinfo else _EPOCH) for time in times if time is not None)
    return array("q", [gap.days * 86400 + gap.seconds for gap in gaps])
