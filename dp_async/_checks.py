"""Validators for what callers pass: each refuses a bad value with a ConfigError that names it.

No settings, no I/O. A value that may be a secret is never repeated in the error.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import TypeVar

from ._errors import ConfigError

T = TypeVar("T")


HOUR, DAY = 3_600.0, 86_400.0


PRINTABLE = re.compile(r"[\x21-\x7e]+")


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """Refuse *value* unless it is a whole number from *low* to *high*."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= low
    if not good or (high is not None and isinstance(value, int) and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} must be a whole number {span}, not {_shown(value)}")


def number(name: str, value: object, low: float, high: float) -> None:
    """Refuse *value* unless it is a number from *low* to *high*; infinities and NaN are neither."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not good:
        raise ConfigError(
            f"{name} must be a number from {low:g} to {high:,.0f}, not {_shown(value)}"
        )


def _shown(value: object) -> str:
    """*value* for an error: in one line, and cut if it is long."""
    try:
        text = "".join(char if char.isprintable() else " " for char in repr(value))
    except Exception:  # more digits or deeper nested than Python writes, or a repr of its own
        return f"this {type(value).__name__}, which cannot be shown"
    return text if len(text) <= 80 else f"{text[:79]}…"


def instance(name: str, value: object, kind: type[object]) -> None:
    """Refuse *value* unless it is a *kind*."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def flag(name: str, value: object) -> None:
    """Refuse *value* unless it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {_shown(value)}")


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse *value* unless it is one of *choices*."""
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ConfigError(f"{name} must be one of {known}, not {_shown(value)}")


def text(name: str, value: object) -> None:
    """Refuse *value* unless it is a text that can be encoded; the text itself is never repeated."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a string, not {type(value).__name__}")
    # Not by encode(): its error holds the text, and would stay in reach as __context__.
    if _SURROGATE.search(value):
        raise ConfigError(f"{name} holds half a surrogate pair and cannot be sent")


def header(name: str, value: object) -> None:
    """Refuse *value* unless it can stand in an HTTP header; the value itself is never repeated."""
    text(name, value)
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise ConfigError(f"{name} must be printable ASCII without spaces, and not empty")


def hide_arguments(made: type[T]) -> type[T]:
    """A class whose refusal of what it is given keeps none of that in reach: who logs the variables
    in the frames of an error would find the secret in those of ``__init__``."""
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
