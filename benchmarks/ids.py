"""What a verified crawl remembers of each row, at a million rows.

    python -m benchmarks.ids [--rows 1000000]

The walk alone, fed pages of 100 rows; bytes by ``tracemalloc``, once all pages are in.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from array import array

from dp_async import CrawlOptions, Page
from dp_async._pages import Rows
from dp_async._plan import Ask
from dp_async._walk import Walk

SIZE = 100
NEWEST = 1_790_000_000


def rows(ask: Ask, total: int) -> Rows[int]:
    """A page of a list whose rows are a minute apart."""
    places = range(ask.start, min(ask.end, total))
    ids = [10_000_000 + total - place for place in places]
    times = array("q", [NEWEST - 60 * place for place in places])
    page = Page(
        content=ids,
        number=ask.num - 1,
        size=ask.size,
        total_elements=total,
        total_pages=-(-total // ask.size),
        number_of_elements=len(ids),
        first=ask.num == 1,
        last=ask.end >= total,
        empty=not ids,
    )
    return Rows(page, len(ids), ids, array("q", ids), times, array("q"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    total = parser.parse_args().rows
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    walk = Walk[int](CrawlOptions(page_size=SIZE))
    held = 0
    while (ask := walk.plan()) is not None:
        walk.learn(ask, walk.tick(), rows(ask, total))
        held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    start = time.process_time()
    walk._decide()  # pyright: ignore[reportPrivateUsage]
    spent = time.process_time() - start
    sys.stdout.write(
        f"{total:,} rows: {held / total:.0f} bytes a row, {walk.decision}\n"
        f"the certificate took {1000 * spent:.0f} ms\n"
    )


if __name__ == "__main__":
    main()
