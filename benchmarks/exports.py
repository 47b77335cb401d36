"""How many rows a second are exported to a file, and how much memory does it take?

    python -m benchmarks.exports [--rounds 3] [--works 50000] [--most 1000000]

Whole processes, from a server in another process that answers at once; wall time and CPU with
imports, peak resident memory with libraries. ``dp-async works --output`` writes NDJSON, CSV and
Parquet; Arrow is an IPC file of the batches of ``dp_async.arrow``. Against a plain dlt pipeline
with dlt's own RESTClient into files, and against a loop by hand: aiohttp and json, eight pages at
once by ``gather``, written as they come. Neither of the two proves that no row is missing, and the
loop leaves times as texts.

Below, the peak memory at a tenth of the *most* rows and at all of them: the proof keeps 75 bytes of
each.
"""

# The types of pyarrow are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal, TypeAlias, cast

from benchmarks.apart import environment, pinned
from benchmarks.costs import DP_ASYNC, Cost, cost
from benchmarks.harness import Bars, Cell, Result, at_least, at_most, main, require
from benchmarks.server import served
from dp_async import Settings

FORMATS = ("ndjson", "csv", "parquet", "arrow")
OURS, PLAIN, HAND = "dp_async", "plain dlt, RESTClient", "by hand: aiohttp + json"
#: How dlt names the formats that it can write.
DLT: dict[str, Literal["jsonl", "csv", "parquet"]] = {
    "ndjson": "jsonl",
    "csv": "csv",
    "parquet": "parquet",
}
AT_ONCE = 8
GROUP = 20_000  # rows of a Parquet row group, as in the export
#: Bytes a row that memory may grow by: what the proof keeps, and without it next to nothing.
PROVEN, UNPROVEN = 80, 5
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
LIBRARIES = ("dp_async", "aiohttp", "dlt", "pyarrow", "requests")


Rows: TypeAlias = list[dict[str, object]]


def arrow_file(to: str) -> None:
    """The works as an Arrow IPC file, batch by batch."""
    import pyarrow as pa

    from dp_async import Client, Work
    from dp_async.arrow import batches, schema

    async def run() -> None:
        columns = schema(Work)
        async with Client(Settings.from_env()) as client, client.works().crawl() as crawl:
            with pa.OSFile(to, "wb") as file, pa.ipc.new_file(file, columns) as writer:
                async for batch in batches(crawl):
                    writer.write_batch(batch)
        assert crawl.report.complete

    asyncio.run(run())


def plain(to: str, kind: str) -> None:
    """The works by dlt alone."""
    import dlt

    from benchmarks.sync import plain as source

    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(to),
        dataset_name="rows",
        pipelines_dir=f"{to}.state",
    )
    pipeline.run(
        source(Settings.from_env()), write_disposition="append", loader_file_format=DLT[kind]
    )


def by_hand(to: str, kind: str) -> None:
    """The works by a loop that writes each page as it comes."""
    import csv
    import json

    import aiohttp

    from benchmarks.ways import Task

    task = Task(Settings.from_env(), 0)
    write: Callable[[Rows], object]

    async def run() -> None:
        async with aiohttp.ClientSession() as session:

            async def page(num: int) -> dict[str, object]:
                async with session.get(task.url(num), headers=task.signed()) as answer:
                    answer.raise_for_status()
                    data: dict[str, object] = (await answer.json())["data"]
                    return data

            first = await page(1)
            pages = first["totalPages"]
            assert isinstance(pages, int)
            write(_content(first))
            for start in range(2, pages + 1, AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, pages + 1))
                for data in await asyncio.gather(*map(page, numbers)):
                    write(_content(data))

    with Path(to).open("w", encoding="utf-8", newline="") as file:
        if kind == "ndjson":
            write = partial(_lines, file.write, json.dumps)
            asyncio.run(run())
        elif kind == "csv":
            writer: list[csv.DictWriter[str]] = []

            def write_csv(rows: Rows) -> None:
                if not writer:
                    writer.append(csv.DictWriter(file, list(rows[0]), extrasaction="ignore"))
                    writer[0].writeheader()
                writer[0].writerows(rows)

            write = write_csv
            asyncio.run(run())
        else:
            write, end = _tables(to, kind)
            asyncio.run(run())
            end()


def _content(data: dict[str, object]) -> Rows:
    return cast("Rows", data["content"])


