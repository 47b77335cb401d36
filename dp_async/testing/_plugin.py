"""The pytest plugin: the fixtures ``dp_simulator`` and ``dp_client``.

It is installed beside the package, as ``_dp_async_pytest``, and imports it in the fixtures alone:
pytest loads plugins before coverage measures, and what a package runs when it is imported would be
missing in every report.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from dp_async import Client
    from dp_async.testing import Simulator

#: ``pytest.fixture``, or that of pytest-asyncio for the event loop of a scope.
Decorator: TypeAlias = Callable[..., Any]
Scope: TypeAlias = Literal["function", "class", "module", "package", "session"]

#: Holds the async fixtures, for each event loop that may run a test.
LOOPS = "dp_async_loops"
SCOPES: tuple[Scope, ...] = ("function", "class", "module", "package", "session")


@pytest.fixture
def dp_simulator(request: pytest.FixtureRequest) -> Generator[Simulator, None, None]:
    """A running simulator with the 20 documented rows in each list.

    It runs in the event loop of an async test that pytest-asyncio or anyio runs on asyncio, and in
    a thread for any other test. A fixture of this name in a test suite replaces it, also for
    ``dp_client``.
    """
    loop = _loop_of(request)
    if loop is not None:
        yield request.getfixturevalue(f"_dp_simulator_{loop}")
        return
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_small()) as running:
        yield running


@pytest.fixture
def dp_client(request: pytest.FixtureRequest, dp_simulator: Simulator) -> Client:
    """A client for ``dp_simulator``, in an async test that pytest-asyncio or anyio runs."""
    loop = _loop_of(request)
    if loop is None:
        pytest.fail(
            "dp_client needs an async test that one plugin runs on asyncio: pytest-asyncio 1.0 or"
            " later with @pytest.mark.asyncio or asyncio_mode=auto, or anyio with"
            " @pytest.mark.anyio and 'asyncio' as anyio_backend. Elsewhere, open"
            " Client(dp_simulator.settings) in the event loop that uses it.",
            pytrace=False,
        )
    client: Client = request.getfixturevalue(f"_dp_client_{loop}")
    return client


def pytest_configure(config: pytest.Config) -> None:
    """Adds the async fixtures, once, whatever other names this plugin is loaded by."""
    if config.pluginmanager.has_plugin(LOOPS):
        return
    loops = ModuleType(LOOPS)
    _add_fixtures(loops, "anyio", pytest.fixture)
    if config.pluginmanager.has_plugin("asyncio"):
        import pytest_asyncio  # loaded already; importing it earlier would keep pytest from it

        for scope in SCOPES if _is_current(pytest_asyncio.__version__) else ():
            _add_fixtures(loops, f"asyncio_{scope}", pytest_asyncio.fixture(loop_scope=scope))
    config.pluginmanager.register(loops, LOOPS)


def _is_current(version: str) -> bool:
    """Whether pytest-asyncio knows the scope of a test's event loop: since 1.0 as it does today."""
    return int(version.partition(".")[0]) >= 1


def _add_fixtures(loops: ModuleType, loop: str, fixture: Decorator) -> None:
    """Adds the fixtures that run in an event loop."""

    async def simulator() -> AsyncGenerator[Simulator, None]:
        async with _small() as running:
            yield running

    async def client(dp_simulator: Simulator) -> AsyncGenerator[Client, None]:
        from dp_async import Client

        async with Client(dp_simulator.settings) as opened:
            yield opened

    setattr(loops, f"_dp_simulator_{loop}", fixture(simulator))
    setattr(loops, f"_dp_client_{loop}", fixture(client))


def _small() -> Simulator:
    from dp_async.testing import Simulator

    return Simulator(works=20, messages=20)


def _loop_of(request: pytest.FixtureRequest) -> str | None:
    """Which event loop runs the test; None if none, or not just one, is known to run it."""
    test = getattr(request.function, "hypothesis", None)
    test = request.function if test is None else test.inner_test
    loops = request.config.pluginmanager.get_plugin(LOOPS)
    if loops is None or not inspect.iscoroutinefunction(test):
        return None
    loop = None
    marker = request.node.get_closest_marker("asyncio")
    if "anyio_backend" in request.fixturenames:
        backend = request.getfixturevalue("anyio_backend")
        name = backend if isinstance(backend, str) else backend[0]
        loop = "anyio" if name == "asyncio" and marker is None else None
    elif marker is not None and hasattr(loops, "_dp_client_asyncio_function"):
        scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
        loop = f"asyncio_{scope or request.config.getini('asyncio_default_test_loop_scope')}"
    return loop if hasattr(loops, f"_dp_client_{loop}") else None
