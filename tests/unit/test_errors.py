"""The tree of errors is what its docstring says, and errors survive pickling, copying, printing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from dp_async import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    CallError,
    ClientClosed,
    ConfigError,
    DecodeError,
    DpError,
    PaginationError,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    TransportError,
)
from dp_async._errors import allow_retry_now, may_retry_now

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


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_call_error_says_its_text_and_nothing_else(kind: type[CallError]) -> None:
    error = kind("work_list: no", endpoint="work_list")
    assert str(error) == "work_list: no"
    assert error.args == ("work_list: no",)
    assert (error.endpoint, error.attempts, error.elapsed) == ("work_list", 1, 0.0)
    assert not may_retry_now(error)


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_call_error_says_how_often_it_was_tried(kind: type[CallError]) -> None:
    error = kind("no")
    error.attempts, error.elapsed = 3, 1.25
    assert str(error) == "no (gave up after 3 attempts in 1.2 s)"
    assert error.args == ("no",)


@pytest.mark.parametrize("kind", CALL_ERRORS)
@pytest.mark.parametrize("copied", [copy.copy, pickled])
def test_a_call_error_survives_the_way_to_another_process(
    kind: type[CallError], copied: Callable[[CallError], CallError]
) -> None:
    error = kind("no", endpoint="work_list")
    error.attempts, error.elapsed = 3, 1.5
    allow_retry_now(error)
    error.add_note("not repeated")
    again = copied(error)
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


def test_an_api_error_without_an_envelope_says_so_by_empty_values() -> None:
    error = ApiError("no")
    assert (error.status, error.code, error.message) == (0, None, "")
    assert (error.request_id, error.retry_after, error.date) == ("", None, None)
