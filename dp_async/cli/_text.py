"""Text for a terminal: control characters escaped, cut and padded to cells. No stream, no data."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

#: Unicode categories that control a terminal: control, format, surrogate, line separators.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """*text* with each character that could control a terminal as its escape."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in UNSEEN else char
        for char in text
    )


def width(text: str) -> int:
    """The cells *text* takes up: a Chinese character takes two."""
    return cell_len(text)


def fit(text: str, cells: int) -> str:
    """*text* in exactly *cells* cells, cut with … if it does not fit."""
    if cell_len(text) > cells:
        text = set_cell_size(text, cells - 1) + "…"
    return set_cell_size(text, cells)


def line(texts: Sequence[str], widths: Sequence[int]) -> str:
    """One row of a table, with a line break."""
    cells = (fit(text, cells) for text, cells in zip(texts, widths, strict=True))
    return " ".join(cells).rstrip() + "\n"
