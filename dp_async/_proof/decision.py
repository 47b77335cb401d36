"""What a set of reads proves, or what is missing. Values only; no rule belongs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from .reads import Read


class Complete(Struct, frozen=True):
    """Every row that was in the list from the first read to the last is in the reads.

    *margin*: the most lateness, in seconds, that the proof bears; ``inf`` where it needs none.
    """

    rule: Literal["single page", "link", "count"]
    reason: str
    margin: float


class Gap(Struct, frozen=True):
    """Two reads with no link between them; *above* is nearer the newest row.

    A read to which *above* links, and which links to *below*, closes it.
    """

    above: Read
    below: Read


class Missing(Struct, frozen=True):
    """The reads that the link rule still needs.

    It needs links across *gaps*, which are sorted newest first. *head* says that it needs a read of
    the newest end, sent after all other reads were answered; *tail*, a linked read of the oldest
    end. If *descending*, the newest end is page 1 and the oldest the last page, else vice versa.
    """

    gaps: tuple[Gap, ...]
    head: bool
    tail: bool
    descending: bool
    reason: str


class Unprovable(Struct, frozen=True):
    """Further pages do not help the link rule; *reason* says why."""

    reason: str


class Broken(Struct, frozen=True):
    """The server was seen to break an assumption, which *reason* names: nothing is proven."""

    reason: str


Decision: TypeAlias = Complete | Missing | Unprovable | Broken
