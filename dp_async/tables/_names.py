"""The column of an undocumented field, by the field's name alone. Knows no table and no row."""

from __future__ import annotations

import re
from hashlib import blake2b

#: The longest name of a column in PostgreSQL, which cuts longer ones.
LONGEST = 63
#: Columns that this library adds, and the system columns of PostgreSQL and DuckDB.
_TAKEN = {
    "account",
    "app_id",
    "gone_at",
    "cmax",
    "cmin",
    "ctid",
    "rowid",
    "tableoid",
    "xmax",
    "xmin",
}


def column_name(field: str) -> str:
    """The column of an undocumented *field*: a letter, then a-z, 0-9 and _, at most 63 in all.

    It depends on the field's name alone, and two fields never share one: not where a database
    ignores case, nor with a documented column, one of this library or one of dlt (``_dlt_id``).

    A capital letter is ``_`` and the small one (``viewCount``: ``view_count``), ``_`` is ``_0``,
    any other character is ``_1``, its code point in hexadecimal and ``z``. ``wire_2`` comes before
    what does not begin with a small letter or is a name that is taken. What is too long is cut, and
    ends with ``_3`` and a hash. No name has two ``_`` in a row, or one at an end, so that dlt's own
    rules for names change nothing.
    """
    name = re.sub("[^a-z0-9]", lambda found: _escape(found[0]), field)
    if not "a" <= name[:1] <= "z" or name in _TAKEN:
        name = f"wire_2{name}"
    if len(name) <= LONGEST:
        return name
    suffix = f"_3{blake2b(field.encode('utf-8', 'surrogatepass'), digest_size=10).hexdigest()}"
    return name[: LONGEST - len(suffix)].rstrip("_") + suffix


def _escape(char: str) -> str:
    if "A" <= char <= "Z":
        return f"_{char.lower()}"
    return "_0" if char == "_" else f"_1{ord(char):x}z"
