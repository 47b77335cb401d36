"""Pages of raw rows as tables, undocumented fields included. Knows no account."""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw, Struct

from .. import BadItem, DecodeError, Page
from ._columns import to_batch
from ._documented import strict, wire_names
from ._names import column_name

S = TypeVar("S", bound=Struct)


class TableReader(Generic[S]):
    """Reads pages of raw rows of one list as tables, undocumented fields included.

    *endpoint*: its name in errors. With *keep*, rows that are not as documented go to
    ``bad_items``; without, the first one raises DecodeError.
    """

    def __init__(self, endpoint: str, model: type[S], *, keep: bool) -> None:
        self._endpoint = endpoint
        self._keep = keep
        self._model = model
        self._strict = strict(model)
        self._known = msgspec.json.Decoder(list[self._strict])  # type: ignore[name-defined]
        self._loose = msgspec.json.Decoder(list[model])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(model)
        self._sent = msgspec.json.Decoder(dict[str, Raw])
        self._fields = msgspec.json.Decoder(list[dict[str, Raw]])
        self._documented, self._key = wire_names(model)
        self.bad_items: list[BadItem] = []

    def __call__(self, page: Page[Raw]) -> pa.Table:
        """The rows of *page*: documented columns, then the JSON of each undocumented field.

        U+0000 in a text is U+FFFD, since PostgreSQL cannot store it. Raises DecodeError.
        """
        data = _joined(page.content)
        try:
            table = _table(self._known.decode(data), self._strict)
        except (msgspec.MsgspecError, RecursionError):
            table = self._with_more(page, data)
        return _without_nul(table) if b"\\u0000" in data else table

    def _with_more(self, page: Page[Raw], data: bytes) -> pa.Table:
        try:
            items, fields = self._loose.decode(data), self._fields.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            items, fields = self._one_by_one(page)
        table = _table(items, self._model)
        for name, values in self._undocumented(fields):
            table = table.append_column(name, pa.array(values, pa.string()))
        return table

    def _one_by_one(self, page: Page[Raw]) -> tuple[list[S], list[dict[str, Raw]]]:
        """The items and the fields of the rows that can be read; the others are bad ones."""
        items: list[S] = []
        fields: list[dict[str, Raw]] = []
        for row in page.content:
            number: int | None = None
            try:
                sent = self._sent.decode(row)
                number = msgspec.json.decode(sent[self._key], type=int)
                items.append(self._one.decode(row))
                fields.append(sent)
            except msgspec.MsgspecError as error:
                self._refuse(row, number, page, str(error))
            except RecursionError:
                self._refuse(row, number, page, "nested too deeply - at `$`")
        return items, fields

    def _refuse(self, row: Raw, number: int | None, page: Page[Raw], problem: str) -> None:
        """Set *row* apart. Raises DecodeError unless bad rows are kept, or if it has no id."""
        # A page of a crawl holds the new rows only, so the place of a row within it says nothing.
        path = f"$.data.content[?@.{self._key}=={number}]"  # a filter, as in RFC 9535
        where = problem.replace("`$", f"`{path}", 1)
        what = "a row" if number is None else f"the row with id {number}"
        text = f"{self._endpoint}: {what} cannot be read: {where}"
        if self._keep and number is not None:  # without it, the row would seem to be gone
            self.bad_items.append(BadItem(page.page_num, path, text, bytes(row), number))
            return
        refused = DecodeError(text, endpoint=self._endpoint)
        refused.page_num, refused.page_size = page.page_num, page.size
        refused.request_id = page.request_id
        raise refused

    def _undocumented(
        self, rows: Sequence[dict[str, Raw]]
    ) -> Iterator[tuple[str, list[str | None]]]:
        """Each undocumented column: its name, and the JSON of its values."""
        for sent in dict.fromkeys(name for row in rows for name in row):
            if sent not in self._documented:
                yield column_name(sent), [_text(row.get(sent)) for row in rows]


def _joined(rows: Sequence[Raw]) -> bytes:
    return b"[" + b",".join(map(bytes, rows)) + b"]"


def _table(items: Sequence[S], item: type[S]) -> pa.Table:
    return pa.Table.from_batches([to_batch(items, item)])


def _without_nul(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if field.type == pa.string():
            column = pc.replace_substring(table[field.name], "\0", "\ufffd")
            table = table.set_column(place, field, column)
    return table


def _text(value: Raw | None) -> str | None:
    """The JSON of a value; None for null and for a missing field."""
    return None if value is None or bytes(value) == b"null" else bytes(value).decode()
