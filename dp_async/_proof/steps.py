"""Long computations in steps, so that the caller may do something else between them. No rule."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

S = TypeVar("S")
T = TypeVar("T")

AT_ONCE = 400
"""Reads that are looked at in one step."""

Steps: TypeAlias = Generator[None, None, T]


def finished(steps: Steps[T]) -> T:
    """The result of all *steps*, taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def mapped(function: Callable[[S], T], items: Sequence[S]) -> Steps[list[T]]:
    """``list(map(function, items))``."""
    found: list[T] = []
    for place in range(0, len(items), AT_ONCE):
        found += map(function, items[place : place + AT_ONCE])
        yield
    return found
