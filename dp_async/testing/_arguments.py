"""Refuses what a caller asks of the simulator and what cannot work, with the fix in the text.

It knows values alone: no lists, no faults.
"""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite

from dp_async import ConfigError, DpError


class SimulatorMisused(DpError, RuntimeError):
    """What was asked of the simulator needs it to run, or not to run yet; names the fix."""


def choice(name: str, value: object, known: Collection[str]) -> None:
    """Raises ConfigError unless *value* is one of the *known* texts."""
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{name} must be {' or '.join(map(repr, known))}, not {value!r}")


def number(name: str, value: object, least: float, most: float | None = None) -> None:
    """Raises ConfigError unless *value* is a finite number in the range."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good or value < least or (most is not None and value > most):  # type: ignore[operator]  # a number here
        to = "" if most is None else f" and at most {most:g}"
        raise ConfigError(f"{name} must be a number of at least {least:g}{to}, not {value!r}")


def whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Raises ConfigError unless *value* is an int in the range."""
    if type(value) is not int or value < least or (most is not None and value > most):
        to = "" if most is None else f" and at most {most}"
        raise ConfigError(f"{name} must be a whole number of at least {least}{to}, not {value!r}")


def called(name: str, value: object) -> None:
    """Raises ConfigError unless *value* can be called."""
    if not callable(value):
        raise ConfigError(f"{name} must be a callable, not {value!r}")


def instance(name: str, value: object, kind: type[object]) -> None:
    """Raises ConfigError unless *value* is an instance of *kind*."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {value!r}")
