"""Everything a caller can set, checked when it is set.

A value that could not work is a ConfigError that names the setting and the fix, before any request.
No network, no clock, no globals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import Formatter
from typing import Literal, Self
from urllib.parse import urlsplit

from ._checks import (
    DAY,
    HOUR,
    PRINTABLE,
    flag,
    header,
    hide_arguments,
    instance,
    number,
    one_of,
    text,
    whole,
)
from ._errors import ConfigError

TEMPLATE_FIELDS = ("app_id", "app_secret", "timestamp", "account")
DEFAULT_TEMPLATE = "{app_id}{app_secret}{timestamp}"
MIB = 1024 * 1024
MAX_PAGE_SIZE = 100_000

_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|[0-9a-f.]*:[0-9a-f:.]*")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


def _base_url(value: object, allow_http: bool) -> str:
    text("base_url", value)
    hint = 'like "https://host" or "https://host/prefix"'
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise ConfigError(f"base_url must be an address {hint}, without spaces, and not empty")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None  # refused below: the error may hold part of a password
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ConfigError("base_url must not hold a user or a password")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(f"base_url must be an http(s) address {hint}")
    if not _HOST.fullmatch(parts.hostname):
        raise ConfigError(f"base_url has no host that could be asked; write it {hint}")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise ConfigError("base_url must not hold a query or a fragment")
    if parts.scheme == "http" and not allow_http and not _LOOPBACK.fullmatch(parts.hostname):
        raise ConfigError(
            "base_url is http, which would show the signed headers to the network; "
            "use https, or set allow_http=True if this network is yours"
        )
    return value.rstrip("/")


def check_template(value: object) -> None:
    """Refuse an ``auth_template`` that is not made of the known fields, or lacks the secret."""
    text("auth_template", value)
    known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    try:
        fields = [part for part in Formatter().parse(str(value)) if part[1] is not None]
        problem = ""
    except ValueError as error:
        fields, problem = [], str(error)
    if problem:  # raised out here, so that the other error does not stay in reach as __context__
        raise ConfigError(f"auth_template is not a format string ({problem}); use {known}")
    for _, name, spec, conversion in fields:
        if name not in TEMPLATE_FIELDS or spec or conversion:
            raise ConfigError(f"auth_template may hold only the plain fields {known}")
    for name in ("app_secret", "timestamp"):
        if name not in [field[1] for field in fields]:
            raise ConfigError(f"auth_template must hold {{{name}}}; its fields are {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a failed attempt is repeated: *attempts* in all, waits of ``base * 2**n`` s up to *cap*.

    Waits are spread over the whole span (full jitter). A ``Retry-After`` is obeyed; one above
    *cap* ends the call instead, with the error's ``retry_after``. One attempt: never repeated.
    """

    attempts: int = 4
    base: float = 0.5
    cap: float = 20.0

    def __post_init__(self) -> None:
        whole("RetryPolicy.attempts", self.attempts, 1, 1_000)
        number("RetryPolicy.base", self.base, 0, HOUR)
        number("RetryPolicy.cap", self.cap, 0, DAY)


