"""The times in an answer's headers: ``Date`` and ``Retry-After``. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from .._checks import DAY
from .._http import Response

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")  # whole in HTTP, decimal from some gateways
#: One value of a header that was sent several times; a date may hold a comma.
_EACH = re.compile(r"\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,[^,]+|[^,]+")


def retry_after(response: Response, clock: Callable[[], float] = time.time) -> float | None:
    """The seconds of ``Retry-After`` (RFC 9110, section 10.2.3), or None if it has none.

    An HTTP date is compared with the answer's own ``Date``, so that a wrong clock here does not
    matter; if there is none, with *clock*. Of several, the longest of at most a day counts.
    """
    now = http_date(response.headers.get("date", ""))
    sent = _EACH.findall(response.headers.get("retry-after", ""))
    waits = [wait for each in sent if (wait := _wait(each.strip(), now, clock)) is not None]
    return max((wait for wait in waits if wait <= DAY), default=max(waits, default=None))


def _wait(value: str, now: float | None, clock: Callable[[], float]) -> float | None:
    if _SECONDS.fullmatch(value):
        return min(float(value), 1e9)
    then = http_date(value)
    return None if then is None else max(0.0, then - (clock() if now is None else now))


@lru_cache(maxsize=2)  # all answers of one second have the same; parsing it takes 10 µs
def http_date(value: str) -> float | None:
    """The HTTP date *value* in seconds since the epoch; None if it is none."""
    try:
        then = parsedate_to_datetime(_EACH.findall(value)[0])
    except (IndexError, ValueError, OverflowError):
        return None
    # HTTP dates are GMT, even in the old asctime form without a zone.
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
