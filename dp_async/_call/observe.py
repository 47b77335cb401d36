"""Tells of each request: to the log, and to whoever asked to be told.

Only what an ``Attempt`` holds: never a header, a query, a body, or what the server wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("dp_async")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request and what came of it, for whoever observes a client.

    *number* counts the attempts of one call from 1; *seconds* from sending until the whole answer.
    *status* is HTTP's and *code* that of an envelope that was good or said no, None where there was
    none; *error* is the name of the error's class, "" for a good answer.
    """

    endpoint: str
    number: int
    seconds: float
    status: int | None = None
    code: int | None = None
    request_id: str = ""
    error: str = ""


class Observers:
    """Those who are told; ``listening`` is False when there is nobody, to spare the telling."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: list[Callable[[Attempt], object]] = []

    def add(self, told: Callable[[Attempt], object]) -> Callable[[], None]:
        """Call *told* with each attempt, until the function returned is called."""
        self._told.append(told)
        added = [told]

        def end() -> None:
            if added:
                self._told.remove(added.pop())

        return end

    @property
    def listening(self) -> bool:
        return bool(self._told) or log.isEnabledFor(logging.DEBUG)

    def tell(self, attempt: Attempt) -> None:
        """Tell all of *attempt*. One who raises is named in the log, and nothing else comes of it:
        whoever looks on must not break what it looks at."""
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
        for told in tuple(self._told):  # one of them may end itself
            try:
                told(attempt)
            except Exception:
                log.exception("an observer of the client failed")
