"""Splits an answer into its rows where a decoder cannot, and reads the id of such a row.

Pure. A decoder stops at the first byte it refuses, and then does not know where that row ends.
Here only brackets and strings are matched, by the grammar of JSON (RFC 8259); what is in a row may
be anything.
"""

from __future__ import annotations

import json
from itertools import islice

from msgspec import Raw

from .._json import CLOSING, MOST_TOKENS, TOKEN
from .._models import Json

_BLANK = b" \t\r\n"
_ROWS = [b"", b'"data"', b'"content"']  # the keys on the way to the rows
_INT64 = range(-(2**63), 2**63)


def split(answer: bytes) -> tuple[Raw, list[Raw]] | None:
    """*answer* with null for each row, and the rows; None if its brackets do not match.

    None also without ``$.data.content``, with two of them, for a row of no bytes, and for too many
    tokens.
    """
    opened: list[bytes] = []  # what closes each open bracket
    path: list[bytes] = []  # the key of each open bracket, empty in an array
    rows: list[bytes] = []
    first = last = start = 0
    key = before = b""
    for match in islice(TOKEN.finditer(answer), MOST_TOKENS):
        token = match[0]
        in_rows = path == _ROWS and opened[-1] == b"]"
        if token in CLOSING:
            opened.append(CLOSING[token])
            path.append(key)
            if path == _ROWS and token == b"[":
                if first:
                    return None
                first = start = match.end()
            key = b""
        elif token in (b"}", b"]"):
            if not opened or opened.pop() != token:
                return None
            path.pop()
            if in_rows:
                last = match.start()
                rows.append(answer[start:last].strip(_BLANK))
        elif token == b",":
            key = b""
            if in_rows:
                rows.append(answer[start : match.start()].strip(_BLANK))
                start = match.end()
        elif token == b":":
            key = before
        elif token == b'"':
            return None
        before = token
    if rows == [b""]:
        rows = []
    if opened or not last or b"" in rows:
        return None
    nulls = b",".join([b"null"] * len(rows))
    return Raw(answer[:first] + nulls + answer[last:]), list(map(Raw, rows))


def row_id(row: Raw, name: str) -> int | None:
    """The id of *row*, sent as *name*, whatever its other fields hold; None if it has none."""
    try:
        # Python's decoder takes half a surrogate pair and control characters, unlike msgspec.
        fields: Json = json.loads(str(row, "utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    number = fields.get(name) if isinstance(fields, dict) else None
    return number if type(number) is int and number in _INT64 else None
