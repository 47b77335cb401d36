"""Rows as NDJSON, CSV or a table: from the items of a page to bytes. No stream, no network.

NDJSON is lossless: each line is the object as the server sent it, with unknown fields, number
formats and escapes. CSV and the table hold the documented fields under their Python names; fields
that all lists have come last. CSV changes no value, also if a spreadsheet would take it for a
formula (``=``, ``+``, ``-``, ``@``): import such columns as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from ._text import line, visible, width

FormatName: TypeAlias = Literal["table", "ndjson", "csv", "parquet"]

ItemT = TypeVar("ItemT", contravariant=True)

#: The types of values that csv writes as ``_cell`` does.
_PLAIN = {str, int, type(None)}
#: A column of the table that is wider may be cut to so many cells, so that more columns fit.
CUT = 24
#: The maximum width of a column. One is left out if all its values are longer, or are addresses: a
#: URL that is cut is of no use.
WIDEST = 60


class Format(Protocol[ItemT]):
    """Turns pages into bytes, in order; may keep state, such as column widths."""

    def page(self, items: Sequence[ItemT]) -> bytes:
        """The bytes of the next page."""
        ...

    def end(self) -> bytes:
        """The bytes after the last page."""
        ...


class Ndjson:
    """One compact JSON object per line."""

    def page(self, items: Sequence[Raw]) -> bytes:
        # The server may pretty-print; a line break inside an object would split the line.
        return b"".join(msgspec.json.format(bytes(item), indent=-1) + b"\n" for item in items)

    def end(self) -> bytes:
        return b""


class Csv:
    """UTF-8 CSV with a header (RFC 4180); null is an empty field."""

    def __init__(self, model: type[Struct]) -> None:
        self._columns = columns(model)
        self._header = [self._columns]

    def page(self, items: Sequence[Struct]) -> bytes:
        # By columns, since most need no ``_cell``: csv writes their values in C.
        fields = (_writable([getattr(item, name) for item in items]) for name in self._columns)
        rows = [*self._header, *zip(*fields, strict=True)]
        self._header = []
        return _comma_separated(rows)

    def end(self) -> bytes:
        return _comma_separated(self._header)


class Table:
    """Aligned columns for a terminal of *cells*; the first page decides which and their widths.

    *least*: the least width of a column, where the first page does not show what later ones hold.
    """

    def __init__(self, model: type[Struct], cells: int, least: int = 1) -> None:
        self._all = columns(model)
        self._cells = cells
        self._least = least
        self._widths: dict[str, int] = {}

    def page(self, items: Sequence[Struct]) -> bytes:
        rows = [[visible(cell) for cell in cells(item, self._all)] for item in items]
        texts: list[str] = []
        if rows and not self._widths:
            self._widths = _widths(self._all, rows, self._cells, self._least)
            texts = _heading(self._widths)
        shown = [self._all.index(name) for name in self._widths]
        widths = list(self._widths.values())
        texts += (line([row[place] for place in shown], widths) for row in rows)
        return "".join(texts).encode()

    def end(self) -> bytes:
        if not self._widths:
            return b"(no rows)\n"
        left_out = ", ".join(name for name in self._all if name not in self._widths)
        if not left_out:
            return b""
        return f"(not shown: {left_out}; --format csv has every field)\n".encode()


def columns(model: type[Struct]) -> list[str]:
    """The fields of *model*: its own first, then those that all lists have."""
    return sorted(model.__struct_fields__, key=lambda name: name not in model.__annotations__)


def cells(item: Struct, names: Iterable[str]) -> list[str]:
    """The named fields of *item* as text: null is empty, an object is JSON."""
    return [_cell(getattr(item, name)) for name in names]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str | datetime):
        return str(value)  # a time has the format it was sent in
    return msgspec.json.encode(value).decode()


def _writable(values: list[object]) -> Sequence[object]:
    """*values*, or their texts where csv would write others."""
    return values if {*map(type, values)} <= _PLAIN else [*map(_cell, values)]


def _comma_separated(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _widths(
    names: Sequence[str], rows: Sequence[Sequence[str]], cells: int, least: int
) -> dict[str, int]:
    """The columns that fit and their widths, in the order of *names*; the first one always does.

    They are taken by rank: the id, when it changed, what the list has of its own, then the rest.
    What is left of the line widens those that are cut.
    """
    wanted: dict[str, int] = {}
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        found = [width(cell) for cell in column if cell]
        if found and min(found) <= WIDEST and not any("://" in cell for cell in column):
            wanted[name] = min(max(least, *found, *map(width, _words(name))), WIDEST)
    ranked = sorted(wanted, key=lambda name: (name != names[0], name != "update_time"))
    chosen: dict[str, int] = {}
    left = cells
    for name in ranked:
        taken = min(wanted[name], CUT)
        left -= taken + 1
        if chosen and left < -1:  # no blank after the last column
            left += taken + 1
            break
        chosen[name] = taken
    for name in chosen:
        more = max(0, min(wanted[name] - chosen[name], left + 1))
        chosen[name] += more
        left -= more
    return {name: chosen[name] for name in names if name in chosen}


def _heading(widths: dict[str, int]) -> list[str]:
    """The names of the columns, folded to their widths, and a rule below."""
    words = [_folded(name, cells) for name, cells in widths.items()]
    height = max(map(len, words))
    padded = [[""] * (height - len(name)) + name for name in words]
    rule = ["-" * cells for cells in widths.values()]
    return [line(texts, list(widths.values())) for texts in [*zip(*padded, strict=True), rule]]


def _folded(name: str, cells: int) -> list[str]:
    """*name* in lines of at most *cells*, broken after its underscores."""
    lines = [""]
    for word in _words(name):
        if len(lines[-1]) + len(word) > cells and lines[-1]:
            lines.append("")
        lines[-1] += word
    return lines


def _words(name: str) -> list[str]:
    return name.replace("_", "_\n").split("\n")
