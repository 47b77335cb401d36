"""Settings, retry policy and crawl options: ranges, addresses, templates, environment, secrecy."""

from __future__ import annotations

import inspect
import math
import pickle
import pydoc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, fields
from traceback import TracebackException
from typing import Any, TypeAlias, get_type_hints

import pytest
from rich.pretty import pretty_repr

import dp_async
from dp_async import (
    ConfigError,
    CrawlOptions,
    RetryPolicy,
    Settings,
    arrow,
    cli,
    dlt,
    otel,
    testing,
)
from dp_async._settings import DEFAULT_TEMPLATE, OptionChanges, with_changes
from tests.support.samples import SECRET, settings

GOOD_URLS = {
    "https://host": "https://host",
    "https://host/": "https://host",
    "https://host/a/prefix//": "https://host/a/prefix",
    "https://host:8443/p": "https://host:8443/p",
    "https://host_1.example-2.com.": "https://host_1.example-2.com.",
    "HTTPS://Host": "HTTPS://Host",
    "https://1.2.3.4": "https://1.2.3.4",
    "https://[2001:db8::1]:8443": "https://[2001:db8::1]:8443",
    "https://[::ffff:1.2.3.4]": "https://[::ffff:1.2.3.4]",
    "http://localhost": "http://localhost",
    "http://LOCALHOST:80": "http://LOCALHOST:80",
    "http://127.0.0.1:8080": "http://127.0.0.1:8080",
    "http://127.1.2.3": "http://127.1.2.3",
    "http://[::1]:8080": "http://[::1]:8080",
}

BAD_URLS = {
    "": "address",
    "host": "address",
    "//host": "address",
    "https:host": "address",
    "https:///path": "address",
    "ftp://host": "address",
    "file:///etc/passwd": "address",
    "https://host:0": "address",
    "https://host:99999": "address",
    "https://host:port": "address",
    "https://host:-1": "address",
    "https://[::1": "address",
    "https://[host]": "address",
    " https://host": "without spaces",
    "https://host\n": "without spaces",
    "https://ho st": "without spaces",
    "https://host/\r\nx: y": "without spaces",
    "https://例子": "without spaces",
    "https://a..b": "no valid host",
    "https://.": "no valid host",
    "https://" + "a" * 64 + ".com": "no valid host",
    "https://host\\other": "no valid host",
    "https://%68ost": "no valid host",
    "https://host,other": "no valid host",
    "https://[::1%25lo]": "no valid host",
    "https://host?": "query",
    "https://host/?a=b": "query",
    "https://host#": "fragment",
    "https://host/#a": "fragment",
    "\ud800": "surrogate",
}

NOT_LOOPBACK = [
    "http://10.0.0.1",
    "http://host",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://127.0.0.1.",
    "http://127.1",
    "http://0.0.0.0",
    "http://[::2]",
    "http://[::ffff:127.0.0.1]",
]

ACCOUNT = "13800001234"

Kind: TypeAlias = type[Settings] | type[RetryPolicy] | type[CrawlOptions]

KINDS: list[Kind] = [Settings, RetryPolicy, CrawlOptions]

#: The numbers of each kind, and their range.
RANGES: list[tuple[Kind, str, float, float]] = [
    (Settings, "max_in_flight", 1, 10_000),
    (Settings, "max_response_bytes", 1, 2**40),
    (Settings, "timeout", 0.001, 86_400),
    (Settings, "rate", 0.001, 100_000),
    (RetryPolicy, "attempts", 1, 1_000),
    (RetryPolicy, "base", 0, 3_600),
    (RetryPolicy, "cap", 0, 86_400),
    (CrawlOptions, "page_size", 1, 100_000),
    (CrawlOptions, "concurrency", 1, 10_000),
    (CrawlOptions, "window", 8, 100_000),  # at least the concurrency
    (CrawlOptions, "overlap", 0, 50),  # at most half a page
    (CrawlOptions, "limit", 0, 2**53),
    (CrawlOptions, "allowed_lateness", 0, 86_400),
    (CrawlOptions, "replica_lag", 0, 3_600),
    (CrawlOptions, "max_passes", 1, 1_000),
]

