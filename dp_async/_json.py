"""Decodes JSON into typed values, and turns msgspec's errors into DecodeError. No I/O."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from ._errors import DecodeError

T = TypeVar("T")

#: Half a surrogate pair as an escape (RFC 8259, section 8.2): the other half is missing.
_HALF_PAIR = re.compile(
    rb"""(?<!\\)(?:\\\\)*(?:
        \\u[dD][89abAB]..(?!\\u[dD][c-fC-F]) | (?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])
    """,
    re.VERBOSE | re.DOTALL,
)


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
    except UnicodeDecodeError:
        problem = f"text that is not UTF-8 - at `{root}`"
    except RecursionError:
        problem = f"nested too deeply - at `{root}`"
    del data  # loggers that write a traceback's variables must not find it
    # Raised out here, so that msgspec's error, which may hold data, is not kept as __context__.
    raise DecodeError(f"{endpoint}: {what} cannot be read: {problem}", endpoint=endpoint)
