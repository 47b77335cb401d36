"""Who asks, and when: the md5 signature, the headers every request carries, the server's clock.

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
from .._errors import AuthError, ConfigError
from .._http import Call, Request, Sign
from .._settings import DEFAULT_TEMPLATE, Settings, check_template
from .._version import VERSION
from .redact import Secrets

log = logging.getLogger("dp_async")

#: What HTTP allows, less what is not ASCII; neither can hold a line break.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@hide_arguments
@dataclass(frozen=True, slots=True, kw_only=True)
class Md5Signer:
    """The ``authorization`` and ``timestamp`` headers: md5, hex, of *template* filled in.

    The fields of *template* are ``{app_id}``, ``{app_secret}``, ``{timestamp}`` and ``{account}``.
    Which of them the platform signs, and in which order, is not public: the default is an
    assumption. Raises ConfigError for another field, and for ``{account}`` where there is none.
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
    """The headers that say who asks, the same for every request of one client view.

    The names are the vendor's, underscores and all.
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
    """What nobody may ever read: the secret, and the words of an own recipe to sign by."""
    words = [word for word, *_ in Formatter().parse(settings.auth_template) if len(word) > 3]
    return Secrets(settings.app_secret, *words)


class Clock:
    """The server's time, in seconds since the epoch: this machine's, until a refusal shows another.

    A signature made too early or too late is refused, and the refusal's ``Date`` tells how much.
    """

    #: ``Date`` is in whole seconds and some time on its way: this much apart means nothing.
    TOLERANCE = 5.0

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.ahead = 0.0  # the server, of this machine
        self._said = False

    def __call__(self) -> float:
        return self._now() + self.ahead

    def mend(self, date: float | None, signed: float, ahead: float) -> bool:
        """Go by the server's *date* from now on, unless that agrees with what was signed by.

        That was the time *signed*, when the clock went by *ahead*. Whether it did not agree.
        """
        now = self._now()
        if date is None or signed - self.TOLERANCE <= date <= now + ahead + self.TOLERANCE:
            return False
        self.ahead = date - now
        if not self._said:
            self._said = True
            log.warning(
                "this machine's clock is %.0f s %s the server's, which refused a signature: "
                "requests are signed by the server's clock from now on",
                abs(self.ahead),
                "behind" if self.ahead > 0 else "ahead of",
            )
        return True


@dataclass(frozen=True, slots=True)
class Signing:
    """Signs a request: *headers* say who asks, *sign* adds the proof. Shows neither.

    So there is no variable that holds a header in the frames that an error keeps, for those who log
    variables too.
    """

    sign: Sign = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def __call__(self, request: Request, now: float) -> Request:
        named = Request(  # written out: dataclasses.replace() takes twice the time
            request.endpoint,
            request.method,
            request.target,
            {**request.headers, **self.headers},
            request.body,
            request.idempotent,
            request.attempt,
        )
        signature = self.sign(named, now)
        for name in signature:
            if problem := _problem(name, signature[name]):
                del signature
                raise ConfigError(f"sign(): {name!r} {problem}")
        cast("dict[str, str]", named.headers).update(signature)  # made above, seen by sign() alone
        return named


def _problem(name: object, value: object) -> str:
    """Why this header cannot be sent, or nothing."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not isinstance(name, str) or not _is_name(name) or not _VALUE.fullmatch(value):
        return "is not a header that can be sent"
    return ""


@lru_cache(maxsize=64)  # for every request the same ones
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def signed(call: Call, signing: Signing, clock: Clock) -> Call:
    """*call*, with a fresh signature on every request.

    A refusal of one that was made at the wrong time is ``cured``: the clock is right by now.
    """

    async def calling(request: Request, /) -> Raw:
        now, ahead = clock(), clock.ahead
        try:
            return await call(signing(request, now))
        except AuthError as error:
            if 401 in (error.code, error.status):
                error.cured = clock.mend(error.date, now, ahead)
            raise

    return calling
