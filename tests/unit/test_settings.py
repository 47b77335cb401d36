"""A setting that could not work is refused when it is set, by name and with the fix; none leaks."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, fields
from decimal import Decimal
from typing import Any, TypeAlias

import hypothesis
import pytest
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from dp_async import ConfigError, CrawlOptions, RetryPolicy, Settings
from dp_async._settings import DEFAULT_TEMPLATE
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
HUGE = 10**5000  # more digits than Python writes

Kind: TypeAlias = type[Settings] | type[RetryPolicy] | type[CrawlOptions]

KINDS: list[Kind] = [Settings, RetryPolicy, CrawlOptions]
SETTINGS = [(kind, field.name) for kind in KINDS for field in fields(kind)]

#: The settings that are numbers, and their range.
WHOLE: list[tuple[Kind, str, int, int]] = [
    (Settings, "max_in_flight", 1, 10_000),
    (Settings, "max_response_bytes", 1, 2**40),
    (RetryPolicy, "attempts", 1, 1_000),
    (CrawlOptions, "page_size", 1, 100_000),
    (CrawlOptions, "concurrency", 1, 10_000),
    (CrawlOptions, "window", 8, 100_000),  # at least what is under way
    (CrawlOptions, "overlap", 0, 50),  # at most half a page
    (CrawlOptions, "limit", 0, 2**53),
    (CrawlOptions, "max_passes", 1, 1_000),
]
NUMBERS: list[tuple[Kind, str, float, float]] = [
    (Settings, "timeout", 0.001, 86_400),
    (Settings, "rate", 0.001, 100_000),
    (RetryPolicy, "base", 0, 3_600),
    (RetryPolicy, "cap", 0, 86_400),
    (CrawlOptions, "allowed_lateness", 0, 86_400),
]

FLAGS: list[tuple[Kind, str]] = [
    (Settings, "allow_http"),
    *[(CrawlOptions, name) for name in ("ordered", "verify", "strict")],
]

#: The settings that may be None, or a word instead of a number.
MAY_BE: dict[str, list[object]] = {
    "rate": [None],
    "window": [None],
    "limit": [None],
    "account": [None],
    "concurrency": ["auto"],
    "overlap": ["auto"],
}

FLOATS = [math.nan, math.inf, -math.inf, 1e308, -1e308, sys.float_info.max, -5e-324]
TEXTS = ["", " ", "\t", "1", "auto", "AUTO", "auto ", "1\r\n", "\x00", "\ud800", "x" * 1000]
OTHERS: list[object] = [
    None,
    True,
    False,
    b"",
    b"1",
    1j,
    [],
    [1],
    (1,),
    {},
    {1},
    object(),
    Decimal(1),
]

NO_WHOLE = [*OTHERS, *TEXTS, *FLOATS, 1.0, -1, -HUGE, 10**400, HUGE]
NO_NUMBER = [*OTHERS, *TEXTS, *FLOATS, -1, -HUGE, 10**400, HUGE]
NO_FLAG = [*OTHERS, *TEXTS, *FLOATS, 0, 1, HUGE]
NO_CHOICE = [*OTHERS, *TEXTS, *FLOATS, 1, HUGE, "MS", "ms\n", "KEEP", "raise ", ["ms"], ["keep"]]
NO_TEXT: list[object] = [*OTHERS, *FLOATS, 0, 1, HUGE, int(ACCOUNT), b"a", ["a"]]
NO_HEADER = [
    "",
    " ",
    "\t",
    "a b",
    "a\r\nx-evil: 1",
    "a\n",
    "\ra",
    "a\x00",
    "\x00",
    "\x7f",
    "数",
    "é",
]
HALVES = ["\ud800", "a\udfff", "\udc80\r\n"]

TEXT_SETTINGS = ("base_url", "app_id", "app_secret", "account", "auth_template")

IN_A_HEADER = "must be printable ASCII without spaces, and not empty"
HALF = "holds half a surrogate pair and cannot be sent"


def nonsense() -> Iterator[tuple[Kind, str, object, str]]:
    """Every setting, with values that it cannot have and how the refusal begins."""

    def rows(kind: Kind, name: str, values: list[Any], must: str) -> Iterator[Any]:
        dotted = f"RetryPolicy.{name}" if kind is RetryPolicy else name
        for value in values:
            if value not in MAY_BE.get(name, []):
                yield kind, name, value, f"{dotted}{must}"

    def texts(name: str) -> Iterator[Any]:
        for value in NO_TEXT:
            must = f" must be a string, not {type(value).__name__}"
            yield from rows(Settings, name, [value], must)
        yield from rows(Settings, name, HALVES, f" {HALF}")

    for kind, name, low, high in WHOLE:
        word = ', if not "auto",' if "auto" in MAY_BE.get(name, []) else ""
        must = f"{word} must be a whole number from {low} to {high}, not "
        yield from rows(kind, name, [*NO_WHOLE, low - 1, high + 1], must)
    for kind, name, least, most in NUMBERS:
        must = f" must be a number from {least:g} to {most:,}, not "
        beyond = [math.nextafter(least, -1), math.nextafter(most, math.inf), most + 1]
        yield from rows(kind, name, [*NO_NUMBER, *beyond], must)
    for kind, name in FLAGS:
        flags = [value for value in NO_FLAG if not isinstance(value, bool)]
        yield from rows(kind, name, flags, " must be True or False, not ")
    yield from rows(Settings, "timestamp_unit", NO_CHOICE, " must be one of 'ms', 's', not ")
    yield from rows(CrawlOptions, "on_bad_item", NO_CHOICE, " must be one of 'raise', 'keep', not ")
    for name in TEXT_SETTINGS:
        yield from texts(name)
    for name in ("app_id", "account"):
        yield from rows(Settings, name, NO_HEADER, f" {IN_A_HEADER}")
    yield from rows(Settings, "app_secret", ["", " ", "\t\r\n", "\u3000"], " must not be empty")
    yield from rows(Settings, "auth_template", ["", " ", "\r\n", "\x00"], " must hold {app_secret}")
    yield from rows(
        Settings, "base_url", ["", " ", "\r\n", "\x00", "https://h\x00"], " must be an a"
    )
    for value in [*NO_TEXT, *TEXTS, {"attempts": 3}, RetryPolicy]:
        must = f" must be a RetryPolicy, not {type(value).__name__}"
        yield from rows(Settings, "retry", [value], must)


def made(kind: Kind, **changes: Any) -> object:
    return settings(**{"account": ACCOUNT, **changes}) if kind is Settings else kind(**changes)


NONSENSE = list(nonsense())


@pytest.mark.parametrize(
    ("kind", "name", "value", "must"),
    NONSENSE,
    # A value's own text may be none that could be shown.
    ids=[f"{kind.__name__}.{name}-{index}" for index, (kind, name, *_) in enumerate(NONSENSE)],
)
def test_nonsense_is_refused_by_name_and_with_what_is_allowed(
    kind: Kind, name: str, value: object, must: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(kind, **{name: value})
    text = str(caught.value)
    assert text.startswith(must)
    assert len(text) < 300
    assert text.isprintable()
    assert SECRET not in f"{text} {caught.value!r}"
    assert ACCOUNT not in f"{text} {caught.value!r}"
    assert caught.value.__context__ is None


def test_no_setting_is_left_out() -> None:
    assert {(kind, name) for kind, name, *_ in NONSENSE} == set(SETTINGS)


HOLDERS: list[Callable[[list[int]], object]] = [list, tuple, set, lambda held: {"a": held}]


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize(("kind", "name"), SETTINGS)
def test_a_number_too_long_to_be_written_is_refused_wherever_it_stands(
    kind: Kind, name: str, hold: Callable[[list[int]], object]
) -> None:
    for value in (HUGE, -HUGE, hold([HUGE]), hold([1, -HUGE])):
        with pytest.raises(ConfigError, match=f"{name}.* must ") as caught:
            made(kind, **{name: value})
        assert len(str(caught.value)) < 300
        assert caught.value.__context__ is None


class Wordy:
    """Writes *word* for itself, or fails with it."""

    def __init__(self, word: str | Exception) -> None:
        self.word = word

    def __repr__(self) -> str:
        if isinstance(self.word, Exception):
            raise self.word
        return self.word


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [nested(100_000), Wordy(KeyError("bug")), Wordy("two\nlines")],
    ids=["too deep", "fails", "lines"],
)
@pytest.mark.parametrize("name", ["limit", "allowed_lateness", "strict", "on_bad_item"])
def test_a_value_that_cannot_be_written_is_refused_too(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must ") as caught:
        made(CrawlOptions, **{name: value})
    assert str(caught.value).isprintable()
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("kind", "name", "low", "high"), [*WHOLE, *NUMBERS])
def test_both_ends_of_a_range_belong_to_it(kind: Kind, name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(made(kind, **{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name"), SETTINGS)
def test_what_may_be_none_or_a_word_is_kept(kind: Kind, name: str) -> None:
    for word in MAY_BE.get(name, []):
        assert getattr(made(kind, **{name: word}), name) == word


ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(0, 10**5).map(lambda exponent: 10**exponent),
        st.floats(),
        st.text(st.characters()),
        st.binary(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=5,
)


@hypothesis.given(st.sampled_from(SETTINGS), ANY)
def test_any_value_is_taken_or_refused_by_name(setting: tuple[Kind, str], value: object) -> None:
    kind, name = setting
    refusal = ""
    try:
        made(kind, **{name: value})
    except ConfigError as error:
        refusal = str(error)
    assert not refusal or name in refusal
    assert len(refusal) < 300
    assert refusal.isprintable()


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
    ("name", "value"),
    [
        *[
            (name, f"{SECRET}{tail}")
            for name in ("app_id", "account")
            for tail in NO_HEADER
            if tail
        ],
        *[(name, f"{SECRET}{tail}") for name in TEXT_SETTINGS for tail in HALVES],
        *[(name, SECRET.encode()) for name in TEXT_SETTINGS],
        *[(name, [SECRET]) for name in TEXT_SETTINGS],
        *[("auth_template", f"{SECRET}{tail}") for tail in ("", "{", "}", "{app_secret!r}{")],
        *[("auth_template", f"{SECRET}{{{SECRET}}}"), ("auth_template", f"{{app_id:{SECRET}}}")],
        *[("base_url", f"{head}{SECRET}") for head in ("", "https://h?", "https://h#", "ftp://")],
        ("retry", SECRET),
    ],
)
def test_a_refused_text_is_not_repeated(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} ") as caught:
        settings(**{name: value})
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.args}"
    assert SECRET not in repr(caught.value.__context__)


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


def test_a_refusal_says_what_was_given_if_that_can_be_said() -> None:
    def refusal(value: object) -> str:
        with pytest.raises(ConfigError) as caught:
            settings(timeout=value)
        return str(caught.value).removeprefix("timeout must be a number from 0.001 to 86,400, not ")

    assert refusal(0) == "0"
    assert refusal(True) == "True"
    assert refusal("1\n") == "'1\\n'"
    assert "this int, which cannot be shown" in refusal(HUGE)
    assert "this list, which cannot be shown" in refusal([HUGE])
    assert refusal(10**80) == f"1{'0' * 78}…"
    assert refusal("x" * 100) == f"'{'x' * 78}…"


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
        allowed_lateness=2.0,
        max_passes=3,
        strict=False,
        on_bad_item="raise",
    )


def test_a_policy_may_wait_for_no_time_at_all() -> None:
    assert RetryPolicy(attempts=1, base=0, cap=0).cap == 0


def test_pages_share_at_most_half_their_rows() -> None:
    assert CrawlOptions(overlap=50).overlap == 50
    assert CrawlOptions(page_size=1, overlap=0).overlap == 0
    refusal = r'^overlap, if not "auto", must be a whole number from 0 to 3, not 4$'
    with pytest.raises(ConfigError, match=refusal):
        CrawlOptions(page_size=7, overlap=4)


def test_a_window_holds_at_least_what_is_under_way() -> None:
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


def test_one_is_enough_of_anything() -> None:
    assert settings(max_in_flight=1, max_response_bytes=1).max_in_flight == 1
    assert CrawlOptions(page_size=1, concurrency=1, window=1, limit=1, max_passes=1).window == 1
    assert RetryPolicy(attempts=1).attempts == 1
    assert settings(base_url="https://host:1").base_url == "https://host:1"


def test_a_limit_and_a_wait_may_be_nothing_at_all() -> None:
    assert CrawlOptions(limit=0).limit == 0
    assert CrawlOptions(allowed_lateness=0).allowed_lateness == 0
