"""Rows as Parquet: from the items of a page to bytes. Needs the extra ``arrow``.

Columns and types are those of ``dp_async.arrow``. No stream, no network.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from dp_async import arrow

R = TypeVar("R", bound=Struct)

#: Rows per row group: readers are fastest with few large groups.
GROUP = 20_000
#: Rows per record batch: one of a page's 100 rows takes twice the time for each row.
BATCH = 1000


class Parquet(Generic[R]):
    """A Parquet file of rows of the Struct *model*, written group by group."""

    def __init__(self, model: type[R]) -> None:
        self._model = model
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, arrow.schema(model))
        self._items: list[R] = []  # of the next batch
        self._kept: list[pa.RecordBatch] = []  # of the next group

    def page(self, items: Sequence[R]) -> bytes:
        self._items += items
        if len(self._items) >= BATCH:
            self._convert()
            if sum(batch.num_rows for batch in self._kept) >= GROUP:
                self._write()
        return self._written()

    def end(self) -> bytes:
        if self._items:
            self._convert()
        if self._kept:
            self._write()
        self._writer.close()
        return self._written()

    def _convert(self) -> None:
        self._kept.append(arrow.to_batch(self._items, self._model))
        self._items = []

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._kept))
        self._kept = []

    def _written(self) -> bytes:
        """The bytes since the last call. Emptying the sink is safe: the writer counts offsets."""
        data = self._sink.getvalue()
        self._sink.truncate(0)
        self._sink.seek(0)
        return data
