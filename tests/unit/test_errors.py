"""The tree of errors is what its docstring says, and errors survive pickling, copying, printing."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from dp_async import (
    AccountsFailed,
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    CallError,
    ClientClosed,
    ConfigError,
    DecodeError,
    DpError,
    IncompleteCrawl,
    PaginationError,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    TransportError,
)
from dp_async._errors import allow_retry_now, forbid_retry, may_pass, may_retry_now

TREE: list[tuple[type[DpError], tuple[type[Exception], ...]]] = [
    (ConfigError, (DpError, ValueError)),
    (ClientClosed, (DpError,)),
    (PaginationError, (DpError,)),
    (CallError, (DpError,)),
    (TransportError, (CallError,)),
    (AttemptTimeout, (TransportError, TimeoutError)),
    (ApiError, (CallError,)),
    (AuthError, (ApiError,)),
    (RateLimited, (ApiError,)),
    (BadRequest, (ApiError,)),
    (ServerError, (ApiError,)),
    (DecodeError, (CallError,)),
    (ResponseTooLarge, (DecodeError,)),
]


def pickled(error: CallError) -> CallError:
    again: CallError = pickle.loads(pickle.dumps(error))
    return again


CALL_ERRORS = [kind for kind, _ in TREE if issubclass(kind, CallError)]


@pytest.mark.parametrize(("kind", "parents"), TREE)
def test_each_kind_has_its_parents_and_no_others(
    kind: type[DpError], parents: tuple[type[Exception], ...]
) -> None:
    assert kind.__bases__ == parents


def test_the_docstring_draws_the_tree() -> None:
    drawn: dict[str, str] = {}
    path = ["DpError"]
    for line in CallError.__init__.__globals__["__doc__"].splitlines():
        if match := re.fullmatch(r"    ([│ ]*)[├└]── (\w+) .*", line):
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1]
    kinds = [*[kind for kind, _ in TREE], IncompleteCrawl, AccountsFailed]
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in kinds}


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_call_error_is_its_text_and_how_often_it_was_tried(kind: type[CallError]) -> None:
    error = kind("work_list: no", endpoint="work_list")
    assert str(error) == "work_list: no"
    assert error.args == ("work_list: no",)
    assert (error.endpoint, error.attempts, error.elapsed) == ("work_list", 1, 0.0)
    assert not may_retry_now(error)
    error.attempts, error.elapsed = 3, 1.25
    assert str(error) == "work_list: no (gave up after 3 attempts in 1.2 s)"
    assert error.args == ("work_list: no",)


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_no_answer_a_429_and_a_5xx_may_pass_unless_marked(kind: type[CallError]) -> None:
    error = kind("no")
    assert may_pass(error) is issubclass(kind, TransportError | RateLimited | ServerError)
    forbid_retry(error)
    assert not may_pass(error)
    assert not may_pass(ValueError())


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_call_error_names_its_page_where_that_is_known(kind: type[CallError]) -> None:
    error = kind("work_list: no", endpoint="work_list")
    assert (error.page_num, error.page_size, error.request_id) == (None, None, "")
    error.page_num, error.page_size = 7, 100
    assert str(error) == "work_list, page 7 of 100 rows: no"
    error.attempts, error.elapsed = 3, 1.25
    assert str(error) == "work_list, page 7 of 100 rows: no (gave up after 3 attempts in 1.2 s)"
    assert str(pickled(error)) == str(error)
    other = kind("no", endpoint="work_list")
    other.page_num = 7
    assert str(other) == "no"


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_call_error_survives_copying_and_pickling(kind: type[CallError]) -> None:
    error = kind("no", endpoint="work_list")
    error.attempts, error.elapsed = 3, 1.5
    allow_retry_now(error)
    error.add_note("not repeated")
    for again in (copy.copy(error), pickled(error)):
        assert type(again) is kind
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert (may_retry_now(again), again.__notes__) == (True, ["not repeated"])
        assert str(again) == str(error)


def test_an_api_error_keeps_what_the_server_said() -> None:
    error = RateLimited(
        "slow",
        status=429,
        code=4290,
        message="too fast",
        request_id="abc",
        retry_after=7.0,
        date=8.0,
    )
    again: RateLimited = pickle.loads(pickle.dumps(error))
    assert (again.status, again.code, again.message) == (429, 4290, "too fast")
    assert (again.request_id, again.retry_after, again.date) == ("abc", 7.0, 8.0)


def test_an_api_error_without_an_envelope_has_empty_values() -> None:
    error = ApiError("no")
    assert (error.status, error.code, error.message) == (0, None, "")
    assert (error.request_id, error.retry_after, error.date) == ("", None, None)