FLOATS = ("timeout", "rate", "base", "cap", "allowed_lateness", "replica_lag")

#: What is no number, and how the refusal goes on after the name.
OTHERS: list[tuple[Kind, str, list[object], str]] = [
    (Settings, "allow_http", [None, 1, "yes"], "must be True or False, not "),
    (CrawlOptions, "ordered", [None, 0, "yes"], "must be True or False, not "),
    (CrawlOptions, "verify", [None, 1, ""], "must be True or False, not "),
    (CrawlOptions, "strict", [None, 1, "auto"], "must be True or False, not "),
    (Settings, "timestamp_unit", [None, "MS", "ns"], "must be one of 'ms', 's', not "),
    (CrawlOptions, "on_bad_item", [None, "KEEP"], "must be one of 'raise', 'keep', not "),
    (Settings, "retry", [None, 3, {"attempts": 3}, RetryPolicy], "must be a RetryPolicy, not "),
    (Settings, "base_url", [None, 1, b"a", ["a"]], "must be a string, not "),
    (Settings, "app_id", [None, 1, b"a"], "must be a string, not "),
    (Settings, "app_id", ["", "a b", "a\r\nx: 1", "é"], "must be printable ASCII without "),
    (Settings, "account", [int(ACCOUNT), b"a"], "must be a string, not "),
    (Settings, "account", ["", " ", "数", "\x7f"], "must be printable ASCII without "),
    (Settings, "app_secret", [None, 1, b"a"], "must be a string, not "),
    (Settings, "app_secret", ["\ud800", "\udc80\r\n"], "holds half a surrogate pair "),
    (Settings, "app_secret", ["", " ", "\t\r\n", "\u3000", "\ufeff"], "must not be empty: it "),
    (Settings, "app_secret", [f"{SECRET}\n", f"\ufeff{SECRET}"], "has blanks, line breaks, a "),
    (Settings, "auth_template", [None, 1, b"a"], "must be a string, not "),
    (Settings, "auth_template", ["\ud800"], "holds half a surrogate pair "),
]

AUTO = ("concurrency", "overlap")
MAY_BE_NONE = ("rate", "window", "limit", "account")


def made(kind: Kind, **changes: Any) -> Any:
    return settings(**{"account": ACCOUNT, **changes}) if kind is Settings else kind(**changes)


def dotted(kind: Kind, name: str) -> str:
    return f"RetryPolicy.{name}" if kind is RetryPolicy else name


def test_no_setting_is_left_out() -> None:
    checked = {(kind, name) for kind, name, *_ in [*RANGES, *OTHERS]}
    assert checked == {(kind, field.name) for kind in KINDS for field in fields(kind)}


@pytest.mark.parametrize(("kind", "name", "low", "high"), RANGES)
def test_a_number_is_taken_within_its_range_only(
    kind: Kind, name: str, low: float, high: float
) -> None:
    for value in (low, high):
        assert getattr(made(kind, **{name: value}), name) == value
    if name in FLOATS:
        must = f"must be a number from {low:g} to {high:,}, not "
        beyond = [math.nextafter(low, -1), math.nextafter(high, math.inf), math.nan]
    else:
        must = f"must be a whole number from {low} to {high}, not "
        beyond = [low - 1, high + 1, 8.0]
    label = dotted(kind, name) + (', if not "auto",' if name in AUTO else "")
    wrong: list[Any] = [*beyond, True, "8", "AUTO", b"", [8], -(10**5000)]
    for bad in wrong:
        with pytest.raises(ConfigError) as caught:
            made(kind, **{name: bad})
        assert str(caught.value).startswith(f"{label} {must}")


@pytest.mark.parametrize(("kind", "name", "values", "must"), OTHERS)
def test_a_bad_value_is_refused_by_name(
    kind: Kind, name: str, values: list[object], must: str
) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            made(kind, **{name: value})
        text = f"{caught.value} {caught.value!r}"
        assert text.startswith(f"{name} {must}")
        assert SECRET not in text
        assert ACCOUNT not in text
        assert caught.value.__context__ is None


