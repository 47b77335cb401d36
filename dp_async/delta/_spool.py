"""Rows that wait for their commit, in a temporary file. Knows no list and no table.

Memory holds none of them, and a process that is killed leaves no file behind.
"""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

import pyarrow as pa

#: The rows of a batch that are wanted.
Choice: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Spool:
    """Tables of one kind, whose columns may differ, in the order in which they were added."""

    def __init__(self, columns: pa.Schema) -> None:
        self._columns = columns
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self.columns = columns
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, table: pa.Table) -> None:
        """Keep *table* in the file, as one Arrow stream of its own."""
        with pa.ipc.new_stream(self._file, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table)
        self.rows += table.num_rows
        self.columns = pa.unify_schemas([self.columns, table.schema])

    def clear(self) -> None:
        """Forget all rows."""
        self._file.seek(0)
        self._file.truncate()
        self.columns = self._columns
        self.rows = 0

    def reader(self, columns: pa.Schema, chosen: Choice | None = None) -> pa.RecordBatchReader:
        """The rows, with *columns*, which are null where a table lacks them. One at a time.

        *chosen* gives those of a batch that are wanted, None: all.
        """
        batches = self._batches(columns, chosen)
        return pa.RecordBatchReader.from_batches(columns, batches)

    def select(self, names: Sequence[str]) -> pa.Table:
        """These columns of all rows."""
        columns = pa.schema([self.columns.field(name) for name in names])
        return self.reader(columns).read_all()

    def _batches(self, columns: pa.Schema, chosen: Choice | None) -> Iterator[pa.RecordBatch]:
        end = self._file.seek(0, 2)
        self._file.seek(0)
        while self._file.tell() < end:
            with pa.ipc.open_stream(self._file) as stream:
                for batch in stream:
                    yield fitted(batch if chosen is None else chosen(batch), columns)


def fitted(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """*batch* with *columns*, in their order and of their types; those it lacks are null."""
    there = {*batch.schema.names}
    arrays = [
        batch.column(field.name).cast(field.type)
        if field.name in there
        else pa.nulls(batch.num_rows, field.type)
        for field in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)
