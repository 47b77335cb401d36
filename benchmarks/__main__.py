"""Asks questions: ``python -m benchmarks [name ...]``; all of them without a name.

With ``--write`` the answers are written down as well: README.md and the charts of this folder. The
sections of questions that were not asked stay as they are.
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

Questions about the package that only a measurement answers, one a file. All of this is written by

    $ pip install -e '.[test,bench]'
    $ python -m benchmarks --write

and takes about an hour. The extra `bench` brings the libraries compared with and what draws the
charts; the questions that compare with none need `test` alone, and the others say what is missing.
`python -m benchmarks cpu ids` asks only these two; `python -m benchmarks.cpu --help` tells the
flags of one, with which it is over in seconds.

How to read it:

- Machines differ, and a machine differs from itself an hour later. So the ways that are compared
  run in turn, A B C A B C, and a ratio is the median of the ratios within each round. The absolute
  numbers are the medians of all rounds, with the least and the most behind.
- A check holds one number against a limit that was set before it was measured. MISSED means what
  it says.
- Client and server are processes of their own, each pinned to a CPU where there are two. The server
  answers from memory, with pages rendered beforehand (`server.py`), so that it is never what is
  measured; the question about CPU says how far it is from that.
- *by hand* is a loop written for the one task, with aiohttp and msgspec, that does what the package
  does for a page and nothing else: signs with md5, caps while it reads, keeps a deadline, decodes
  into the same types.
- *ideal* is the time that the latencies leave no way round: the reads that have to come one after
  the other, and all others divided by how many are in flight.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(names())}")
    parser.add_argument("--write", action="store_true", help="write README.md and the charts too")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names()):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
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
    """The answer's section of README.md, and its chart."""
    from benchmarks.charts import draw  # matplotlib is needed for this alone

    draw(result.chart, HERE / "charts" / f"{name}.svg")
    before = README.read_text("utf-8") if README.exists() else ""
    sections = {match[1]: match[0].strip() for match in SECTION.finditer(before)}
    sections[name] = markdown(name, result).strip()
    known = [sections[name] for name in names() if name in sections]
    README.write_text("\n\n".join([INTRODUCTION.strip(), *known]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
