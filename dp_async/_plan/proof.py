"""The certificate's decision over the reads of one crawl, at little cost for each further read.

Lives as long as the crawl. It keeps what the certificate takes in read by read; no rule belongs
here.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._proof.assumptions import Assumptions
from .._proof.certificate import deciding
from .._proof.decision import Decision
from .._proof.reads import Read
from .._proof.resting import Resting
from .._proof.steps import Steps
from .changes import Changes

FEW = 64
"""Reads over which the certificate decides at once."""


class Proof:
    """What the answers of one crawl prove of the rows that *changes* wants."""

    def __init__(self, allowed_lateness: float, changes: Changes) -> None:
        self._allowed_lateness = allowed_lateness
        self._changes = changes
        self._assumptions = Assumptions(allowed_lateness)
        self._compared = 0  # reads that were taken into the assumptions
        self._resting = Resting(allowed_lateness)

    @property
    def needed_lateness(self) -> float:
        """The lateness that a proof has to bear, by the reads of the last decision."""
        return self._assumptions.needed(self._allowed_lateness)

    def add(self, read: Read) -> None:
        """Take in one more read of a list that rests, the whole of which is wanted."""
        self._resting.add(read)

    def decided(
        self, reads: Sequence[Read], distinct: int | None, *, drifted: bool
    ) -> Steps[Decision]:
        """The decision over *reads*, none of whose steps takes long.

        *distinct* is the number of different ids in them, if it is known. *drifted*: the list was
        seen to change.
        """
        changes = self._changes
        rests = not drifted and changes.floor is None
        if rests and distinct is not None and len(reads) > FEW:
            proof = yield from self._resting.decide(distinct)
            if proof is not None:
                return proof
        if drifted:  # a list at rest shows no signs, and pays for none
            while self._compared < len(reads):
                yield from self._assumptions.add(reads[self._compared])
                self._compared += 1
                yield
        return (
            yield from deciding(
                reads,
                self._allowed_lateness,
                distinct,
                changes.oldest,
                changes.rows.known,
                self._assumptions if drifted else None,
            )
        )
