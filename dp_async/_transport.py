"""The HTTP exchange, by aiohttp. The only file of the core that knows aiohttp.

Sends what it is given and returns whatever came. Knows no endpoint, no signature and no retry. No
error of aiohttp leaves this file: some of them show the request's headers in their ``repr``.
"""

from __future__ import annotations

from typing import Self

import aiohttp
from yarl import URL

from ._errors import (
    AttemptTimeout,
    ClientClosed,
    ConfigError,
    DpError,
    ResponseTooLarge,
    TransportError,
)
from ._http import Request, Response
from ._settings import Settings, instance


class HttpTransport:
    """The exchange a ``Client`` uses: wrap it, to record or to change what is sent.

    ``Client(settings, send=recording(transport))`` does not own *transport*: leave it after the
    client, ``async with HttpTransport(settings) as transport``. A *session* passed in stays its
    owner's. Raises TransportError for no answer, ResponseTooLarge for too long a one.
    """

    def __init__(self, settings: Settings, session: aiohttp.ClientSession | None = None) -> None:
        if session is not None:
            instance("session", session, aiohttp.ClientSession)
            if session.auth is not None:
                raise ConfigError(
                    "session must not have an auth: requests are signed in the same header"
                )
        self._settings = settings
        self._session = session
        self._owned = session is None
        self._closed = False

    async def __call__(self, request: Request, /) -> Response:
        try:
            return await self._exchange(request)
        except (aiohttp.ClientError, OSError) as error:
            failure = _translated(error, request)
        raise failure  # outside the except: aiohttp's error would stay in reach as __context__

    async def _exchange(self, request: Request) -> Response:
        async with self._open().request(
            request.method,
            URL(self._settings.base_url + request.target, encoded=True),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,  # a redirect would carry the signed headers elsewhere
            raise_for_status=False,
            timeout=_NO_TIMEOUT,
        ) as answer:
            chunks: list[bytes] = []
            length = 0
            async for chunk in answer.content.iter_any():
                length += len(chunk)
                if length > self._settings.max_response_bytes:
                    answer.close()
                    break
                chunks.append(chunk)
            else:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status, headers=headers, body=b"".join(chunks))
        raise ResponseTooLarge(
            f"{request.endpoint}: the answer is longer than max_response_bytes="
            f"{self._settings.max_response_bytes}, counted after decompression",
            endpoint=request.endpoint,
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


#: The deadline of an attempt is set outside, for any transport alike.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


def _translated(error: aiohttp.ClientError | OSError, request: Request) -> DpError:
    """Our error for one of aiohttp's: what happened, in words that show nothing of the request."""
    name = request.endpoint
    match error:
        case aiohttp.InvalidURL():
            return ConfigError("base_url is not an address that can be asked")
        case TimeoutError():
            return AttemptTimeout(f"{name}: the session's own timeout ran out", endpoint=name)
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
