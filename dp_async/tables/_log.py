"""Warnings of the integrations in the application's log, which end nothing."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress

log = logging.getLogger("dp_async")


def warn(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log a warning, with the traceback of *error*. Logging ends nothing.

    What the application's record factory, filters and handlers raise goes to stderr, as
    ``logging`` does it for its own handlers.
    """
    try:
        log.warning(message, *args, exc_info=error, stacklevel=2)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(Exception):  # stderr may be closed
                traceback.print_exc()
