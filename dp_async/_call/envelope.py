"""Tells good answers from errors, and makes the error for any other response.

Pure. The envelope's ``host`` and ``errorStackTrace`` are never declared, so they cannot leak. Its
code decides: HTTP may say 200 for a refusal, and the success text varies.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

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
from .._http import Answer, Call, Request, Response, Send
from .._json import decode, members
from .dates import http_date, retry_after
from .hints import hint
from .observe import Attempt, Observers
from .redact import Secrets, redacted, unsigned

GOOD = 200
NONE = Secrets()
LONGEST = 1 << 17  # bytes of a message or request id that is decoded
_NULL = Raw(b"null")
#: How a good answer begins: without white space, which takes less time to check, and with it.
_GOOD_BEGIN = b'{"code":200,"data":{'
_GOOD_PREFIX = re.compile(rb'\s*\{\s*"code"\s*:\s*200\s*,\s*"data"\s*:\s*\{')
_PREFIX_BYTES = 100  # searched at most: a body may be megabytes of white space


class Envelope(Struct, rename="camel", gc=False):
    """The fields of an answer that are read; its other fields are server internals."""

    code: int | str | None = None
    data: Raw = _NULL
    request_id: Raw = _NULL
    result_msg: Raw = _NULL


_decoder = msgspec.json.Decoder(Envelope)
_UNDECODED = (b'"data"', b'"requestId"', b'"resultMsg"')


def checked(
    send: Send,
    observers: Observers,
    secrets: Secrets = NONE,
    clock: Callable[[], float] = time.time,
) -> Call:
    """*send*, returning good answers only, undecoded; any other is raised as its error.

    Reports each request to *observers*. Redacts *secrets* in errors, even if the server wrote them.
    """

    async def call(request: Request, /) -> Answer:
        if not observers.listening:
            return good(request, await send(request), secrets, clock)
        response: Response | None = None
        began = time.perf_counter()
        try:
            response = await send(request)
            envelope = opened(request, response, secrets, clock)
        except BaseException as error:
            observers.notify(_attempt(request, response, time.perf_counter() - began, error))
            raise
        seconds, request_id = time.perf_counter() - began, _shown_id(envelope, request, secrets)
        observers.notify(_attempt(request, response, seconds, None, request_id))
        return _answer(request, response, secrets, clock)

    return call


def _attempt(
    request: Request,
    response: Response | None,
    seconds: float,
    error: BaseException | None,
    request_id: str = "",
) -> Attempt:
    code = GOOD if error is None else error.code if isinstance(error, ApiError) else None
    return Attempt(
        endpoint=request.endpoint,
        number=request.attempt,
        seconds=seconds,
        status=None if response is None else response.status,
        code=code,
        request_id=error.request_id if isinstance(error, CallError) else request_id,
        error="" if error is None else type(error).__name__,
        page_num=request.page_num,
    )


def good(
    request: Request,
    response: Response,
    secrets: Secrets = NONE,
    clock: Callable[[], float] = time.time,
) -> Answer:
    """A good answer, undecoded. Raises as ``opened``.

    Only the prefix is checked: parsing the rest here would decode the body twice. A truncated body
    is reported later, by the page decoder; limiter and retry budget count it as a good answer.
    """
    if not (
        200 <= response.status < 300
        and (
            response.body.startswith(_GOOD_BEGIN)  # not a variable: traceback loggers show those
            or _GOOD_PREFIX.match(response.body, 0, _PREFIX_BYTES)
        )
    ):
        opened(request, response, secrets, clock)
    return _answer(request, response, secrets, clock)


def _answer(
    request: Request, response: Response, secrets: Secrets, clock: Callable[[], float]
) -> Answer:
    date = http_date(response.headers.get("date", ""))
    now = clock() if date is None else date
    # Not a closure and not the body itself: traceback loggers show the arguments of a partial.
    return Answer(Raw(response.body), date, now, partial(_request_id, request, response, secrets))


def _request_id(request: Request, response: Response, secrets: Secrets) -> str:
    """The envelope's request id; "" if it cannot be read."""
    envelope = Envelope()
    with suppress(DecodeError):
        envelope = _envelope(response, request.endpoint)
    return _shown_id(envelope, request, secrets)


