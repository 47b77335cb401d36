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
    before = README.read_text("utf-8")
    introduction = before.partition("\n## ")[0]  # written by hand
    sections = {match[1]: match[0].strip() for match in SECTION.finditer(before)}
    sections[name] = markdown(name, result).strip()
    known = [sections[name] for name in names() if name in sections]
    README.write_text("\n\n".join([introduction.strip(), *known]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
