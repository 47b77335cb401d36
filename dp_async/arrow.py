"""The rows of a list as Arrow: a table, or a record batch for each page. Needs the extra ``arrow``.

A consumer of the package's public names. It holds the fields that the items have, named as in
Python; a field of the wire that they lack is left out, so give ``typed`` a Struct with more of them
for more columns. It writes nothing.
"""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct, inspect

from . import ConfigError, Crawl, DecodeError, IncompleteCrawl, Listing

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError as error:
    raise ImportError(
        "dp_async.arrow needs pyarrow, which is an extra: pip install 'dp_async[arrow]'"
    ) from error

__all__ = ["batches", "schema", "to_batch", "to_table"]

S = TypeVar("S", bound=Struct)

#: An instant, shown as the server's wall clock does. By name: not all readers know "+08:00".
INSTANT = pa.timestamp("us", tz="Asia/Shanghai")
OFFSET = timedelta(hours=8)

#: Of these alone the type is known; a value of any other is JSON text.
_TYPES: dict[type[inspect.Type], pa.DataType] = {
    inspect.BoolType: pa.bool_(),
    inspect.IntType: pa.int64(),
    inspect.FloatType: pa.float64(),
    inspect.StrType: pa.string(),
    inspect.DateTimeType: INSTANT,
}
#: What a column of JSON text says of itself.
JSON = {b"dp_async": b"json"}


@lru_cache(maxsize=64)
def schema(item: type[Struct]) -> pa.Schema:
    """The columns for items of the Struct *item*, in its order and under its names.

    Texts and enums are strings, also those that are not known yet. A time is an instant in
    microseconds, its zone Asia/Shanghai, as the server's times are at +08:00. A value whose type is
    not documented is its JSON as a string. Null is allowed where the Struct allows it. Raises
    ConfigError for what is no Struct.
    """
    if not (isinstance(item, type) and issubclass(item, Struct)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            "Arrow columns need items of a Struct: use the listing as it is, or typed(YourStruct)"
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
    return pa.field(field.name, pa.string(), nullable, metadata=JSON)


def _known(kind: inspect.Type) -> pa.DataType | None:
    if isinstance(kind, inspect.EnumType):
        return pa.string() if issubclass(kind.cls, str) else None
    return _TYPES.get(type(kind))


def to_batch(items: Sequence[S], item: type[S]) -> pa.RecordBatch:
    """*items* of the Struct *item* as one record batch. Raises ConfigError for what is no Struct.

    Raises DecodeError, which names the column, for a number that 64 bits do not hold.
    """
    columns = schema(item)
    arrays = [_array(list(map(attrgetter(field.name), items)), field) for field in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _array(values: list[object], field: pa.Field[Any]) -> pa.Array[Any]:
    if field.metadata == JSON:
        values = [None if v is None else msgspec.json.encode(v).decode() for v in values]
    try:
        if field.type == INSTANT:
            return _instants(cast("list[datetime | None]", values))
        return cast("pa.Array[Any]", pa.array(values, field.type))
    except OverflowError:
        problem = f"{field.name}: a number does not fit into 64 bits"
    raise DecodeError(problem)


def _instants(times: list[datetime | None]) -> pa.Array[Any]:
    """*times* as instants; those that carry no offset are at +08:00."""
    if any(time.tzinfo for time in times if time is not None):
        times = [None if time is None else _on_the_wall(time) for time in times]
    # As Arrow reads it, a time without an offset is at UTC.
    as_utc = pa.array(times, pa.timestamp("us"))
    return cast("pa.Array[Any]", pc.subtract(as_utc, pa.scalar(OFFSET)).cast(INSTANT))


def _on_the_wall(time: datetime) -> datetime:
    """*time* by the server's wall clock, without an offset."""
    offset = time.utcoffset()
    return time if offset is None else time.replace(tzinfo=None) - offset + OFFSET


async def batches(crawl: Crawl[S]) -> AsyncGenerator[pa.RecordBatch, None]:
    """The rest of *crawl*, a record batch for each page that has rows; none for an empty list.

    The crawl stays yours: leave it by ``async with``, ask it for its report and its watermark.
    Raises ConfigError for a crawl whose items are no Structs.
    """
    async for page in crawl.pages():
        if page.content:
            yield to_batch(page.content, type(page.content[0]))


async def to_table(listing: Listing[S]) -> pa.Table:
    """Every item of *listing*; for an empty one a table without rows that has its columns.

    Raises IncompleteCrawl when the crawl knows that it is not complete, and ConfigError, before any
    request, for a listing whose items are no Structs.
    """
    columns = schema(listing.item)
    async with listing.crawl() as crawl:
        found = [batch async for batch in batches(crawl)]
        report = crawl.report
    if report.complete is False:
        raise IncompleteCrawl(report)
    return pa.Table.from_batches(found, columns)
