"""Who asks: the md5 signature and the headers every request carries.

Pure: the clock is handed in, nothing is sent here. The string to sign never leaves ``Md5Signer``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ._errors import ConfigError
from ._http import VERSION, Request, Response, Send, Sign
from ._settings import DEFAULT_TEMPLATE, Settings, check_template, one_of, text

#: What HTTP allows, less what is not ASCII; neither can hold a line break.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


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


def signed(send: Send, sign: Sign, headers: Mapping[str, str], clock: Callable[[], float]) -> Send:
    """*send*, with *headers* and a fresh signature on every request."""

    async def sending(request: Request, /) -> Response:
        complete = {**request.headers, **headers}
        named = _with(request, complete)
        signature = sign(named, clock())
        for name, value in signature.items():
            text(f"sign(): {name!r}", value)
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ConfigError(f"sign(): {name!r} is not a header that can be sent")
        return await send(_with(request, {**complete, **signature}))

    return sending


def _with(request: Request, headers: Mapping[str, str]) -> Request:
    """*request* with these headers instead of its own."""
    # Written out: dataclasses.replace() takes twice the time, twice for every request.
    return Request(
        request.endpoint,
        request.method,
        request.target,
        headers,
        request.body,
        request.idempotent,
    )
