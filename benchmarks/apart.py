"""Work in a process of its own: a fresh interpreter, on a CPU of its own where there are two."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SPAWN = get_context("spawn")  # a forked process would start with all that this one holds
_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(client: bool) -> None:
    """This process to the client's CPU, or to the server's."""
    if _CPUS:
        os.sched_setaffinity(0, {_CPUS[-1] if client else _CPUS[0]})


def pinned() -> str:
    """Which process runs where, in words."""
    if not _CPUS:
        return "Not pinned to CPUs: this system does not offer it."
    if len(_CPUS) == 1:
        return f"Server and client share CPU {_CPUS[0]}: there is no other."
    return f"The server runs on CPU {_CPUS[0]}, the client on CPU {_CPUS[-1]}."


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """A call of *function* that is made in a fresh interpreter, on the client's CPU."""

    def call() -> T:
        with ProcessPoolExecutor(1, mp_context=SPAWN, initializer=pin, initargs=(True,)) as pool:
            return pool.submit(function, *args, **kwargs).result()

    return call


@contextmanager
def environment(**values: str) -> Generator[None]:
    """These environment variables for whatever process is started meanwhile."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def kept(call: Callable[[], T]) -> Callable[[], T]:
    """*call*, its process told (glibc is) to keep what it frees.

    Else it is luck, of what happens to lie at the end of the heap, whether the buffers of a page
    are given back to the system and faulted in again for the next.
    """

    def calling() -> T:
        most = "33554432"
        with environment(MALLOC_TRIM_THRESHOLD_=most, MALLOC_MMAP_THRESHOLD_=most):
            return call()

    return calling


def peak() -> float:
    """The most memory this process was resident with, in MB.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmHWM"].split()[0]) / 1024
