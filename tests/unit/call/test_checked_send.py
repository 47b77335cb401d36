"""What the application's own ``Send`` returns is checked, and its header names are lowered."""

from __future__ import annotations

from typing import Any

import pytest

from dp_async import Client, ConfigError, RateLimited, Request, Response, Settings
from dp_async._call.checked_send import checked_send
from tests.support.samples import REQUEST


def returning(answer: object) -> Any:
    async def send(request: Request, /) -> object:
        return answer

    return send


async def test_a_right_response_is_passed_on_as_it_is() -> None:
    response = Response(200, {"date": "x"}, b"{}")
    assert await checked_send(returning(response))(REQUEST) is response


async def test_header_names_are_lowered() -> None:
    sent = checked_send(returning(Response(429, {"Retry-After": "7", "x": "Y"}, b"")))
    assert await sent(REQUEST) == Response(429, {"retry-after": "7", "x": "Y"}, b"")


async def test_a_retry_after_in_capitals_is_found() -> None:
    settings = Settings(base_url="https://api.example.com", app_id="app", app_secret="secret")
    send = returning(Response(429, {"Retry-After": "99999"}, b""))
    async with Client(settings, send=send) as client:
        with pytest.raises(RateLimited) as caught:
            await client.work_list()
    assert caught.value.retry_after == 99999


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"status": 200}, "send must return a Response, not dict"),
        (None, "send must return a Response, not NoneType"),
        (Response("200"), "send: the status of a Response must be an int, not str"),  # type: ignore[arg-type]
        (Response(200, body="{}"), "send: the body of a Response must be bytes, not str"),  # type: ignore[arg-type]
        (Response(200, None), "send: the headers of a Response must be a dict, not NoneType"),  # type: ignore[arg-type]
        (
            Response(200, {"date": 5}),  # type: ignore[dict-item]
            "send: the headers of a Response must be texts, not str and int",
        ),
        (
            Response(200, {b"date": "x"}),  # type: ignore[dict-item]
            "send: the headers of a Response must be texts, not bytes and str",
        ),
    ],
)
async def test_anything_else_is_refused(answer: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await checked_send(returning(answer))(REQUEST)
    assert str(caught.value) == problem


async def test_a_plain_function_is_refused() -> None:
    def send(request: Request, /) -> Any:
        return Response(200)

    with pytest.raises(ConfigError, match="send must be an async function: it returned Response"):
        await checked_send(send)(REQUEST)
