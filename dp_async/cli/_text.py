"""Text for eyes: made harmless, cut and padded to the cells of a terminal. No stream, no data."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

#: Control and format characters, line separators, halves of a pair: they steer, they do not show.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """*text* with every character that would steer a terminal shown as its escape."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in UNSEEN else char
        for char in text
    )


def width(text: str) -> int:
    """The cells *text* takes up: a Chinese character takes two."""
    return cell_len(text)


def fit(text: str, cells: int) -> str:
    """*text* in exactly so many cells, its end replaced by … if it does not fit."""
    if cell_len(text) > cells:
        text = set_cell_size(text, cells - 1) + "…"
    return set_cell_size(text, cells)


def line(texts: Sequence[str], widths: Sequence[int]) -> str:
    """One row of a table, a line break included."""
    cells = (fit(text, cells) for text, cells in zip(texts, widths, strict=True))
    return " ".join(cells).rstrip() + "\n"
