"""How much more memory does a crawl of 100,000 works take than one of 1,000, if none is kept?

    python -m benchmarks.memory [--rounds 3] [--works 100000]

Peak resident memory; eight pages of 100 in flight, each crawl in a process of its own. The
benchmark ``growth`` has more sizes.
"""

from __future__ import annotations

from functools import partial

from benchmarks.apart import apart
from benchmarks.growth import PLAIN, VERIFIED, cost
from benchmarks.harness import Bars, Result, interleaved, main
from benchmarks.server import served
from dp_async import Settings


def megabytes(kind: str, settings: Settings, works: int) -> float:
    return apart(cost, kind, settings, works)().peak


def measure(*, rounds: int = 3, works: int = 100_000) -> Result:
    with served(1000) as small, served(works) as large:
        peaks = interleaved(
            {
                f"{kind}, {number:,} works": partial(megabytes, kind, settings, number)
                for kind in (VERIFIED, PLAIN)
                for settings, number in ((small, 1000), (large, works))
            },
            rounds,
        )
    ways = list(peaks.samples)
    return Result(
        question=str(__doc__),
        columns=("crawl", "peak MB", "least-most", "above 1,000 works"),
        rows=[
            (way, peaks.median(way), peaks.extremes(way), peaks.median(way) - peaks.median(first))
            for first, way in zip([ways[0], ways[0], ways[2], ways[2]], ways, strict=True)
        ],
        chart=Bars("peak resident memory, MB", {way: peaks.median(way) for way in ways}),
    )


if __name__ == "__main__":
    main(measure)
