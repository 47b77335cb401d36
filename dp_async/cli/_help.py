"""What the help of each command ends with: examples and exit codes."""

from __future__ import annotations

EXIT_CODES = """\
Exit codes: 0 done; 1 the API, the network or the output failed; 2 wrong usage or a missing \
setting; 3 with --strict or sync: a crawl is known to be incomplete; 4 with --on-bad-item keep: \
rows that cannot be read were left out, all others are there; 129 SIGHUP; 130 Ctrl-C (SIGINT); \
143 SIGTERM; 141 the reader of the output closed it (as in `| head`)"""


def examples(*lines: str) -> str:
    """What follows the flags in the help of a command."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines), "", EXIT_CODES])
