"""The times of a page: whatever they are, they come back as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_async._times import NONE, Times

EPOCH = datetime(1970, 1, 1)


def seconds_of(times: list[datetime]) -> list[int]:
    return [(time - EPOCH) // timedelta(seconds=1) for time in times]


@given(
    st.lists(st.datetimes(timezones=st.none()), max_size=6)
    | st.lists(
        st.integers(0, 10**7).map(lambda second: datetime(2023, 7, 13) + timedelta(seconds=second)),
        max_size=6,
    ),
    st.sampled_from(["as they are", "falling", "rising"]),
)
def test_packed_times_are_those_of_a_loop(times: list[datetime], order: str) -> None:
    if order != "as they are":
        times.sort(reverse=order == "falling")
    expected = Times.of(seconds_of(times))
    packed = Times.packed(times)
    if packed is None:  # in no order, or with fractions of a second
        in_order = times in (sorted(times), sorted(times, reverse=True))
        assert not in_order or any(time.microsecond for time in times)
        return
    assert list(packed) == list(expected)
    assert len(packed) == len(expected)
    assert (packed.newest, packed.oldest) == (expected.newest, expected.oldest)
    assert (packed.falling, packed.rising) == (expected.falling, expected.rising)


@pytest.mark.parametrize(
    ("times", "digits"),
    [
        ([datetime(2023, 7, 13, 17)], 7),
        ([datetime(2023, 7, 13, 17)] * 3, 7),
        ([datetime(2023, 7, 13, 17, 0, 1), datetime(2023, 7, 13, 17, 0, 0)], 6 + 2),
        ([datetime(2023, 7, 13, 18), datetime(2023, 7, 13, 17, 59, 59)], 4 + 2 * 3),
        ([datetime(2024, 1, 1), datetime(2023, 12, 31)], 1 + 2 * 6),
    ],
)
def test_digits_that_all_times_share_are_kept_once(times: list[datetime], digits: int) -> None:
    packed = Times.packed(times)
    assert packed is not None
    assert len(packed.digits) == digits
    assert list(packed) == seconds_of(times)


def test_times_in_no_order_or_with_fractions_are_not_packed() -> None:
    day = timedelta(days=1)
    noon = datetime(2023, 7, 13, 12)
    assert Times.packed([noon, noon - day, noon]) is None
    assert Times.packed([noon, noon.replace(hour=11, microsecond=5)]) is None


@pytest.mark.parametrize("odd", [[None], [datetime(2023, 7, 13, tzinfo=UTC)]])
@pytest.mark.parametrize("plain", [[], [datetime(2023, 7, 13)]])
def test_a_time_that_is_null_or_has_an_offset_raises(
    odd: list[datetime], plain: list[datetime]
) -> None:
    with pytest.raises(TypeError):
        Times.packed([*plain, *odd])


def test_no_times() -> None:
    assert Times.packed([]) is Times.of([]) is NONE
    assert not NONE
    assert list(NONE) == []
