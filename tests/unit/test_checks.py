"""Each validator takes what it should, refuses the rest by name, and repeats no secret."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from dp_async import ConfigError
from dp_async import _checks as checks

HUGE = 10**5000  # more digits than Python prints
SECRET = "open-sesame"

Check = Callable[[str, Any], None]


def whole(name: str, value: object) -> None:
    checks.whole(name, value, 1, 10_000)


def number(name: str, value: object) -> None:
    checks.number(name, value, 0.5, 86_400)


def one_of(name: str, value: object) -> None:
    checks.one_of(name, value, ("ms", "s"))


def instance(name: str, value: object) -> None:
    checks.instance(name, value, Decimal)


#: Each validator: what it takes, what it refuses, and what its error says must be.
TABLE: dict[Check, tuple[list[object], list[object], str]] = {
    whole: (
        [1, 2, 10_000],
        [0, 10_001, -1, True, 1.0, math.nan, math.inf, "1", b"1", None, [1], Decimal(1), HUGE],
        "a whole number from 1 to 10000, not ",
    ),
    number: (
        [0.5, 1, 86_400],
        [
            *[math.nextafter(0.5, 0), math.nextafter(86_400, math.inf), -1, True, False],
            *[math.nan, math.inf, -math.inf, "1", b"1", None, [1], 1j, Decimal(1), HUGE, -HUGE],
        ],
        "a number from 0.5 to 86,400, not ",
    ),
    checks.flag: (
        [True, False],
        [0, 1, None, "True", [], math.nan],
        "True or False, not ",
    ),
    one_of: (
        ["ms", "s"],
        ["", "MS", "ms\n", "m", b"ms", None, 1, ["ms"], {}],
        "one of 'ms', 's', not ",
    ),
    instance: (
        [Decimal(1)],
        [1, "1", None, Decimal],
        "a Decimal, not ",
    ),
}


@pytest.mark.parametrize("check", TABLE, ids=lambda check: check.__name__)
def test_a_good_value_is_taken(check: Check) -> None:
    for value in TABLE[check][0]:
        check("name", value)


@pytest.mark.parametrize("check", TABLE, ids=lambda check: check.__name__)
def test_a_bad_value_is_refused_by_name_and_with_what_is_allowed(check: Check) -> None:
    _, refused, must = TABLE[check]
    for value in refused:
        with pytest.raises(ConfigError) as caught:
            check("the name", value)
        text = str(caught.value)
        assert text.startswith(f"the name must be {must}")
        assert len(text) < 200
        assert text.isprintable()
        assert caught.value.__context__ is None


# Texts


def test_a_text_is_any_str_that_can_be_encoded() -> None:
    for value in ("", " ", "a\r\n\x00", "数字😀"):
        checks.text("name", value)
    for other in (None, 1, b"a", ["a"], HUGE):
        kind = type(other).__name__
        with pytest.raises(ConfigError, match=rf"^name must be a string, not {kind}$"):
            checks.text("name", other)
    for half in ("\ud800", f"{SECRET}\udfff"):
        with pytest.raises(ConfigError, match=r"^name holds half a surrogate pair") as caught:
            checks.text("name", half)
        assert caught.value.__context__ is None


def test_a_header_is_printable_ascii_without_spaces() -> None:
    for value in ("a", "!", "~", "13800001234"):
        checks.header("name", value)
    for value in ("", " ", "a b", "a\r\nx: 1", "a\n", "\x00", "\x1f", "\x7f", "é", "数"):
        with pytest.raises(ConfigError, match=r"^name must be printable ASCII without spaces"):
            checks.header("name", value)
    with pytest.raises(ConfigError, match=r"^name must be a string, not int"):
        checks.header("name", 1)


def test_a_callback_is_callable_or_none() -> None:
    checks.callback("name", None)
    checks.callback("name", print)

    async def function(_: object) -> None: ...

    class WithCall:
        async def __call__(self, _: object) -> None: ...

    for never_awaited in (function, partial(function, 1), WithCall()):
        with pytest.raises(ConfigError, match=r"^name must be a plain function: an async one"):
            checks.callback("name", never_awaited)
    with pytest.raises(ConfigError, match=r"^name must be a callable, not str$"):
        checks.callback("name", "print")


def test_a_secret_is_a_text_without_blanks_around_it() -> None:
    for value in ("a", "a b", "a\nb", "秘密"):
        checks.secret("name", value)
    for value in ("", " ", "\ufeff", "\0\n"):
        with pytest.raises(ConfigError, match=r"^name must not be empty"):
            checks.secret("name", value)
    for value in (
        "a ",
        "a\n",
        "\ufeffa",
        "\ta",
        "a\u3000",
        "a\0",
        "a\u200b",
        "\u2060a",
        "a\x1a",
        "\xada",
    ):
        with pytest.raises(ConfigError, match=r"^name has blanks.* remove them from where it is"):
            checks.secret("name", value)


@pytest.mark.parametrize("check", [checks.text, checks.header, checks.secret])
@pytest.mark.parametrize("value", [f"{SECRET}\ud800", SECRET.encode(), [SECRET]])
def test_a_text_is_not_repeated(check: Check, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        check("name", value)
    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r}"


def test_a_header_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        checks.header("name", f"{SECRET} ")
    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r}"


# What an error shows of a value


class Wordy:
    """Its repr is *word*, or fails with it."""

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


SHOWN: list[tuple[object, str]] = [
    (0, "0"),
    (True, "True"),
    ("1\n", r"'1\n'"),
    (Wordy("two\nlines"), "two lines"),
    ("x" * 78, f"'{'x' * 78}'"),
    ("x" * 79, f"'{'x' * 78}…"),
    (10**80, f"1{'0' * 78}…"),
    (HUGE, "this int, which cannot be shown"),
    ([-HUGE], "this list, which cannot be shown"),
    ({"a": HUGE}, "this dict, which cannot be shown"),
    (nested(100_000), "this list, which cannot be shown"),
    (Wordy(KeyError("bug")), "this Wordy, which cannot be shown"),
]


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=range(len(SHOWN)))
def test_a_value_is_shown_in_one_short_line(value: object, text: str) -> None:
    assert checks.shown(value) == text


ANY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(0, 10**4).map(lambda exponent: 10**exponent),
        st.floats(),
        st.text(st.characters()),
        st.binary(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=5,
)


@hypothesis.given(st.sampled_from([*TABLE, checks.text, checks.header]), ANY)
def test_any_value_is_taken_or_refused_by_name(check: Check, value: object) -> None:
    refusal = "name"
    try:
        check("name", value)
    except ConfigError as error:
        refusal = str(error)
    assert refusal.startswith("name")
    assert len(refusal) < 200
    assert refusal.isprintable()


# Constructors


@checks.hide_arguments
class Vault:
    """Keeps its *secret*, unless it is *bad*."""

    def __init__(self, secret: str, *, bad: bool = False) -> None:
        self.secret = secret
        if bad:
            raise ConfigError("bad")


def test_a_hidden_constructor_works_as_before() -> None:
    assert Vault(SECRET).secret == SECRET
    assert Vault.__init__.__name__ == "__init__"
    with pytest.raises(TypeError, match="secret"):
        Vault()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_a_failed_constructor_shows_no_argument_in_its_traceback() -> None:
    with pytest.raises(ConfigError, match="bad") as caught:
        Vault(SECRET, bad=True)
    assert caught.value.__context__ is None
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in shown.stack if frame.filename != __file__]
    assert [frame.name for frame in frames] == ["init"]
    assert SECRET not in f"{[frame.locals for frame in frames]}"
