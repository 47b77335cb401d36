"""The rows of a list as Arrow tables: the columns, their names, and the outcome of a load.

``dp_async.arrow``, ``dp_async.dlt`` and ``dp_async.delta`` are built on it; it uses the package's
public names only. Nothing is written here. Needs the extra ``arrow``.

- ``_columns``: the columns of a Struct, and its items as a record batch.
- ``_reader``: pages of raw rows as tables.
- ``_reading``: one list of one account, crawled once, in pieces.
- ``_outcome``: what became of it.
- ``_accounts``, ``_documented``, ``_names``, ``_log``: accounts that are given, documented fields,
  names of columns, warnings.
"""

from __future__ import annotations

try:
    from ._accounts import account_names
    from ._columns import INSTANT, columns, schema, to_batch
    from ._log import warn
    from ._names import column_name
    from ._outcome import ListName, Outcome
    from ._reader import TableReader
    from ._reading import List, Plan, Reading
except ImportError as error:
    raise ImportError(
        "dp_async.tables needs pyarrow, which is an extra: pip install 'dp_async[arrow]'"
    ) from error

__all__ = [
    "INSTANT",
    "List",
    "ListName",
    "Outcome",
    "Plan",
    "Reading",
    "TableReader",
    "account_names",
    "column_name",
    "columns",
    "schema",
    "to_batch",
    "warn",
]
