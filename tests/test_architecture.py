"""The structure holds: imports point down, one file knows aiohttp, each module has a test file.

Everything is read off the syntax trees and the folders; nothing is imported from the package.
"""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dp_async

ROOT = Path(__file__).parent.parent
PACKAGE = Path(dp_async.__file__).parent  # which may be an installed wheel

#: The layer of each private module and folder. An import goes to a lower layer, or stays in its
#: own folder, or, among the files of one layer that lie in no folder, follows no circle.
LAYERS = {
    "_checks": 0,
    "_errors": 0,
    "_http": 0,
    "_json": 0,
    "_misuse": 0,
    "_models": 0,
    "_pydantic": 0,
    "_settings": 0,
    "_times": 0,
    "_version": 0,
    "_page": 1,
    "_proof": 1,
    "_call": 2,
    "_plan": 2,
    "_crawl": 3,
    "_accounts": 4,
    "_client": 4,
    "_listing": 4,
    "_runtime": 4,
    "_watch": 4,
    "_public": 5,
}

#: Lower folders that a folder may not import all the same.
APART = {("_call", "_page"), ("_call", "_proof"), ("_crawl", "_proof")}

#: The libraries that each module or folder may import.
THIRD_PARTY = {
    "_http": {"msgspec"},
    "_json": {"msgspec"},
    "_models": {"msgspec"},
    "_pydantic": {"msgspec", "pydantic_core"},
    "_page": {"msgspec"},
    "_proof": {"msgspec"},
    "_times": {"msgspec"},
    "_call": {"aiohttp", "msgspec", "yarl"},
    "_plan": {"msgspec"},
    "_crawl": {"anyio", "msgspec"},
    "_client": {"msgspec"},
    "_listing": {"msgspec"},
}

#: The consumers of the public names, the libraries each may import, and the consumers below it.
CONSUMERS: dict[str, tuple[set[str], set[str]]] = {
    "arrow": ({"pyarrow", "msgspec"}, {"tables"}),
    "cli": (
        {"anyio", "cyclopts", "dlt", "msgspec", "psycopg2", "pyarrow", "rich"},
        {"arrow", "delta", "dlt", "ray", "tables", "testing"},
    ),
    "delta": ({"anyio", "deltalake", "msgspec", "pyarrow"}, {"tables"}),
    "dlt": ({"dlt", "pyarrow", "anyio", "msgspec"}, {"tables"}),
    "guide": (set(), set()),
    "otel": ({"opentelemetry"}, set()),
    "ray": ({"anyio", "ray"}, {"delta", "tables"}),
    "redis": ({"redis"}, set()),
    "tables": ({"pyarrow", "msgspec"}, set()),
    "testing": (
        {"aiohttp", "anyio", "msgspec", "multidict", "pytest", "pytest_asyncio"},
        set(),
    ),
}

FILES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")
)
CORE = [name for name in FILES if name.startswith("_") and not name.endswith("__init__")]


def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{name}.py").read_text())


def imports(name: str) -> tuple[set[str], set[str]]:
    """What file *name* imports, anywhere in it: names of own files, and of third parties."""
    own: set[str] = set()
    foreign: set[str] = set()
    place = name.split("/")[:-1]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = place[: len(place) - node.level + 1]
            module = "/".join([*base, *(node.module or "").split(".")]).strip("/")
            targets = [f"{module}/{alias.name}".strip("/") for alias in node.names]
            own |= {target if target in FILES else module for target in targets}
        elif isinstance(node, ast.ImportFrom):
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
    return own, foreign - sys.stdlib_module_names


def folder_of(name: str) -> str:
    """The folder of file *name*, or the file itself where it lies in none."""
    return name.split("/")[0]


def test_every_core_file_has_a_layer() -> None:
    assert {folder_of(name) for name in CORE} == set(LAYERS)


@pytest.mark.parametrize("name", CORE)
def test_imports_point_down(name: str) -> None:
    here = folder_of(name)
    for other in imports(name)[0]:
        there = folder_of(other)
        if there == here:
            continue
        assert (here, there) not in APART, f"{name} imports {other}"
        beside = LAYERS[there] == LAYERS[here] and there == other and here == name
        assert beside or LAYERS[there] < LAYERS[here], f"{name} imports {other}"


def test_nothing_imports_in_a_circle() -> None:
    graph = {name: imports(name)[0] & set(CORE) for name in CORE}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError for a circle


@pytest.mark.parametrize("name", CORE)
def test_a_library_is_imported_where_it_is_needed(name: str) -> None:
    foreign = imports(name)[1]
    assert foreign <= THIRD_PARTY.get(folder_of(name), set())
    if name != "_call/transport":
        assert not foreign & {"aiohttp", "yarl"}


@pytest.mark.parametrize("name", [name for name in FILES if folder_of(name) in CONSUMERS])
def test_consumers_use_public_names_only(name: str) -> None:
    own, foreign = imports(name)
    libraries, below = CONSUMERS[folder_of(name)]
    assert foreign - {"dp_async"} <= libraries
    for other in own - {"", "__init__"}:
        assert folder_of(other) == folder_of(name) or folder_of(other) in below, (
            f"{name} imports {other}"
        )
        private = [part for part in other.split("/")[1:] if part.startswith("_")]
        assert folder_of(other) == folder_of(name) or not private, f"{name} reaches into {other}"
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if node.level == len(name.split("/")) and not node.module:  # the package itself
                names = {alias.name for alias in node.names}
                assert names <= {*dp_async.__all__, *below, "__version__"}, name
        else:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not any(module.startswith("dp_async._") for module in modules), name


@pytest.mark.parametrize("name", CORE)
def test_every_core_file_has_a_test_file(name: str) -> None:
    *folder, module = name.split("/")
    unit = "/".join([*(part.strip("_") for part in folder), f"test_{module.strip('_')}.py"])
    found = [ROOT / "tests/unit" / unit, ROOT / f"tests/wire/test_{module.strip('_')}.py"]
    assert any(path.exists() for path in found), f"no tests/unit/{unit}"


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("_version")])
def test_every_file_opens_with_its_job(name: str) -> None:
    assert ast.get_docstring(tree(name))


def test_nothing_else_stands_at_the_top() -> None:
    allowed = {"pyproject.toml", "README.md", "CHANGELOG.md", "dp_async", "tests", "benchmarks"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - {"build", "dist"} <= allowed
