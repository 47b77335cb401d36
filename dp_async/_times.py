"""The times of one page's rows, in a few bytes a row. A value; no I/O, no clock.

Times are whole seconds at UTC+08:00 since 1970 there. A crawl keeps those of every page, and looks
at them one by one only where the list changes: so they are kept as the digits they came in, which
takes no loop in Python.
"""

from __future__ import annotations

from array import array
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from msgspec import Struct

_EPOCH = datetime(1970, 1, 1)
_WIDTH = len('"2023-07-13T17:00:00",')
_PUNCTUATION = b'[]",-T:'
_BYTES = 7  # of a time, two digits in each
#: The number that the two digits in a byte show; other bytes do not occur.
_VALUES = bytes(10 * (byte >> 4) + (byte & 15) if byte <= 0x99 else 0 for byte in range(256))

_encode = msgspec.json.Encoder().encode


class Times(Struct, gc=False):
    """Times in the order of the answer; iterate it for whole seconds.

    - *newest*, *oldest*: both 0 if there is none. *falling*: they never rise. *rising*: they never
      fall.
    - *digits*: a prefix that all times share, then the other digits, column by column; or
      *seconds*, if the times come in no order, or with fractions: eight bytes for each. No array
      of them: the garbage collector would visit one for each page.
    """

    count: int
    newest: int
    oldest: int
    falling: bool
    rising: bool
    digits: bytes = b""
    seconds: bytes | None = None

    @classmethod
    def of(cls, seconds: Sequence[int]) -> Times:
        """The times that *seconds* holds."""
        shown = list(seconds)
        if not shown:
            return NONE
        ordered = sorted(shown, reverse=True)  # linear if they fall already, the usual case
        falling = shown == ordered
        newest, oldest = ordered[0], ordered[-1]
        rising = newest == oldest if falling else shown == ordered[::-1]
        return cls(len(shown), newest, oldest, falling, rising, b"", array("q", shown).tobytes())

    @classmethod
    def packed(cls, times: list[datetime]) -> Times | None:
        """*times* by their digits, if they fall or rise and have no fractions; else None.

        Raises TypeError if one of them is None or has an offset.
        """
        if not times:
            return NONE
        ordered = sorted(times, reverse=True)
        falling = times == ordered
        if not falling and times != ordered[::-1]:
            return None
        first, last = ordered[0] - _EPOCH, ordered[-1] - _EPOCH
        text = _encode(times)
        if len(text) != _WIDTH * len(times) + 1:
            return None
        newest = first.days * 86400 + first.seconds
        oldest = last.days * 86400 + last.seconds
        rows = unhexlify(text.translate(None, _PUNCTUATION))
        shared = 0  # by the first and the last, and so by all between
        while shared < _BYTES and rows[shared] == rows[shared - _BYTES]:
            shared += 1
        columns = [rows[place::_BYTES] for place in range(shared, _BYTES)]
        digits = b"".join([rows[:shared], *columns])
        return cls(len(times), newest, oldest, falling, newest == oldest or not falling, digits)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        if self.seconds is None:
            return iter(self._unpacked())
        return iter(memoryview(self.seconds).cast("q"))

    def __getitem__(self, place: int) -> int:
        return list(self)[place]

    def _unpacked(self) -> list[int]:
        count = self.count
        if self.newest == self.oldest:
            return [self.newest] * count
        digits = self.digits.translate(_VALUES)
        shared = (_BYTES * count - len(digits)) // (count - 1)
        columns: list[Sequence[int]] = [[value] * count for value in digits[:shared]]
        columns += [digits[at : at + count] for at in range(shared, len(digits), count)]
        dates, (hours, minutes, seconds) = columns[:-3], columns[-3:]
        days = map(_midnight, *dates)
        return [
            day + hour * 3600 + minute * 60 + second
            for day, hour, minute, second in zip(days, hours, minutes, seconds, strict=True)
        ]


@lru_cache(maxsize=512)  # most rows of a page are of few days
def _midnight(century: int, year: int, month: int, day: int) -> int:
    return (datetime(century * 100 + year, month, day) - _EPOCH).days * 86400


NONE = Times(0, 0, 0, falling=True, rising=True)
"""No times at all."""
