"""How far a list is known: the newest time it showed, and the rows of its newest seconds.

Pure: a value, its text, and the list it belongs to. ``changes`` makes and uses it.
"""

# No postponed annotations: msgspec would look for their names in the public module.
import re
from collections.abc import Iterable
from typing import Annotated, Self, TypeAlias

import msgspec
from msgspec import Meta, Struct

from .._errors import ConfigError

VERSION = 1
_SCOPE = re.compile(r"[0-9a-f]{24}")

Known: TypeAlias = tuple[int, int, int]
"""A row that was delivered: its id, its update time, a digest of what was delivered."""


class Watermark(Struct, frozen=True, kw_only=True, rename={"version": "v", "scope": "list"}):
    """How far a list was delivered: keep it, and pass it to ``since`` for what changes later.

    - *updated*: the newest update time as a crawl began that was not later than the server's clock,
      in seconds as the server writes them, without an offset; 0 before any row was seen.
    - *keys*: the rows delivered with a time of the last seconds before that, or a newer one.
    - *scope*: a digest of the address, the app, the account, the list and its filters.

    It holds no secret.
    """

    version: int = VERSION
    scope: str
    updated: Annotated[int, Meta(ge=0, le=2**53)]
    keys: tuple[Known, ...] = ()

    def to_json(self) -> str:
        """Its text, for ``from_json``. Equal watermarks have the same text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The watermark in *text*. Raises ConfigError for one that is damaged."""
        try:
            mark = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, TypeError, UnicodeError, RecursionError) as error:
            problem = f"this is not a watermark, or it is damaged: {error}"
        else:
            if mark.version != VERSION:
                problem = "this watermark is of another version of this library"
            elif not _SCOPE.fullmatch(mark.scope):
                problem = "this watermark is damaged: `list` is not what it was"
            else:
                return mark
        raise ConfigError(f"{problem}; begin again with since(None), and keep its watermark")

    @classmethod
    def start(cls, scope: str) -> Self:
        """The watermark of a list of which nothing is known: every row is new."""
        return cls(scope=scope, updated=0)

    @classmethod
    def at(cls, scope: str, updated: int, keys: Iterable[Known]) -> Self:
        """A watermark of *keys*, given in any order."""
        return cls(scope=scope, updated=updated, keys=tuple(sorted(keys)))

    def of(self, scope: str) -> Self:
        """This watermark. Raises ConfigError if it belongs to another list than *scope*."""
        if self.scope != scope:
            raise ConfigError(
                "the watermark is of another list: base_url, app_id, account, the list and its "
                "filters must be the same"
            )
        return self
