"""The house keeps its shape: imports point down, one file knows aiohttp, a test file a module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import dp_async

ROOT = Path(__file__).parent.parent
PACKAGE = Path(dp_async.__file__).parent  # which may be an installed wheel
CORE = sorted(path.stem for path in PACKAGE.glob("_*.py") if path.stem != "__init__")

RANKS = {
    "_errors": 0,
    "_models": 0,
    "_http": 1,
    "_json": 1,
    "_report": 1,
    "_settings": 1,
    "_adaptive": 1,
    "_deadlines": 1,
    "_auth": 2,
    "_blot": 1.5,
    "_gate": 1,
    "_certificate": 2,
    "_endpoints": 2,
    "_envelope": 2,
    "_checkpoint": 2,
    "_limits": 2,
    "_observe": 1.5,
    "_pages": 2,
    "_plan": 2,
    "_retry": 2,
    "_pager": 3.0,
    "_transport": 3.0,
    "_walk": 2.5,
    "_watermark": 1,
    "_news": 2.3,
    "_crawl": 3.1,
    "_listing": 3.2,
    "_client": 4,
    "_accounts": 5,
    "_watch": 3.15,
}

THIRD_PARTY = {
    "_models": {"msgspec"},
    "_http": {"msgspec"},
    "_json": {"msgspec"},
    "_checkpoint": {"msgspec"},
    "_endpoints": {"msgspec"},
    "_pages": {"msgspec"},
    "_envelope": {"msgspec"},
    "_retry": {"msgspec"},
    "_auth": {"msgspec"},
    "_blot": {"msgspec"},
    "_limits": {"msgspec"},
    "_news": {"msgspec"},
    "_watermark": {"msgspec"},
    "_pager": {"anyio"},
    "_transport": {"aiohttp", "yarl"},
    "_crawl": {"msgspec"},
    "_listing": {"msgspec"},
    "_client": {"aiohttp", "msgspec"},  # aiohttp for the type of a session alone
}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """The modules *path* imports, anywhere in it: the package's own, and third parties."""
    own: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            own |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
    return own, foreign - sys.stdlib_module_names


def test_every_core_file_has_a_rank() -> None:
    assert set(CORE) <= set(RANKS)


@pytest.mark.parametrize("name", CORE)
def test_imports_point_down(name: str) -> None:
    own, foreign = imports(PACKAGE / f"{name}.py")
    above = {other for other in own if RANKS[other] >= RANKS[name]}
    assert not above, f"{name} imports its own rank or one above"
    assert foreign <= THIRD_PARTY.get(name, set())


def test_only_the_transport_runs_aiohttp() -> None:
    guarded = ast.parse((PACKAGE / "_client.py").read_text())
    at_runtime = [node for node in guarded.body if isinstance(node, ast.Import)]
    assert "aiohttp" not in {alias.name for node in at_runtime for alias in node.names}


@pytest.mark.parametrize("folder", ["testing", "cli"])
def test_consumers_use_public_names_only(folder: str) -> None:
    inside = {path.stem for path in (PACKAGE / folder).glob("*.py")}
    for path in (PACKAGE / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                assert node.module in inside, path
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not name.startswith("dp_async._"), f"{path} reaches into {name}"
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2 or node.module in (None, "testing"), path


#: Each integration, the libraries that it alone of the package's files may know (beside the
#: consumers named), and what else of the package it stands on.
INTEGRATIONS: dict[str, tuple[set[str], set[str]]] = {
    "otel": ({"opentelemetry"}, set()),
    "arrow": ({"pyarrow", "msgspec"}, set()),
    "dlt": ({"dlt", "pyarrow", "anyio", "msgspec"}, {"arrow"}),
}


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_an_integration_uses_public_names_only(name: str) -> None:
    libraries, below = INTEGRATIONS[name]
    path = PACKAGE / f"{name}.py"
    tree = ast.parse(path.read_text())
    own = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert {(node.level, node.module) for node in own} <= {(1, None), *((1, to) for to in below)}
    direct = {alias.name for node in own if not node.module for alias in node.names}
    assert direct <= {*dp_async.__all__, *below}
    assert imports(path)[1] == libraries
    assert ast.get_docstring(tree)


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("opentelemetry", {"otel.py"}),
        ("pyarrow", {"arrow.py", "dlt.py", "cli/_parquet.py", "cli/_target.py"}),
        ("dlt", {"dlt.py", "cli/_target.py"}),
    ],
)
def test_a_library_is_known_where_it_is_needed(library: str, files: set[str]) -> None:
    users = {path for path in PACKAGE.rglob("*.py") if library in imports(path)[1]}
    assert users == {PACKAGE / file for file in files}


@pytest.mark.parametrize("name", CORE)
def test_every_core_file_has_a_test_file(name: str) -> None:
    found = [*ROOT.glob(f"tests/unit/test{name}.py"), *ROOT.glob(f"tests/wire/test{name}.py")]
    assert found, f"no tests/unit/test{name}.py"


@pytest.mark.parametrize("name", CORE)
def test_every_core_file_opens_with_its_job(name: str) -> None:
    assert ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text()))


def test_nothing_else_stands_at_the_top() -> None:
    allowed = {"pyproject.toml", "README.md", "CHANGELOG.md", "dp_async", "tests", "benchmarks"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - {"build", "dist"} <= allowed
