"""Validators for what callers pass: each raises a ConfigError that names the bad value.

No settings and no I/O. A text that may be a secret is never repeated in the error.
"""

from __future__ import annotations

import re
from functools import wraps
from inspect import iscoroutinefunction
from typing import TypeVar

from ._errors import ConfigError

T = TypeVar("T")

HOUR, DAY = 3_600.0, 86_400.0  # seconds

PRINTABLE = re.compile(r"[\x21-\x7e]+")

#: What is not seen, around a text; to str.strip a byte order mark and the like are no blanks.
_BLANK = r"[\s\0-\x1f\x7f-\xa0\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
_EMPTY = re.compile(f"{_BLANK}*")
_BLANK_AROUND = re.compile(rf"\A{_BLANK}|{_BLANK}\Z")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def whole(name: str, value: object, low: int, high: int) -> None:
    """Raise unless *value* is an int from *low* to *high*; a bool is not."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")


def number(name: str, value: object, low: float, high: float) -> None:
    """Raise unless *value* is an int or float from *low* to *high*; a bool and NaN are not."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not good:
        raise ConfigError(
            f"{name} must be a number from {low:g} to {high:,.0f}, not {shown(value)}"
        )


def flag(name: str, value: object) -> None:
    """Raise unless *value* is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {shown(value)}")


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless *value* is one of *choices*."""
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ConfigError(f"{name} must be one of {known}, not {shown(value)}")


def instance(name: str, value: object, kind: type[object]) -> None:
    """Raise unless *value* is an instance of *kind*."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def callback(name: str, value: object) -> None:
    """Raise unless *value* is None or can be called, and is not an async function.

    What an async function returns would never be awaited: it would do nothing, without an error.
    """
    if value is None:
        return
    if not callable(value):
        raise ConfigError(f"{name} must be a callable, not {type(value).__name__}")
    if any(map(iscoroutinefunction, (value, getattr(value, "__call__", None)))):  # noqa: B004  # its method
        raise ConfigError(
            f"{name} must be a plain function: an async one would never be awaited. "
            "Start a task in it, or put what it gets into a queue"
        )


def text(name: str, value: object) -> None:
    """Raise unless *value* is a str that UTF-8 can encode. The error does not repeat it."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a string, not {type(value).__name__}")
    # A regex, since the error of encode() holds the text and would stay in reach as __context__.
    if _SURROGATE.search(value):
        raise ConfigError(f"{name} holds half a surrogate pair and cannot be sent")


def header(name: str, value: object) -> None:
    """Raise unless *value* can be an HTTP header's value. The error does not repeat it."""
    text(name, value)
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise ConfigError(f"{name} must be printable ASCII without spaces, and not empty")


def secret(name: str, value: object) -> None:
    """Raise unless *value* is a text with nothing blank around it. The error does not repeat it.

    A file or a variable easily adds a line break or a byte order mark, and the server says only
    that the signature is wrong.
    """
    text(name, value)
    if not isinstance(value, str) or _EMPTY.fullmatch(value):
        raise ConfigError(f"{name} must not be empty: it is issued with the app_id")
    if _BLANK_AROUND.search(value):
        raise ConfigError(
            f"{name} has blanks, line breaks, a byte order mark or another invisible character "
            "around it: remove them from where it is kept"
        )


def shown(value: object) -> str:
    """The repr of *value* for an error text: one printable line of at most 80 characters."""
    try:
        line = "".join(char if char.isprintable() else " " for char in repr(value))
    except Exception:  # an int too long to print, a list nested too deep, a broken __repr__
        return f"this {type(value).__name__}, which cannot be shown"
    return line if len(line) <= 80 else f"{line[:79]}…"


def hide_arguments(made: type[T]) -> type[T]:
    """Class decorator that strips constructor frames from the errors of ``__init__``.

    Loggers that write a traceback's variables would find the secret in those frames.
    """
    plain = made.__init__

    @wraps(plain)
    def init(self: T, *args: object, **given: object) -> None:
        try:
            plain(self, *args, **given)
        except Exception as error:
            failure = error.with_traceback(None)
        else:
            return
        del self, args, given
        raise failure

    setattr(made, "__init__", init)  # noqa: B010  # type checkers keep the plain one
    return made
