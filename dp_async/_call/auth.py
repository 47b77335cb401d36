"""Signs requests: the md5 signature, the identity headers, and the server's clock.

Nothing is sent here. The string to sign never leaves ``Md5Signer``.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from string import Formatter
from typing import Literal, cast

from .._checks import hide_arguments, one_of, text
from .._errors import AuthError, ConfigError, allow_retry_now
from .._http import Answer, Call, Request, Sign
from .._settings import DEFAULT_TEMPLATE, Settings, check_template
from .._version import VERSION
from .observe import log
from .redact import Secrets

#: Header names and values as HTTP allows them, in ASCII only; neither can hold a line break.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
#: Copied for each signature: OpenSSL looks the algorithm up for each new one.
_MD5 = hashlib.md5(usedforsecurity=False)


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
        digest = _MD5.copy()
        digest.update(auth.encode())
        return {"authorization": digest.hexdigest(), "timestamp": fields["timestamp"]}


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
    """The server's time, in seconds since the epoch: this machine's, and *ahead* seconds more.

    A server refuses a signature made too early or too late, and its ``Date`` shows by how much. But
    that ``Date`` may be a gateway's with a wrong clock, and the refusal may have another reason. So
    a correction is tried on the refused call alone; all calls share it once it was accepted. One
    that was refused as well is not tried for the same account again for a minute, since its calls
    would all cost two requests. By then the account may be allowed, and the clock still be wrong.
    """

    #: A difference of so many seconds means nothing: ``Date`` is in whole ones and takes time.
    TOLERANCE = 5.0
    #: Seconds until a correction that did not help is tried again.
    PATIENCE = 60.0

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.ahead = 0.0  # seconds that the server's clock is ahead of this machine's
        self.by_account: dict[str, float] = {}  # by account: servers may disagree
        self._warned = False
        self._fruitless: dict[str, tuple[float, float]] = {}  # by account: a correction, and when

    def of(self, account: str) -> float:
        """The correction that *account* accepted last, or else any account."""
        return self.by_account.get(account, self.ahead)

    def at(self, ahead: float) -> float:
        """The server's time if its clock is *ahead* seconds ahead."""
        return self._now() + ahead

    def correction(
        self, date: float | None, signed: float, ahead: float, account: str = ""
    ) -> float | None:
        """The *ahead* to try after a refusal, by its *date*; None if it agrees with the signature,
        or was tried in vain for this *account* a moment ago.

        *signed* is the time in the signature, and *ahead* the correction it was made with.
        """
        now = self._now()
        if date is None or signed - self.TOLERANCE <= date <= now + ahead + self.TOLERANCE:
            return None
        tried, when = self._fruitless.get(account, (inf, -inf))
        if abs(date - now - tried) <= self.TOLERANCE and abs(now - when) < self.PATIENCE:
            return None
        return date - now

    def refused(self, ahead: float, account: str) -> None:
        """The server refused a signature made with the correction *ahead* too."""
        self._fruitless[account] = ahead, self._now()

    def accepted(self, ahead: float, account: str = "") -> None:
        """The server accepted a signature made with *ahead*: sign all calls with it from now on,
        but for accounts that accepted another one."""
        self.ahead = self.by_account[account] = ahead
        self._fruitless.clear()
        if not self._warned:
            self._warned = True
            log(
                logging.WARNING,
                "this machine's clock is %.0f s %s the server's, which refused a signature: "
                "requests are signed by the server's clock from now on",
                abs(ahead),
                "behind" if ahead > 0 else "ahead of",
            )


class Signing:
    """Adds the identity *headers* and the signature of *sign* to a request; its repr shows neither.

    A closure would keep the headers in variables of the frames that an error holds, where
    traceback loggers find them.
    """

    __slots__ = ("headers", "sign")

    def __init__(self, sign: Sign, headers: Mapping[str, str]) -> None:
        self.sign = sign
        self.headers = headers

    @property
    def account(self) -> str:
        """The account that the requests are for; never a variable of a frame that raises."""
        return self.headers.get("account", "")

    def __call__(self, request: Request, now: float) -> Request | Awaitable[Request]:
        """*request*, signed; to be awaited if the signer is a coroutine function."""
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
        # A dict is checked for first, here and below: isinstance() of an ABC takes far longer.
        if not isinstance(signature, dict) and isinstance(signature, Awaitable):
            return self._awaited(identified, signature)
        problem = self._add(identified, signature)
        del signature  # traceback loggers must not find it
        if problem:
            raise ConfigError(problem)
        return identified

    async def _awaited(
        self, identified: Request, signature: Awaitable[Mapping[str, str]]
    ) -> Request:
        problem = self._add(identified, await signature)
        if problem:
            raise ConfigError(problem)
        return identified

    def _add(self, identified: Request, signature: Mapping[str, str]) -> str:
        """Add the headers of *signature*, unless they cannot be sent: returns why, or ""."""
        # The signer of this package makes no header that cannot be sent.
        problem = "" if type(self.sign) is Md5Signer else _problem(signature)
        if not problem:
            # The dict that __call__ made.
            cast("dict[str, str]", identified.headers).update(signature)
        return problem


def _problem(signature: object) -> str:
    """Why these are no headers that can be sent; "" if they are."""
    if not isinstance(signature, (dict, Mapping)):
        return f"sign() must return a mapping of headers, not {type(signature).__name__}"
    headers = cast("Mapping[object, object]", signature)
    for name in headers:
        value = headers[name]
        if not isinstance(value, str):
            return f"sign(): {name!r} must be a string, not {type(value).__name__}"
        if not isinstance(name, str) or not _is_name(name) or not _VALUE.fullmatch(value):
            return f"sign(): {name!r} is not a header that can be sent"
    return ""


@lru_cache(maxsize=64)  # every request has the same names
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def signed(call: Call, signing: Signing, clock: Clock) -> Call:
    """*call*, with a fresh signature on every request.

    If a 401 shows another time than the signed one, ``allow_retry_now`` marks the error, with the
    correction to try. Other calls share it once a good answer confirms it.
    """

    async def calling(request: Request, /) -> Answer:
        tried = request.clock_ahead
        ahead = clock.ahead if tried is None else tried
        if clock.by_account and tried is None:
            ahead = clock.of(signing.account)
        now = clock.at(ahead)
        try:
            prepared = signing(request, now)
            answer = await call(prepared if isinstance(prepared, Request) else await prepared)
        except AuthError as error:
            if 401 in (error.code, error.status):
                if tried is not None:
                    clock.refused(tried, signing.account)
                correction = clock.correction(error.date, now, ahead, signing.account)
                if correction is not None:
                    allow_retry_now(error, correction)
            raise
        if tried is not None:
            clock.accepted(tried, signing.account)
        return answer

    return calling
