"""The command ``dp-async``; a consumer of the package's public names. Needs the extra ``cli``.

Here is only the way in, which can do without the extra; nothing here may need it to be imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (this process's own if None) and return its exit code."""
    try:
        from ._app import run
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        sys.stderr.write("dp-async: the command line is an extra: pip install 'dp_async[cli]'\n")
        return 2
    return run(sys.argv[1:] if argv is None else argv)
