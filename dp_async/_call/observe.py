"""Reports each request to the log and to the client's observers.

Only what an ``Attempt`` holds: never a header, a query, a body, or the server's message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("dp_async")


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
        return bool(self._callbacks) or log.isEnabledFor(logging.DEBUG)

    def notify(self, attempt: Attempt) -> None:
        """Log *attempt* and call every callback; an exception of one is logged and dropped."""
        fields = {
            "endpoint": attempt.endpoint,
            "status": attempt.status,
            "code": attempt.code,
            "ms": round(attempt.seconds * 1000, 1),
            "attempt": attempt.number,
            "request_id": attempt.request_id,
        }
        log.debug(
            "%s: %s, status %s, in %.0f ms, attempt %d, request id %s",
            attempt.endpoint,
            attempt.error or "good",
            attempt.status or "none",
            fields["ms"],
            attempt.number,
            attempt.request_id or "none",
            extra=fields,
        )
        for callback in list(self._callbacks.values()):  # a callback may remove itself
            try:
                callback(attempt)
            except Exception:
                log.exception("an observer of the client failed; its exception was dropped")