@pytest.mark.parametrize("name", [*AUTO, *MAY_BE_NONE])
def test_some_numbers_may_be_a_word_or_none(name: str) -> None:
    kind = Settings if name in ("rate", "account") else CrawlOptions
    word = "auto" if name in AUTO else None
    assert getattr(made(kind, **{name: word}), name) == word


def test_none_is_no_number_elsewhere() -> None:
    for kind, name, *_ in RANGES:
        if name not in MAY_BE_NONE:
            with pytest.raises(ConfigError, match=rf"^{dotted(kind, name)}\b.* not None$"):
                made(kind, **{name: None})


# The address


def test_a_good_base_url_is_kept_without_its_last_slash() -> None:
    for given, kept in GOOD_URLS.items():
        assert settings(base_url=given).base_url == kept


def test_a_bad_base_url_is_refused() -> None:
    for url, reason in BAD_URLS.items():
        with pytest.raises(ConfigError, match=f"^base_url .*{reason}"):
            settings(base_url=url, allow_http=True)


def test_http_to_another_machine_must_be_allowed() -> None:
    for url in NOT_LOOPBACK:
        with pytest.raises(ConfigError, match=r"base_url is http.* set allow_http=True"):
            settings(base_url=url)
        assert settings(base_url=url, allow_http=True).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@host",
        f"http://:{SECRET}@host:port",
        f"https://{SECRET}@[::1",
        f"http://user:{SECRET}/more@127.0.0.1/path",
    ],
)
def test_a_base_url_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(base_url=url)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


TEXT_SETTINGS = ("base_url", "app_id", "app_secret", "account", "auth_template")

UNREPEATED: list[tuple[str, object]] = [
    *[(name, f"{SECRET}\ud800") for name in TEXT_SETTINGS],
    *[(name, SECRET.encode()) for name in TEXT_SETTINGS],
    *[(name, f"{SECRET} ") for name in ("app_id", "account")],
    *[("auth_template", f"{SECRET}{tail}") for tail in ("", "{", "}", "{app_secret!r}{")],
    ("auth_template", f"{SECRET}{{{SECRET}}}"),
    ("auth_template", f"{{app_id:{SECRET}}}"),
    *[("base_url", f"{head}{SECRET}") for head in ("", "https://h?", "https://h#", "ftp://")],
    ("retry", SECRET),
]


def test_a_refused_text_is_not_repeated() -> None:
    for name, value in UNREPEATED:
        with pytest.raises(ConfigError, match=f"^{name} ") as caught:
            settings(**{name: value})
        assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.args}"
        assert SECRET not in repr(caught.value.__context__)


# The template


def test_a_secret_may_hold_any_text_but_blanks_around_it() -> None:
    for good in ("秘密", "a b", "a\r\nb", "\u00e9", "'", "a\ufeffb"):
        assert settings(app_secret=good).app_secret == good
        assert Settings.from_env({**ENVIRON, "DP_APP_SECRET": good}).app_secret == good
    for blank in (" ", "\n", "\r\n", "\n\n", "\t", "\0", "\ufeff", "\u3000", "\u2028", "\x85"):
        for bad in (f"{SECRET}{blank}", f"{blank}{SECRET}"):
            with pytest.raises(ConfigError, match=r"^app_secret has blanks, line ") as caught:
                Settings.from_env({**ENVIRON, "DP_APP_SECRET": bad})
            shown = TracebackException.from_exception(caught.value, capture_locals=True)
            inner = [frame.locals for frame in list(shown.stack)[1:]]
            assert SECRET not in f"{caught.value!r} {inner}"


GOOD_TEMPLATES = [
    DEFAULT_TEMPLATE,
    "{app_secret}{timestamp}",
    "{timestamp}&{account}&{app_secret}&{app_secret}",
    "{{literal}}{app_secret}{timestamp}{{account}}",
    "数字{app_secret}\n{timestamp}",
]