def _shown_id(envelope: Envelope, request: Request, secrets: Secrets) -> str:
    return _cut(redacted(_text(envelope.request_id), request, secrets), 64)


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
        envelope = _envelope(response, request.endpoint)
    except DecodeError as error:
        failure = _Failed(request, response, secrets, clock).foreign(error)
    else:
        code = _number(envelope.code)
        if code == GOOD and not _is_null(envelope.data):
            return envelope
        failure = _Failed(request, response, secrets, clock).refusal(code, envelope)
        del envelope  # traceback loggers must not find its texts, which are not redacted
    raise failure


def _envelope(response: Response, endpoint: str) -> Envelope:
    """The envelope, also around data that no decoder reads: the page decoder names its bad row.

    Raises DecodeError.
    """
    try:
        return decode(_decoder, response.body, endpoint)
    except DecodeError as error:
        failure = error
    sent = members(response.body)
    if sent is not None:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            return Envelope(
                msgspec.json.decode(sent.get(b'"code"', b"null"), type=int | str | None),
                *(Raw(sent.get(name, b"null")) for name in _UNDECODED),
            )
    del sent  # traceback loggers must not find the server's words
    raise failure


def _is_null(data: Raw) -> bool:
    # Through a memoryview, which does not copy: it may be megabytes.
    return len(memoryview(data)) == len(b"null") and bytes(data) == b"null"


def _number(code: int | str | None) -> int | None:
    """The code as a number, None if it is none; some gateways write it as a string."""
    if isinstance(code, str):
        return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else None
    return code


class _Failed(Struct, frozen=True):
    """Makes the error for a response that is not a good answer."""

    request: Request
    response: Response
    secrets: Secrets
    clock: Callable[[], float]

    def foreign(self, error: DecodeError) -> CallError:
        """The error for a body that is not the API's envelope: empty, or a gateway's page."""
        name, response = self.request.endpoint, self.response
        if not 200 <= response.status < 300:
            return self._error(None, Envelope(), response.body)
        if not response.body.strip():
            return TransportError(f"{name}: the answer was empty", endpoint=name)
        if response.body.lstrip()[:1] == b"<":
            return TransportError(
                f"{name}: the answer is HTML, not the API's JSON, from a gateway "
                "or a login page; check base_url",
                endpoint=name,
            )
        return error

    def refusal(self, code: int | None, envelope: Envelope) -> CallError:
        """The error for an envelope without good data."""
        name = self.request.endpoint
        if code is None and 200 <= self.response.status < 300:
            problem = "is missing" if envelope.code is None else "is a string, not a number"
            error = DecodeError(f"{name}: `$.code` {problem}", endpoint=name)
        elif code == GOOD:
            text = f"{name}: code 200, but `$.data` is null or missing"
            error = DecodeError(text, endpoint=name)
        else:
            return self._error(code, envelope)
        error.request_id = _shown_id(envelope, self.request, self.secrets)
        return error

    def _error(self, code: int | None, envelope: Envelope, page: bytes | None = None) -> ApiError:
        """The ApiError for the envelope's code if it has one, else for HTTP's status.

        *page*: the body, if it is no envelope.
        """
        response = self.response
        status = response.status if code is None else code  # decides the class and the hint
        if not 300 <= status < 600 and response.status >= 300:
            status = response.status  # the code is of the vendor's own numbering
        message = unsigned(redacted(_text(envelope.result_msg), self.request, self.secrets))
        message = _cut(message, 200)
        request_id = _shown_id(envelope, self.request, self.secrets)
        text = f"{self.request.endpoint}: the server answered {status if code is None else code}"
        if code is not None and code != response.status:
            text += f" (HTTP {response.status})"
        if message:
            text += f" {message!r}"
        if request_id:
            text += f", request id {request_id}"
        advice = hint(status, page)
        return _kind(status)(
            f"{text}. {advice}" if advice else text,
            endpoint=self.request.endpoint,
            status=response.status,
            code=code,
            message=message,
            request_id=request_id,
            retry_after=retry_after(response, self.clock),
            date=http_date(response.headers.get("date", "")),
        )


def _kind(status: int) -> type[ApiError]:
    if status in (401, 403):
        return AuthError
    if status == 429:
        return RateLimited
    if 400 <= status < 500:
        return BadRequest
    return ServerError if 500 <= status < 600 else ApiError


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(sent: Raw) -> str:
    """*sent* as text; "" for an array or an object, whose content is not known, for what cannot be
    decoded, and for more than ``LONGEST`` bytes, which a server could make us work on."""
    if len(memoryview(sent)) > LONGEST:
        return ""
    try:
        value = msgspec.json.decode(sent)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return str(value) if isinstance(value, str | int | float) else ""
