"""The script: which request meets which fault."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from dp_async import ConfigError
from dp_async.testing import Endpoint, Fault, Hang, Html, Reset
from dp_async.testing._script import Script


def add(
    script: Script,
    fault: Fault,
    times: int | None = 1,
    endpoint: Endpoint | None = None,
    page: int | None = None,
    probability: float | None = None,
    after: int = 0,
) -> None:
    script.add(
        fault, times=times, endpoint=endpoint, page=page, probability=probability, after=after
    )


def test_faults_are_used_in_order() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=2)
    add(script, Hang())
    taken = [script.take("work_list", 1) for _ in range(4)]
    assert taken == [Reset(), Reset(), Hang(), None]


def test_faults_wait_for_their_requests() -> None:
    script = Script(Random(1))
    add(script, Reset(), endpoint="msg_list")
    add(script, Hang(), page=3)
    add(script, Html(), times=None)
    assert script.take("work_list", 1) == Html()
    assert script.take("work_list", 3) == Hang()
    assert script.take("msg_list", 3) == Reset()
    assert script.take("", None) == Html()
    script.clear()
    assert script.take("work_list", 1) is None


def test_after_counts_only_requests_that_match() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=2, page=1, after=2)
    taken = [script.take("work_list", page) for page in (1, 2, 1, 2, 1, 1, 1)]
    assert taken == [None, None, None, None, Reset(), Reset(), None]


def test_after_does_not_count_requests_that_got_another_fault() -> None:
    script = Script(Random(1))
    add(script, Reset())
    add(script, Hang(), after=1)
    add(script, Html(), times=None)
    assert [script.take("work_list", 1) for _ in range(4)] == [Reset(), Html(), Hang(), Html()]


def test_the_requests_that_after_skips_are_not_random() -> None:
    script = Script(Random(1))
    add(script, Reset(), times=None, probability=0.5, after=10)
    taken = [script.take("work_list", 1) for _ in range(30)]
    assert taken[:10] == [None] * 10
    assert set(taken[10:]) == {None, Reset()}


REFUSED: list[tuple[str, list[Any], str]] = [
    ("after", [-1, 1.0, True, "1", None], "after must be a whole number of at least 0, not "),
    ("times", [0, -1, 1.5, "1"], "times must be a whole number of at least 1, not "),
    ("page", [0, "2"], "page must be a whole number of at least 1, not "),
    ("probability", [-0.1, 1.1, "1", True], "probability must be a number of at least 0 and at"),
    ("endpoint", ["workList", ""], "endpoint must be 'work_list' or 'msg_list', not "),
    (
        "fault",
        [Html, Fault(), "Html"],
        r"fault must be a fault such as Html\(\) or Reset\(\), not ",
    ),
]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [(name, value, text) for name, values, text in REFUSED for value in values],
)
def test_what_cannot_match_a_request_is_refused(name: str, value: Any, text: str) -> None:
    script = Script(Random(1))
    given: dict[str, Any] = {"fault": Reset(), name: value}
    with pytest.raises(ConfigError, match=f"^{text}"):
        add(script, **given)
    assert script.take("work_list", 1) is None


def test_probability_applies_to_each_request() -> None:
    def run(seed: int) -> Counter[Fault | None]:
        script = Script(Random(seed))
        add(script, Reset(), times=None, probability=0.25)
        add(script, Hang(), times=3)
        return Counter(script.take("work_list", 1) for _ in range(1000))

    counts = run(1)
    assert 200 < counts[Reset()] < 300
    assert counts[Hang()] == 3
    assert run(1) == counts
