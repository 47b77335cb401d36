"""The pytest plugin, in test runs of their own: any async plugin, or none; and its entry point.

The runs load the plugin from the package, whether or not the installed package has its entry point.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zipfile import ZipFile

import pytest

from tests.support.pytest_plugin import LOADED, PLUGIN

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORCED = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]

FUNCTION = "asyncio_default_fixture_loop_scope = function"  # else it warns

READS = """
import asyncio
import pytest
from dp_async import Client

async def total(simulator, client):
    page = await client.work_list()
    assert [work.digital_person_works_id for work in page] == simulator.works.ids()[:20]
    assert simulator.served == 1
    return page.total_elements

async def elsewhere(simulator):
    async with Client(simulator.settings) as client:
        return await total(simulator, client)
"""
SYNC = """
def test_sync(dp_simulator):
    assert asyncio.run(elsewhere(dp_simulator)) == len(dp_simulator.messages) == 20
"""
STRICT = """
@pytest.mark.asyncio
async def test_asyncio(dp_simulator, dp_client):
    assert await total(dp_simulator, dp_client) == 20

@pytest.mark.asyncio(loop_scope="module")
async def test_the_loop_of_a_module(dp_client, dp_simulator):
    assert await total(dp_simulator, dp_client) == 20

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"debug": True})])
async def test_anyio(dp_simulator, dp_client):
    assert await total(dp_simulator, dp_client) == 20

@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_another_library(anyio_backend, dp_client):
    pass

def test_a_client_without_a_loop(dp_client):
    pass

async def test_a_client_without_a_mark(dp_client):
    pass

class TestOwn:
    @pytest.fixture
    def dp_simulator(self):
        from dp_async.testing import Simulator
        return Simulator(works=3).in_process_settings

    def test_it_wins(self, dp_simulator):
        assert dp_simulator.app_id == "simulated-app"
"""
OWN = """
import pytest_asyncio
from dp_async.testing import Simulator

@pytest_asyncio.fixture
async def dp_simulator():
    async with Simulator(works=33) as running:
        yield running

@pytest.mark.asyncio
async def test_the_client_follows(dp_simulator, dp_client):
    assert await total(dp_simulator, dp_client) == 33
"""
AUTO = """
from hypothesis import HealthCheck, given, settings, strategies

async def test_auto(dp_simulator, dp_client):
    assert await total(dp_simulator, dp_client) == 20

@settings(max_examples=1, suppress_health_check=list(HealthCheck))
@given(strategies.none())
async def test_given(dp_simulator, dp_client, value):
    assert await total(dp_simulator, dp_client) == 20

@pytest.mark.anyio
async def test_which_plugin(dp_client):
    pass
"""
NEEDS = "dp_client needs an async test that one plugin runs on asyncio: pytest-asyncio 1.0 or*"


def test_every_kind_of_test(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nasyncio_mode = strict\n{FUNCTION}\nfilterwarnings = error\n")
    pytester.makepyfile(READS + SYNC + STRICT, test_own=READS + OWN)
    pytester.makeconftest(f"from {PLUGIN.__name__} import dp_client, dp_simulator")  # needless
    result = pytester.runpytest_subprocess(*LOADED)
    result.assert_outcomes(passed=7, errors=3)
    result.stdout.fnmatch_lines_random([f"*{NEEDS}"] * 3)


@pytest.mark.slow
def test_without_a_plugin_for_async_tests(pytester: pytest.Pytester) -> None:
    marked = "import pytest\n@pytest.mark.asyncio\nasync def test_marked(dp_client):\n    pass\n"
    pytester.makepyfile(READS + SYNC + "def test_client(dp_client):\n    pass\n" + marked)
    result = pytester.runpytest_subprocess(*LOADED, "-p", "no:asyncio", "-p", "no:anyio")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines_random([f"*{NEEDS}"] * 2)


@pytest.mark.slow
def test_asyncio_s_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nasyncio_mode = auto\n{FUNCTION}\n")
    pytester.makepyfile(READS + SYNC + AUTO)
    result = pytester.runpytest_subprocess(*LOADED)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(NEEDS)


@pytest.mark.slow
def test_anyio_s_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nanyio_mode = auto\n")
    pytester.makepyfile(READS + SYNC + AUTO.partition("@settings")[0])
    result = pytester.runpytest_subprocess(*LOADED, "-p", "no:asyncio")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("version", "loops"), [(None, 1), ("0.26.0", 1), ("1.4.0", 6), ("2.0.0a1", 6)]
)
def test_pytest_asyncio_gets_the_fixtures_it_can_run(
    version: str | None, loops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins: dict[str, object] = {} if version is None else {"asyncio": object()}

    def register(plugin: object, name: str) -> None:
        plugins[name] = plugin

    manager = SimpleNamespace(has_plugin=plugins.__contains__, register=register)
    config = cast("Any", SimpleNamespace(pluginmanager=manager))
    monkeypatch.setattr("pytest_asyncio.__version__", version)
    PLUGIN.pytest_configure(config)
    added = plugins[PLUGIN.LOOPS]
    PLUGIN.pytest_configure(config)  # by another name
    assert plugins[PLUGIN.LOOPS] is added
    assert sum(name.startswith("_dp_client_") for name in vars(added)) == loops


# The entry point


def installed(folder: Path) -> dict[str, str]:
    """The plugin as installed: the copy of its module, and the entry point that names it."""
    ((name, module),) = PYPROJECT["project"]["entry-points"]["pytest11"].items()
    assert {"dp_async/testing/_plugin.py": f"{module}.py"} == FORCED
    assert PLUGIN.__file__ is not None
    shutil.copy(PLUGIN.__file__, folder / f"{module}.py")
    info = folder / "dp_async-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dp_async\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


def test_the_plugin_imports_nothing_of_the_package(tmp_path: Path) -> None:
    environ = os.environ | installed(tmp_path)
    loaded = "sorted(name for name in sys.modules if 'dp_async' in name)"
    code = f"import sys, _dp_async_pytest; sys.exit({loaded} != ['_dp_async_pytest'])"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)


@pytest.mark.slow
def test_the_entry_point_and_its_switch(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installed(tmp_path).items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(READS + SYNC)
    quiet = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    pytester.runpytest_subprocess(*quiet).assert_outcomes(passed=1)
    off = pytester.runpytest_subprocess(*quiet, "-p", "no:dp_async")
    off.assert_outcomes(errors=1)
    off.stdout.fnmatch_lines("*fixture 'dp_simulator' not found*")


@pytest.mark.slow
def test_coverage_keeps_what_the_package_runs_when_it_is_imported(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installed(tmp_path).items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(READS + SYNC)
    report = pytester.path / "report.json"
    result = pytester.runpytest_subprocess("--cov=dp_async", f"--cov-report=json:{report}")
    result.assert_outcomes(passed=1)
    files = json.loads(report.read_bytes())["files"]
    (lines,) = [files[name] for name in files if name.endswith("dp_async/__init__.py")]
    assert lines["executed_lines"]
    (names,) = [files[name] for name in files if name.endswith("dp_async/_public.py")]
    assert names["executed_lines"]
    assert not names["missing_lines"]


@pytest.mark.slow  # builds the wheel
@pytest.mark.skipif(not (ROOT / "dp_async").exists(), reason="the tests of a wheel have no source")
def test_the_wheel_carries_the_entry_point(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(pip, check=True)
    (built,) = tmp_path.glob("*.whl")
    with ZipFile(built) as wheel:
        (points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        assert "[pytest11]\ndp_async = _dp_async_pytest\n" in wheel.read(points).decode()
        assert "_dp_async_pytest.py" in wheel.namelist()
