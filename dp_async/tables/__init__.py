"""The rows of a list as Arrow tables: the columns, their names, and the outcome of a load.

``dp_async.arrow`` and ``dp_async.dlt`` are built on it; it uses the package's public names only.
Nothing is requested or written here. Needs the extra ``arrow``.
"""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from operator import attrgetter
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET, Raw, Struct, inspect, structs

from .. import BadItem, ConfigError, CrawlReport, DecodeError, DpError, Message, Page, Work
from ._accounts import account_names
from ._documented import strict, wire_names
from ._log import warn
from ._names import column_name

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError as error:
    raise ImportError(
        "dp_async.tables needs pyarrow, which is an extra: pip install 'dp_async[arrow]'"
    ) from error

__all__ = [
    "Outcome",
    "TableReader",
    "account_names",
    "column_name",
    "columns",
    "schema",
    "to_batch",
    "warn",
]

S = TypeVar("S", bound=Struct)

ListName: TypeAlias = Literal["works", "messages"]

#: Instants in the server's zone, by name: not all readers know "+08:00".
INSTANT = pa.timestamp("us", tz="Asia/Shanghai")
OFFSET = timedelta(hours=8)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone(OFFSET))
_MICROSECOND = timedelta(microseconds=1)

#: Column types; a value of any other type is JSON text.
_TYPES: dict[type[inspect.Type], pa.DataType] = {
    inspect.BoolType: pa.bool_(),
    inspect.IntType: pa.int64(),
    inspect.FloatType: pa.float64(),
    inspect.StrType: pa.string(),
    inspect.DateTimeType: INSTANT,
}
#: The wire names of the ids.
_KEYS = {
    field.encode_name
    for model in (Work, Message)
    for field in structs.fields(model)
    if field.required
}
#: The metadata of a column of JSON text.
_JSON = {b"dp_async": b"json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one list of one account, before it is loaded.

    - *new* and *updated*: rows by comparison with the destination. *gone*: rows marked as gone.
    - *bad_items*: rows that could not be read and are not loaded, with ``on_bad_item="keep"``.
    - *reloaded*: whether all rows were loaded again because the destination, against what was kept,
      did not hold them.
    - *report*: the crawl's; it counts the bad rows too.
    - *error*: what ended the crawl early; the rows before it are loaded all the same, and come
      again in the next run.
    """

    resource: ListName
    app_id: str
    account: str
    new: int
    updated: int
    gone: int
    report: CrawlReport
    bad_items: Sequence[BadItem] = ()
    reloaded: bool = False
    error: DpError | None = None


def schema(model: type[Struct]) -> pa.Schema:
    """The columns of a table for *model*: ``account``, its documented fields, and ``gone_at``."""
    account = pa.field("account", pa.string(), nullable=False)
    return columns(model).insert(0, account).append(pa.field("gone_at", INSTANT))


@lru_cache(maxsize=64)
def columns(item: type[Struct]) -> pa.Schema:
    """The columns for items of the Struct *item*, in its order and under its names.

    As ``dp_async.arrow.schema`` says. Raises ConfigError if *item* has no columns.
    """
    if not (isinstance(item, type) and issubclass(item, Struct)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            "Arrow columns need items of a Struct: use the listing as it is, or typed(YourStruct)"
        )
    for each in structs.fields(item):
        if each.default is UNSET:
            raise ConfigError(
                f"{each.name} of {item.__name__} may be UNSET, which no column can hold: "
                "declare it with None"
            )
    info = inspect.type_info(item)
    assert isinstance(info, inspect.StructType)
    return pa.schema([_field(field) for field in info.fields])


def _field(field: inspect.Field) -> pa.Field[Any]:
    options = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    kinds = [kind for kind in options if not isinstance(kind, inspect.NoneType)]
    nullable = len(kinds) < len(options)
    if len(kinds) == 1 and (known := _known(kinds[0])) is not None:
        return pa.field(field.name, known, nullable)
    return pa.field(field.name, pa.string(), nullable, metadata=_JSON)


def _known(kind: inspect.Type) -> pa.DataType | None:
    if isinstance(kind, inspect.EnumType):
        return pa.string() if issubclass(kind.cls, str) else None
    return _TYPES.get(type(kind))


def to_batch(items: Sequence[S], item: type[S]) -> pa.RecordBatch:
    """*items* of the Struct *item* as one record batch.

    Raises ConfigError if *item* has no columns, and DecodeError, with the row and the column, for a
    number that does not fit into 64 bits.
    """
    arrays: list[pa.Array[Any]] = []
    for field in columns(item):
        values: list[Any] = list(map(attrgetter(field.name), items))
        try:
            arrays.append(_array(values, field))
            continue
        except OverflowError:  # only integers raise it
            place = next(n for n, value in enumerate(values) if not _fits(value))
        raise DecodeError(
            f"{field.name} of {_named(items, place)}: the number does not fit into 64 bits; "
            "declared as Annotated[int, Meta(ge=-2**63, le=2**63 - 1)], its row is a bad item, "
            'which on_bad_item="keep" keeps'
        )
    return pa.RecordBatch.from_arrays(arrays, schema=columns(item))


def _fits(value: int | None) -> bool:
    return value is None or -(2**63) <= value < 2**63


def _named(items: Sequence[Struct], place: int) -> str:
    """The row at *place* as it is named in errors: by its id, or else by its place."""
    for field in structs.fields(items[place]):
        if field.encode_name in _KEYS:
            return f"the row with id {getattr(items[place], field.name)}"
    return f"row {place + 1} of {len(items)}"


def _array(values: list[Any], field: pa.Field[Any]) -> pa.Array[Any]:
    """One column. Raises OverflowError for a number of more than 64 bits."""
    if field.metadata == _JSON:
        values = [None if v is None else msgspec.json.encode(v).decode() for v in values]
    if field.type == INSTANT:
        return _instants(values)
    return cast("pa.Array[Any]", pa.array(values, field.type))


def _instants(times: list[datetime | None]) -> pa.Array[Any]:
    """*times* as instants; a time without an offset is at +08:00."""
    if any(time.tzinfo for time in times if time is not None):
        # In whole microseconds: a datetime at another offset may be beyond the years 1 to 9999.
        return pa.array([None if t is None else _microseconds(t) for t in times], INSTANT)
    # Arrow takes a time without an offset as UTC.
    as_utc = pa.array(times, pa.timestamp("us"))
    return cast("pa.Array[Any]", pc.subtract(as_utc, pa.scalar(OFFSET)).cast(INSTANT))


def _microseconds(time: datetime) -> int:
    """Microseconds of *time* since 1970 at UTC."""
    epoch = _EPOCH if time.tzinfo else _EPOCH.replace(tzinfo=None)
    return (time - epoch - OFFSET) // _MICROSECOND


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
