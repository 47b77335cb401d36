"""Reads a good answer as a page of items, with the ids and times of its rows.

Pure. A row that cannot be decoded does not take the other rows of its page with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Generic, Protocol, TypeVar, cast

from msgspec import Raw, Struct, structs

from .._errors import DecodeError
from .._models import CHINA, Key, Page
from .._times import Times
from .decoder import PageDecoder, RowDecoder, id_name, undecoded
from .split import row_id

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1)
_EPOCH_CHINA = datetime(1970, 1, 1, tzinfo=CHINA)
_AHEAD = 8 * 3600  # seconds that a clock at UTC+08:00 is ahead of UTC's
_NONE: array[int] = array("q")
_UPDATED: Callable[[object], datetime] = attrgetter("update_time")
_CREATED: Callable[[object], datetime] = attrgetter("create_time")

_TOO_LARGE = "the id does not fit into 64 bits"


class Timed(Protocol):
    """A row with times: a model or a key."""

    @property
    def create_time(self) -> datetime | None: ...

    @property
    def update_time(self) -> datetime | None: ...


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


class Rows(Struct, Generic[T]):
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
    updated: Times | array[int]
    created: Times | array[int]
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
        self._id_sent = id_name(key)
        self._whole = PageDecoder(endpoint, item, key)
        self._keys = None if item is model else PageDecoder(endpoint, key, key)
        self._id_of = attrgetter(_attribute(model, self._id_sent) if item is model else "id")
        self._item = RowDecoder(endpoint, item)
        self._key = RowDecoder(endpoint, key)

    def __call__(
        self, answer: Raw, *, keys: bool = True, created: bool = True, packed: bool = False
    ) -> Rows[T]:
        """The rows; without times if not *keys*, without create times if not *created*.

        *packed*: the times are not expected to be looked at one by one, see ``Times``.
        Not *keys*: no ids either where these would need a second decoding. Raises DecodeError, with
        the path within the answer.
        """
        try:
            page = self._whole(answer)
            if not keys:
                ids = [] if self._keys else list(map(self._id_of, page.content))
                return Rows(page, len(page.content), ids, _NONE, _NONE, _NONE)
            timed = self._keys(answer).content if self._keys else cast("list[Timed]", page.content)
            return Rows(page, len(timed), *_columns(timed, self._id_of, created, packed))
        except DecodeError as caught:
            error = caught
        except OverflowError:  # an id of more than 64 bits
            error = DecodeError(f"{self._endpoint}: {_TOO_LARGE}", endpoint=self._endpoint)
        return self._one_by_one(answer, error)

    def _one_by_one(self, answer: Raw, error: DecodeError) -> Rows[T]:
        """The rows, decoded one by one, so that a bad row is named and the others are kept."""
        page, rows = undecoded(self._endpoint, answer, error)
        items: list[T] = []
        ids: list[int] = []
        keys: list[Key] = []
        bad: list[BadItem] = []
        for index, raw in enumerate(rows):
            path = f"$.data.content[{index}]"
            number = row_id(raw, self._id_sent)
            try:
                key = self._key(raw, index, number)
                if number is None:
                    text = f"{self._endpoint}: {_TOO_LARGE} - at `{path}.{self._id_sent}`"
                    raise DecodeError(text, endpoint=self._endpoint)
                keys.append(key)
                item = self._item(raw, index, number)
            except DecodeError as problem:
                if not self._keep:
                    del page  # as in PageDecoder: a traceback's variables
                    raise
                bad.append(BadItem(page.page_num, path, str(problem), bytes(raw), number))
            else:
                items.append(item)
                ids.append(number)
        _, keyed, updated, created = _columns(keys, attrgetter("id"))
        good = cast("Page[T]", structs.replace(page, content=items))
        return Rows(good, len(rows), ids, keyed, updated, created, bad)


@lru_cache(maxsize=64)
def _attribute(model: type[Struct], sent: str) -> str:
    """The attribute of *model* whose name on the wire is *sent*."""
    return next(field.name for field in structs.fields(model) if field.encode_name == sent)


def _columns(
    rows: Sequence[Timed],
    id_of: Callable[[Timed], int],
    with_created: bool = True,
    packed: bool = False,
) -> tuple[list[int], array[int], Times | array[int], Times | array[int]]:
    """The ids of *rows*; then ids, update and create times of the rows with an update time."""
    ids = list(map(id_of, rows))
    keyed = array("q", ids)  # first: raises OverflowError for an id of more than 64 bits
    try:  # the usual case: no time is null or has an offset (else TypeError)
        times = list(map(_UPDATED, rows))
        updated = _seconds(times, packed)
        if not with_created:
            return ids, keyed, updated, _NONE
        made = list(map(_CREATED, rows))
        return ids, keyed, updated, updated if made == times else _seconds(made, packed)
    except TypeError:
        timed = [row for row in rows if row.update_time is not None]
        created = [row.create_time for row in timed] if with_created else []
        return (
            ids,
            array("q", map(id_of, timed)),
            _china_seconds(row.update_time for row in timed),
            _china_seconds([] if None in created else created),
        )


def _seconds(times: list[datetime], packed: bool) -> Times | array[int]:
    """*times* in seconds. Raises TypeError if one is None or has an offset."""
    kept = Times.packed(times) if packed else None
    if kept is not None:
        return kept
    # A loop over every row, so it makes no call of its own.
    return array("q", [(gap := time - _EPOCH).days * 86400 + gap.seconds for time in times])


def row_time(date: float) -> float:
    """*date*, in seconds since the epoch, counted as the times of rows are: at UTC+08:00."""
    return date + _AHEAD


def _china_seconds(times: Iterable[datetime | None]) -> array[int]:
    """*times* but None, as whole seconds at UTC+08:00; a time may have another offset."""
    gaps = (time - (_EPOCH_CHINA if time.tzinfo else _EPOCH) for time in times if time is not None)
    return array("q", [gap.days * 86400 + gap.seconds for gap in gaps])