BAD_TEMPLATES = {
    "": "must hold {app_secret}",
    "{app_secret}": "must hold {timestamp}",
    "{timestamp}": "must hold {app_secret}",
    "{{app_secret}}{timestamp}": "must hold {app_secret}",
    "{app_secret}{timestamp}{secret}": "only the plain fields",
    "{app_secret}{timestamp}{}": "only the plain fields",
    "{app_secret}{timestamp}{0}": "only the plain fields",
    "{app_secret}{timestamp}{app_id.__class__}": "only the plain fields",
    "{app_secret}{timestamp}{app_id[0]}": "only the plain fields",
    "{app_secret!r}{timestamp}": "only the plain fields",
    "{app_secret:>9}{timestamp}": "only the plain fields",
    "{app_secret:{timestamp}}": "only the plain fields",
    "{app_secret}{timestamp}{ app_id }": "only the plain fields",
    "{app_secret}{timestamp}{": "not a format string",
    "{app_secret}{timestamp}}": "not a format string",
    "{app_secret}{timestamp!}": "not a format string",
}


def test_a_good_template_is_kept() -> None:
    for template in GOOD_TEMPLATES:
        assert settings(auth_template=template).auth_template == template


@pytest.mark.parametrize(("template", "reason"), BAD_TEMPLATES.items())
def test_a_bad_template_is_refused_with_the_fields_there_are(template: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(auth_template=template)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("auth_template ")
    assert "{app_id}, {app_secret}, {timestamp}, {account}" in str(caught.value)


def test_the_repr_shows_no_secret() -> None:
    template = "salt-of-ours{app_secret}{timestamp}"
    given = settings(account="19991234567", auth_template=template)
    for shown in (repr(given), str(given), pretty_repr(given)):
        assert SECRET not in shown
        assert "1999" not in shown
        assert "salt-of-ours" not in shown
    assert repr(given) == (
        "Settings(base_url='https://host', app_id='app', app_secret='***', account='…4567', "
        "auth_template=<custom>, timestamp_unit='ms', timeout=30.0, max_in_flight=16, rate=None, "
        "retry=RetryPolicy(attempts=4, base=0.5, cap=20.0), max_response_bytes=33554432, "
        "allow_http=False)"
    )


def test_the_repr_names_every_setting() -> None:
    shown = repr(settings())
    assert all(f"{field.name}=" in shown for field in fields(Settings))
    assert "account=None" in shown
    assert "auth_template=<default>" in shown


def test_settings_pickle_with_their_secret() -> None:
    given = settings(account="1", retry=RetryPolicy(attempts=2), rate=5)
    again = pickle.loads(pickle.dumps(given))
    assert again == given
    assert again.app_secret == SECRET
    assert hash(again) == hash(given)


@pytest.mark.parametrize("value", [settings(), RetryPolicy(), CrawlOptions()])
def test_nothing_can_be_changed(value: Settings | RetryPolicy | CrawlOptions) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, 1)


def test_another_account_is_checked_too() -> None:
    given = settings(account="1")
    assert given.with_account("2").account == "2"
    assert given.with_account(None) == settings()
    with pytest.raises(ConfigError, match="account"):
        given.with_account("2\r\nx: y")


ENVIRON = {"DP_BASE_URL": "https://host", "DP_APP_ID": "app", "DP_APP_SECRET": SECRET}


def test_the_environment_gives_the_settings() -> None:
    assert Settings.from_env(ENVIRON) == settings()


