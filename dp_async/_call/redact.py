"""Blots out of a server's words what no client may show: it may repeat what it was sent.

Pure. Only for texts that end up in an error; nothing that is sent or decoded goes through here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote

import msgspec

from .._http import Request

REDACTED = "***"

#: Headers whose values are no secret, and help where a server repeats them.
_PLAIN = {"accept", "app_id", "content-type", "req_from", "timestamp", "user-agent"}
_PAGING = {"pageNum", "pageSize"}
_SIMPLE = re.compile(r"[0-9A-Za-z-]*")
_MD5 = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])")


class Secrets:
    """Words that nobody may ever read. They do not show in its ``repr`` either."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.words = words


def redacted(text: str, request: Request, secrets: Secrets) -> str:
    """*text*, printable, without the *secrets* and without what *request* says of its sender and
    of its filters, however it is written. Of an account the last 4 digits stay.
    """
    words = {word for word in (*secrets.words, *_said(request)) if len(word) > 1}
    text = printable(text)
    if _SIMPLE.fullmatch(text):  # no other way to write them fits in there: a request id, as a rule
        folded = text.casefold()
        if not any(word.casefold() in folded for word in words):
            return text
    account = request.headers.get("account", "")
    if not words:
        return text
    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join("".join(map(_written, word)) for word in longest_first)

    def instead(found: re.Match[str]) -> str:
        return f"…{account[-4:]}" if found[0] == account and len(account) > 4 else REDACTED

    return re.sub(pattern, instead, text, flags=re.IGNORECASE)


def unsigned(text: str) -> str:
    """*text* without anything that looks like a signature."""
    return _MD5.sub(REDACTED, text)


def printable(text: str) -> str:
    """*text* in one line that a terminal can show as it is."""
    return "".join(char if char.isprintable() else " " for char in text)


def _said(request: Request) -> Iterator[str]:
    """What *request* holds that is not for everybody: signatures and filters."""
    for name, value in request.headers.items():
        if name.lower() not in _PLAIN:
            yield value
            yield from (part for part in value.split() if len(part) > 5)  # Bearer, and a token
    fields: dict[str, object] = dict(parse_qsl(request.target.partition("?")[2]))
    if request.body:
        fields |= msgspec.json.decode(request.body, type=dict[str, object])
    for name, field in fields.items():
        if isinstance(field, str) and name not in _PAGING:
            yield field


def _written(char: str) -> str:
    """A pattern for the ways in which *char* may come back: as it is, percent-encoded, in JSON."""
    escaped = json.dumps(char)[1:-1]
    ways = {printable(char), quote(char, safe=""), escaped, rf"\{char}"}
    if len(escaped) == 1:
        ways.add(rf"\u{ord(char):04x}")
    if char == " ":
        ways.add("+")
    return f"(?:{'|'.join(sorted(map(re.escape, ways), key=len, reverse=True))})"
