"""README is right: its code runs, and it lists the real settings and errors."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import fields
from itertools import count
from pathlib import Path

import pytest

import dp_async
from dp_async import CrawlOptions, Settings
from dp_async.testing import Simulator
from tests.support.pytest_plugin import LOADED
from tests.support.redis_server import running as redis_server

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def environ(
    simulator_in_thread: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty directory, and an environment that names the simulator."""
    settings = simulator_in_thread.settings
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DP_BASE_URL": settings.base_url,
        "DP_APP_ID": settings.app_id,
        "DP_APP_SECRET": settings.app_secret,
        "PYTHONWARNINGS": "error",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
    }.items():
        monkeypatch.setenv(name, value)


def run(*command: str) -> None:
    """Runs Python in a process of its own, which must succeed."""
    done = subprocess.run(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def is_test(code: str) -> bool:
    return "import pytest" in code or "def test_" in code


def needs_process(code: str) -> bool:
    return is_test(code) or "import dlt" in code


def test_readme_has_code() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("code", [code for code in BLOCKS if not needs_process(code)], ids=count())
def test_programs_run(code: str) -> None:
    if "delta.sync" in code:
        pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")
    with ExitStack() as stack:
        if "dp_async.redis" in code:
            pytest.importorskip("redis", reason="needs redis: dp_async[redis]")
            server = stack.enter_context(redis_server())
            code = code.replace("localhost:6379", f"localhost:{server.port}")
        Path("main.py").write_text(code, encoding="utf-8")
        runpy.run_path("main.py", run_name="__main__")


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("code", [code for code in BLOCKS if is_test(code)], ids=count())
def test_tests_pass(code: str) -> None:
    Path("test_users.py").write_text(code, encoding="utf-8")
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    run("-m", "pytest", "-q", *LOADED, *(f"-o{option}" for option in options), ".")


@pytest.mark.slow  # dlt takes seconds to start
@pytest.mark.usefixtures("environ")
def test_the_dlt_pipeline_runs() -> None:
    (code,) = [code for code in BLOCKS if "import dlt" in code]
    Path("main.py").write_text(code, encoding="utf-8")
    run("main.py")


@pytest.mark.parametrize(
    "name", [field.name for field in (*fields(Settings), *fields(CrawlOptions))]
)
def test_every_setting_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in README


def test_every_error_is_named() -> None:
    for name in dp_async.__all__:
        value = getattr(dp_async, name)
        if isinstance(value, type) and issubclass(value, Exception) and name != "CallError":
            assert f"`{name}`" in README, name


def test_no_local_path_is_in_readme() -> None:
    assert not re.search(r"/(work|tmp|home|root)/", README)
