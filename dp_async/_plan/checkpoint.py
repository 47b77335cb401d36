"""Where a crawl stands, as an opaque, versioned text that belongs to one list.

Pure. It holds counts, an id and a time, and a digest of the query; no secret, no filter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from .._errors import ConfigError

PREFIX = "dp1."  # another layout gets another number
_CHECK = 4


class Checkpoint(Struct, frozen=True, kw_only=True, array_like=True):
    """*pages* pages of *size* rows were delivered, in order, of a list with this total and head.

    *scope* is the digest of the list. *head* is the id and update time (whole seconds) of its first
    row, None for an empty list.
    """

    scope: str
    size: int
    pages: int
    total: int
    head: tuple[int, int] | None
    unique: int


_decoder = msgspec.json.Decoder(Checkpoint)


def scope_of(parts: Iterable[str]) -> str:
    """A digest of *parts*, which tell one list from another."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def written(checkpoint: Checkpoint) -> str:
    """*checkpoint* as text: letters, digits, ``-``, ``_`` and one dot."""
    body = msgspec.json.encode(checkpoint)
    return PREFIX + base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")


def read(text: object, scope: str) -> Checkpoint:
    """The checkpoint in *text*. Raises ConfigError for a damaged one, or one of another list."""
    if not isinstance(text, str) or not text.startswith("dp"):
        raise ConfigError(
            "resume is not a checkpoint of this library: give it the text of crawl.checkpoint()"
        )
    if not text.startswith(PREFIX):
        raise ConfigError("resume is a checkpoint of another version of this library: start anew")
    code = text.removeprefix(PREFIX)
    damaged = ConfigError("resume is damaged: start anew without it")
    try:
        raw = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise damaged from None
    body = raw[_CHECK:]
    if raw[:_CHECK] != _check(body):
        raise damaged
    try:
        checkpoint = _decoder.decode(body)
    except msgspec.MsgspecError:  # of another version, under the same prefix
        raise damaged from None
    if checkpoint.scope != scope:
        raise ConfigError(
            "resume is a checkpoint of another list: base_url, app_id, account, the list and its "
            "filters must be the same"
        )
    return checkpoint


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
