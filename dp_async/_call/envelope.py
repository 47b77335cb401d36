"""Whether a response is a good answer, else the error it stands for.

Pure. The envelope's ``host`` and ``errorStackTrace`` are never declared, so they cannot leak; the
success text varies and is never tested; HTTP may say 200 where the envelope says no.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Raw, Struct

from .._errors import (
    ApiError,
    AuthError,
    BadRequest,
    CallError,
    DecodeError,
    RateLimited,
    ServerError,
    TransportError,
)
from .._http import Call, Request, Response, Send
from .._json import decode
from .observe import Attempt, Observers
from .redact import Secrets, redacted, unsigned

GOOD = 200
NONE = Secrets()
#: Bytes of a message or a request id that are looked at, at most.
LONGEST = 1 << 17
_NULL = Raw(b"null")
#: How a good answer begins; an envelope has one code, and this is it.
_WELL = re.compile(rb'\s*\{\s*"code"\s*:\s*200\s*,\s*"data"\s*:\s*\{')
_BEGINNING = 100  # bytes: the rest may be megabytes of nothing
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


class Envelope(Struct, rename="camel", gc=False):
    """What is read of an answer; its other fields are server internals."""

    code: int | str | None = None
    data: Raw = _NULL
    request_id: Raw = _NULL
    result_msg: Raw = _NULL


_decoder = msgspec.json.Decoder(Envelope)


def checked(
    send: Send,
    observers: Observers,
    secrets: Secrets = NONE,
    clock: Callable[[], float] = time.time,
) -> Call:
    """*send*, giving only good answers, unread; any other is raised as its error.

    The *observers* are told of each. *secrets* stand in no error, even if the server wrote them.
    """

    async def call(request: Request, /) -> Raw:
        if not observers.listening:
            return good(request, await send(request), secrets, clock)
        came: Response | None = None
        began = time.perf_counter()
        try:
            came = await send(request)
            envelope = opened(request, came, secrets, clock)
        except BaseException as error:
            observers.tell(_attempt(request, came, time.perf_counter() - began, error))
            raise
        seconds = time.perf_counter() - began
        request_id = redacted(_text(envelope.request_id), request, secrets)
        observers.tell(_attempt(request, came, seconds, None, _cut(request_id, 64)))
        return Raw(came.body)

    return call


def _attempt(
    request: Request,
    response: Response | None,
    seconds: float,
    error: BaseException | None,
    request_id: str = "",
) -> Attempt:
    refused = error if isinstance(error, ApiError) else None
    code = GOOD if error is None else None
    return Attempt(
        endpoint=request.endpoint,
        number=request.attempt,
        seconds=seconds,
        status=None if response is None else response.status,
        code=code if refused is None else refused.code,
        request_id=request_id if refused is None else refused.request_id,
        error="" if error is None else type(error).__name__,
    )


def good(
    request: Request,
    response: Response,
    secrets: Secrets = NONE,
    clock: Callable[[], float] = time.time,
) -> Raw:
    """A good answer, unread if it says at once that it is good and that data follow.

    To look for what stands behind the data would be to read them twice. So one that cannot be read
    to its end is found out by who reads it: that DecodeError does not tell the attempts, and to the
    gate and the budget of retries it was a good answer. Raises as ``opened``.
    """
    if not (200 <= response.status < 300 and _WELL.match(response.body, 0, _BEGINNING)):
        opened(request, response, secrets, clock)
    return Raw(response.body)


def opened(
    request: Request,
    response: Response,
    secrets: Secrets = NONE,
    clock: Callable[[], float] = time.time,
) -> Envelope:
    """The envelope of a good answer, its ``data`` undecoded.

    Raises ApiError, TransportError or DecodeError for any other.
    """
    try:
        envelope = decode(_decoder, response.body, request.endpoint)
    except DecodeError as error:
        failure = _Failed(request, response, secrets, clock).foreign(error)
    else:
        code = _number(envelope.code)
        if code == GOOD and not _is_null(envelope.data):
            return envelope
        failure = _Failed(request, response, secrets, clock).refusal(code, envelope)
        del envelope  # its words are not for those who log the variables of a traceback
    raise failure


def _is_null(data: Raw) -> bool:
    # Looked at, not copied: it may be megabytes.
    return len(memoryview(data)) == len(b"null") and bytes(data) == b"null"


def _number(code: int | str | None) -> int | None:
    """The code as a number, None if there is none; some gateways write it as a text."""
    if isinstance(code, str):
        return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else None
    return code


@dataclass(frozen=True, slots=True)
class _Failed:
    """An answer that holds no good data, and the error it stands for."""

    request: Request
    response: Response
    secrets: Secrets
    clock: Callable[[], float]

    def foreign(self, error: DecodeError) -> CallError:
        """The error for a body that is not the API's envelope: a gateway's page, or nothing."""
        name, response = self.request.endpoint, self.response
        if not 200 <= response.status < 300:
            return self._error(None, Envelope())
        if not response.body.strip():
            return TransportError(f"{name}: the answer was empty", endpoint=name)
        if response.body.lstrip()[:1] == b"<":
            return TransportError(
                f"{name}: a page of HTML came instead of the API's JSON, from a gateway "
                "or a login page; check base_url",
                endpoint=name,
            )
        return error

    def refusal(self, code: int | None, envelope: Envelope) -> CallError:
        """The error for an envelope that holds no good data."""
        name = self.request.endpoint
        if code is None and 200 <= self.response.status < 300:
            problem = "the answer has no" if envelope.code is None else "a text, not a number, is"
            return DecodeError(f"{name}: {problem} `$.code`", endpoint=name)
        if code == GOOD:
            text = f"{name}: code 200, but `$.data` is null or missing"
            return DecodeError(text, endpoint=name)
        return self._error(code, envelope)

    def _error(self, code: int | None, envelope: Envelope) -> ApiError:
        """The ApiError by what the answer says: the envelope's code if it has one, else HTTP's."""
        response = self.response
        said = response.status if code is None else code
        if not 300 <= said < 600 and response.status >= 300:
            said = response.status  # a code of the vendor's own numbering: HTTP tells the kind
        message = _cut(unsigned(self._redacted(envelope.result_msg)), 200)
        request_id = _cut(self._redacted(envelope.request_id), 64)
        text = f"{self.request.endpoint}: the server answered {said if code is None else code}"
        if code is not None and code != response.status:
            text += f" (HTTP {response.status})"
        if message:
            text += f" {message!r}"
        if request_id:
            text += f", request id {request_id}"
        hint = _HINTS.get(301 if 300 <= said < 400 else said)
        return _kind(said)(
            f"{text}. {hint}" if hint else text,
            endpoint=self.request.endpoint,
            status=response.status,
            code=code,
            message=message,
            request_id=request_id,
            retry_after=retry_after(response, self.clock),
            date=_date(response.headers.get("date", "")),
        )

    def _redacted(self, sent: Raw) -> str:
        return redacted(_text(sent), self.request, self.secrets)


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


def _cut(text: str, most: int) -> str:
    """*text*, cut to *most* characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(sent: Raw) -> str:
    """*sent* as text. Nothing of arrays and objects, whose content is not known, nor of what nobody
    would read: a server could otherwise have us work on megabytes of it."""
    if len(memoryview(sent)) > LONGEST:
        return ""
    try:
        value = msgspec.json.decode(sent)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return str(value) if isinstance(value, str | int | float) else ""
