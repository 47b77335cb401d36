"""The rows of a list as Arrow: a table, or a record batch for each page. Needs the extra ``arrow``.

Built on the package's public names. The columns are the fields of the items, named as in Python;
for more of the fields that the server sends, give ``typed`` a Struct that declares them. Nothing is
written here.
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
from msgspec import UNSET, Struct, inspect, structs

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

#: Instants in the server's zone, by name: not all readers know "+08:00".
INSTANT = pa.timestamp("us", tz="Asia/Shanghai")
OFFSET = timedelta(hours=8)

#: Column types; a value of any other type is JSON text.
_TYPES: dict[type[inspect.Type], pa.DataType] = {
    inspect.BoolType: pa.bool_(),
    inspect.IntType: pa.int64(),
    inspect.FloatType: pa.float64(),
    inspect.StrType: pa.string(),
    inspect.DateTimeType: INSTANT,
}
#: The metadata of a column of JSON text.
JSON = {b"dp_async": b"json"}


@lru_cache(maxsize=64)
def schema(item: type[Struct]) -> pa.Schema:
    """The columns for items of the Struct *item*, in its order and under its names.

    Texts and enums are strings, unknown values included. Times are instants in microseconds, in the
    zone Asia/Shanghai (the server's times are at +08:00). A value of any other type is its JSON as
    a string. A column is nullable where the Struct allows None. Raises ConfigError if *item* is not
    a Struct, or one whose fields may be UNSET.
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
    return pa.field(field.name, pa.string(), nullable, metadata=JSON)


def _known(kind: inspect.Type) -> pa.DataType | None:
    if isinstance(kind, inspect.EnumType):
        return pa.string() if issubclass(kind.cls, str) else None
    return _TYPES.get(type(kind))


def to_batch(items: Sequence[S], item: type[S]) -> pa.RecordBatch:
    """*items* of the Struct *item* as one record batch.

    Raises ConfigError if *item* is not a Struct, and DecodeError, with the name of the column, for
    a number that does not fit into 64 bits.
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
    """*times* as instants; a time without an offset is at +08:00."""
    if any(time.tzinfo for time in times if time is not None):
        times = [None if time is None else _at_server_zone(time) for time in times]
    # Arrow takes a time without an offset as UTC.
    as_utc = pa.array(times, pa.timestamp("us"))
    return cast("pa.Array[Any]", pc.subtract(as_utc, pa.scalar(OFFSET)).cast(INSTANT))


def _at_server_zone(time: datetime) -> datetime:
    """*time* at +08:00, without an offset."""
    offset = time.utcoffset()
    return time if offset is None else time.replace(tzinfo=None) - offset + OFFSET


async def batches(crawl: Crawl[S]) -> AsyncGenerator[pa.RecordBatch, None]:
    """The remaining pages of *crawl* as record batches; a page without rows gives none.

    Close the crawl yourself, by ``async with``; its report and watermark stay available. Raises
    ConfigError if its items are not Structs.
    """
    async for page in crawl.pages():
        if page.content:
            yield to_batch(page.content, type(page.content[0]))


async def to_table(listing: Listing[S]) -> pa.Table:
    """All items of *listing* as a table; an empty list gives the columns without rows.

    Raises IncompleteCrawl if the crawl is known to be incomplete, and ConfigError, before any
    request, if the items are not Structs.
    """
    columns = schema(listing.item)
    async with listing.crawl() as crawl:
        found = [batch async for batch in batches(crawl)]
        report = crawl.report
    if report.complete is False:
        raise IncompleteCrawl(report)
    return pa.Table.from_batches(found, columns)
