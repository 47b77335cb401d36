"""The rows of a page as Arrow tables, undocumented fields included. Neither dlt nor I/O is here."""
# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw, Struct, structs

from .. import DecodeError, Message, Work, arrow

S = TypeVar("S", bound=Struct)

ListName: TypeAlias = Literal["works", "messages"]


def schema(item: type[Struct]) -> pa.Schema:
    """The columns of a table for *item* (Work or Message), without undocumented fields."""
    account = pa.field("account", pa.string(), nullable=False)
    return arrow.schema(item).insert(0, account).append(pa.field("gone_at", arrow.INSTANT))


class StrictWork(Work, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A work that has no undocumented field."""


class StrictMessage(Message, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A message that has no undocumented field."""


class Reader(Generic[S]):
    """Reads the rows of a page into columns, undocumented fields included.

    *normalized* turns a field's name into a column's, as the destination has it.
    """

    def __init__(self, model: type[S], strict: type[S], normalized: Callable[[str], str]) -> None:
        self._model = model
        self._normalized = normalized
        self._strict = strict
        self._known = msgspec.json.Decoder(list[strict])  # type: ignore[valid-type]
        self._fields = msgspec.json.Decoder(list[dict[str, Raw]])
        self._documented = {field.encode_name for field in structs.fields(model)}
        self._loose = msgspec.json.Decoder(list[model])  # type: ignore[valid-type]

    def table(self, rows: Sequence[Raw]) -> pa.Table:
        """*rows* as a table. Raises DecodeError for a row that is not as documented."""
        data = b"[" + b",".join(map(bytes, rows)) + b"]"
        try:
            table = self._as(self._known.decode(data), self._strict)
        except msgspec.ValidationError:
            table = self._with_more(data)
        return without_nul(table) if b"\\u0000" in data else table

    def _with_more(self, data: bytes) -> pa.Table:
        try:
            table = self._as(self._loose.decode(data), self._model)
        except msgspec.ValidationError as error:
            problem = f"{self._model.__name__}: {error}"
        else:
            for name, values in self._undocumented(self._fields.decode(data)):
                table = table.append_column(name, pa.array(values, pa.string()))
            return table
        raise DecodeError(problem)

    def _as(self, rows: Sequence[S], item: type[S]) -> pa.Table:
        return pa.Table.from_batches([arrow.to_batch(rows, item)])

    def _undocumented(
        self, rows: Sequence[dict[str, Raw]]
    ) -> Iterator[tuple[str, list[str | None]]]:
        """Each undocumented column: its name in the destination, and the JSON of its values."""
        taken = {*schema(self._model).names}
        for sent in dict.fromkeys(name for row in rows for name in row):
            if sent in self._documented:
                continue
            name = self._normalized(sent) if sent.strip() else "wire"
            while name in taken:
                name = f"wire_{name}"
            taken.add(name)
            yield name, [json_text(row.get(sent)) for row in rows]


def without_nul(table: pa.Table) -> pa.Table:
    """*table* with U+FFFD for U+0000, which PostgreSQL cannot store in a text."""
    for place, field in enumerate(table.schema):
        if field.type == pa.string():
            column = pc.replace_substring(table[field.name], "\0", "\ufffd")
            table = table.set_column(place, field, column)
    return table


def json_text(value: Raw | None) -> str | None:
    """The JSON of a value; None for null and for a missing field."""
    text = None if value is None else bytes(value).decode()
    return None if text == "null" else text


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with all columns of *tables*; a column that a table lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")
