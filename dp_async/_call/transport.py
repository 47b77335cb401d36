"""The HTTP exchange, by aiohttp. The only file of the core that knows aiohttp.

Sends a request and returns any response. Knows no endpoint, no signature and no retry. No error of
aiohttp leaves this file: some of them show the request's headers in their ``repr``.
"""

from __future__ import annotations

import asyncio
import sys
from traceback import walk_tb
from typing import Self, TypeAlias

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from yarl import URL

from .._checks import instance
from .._errors import (
    AttemptTimeout,
    ClientClosed,
    ConfigError,
    DpError,
    ResponseTooLarge,
    TransportError,
    allow_retry_now,
    forbid_retry,
    may_pass,
)
from .._http import Request, Response
from .._misuse import AsyncEntered
from .._settings import Settings
from . import hints

#: The type of a session, for those that do not run aiohttp themselves.
ClientSession: TypeAlias = aiohttp.ClientSession


class HttpTransport(AsyncEntered):
    """The HTTP exchange of a ``Client``: wrap it to record or change what is sent.

    ``Client(settings, send=recording(transport))`` does not own *transport*: close it after the
    client, as with ``async with HttpTransport(settings) as transport``. A *session* passed in is
    not closed. Raises TransportError if no answer came, ResponseTooLarge if it is too long, and
    ConfigError for a session whose proxy, headers or environment let it send nothing.

    Each request is sent once: aiohttp's own retry of a GET is off, except in a session passed in.
    """

    def __init__(self, settings: Settings, session: aiohttp.ClientSession | None = None) -> None:
        if session is not None:
            instance("session", session, aiohttp.ClientSession)
            if session.auth is not None:
                raise ConfigError(
                    "session must not have an auth: requests are signed in the same header"
                )
        self._settings = settings
        self._base = URL(settings.base_url, encoded=True)
        self._scheme, self._authority = self._base.scheme, self._base.raw_authority
        self._prefix = self._base.raw_path.rstrip("/")
        self._most = settings.max_response_bytes
        self._session = session
        self._owned = session is None
        self._closed = False
        self._idle = 0  # connections in the pool that have answered before, by our own count

    async def __call__(self, request: Request, /) -> Response:
        used = self._idle > 0
        self._idle -= used
        try:
            answer = await self._exchange(request)
            if answer is not None:
                self._idle += answer.headers.get("connection", "").lower() != "close"
                return answer
            failure: BaseException = ResponseTooLarge(
                f"{request.endpoint}: the answer is longer than max_response_bytes="
                f"{self._settings.max_response_bytes}, counted after decompression",
                endpoint=request.endpoint,
            )
        except aiohttp.InvalidURL as error:
            if self._owned or error.url == self._url(request.target):
                failure = ConfigError("base_url is not an address that a request can be sent to")
            else:
                failure = ConfigError(
                    "the proxy of the session, or of HTTP_PROXY and HTTPS_PROXY, is no address: "
                    "it must be http://host:port"
                )
        except _Lost as lost:
            failure = broken = _translated(lost.error, request.endpoint, self._base)
            if used and may_pass(broken):
                # The server may have closed an idle connection: a new one is all it takes.
                allow_retry_now(broken)
        except (aiohttp.ClientError, OSError) as error:
            failure = _translated(error, request.endpoint, self._base)
        except _REFUSALS as error:
            session = self._session
            if session is None or self._owned or not _is_raised_by_aiohttp(error):
                raise
            failure = _refused(error, session)
        except asyncio.CancelledError as error:
            # The caller's timeout error may be logged: without aiohttp's frames, whose variables
            # hold the headers.
            failure = error.with_traceback(None)
        if self._closed and isinstance(failure, TransportError):
            failure = ClientClosed("the client is closed")
        raise failure  # outside the except, so that it has no aiohttp error as its __context__

    async def _exchange(self, request: Request) -> Response | None:
        """The answer, or None if it is too long: an error raised here would hold this frame, whose
        variables include the address with the filters."""
        session = self._session
        if session is None or self._closed:
            session = self._open()
        url = self._url(request.target)
        answer = await session.request(
            request.method,
            url,
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,  # a redirect would carry the signed headers elsewhere
            raise_for_status=False,
            auto_decompress=True,
            timeout=_NO_TIMEOUT,
        )
        try:
            chunks: list[bytes] = []
            length = 0
            while chunk := await answer.content.readany():
                length += len(chunk)
                if length > self._most:
                    answer.close()
                    return None
                chunks.append(chunk)
        finally:
            if not answer.closed:  # as it is once it was read to its end
                answer.release()
        headers: dict[str, str] = {}
        for name, value in answer.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(answer.status, headers, b"".join(chunks))

    def _url(self, target: str) -> URL:
        """The address of *target*: built from parts, which takes less time than parsing it."""
        path, _, query = target.partition("?")
        return URL.build(
            scheme=self._scheme,
            authority=self._authority,
            path=self._prefix + path,
            query_string=query,
            encoded=True,
        )

    def _open(self) -> aiohttp.ClientSession:
        """A session of our own, created at the first request, when a loop is running.

        Its TLS context is aiohttp's, created once when aiohttp is imported.
        """
        if self._closed:
            raise ClientClosed("the aiohttp session is closed")
        self._session = aiohttp.ClientSession(
            # The limiter bounds the requests, not the pool; idle connections close after 15 s.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_once,),
        )
        return self._session

    async def aclose(self) -> None:
        """Close the session, unless it was passed in. No request can be sent after that."""
        self._closed = True
        if self._owned and self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


