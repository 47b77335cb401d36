"""Rows as NDJSON, CSV or a table: from the items of a page to bytes. No stream, no network.

NDJSON is lossless: each line is the server's own object, its unknown fields, numbers and escapes as
they were. CSV and the table hold the documented fields, named as in Python, those that all lists
share last. CSV alters no value: a text that a spreadsheet would take for a formula (``=``, ``+``,
``-``, ``@``) stays what it is, so import such columns as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from ._text import line, visible, width

ItemT = TypeVar("ItemT", contravariant=True)

#: A column of the table is at most this wide,
WIDEST = 24
#: and left out if nothing in it is shorter than this: an address tells nothing when it is cut.
ADDRESS = 60


class Format(Protocol[ItemT]):
    """Turns pages into bytes, one after the other; it may keep what the first page taught it."""

    def page(self, items: Sequence[ItemT]) -> bytes:
        """The next page."""
        ...

    def end(self) -> bytes:
        """What comes after the last page."""
        ...


class Ndjson:
    """One compact JSON object a line."""

    def page(self, items: Sequence[Raw]) -> bytes:
        # Compacted: the server may pretty-print, and a line break would end the line.
        return b"".join(msgspec.json.format(bytes(item), indent=-1) + b"\n" for item in items)

    def end(self) -> bytes:
        return b""


class Csv:
    """Comma-separated UTF-8 with a header, as RFC 4180 has it; null is an empty field."""

    def __init__(self, model: type[Struct]) -> None:
        self._columns = columns(model)
        self._header = [self._columns]

    def page(self, items: Sequence[Struct]) -> bytes:
        rows = [*self._header, *(cells(item, self._columns) for item in items)]
        self._header = []
        return _comma_separated(rows)

    def end(self) -> bytes:
        return _comma_separated(self._header)


class Table:
    """Aligned columns for a terminal *cells* wide; the first page decides which and how wide."""

    def __init__(self, model: type[Struct], cells: int) -> None:
        self._all = columns(model)
        self._cells = cells
        self._widths: dict[str, int] = {}

    def page(self, items: Sequence[Struct]) -> bytes:
        rows = [[visible(cell) for cell in cells(item, self._all)] for item in items]
        texts: list[str] = []
        if rows and not self._widths:
            self._widths = _widths(self._all, rows, self._cells)
            texts = _heading(self._widths)
        shown = [self._all.index(name) for name in self._widths]
        widths = list(self._widths.values())
        texts += (line([row[place] for place in shown], widths) for row in rows)
        return "".join(texts).encode()

    def end(self) -> bytes:
        if not self._widths:
            return b"(no rows)\n"
        left_out = ", ".join(name for name in self._all if name not in self._widths)
        return f"(not shown: {left_out}; --format csv has every field)\n".encode()


def columns(model: type[Struct]) -> list[str]:
    """The fields of *model*: its own first, those it shares with the other lists last."""
    return sorted(model.__struct_fields__, key=lambda name: name not in model.__annotations__)


def cells(item: Struct, names: Iterable[str]) -> list[str]:
    """The named fields of *item* as texts: null is empty, an object is JSON."""
    return [_cell(getattr(item, name)) for name in names]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str | datetime):
        return str(value)  # a time reads as it was sent
    return msgspec.json.encode(value).decode()


def _comma_separated(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], cells: int) -> dict[str, int]:
    """The columns that fit, in their order, and their widths; always at least the first."""
    chosen: dict[str, int] = {}
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        found = [width(cell) for cell in column if cell]
        if not found or min(found) > ADDRESS:
            continue
        wanted = min(max(*found, *map(width, _words(name))), WIDEST)
        if not chosen or sum(chosen.values()) + len(chosen) + wanted <= cells:
            chosen[name] = wanted
    return chosen


def _heading(widths: dict[str, int]) -> list[str]:
    """The names over their columns, one word of them a line, and a rule below."""
    words = [_folded(name, cells) for name, cells in widths.items()]
    height = max(map(len, words))
    padded = [[""] * (height - len(name)) + name for name in words]
    rule = ["-" * cells for cells in widths.values()]
    return [line(texts, list(widths.values())) for texts in [*zip(*padded, strict=True), rule]]


def _folded(name: str, cells: int) -> list[str]:
    """*name* in lines of at most so many cells, broken after its underscores."""
    lines = [""]
    for word in _words(name):
        if len(lines[-1]) + len(word) > cells and lines[-1]:
            lines.append("")
        lines[-1] += word
    return lines


def _words(name: str) -> list[str]:
    return name.replace("_", "_\n").split("\n")