def _lines(
    write: Callable[[str], object],
    dumps: Callable[..., str],
    rows: Rows,
) -> None:
    write("".join(dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _tables(to: str, kind: str) -> tuple[Callable[[Rows], None], Callable[[], None]]:
    """Writes rows as Parquet, in groups, or as Arrow, page by page; and ends the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept: Rows = []
    schema: pa.Schema | None = None
    writers: list[pq.ParquetWriter | pa.ipc.RecordBatchFileWriter] = []
    least = GROUP if kind == "parquet" else 1

    def flush() -> None:
        nonlocal schema
        table = pa.Table.from_pylist(kept, schema=schema)
        if schema is None:
            schema = table.schema
            make = pq.ParquetWriter if kind == "parquet" else pa.ipc.new_file
            writers.append(make(to, schema))
        writers[0].write_table(table)
        kept.clear()

    def write(rows: Rows) -> None:
        kept.extend(rows)
        if len(kept) >= least:
            flush()

    def end() -> None:
        if kept:
            flush()
        writers[0].close()

    return write, end


def command(way: str, kind: str, to: Path, *flags: str) -> tuple[str, ...]:
    """The command that exports the works to *to*."""
    if way == OURS and kind != "arrow":
        return (*DP_ASYNC, "works", "--format", kind, "--output", str(to), *flags)
    call = {
        OURS: f"arrow_file({str(to)!r})",
        PLAIN: f"plain({str(to)!r}, {kind!r})",
        HAND: f"by_hand({str(to)!r}, {kind!r})",
    }[way]
    return sys.executable, "-c", f"from benchmarks.exports import *; {call}"


def measure(*, rounds: int = 3, works: int = 50_000, most: int = 1_000_000) -> Result:
    require(LIBRARIES)
    ways = [
        (way, kind)
        for kind in FORMATS
        for way in (OURS, PLAIN, HAND)
        if way != PLAIN or kind in DLT
    ]
    costs: dict[tuple[str, str], list[Cost]] = {way: [] for way in ways}
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, environment(**QUIET):
        with served(works) as settings:
            for number in range(rounds):
                for place, (way, kind) in enumerate(ways):
                    to = Path(folder, f"{number}-{place}.{kind}")
                    costs[way, kind].append(cost(settings, command(way, kind, to)))
        for size in (most // 10, most):
            with served(size) as settings:
                for kind in FORMATS:
                    to = Path(folder, f"{size}.{kind}")
                    one = cost(settings, command(OURS, kind, to))
                    peaks.setdefault(kind, []).append(one.peak)
                to = Path(folder, f"{size}.unproven")
                one = cost(settings, command(OURS, "ndjson", to, "--no-verify"))
                peaks.setdefault("ndjson, --no-verify", []).append(one.peak)
    rows: list[tuple[Cell, ...]] = []
    walls = {way: median(each.wall for each in made) for way, made in costs.items()}
    for (way, kind), made in costs.items():
        rows.append(
            (
                kind,
                way,
                works / walls[way, kind],
                median(each.cpu for each in made),
                walls[way, kind],
                f"{min(each.wall for each in made):.2f}-{max(each.wall for each in made):.2f}",
                walls[way, kind] / walls[OURS, kind],
                median(each.peak for each in made),
            )
        )
    growth = {
        what: (large - small) * 2**20 / (most * 0.9) for what, (small, large) in peaks.items()
    }
    kept = "; ".join(
        f"{what}: {small:.0f} and {large:.0f} MB, {growth[what]:.0f} bytes a row"
        for what, (small, large) in peaks.items()
    )
    return Result(
        question=str(__doc__),
        columns=(
            "format",
            "way",
            "rows a second",
            "CPU, s",
            "wall, s",
            "least-most",
            "x dp_async",
            "peak MB",
        ),
        rows=rows,
        checks=[
            *(
                at_least(
                    1,
                    f"{kind}: wall time of {way}, against dp_async",
                    walls[way, kind] / walls[OURS, kind],
                )
                for way, kind in ways
                if way != OURS
            ),
            *(
                at_most(
                    UNPROVEN if "--no-verify" in what else PROVEN,
                    f"{what}: bytes a row from {most // 10:,} rows to {most:,}",
                    more,
                )
                for what, more in growth.items()
            ),
        ],
        chart=Bars(
            f"{works:,} rows, rows a second",
            {f"{kind}, {way}": works / wall for (way, kind), wall in walls.items()},
        ),
        notes=[f"Peak memory of dp_async at {most // 10:,} and {most:,} rows: {kept}.", pinned()],
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
