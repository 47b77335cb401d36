"""Crawls of lists in a database: no certificate is false while the server keeps to what is assumed.

``databasecrawl`` plays them, and prints a table of any number of them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.property.database import SECOND, Database, Row, Schema, Ties
from tests.property.databasecrawl import BREACHES, Breach, Result, draw, play

CRAWLS = [30, pytest.param(200, marks=pytest.mark.slow)]
BROKEN = [6, pytest.param(60, marks=pytest.mark.slow)]
#: Of a clock set back by an hour the signs may be missed, so that a tenth may be certified falsely.
FALSE: dict[Breach, float] = {"hour back": 0.1}


def played(breach: Breach, crawls: int) -> list[Result]:
    return [play(draw(seed, breach, most=1500)) for seed in range(crawls)]


@pytest.mark.parametrize("crawls", CRAWLS)
def test_crawls_are_complete_only_if_they_are_and_nearly_always(crawls: int) -> None:
    results = played("kept", crawls)
    assert not [one.case.seed for one in results if one.false]
    assert not [one.case.seed for one in results if one.twice or one.error]
    possible = [one for one in results if one.spans and one.linkable]
    assert sum(one.complete for one in possible) >= 0.95 * len(possible)
    assert all(one.margin is not None and one.margin >= 2 for one in results if one.complete)


@pytest.mark.parametrize("breach", [breach for breach in BREACHES if breach != "kept"])
@pytest.mark.parametrize("crawls", BROKEN)
def test_hardly_a_crawl_is_complete_falsely_where_an_assumption_is_broken(
    breach: Breach, crawls: int
) -> None:
    results = played(breach, crawls)
    assert sum(one.false for one in results) <= crawls * FALSE.get(breach, 0.02)
    assert not [one.case.seed for one in results if one.twice]


@pytest.mark.parametrize("crawls", BROKEN)
def test_crawls_that_know_the_lag_of_a_replica_are_complete_only_if_they_are(crawls: int) -> None:
    results: list[Result] = []
    for seed in range(crawls):
        case = draw(seed, "replica", most=1500)
        results.append(play(replace(case, options=replace(case.options, replica_lag=1.5))))
    assert not [one.case.seed for one in results if one.false or one.twice]
    assert sum(one.complete for one in results) >= crawls / 3


# The model


@pytest.mark.parametrize(
    ("ties", "ids"),
    [
        ("id up", [1, 2, 3, 4]),
        ("id down", [3, 2, 1, 4]),
        ("hidden", [3, 1, 2, 4]),
        ("any", [2, 1, 3, 4]),
    ],
)
@pytest.mark.parametrize("descending", [True, False])
def test_rows_of_one_second_stand_in_the_order_of_the_schema(
    ties: Ties, ids: list[int], descending: bool
) -> None:
    second = 5 * SECOND
    rows = [Row(1, second + 2, 0, 2), Row(2, second + 1, 0, 3), Row(3, second + 3, 0, 1)]
    rows.append(Row(4, second - SECOND, 0, 9))
    copy = Database(Schema(ties=ties, descending=descending), rows).primary
    shown = [row.id for row in copy.page(0, 9)]
    assert shown == (ids if descending else ids[::-1])
    assert [copy.at(place) is None for place in (-1, 0, 4)] == [True, False, True]


def test_rows_become_visible_when_they_are_committed_and_later_on_a_replica() -> None:
    database = Database(Schema(behind=50), [Row(1, 10, 10, 0)])
    primary, replica = database.copies
    database.mark()
    database.commit(100, Row(2, 20, 20, 0), drops=(1,))
    for now, first, second in ((99, {1}, {1}), (100, {2}, {1}), (150, {2}, {2})):
        database.advance(now)
        assert (set(primary.rows), set(replica.rows)) == (first, second)
    assert database.stayed == set()
    assert set(database.left) == {1}
