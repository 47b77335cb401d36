"""The stages of a strategy, and its progress. Plain values; nothing is decided here.

The pages of a stage may be requested in any order. The next stage begins when all are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from msgspec import Struct

from .._proof.reads import Read
from .page_ref import PageRef


def ignore(ref: PageRef, read: Read, /) -> None:
    """Does nothing: for a stage that needs no answers."""


class Stage(Struct, frozen=True):
    """Where the next page of a stage comes from, and how its answers differ from others.

    - *next*: the next page to request; None if there is none, or none before the next answer.
    - *learned*: called with each of its pages that was answered.
    - *deferred*: pages read out of order; their items are delivered after those before them.
    - *after_pass*: the stage follows the pass over the list, so its items are delivered last.
    - *shares_rows*: its pages are meant to share rows with others, so a repeated row is no drift.
    - *sets_size*: the page size in its answers is the one to plan with.
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


PAUSE = each(())
"""In place of a stage: a long computation goes on after it. The caller may let others run."""


class Progress(Struct):
    """How far a strategy has come.

    - *finished*: the last decision of the certificate is final.
    - *resumed*: only the pages after a checkpoint were read; *skipped*: how many come before it.
    - *started_over*: why no page before the checkpoint was skipped; "" if it was, or without one.
    """

    finished: bool = False
    resumed: bool = False
    started_over: str = ""
    skipped: int = 0
