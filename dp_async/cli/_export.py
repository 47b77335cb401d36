"""One list, from the server to the output: its format, its place, and the final summary.

Knows no flag and no list by name.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Raw, Struct

from dp_async import BadItem, Client, ConfigError, CrawlReport, Listing

from ._formats import Csv, Format, FormatName, Ndjson, Table
from ._output import opened, replaceable
from ._progress import counted, named, progress_bar, summary
from ._run import Exit, say
from ._signals import signals
from ._since import Kept
from ._text import visible

T = TypeVar("T")
R = TypeVar("R", bound=Struct)

#: The format of a file by its ending.
ENDINGS: dict[str, FormatName] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
#: The width of a table that is not written to a terminal.
PLAIN_WIDTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the rows go and in which format; without a *format*, ``chosen`` picks one.

    *since*: the file of the watermark, to write only what changed. Raises ConfigError for an ending
    of *output* that is no format, and for two files that are the same.
    """

    format: FormatName | None = None
    output: Path | None = None
    since: Path | None = None
    limit: int | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.output is None:
            return
        ending = self.output.suffix
        if self.format is None and ending and ending.lower() not in ENDINGS:
            raise ConfigError(
                f"--output: {ending} is no format that this command writes; use "
                f"{', '.join(ENDINGS)}, or say which with --format"
            )
        if self.since is not None and self.since.resolve() == self.output.resolve():
            raise ConfigError("--since and --output must be two files: one keeps the watermark")

    @property
    def on_terminal(self) -> bool:
        """Whether the rows go to a terminal."""
        return self.output is None and sys.stdout.isatty()

    @property
    def to_file(self) -> bool:
        """Whether the rows go to a file. The reader of a pipe may show them on this terminal, where
        they would mix with a progress bar.
        """
        if self.output is not None:
            return replaceable(self.output)
        try:
            return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
        except (AttributeError, OSError, ValueError):  # no descriptor, as in a notebook, or closed
            return False

    @property
    def chosen(self) -> FormatName:
        """The given format; else by the file's ending; else table on a terminal, else ndjson."""
        if self.format is not None:
            return self.format
        if self.output is not None and (known := ENDINGS.get(self.output.suffix.lower())):
            return known
        return "table" if self.on_terminal else "ndjson"


async def export(client: Client, listing: Listing[R], model: type[R], target: Target) -> Exit:
    """Write every row of *client*'s *listing* to *target*, page by page; the exit code."""
    match target.chosen:
        case "parquet":
            report, bad = await _copy(listing, _parquet(model, target), target)
        case "ndjson":
            report, bad = await _copy(listing.typed(Raw), Ndjson(), target)
        case "csv":
            report, bad = await _copy(listing, Csv(model), target)
        case _:
            cells = shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns
            report, bad = await _copy(listing, Table(model, cells), target)
    for line in named(bad):
        say(line)
    if target.verbose or sys.stderr.isatty() or report.complete is False or bad:
        say(summary(report, client))
    return Exit.BAD_ROWS if bad else Exit.OK


def _parquet(model: type[R], target: Target) -> Format[R]:
    """The Parquet format. Raises ConfigError on a terminal and without pyarrow."""
    if target.on_terminal:
        raise ConfigError("--format parquet is not for a terminal: use --output FILE")
    try:
        from ._parquet import Parquet
    except ImportError:
        problem = "--format parquet needs pyarrow, an extra: pip install 'dp_async[arrow]'"
    else:
        return Parquet(model)
    raise ConfigError(problem)


async def _copy(
    listing: Listing[T], rows: Format[T], target: Target
) -> tuple[CrawlReport, list[BadItem]]:
    """The report of the crawl, and the rows that could not be read."""
    shown = sys.stderr.isatty() and target.to_file
    written = 0

    def interrupted() -> str:
        line = f"interrupted after {counted(written, 'row')}"
        if file is not None:
            line += f"; {visible(str(file))} was not written"
        if kept is not None:
            line += f"; {visible(str(kept.file))} is as it was, so the next run writes them again"
        return line

    file = target.output if target.output is not None and replaceable(target.output) else None
    kept = None if target.since is None else Kept(target.since)
    with signals().saying(interrupted):
        with (
            opened(target.output) as output,
            progress_bar("rows", shown=shown, limit=target.limit, whole=kept is None) as progress,
        ):
            if kept is None:
                crawling = listing.crawl(progress=progress)
            else:
                crawling = kept.begin(partial(listing.since, progress=progress))
            async with crawling as crawl:
                async for page in crawl.pages():
                    await output.write(rows.page(page.content))
                    written += len(page.content)
                await output.write(rows.end())
        if kept is not None:  # after the rows: what was not written comes again
            kept.replace(crawl.watermark)
    return crawl.report, crawl.bad_items
