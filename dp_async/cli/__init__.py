"""The command ``dp-async``, built on the package's public names. Needs the extra ``cli``.

Only the entry point is here. It must import without the extra, so that it can name it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._signals import Signals, as_current
from ._streams import open_descriptors, usable_streams

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (None: this process's own) and return its exit code.

    One SIGINT, SIGTERM or SIGHUP ends it. If *argv* is None, that ends the process. Otherwise the
    handlers that were set before are back at the end.
    """
    signals = Signals(exiting=argv is None)
    try:
        open_descriptors()
        signals.install()
        with usable_streams(), as_current(signals):
            code = _command(sys.argv[1:] if argv is None else argv)
        signals.disarm()
    except KeyboardInterrupt:
        code = None
    except BaseException:
        signals.restore()
        raise
    return signals.finish(code)


def _command(argv: Sequence[str]) -> int | None:
    try:
        from ._app import run
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        sys.stderr.write("dp-async: the command line is an extra: pip install 'dp_async[cli]'\n")
        return 2
    return run(argv)
