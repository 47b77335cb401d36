"""``watch``: the rows of one list as they come, one by one, until a signal.

Knows no flag and no list by name.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Raw, Struct

from dp_async import BadItem, Listing

from ._export import PLAIN_WIDTH
from ._formats import Csv, Format, Ndjson, Table
from ._output import standard_output
from ._progress import counted
from ._run import Exit, say
from ._signals import signals
from ._since import Kept

T = TypeVar("T")
R = TypeVar("R", bound=Struct)

#: The least width of a column: the first row alone does not show what later ones hold.
LEAST = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How a list is watched: a poll *every* so many seconds, *since* the watermark in a file.

    *format*: without it, a table on a terminal and ndjson elsewhere.
    """

    every: float
    since: Path | None = None
    format: Literal["table", "ndjson", "csv"] | None = None
    keep_bad: bool = False


async def watch(listing: Listing[R], model: type[R], feed: Feed) -> Exit:
    """Write the rows of *listing* that are new or were updated to standard output, for ever.

    Raises DpError for what does not pass by itself; what does is said, and tried again.
    """
    match feed.format or ("table" if sys.stdout.isatty() else "ndjson"):
        case "ndjson":
            await _followed(listing.typed(Raw), Ndjson(), feed)
        case "csv":
            await _followed(listing, Csv(model), feed)
        case _:
            cells = shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns
            await _followed(listing, Table(model, cells, LEAST), feed)
    return Exit.OK


async def _followed(listing: Listing[T], rows: Format[T], feed: Feed) -> None:
    output, written = standard_output(), 0
    kept = None if feed.since is None else Kept(feed.since)
    begun = partial(listing.watch, feed.every, on_bad_item=_left_out if feed.keep_bad else None)
    watching = begun() if kept is None else kept.begin(lambda mark: begun(since=mark))
    with signals().saying(lambda: f"interrupted after {counted(written, 'row')}"), _warnings():
        async with watching:
            try:
                async for item in watching:
                    await output.write(rows.page([item]))
                    written += 1
                    if kept is not None:
                        kept.replace(watching.watermark)
            finally:  # polls without a row advance it too
                if kept is not None:
                    kept.replace(watching.watermark)


def _left_out(bad: BadItem) -> None:
    say(f"left out, on page {bad.page_num}: {bad.problem}")


class _Said(logging.Handler):
    """Says what the library warns of, as that a poll failed and when the next one is."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def _warnings() -> Generator[None]:
    logger, handler = logging.getLogger("dp_async"), _Said(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
