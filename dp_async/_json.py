"""From JSON to typed values; the one place where msgspec's errors become ours. No I/O."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ._errors import DecodeError

T = TypeVar("T")


def decode(
    decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, endpoint: str, root: str = "$"
) -> T:
    """*data* as what *decoder* reads.

    Raises DecodeError with the path of what is wrong, *root* being the path of *data* itself.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem = str(error)
        if "`$" not in problem:
            problem += " - at `$`"  # msgspec leaves it out if it is the root itself
        problem = problem.replace("`$", f"`{root}", 1)
    except msgspec.MsgspecError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = f"text that is not UTF-8 - at `{root}`"
    except RecursionError:
        problem = f"nested too deeply - at `{root}`"
    del data  # it is not for those who log the variables of a traceback
    # Raised out here, so that msgspec's error does not stay in reach as __context__.
    raise DecodeError(f"{endpoint}: the answer cannot be read: {problem}", endpoint=endpoint)
