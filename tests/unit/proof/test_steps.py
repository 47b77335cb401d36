"""Long computations in steps: the same result, with a pause now and then."""

from __future__ import annotations

import pytest

from dp_async._proof.steps import AT_ONCE, finished, mapped


@pytest.mark.parametrize(("number", "pauses"), [(0, 0), (1, 1), (AT_ONCE, 1), (AT_ONCE + 1, 2)])
def test_a_mapping_pauses_after_each_part(number: int, pauses: int) -> None:
    steps = mapped(str, range(number))
    for _ in range(pauses):
        next(steps)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == finished(mapped(str, range(number))) == list(map(str, range(number)))
