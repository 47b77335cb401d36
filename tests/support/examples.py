"""The documentation's code and text: README and the chapters of ``dp_async.guide``."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import dp_async.guide

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _chapter(name: str) -> str:
    text = importlib.import_module(f"dp_async.guide.{name}").__doc__
    assert text is not None
    return text


#: The text of each chapter of the guide, by its name.
GUIDE = {each.name: _chapter(each.name) for each in pkgutil.iter_modules(dp_async.guide.__path__)}


def code_in(text: str) -> list[str]:
    """The Python blocks of a Markdown *text*."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def prose_of(text: str) -> str:
    """A Markdown *text* without its blocks of code, inline code and targets of links."""
    return re.sub(r"```.*?```|``.*?``|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)


#: Each block of code by its place, such as ``README-2`` and ``web-0``.
CODE = {
    f"{place}-{number}": code
    for place, text in {"README": README, **GUIDE}.items()
    for number, code in enumerate(code_in(text))
}


def example(holding: str) -> str:
    """The only block of the guide and README that contains *holding*."""
    (code,) = (code for code in CODE.values() if holding in code)
    return code
