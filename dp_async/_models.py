"""Structs that mirror the wire: rows, pages, open enums, queries and keys.

``rename="camel"`` is the only translation. In an answer, None is the server's null or a field that
it left out; no other default. No I/O, and no import from this package.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Generic, Self, TypeAlias, TypeVar

from msgspec import Meta, Struct, field

T = TypeVar("T")

#: A value whose type the API does not document: any JSON.
Json: TypeAlias = bool | int | float | str | list[object] | dict[str, object] | None

#: A whole number of 64 bits, as the server's are: no column or database holds a larger one.
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

#: The zone of all times, which are sent without an offset. Inferred: epoch milliseconds in the URLs
#: of the documented sample agree with UTC+08:00 within a minute.
CHINA = timezone(timedelta(hours=8))


class OpenEnum(StrEnum):
    """An enum that the server may extend: an unknown text is a member with that text as value."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"  # escapes control characters of the server

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Made anew each time and not registered: the server could send any number of them.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member


class WorkStatus(OpenEnum):
    """State of a work: four known values, and any other text the server sends."""

    SUCCESS = "SUCCESS"
    DRAFT = "DRAFT"
    IN_PROGRESS = "IN_PROGRESS"
    FAIL = "FAIL"


class ReadStatus(OpenEnum):
    """Whether a message was read. UNREAD is documented, READ is presumed."""

    UNREAD = "UNREAD"
    READ = "READ"


class SortOrder(OpenEnum):
    """Order of the works by time. ASC is documented, DESC is presumed and the default."""

    ASC = "ASC"
    DESC = "DESC"


class Align(OpenEnum):
    """Orientation of a video."""

    VERTICAL = "VERTICAL"
    HORIZONTAL = "HORIZONTAL"


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=CHINA) if time is not None and time.tzinfo is None else time


class _Row(Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The fields that the rows of all lists share."""

    create_time: datetime | None = None
    update_time: datetime | None = None
    user_id: Int64 | None = None

    @property
    def created_at(self) -> datetime | None:
        """``create_time`` as an aware time at UTC+08:00."""
        return _aware(self.create_time)

    @property
    def updated_at(self) -> datetime | None:
        """``update_time`` as an aware time at UTC+08:00."""
        return _aware(self.update_time)


class Work(_Row, frozen=True, gc=False, kw_only=True, rename="camel"):
    """One video of the account. Only the id is always there; any other field may be None.

    ``duration`` is in seconds. ``works_url`` holds raw Chinese characters (percent-encode it before
    fetching) and is not unique. ``create_time`` and ``update_time`` are as sent, without an offset.
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
    """One message to the account. Only the id is always there; any other field may be None.

    ``create_time`` and ``update_time`` are as sent, without an offset.
    """

    msg_id: int
    read_status: ReadStatus | None = None
    type: Json = None
    title: str | None = None
    content: str | None = None
    params: Json = None


class Page(Struct, Generic[T], frozen=True, gc=False, kw_only=True, rename="camel"):
    """One page of a list: iterate it for its items; ``len()`` counts them.

    ``page_num`` counts from 1, as in the request; ``number`` is the server's count from 0. ``size``
    is the size that the server used, which may be less than requested. ``total_elements`` and
    ``total_pages`` belong to this answer: the server counts anew for each. ``request_id`` is the
    envelope's, "" where it has none. Encodes to JSON in camelCase, as it was sent.
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
    request_id: str = ""

    @property
    def page_num(self) -> int:
        """The page's number in requests, from 1."""
        return self.number + 1

    def __iter__(self) -> Iterator[T]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


@dataclass(frozen=True, slots=True)
class Probe:
    """A list's *total*, and the id and time of its first row; both None where the list is empty.

    The time is the update time as sent, without an offset; the create time where there is none.
    """

    total: int
    head_id: int | None
    head_time: datetime | None


class WorkQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The filters of workList. None is not sent."""

    name: str | None = None
    sort: SortOrder | None = None
    status: WorkStatus | None = None


class MessageQuery(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The filter of msgList. None is not sent."""

    read_status: ReadStatus | None = None


class Key(Struct, frozen=True, gc=False):
    """The id and times of a row of any list: they identify and order it."""

    id: int
    create_time: datetime | None = field(default=None, name="createTime")
    update_time: datetime | None = field(default=None, name="updateTime")


class WorkKey(Key, frozen=True, gc=False):
    id: int = field(name="digitalPersonWorksId")


class MessageKey(Key, frozen=True, gc=False):
    id: int = field(name="msgId")
