"""Importing the package loads no optional library; an integration loads only its own."""

import subprocess
import sys

CODE = """
import sys
from dp_async import Client
optional = {"cyclopts", "dlt", "duckdb", "opentelemetry", "psycopg2", "pyarrow", "pytest", "rich"}
optional |= {"deltalake"}
assert not optional & sys.modules.keys(), optional & sys.modules.keys()
import dp_async.otel
assert "opentelemetry.trace" in sys.modules
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
assert not (optional - {"opentelemetry"}) & sys.modules.keys()
"""


def test_importing_loads_no_optional_library() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
