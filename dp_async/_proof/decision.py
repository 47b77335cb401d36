"""What a set of reads proves, or what it lacks. Values only: no rule stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .reads import Read


@dataclass(frozen=True, slots=True)
class Complete:
    """Every row that was in the list all the time is in the reads."""

    rule: Literal["single page", "link", "count"]
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Two reads with no link between them: *above* is nearer the newest row.

    A read that links to both closes it.
    """

    above: Read
    below: Read


@dataclass(frozen=True, slots=True)
class Missing:
    """What the link rule lacks: links at *gaps*, newest first; reads of the list's ends.

    *head* is a read of the newest end after all others were answered, *tail* one of the oldest end
    linked to the rest. Where *descending* these are page 1 and the short last page, else the other
    way round.
    """

    gaps: tuple[Gap, ...]
    head: bool
    tail: bool
    descending: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Unprovable:
    """No further read of this kind will help; *reason* says why."""

    reason: str


Decision: TypeAlias = Complete | Missing | Unprovable
