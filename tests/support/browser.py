"""Headless Chromium, which opens one page and runs until the block ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.programs import find, skip_without, unprivileged

#: No sandbox, which needs namespaces that containers do not give; no service of the desktop.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-crash-reporter",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)


@contextmanager
def chromium(url: str) -> Generator[Callable[[], bool]]:
    """Opens *url*. Gives a function that is True, and fails with what was said once it has ended.

    Skips the test if Chromium is not installed.
    """
    program = find("chromium")
    skip_without(program, "Chromium", "chromium")
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [*unprivileged(Path(home)), f"{program}", *_OPTIONS, f"--user-data-dir={home}"]
        log = Path(home, "log")
        with log.open("wb") as out:
            run = subprocess.Popen(
                [*command, url],
                cwd="/",
                stdout=out,
                stderr=out,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": home},
                start_new_session=True,
            )

        def alive() -> bool:
            assert run.poll() is None, log.read_text()
            return True

        try:
            yield alive
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # its children too
            run.wait()
