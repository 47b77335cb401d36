"""Signs requests: the md5 signature, the identity headers, and the server's clock.

Nothing is sent here. The string to sign never leaves ``Md5Signer``.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import Formatter
from typing import Literal, cast

from msgspec import Raw

from .._checks import hide_arguments, one_of, text
from .._errors import AuthError, ConfigError, allow_retry_now
from .._http import Call, Request, Sign
from .._settings import DEFAULT_TEMPLATE, Settings, check_template
from .._version import VERSION
from .redact import Secrets

log = logging.getLogger("dp_async")

#: Header names and values as HTTP allows them, in ASCII only; neither can hold a line break.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@hide_arguments
@dataclass(frozen=True, slots=True, kw_only=True)
class Md5Signer:
    """The ``authorization`` and ``timestamp`` headers: the md5 of *template* filled in, in hex.

    The fields of *template* are ``{app_id}``, ``{app_secret}``, ``{timestamp}`` and ``{account}``.
    Which of them the platform signs, and in which order, is not public: the default is an
    assumption. Raises ConfigError for any other field, and for ``{account}`` on a request that has
    no account.
    """

    app_id: str
    app_secret: str = field(repr=False)
    template: str = field(default=DEFAULT_TEMPLATE, repr=False)
    unit: Literal["ms", "s"] = "ms"

    def __post_init__(self) -> None:
        text("app_id", self.app_id)
        text("app_secret", self.app_secret)
        check_template(self.template)
        one_of("unit", self.unit, ("ms", "s"))

    def __call__(self, request: Request, now: float, /) -> Mapping[str, str]:
        fields = {
            "app_id": self.app_id,
            "app_secret": self.app_secret,
            "timestamp": str(int(now * 1000) if self.unit == "ms" else int(now)),
        }
        if "account" in request.headers:
            fields["account"] = request.headers["account"]
        try:
            auth = self.template.format_map(fields)
        except KeyError:
            fields.clear()
            raise ConfigError(
                "auth_template signs {account}, but this client has none: "
                "set Settings(account=...) or use client.for_account(...)"
            ) from None
        digest = hashlib.md5(auth.encode(), usedforsecurity=False).hexdigest()
        return {"authorization": digest, "timestamp": fields["timestamp"]}


def identity(settings: Settings) -> dict[str, str]:
    """The headers that identify the caller, the same for every request of one client view.

    The names, with their underscores, are the vendor's.
    """
    headers = {
        "req_from": "C",
        "app_id": settings.app_id,
        "accept": "application/json",
        "user-agent": f"dp_async/{VERSION}",
    }
    if settings.account is not None:
        headers["account"] = settings.account
    return headers


def hidden(settings: Settings) -> Secrets:
    """The words to redact: the app secret, and the literal text of a custom auth_template."""
    words = [word for word, *_ in Formatter().parse(settings.auth_template) if len(word) > 3]
    return Secrets(settings.app_secret, *words)


class Clock:
    """The server's time, in seconds since the epoch: this machine's until ``correct`` moves it.

    A server refuses a signature made too early or too late, and its ``Date`` shows by how much.
    """

    #: A difference of so many seconds means nothing: ``Date`` is in whole ones and takes time.
    TOLERANCE = 5.0

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.ahead = 0.0  # seconds that the server's clock is ahead of this machine's
        self._warned = False

    def __call__(self) -> float:
        return self._now() + self.ahead

    def correct(self, date: float | None, signed: float, ahead: float) -> bool:
        """Follow the server's *date* from now on, unless it agrees with the time that was signed.

        *signed* is that time, and *ahead* the correction it was made with. Returns True if they
        disagreed, so that a new signature has the right time.
        """
        now = self._now()
        if date is None or signed - self.TOLERANCE <= date <= now + ahead + self.TOLERANCE:
            return False
        self.ahead = date - now
        if not self._warned:
            self._warned = True
            log.warning(
                "this machine's clock is %.0f s %s the server's, which refused a signature: "
                "requests are signed by the server's clock from now on",
                abs(self.ahead),
                "behind" if self.ahead > 0 else "ahead of",
            )
        return True


@dataclass(frozen=True, slots=True)
class Signing:
    """Adds the identity *headers* and the signature of *sign* to a request; its repr shows neither.

    A closure would keep the headers in variables of the frames that an error holds, where
    traceback loggers find them.
    """

    sign: Sign = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def __call__(self, request: Request, now: float) -> Request:
        identified = Request(  # written out: dataclasses.replace() takes twice the time
            request.endpoint,
            request.method,
            request.target,
            {**request.headers, **self.headers},
            request.body,
            request.idempotent,
            request.attempt,
            request.page_num,
            request.page_size,
        )
        signature = self.sign(identified, now)
        for name in signature:
            if problem := _problem(name, signature[name]):
                del signature
                raise ConfigError(f"sign(): {name!r} {problem}")
        cast("dict[str, str]", identified.headers).update(signature)  # the dict made above
        return identified


def _problem(name: object, value: object) -> str:
    """Why this header cannot be sent; "" if it can."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not isinstance(name, str) or not _is_name(name) or not _VALUE.fullmatch(value):
        return "is not a header that can be sent"
    return ""


@lru_cache(maxsize=64)  # every request has the same names
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def signed(call: Call, signing: Signing, clock: Clock) -> Call:
    """*call*, with a fresh signature on every request.

    If a 401 shows that the signed time was wrong, the clock is corrected and the error marked by
    ``allow_retry_now``.
    """

    async def calling(request: Request, /) -> Raw:
        now, ahead = clock(), clock.ahead
        try:
            return await call(signing(request, now))
        except AuthError as error:
            if 401 in (error.code, error.status) and clock.correct(error.date, now, ahead):
                allow_retry_now(error)
            raise

    return calling
