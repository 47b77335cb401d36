"""Rounds of repair: bridges across gaps, then the newest end, until the list holds together."""

from __future__ import annotations

from typing import Any

import pytest

from dp_async import Watermark
from dp_async._page.reader import Rows
from dp_async._plan.evidence import Evidence
from dp_async._plan.page_ref import PageRef, around
from dp_async._plan.repair import BRIDGING, CLOSINGS, DESCENT, Repair
from dp_async._proof.certificate import Complete, Missing
from tests.unit.plan.scripted_list import (
    SCOPE,
    List,
    Row,
    crawl,
    drive,
    evidence_of,
    inserting,
    page,
    rows,
    take,
)


def read_pages(served: List, *refs: tuple[int, int], **changes: Any) -> Evidence:
    """The evidence once *served* has answered the requests *refs*."""
    evidence = evidence_of(**changes)
    for ref in refs:
        take(evidence, PageRef(*ref), served(PageRef(*ref)))
    return evidence


def one_round(
    evidence: Evidence, served: List, *, drifted: bool = False
) -> list[list[tuple[int, int]]]:
    """The pages that a round requests, stage by stage."""
    return [
        [tuple(ref) for ref in drive(evidence, [stage], served)]
        for stage in Repair(evidence).round(lambda: drifted)
    ]
