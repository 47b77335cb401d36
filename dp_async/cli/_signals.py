"""SIGINT, SIGTERM and SIGHUP: the first ends the command within seconds, a second one at once.

While a task runs, the first signal cancels it, and the process is ended by force after a grace. At
other times the process is ended at once: what the command has begun is removed, its line is said.
KeyboardInterrupt is not raised there, because Python raises it between any two instructions: in a
weakref's callback it is printed and lost, in the middle of an extension's import it is fatal.

A library may hold the main thread or take the signal for itself. So a thread, too, reads each
signal, from the wake-up descriptor. Imports nothing heavy: handlers are set before other imports.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds between the first signal and the forced end.
GRACE = 3.0
#: Erases a progress bar and shows the cursor, which it hides.
CLEAN = b"\r\x1b[K\x1b[?25h"


class Signals:
    """The signals of one command. Outside the main thread it handles none.

    *exiting*: the process exits with the command, so a signal may end it anywhere. Otherwise the
    first signal raises KeyboardInterrupt where no task runs.
    """

    def __init__(self, *, exiting: bool = False) -> None:
        self._exiting = exiting
        self.received = 0
        self._armed = True
        self._said = False
        self._interrupt: Callable[[], object] = self._force if exiting else _raise
        self._line: Callable[[], str] = lambda: "interrupted"
        self._paths: set[Path] = set()
        self._previous: dict[int, Any] = {}
        self._seen = threading.Event()
        self._forcing = threading.RLock()
        self._forced = False
        self._reader: socket.socket | None = None

    def install(self) -> None:
        """Handle the signals from here on. A signal that this process ignores stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        watch = threading.Thread(target=self._watch, args=[self._reader], daemon=True)
        watch.start()
        for number in HANDLED:
            previous = signal.getsignal(number)
            if previous not in (signal.SIG_IGN, None):  # None: not set by Python
                self._previous[number] = previous
                signal.signal(number, self._handle)

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has come, also one that a library took."""
        if self.received:
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Generator[None]:
        """In the block a signal calls *interrupt*, and the grace begins."""
        before, self._interrupt = self._interrupt, interrupt
        try:
            yield
        finally:
            self._interrupt = before

    @contextmanager
    def saying(self, line: Callable[[], str]) -> Generator[None]:
        """Say *line* if a signal ends the command in the block."""
        before, self._line = self._line, line
        yield
        self._line = before  # not after an error: the line is said when the command has ended

    @contextmanager
    def removing(self, path: Path) -> Generator[None]:
        """Remove the file or folder at *path* if the process is ended by force in the block."""
        self._paths.add(path)
        try:
            yield
        finally:
            self._paths.discard(path)

    def disarm(self) -> None:
        """Raise no KeyboardInterrupt any more: the command has ended."""
        self._armed = False

    def finish(self, code: int | None) -> int:
        """The exit code: *code*, or that of the signal; *code* is None after a KeyboardInterrupt.

        If the process exits, this ends it if a signal has come, and a later signal ends it at once.
        Otherwise the previous handlers are back.
        """
        self.disarm()
        if code is None and self._previous:
            self._seen.wait(0.1)  # the thread may not have read the signal yet
        if code is None or self.received:
            code = 128 + (self.received or signal.SIGINT)
            self._say()
            if self._exiting and self._previous:
                os._exit(code)  # what else runs at exit may wait for threads of the command
        if self._exiting and self._previous:
            for number in self._previous:
                signal.signal(number, self._end)
        else:
            self.restore()
        return code

    def restore(self) -> None:
        """Put the previous handlers back and end the thread."""
        self.disarm()
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        if self._reader is not None:
            signal.set_wakeup_fd(self._wakeup)
            self._writer.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if self._armed:
            self._armed = False
            self._interrupt()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        self._force()

    def _watch(self, reader: socket.socket) -> None:
        """Read signals until the writer is closed; end the process after the grace."""
        deadline: float | None = None
        with reader:
            while data := self._received(reader, deadline):
                for number in data:
                    if number in self._previous:
                        self.received = self.received or number
                        if deadline is not None or self._interrupt == self._force:
                            return self._force()
                        deadline = time.monotonic() + GRACE
                        self._seen.set()
        return None

    def _received(self, reader: socket.socket, deadline: float | None) -> bytes:
        """The numbers of the next signals; after *deadline* this ends the process."""
        if deadline is not None:
            reader.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return reader.recv(64)
        except TimeoutError:
            self._force()
            return b""

    def _force(self) -> None:
        with self._forcing:  # the main thread waits here while the other one ends the process
            if self._forced:
                return
            self._forced = True
            try:
                for path in tuple(self._paths):
                    _remove(path)
                # Neither the lock of sys.stderr nor a full pipe may stop this thread.
                if not self._said and select.select([], [2], [], 0)[1]:
                    self._said = True
                    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
                    line = f"dp-async: {self._line()}\n".encode(encoding, "backslashreplace")
                    os.write(2, CLEAN + line if os.isatty(2) else line)
            finally:
                os._exit(128 + self.received)

    def _say(self) -> None:
        if not self._said:
            self._said = True
            with suppress(Exception):  # a stream that is closed, None, or replaced
                sys.stderr.write(f"dp-async: {self._line()}\n")
                sys.stderr.flush()


_current: ContextVar[Signals] = ContextVar("signals")


def signals() -> Signals:
    """The signals of the command that is running; outside a command, those of none."""
    found = _current.get(None)
    return Signals() if found is None else found


@contextmanager
def as_current(given: Signals) -> Generator[None]:
    """Make ``signals`` return *given* in the block."""
    token = _current.set(given)
    try:
        yield
    finally:
        _current.reset(token)


def _raise() -> None:
    raise KeyboardInterrupt


def _remove(path: Path) -> None:
    """Remove a file or a folder; another thread may be writing to it, so try it again."""
    for _ in range(20):
        with suppress(OSError):
            for folder, folders, files in os.walk(path, topdown=False):
                for name in files:
                    os.unlink(os.path.join(folder, name))
                for name in folders:
                    os.rmdir(os.path.join(folder, name))
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
            return
