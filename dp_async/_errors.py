"""The errors of this library, but for those that carry a report or the errors of accounts.

They hold plain values and import nothing. None may hold a header, a secret, a request body or
server internals (``host``, ``errorStackTrace``).

::

    DpError
    ├── ConfigError               a bad setting or argument, nothing was sent (a ValueError)
    ├── ClientClosed              the client, crawl or watch is closed
    ├── CallError                 one call failed
    │   ├── TransportError        no usable answer: connection, TLS, a truncated or foreign body
    │   │   └── AttemptTimeout    an attempt took longer than Settings.timeout (a TimeoutError)
    │   ├── ApiError              the server answered with an error
    │   │   ├── AuthError         401 or 403
    │   │   ├── RateLimited       429
    │   │   ├── BadRequest        any other 4xx
    │   │   └── ServerError       5xx, from the API or a gateway in front of it
    │   └── DecodeError           an answer that is not what the API documents, with the path
    │       └── ResponseTooLarge  longer than Settings.max_response_bytes, decompressed
    ├── PaginationError           the server's pages contradict each other
    ├── IncompleteCrawl           the crawl is known not to be complete; carries the report
    └── AccountsFailed            some of many accounts failed; carries their errors
"""

from __future__ import annotations


class DpError(Exception):
    """The root of all errors: ``except DpError`` catches every failure this library raises."""


class ConfigError(DpError, ValueError):
    """A setting or argument that cannot work, raised before anything is sent; names the fix."""


class ClientClosed(DpError):
    """The client, crawl or watch was closed, before or while it was used."""


class CallError(DpError):
    """One call failed.

    - *endpoint*: its name, such as ``"work_list"``.
    - *page_num*, *page_size*: the page requested, from 1, and its rows; None where not known.
    - *request_id*: the envelope's, to ask the platform about; "" where not known.
    - *attempts*: how often it was tried. *elapsed*: for how many seconds.
    """

    def __init__(self, text: str, *, endpoint: str = "") -> None:
        super().__init__(text)
        self.endpoint = endpoint
        self.page_num: int | None = None
        self.page_size: int | None = None
        self.request_id = ""
        self.attempts = 1
        self.elapsed = 0.0
        self._retry_now = False
        self._clock_ahead: float | None = None
        self._lasting = False

    def __str__(self) -> str:
        text: str = self.args[0]
        name = self.endpoint
        if self.page_num is not None and text.startswith(f"{name}: "):
            page = f", page {self.page_num} of {self.page_size} rows"
            text = f"{name}{page}{text.removeprefix(name)}"
        if self.attempts > 1:
            return f"{text} (gave up after {self.attempts} attempts in {self.elapsed:.1f} s)"
        return text


def locate(error: CallError, page_num: int, page_size: int, request_id: str) -> None:
    """Note in *error* which page could not be read, and the id of the request that brought it."""
    error.page_num, error.page_size, error.request_id = page_num, page_size, request_id


def allow_retry_now(error: CallError, clock_ahead: float | None = None) -> None:
    """Mark that the cause of *error* may be gone, so that its call may be repeated once, at once.

    *clock_ahead*: as in ``Request``, for the repeated call.
    """
    error._retry_now = True  # pyright: ignore[reportPrivateUsage]  # private to this file
    error._clock_ahead = clock_ahead  # pyright: ignore[reportPrivateUsage]  # private to this file


def may_retry_now(error: CallError) -> bool:
    """Whether ``allow_retry_now`` was called for *error*."""
    return error._retry_now  # pyright: ignore[reportPrivateUsage]  # private to this file


def clock_ahead_of(error: CallError) -> float | None:
    """The *clock_ahead* that ``allow_retry_now`` was given for *error*."""
    return error._clock_ahead  # pyright: ignore[reportPrivateUsage]  # private to this file


def forbid_retry(error: CallError) -> None:
    """Mark that *error* cannot pass by itself: somebody has to change something."""
    error._lasting = True  # pyright: ignore[reportPrivateUsage]  # private to this file


def may_pass(error: BaseException) -> bool:
    """Whether the failure may pass by itself: no usable answer, 429 or 5xx, and no such mark."""
    if not isinstance(error, TransportError | RateLimited | ServerError):
        return False
    return not error._lasting  # pyright: ignore[reportPrivateUsage]  # private to this file


class TransportError(CallError):
    """No usable answer: no connection, a broken one, a truncated or a foreign body."""


class AttemptTimeout(TransportError, TimeoutError):
    """One attempt took longer than ``Settings.timeout`` seconds."""


class ApiError(CallError):
    """The server answered with an error.

    - *status*: the HTTP status, 0 where nothing was sent.
    - *code*, *message*: the envelope's; None and "" where the answer has none.
    - *retry_after*: seconds until the server wants the next request, None where it does not say. As
      it was sent: the client itself ignores more than a day.
    - *date*: the server's clock, in seconds since the epoch; None where it sends none.
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
    """401 or 403: the server rejects the signature or the account."""


class RateLimited(ApiError):
    """429: too many requests. ``retry_after`` is how many seconds to wait, if that is known."""


class BadRequest(ApiError):
    """Any other 4xx: the server rejects the parameters, or the path does not exist."""


class ServerError(ApiError):
    """5xx, from the API or a gateway in front of it."""


class DecodeError(CallError):
    """An answer that is not what the API documents, with the path: ``$.data.content[3]``."""


class ResponseTooLarge(DecodeError):
    """The answer is longer than ``Settings.max_response_bytes``, counted after decompression."""


class PaginationError(DpError):
    """The server's pages contradict each other, so that no crawl of them could be trusted."""
