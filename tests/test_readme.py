"""README is right: its code runs, and it lists the real settings and errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import dp_async
from dp_async import CrawlOptions, Settings
from dp_async.testing import Simulator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def environment(simulator: Simulator) -> dict[str, str]:
    settings = simulator.settings
    return {
        **os.environ,
        "DP_BASE_URL": settings.base_url,
        "DP_APP_ID": settings.app_id,
        "DP_APP_SECRET": settings.app_secret,
        "PYTHONWARNINGS": "error",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def test_readme_has_code() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_the_code_runs(code: str, simulator_in_thread: Simulator, tmp_path: Path) -> None:
    if "import pytest" in code or "def test_" in code:
        (tmp_path / "test_users.py").write_text(code)
        command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(tmp_path)]
        command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    else:
        (tmp_path / "main.py").write_text(code)
        command = [sys.executable, str(tmp_path / "main.py")]
    run = subprocess.run(
        command,
        env=environment(simulator_in_thread) | {"DLT_DATA_DIR": str(tmp_path / "dlt")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


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
