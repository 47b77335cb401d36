"""``Retry-After`` is read in each of its forms, as seconds from the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from dp_async import Response
from dp_async._call.dates import retry_after

NOW = 1_700_000_000.0
AT = datetime.fromtimestamp(NOW, UTC)
DATE = format_datetime(AT, usegmt=True)
LATER = format_datetime(AT.replace(second=50), usegmt=True)  # NOW is at second 20
HOUR = "Tue, 14 Nov 2023 %s"

WAITS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": "120"}, 120.0),
    ({"retry-after": " 7\t"}, 7.0),
    ({"retry-after": "00000000000120"}, 120.0),
    ({"retry-after": "9" * 5000}, 1e9),
    # a date, against our clock or the answer's own
    ({"retry-after": LATER}, 30.0),
    ({"retry-after": DATE}, 0.0),
    ({"retry-after": LATER, "date": LATER}, 0.0),
    ({"retry-after": LATER, "date": HOUR % "22:13:00 GMT"}, 50.0),
    ({"retry-after": LATER, "date": "garbage"}, 30.0),
    ({"retry-after": LATER, "date": ""}, 30.0),
    ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    # other forms of dates, which are GMT as well
    ({"retry-after": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30.0),
    ({"retry-after": "Tue Nov 14 22:13:50 2023"}, 30.0),
    ({"retry-after": HOUR % "22:13:50 -0000"}, 30.0),
    ({"retry-after": HOUR % "23:13:50 +0100"}, 30.0),
    ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2300"}, 253402300799 + 23 * 3600 - NOW),
    # several: the longest that is believed
    ({"retry-after": "1, 2"}, 2.0),
    ({"retry-after": "2, 0"}, 2.0),
    ({"retry-after": "soon, 1"}, 1.0),
    ({"retry-after": f"3, {LATER}, 1"}, 30.0),
    ({"retry-after": f"{LATER}, 999999999"}, 30.0),
    ({"retry-after": LATER, "date": f"{LATER}, {DATE}"}, 0.0),
    # neither
    ({"retry-after": ""}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "-5"}, None),
    ({"retry-after": "+5"}, None),
    ({"retry-after": "1.5"}, 1.5),
    ({"retry-after": "1e3"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "٣"}, None),
    ({"retry-after": "²"}, None),
    ({"retry-after": "\udcff"}, None),
    ({"retry-after": HOUR % "99:99:99 GMT"}, None),
    ({"retry-after": "Tue, 14 Nov 99999 22:13:50 GMT"}, None),
    ({"retry-after": HOUR % "22:13:50 +9999"}, None),
]


@pytest.fixture
def in_china(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_china")
def test_retry_after_is_read_in_either_form_and_any_time_zone() -> None:
    for headers, wait in WAITS:
        assert retry_after(Response(status=429, headers=headers), lambda: NOW) == wait
