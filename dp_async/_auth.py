"""Who asks: the md5 signature and the headers every request carries.

Pure: the clock is handed in, nothing is sent here. The string to sign never leaves ``Md5Signer``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ._errors import ConfigError
from ._http import VERSION, Request, Response, Send, Sign
from ._settings import DEFAULT_TEMPLATE, Settings, check_template, header, one_of


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
        check_template(self.template)
        one_of("unit", self.unit, ("ms", "s"))

    def __call__(self, request: Request, now: float, /) -> Mapping[str, str]:
        account = request.headers.get("account")
        if account is None and "{account}" in self.template:
            raise ConfigError(
                "auth_template signs {account}, but this client has none: "
                "set Settings(account=...) or use client.for_account(...)"
            )
        timestamp = str(int(now * 1000) if self.unit == "ms" else int(now))
        auth = self.template.format(
            app_id=self.app_id, app_secret=self.app_secret, timestamp=timestamp, account=account
        )
        digest = hashlib.md5(auth.encode(), usedforsecurity=False).hexdigest()
        return {"authorization": digest, "timestamp": timestamp}


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
        named = _with(request, headers)
        signature = sign(named, clock())
        for name, value in signature.items():
            header(f"sign(): {name}", value)
        return await send(_with(named, signature))

    return sending


def _with(request: Request, headers: Mapping[str, str]) -> Request:
    # dataclasses.replace() costs three times as much, on every request.
    return Request(
        endpoint=request.endpoint,
        method=request.method,
        target=request.target,
        headers={**request.headers, **headers},
        body=request.body,
        idempotent=request.idempotent,
    )
