"""What a strategy is made of: its stages, and how it stands. Plain values; nothing is decided here.

The pages of a stage may be requested in any order. The next stage begins when all are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from .._proof.reads import Read
from .page_ref import PageRef


def ignore(ref: PageRef, read: Read, /) -> None:
    """For stages that need not hear of their answers."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the next page of a stage comes from, and what is special about its answers.

    - *next*: the next page to request; None for nothing now, perhaps after the next answer.
    - *learned*: called with each answer, to the one who planned the page.
    - *deferred*: pages that are read out of order; their rows wait until those before are out.
    - *after_pass*: the stage follows the pass over the list, so its rows are the last ones.
    - *shares_rows*: its pages are meant to share rows with others, so a repeated row says nothing.
    - *sets_size*: the page size that the server echoes is the one to plan with.
    """

    next: Callable[[], PageRef | None]
    learned: Callable[[PageRef, Read], None] = ignore
    deferred: Container[PageRef] = ()
    after_pass: bool = False
    shares_rows: bool = False
    sets_size: bool = False


def each(
    refs: Iterable[PageRef],
    *,
    deferred: bool = False,
    after_pass: bool = False,
    shares_rows: bool = False,
    sets_size: bool = False,
) -> Stage:
    """A stage of the pages *refs*; *deferred* holds for all of them or none."""
    refs = list(refs)
    waiting = iter(refs)
    return Stage(
        lambda: next(waiting, None),
        deferred=refs if deferred else (),
        after_pass=after_pass,
        shares_rows=shares_rows,
        sets_size=sets_size,
    )


@dataclass(slots=True)
class Progress:
    """How a strategy stands.

    - *finished*: the last decision of the certificate is the verdict.
    - *resumed*: only the pages after a checkpoint were read; *skipped* is how many it had before.
    - *started_over*: the list had changed since the checkpoint.
    """

    finished: bool = False
    resumed: bool = False
    started_over: bool = False
    skipped: int = 0
