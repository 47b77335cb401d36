"""From a response to the data of a good answer, or the error it stands for.

Pure. The envelope's ``host`` and ``errorStackTrace`` are never declared, so they cannot leak; the
success text varies and is never tested; HTTP may say 200 where the envelope says no.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Raw, Struct

from ._errors import (
    ApiError,
    AuthError,
    BadRequest,
    CallError,
    DecodeError,
    RateLimited,
    ServerError,
    TransportError,
)
from ._http import Call, Request, Response, Send
from ._json import decode

GOOD = 200
_NULL = Raw(b"null")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")  # HTTP has whole ones, some gateways do not

_HINTS = {
    301: "Redirects are not followed, they would carry the signed headers along: "
    "set base_url to the final address.",
    401: "Check app_id and app_secret, then what the signature is made of: the settings "
    "auth_template and timestamp_unit are assumptions, the platform's own recipe is not public. "
    "Check this machine's clock. A proxy such as nginx drops header names with underscores "
    "(req_from, app_id) unless underscores_in_headers is on.",
    403: "The app or the account may not do this: check app_id and account.",
    404: "Check base_url, its path prefix too.",
    429: "Lower max_in_flight, or set rate.",
}


class _Envelope(Struct, rename="camel", gc=False):
    code: int | str | None = None
    data: Raw = _NULL
    request_id: object = None
    result_msg: object = None


_decoder = msgspec.json.Decoder(_Envelope)


def checked(send: Send, clock: Callable[[], float] = time.time) -> Call:
    """*send*, giving only the data of good answers; any other answer is raised as its error."""

    async def call(request: Request, /) -> Raw:
        return check(request, await send(request), clock)

    return call


def check(request: Request, response: Response, clock: Callable[[], float] = time.time) -> Raw:
    """The ``data`` of a good answer, undecoded. Raises ApiError, TransportError or DecodeError."""
    try:
        envelope = decode(_decoder, response.body, request.endpoint)
    except DecodeError as error:
        failure = _foreign(request, response, error, clock)
    else:
        code = _number(envelope.code)
        if code == GOOD and not _is_null(envelope.data):
            return envelope.data
        failure = _refusal(request, response, code, envelope, clock)
    raise failure


def _is_null(data: Raw) -> bool:
    # Looked at, not copied: it may be megabytes.
    return len(memoryview(data)) == len(b"null") and bytes(data) == b"null"


def _number(code: int | str | None) -> int | None:
    """The code as a number, None if there is none; some gateways write it as a text."""
    if isinstance(code, str):
        return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else None
    return code


def _foreign(
    request: Request, response: Response, error: DecodeError, clock: Callable[[], float]
) -> CallError:
    """The error for a body that is not the API's envelope: a gateway's page, or nothing."""
    if not 200 <= response.status < 300:
        return _error(request, response, None, _Envelope(), clock)
    if not response.body.strip():
        return TransportError(
            f"{request.endpoint}: the answer was empty", endpoint=request.endpoint
        )
    if response.body.lstrip()[:1] == b"<":
        return TransportError(
            f"{request.endpoint}: a page of HTML came instead of the API's JSON, from a gateway "
            "or a login page; check base_url",
            endpoint=request.endpoint,
        )
    return error


def _refusal(
    request: Request,
    response: Response,
    code: int | None,
    envelope: _Envelope,
    clock: Callable[[], float],
) -> CallError:
    """The error for an envelope that holds no good data."""
    if code is None and 200 <= response.status < 300:
        problem = "the answer has no" if envelope.code is None else "a text, not a number, is"
        text = f"{request.endpoint}: {problem} `$.code`"
        return DecodeError(text, endpoint=request.endpoint)
    if code == GOOD:
        text = f"{request.endpoint}: code 200, but `$.data` is null or missing"
        return DecodeError(text, endpoint=request.endpoint)
    return _error(request, response, code, envelope, clock)


def _error(
    request: Request,
    response: Response,
    code: int | None,
    envelope: _Envelope,
    clock: Callable[[], float],
) -> ApiError:
    """The ApiError by what the answer says: the envelope's code if it has one, else HTTP's."""
    said = response.status if code is None else code
    if not 300 <= said < 600 and response.status >= 300:
        said = response.status  # a code of the vendor's own numbering: HTTP tells the kind
    message, request_id = _plain(envelope.result_msg, 200), _plain(envelope.request_id, 64)
    text = f"{request.endpoint}: the server answered {said if code is None else code}"
    if code is not None and code != response.status:
        text += f" (HTTP {response.status})"
    if message:
        text += f" {message!r}"
    if request_id:
        text += f", request id {request_id}"
    hint = _HINTS.get(301 if 300 <= said < 400 else said)
    return _kind(said)(
        f"{text}. {hint}" if hint else text,
        endpoint=request.endpoint,
        status=response.status,
        code=code,
        message=message,
        request_id=request_id,
        retry_after=retry_after(response, clock),
    )


def _kind(said: int) -> type[ApiError]:
    if said in (401, 403):
        return AuthError
    if said == 429:
        return RateLimited
    if 400 <= said < 500:
        return BadRequest
    return ServerError if 500 <= said < 600 else ApiError


def retry_after(response: Response, clock: Callable[[], float] = time.time) -> float | None:
    """The seconds to wait that ``Retry-After`` asks for, or None.

    An HTTP date is taken against the answer's own ``Date``, so that a wrong clock here does not
    matter, else against *clock*.
    """
    value = response.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), 1e9)
    then = _date(value)
    if then is None:
        return None
    now = _date(response.headers.get("date", ""))
    return max(0.0, then - (clock() if now is None else now))


def _date(value: str) -> float | None:
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # HTTP's dates are GMT, also in the old form that does not say so.
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def _plain(value: object, most: int) -> str:
    """*value* as text fit for a terminal: printable, and cut to *most* characters.

    Of arrays and objects nothing is shown: what they hold is not known.
    """
    text = str(value) if isinstance(value, str | int | float) else ""
    text = "".join(char if char.isprintable() else " " for char in text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
