"""Requests and responses: their repr shows nothing secret, and changed copies are made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.pretty import pretty_repr

from dp_async import Request, Response
from tests.support.samples import SECRET

VALUES = [
    Request(
        endpoint="work_list",
        method="GET",
        target=f"/path?name={SECRET}",
        headers={"authorization": SECRET},
        body=SECRET.encode(),
    ),
    Response(status=200, headers={"set-cookie": SECRET}, body=SECRET.encode()),
]


@pytest.mark.parametrize("value", VALUES)
def test_neither_shows_headers_query_or_body(value: Request | Response) -> None:
    for shown in (repr(value), str(value), f"{value}", pretty_repr(value)):
        assert SECRET not in shown
        assert shown.startswith(type(value).__name__)


def test_the_repr_shows_endpoint_method_and_status() -> None:
    assert "work_list" in repr(VALUES[0])
    assert "GET" in repr(VALUES[0])
    assert "200" in repr(VALUES[1])


@pytest.mark.parametrize("value", VALUES)
def test_a_changed_one_is_made_by_replace(value: Request | Response) -> None:
    changed = replace(value, body=b"other")
    assert (changed.body, value.body) == (b"other", SECRET.encode())
    assert changed.headers == value.headers
    assert replace(changed, body=value.body) == value
    with pytest.raises(AttributeError):
        setattr(value, "bodies", b"other")  # noqa: B010  # a misspelt field


def test_no_headers_are_shared_between_values() -> None:
    one, two = Response(status=200), Response(status=200)
    assert one.headers == {}
    assert one.headers is not two.headers


def test_a_request_is_a_first_attempt_and_idempotent_by_default() -> None:
    request = Request(endpoint="e", method="POST", target="/")
    assert request.idempotent
    assert request.attempt == 1
