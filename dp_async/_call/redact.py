"""Redacts the server's texts: a server may repeat what it was sent, secrets and filters included.

Pure. Only for texts that end up in an error or a log; nothing that is sent or decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote

import msgspec

from .._http import Request

REDACTED = "***"

#: Headers whose values are no secret, and help in an error text.
_PLAIN = {"accept", "app_id", "content-type", "req_from", "timestamp", "user-agent"}
_PAGING = {"pageNum", "pageSize"}
_SIMPLE = re.compile(r"[0-9A-Za-z-]*")
_MD5 = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])")


class Secrets:
    """Words to redact everywhere; its ``repr`` does not show them."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.words = words


def redacted(text: str, request: Request, secrets: Secrets) -> str:
    """*text*, printable, without the *secrets*, signatures, account and filters of *request*.

    Also if they are percent-encoded, escaped or in another case. The account's last 4 digits stay.
    """
    words = {word for word in (*secrets.words, *_private(request)) if len(word) > 1}
    text = printable(text)
    if _SIMPLE.fullmatch(text):  # as most request ids: no encoded form can be in it
        folded = text.casefold()
        if not any(word.casefold() in folded for word in words):
            return text
    account = request.headers.get("account", "")
    if not words:
        return text
    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join("".join(map(_encoded, word)) for word in longest_first)

    def replacement(found: re.Match[str]) -> str:
        return f"…{account[-4:]}" if found[0] == account and len(account) > 4 else REDACTED

    return re.sub(pattern, replacement, text, flags=re.IGNORECASE)


def unsigned(text: str) -> str:
    """*text* without anything of the form of an md5 signature."""
    return _MD5.sub(REDACTED, text)


def printable(text: str) -> str:
    """*text* with a space for each character that is not printable, line breaks included."""
    return "".join(char if char.isprintable() else " " for char in text)


def _private(request: Request) -> Iterator[str]:
    """The values of *request* to redact: headers but for the plain ones, and filters."""
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


def _encoded(char: str) -> str:
    """A pattern for *char* as it is, percent-encoded, form-encoded, and escaped in JSON."""
    escaped = json.dumps(char)[1:-1]
    forms = {printable(char), quote(char, safe=""), escaped, rf"\{char}"}
    if len(escaped) == 1:
        forms.add(rf"\u{ord(char):04x}")
    if char == " ":
        forms.add("+")
    return f"(?:{'|'.join(sorted(map(re.escape, forms), key=len, reverse=True))})"
