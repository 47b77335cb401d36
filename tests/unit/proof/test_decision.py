"""Decisions are values: equal by what they say, and not to be changed."""

from __future__ import annotations

import pytest

from dp_async._proof.decision import Broken, Complete, Decision, Gap, Missing, Unprovable

from .lists import listed, page

GAP = Gap(page(1, listed(9), 0, 3), page(0, listed(9), 5, 3))
DECISIONS: list[Decision] = [
    Complete("link", "why", 3.0),
    Missing((GAP,), head=True, tail=False, descending=True, reason="why"),
    Unprovable("why"),
    Broken("why"),
]


@pytest.mark.parametrize("decision", DECISIONS)
def test_every_decision_has_a_reason_that_cannot_be_changed(decision: Decision) -> None:
    assert decision.reason == "why"
    with pytest.raises(AttributeError):
        decision.reason = "another"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # that it fails is the test


def test_a_gap_is_the_same_for_equal_reads() -> None:
    assert Gap(page(1, listed(9), 0, 3), page(0, listed(9), 5, 3)) == GAP
    assert Gap(GAP.below, GAP.above) != GAP
    with pytest.raises(AttributeError):
        GAP.above = GAP.below  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # that it fails is the test
