"""Programs of this system that tests start themselves, as an unprivileged user, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest


def find(program: str) -> str | None:
    """The path of *program*, or None. Servers may lie where only root's PATH leads."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def skip_without(installed: object, server: str, package: str) -> None:
    """Skip the test unless *server* is *installed*; where ``CI`` is set, fail it."""
    if installed:
        return
    reason = f"{server} is not installed: apt-get install {package}"
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def unprivileged(*owned: Path) -> list[str]:
    """What to put before a command so that it does not run as root; it may write to *owned*."""
    if os.geteuid() != 0:
        return []
    for path in owned:
        shutil.chown(path, "nobody")
    return ["setpriv", "--reuid=nobody", "--clear-groups", "--"]


def spare_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as spare:
        port: int = spare.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str], ports: Sequence[int], log: Path) -> Generator[None]:
    """Runs *command* until the block ends; the block begins when it listens on all *ports*."""
    with log.open("wb") as out, subprocess.Popen(command, cwd="/", stdout=out, stderr=out) as run:
        try:
            for port in ports:
                while not listens(port):
                    assert run.poll() is None, log.read_text()
                    time.sleep(0.01)
            yield
        finally:
            run.send_signal(signal.SIGTERM)


def listens(port: int) -> bool:
    """Whether a program accepts connections on *port*."""
    with closing(socket.socket()) as probe:
        return not probe.connect_ex(("127.0.0.1", port))
