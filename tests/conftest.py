"""What every test runs under."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Generator
from types import SimpleNamespace

import aiohttp
import hypothesis
import pytest

from tests.support.databases import open_warehouse, postgresql, warehouse
from tests.support.extras import check_extras
from tests.support.proxies import proxies
from tests.support.simulator_thread import simulator_in_thread

__all__ = ["open_warehouse", "postgresql", "proxies", "simulator_in_thread", "warehouse"]

# The same examples every time, so that a red test is red again; HYPOTHESIS_PROFILE=default looks
# for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_sessionstart() -> None:
    check_extras()


class _Answer(aiohttp.ClientResponse):
    """A response that aioresponses can build: it does not know of aiohttp 3.14's stream_writer."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as aioresponses gives them


@pytest.fixture(autouse=True)
def signals_as_on_a_terminal() -> Generator[None]:
    """Under nohup and in a shell's background some are ignored, and child processes inherit it."""
    ignored = [
        number
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def aioresponses_under_new_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
        monkeypatch.setattr("aioresponses.core.ClientResponse", _Answer)
