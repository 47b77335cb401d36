"""Rows: the documented ones unchanged, the made-up ones of the same shape."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from dp_async.testing._rows import KINDS, documented, made_up, second_of, text_of

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.mark.parametrize("endpoint", KINDS)
def test_documented_rows_are_the_example_answer(endpoint: str) -> None:
    sample = json.loads((VECTORS / f"{KINDS[endpoint].segment}.json").read_bytes())
    rows = documented(KINDS[endpoint])
    assert rows == sample["data"]["content"]
    assert [list(row) for row in rows] == [list(row) for row in sample["data"]["content"]]


def test_times_are_at_08_00() -> None:
    # The documented URL of this row holds 1689239796865, 49 seconds earlier.
    assert second_of("2023-07-13 17:17:25") - 1689239796 == 49
    assert text_of(second_of("2023-07-13 17:17:25")) == "2023-07-13 17:17:25"
    assert second_of(None) == 0


@pytest.mark.parametrize("endpoint", KINDS)
def test_made_up_rows_have_the_documented_shape(endpoint: str) -> None:
    kind = KINDS[endpoint]
    example = documented(kind)[0]
    pairs = made_up(kind, 5000, before=1_689_000_000, above=2478)
    rows = [kind.make(key, second) for second, key in pairs]
    assert rows == [kind.make(key, second) for second, key in pairs]
    assert {tuple(row) for row in rows} == {tuple(example)}
    assert len({row[kind.key] for row in rows}) == 5000
    assert min(key for _, key in pairs) > 2478
    seconds = [second_of(row[kind.time]) for row in rows]
    assert seconds[0] < 1_689_000_000
    assert all(newer >= older for newer, older in pairwise(seconds))
    assert 500 < sum(newer == older for newer, older in pairwise(seconds)) < 2000
    assert all(str(row["createTime"]) <= str(row["updateTime"]) for row in rows)


def test_made_up_rows_vary() -> None:
    works = [KINDS["work_list"].make(key, 1_600_000_000) for key in range(3000, 4000)]
    assert {row["status"] for row in works} == {"SUCCESS", "DRAFT", "IN_PROGRESS", "FAIL"}
    assert {row["align"] for row in works} == {"VERTICAL", "HORIZONTAL"}
    assert len({row["name"] for row in works}) == 8
    assert {None, ""} < {row["avatar"] for row in works}
    messages = [KINDS["msg_list"].make(key, 1_600_000_000) for key in range(3000, 4000)]
    assert {row["readStatus"] for row in messages} == {"READ", "UNREAD"}
    assert {json.dumps(row["params"]) for row in messages} == {"{}", "null"}


@pytest.mark.parametrize("endpoint", KINDS)
def test_a_background_update_changes_the_filtered_field(endpoint: str) -> None:
    kind = KINDS[endpoint]
    assert tuple(kind.changed(Random(1))) == kind.exact
