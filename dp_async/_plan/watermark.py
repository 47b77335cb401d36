"""How far a list was delivered: the newest time it showed, and what is remembered of its rows.

Pure: a value, its text, and the list it belongs to. ``changes`` makes and uses it.
"""

# No postponed annotations: msgspec would look for their names in the public module.
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from .._errors import ConfigError
from .known import SHORT, Crowd, Number

VERSION = 2
_SCOPE = re.compile(r"[0-9a-f]{24}")
_BYTES = SHORT.bit_length() // 8


class _Versioned(Struct, rename={"version": "v"}):
    version: int


class Watermark(Struct, frozen=True, kw_only=True, rename={"version": "v", "scope": "list"}):
    """How far a list was delivered: keep it, and pass it to ``since`` for what changes later.

    - *updated*: the newest update time as a crawl began that was not later than the server's clock,
      in seconds as the server writes them, without an offset; 0 before any row was seen.
    - *scope*: a digest of the address, the app, the account, the list and its filters.

    The rest is for the library. It holds no secret, and its text has at most 2,000 characters.
    """

    version: int = VERSION
    scope: str
    updated: Number
    compared: Annotated[int, Meta(ge=-(2**53), le=2**53)] = 0
    """All rows of this place in the list's order, or a newer one, are remembered."""
    recent: Number = 0
    """How many of them are at most the allowed lateness older than *updated*."""
    by_create: bool = True
    """Whether the list may be sorted by create time."""
    rows: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]*$")] = ""
    """Digests of single rows, newest first: their bytes as base64."""
    crowds: tuple[Crowd, ...] = ()

    @property
    def digests(self) -> list[int]:
        """The digests of single rows, newest first."""
        text = b64decode(self.rows)
        return [int.from_bytes(text[at : at + _BYTES]) for at in range(0, len(text), _BYTES)]

    def to_json(self) -> str:
        """Its text, for ``from_json``. Equal watermarks have the same text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The watermark in *text*. Raises ConfigError for one that is damaged, or out of date."""
        try:
            if msgspec.json.decode(text, type=_Versioned).version != VERSION:
                problem = "this watermark is of another version of this library"
            else:
                mark = msgspec.json.decode(text, type=cls)
                if _SCOPE.fullmatch(mark.scope) and len(mark.rows) % (_BYTES * 4 // 3) == 0:
                    return mark
                problem = "this watermark is damaged: `list` or `rows` is not what it was"
        except (msgspec.DecodeError, TypeError, UnicodeError, RecursionError) as error:
            problem = f"this is not a watermark, or it is damaged: {error}"
        raise ConfigError(f"{problem}; begin again with since(None), and keep its watermark")

    @classmethod
    def start(cls, scope: str) -> Self:
        """The watermark of a list of which nothing is known: every row is new."""
        return cls(scope=scope, updated=0)

    @classmethod
    def at(
        cls,
        scope: str,
        updated: int,
        digests: Iterable[int],
        crowds: Iterable[Crowd] = (),
        *,
        compared: int,
        recent: int,
        by_create: bool = True,
    ) -> Self:
        """A watermark that remembers rows by *digests*, newest first, and by *crowds*."""
        text = b"".join((digest & SHORT).to_bytes(_BYTES) for digest in digests)
        return cls(
            scope=scope,
            updated=updated,
            compared=compared,
            recent=recent,
            by_create=by_create,
            rows=b64encode(text).decode(),
            crowds=tuple(crowds),
        )

    def of(self, scope: str) -> Self:
        """This watermark. Raises ConfigError if it belongs to another list than *scope*."""
        if self.scope != scope:
            raise ConfigError(
                "the watermark is of another list: base_url, app_id, account, the list and its "
                "filters must be the same"
            )
        return self
