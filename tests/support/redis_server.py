"""A real redis-server of the test's own, which it may kill, stop and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import find, listens, skip_without, spare_port, unprivileged

#: What the server asks for; no text may hold it.
PASSWORD = "redis-pass-word"


class RedisServer:
    """A redis-server on *port*, which keeps nothing when it is killed.

    Use it in a ``with`` statement. *options*: more of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = spare_port()
        self._folder = folder
        self._command = [*unprivileged(folder), f"{find('redis-server')}", "--port", f"{self.port}"]
        self._command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
        self._process = process
        while not listens(self.port):
            assert process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP makes it hang until SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, with all that it knows."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def running(*options: str) -> Generator[RedisServer]:
    """A redis-server that runs. Skips the test if none is installed."""
    skip_without(find("redis-server"), "Redis", "redis-server")
    with tempfile.TemporaryDirectory(prefix="dp-async-tests-") as name:
        server = RedisServer(Path(name), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
