"""Runs benchmarks: ``python -m benchmarks [name ...]``; all of them without a name.

``--write`` updates README.md and the charts of this folder. Sections of benchmarks that were not
run stay as they are.
"""

from __future__ import annotations

import argparse
import re
import sys
import time

from benchmarks.harness import HERE, Result, markdown, names, printed, question, require

README = HERE / "README.md"
SECTION = re.compile(r"^## (\w+): .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
INTRODUCTION = """\
# Benchmarks

Each file answers one question about the package by measuring. All of this is written by

    $ pip install -e '.[test,bench]'
    $ python -m benchmarks --write

which takes about an hour. The extra `bench` installs the libraries compared with, and what draws
the charts. Benchmarks that compare with no library need only `test`; the others name what is
missing. `python -m benchmarks cpu ids` runs two of them. `python -m benchmarks.cpu --help` lists
the flags of one; with small values it ends in seconds.

How to read it:

- Machines differ, and one machine differs from hour to hour. So the ways that are compared run in
  turn, A B C A B C, and a ratio is the median of the ratios within each round. Absolute numbers are
  medians over all rounds; the next column has the minimum and the maximum.
- A check compares one number with a limit that was set before measuring; if it fails, it says
  MISSED.
- Client and server are separate processes, each pinned to a CPU where there are two. The server
  sends pages rendered beforehand (`server.py`), so that it is not the bottleneck; `cpu` shows by
  how much.
- *by hand* is a loop written with aiohttp and msgspec for this one task. It does what the package
  does for a page and nothing else: signs with md5, limits the body's size while reading, applies a
  timeout, decodes into the same types.
- *ideal* is the least time that the latencies allow: the reads that must be serial, plus all others
  divided by the number in flight.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(names())}")
    parser.add_argument("--write", action="store_true", help="write README.md and the charts too")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names()):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if given.write:
        require(["matplotlib"])
    missed = 0
    for name in given.names or names():
        start = time.monotonic()
        result = question(name)()
        missed += sum(not check.ok for check in result.checks)
        sys.stdout.write(f"{name}: {printed(result)}({time.monotonic() - start:.0f} s)\n\n")
        sys.stdout.flush()
        if given.write:
            write(name, result)
    sys.stdout.write(f"{missed} checks missed\n")


def write(name: str, result: Result) -> None:
    """Write the section of README.md, and the chart, of one benchmark."""
    from benchmarks.charts import draw  # needs matplotlib, which running a benchmark does not

    draw(result.chart, HERE / "charts" / f"{name}.svg")
    before = README.read_text("utf-8") if README.exists() else ""
    sections = {match[1]: match[0].strip() for match in SECTION.finditer(before)}
    sections[name] = markdown(name, result).strip()
    known = [sections[name] for name in names() if name in sections]
    README.write_text("\n\n".join([INTRODUCTION.strip(), *known]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
