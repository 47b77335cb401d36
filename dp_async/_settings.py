"""All settings, options and policies: frozen values that are checked when they are made.

A value that cannot work raises a ConfigError that names the setting and the fix, before any
request. No I/O but reading the environment, no clock, no mutable globals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields, replace
from string import Formatter
from typing import Literal, Self, TypedDict, TypeVar, Unpack
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
    secret,
    shown,
    text,
    whole,
)
from ._errors import ConfigError

S = TypeVar("S", bound="Settings")

TEMPLATE_FIELDS = ("app_id", "app_secret", "timestamp", "account")
DEFAULT_TEMPLATE = "{app_id}{app_secret}{timestamp}"
MAX_PAGE_SIZE = 100_000

_VARIABLES = {
    name: f"DP_{name.upper()}"
    for name in ("base_url", "app_id", "app_secret", "account", "auth_template", "timestamp_unit")
}

_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|[0-9a-f.]*:[0-9a-f:.]*")
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


def _base_url(value: object, allow_http: bool) -> str:
    """*value* without trailing slashes. Raises ConfigError for what is no usable address."""
    text("base_url", value)
    hint = 'like "https://host" or "https://host/prefix"'
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise ConfigError(f"base_url must be an address {hint}, without spaces, and not empty")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None  # raised below: this error may hold a password
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ConfigError("base_url must not hold a user or a password")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(f"base_url must be an http(s) address {hint}")
    if not _HOST.fullmatch(parts.hostname):
        raise ConfigError(f"base_url has no valid host; write it {hint}")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise ConfigError("base_url must not hold a query or a fragment")
    if parts.scheme == "http" and not allow_http and not _LOOPBACK.fullmatch(parts.hostname):
        raise ConfigError(
            "base_url is http, which would show the signed headers to the network; "
            "use https, or set allow_http=True if this network is yours"
        )
    return value.rstrip("/")


def check_template(value: object) -> None:
    """Raise ConfigError unless *value* is a template of known fields, the secret and time included.

    The error does not repeat *value*, which may hold a salt.
    """
    text("auth_template", value)
    known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    try:
        parts = [part for part in Formatter().parse(str(value)) if part[1] is not None]
        problem = ""
    except ValueError as error:
        parts, problem = [], str(error)
    if problem:  # raised out here, so that the ValueError does not stay in reach as __context__
        raise ConfigError(f"auth_template is not a format string ({problem}); use {known}")
    for _, name, spec, conversion in parts:
        if name not in TEMPLATE_FIELDS or spec or conversion:
            raise ConfigError(f"auth_template may hold only the plain fields {known}")
    for name in ("app_secret", "timestamp"):
        if name not in [part[1] for part in parts]:
            raise ConfigError(f"auth_template must hold {{{name}}}; its fields are {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failed attempt is repeated, and after how long.

    - *attempts*: in all, the first one included; 1 repeats nothing.
    - *base*, *cap*: seconds. The wait before retry n is random between 0 and
      ``min(cap, base * 2**(n - 1))`` (full jitter). ``Retry-After`` is obeyed; one above *cap* ends
      the call with RateLimited or ServerError, whose ``retry_after`` says how long to wait.

    Raises ConfigError, which names the setting.
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
    """Address, credentials and limits of a client. Frozen; its repr hides the secret.

    - *base_url*: ``https://host`` or ``https://host/prefix``; the API has no public default.
    - *app_id*, *app_secret*: from the platform's console. Pickled settings hold the secret.
    - *account*: the sub-account's phone number, or None for the main account.
    - *auth_template*, *timestamp_unit*: the input of the md5 signature. The platform's recipe is
      not public: the defaults are assumptions, and a 401 may mean that they are wrong.
    - *timeout*: seconds for one attempt, from when it is sent.
    - *max_in_flight*: the most requests in flight at once, over all that the client does.
    - *rate*: the most requests a second, None for no limit.
    - *retry*: how failed attempts are repeated.
    - *max_response_bytes*: the longest answer accepted, counted after decompression.
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
    max_response_bytes: int = 32 * 2**20
    allow_http: bool = False

    def __post_init__(self) -> None:
        flag("allow_http", self.allow_http)
        object.__setattr__(self, "base_url", _base_url(self.base_url, self.allow_http))
        header("app_id", self.app_id)
        secret("app_secret", self.app_secret)
        if self.account is not None:
            header("account", self.account)
        check_template(self.auth_template)
        one_of("timestamp_unit", self.timestamp_unit, ("ms", "s"))
        _check_attempts(self.timeout, self.retry)
        whole("max_in_flight", self.max_in_flight, 1, 10_000)
        if self.rate is not None:
            number("rate", self.rate, 0.001, 100_000)
        whole("max_response_bytes", self.max_response_bytes, 1, 2**40)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from ``DP_BASE_URL``, ``DP_APP_ID`` and ``DP_APP_SECRET``.

        ``DP_ACCOUNT``, ``DP_AUTH_TEMPLATE`` and ``DP_TIMESTAMP_UNIT`` may be set too; an empty
        variable counts as not set. *environ* is ``os.environ`` if None. Raises ConfigError, which
        names the variable that is missing.
        """
        environ = os.environ if environ is None else environ
        instance("environ", environ, Mapping)
        given = {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
        del environ  # loggers that write a traceback's variables must not find the secret
        for name in ("base_url", "app_id", "app_secret"):
            if name not in given:
                given.clear()
                raise ConfigError(
                    f"{name} is missing: set the environment variable {_VARIABLES[name]}"
                )
        try:
            return cls(**given)  # type: ignore[arg-type]  # texts are checked in __post_init__
        finally:
            given.clear()

    def with_account(self, account: str | None) -> Self:
        """The same settings for another sub-account, or for the main account if None."""
        if account is not None:
            header("account", account)
        other = copy(self)  # all else was checked when these were made: there may be thousands
        object.__setattr__(other, "account", account)
        return other

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


def _check_attempts(timeout: object, retry: object) -> None:
    number("timeout", timeout, 0.001, DAY)
    instance("retry", retry, RetryPolicy)


def with_attempts(settings: S, timeout: float | None, retry: RetryPolicy | None) -> S:
    """*settings* with another timeout and retry policy; None keeps the present one."""
    timeout = settings.timeout if timeout is None else timeout
    retry = settings.retry if retry is None else retry
    _check_attempts(timeout, retry)  # checked before replace(), whose frame holds the secret
    return replace(settings, timeout=timeout, retry=retry)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlOptions:
    """How one list is crawled.

    - *page_size*: rows requested per page; the server may send fewer.
    - *concurrency*: pages fetched at once, at most ``Settings.max_in_flight``. ``"auto"``: the
      client learns the number that makes the server answer fastest.
    - *window*: pages held ahead of the consumer, fetched or in flight; 3 x concurrency if None.
    - *ordered*: yield pages in the list's order; if False as they arrive, a little faster.
    - *limit*: stop after exactly this many items; None for all.
    - *verify*: yield no id twice, and prove that the crawl is complete; costs at least one request.
    - *overlap*: rows that a page shares with the one before, to bridge rows that move. ``"auto"``:
      from when the list is seen to change; a number: from the start; 0: never.
    - *allowed_lateness*: seconds after its update time within which a row becomes visible; a proof
      has to bear at least that much, and twice what was seen to be more.
    - *replica_lag*: seconds by which answers may be out of date; a crawl pauses so long at times.
    - *max_passes*: the most passes over the list: the first, then rounds that repair gaps.
    - *strict*: raise IncompleteCrawl, not only warn, after a crawl known not to be complete.
    - *on_bad_item*: ``"raise"`` DecodeError for a bad row, or ``"keep"`` it in ``Crawl.bad_items``.

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
    replica_lag: float = 0.0
    max_passes: int = 3
    strict: bool = False
    on_bad_item: Literal["raise", "keep"] = "raise"

    def __post_init__(self) -> None:
        whole("page_size", self.page_size, 1, MAX_PAGE_SIZE)
        least = 1 if self.concurrency == "auto" else self.concurrency
        whole('concurrency, if not "auto",', least, 1, 10_000)
        if self.window is not None:
            whole("window", self.window, least, 100_000)
        flag("ordered", self.ordered)
        if self.limit is not None:
            whole("limit", self.limit, 0, 2**53)
        flag("verify", self.verify)
        if self.overlap != "auto":
            whole('overlap, if not "auto",', self.overlap, 0, self.page_size // 2)
        number("allowed_lateness", self.allowed_lateness, 0, DAY)
        number("replica_lag", self.replica_lag, 0, HOUR)
        whole("max_passes", self.max_passes, 1, 1_000)
        flag("strict", self.strict)
        one_of("on_bad_item", self.on_bad_item, ("raise", "keep"))


class OptionChanges(TypedDict, total=False):
    """The options of a crawl by name, as ``Listing.with_options`` takes them."""

    page_size: int
    concurrency: int | Literal["auto"]
    window: int | None
    ordered: bool
    limit: int | None
    verify: bool
    overlap: int | Literal["auto"]
    allowed_lateness: float
    replica_lag: float
    max_passes: int
    strict: bool
    on_bad_item: Literal["raise", "keep"]


def with_changes(options: CrawlOptions, **changes: Unpack[OptionChanges]) -> CrawlOptions:
    """*options* but for *changes*. Raises ConfigError for a value, or a name, that is no option."""
    known = [field.name for field in fields(options)]
    for name in changes:
        if name not in known:
            raise ConfigError(f"there is no option {shown(name)}; options: {', '.join(known)}")
    return replace(options, **changes)
