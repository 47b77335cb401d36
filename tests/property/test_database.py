"""Crawls of lists in a database: no certificate is false while the server keeps to what is assumed.

``databasecrawl`` plays them, and prints a table of any number of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from dp_async import CrawlOptions
from tests.property.database import SECOND, Database, Row, Schema, Ties
from tests.property.databasecrawl import BREACHES, Breach, Result, draw, play
from tests.property.databasewriter import Load

SLOW = pytest.mark.slow
CRAWLS = [30, pytest.param(120, marks=SLOW)]
BROKEN = [6, pytest.param(50, marks=SLOW)]


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
    assert sum(one.false for one in results) <= crawls // 50
    assert not [one.case.seed for one in results if one.twice]


@pytest.mark.parametrize(
    ("breach", "seed"),
    [
        ("hour back", 300494),  # totals grow, and no row enters at the newest end
        ("ties", 300001),  # two rows keep their order by chance
    ],
)
def test_signs_of_a_broken_assumption_are_seen(breach: Breach, seed: int) -> None:
    assert not play(draw(seed, breach)).false


@pytest.mark.parametrize("seeds", [(17, 19, 21), pytest.param(range(1, 200, 2), marks=SLOW)])
def test_rows_at_the_edge_of_a_page_may_be_as_late_as_allowed(seeds: Iterable[int]) -> None:
    """Without the horizons of the link rule, seed 19 is complete falsely."""
    for seed in seeds:
        case = draw(seed, "late", most=1500)
        load = replace(case.load, delay=(1.0, 1.9), skews=(0.0,))
        assert case.aims
        assert not play(replace(case, load=load)).false, seed


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_page_that_spans_less_than_the_lateness_proves_nothing_of_late_rows(
    concurrency: int,
) -> None:
    """If every horizon ignored the lateness, both were complete falsely."""
    case = replace(
        draw(1, "late", most=600),
        schema=Schema(largest=20),
        load=Load(pace=6.0, kinds=(("insert", 1.0), ("update", 2.0), ("delete", 1.0))),
        rows=120,
        past=10.0,
        latency=60_000,
        concurrency=concurrency,
        ordered=True,
        options=CrawlOptions(page_size=20),
        aims=frozenset(range(2, 40, 2)),
    )
    case = replace(case, load=replace(case.load, delay=(1.0, 1.9)))
    assert not play(case).false


@pytest.mark.parametrize("crawls", BROKEN)
def test_crawls_that_know_the_lag_of_a_replica_are_complete_only_if_they_are(crawls: int) -> None:
    results: list[Result] = []
    for seed in range(crawls):
        case = draw(seed, "replica", most=1500)
        results.append(play(replace(case, options=replace(case.options, replica_lag=1.5))))
    assert not [one.case.seed for one in results if one.false or one.twice]
    assert sum(one.complete for one in results) >= crawls / 3


def test_rows_that_are_updated_where_they_stand_cost_one_round_of_repair() -> None:
    for seed in range(6):
        case = draw(seed)
        schema = Schema(by_create=True, descending=case.schema.descending)
        load = Load(pace=4.0, kinds=(("update", 1.0),))
        case = replace(case, schema=schema, load=load, rows=900, past=1.0, latency=50_000)
        result = play(replace(case, options=CrawlOptions(page_size=50)))
        assert (result.complete, result.false) == (True, False), seed
        assert result.requests <= 2.4 * result.plain, seed


def test_a_list_complete_by_its_count_is_not_said_to_hide_what_an_import_brought() -> None:
    """Page 1 shows a part of the import, and what is between was not read."""
    assert play(draw(714_124)).complete


def test_a_row_that_an_update_moves_among_rows_of_one_create_time_is_not_lost() -> None:
    """If such rows were trusted to keep their order, this was complete falsely."""
    result = play(draw(716_172))
    assert not result.false
    assert "one second of the create time" in result.reason


def busy(seed: int, descending: bool, size: int, largest: int, pace: float) -> Result:
    """A crawl of 900 rows, in which rows enter and are updated all the time."""
    return play(
        replace(
            draw(seed),
            schema=Schema(descending=descending, largest=largest),
            load=Load(pace=pace, kinds=(("insert", 1.0), ("update", 1.0))),
            rows=900,
            past=pace,
            latency=60_000,
            concurrency=4,
            options=CrawlOptions(page_size=size),
        )
    )


@pytest.mark.parametrize("descending", [True, False])
def test_a_busy_end_is_read_as_wide_as_it_has_to_be(descending: bool) -> None:
    """Pages of 20 span a third of a second, pages of 80 span 1.3, and the lateness is 2."""
    results = [busy(seed, descending, 20, 400, 60.0) for seed in range(2)]
    assert [(one.complete, one.false) for one in results] == [(True, False)] * 2
    assert all(one.requests < 2.7 * one.plain for one in results)


@pytest.mark.parametrize("descending", [True, False])
def test_an_end_too_busy_for_any_page_is_given_up_soon_and_the_reason_says_so(
    descending: bool,
) -> None:
    results = [busy(seed, descending, 50, 50, 45.0) for seed in range(2)]
    for one in results:
        assert (one.complete, one.error) == (False, "")
        assert "spans no more than the allowed lateness" in one.reason
        assert one.requests < 2.8 * one.plain


def test_rows_an_hour_late_are_not_searched_for_by_repairs() -> None:
    """No page of this list spans an hour, so none of them would help."""
    result = play(draw(300438, "hour back"))
    assert (result.complete, result.error) == (False, "")
    assert "rows became visible 35" in result.reason
    assert result.requests < 2 * result.plain


@pytest.mark.parametrize("descending", [True, False])
def test_boundaries_between_small_pages_are_read_again_by_wide_ones(descending: bool) -> None:
    results = [busy(seed, descending, 20, 80, 1.5) for seed in range(6)]
    assert all(one.complete and one.changed for one in results)
    assert sum(one.requests for one in results) < 1.5 * sum(one.plain for one in results)


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
