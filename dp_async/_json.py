"""Decodes JSON into typed values, and turns msgspec's errors into DecodeError. No I/O."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ._errors import DecodeError

T = TypeVar("T")


def decode(
    decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, endpoint: str, root: str = "$"
) -> T:
    """The value that *decoder* reads from *data*.

    *root* is the path of *data* within the answer. Raises DecodeError, with the path of the bad
    value.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem = str(error)
        if "`$" not in problem:
            problem += " - at `$`"  # msgspec leaves the root's path out
        problem = problem.replace("`$", f"`{root}", 1)
    except msgspec.MsgspecError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = f"text that is not UTF-8 - at `{root}`"
    except RecursionError:
        problem = f"nested too deeply - at `{root}`"
    del data  # loggers that write a traceback's variables must not find it
    # Raised out here, so that msgspec's error, which may hold data, is not kept as __context__.
    raise DecodeError(f"{endpoint}: the answer cannot be read: {problem}", endpoint=endpoint)