def test_optional_variables_are_read_and_others_ignored() -> None:
    more = {
        "DP_ACCOUNT": "1999",
        "DP_AUTH_TEMPLATE": "{app_secret}{timestamp}",
        "DP_TIMESTAMP_UNIT": "s",
        "DP_TIMEOUT": "ignored",
    }
    assert Settings.from_env({**ENVIRON, **more}) == settings(
        account="1999", auth_template="{app_secret}{timestamp}", timestamp_unit="s"
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    names = {f"DP_{field.name.upper()}" for field in fields(Settings)} - {*ENVIRON}
    empty = dict.fromkeys(names, "")
    assert Settings.from_env({**ENVIRON, **empty}) == settings()


@pytest.mark.parametrize("name", ENVIRON)
def test_a_missing_variable_is_named(name: str) -> None:
    missing = {key: value for key, value in ENVIRON.items() if key != name}
    for environ in (missing, {**missing, name: ""}):
        with pytest.raises(ConfigError, match=rf"set the environment variable {name}$"):
            Settings.from_env(environ)


def test_an_environment_is_a_mapping() -> None:
    with pytest.raises(ConfigError, match=r"^environ must be a Mapping, not list$"):
        Settings.from_env(list(ENVIRON.items()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_bad_variable_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(ConfigError, match="timestamp_unit"):
        Settings.from_env({**ENVIRON, "DP_TIMESTAMP_UNIT": "minutes"})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env() == settings()


def test_a_failed_from_env_shows_no_variable_in_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ENVIRON:
        monkeypatch.setenv(name, ENVIRON[name])
    monkeypatch.setenv("DP_ACCOUNT", "a b")
    for missing in ("", "DP_APP_ID"):
        monkeypatch.delenv(missing, raising=False)
        with pytest.raises(ConfigError) as caught:
            Settings.from_env()
        shown = TracebackException.from_exception(caught.value, capture_locals=True)
        assert SECRET not in f"{[frame.locals for frame in shown.stack]}"


def public_callables() -> Iterator[tuple[str, Callable[..., object]]]:
    """Every public function, class and method, of the package and its public modules."""
    modules = [dp_async, arrow, cli, dlt, otel, testing]
    for module in modules:
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            if getattr(value, "__module__", None) != module.__name__ or not callable(value):
                continue
            yield f"{module.__name__}.{name}", value
            for method in dir(value) if isinstance(value, type) else ():
                member = getattr(value, method)
                if not method.startswith("_") and callable(member):
                    yield f"{module.__name__}.{name}.{method}", member


def test_no_public_default_holds_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DP_APP_SECRET", SECRET)
    found = dict(public_callables())
    assert {"dp_async.Settings.from_env", "dp_async.Client", "dp_async.dlt.source"} <= set(found)
    for name, function in found.items():
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:  # builtins have no signature
            continue
        for parameter in parameters:
            assert not isinstance(parameter.default, Mapping), name
            assert SECRET not in repr(parameter.default), name
    assert SECRET not in pydoc.render_doc(Settings)
    assert "DP_APP_SECRET" in pydoc.render_doc(Settings.from_env)


# Defaults, and options that depend on others


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_set_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind("https://host", "app", SECRET)


def test_the_options_by_name_are_all_options() -> None:
    names = with_changes.__globals__  # those of the public module lack Literal
    assert get_type_hints(OptionChanges, names) == get_type_hints(CrawlOptions, names)


def test_the_defaults_of_a_crawl() -> None:
    assert CrawlOptions() == CrawlOptions(
        page_size=100,
        concurrency=8,
        window=None,
        ordered=True,
        limit=None,
        verify=True,
        overlap="auto",
        allowed_lateness=2.0,
        replica_lag=0.0,
        max_passes=3,
        strict=False,
        on_bad_item="raise",
    )


def test_a_policy_may_wait_for_zero_seconds() -> None:
    assert RetryPolicy(attempts=1, base=0, cap=0).cap == 0


def test_pages_share_at_most_half_their_rows() -> None:
    assert CrawlOptions(overlap=50).overlap == 50
    assert CrawlOptions(page_size=1, overlap=0).overlap == 0
    refusal = r'^overlap, if not "auto", must be a whole number from 0 to 3, not 4$'
    with pytest.raises(ConfigError, match=refusal):
        CrawlOptions(page_size=7, overlap=4)


def test_a_window_is_at_least_the_concurrency() -> None:
    assert CrawlOptions(concurrency=4, window=4).window == 4
    with pytest.raises(
        ConfigError, match=r"^window must be a whole number from 4 to 100000, not 3$"
    ):
        CrawlOptions(concurrency=4, window=3)
    assert CrawlOptions(concurrency="auto", window=1).window == 1
    with pytest.raises(
        ConfigError, match=r"^window must be a whole number from 1 to 100000, not 0$"
    ):
        CrawlOptions(concurrency="auto", window=0)


def test_the_smallest_options_go_together() -> None:
    assert CrawlOptions(page_size=1, concurrency=1, window=1, limit=1, max_passes=1).window == 1
    assert settings(base_url="https://host:1").base_url == "https://host:1"
