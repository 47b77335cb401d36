"""The script: which request meets which fault."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from dp_async.testing import Fault, Hang, Html, Reset
from dp_async.testing._script import Script


def add(
    script: Script,
    fault: Fault,
    times: int | None = 1,
    endpoint: str | None = None,
    page: int | None = None,
    probability: float | None = None,
    after: int = 0,
) -> None:
    script.add(
        fault, times=times, endpoint=endpoint, page=page, probability=probability, after=after
    )


def test_the_script_is_used_up_in_order() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=2)
    add(script, Hang())
    taken = [script.take("workList", 1) for _ in range(4)]
    assert taken == [Reset(), Reset(), Hang(), None]


def test_the_script_waits_for_its_request() -> None:
    script = Script(Random(1))
    add(script, Reset(), endpoint="msgList")
    add(script, Hang(), page=3)
    add(script, Html(), times=None)
    assert script.take("workList", 1) == Html()
    assert script.take("workList", 3) == Hang()
    assert script.take("msgList", 3) == Reset()
    assert script.take("", None) == Html()
    script.clear()
    assert script.take("workList", 1) is None


def test_a_line_may_let_some_of_its_requests_pass_first() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=2, page=1, after=2)
    asked = (1, 2, 1, 2, 1, 1, 1)  # those for page 2 do not fit, and count for nothing
    taken = [script.take("workList", page) for page in asked]
    assert taken == [None, None, None, None, Reset(), Reset(), None]


def test_a_request_that_met_a_fault_has_passed_no_later_one() -> None:
    script = Script(Random(1))
    add(script, Reset())
    add(script, Hang(), after=1)
    add(script, Html(), times=None)
    assert [script.take("workList", 1) for _ in range(4)] == [Reset(), Html(), Hang(), Html()]


def test_those_let_pass_are_not_left_to_chance() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=None, probability=0.5, after=10)
    taken = [script.take("workList", 1) for _ in range(30)]
    assert taken[:10] == [None] * 10
    assert set(taken[10:]) == {None, Reset()}


@pytest.mark.parametrize("after", [-1, 1.0, True, "1", None])
def test_how_many_to_let_pass_is_a_whole_number(after: Any) -> None:
    with pytest.raises(ValueError, match="after must be a whole number of at least 0, not "):
        add(Script(Random(1)), Reset(), after=after)


def test_probability_is_of_each_request() -> None:
    def run(seed: int) -> Counter[Fault | None]:
        script = Script(Random(seed))
        add(script, Reset(), times=None, probability=0.25)
        add(script, Hang(), times=3)
        return Counter(script.take("workList", 1) for _ in range(1000))

    counts = run(1)
    assert 200 < counts[Reset()] < 300
    assert counts[Hang()] == 3
    assert run(1) == counts
