"""Windows of keys: what a merge touches, and that the files stay apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")

from dp_async.delta import _windows
from dp_async.delta._windows import FIRST, LEAST, MOST, Extent, Key, Window, extent, windows

ROWS = 10
KEYS = st.sets(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 60)))


@pytest.fixture(autouse=True, scope="module")
def few_rows() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_windows, "ROWS", ROWS)
        yield


def within(window: Window, key: Key) -> bool:
    return window.first <= key and (window.end is None or key < window.end)


def of(keys: set[Key]) -> Extent:
    """The extent of a file with these keys, as the log tells it."""
    accounts, ids = [one[0] for one in keys], [one[1] for one in keys]
    return extent((min(accounts), max(accounts)), (min(ids), max(ids)), len(keys))


@given(st.lists(KEYS, max_size=6))
def test_each_merge_touches_a_bounded_number_of_rows(loads: list[set[Key]]) -> None:
    """Load after load: a merge leaves one file in the place of those that its window has."""
    files: list[set[Key]] = []
    for load in loads:
        found = windows(map(of, files), sorted(load), 1)
        assert found[0].first == FIRST
        assert found[-1].end is None
        assert [one.end for one in found[:-1]] == [one.first for one in found[1:]]
        for window in found:
            touched = [file for file in files if any(within(window, key) for key in file)]
            assert all(within(window, key) for file in touched for key in file)
            known = {key for file in touched for key in file}
            new = {key for key in load if within(window, key)} - known
            inside = {key for key in new if any(of(f).first <= key <= of(f).last for f in touched)}
            assert len(known | (new - inside)) <= ROWS or len(touched) == 1
            if known | new:
                files = [file for file in files if file not in touched] + [known | new]
        ends = sorted((of(file) for file in files), key=lambda one: one.first)
        assert all(one.last < other.first for one, other in pairwise(ends))


def test_files_that_overlap_are_in_one_window() -> None:
    stored = [Extent(("", low), ("", low + 15), ROWS) for low in (0, 10, 20, 100)]
    assert windows(stored, [("", 5), ("", 104), ("", 300)], 1) == [
        Window(FIRST, ("", 100)),
        Window(("", 100), ("", 300)),
        Window(("", 300)),
    ]
    whole = Extent(FIRST, _windows.LAST, ROWS)  # of a file without statistics
    assert windows([*stored, whole], [("", 5), ("", 300)], 1) == [Window()]


def test_a_window_as_a_condition() -> None:
    conditions = {
        Window(): "",
        Window(("it's", 7)): "(a > 'it''s' OR (a = 'it''s' AND n >= 7))",
        Window(("b", LEAST), ("b", MOST)): f"a >= 'b' AND (a < 'b' OR (a = 'b' AND n < {MOST}))",
        Window(end=("b", LEAST)): "a < 'b'",
    }
    for window, condition in conditions.items():
        text = window.condition("a", "n", lambda name: "'" + name.replace("'", "''") + "'")
        assert text == condition
