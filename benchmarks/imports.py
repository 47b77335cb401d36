"""What ``import dp_async`` costs beyond importing aiohttp, msgspec and anyio.

    python -m benchmarks.imports [--rounds 15]

Fresh interpreters in turn; medians of the CPU time in the process, from before the first import.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

CODE = "import time; a = time.process_time(); {}; print(time.process_time() - a)"
NO_CACHE = "PYTHONDONTWRITEBYTECODE"
THREE = "import aiohttp, msgspec, anyio"


def milliseconds(statement: str) -> float:
    """CPU of *statement* in a fresh interpreter."""
    command = [sys.executable, "-c", CODE.format(statement)]
    # Compiled files are kept, as after any installation; the first round writes them.
    environment = {key: value for key, value in os.environ.items() if key != NO_CACHE}
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(run.stdout) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    pairs = [
        (milliseconds(THREE), milliseconds("import dp_async")) for _ in range(given.rounds + 1)
    ][1:]
    three, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    sys.stdout.write(f"the three {three:.0f} ms, dp_async {ours:.0f} ms, ratio {ratio:.2f}\n")


if __name__ == "__main__":
    main()
