"""A setting that could not work is refused when it is set, by name and with the fix; none leaks."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from rich.pretty import pretty_repr

from dp_async import ConfigError, CrawlOptions, RetryPolicy, Settings
from dp_async._settings import DEFAULT_TEMPLATE
from tests.unit.given import SECRET, settings

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
    "https://a..b": "no host",
    "https://.": "no host",
    "https://" + "a" * 64 + ".com": "no host",
    "https://host\\other": "no host",
    "https://%68ost": "no host",
    "https://host,other": "no host",
    "https://[::1%25lo]": "no host",
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

HEADERS: list[Any] = ["", " ", "a b", "a\r\nx-evil: 1", "a\n", "a\x00", "数字", "\ud800", 1, b"a"]
NUMBERS: list[Any] = [0, -1, True, "1", float("nan"), float("inf"), float("-inf"), 10**400, 1j]
COUNTS: list[Any] = [0, -1, True, False, 1.0, "1", float("nan")]

REFUSED: list[tuple[str, Any]] = [
    *[("app_id", bad) for bad in [*HEADERS, None]],
    *[("account", bad) for bad in HEADERS],
    *[("app_secret", bad) for bad in ["", "  ", None, 1, b"secret", "\ud800"]],
    *[("auth_template", bad) for bad in [None, 1, "\ud800"]],
    *[("timestamp_unit", bad) for bad in ["", "us", "MS", None, 1, ["ms"]]],
    *[("timeout", bad) for bad in [*NUMBERS, None]],
    *[("rate", bad) for bad in NUMBERS],
    *[("max_in_flight", bad) for bad in [*COUNTS, None]],
    *[("max_response_bytes", bad) for bad in [*COUNTS, None]],
    *[("retry", bad) for bad in [None, 3, {"attempts": 3}]],
    *[("allow_http", bad) for bad in [None, 1, "yes"]],
    *[("base_url", bad) for bad in [None, 1, b"https://host"]],
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_refused_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        settings(**{name: value})
    assert "must" in str(caught.value) or "cannot be sent" in str(caught.value)


@pytest.mark.parametrize(("given", "kept"), GOOD_URLS.items())
def test_a_good_base_url_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    assert settings(base_url=given).base_url == kept


@pytest.mark.parametrize(("url", "reason"), BAD_URLS.items())
def test_a_base_url_that_could_not_work_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^base_url .*{reason}"):
        settings(base_url=url, allow_http=True)


@pytest.mark.parametrize("url", NOT_LOOPBACK)
def test_http_to_another_machine_must_be_allowed(url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url is http.* set allow_http=True"):
        settings(base_url=url)
    assert settings(base_url=url, allow_http=True).base_url == url


@pytest.mark.parametrize("host", ["host", "host:port", "[::1", "127.0.0.1/path"])
@pytest.mark.parametrize("user", [f"user:{SECRET}", f":{SECRET}", SECRET, f"user:{SECRET}/more"])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_base_url_with_a_password_is_refused_and_not_repeated(
    scheme: str, user: str, host: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(base_url=f"{scheme}://{user}@{host}")
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("app_id", "\ud800"),
        ("app_id", "\r\nx: y"),
        ("account", "\ud800"),
        ("account", "\r\nx: y"),
        ("app_secret", "\ud800"),
        ("auth_template", "\ud800"),
    ],
)
def test_a_refused_text_is_not_repeated(name: str, tail: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{name: f"{SECRET}{tail}"})
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.args}"
    assert caught.value.__context__ is None


def test_a_secret_may_hold_what_no_header_could() -> None:
    assert settings(app_secret="秘密\r\n").app_secret == "秘密\r\n"


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


@pytest.mark.parametrize("template", GOOD_TEMPLATES)
def test_a_good_template_is_kept(template: str) -> None:
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


def test_the_environment_may_give_more() -> None:
    more = {
        "DP_ACCOUNT": "1999",
        "DP_AUTH_TEMPLATE": "{app_secret}{timestamp}",
        "DP_TIMESTAMP_UNIT": "s",
        "DP_TIMEOUT": "ignored",
    }
    assert Settings.from_env({**ENVIRON, **more}) == settings(
        account="1999", auth_template="{app_secret}{timestamp}", timestamp_unit="s"
    )


def test_an_empty_variable_is_a_variable_that_is_not_set() -> None:
    empty = {"DP_ACCOUNT": "", "DP_AUTH_TEMPLATE": "", "DP_TIMESTAMP_UNIT": ""}
    assert Settings.from_env({**ENVIRON, **empty}) == settings()


@pytest.mark.parametrize("name", ENVIRON)
@pytest.mark.parametrize("instead", [{}, {"": ""}])
def test_a_missing_variable_is_named(name: str, instead: Mapping[str, str]) -> None:
    missing = {key: value for key, value in ENVIRON.items() if key != name}
    for environ in ({**missing, **instead}, {**missing, name: ""}):
        with pytest.raises(ConfigError, match=rf"set the environment variable {name}$"):
            Settings.from_env(environ)


def test_a_bad_variable_is_refused_by_the_setting_s_name() -> None:
    with pytest.raises(ConfigError, match="timestamp_unit"):
        Settings.from_env({**ENVIRON, "DP_TIMESTAMP_UNIT": "minutes"})


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DP_ACCOUNT", "DP_AUTH_TEMPLATE", "DP_TIMESTAMP_UNIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env() == settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("attempts", bad) for bad in COUNTS],
        *[(name, bad) for name in ("base", "cap") for bad in NUMBERS if bad != 0],
    ],
)
def test_a_refused_policy_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"RetryPolicy.{name} must be"):
        RetryPolicy(**{name: value})


def test_the_refusal_says_whether_nothing_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"^timeout must be a number above 0, not 0$"):
        settings(timeout=0)
    with pytest.raises(ConfigError, match=r"^RetryPolicy.cap must be a number of at least 0, "):
        RetryPolicy(cap=-1)


@pytest.mark.parametrize("kind", [Settings, RetryPolicy, CrawlOptions])
def test_everything_is_set_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind("https://host", "app", SECRET)


def test_the_defaults_of_a_crawl() -> None:
    assert CrawlOptions() == CrawlOptions(
        page_size=100,
        concurrency=8,
        window=None,
        ordered=True,
        limit=None,
        verify=True,
        overlap="auto",
        settle=2.0,
        max_passes=3,
        strict=False,
        on_bad_item="raise",
    )


def test_a_policy_may_wait_for_no_time_at_all() -> None:
    assert RetryPolicy(attempts=1, base=0, cap=0).cap == 0


NOT_EVEN_NOTHING = [bad for bad in COUNTS if bad is False or bad != 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, bad) for name in ("page_size", "concurrency", "max_passes") for bad in COUNTS],
        *[("window", bad) for bad in [*COUNTS, 7]],
        *[(name, bad) for name in ("limit", "overlap") for bad in NOT_EVEN_NOTHING],
        *[("overlap", bad) for bad in [51, "yes", "", "4", None, b"auto"]],
        *[("settle", bad) for bad in [*NUMBERS, None] if bad != 0],
        *[(name, bad) for name in ("ordered", "verify", "strict") for bad in [0, 1, "x", None]],
        *[("on_bad_item", bad) for bad in ["drop", "", "KEEP", None, True, ["keep"]]],
    ],
)
def test_a_refused_option_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}.* must be .*, not "):
        CrawlOptions(**{name: value})


def test_pages_share_at_most_half_their_rows() -> None:
    assert CrawlOptions(overlap=50).overlap == 50
    assert CrawlOptions(page_size=1, overlap=0).overlap == 0
    refusal = r'^overlap, if not "auto", must be a whole number from 0 to 3, not 4$'
    with pytest.raises(ConfigError, match=refusal):
        CrawlOptions(page_size=7, overlap=4)


def test_a_window_holds_at_least_what_is_under_way() -> None:
    assert CrawlOptions(concurrency=4, window=4).window == 4
    with pytest.raises(ConfigError, match="window must be a whole number of at least 4, not 3"):
        CrawlOptions(concurrency=4, window=3)


def test_one_is_enough_of_anything() -> None:
    assert settings(max_in_flight=1, max_response_bytes=1).max_in_flight == 1
    assert CrawlOptions(page_size=1, concurrency=1, window=1, limit=1, max_passes=1).window == 1
    assert RetryPolicy(attempts=1).attempts == 1
    assert settings(base_url="https://host:1").base_url == "https://host:1"


def test_a_limit_and_a_wait_may_be_nothing_at_all() -> None:
    assert CrawlOptions(limit=0).limit == 0
    assert CrawlOptions(settle=0).settle == 0
