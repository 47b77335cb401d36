"""Every way a call can fail.

Errors hold plain values and import nothing. No header, secret, request body or server internals
(``host``, ``errorStackTrace``) may stand in any of them.

::

    DpError
    ├── ConfigError          a setting or argument was refused, nothing was sent (a ValueError)
    ├── ClientClosed         the client or the crawl was closed
    ├── TransportError       no answer came: connection, TLS, a truncated or foreign body
    │   └── AttemptTimeout   one attempt took longer than Settings.timeout (a TimeoutError)
    ├── ApiError             an answer that says no
    │   ├── AuthError        401 or 403
    │   ├── RateLimited      429
    │   ├── BadRequest       any other 4xx
    │   └── ServerError      5xx, from the API or from a gateway before it
    ├── DecodeError          an answer that is not what the API documents, with the path inside it
    │   └── ResponseTooLarge longer than Settings.max_response_bytes, after decompression
    ├── PaginationError      the server's pages contradict each other
    ├── IncompleteCrawl      the crawl ended and is not complete; it carries the report
    └── AccountsFailed       of many accounts some could not be crawled; it carries their errors
"""

from __future__ import annotations


class DpError(Exception):
    """The root: ``except DpError`` catches whatever this library raises on its own account."""


class ConfigError(DpError, ValueError):
    """A setting or an argument was refused, before anything was sent. Names it and the fix."""


class ClientClosed(DpError):
    """The client, or the crawl, was closed before or while it was asked for more."""


class CallError(DpError):
    """One call failed: which *endpoint*, after how many *attempts*, over how many seconds."""

    def __init__(self, text: str, *, endpoint: str = "") -> None:
        super().__init__(text)
        self.endpoint = endpoint
        self.attempts = 1
        self.elapsed = 0.0
        self._retry_now = False

    def __str__(self) -> str:
        text: str = self.args[0]
        if self.attempts > 1:
            return f"{text} (gave up after {self.attempts} attempts in {self.elapsed:.1f} s)"
        return text


def allow_retry_now(error: CallError) -> None:
    """Mark that the cause of *error* is gone, so that its call may be repeated once, at once."""
    error._retry_now = True  # pyright: ignore[reportPrivateUsage]  # private to this file


def may_retry_now(error: CallError) -> bool:
    """Whether ``allow_retry_now`` was called for *error*."""
    return error._retry_now  # pyright: ignore[reportPrivateUsage]  # private to this file


class TransportError(CallError):
    """No usable answer came: no connection, a broken one, a truncated or a foreign body."""


class AttemptTimeout(TransportError, TimeoutError):
    """One attempt took longer than ``Settings.timeout`` seconds."""


class ApiError(CallError):
    """An answer that says no.

    *status* is HTTP's, 0 where nothing was sent; *code*, *message* and *request_id* are the
    envelope's (None, "" and "" where the answer had none). *retry_after* is in seconds, *date* is
    the server's clock in seconds since the epoch; None where the server did not say.
    """

    def __init__(
        self,
        text: str,
        *,
        endpoint: str = "",
        status: int = 0,
        code: int | None = None,
        message: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        date: float | None = None,
    ) -> None:
        super().__init__(text, endpoint=endpoint)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.date = date


class AuthError(ApiError):
    """401 or 403: the signature or the account was not accepted."""


class RateLimited(ApiError):
    """429: too many requests. ``retry_after`` says when to come back, if the server did."""


class BadRequest(ApiError):
    """Any other 4xx: the server did not accept the parameters, or there is no such path."""


class ServerError(ApiError):
    """5xx, from the API itself or from a gateway in front of it."""


class DecodeError(CallError):
    """An answer that is not what the API documents, with the path: ``$.data.content[3]``."""


class ResponseTooLarge(DecodeError):
    """The answer is longer than ``Settings.max_response_bytes``, counted after decompression."""


class PaginationError(DpError):
    """The server's pages contradict each other, so that no walk over them could be trusted."""
