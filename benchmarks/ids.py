"""What does a verified crawl remember of each row, at a million rows?

    python -m benchmarks.ids [--rows 1000000]

The walk alone, fed pages of 100 rows that are a minute apart. Bytes are what ``tracemalloc`` counts
after the last page. The certificate is then computed in the event loop; its time is CPU time.
"""

from __future__ import annotations

import time
import tracemalloc
from array import array

from benchmarks.harness import Lines, Result, at_most, main
from dp_async import CrawlOptions, Page
from dp_async._page.reader import Rows
from dp_async._plan.page_ref import PageRef
from dp_async._plan.walk import Walk

SIZE = 100
NEWEST = 1_790_000_000


def rows(ref: PageRef, total: int) -> Rows[int]:
    """One page of a list whose rows are a minute apart."""
    places = range(ref.start, min(ref.end, total))
    ids = [10_000_000 + total - place for place in places]
    times = array("q", [NEWEST - 60 * place for place in places])
    page = Page(
        content=ids,
        number=ref.num - 1,
        size=ref.size,
        total_elements=total,
        total_pages=-(-total // ref.size),
        number_of_elements=len(ids),
        first=ref.num == 1,
        last=ref.end >= total,
        empty=not ids,
    )
    return Rows(page, len(ids), ids, array("q", ids), times, array("q"))


def remembered(total: int) -> tuple[float, float]:
    """Bytes per row, and the milliseconds of the certificate."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    walk = Walk[int](CrawlOptions(page_size=SIZE))
    traced = 0
    while (ref := walk.plan()) is not None:
        walk.learn(ref, walk.tick(), walk.tick(), rows(ref, total))
        traced = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    start = time.process_time()
    walk.evidence.decide()
    return traced / total, 1000 * (time.process_time() - start)


def measure(*, rows: int = 1_000_000) -> Result:
    sizes = [size for size in (1000, 10_000, 100_000) if size < rows] + [rows]
    found = {size: remembered(size) for size in sizes}
    return Result(
        question=str(__doc__),
        columns=("rows", "bytes a row", "the certificate, ms"),
        rows=[(f"{size:,}", *numbers) for size, numbers in found.items()],
        checks=[at_most(75, f"bytes a row at {rows:,} rows", found[rows][0])],
        chart=Lines(
            "rows",
            "bytes a row",
            {"remembered": [(size, numbers[0]) for size, numbers in found.items()]},
            log="x",
            limits=[75],
        ),
        libraries=("dp_async", "msgspec"),
    )


if __name__ == "__main__":
    main(measure)
