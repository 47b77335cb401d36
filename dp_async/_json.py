"""Decodes JSON into typed values, and turns msgspec's errors into DecodeError. No I/O.

Also the tokens of JSON that no decoder reads.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TypeVar

import msgspec

from ._errors import DecodeError

T = TypeVar("T")

_NOT_UTF8 = "text that is not UTF-8"
#: Half a surrogate pair as an escape (RFC 8259, section 8.2): the other half is missing.
_HALF_PAIR = re.compile(
    rb"""(?<!\\)(?:\\\\)*(?:
        \\u[dD][89abAB]..(?!\\u[dD][c-fC-F]) | (?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])
    """,
    re.VERBOSE | re.DOTALL,
)


#: A string, a flat object as one token (most rows are flat), punctuation, any other text, and last
#: a quote that opens a string without an end (RFC 8259). What is in them may be anything.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
TOKEN = re.compile(
    rb'%b|\{(?:[^{}\[\]"]++|%b)*+\}|[\[\]{},:]|[^\[\]{},:" \t\r\n]++|"' % (_STRING, _STRING),
    re.DOTALL,
)
#: Tokens that are read, which takes a second or two: an answer may be 32 MiB of brackets.
MOST_TOKENS = 2**21
#: What closes each bracket.
CLOSING = {b"{": b"}", b"[": b"]"}
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


def members(data: bytes) -> dict[bytes, bytes] | None:
    """The members of the JSON object *data*, by key in its quotes, undecoded.

    Only brackets and strings are matched: for an object with a member that no decoder reads. None
    if they do not match, or are too many.
    """
    begin = _OBJECT.match(data)
    found: dict[bytes, bytes] = {}
    opened: list[bytes] = []  # what closes each open bracket within the object
    key = before = b""
    start = 0
    tokens = TOKEN.finditer(data, begin.end()) if begin else ()
    for match in islice(tokens, MOST_TOKENS):
        token = match[0]
        if token in CLOSING:
            opened.append(CLOSING[token])
        elif opened:
            if token in (b"}", b"]") and opened.pop() != token:
                return None
        elif token in (b",", b"}"):
            if key:
                found[key] = data[start : match.start()].strip()
            if token == b"}":
                return None if data[match.end() :].strip() else found
            key = b""
        elif token == b":" and not key:
            key, start = before, match.end()
        elif token in (b"]", b'"'):
            return None
        before = token
    return None


def decode(
    decoder: msgspec.json.Decoder[T],
    data: bytes | msgspec.Raw,
    endpoint: str,
    root: str = "$",
    what: str = "the answer",
    *,
    utf8: bool = False,
) -> T:
    """The value that *decoder* reads from *data*.

    *root* is the path of *data* within the answer, *what* its name in errors. *utf8*: check the
    text that *decoder* does not look at. Raises DecodeError, with the path of the bad value.
    """
    try:
        if utf8:
            str(data, "utf-8")
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem = str(error)
        if "`$" not in problem:
            problem += " - at `$`"  # msgspec leaves the root's path out
        problem = problem.replace("`$", f"`{root}", 1)
    except msgspec.MsgspecError as error:
        problem = f"{error} - at `{root}`"
        if _HALF_PAIR.search(data):
            problem = f"text with half a surrogate pair - at `{root}`"
        elif "UTF-8" in problem:  # msgspec 0.23 says so itself
            problem = f"{_NOT_UTF8} - at `{root}`"
    except UnicodeDecodeError:
        problem = f"{_NOT_UTF8} - at `{root}`"
    except RecursionError:
        problem = f"nested too deeply - at `{root}`"
    del data  # loggers that write a traceback's variables must not find it
    # Raised out here, so that msgspec's error, which may hold data, is not kept as __context__.
    raise DecodeError(f"{endpoint}: {what} cannot be read: {problem}", endpoint=endpoint)
