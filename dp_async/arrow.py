"""The rows of a list as Arrow: a table, or a record batch for each page. Needs the extra ``arrow``.

Built on the package's public names. The columns are the fields of the items, named as in Python;
for more of the fields that the server sends, give ``typed`` a Struct that declares them. Nothing is
written here.
"""
# pyarrow's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

from msgspec import Struct

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
    async for page in crawl.pages():
        if page.content:
            try:
                batch = to_batch(page.content, type(page.content[0]))
            except DecodeError as error:
                error.page_num, error.page_size = page.page_num, page.size
                raise
            yield batch


async def to_table(listing: Listing[S]) -> pa.Table:
    """All items of *listing* as a table; an empty list gives the columns without rows.

    Rows that ``on_bad_item="keep"`` set apart are counted in a warning. Raises IncompleteCrawl if
    the crawl is known to be incomplete, and ConfigError, before any request, if the items are not
    Structs.
    """
    names = schema(listing.item)
    async with listing.crawl() as crawl:
        found = [batch async for batch in batches(crawl)]
        report = crawl.report
    if report.bad_items:
        warn("%d rows could not be read, and the table lacks them", report.bad_items)
    if report.complete is False:
        raise IncompleteCrawl(report)
    return pa.Table.from_batches(found, names)
