"""What does importing dp_async cost beyond importing aiohttp, msgspec and anyio?

    python -m benchmarks.imports [--rounds 15]

CPU time of a fresh interpreter, from before the first import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from benchmarks.harness import Bars, Result, ahead, interleaved, main, require

CODE = "import time; a = time.process_time(); {}; print(time.process_time() - a)"
NO_CACHE = "PYTHONDONTWRITEBYTECODE"
THREE = "import aiohttp, msgspec, anyio"
OURS = "from dp_async import Client"
WAYS = (THREE, OURS, "import httpx, pydantic", "import niquests")

LIBRARIES = ("dp_async", "aiohttp", "msgspec", "anyio", "httpx", "pydantic", "niquests")
WHY = {
    THREE: "dp_async imports all three",
    "import httpx": "importing aiohttp costs more than both",
    "import niquests": "importing aiohttp costs more",
}


def milliseconds(statement: str) -> float:
    """CPU time of *statement* in a fresh interpreter, in ms."""
    command = [sys.executable, "-c", CODE.format(statement)]
    # The first run writes .pyc files, as an installation does.
    environment = {key: value for key, value in os.environ.items() if key != NO_CACHE}
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(run.stdout) * 1000


def measure(*, rounds: int = 15) -> Result:
    require(LIBRARIES)
    for way in WAYS:
        milliseconds(way)
    spent = interleaved({way: partial(milliseconds, way) for way in WAYS}, rounds)
    return Result(
        question=str(__doc__),
        columns=("statement", "ms", "least-most", "x the three"),
        rows=[
            (way, spent.median(way), spent.extremes(way), spent.ratio(way, THREE)) for way in WAYS
        ],
        chart=Bars("CPU of importing, ms", {way: spent.median(way) for way in WAYS}),
        notes=ahead(spent, [(way, OURS) for way in WAYS if way != OURS], WHY),
        libraries=LIBRARIES,
    )


if __name__ == "__main__":
    main(measure)
