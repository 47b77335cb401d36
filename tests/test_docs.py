"""README's command builds a reference that has every public name and no broken link."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

import dp_async
from tests.support.extras import LIBRARIES

ROOT = Path(__file__).parent.parent
COMMAND = re.search(r"^\$ pdoc (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
PACKAGE = Path(dp_async.__file__).parent


def public_modules() -> set[str]:
    """The modules to import names from: all that lie in the package, but the command line."""
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    names = {name for name in found if not name.startswith("_")} - {"cli"}
    return {"dp_async", *(f"dp_async.{name}" for name in names)}


def documented() -> list[str]:
    assert COMMAND is not None
    return [word for word in shlex.split(COMMAND[1]) if word.startswith("dp_async")]


def test_the_command_names_every_public_module() -> None:
    assert set(documented()) == public_modules()


@pytest.mark.parametrize("module", documented())
def test_every_public_name_has_a_docstring(module: str) -> None:
    if library := LIBRARIES.get(module.rpartition(".")[2]):
        pytest.importorskip(library)
    public = importlib.import_module(module)
    assert public.__doc__
    for name in getattr(public, "__all__", ()):  # the guide is text alone
        value = getattr(public, name)
        if not isinstance(value, type):
            assert not inspect.isroutine(value) or value.__doc__, name
            continue
        assert value.__doc__, name
        for member, held in vars(value).items():
            if not member.startswith("_") and (callable(held) or isinstance(held, property)):
                assert inspect.getdoc(getattr(value, member)), f"{name}.{member}"


@pytest.mark.slow  # imports dlt
@pytest.mark.skipif(
    importlib.util.find_spec("pdoc") is None, reason="pdoc is not installed: pip install '.[docs]'"
)
def test_the_site_has_every_name_and_no_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pdoc", "-o", str(tmp_path), *documented()]
    environment = {**os.environ, "PDOC_ALLOW_EXEC": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Warn" not in done.stderr, done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    for module in documented():
        page = tmp_path / f"{module.replace('.', '/')}.html"
        missing = {*getattr(importlib.import_module(module), "__all__", ())} - anchors[page]
        assert not missing, f"{module}: {missing}"
    broken: set[str] = set()
    for path, text in pages.items():
        for link in map(unescape, re.findall(r'\bhref="([^"]+)"', text)):
            if re.match(r"https?:|data:|\$", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if target not in pages or (anchor and anchor not in anchors[target]):
                broken.add(f"{path.name}: {link}")
    assert not broken, "\n".join(sorted(broken))
