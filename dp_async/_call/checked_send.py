"""Checks what the application's own ``Send`` returns, at the border where it comes in.

The client's own transport needs none of it. Without the check a wrong type fails deep inside, and
a header with capitals, such as ``Retry-After``, is not found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from types import CoroutineType
from typing import cast

from .._errors import ConfigError
from .._http import Request, Response, Send


def checked_send(send: Send) -> Send:
    """*send*, whose answers are a ``Response`` with header names in lower case.

    Raises ConfigError for anything else that it returns.
    """

    async def sending(request: Request, /) -> Response:
        given = cast("object", send(request))  # whatever its type says
        if given.__class__ is not CoroutineType and not isinstance(given, Awaitable):
            raise ConfigError(f"send must be an async function: it returned {_kind(given)}")
        response: Response = await cast("Awaitable[Response]", given)
        # Classes are compared, which unlike isinstance() costs no call for each page.
        if (
            response.__class__ is Response
            and response.status.__class__ is int
            and response.body.__class__ is bytes
            and response.headers.__class__ is dict
            and _are_right(response.headers)
        ):
            return response
        return _with_lower_case(response)

    return sending


def _with_lower_case(response: object) -> Response:
    """*response* with header names in lower case. Raises ConfigError for what is no response."""
    if not isinstance(response, Response):
        raise ConfigError(f"send must return a Response, not {_kind(response)}")
    status, headers, body = cast(
        "tuple[object, object, object]", (response.status, response.headers, response.body)
    )
    if not isinstance(status, int):
        raise ConfigError(f"send: the status of a Response must be an int, not {_kind(status)}")
    if not isinstance(body, bytes):
        raise ConfigError(f"send: the body of a Response must be bytes, not {_kind(body)}")
    if not isinstance(headers, Mapping):
        raise ConfigError(f"send: the headers of a Response must be a dict, not {_kind(headers)}")
    lowered: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(
                "send: the headers of a Response must be texts, not "
                f"{_kind(name)} and {_kind(value)}"
            )
        lowered[name.lower()] = value
    return Response(status, lowered, body)


def _are_right(headers: Mapping[str, str]) -> bool:
    """Whether *headers* are texts, with names in lower case."""
    try:
        "".join(headers.values())
        return "".join(headers).islower()
    except TypeError:
        return False


def _kind(value: object) -> str:
    return type(value).__name__
