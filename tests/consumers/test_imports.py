"""Importing loads no optional library; an integration and a command load only what they need."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

CODE = """
import sys
from dp_async import Client
optional = {"cyclopts", "dlt", "duckdb", "opentelemetry", "psycopg2", "pyarrow", "pytest", "rich"}
optional |= {"deltalake", "ray", "redis"}
assert not optional & sys.modules.keys(), optional & sys.modules.keys()
import dp_async.otel
assert "opentelemetry.trace" in sys.modules
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
assert not (optional - {"opentelemetry"}) & sys.modules.keys()
"""


def test_importing_loads_no_optional_library() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)


#: Runs a command line, then prints which of the libraries and of this package's files are loaded.
COMMAND = """
import json, os, sys
from dp_async.cli import main
sys.stdout = sys.stderr = open(os.devnull, "w")
main(json.loads(sys.argv[1]))
print(json.dumps(sorted(sys.modules)), file=sys.__stdout__)
"""
HEAVY = {"aiohttp", "deltalake", "dlt", "duckdb", "psycopg2", "pyarrow", "rich.progress"}
PARTS = {
    *("_public", "testing", "cli._simulator", "cli._export"),
    *("cli._sync", "cli._database", "cli._lake"),
}
CRAWL = {"aiohttp", "_public"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--version"], set[str]()),
        (["--help"], set[str]()),
        (["works", "--help"], set[str]()),
        (["sync", "--help"], set[str]()),
        (["works", "--nope"], set[str]()),
        (["works", "--limit", "0"], {*CRAWL, "cli._export", "rich.progress"}),
        (
            ["demo", "--works", "0", "--messages", "0"],
            {*CRAWL, "testing", "cli._simulator", "rich.progress"},
        ),
        (
            ["sync", "--to", "duckdb:////nowhere/at/all.duckdb"],
            {*CRAWL, "dlt", "duckdb", "pyarrow", "rich.progress", "cli._sync", "cli._database"},
        ),
        pytest.param(
            ["sync", "--to", "delta:////dev/null"],
            {*CRAWL, "deltalake", "pyarrow", "rich.progress", "cli._sync", "cli._lake"},
            marks=pytest.mark.skipif(
                find_spec("deltalake") is None, reason="needs deltalake: dp_async[delta]"
            ),
        ),
    ],
)
def test_a_command_imports_what_it_needs(words: list[str], expected: set[str]) -> None:
    command = [sys.executable, "-c", COMMAND, json.dumps(words)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={})
    loaded = set(json.loads(ran.stdout))
    found = HEAVY & loaded | {part for part in PARTS if f"dp_async.{part}" in loaded}
    assert found == expected


def test_a_name_that_is_loaded_alone_is_the_public_one() -> None:
    code = """
import sys
from dp_async import ConfigError, __version__
assert (ConfigError.__module__, "aiohttp" in sys.modules) == ("dp_async", False)
import dp_async
assert __version__ == dp_async.__version__
assert "ConfigError" in dir(dp_async)
assert dp_async.ConfigError is ConfigError
assert not hasattr(dp_async, "nothing") and not hasattr(dp_async, "__nothing__")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
