"""The filters of each list as flags, and the list that they select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Group, Parameter

from dp_async import ConfigError, CrawlOptions, ReadStatus, SortOrder, WorkStatus

if TYPE_CHECKING:
    from dp_async import Client, Listing, Message, Work

E = TypeVar("E", WorkStatus, ReadStatus, SortOrder)

FILTERS = Group("Filters", sort_key=0)


def choices(kind: type[WorkStatus | ReadStatus | SortOrder]) -> str:
    """The values of *kind*, for the help and for errors."""
    return f"{', '.join(kind)} (in any case), or other:VALUE for one that is new"


def chosen(flag: str, kind: type[E], text: str | None) -> E | None:
    """The member of *kind* that *text* names. Raises ConfigError, which names the choices."""
    if text is None:
        return None
    prefix, _, value = text.partition(":")
    if prefix.lower() == "other" and value:
        return kind(value)
    if text.upper() in kind.__members__:
        return kind(text.upper())
    raise ConfigError(f"{flag}: it must be {choices(kind)}")


def _filter(text: str) -> Parameter:
    return Parameter(group=FILTERS, help=text)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFilters:
    """The filters of the works."""

    name: Annotated[str | None, _filter("only works with this in their name")] = None
    status: Annotated[str | None, _filter(choices(WorkStatus))] = None
    sort: Annotated[
        str | None,
        _filter(f"ASC: oldest first; default: newest first; {choices(SortOrder)}"),
    ] = None

    def listing(self, client: Client, options: CrawlOptions) -> Listing[Work]:
        """The works that they select. Raises ConfigError."""
        return client.works(
            name=self.name,
            status=chosen("--status", WorkStatus, self.status),
            sort=chosen("--sort", SortOrder, self.sort),
            options=options,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilters:
    """The filter of the messages."""

    read_status: Annotated[str | None, _filter(choices(ReadStatus))] = None

    def listing(self, client: Client, options: CrawlOptions) -> Listing[Message]:
        """The messages that it selects. Raises ConfigError."""
        return client.messages(
            read_status=chosen("--read-status", ReadStatus, self.read_status), options=options
        )


NO_WORK_FILTERS = WorkFilters()
NO_MESSAGE_FILTERS = MessageFilters()
