"""The HTTP exchange, by aiohttp. The only file of the core that knows aiohttp.

Sends what it is given and returns whatever came. Knows no endpoint, no signature and no retry. No
error of aiohttp leaves this file: some of them show the request's headers in their ``repr``.
"""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp
from yarl import URL

from .._checks import instance
from .._errors import (
    AttemptTimeout,
    ClientClosed,
    ConfigError,
    ResponseTooLarge,
    TransportError,
)
from .._http import Request, Response
from .._settings import Settings


class HttpTransport:
    """The exchange a ``Client`` uses: wrap it, to record or to change what is sent.

    ``Client(settings, send=recording(transport))`` does not own *transport*: leave it after the
    client, ``async with HttpTransport(settings) as transport``. A *session* passed in stays its
    owner's. Raises TransportError for no answer, ResponseTooLarge for too long a one.

    Sends a request once: aiohttp's own repetition of a GET is off, except in a session passed in.
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
        self._prefix = self._base.raw_path.rstrip("/")
        self._session = session
        self._owned = session is None
        self._closed = False
        self._idle = 0  # connections that have served and wait in the pool, by our count

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
        except aiohttp.InvalidURL:
            failure = ConfigError("base_url is not an address that can be asked")
        except _Lost as lost:
            failure = broken = _translated(lost.error, request.endpoint)
            # Perhaps closed by the server while it was idle, and then all it needs is a new one.
            broken.cured = used
        except (aiohttp.ClientError, OSError) as error:
            failure = _translated(error, request.endpoint)
        except asyncio.CancelledError as error:
            # Perhaps the caller's own timeout, whose error is logged: not with aiohttp's frames, in
            # whose variables the headers stand.
            failure = error.with_traceback(None)
        if self._closed and isinstance(failure, TransportError):
            failure = ClientClosed("the client is closed")
        raise failure  # outside the except: aiohttp's error would stay in reach as __context__

    async def _exchange(self, request: Request) -> Response | None:
        """The answer, None for one that is too long: to raise it from here would show this frame's
        variables, the address with the filters among them."""
        async with self._open().request(
            request.method,
            self._url(request.target),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,  # a redirect would carry the signed headers elsewhere
            raise_for_status=False,
            timeout=_NO_TIMEOUT,
        ) as answer:
            chunks: list[bytes] = []
            length = 0
            while chunk := await answer.content.readany():
                length += len(chunk)
                if length > self._settings.max_response_bytes:
                    answer.close()
                    break
                chunks.append(chunk)
            else:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status, headers=headers, body=b"".join(chunks))
        return None

    def _url(self, target: str) -> URL:
        """The address of *target*: put together, which takes half as long as taking it apart."""
        base = self._base
        path, _, query = target.partition("?")
        return URL.build(
            scheme=base.scheme,
            authority=base.raw_authority,
            path=self._prefix + path,
            query_string=query,
            encoded=True,
        )

    def _open(self) -> aiohttp.ClientSession:
        """The session; our own is built at the first request, when a loop is running.

        Its TLS context is aiohttp's own, built once when aiohttp is imported.
        """
        if self._closed or (self._session is not None and self._session.closed):
            raise ClientClosed("the aiohttp session is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Permits bound the requests, not the pool; idle connections go after 15 s.
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


#: The deadline of an attempt is set outside, for any transport alike: aiohttp's own can swallow a
#: cancellation that comes in the same turn of the loop.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class _Lost(Exception):
    """The connection was lost before an answer, by *error*."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending a GET again by itself, which knows no limit, no rate and no count:
    it does so after these two errors, and to send again is the client's to decide."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost(error) from None


def _translated(error: aiohttp.ClientError | OSError, name: str) -> TransportError:
    """Our error for one of aiohttp's: what happened, in words that show nothing of the request."""
    match error:
        case TimeoutError():
            return AttemptTimeout(f"{name}: the connection timed out", endpoint=name)
        case aiohttp.ClientConnectorCertificateError():
            what = (
                f"the certificate of {error.host} was not accepted; a session can bring its own CA"
            )
        case aiohttp.ClientConnectorSSLError():
            what = "the TLS handshake failed; check base_url and its port"
        case aiohttp.ClientConnectorError():
            reason = error.strerror or "no reason given"
            what = f"no connection to {error.host}:{error.port} ({reason}); check base_url"
        case aiohttp.ServerDisconnectedError():
            what = "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            what = "the answer was cut off or damaged on its way"
        case aiohttp.ClientResponseError():
            what = "the answer was not valid HTTP"
        case _:
            what = f"the connection broke ({type(error).__name__})"
    return TransportError(f"{name}: {what}", endpoint=name)
