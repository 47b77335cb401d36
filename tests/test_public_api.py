"""``__all__`` lists the public names, which show as public; importing loads only what is needed."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal

import pytest

import dp_async
import dp_async.testing
from dp_async import AuthError, CrawlOptions, DpError


def test_all_is_true_and_sorted() -> None:
    assert list(dp_async.__all__) == sorted(dp_async.__all__)
    for name in dp_async.__all__:
        value = getattr(dp_async, name)
        assert name == "__version__" or value.__module__ == "dp_async", name


def test_every_public_class_is_listed() -> None:
    public = {
        name
        for name, value in vars(dp_async).items()
        if isinstance(value, type) and not name.startswith("_")
    }
    assert public <= set(dp_async.__all__)


def test_every_error_is_a_dp_error() -> None:
    errors = [value for value in vars(dp_async).values() if isinstance(value, type)]
    errors = [value for value in errors if issubclass(value, Exception)]
    assert len(errors) > 10
    assert all(issubclass(error, DpError) for error in errors)


MODULES = [
    "dp_async",
    *(f"dp_async.{name}" for name in ("arrow", "dlt", "otel", "tables", "testing")),
    # README's command does not install the libraries of these.
    *(["dp_async.delta"] if find_spec("deltalake") else []),
    *(["dp_async.ray"] if find_spec("ray") else []),
    *(["dp_async.redis"] if find_spec("redis") else []),
]


def annotated(value: object) -> Iterator[object]:
    """*value*, and the functions of a class."""
    yield value
    for name in dir(value) if isinstance(value, type) else ():
        member = inspect.getattr_static(value, name)
        member = member.fget if isinstance(member, property) else member
        member = getattr(member, "__func__", member)
        if inspect.isfunction(member):
            yield member


@pytest.mark.parametrize("module", MODULES)
def test_the_type_hints_of_all_that_is_public_can_be_read(module: str) -> None:
    public = importlib.import_module(module)
    for name in public.__all__:
        value = getattr(public, name)
        documented = inspect.isclass(value) or inspect.isfunction(value)
        for each in annotated(value) if documented else ():
            assert isinstance(typing.get_type_hints(each), dict), f"{name}: {each}"


def test_the_type_hints_of_a_class_are_types() -> None:
    assert typing.get_type_hints(CrawlOptions)["on_bad_item"] == Literal["raise", "keep"]
    assert typing.get_type_hints(AuthError.__init__)["retry_after"] == float | None


def test_testing_all_is_true_and_sorted() -> None:
    names = list(dp_async.testing.__all__)
    assert names == sorted(names)
    assert all(hasattr(dp_async.testing, name) for name in names)


def test_import_loads_nothing_beyond_the_three_libraries() -> None:
    code = """
import sys
import aiohttp, anyio, msgspec, anyio.abc
import asyncio, email.utils, random, string
before = {name.split(".")[0] for name in sys.modules}
from dp_async import Client
after = {name.split(".")[0] for name in sys.modules}
new = after - before - set(sys.stdlib_module_names)
assert new == {"dp_async"}, new
"""
    subprocess.run([sys.executable, "-c", code], check=True)
