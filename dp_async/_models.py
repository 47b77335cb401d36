"""Structs that mirror the wire: rows, pages, open enums, queries.

``rename="camel"`` is the only translation. No defaults that the server did not send (None is its
null, or a field it left out), no I/O, nothing of this package.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Generic, Self, TypeAlias, TypeVar

from msgspec import Struct, field

T = TypeVar("T")

#: A value whose type the API does not document: any JSON.
Json: TypeAlias = bool | int | float | str | list[object] | dict[str, object] | None

#: Times come without an offset. Epoch milliseconds inside the URLs of the documented sample agree
#: with UTC+08:00 within a minute.
CHINA = timezone(timedelta(hours=8))


class OpenEnum(StrEnum):
    """A set of texts the server may extend: an unknown one is a member that keeps its text."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"  # the text may hold anything

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Made anew each time, not registered: the server could name any number of them.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member


class WorkStatus(OpenEnum):
    """State of a work. Documented or seen: these four; any other text is kept as it is."""

    SUCCESS = "SUCCESS"
    DRAFT = "DRAFT"
    IN_PROGRESS = "IN_PROGRESS"
    FAIL = "FAIL"


class ReadStatus(OpenEnum):
    """Whether a message was read. UNREAD is documented, READ presumed."""

    UNREAD = "UNREAD"
    READ = "READ"


class SortOrder(OpenEnum):
    """Order of the works by time. ASC is documented, DESC presumed; newest first without it."""

    ASC = "ASC"
    DESC = "DESC"


class Align(OpenEnum):
    """Which way up a video stands."""

    VERTICAL = "VERTICAL"
    HORIZONTAL = "HORIZONTAL"


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=CHINA) if time is not None and time.tzinfo is None else time


class _Row(Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What every row of every list carries."""

    create_time: datetime | None = None
    update_time: datetime | None = None
    user_id: int | None = None

    @property
    def created_at(self) -> datetime | None:
        """``create_time`` as an aware time, +08:00."""
        return _aware(self.create_time)

    @property
    def updated_at(self) -> datetime | None:
        """``update_time`` as an aware time, +08:00."""
        return _aware(self.update_time)


class Work(_Row, frozen=True, gc=False, kw_only=True, rename="camel"):
    """One video of the account. Only the id is sure; every other field may be null or missing.

    ``duration`` is in seconds. ``works_url`` holds raw Chinese: percent-encode it before fetching;
    it is not unique. ``create_time`` and ``update_time`` are as sent, without an offset.
    """

    digital_person_works_id: int
    name: str | None = None
    avatar: str | None = None
    status: WorkStatus | None = None
    align: Align | None = None
    resolution: str | None = None
    works_url: str | None = None
    fee: Json = None
    duration: float | None = None


class Message(_Row, frozen=True, gc=False, kw_only=True, rename="camel"):
    """One message to the account. Only the id is sure; every other field may be null or missing."""

    msg_id: int
    read_status: ReadStatus | None = None
    type: Json = None
    title: str | None = None
    content: str | None = None
    params: Json = None


class Page(Struct, Generic[T], frozen=True, gc=False, kw_only=True, rename="camel"):
    """One page of a list, iterable over its items.

    ``page_num`` counts from 1, as in the request; ``number`` is the server's own count from 0.
    ``size`` is the size the server used, which may be less than the one asked for. The totals are
    this answer's: the server counts anew each time, and rewrites them on the last page.
    """

    content: list[T]
    number: int
    size: int
    total_elements: int
    total_pages: int
    number_of_elements: int
    first: bool
    last: bool
    empty: bool

    @property
    def page_num(self) -> int:
        """The number to ask for this page by, from 1."""
        return self.number + 1

    def __iter__(self) -> Iterator[T]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


class WorkQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What to ask of workList. None is not sent."""

    name: str | None = None
    sort: SortOrder | None = None
    status: WorkStatus | None = None


class MessageQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What to ask of msgList. None is not sent."""

    read_status: ReadStatus | None = None


class Key(Struct, frozen=True, gc=False):
    """What every list's rows are told apart and ordered by."""

    id: int
    create_time: datetime | None = field(default=None, name="createTime")
    update_time: datetime | None = field(default=None, name="updateTime")


class WorkKey(Key, frozen=True, gc=False):
    id: int = field(name="digitalPersonWorksId")


class MessageKey(Key, frozen=True, gc=False):
    id: int = field(name="msgId")