#: ``timed`` sets the deadline, for every transport alike; aiohttp's own can swallow a cancellation
#: in the same iteration of the loop.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class _Lost(Exception):
    """The connection was lost before an answer: *error* says how."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


#: What aiohttp, yarl and Python's own modules raise for a setting of a session that cannot work.
_REFUSALS = (AssertionError, LookupError, RuntimeError, TypeError, ValueError)


#: The packages whose frames such an error may have passed.
_EXCHANGE: frozenset[str] = sys.stdlib_module_names | {
    __name__.partition(".")[0],
    "aiohttp",
    "aiohappyeyeballs",
    "multidict",
    "yarl",
}


def _is_raised_by_aiohttp(error: BaseException) -> bool:
    """Whether no code of the application ran: the mistake of a middleware is not translated."""
    packages = {
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in walk_tb(error.__traceback__)
    }
    return "aiohttp" in packages and packages <= _EXCHANGE


def _refused(error: BaseException, session: aiohttp.ClientSession) -> DpError:
    """Why a session passed in can send no request. The text of *error* may show a password."""
    if session.closed:
        return ClientClosed("the aiohttp session is closed")
    if isinstance(error, RuntimeError) and "loop" in str(error):
        return ConfigError(
            "session cannot be used: create it in the running event loop that uses the client"
        )
    if "AUTHORIZATION" in str(error):
        return ConfigError(
            "session has trust_env=True, and .netrc (or the file that NETRC names) has a login for "
            "the host of base_url, which would replace the signature: remove that entry, or use "
            "trust_env=False with a proxy given to the session"
        )
    where = "its proxy, which must be http://host:port, and its headers"
    if session.trust_env:
        where += "; with trust_env=True also HTTP_PROXY, HTTPS_PROXY and .netrc"
    return ConfigError(f"session cannot send a request ({type(error).__name__}): check {where}")


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turns off aiohttp's own retry of a GET, after either of these two errors: the client decides
    on retries, within its limiter and its counts."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost(error) from None


def _translated(error: aiohttp.ClientError | OSError, name: str, base: URL) -> TransportError:
    """Our error for one of aiohttp's; its text shows nothing of the request."""
    lasting = False  # it cannot pass by itself
    match error:
        case TimeoutError():
            return AttemptTimeout(f"{name}: the connection timed out", endpoint=name)
        case aiohttp.ClientConnectorCertificateError():
            code = getattr(error.certificate_error, "verify_code", 0)
            what, lasting = hints.certificate(error.host, code), True
        case aiohttp.ClientConnectorSSLError():
            what, lasting = hints.tls(str(error))
        case UnixClientConnectorError():
            what = f"no connection to the socket {error.path}; check the connector of the session"
        case aiohttp.ClientConnectorError():
            of_proxy = isinstance(error, aiohttp.ClientProxyConnectionError) or (
                isinstance(error, aiohttp.ClientConnectorDNSError) and error.host != base.raw_host
            )
            reason = error.strerror or type(error.os_error).__name__
            what = hints.no_connection(f"{error.host}:{error.port} ({reason})", of_proxy)
        case aiohttp.ServerDisconnectedError():
            what = "the server closed the connection without an answer"
            if base.scheme == "http":
                what += "; if its port expects TLS, write base_url with https://"
        case aiohttp.ClientPayloadError():
            what = "the answer was cut off or damaged on its way"
        case aiohttp.ClientHttpProxyError():
            what, lasting = hints.proxy(error.status)
        case aiohttp.ClientResponseError():
            what, lasting = hints.not_http(error.message)
        case aiohttp.ClientOSError() if "CERTIFICATE_REQUIRED" in str(error):  # TLS 1.3
            what, lasting = hints.tls(str(error))
        case _:
            what = f"the connection broke ({type(error).__name__})"
    failure = TransportError(f"{name}: {what}", endpoint=name)
    if lasting:
        forbid_retry(failure)
    return failure
