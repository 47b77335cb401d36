"""Public names are imported with the first one that is used."""

import subprocess
import sys

import pytest

import dp_async


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    for name in ("nothing", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"'dp_async' has no attribute '{name}'"):
            getattr(dp_async, name)


@pytest.mark.parametrize(
    "use",
    [
        "dp_async.Client",
        "dp_async._client.Client",
        "from dp_async import Client",
        "from dp_async import *; Client",
        "assert 'Client' in dir(dp_async)",
    ],
)
def test_the_first_use_of_a_name_imports_them_all(use: str) -> None:
    code = f"""
import sys
import dp_async, dp_async.cli
assert "aiohttp" not in sys.modules
{use}
assert "aiohttp" in sys.modules
assert vars(dp_async).keys() >= {{*dp_async.__all__}}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name", ["__version__", "ConfigError", "DpError", "Settings", "WorkStatus"]
)
def test_some_names_load_without_the_network_library(name: str) -> None:
    code = f"""
import sys
import dp_async
value = dp_async.{name}
assert "aiohttp" not in sys.modules
dp_async.Client
assert "aiohttp" in sys.modules
assert value is dp_async.{name}
assert getattr(value, "__module__", "dp_async") == "dp_async"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
