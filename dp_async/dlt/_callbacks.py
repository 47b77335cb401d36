"""The application's callbacks: what they raise ends no run and changes no result."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import ParamSpec

from .. import ConfigError
from ..tables import warn

P = ParamSpec("P")


def guarded(name: str, callback: Callable[P, object]) -> Callable[P, None]:
    """*callback*, whose exceptions are dropped; the first is logged, with its *name*.

    Raises ConfigError for an async function, which would never be awaited.
    """
    if iscoroutinefunction(callback) or iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004  # its method
        raise ConfigError(f"{name} must be a plain function: an async one would never be awaited")
    failed = False

    def call(*args: P.args, **options: P.kwargs) -> None:
        nonlocal failed
        try:
            callback(*args, **options)
        except Exception as error:
            if not failed:
                failed = True
                warn("%s of the source failed; its exceptions are dropped", name, error=error)

    return call