@hide_arguments
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Where the API is, who asks, and how hard. Frozen; pickles with its secret in it.

    - *base_url*: ``https://host`` or ``https://host/prefix``; the API has no public default.
    - *app_id*, *app_secret*: from the platform's console.
    - *account*: the sub-account's phone number, or None for the main account.
    - *auth_template*, *timestamp_unit*: what the md5 signature is made of. The page that documents
      it is not public, so the defaults are an assumption; a 401 may mean that they are wrong.
    - *timeout*: seconds for one attempt, counted from when it is sent.
    - *max_in_flight*: requests under way at once, over everything the client does.
    - *rate*: requests a second, None for no limit.
    - *max_response_bytes*: the longest answer accepted, after decompression.
    - *allow_http*: permit ``http://`` to a host that is not this machine.

    Raises ConfigError, which names the setting.
    """

    base_url: str
    app_id: str
    app_secret: str
    account: str | None = None
    auth_template: str = DEFAULT_TEMPLATE
    timestamp_unit: Literal["ms", "s"] = "ms"
    timeout: float = 30.0
    max_in_flight: int = 16
    rate: float | None = None
    retry: RetryPolicy = RetryPolicy()
    max_response_bytes: int = 32 * MIB
    allow_http: bool = False

    def __post_init__(self) -> None:
        flag("allow_http", self.allow_http)
        object.__setattr__(self, "base_url", _base_url(self.base_url, self.allow_http))
        header("app_id", self.app_id)
        text("app_secret", self.app_secret)
        if not self.app_secret.strip():
            raise ConfigError("app_secret must not be empty: it is issued with the app_id")
        if self.account is not None:
            header("account", self.account)
        check_template(self.auth_template)
        one_of("timestamp_unit", self.timestamp_unit, ("ms", "s"))
        number("timeout", self.timeout, 0.001, DAY)
        whole("max_in_flight", self.max_in_flight, 1, 10_000)
        if self.rate is not None:
            number("rate", self.rate, 0.001, 100_000)
        instance("retry", self.retry, RetryPolicy)
        whole("max_response_bytes", self.max_response_bytes, 1, 2**40)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from ``DP_BASE_URL``, ``DP_APP_ID`` and ``DP_APP_SECRET``.

        ``DP_ACCOUNT``, ``DP_AUTH_TEMPLATE`` and ``DP_TIMESTAMP_UNIT`` may be set too. Raises
        ConfigError, which names the variable that is missing.
        """
        given = {
            name: environ[variable]
            for name, variable in ENVIRONMENT.items()
            if environ.get(variable, "") != ""
        }
        del environ  # from here on an error may be raised, and its frames show their variables
        for name in ("base_url", "app_id", "app_secret"):
            if name not in given:
                given.clear()
                raise ConfigError(
                    f"{name} is missing: set the environment variable {ENVIRONMENT[name]}"
                )
        try:
            return cls(**given)  # type: ignore[arg-type]  # texts are checked in __post_init__
        finally:
            given.clear()

    def with_account(self, account: str | None) -> Self:
        """The same settings, asking for another sub-account."""
        if account is not None:
            header("account", account)  # here, and not where the secret is copied, too
        return replace(self, account=account)

    def __repr__(self) -> str:
        account = None if self.account is None else f"…{self.account[-4:]}"
        template = "default" if self.auth_template == DEFAULT_TEMPLATE else "custom"
        return (
            f"Settings(base_url={self.base_url!r}, app_id={self.app_id!r}, app_secret='***', "
            f"account={account!r}, auth_template=<{template}>, "
            f"timestamp_unit={self.timestamp_unit!r}, timeout={self.timeout!r}, "
            f"max_in_flight={self.max_in_flight!r}, rate={self.rate!r}, retry={self.retry!r}, "
            f"max_response_bytes={self.max_response_bytes!r}, allow_http={self.allow_http!r})"
        )


ENVIRONMENT = {
    "base_url": "DP_BASE_URL",
    "app_id": "DP_APP_ID",
    "app_secret": "DP_APP_SECRET",
    "account": "DP_ACCOUNT",
    "auth_template": "DP_AUTH_TEMPLATE",
    "timestamp_unit": "DP_TIMESTAMP_UNIT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlOptions:
    """How one list is crawled.

    - *page_size*: rows asked for per page; the server may answer with fewer.
    - *concurrency*: pages under way at once, also bounded by ``Settings.max_in_flight``;
      ``"auto"``: as many as make the server answer faster, learned by the client as it goes.
    - *window*: pages held, fetched or under way, ahead of the consumer; 3 x concurrency if None.
    - *ordered*: hand pages out in the list's order; else as they come in, which is a little faster.
    - *limit*: stop after exactly so many items; None for all.
    - *verify*: yield no id twice, and prove that the crawl is complete; costs a page at least.
    - *overlap*: rows a page shares with the one before, so that a list that moves holds together:
      ``"auto"`` from when it is seen to move, a number from the start, 0 never.
    - *allowed_lateness*: seconds after the time it carries within which a row becomes visible.
    - *max_passes*: the pass over the list, and rounds of mending what did not hold together.
    - *strict*: raise IncompleteCrawl at the end of a crawl that is known not to be complete.
    - *on_bad_item*: ``"raise"`` for a row that cannot be read, or ``"keep"`` it in ``bad_items``.

    Raises ConfigError, which names the option.
    """

    page_size: int = 100
    concurrency: int | Literal["auto"] = 8
    window: int | None = None
    ordered: bool = True
    limit: int | None = None
    verify: bool = True
    overlap: int | Literal["auto"] = "auto"
    allowed_lateness: float = 2.0
    max_passes: int = 3
    strict: bool = False
    on_bad_item: Literal["raise", "keep"] = "raise"

    def __post_init__(self) -> None:
        whole("page_size", self.page_size, 1, MAX_PAGE_SIZE)
        least = 1
        if self.concurrency != "auto":
            whole('concurrency, if not "auto",', self.concurrency, 1, 10_000)
            least = self.concurrency
        if self.window is not None:
            whole("window", self.window, least, 100_000)
        flag("ordered", self.ordered)
        if self.limit is not None:
            whole("limit", self.limit, 0, 2**53)
        flag("verify", self.verify)
        if self.overlap != "auto":
            whole('overlap, if not "auto",', self.overlap, 0, self.page_size // 2)
        number("allowed_lateness", self.allowed_lateness, 0, DAY)
        whole("max_passes", self.max_passes, 1, 1_000)
        flag("strict", self.strict)
        one_of("on_bad_item", self.on_bad_item, ("raise", "keep"))
