"""Reports each request to the log and to the client's observers.

Only what an ``Attempt`` holds: never a header, a query, a body, or the server's message.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_logger = logging.getLogger("dp_async")


def log(
    level: int,
    message: str,
    *args: object,
    error: BaseException | None = None,
    **attributes: object,
) -> None:
    """Log *message* % *args*, with the traceback of *error* and *attributes* on the record.

    The core logs through this alone: no factory, filter or handler of the application can make a
    call fail. What they raise goes to stderr, as ``logging`` does it for its own handlers. An
    attribute that the record has already, from the application's LogRecord factory, is left out:
    with ``extra``, ``logging`` would raise a KeyError.
    """
    try:
        if not _logger.isEnabledFor(level):
            return
        path, line, function, _ = _logger.findCaller(stacklevel=2)
        exc_info = None if error is None else (type(error), error, error.__traceback__)
        record = _logger.makeRecord(
            _logger.name, level, path, line, message, args, exc_info, function
        )
        for name, value in attributes.items():
            vars(record).setdefault(name, value)
        _logger.handle(record)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            with suppress(Exception):  # stderr may be closed
                traceback.print_exc()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request and its outcome, as ``Client.observe`` reports it.

    *number* counts the attempts of one call from 1; *seconds* from sending to the complete answer.
    *status* is HTTP's and *code* the envelope's, None if there was none; *error* is the name of the
    error's class, "" for a good answer. *page_num* is the page requested, from 1.
    """

    endpoint: str
    number: int
    seconds: float
    status: int | None = None
    code: int | None = None
    request_id: str = ""
    error: str = ""
    page_num: int | None = None


class Observers:
    """The callbacks of a client."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[Attempt], object]] = {}

    def add(self, callback: Callable[[Attempt], object]) -> Callable[[], None]:
        """Call *callback* with each attempt from now on, until the returned function is called.

        Calling that twice is fine. Added twice, *callback* is called twice.
        """
        registration = object()
        self._callbacks[registration] = callback

        def remove() -> None:
            self._callbacks.pop(registration, None)

        return remove

    @property
    def listening(self) -> bool:
        """Whether anything is reported at all: if not, no ``Attempt`` need be built."""
        return bool(self._callbacks) or _logger.isEnabledFor(logging.DEBUG)

    def notify(self, attempt: Attempt) -> None:
        """Log *attempt* and call every callback; an exception of one is logged and dropped."""
        milliseconds = round(attempt.seconds * 1000, 1)
        log(
            logging.DEBUG,
            "%s, page %s: %s, status %s, in %.0f ms, attempt %d, request id %s",
            attempt.endpoint,
            attempt.page_num or "none",
            attempt.error or "good",
            attempt.status or "none",
            milliseconds,
            attempt.number,
            attempt.request_id or "none",
            endpoint=attempt.endpoint,
            status=attempt.status,
            code=attempt.code,
            ms=milliseconds,
            attempt=attempt.number,
            page_num=attempt.page_num,
            request_id=attempt.request_id,
        )
        for callback in list(self._callbacks.values()):  # a callback may remove itself
            try:
                callback(attempt)
            except Exception as error:
                log(
                    logging.ERROR,
                    "an observer of the client failed; its exception was dropped",
                    error=error,
                )
