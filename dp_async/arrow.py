"""The rows of a list as Arrow: a table, or a record batch for each page. Needs the extra ``arrow``.

Built on the package's public names. The columns are the fields of the items, named as in Python;
for more of the fields that the server sends, give ``typed`` a Struct that declares them. Nothing is
written here.
"""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Optional, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta, Struct, structs

from . import Crawl, DecodeError, IncompleteCrawl, Listing

try:
    import pyarrow as pa

    from .tables import columns, to_batch, warn
except ImportError as error:
    raise ImportError(
        "dp_async.arrow needs pyarrow, which is an extra: pip install 'dp_async[arrow]'"
    ) from error

__all__ = ["batches", "schema", "to_batch", "to_table"]

S = TypeVar("S", bound=Struct)

#: The integers that a column holds.
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


def schema(item: type[Struct]) -> pa.Schema:
    """The columns for items of the Struct *item*, in its order and under its names.

    Texts and enums are strings, unknown values included. Times are instants in microseconds, in the
    zone Asia/Shanghai (the server's times are at +08:00). A value of any other type is its JSON as
    a string. A column is nullable where the Struct allows None. Raises ConfigError if *item* is not
    a Struct, or one whose fields may be UNSET.
    """
    return columns(item)


async def batches(crawl: Crawl[S]) -> AsyncGenerator[pa.RecordBatch, None]:
    """The remaining pages of *crawl* as record batches; a page without rows gives none.

    Close the crawl yourself, by ``async with``; its report and watermark stay available. Raises
    ConfigError if its items are not Structs, and DecodeError for a number of more than 64 bits.
    """
    async for batch in _batches(crawl, None):
        yield batch


async def _batches(crawl: Crawl[S], item: type[S] | None) -> AsyncGenerator[pa.RecordBatch, None]:
    """As ``batches``, with the columns of *item*; None: those of the items themselves."""
    async for page in crawl.pages():
        if page.content:
            try:
                batch = to_batch(page.content, item or type(page.content[0]))
            except DecodeError as error:
                error.page_num, error.page_size = page.page_num, page.size
                raise
            yield batch


async def to_table(listing: Listing[S]) -> pa.Table:
    """All items of *listing* as a table; an empty list gives the columns without rows.

    Rows that ``on_bad_item="keep"`` set apart are counted in a warning; so are those with a number
    of more than 64 bits. Raises DecodeError for such a number otherwise, IncompleteCrawl if the
    crawl is known to be incomplete, and ConfigError, before any request, if the items are not
    Structs.
    """
    item = listing.item
    names = schema(item)
    if listing.options.on_bad_item == "keep":
        listing = listing.typed(_bounded(item))
    async with listing.crawl() as crawl:
        found = [batch async for batch in _batches(crawl, item)]
        report = crawl.report
    if report.bad_items:
        warn("%d rows could not be read, and the table lacks them", report.bad_items)
    if report.complete is False:
        raise IncompleteCrawl(report)
    return pa.Table.from_batches(found, names)


def _bounded(item: type[S]) -> type[S]:
    """*item*, of which a row with a number that no column holds cannot be read."""
    fields: list[tuple[str, object, object]] = []
    for each in structs.fields(item):
        if each.type in (int, int | None):
            kind: object = Int64 if each.type is int else Optional[Int64]  # noqa: UP045  # pyright
            plain: Any = msgspec.field  # its overloads know no absent default
            field = plain(
                name=each.encode_name, default=each.default, default_factory=each.default_factory
            )
            fields.append((each.name, kind, field))
    made: Any = msgspec.defstruct(
        item.__name__, cast("Any", fields), bases=(item,), module=item.__module__
    )
    return cast("type[S]", made)
