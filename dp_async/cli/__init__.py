"""The command ``dp-async``, built on the package's public names. Needs the extra ``cli``.

Only the entry point is here. It must import without the extra, so that it can name it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (None: this process's own) and return its exit code."""
    try:
        from ._app import run
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        sys.stderr.write("dp-async: the command line is an extra: pip install 'dp_async[cli]'\n")
        return 2
    return run(sys.argv[1:] if argv is None else argv)
