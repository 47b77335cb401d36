"""The columns of a table for a Struct, and its items as a record batch. Knows no page."""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Struct, inspect, structs

from .. import ConfigError, DecodeError, Message, Work

S = TypeVar("S", bound=Struct)

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
