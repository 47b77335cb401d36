"""``__all__`` lists the public names, which show as public; importing loads only what is needed."""

from __future__ import annotations

import subprocess
import sys

import dp_async
import dp_async.testing
from dp_async import DpError


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
