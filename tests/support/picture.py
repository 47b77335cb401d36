"""README's picture: what three commands show in a terminal, as SVG, made by rich.

``python -m tests.support.picture`` writes ``.github/terminal.svg`` anew. Each command runs in a
pseudo-terminal, against the simulator.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from html import unescape
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from dp_async.testing import Simulator

PICTURE = Path(__file__).parents[2] / ".github" / "terminal.svg"
COLUMNS = 108
COMMANDS = (
    "dp-async demo",
    "dp-async works --limit 5",
    "dp-async works --status SUCCESS | head -n 1 | cut -c -107",
)


def shown(command: str, environment: Mapping[str, str]) -> str:
    """What *command* leaves on a terminal: the last state of each line."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as running:
        os.close(slave)
        data = b""
        try:
            while more := os.read(master, 65_536):
                data += more
        except OSError:  # EIO: the command has ended
            os.close(master)
    assert running.returncode == 0, data.decode()
    lines = data.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\x1b[2K")[2].rpartition("\r")[2] for line in lines).strip()


def drawn(texts: Mapping[str, str]) -> str:
    """An SVG of a terminal with each command and its text."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command, text in texts.items():
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(text), "", sep="\n")
    svg = console.export_svg(title="dp-async", theme=MONOKAI, unique_id="terminal")
    return re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*)<', _with_wide_characters, svg)


def _with_wide_characters(found: re.Match[str]) -> str:
    """A text with the length of its cells: rich counts one for a Chinese character, not two."""
    text = unescape(found[3])
    length = float(found[1]) * cell_len(text) / len(text)
    return f'textLength="{length:.1f}"{found[2]}>{found[3]}<'


def main() -> None:
    simulator = Simulator(latency=0.002)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulator):
        settings = simulator.settings
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "DP_BASE_URL": settings.base_url,
            "DP_APP_ID": settings.app_id,
            "DP_APP_SECRET": settings.app_secret,
        }
        texts = {command: shown(command, environment) for command in COMMANDS}
    PICTURE.write_text(drawn(texts), "utf-8")


if __name__ == "__main__":
    main()
