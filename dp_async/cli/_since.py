"""The file of ``--since``: the watermark of one list, read before a crawl and replaced after it.

Knows no list. It is replaced atomically, and only once the rows before it are written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dp_async import ConfigError, Watermark

from ._files import part_file
from ._output import naming

T = TypeVar("T")


class Kept:
    """The watermark in a *file*; None while there is no such file. Raises ConfigError."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.watermark: Watermark | None = None
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            if not file.resolve().parent.is_dir():
                raise ConfigError(f"--since {file}: there is no such folder") from None
            return
        except OSError as error:
            problem = f"{error.strerror}; name a file that this user may read and replace"
        else:
            try:
                self.watermark = Watermark.from_json(text)
                return
            except ConfigError:
                problem = (
                    "it is not a watermark of this version, or is damaged; remove it, and the "
                    "next run reads all rows"
                )
        raise ConfigError(f"--since {file}: {problem}")

    def begin(self, crawl: Callable[[Watermark | None], T]) -> T:
        """What *crawl* makes of the watermark; its ConfigError names the file."""
        try:
            return crawl(self.watermark)
        except ConfigError as error:
            problem = f"--since {self.file}: {error}"
        raise ConfigError(problem)

    def replace(self, watermark: Watermark | None) -> None:
        """Write *watermark* to the file, unless it is None or there already. Raises OSError."""
        if watermark in (None, self.watermark):
            return
        assert watermark is not None
        with naming(str(self.file)), part_file(self.file.resolve()) as (_, part):
            part.write_text(watermark.to_json() + "\n")
        self.watermark = watermark
