"""Runs a function in a fresh interpreter, on a CPU of its own where there are two."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SPAWN = get_context("spawn")  # a fork would start with this process's memory
_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(client: bool) -> None:
    """Pin this process to the client's CPU, or to the server's."""
    if _CPUS:
        os.sched_setaffinity(0, {_CPUS[-1] if client else _CPUS[0]})


def pinned() -> str:
    """A sentence that says which process runs on which CPU."""
    if not _CPUS:
        return "Not pinned to CPUs: this system does not support it."
    if len(_CPUS) == 1:
        return f"Server and client share CPU {_CPUS[0]}, the only one."
    return f"The server runs on CPU {_CPUS[0]}, the client on CPU {_CPUS[-1]}."


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """A callable that runs *function* in a fresh interpreter, on the client's CPU."""

    def call() -> T:
        with ProcessPoolExecutor(1, mp_context=SPAWN, initializer=pin, initargs=(True,)) as pool:
            return pool.submit(function, *args, **kwargs).result()

    return call


@contextmanager
def environment(**values: str) -> Generator[None]:
    """Set these environment variables for processes started inside the block."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def peak() -> float:
    """Peak resident memory of this process, in MB.

    Not ``ru_maxrss``: a process inherits it from its parent.
    """
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmHWM"].split()[0]) / 1024
