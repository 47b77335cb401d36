"""README and the guide are right: code runs, links lead somewhere, all settings are named."""

from __future__ import annotations

import hashlib
import hmac
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

import dp_async
from dp_async import CrawlOptions, Request, Settings
from dp_async.testing import Simulator
from tests.support.examples import CODE, GUIDE, README, example, prose_of
from tests.support.picture import COMMANDS
from tests.support.pytest_plugin import LOADED
from tests.support.redis_server import running as redis_server

ROOT = Path(__file__).parent.parent
PACKAGE = Path(dp_async.__file__).parent  # which may be an installed wheel
MARKDOWN = sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("benchmarks/*.md")])

#: This project's own word rules: each stood for a mechanism that has a common name in its field.
NOT_OUR_WORDS = {
    *("gate", "gates", "door", "doors", "era", "turn", "turns", "spread", "spreads", "blot"),
    *("discreet", "told", "mend", "mends", "mended", "mending", "cured", "glance", "hollow"),
    *("vain", "stirred", "seam", "seams", "stretch", "stretches", "settle", "settles", "lag"),
    *("look", "looks", "aside"),
}


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
    return is_test(code) or "import dlt" in code or "dp_async.ray" in code


PROGRAMS = {place: code for place, code in CODE.items() if not needs_process(code)}
TESTS = {place: code for place, code in CODE.items() if is_test(code)}


def test_the_longest_page_is_short() -> None:
    assert len(README.splitlines()) <= 350


def _written(code: str) -> str:
    Path("main.py").write_text(code, encoding="utf-8")
    return "main.py"


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_run(code: str) -> None:
    if "delta.sync" in code:
        pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")
    with ExitStack() as stack:
        if "dp_async.redis" in code:
            pytest.importorskip("redis", reason="needs redis: dp_async[redis]")
            server = stack.enter_context(redis_server())
            code = code.replace("port=6379", f"port={server.port}")
        runpy.run_path(_written(code), run_name="__main__")


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("code", TESTS.values(), ids=TESTS)
def test_tests_pass(code: str) -> None:
    Path("test_users.py").write_text(code, encoding="utf-8")
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    run("-m", "pytest", "-q", *LOADED, *(f"-o{option}" for option in options), ".")


@pytest.mark.slow  # dlt takes seconds to start
@pytest.mark.usefixtures("environ")
def test_the_dlt_pipeline_runs() -> None:
    Path("main.py").write_text(example("import dlt"), encoding="utf-8")
    run("main.py")


@pytest.mark.slow  # Ray takes seconds to start
@pytest.mark.usefixtures("environ")
def test_the_apps_are_synced_by_ray() -> None:
    pytest.importorskip("ray", reason="needs ray: dp_async[ray]")
    Path("main.py").write_text(example("dp_async.ray import"), encoding="utf-8")
    run("main.py")


def test_the_signature_is_an_hmac_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BASE_URL": "https://host", "APP_ID": "app", "APP_SECRET": "key"}.items():
        monkeypatch.setenv(f"DP_{name}", value)
    names: dict[str, Callable[[Request, float], dict[str, str]]] = {}
    exec(example("import hmac"), names)
    request = Request("work_list", "GET", "/works?pageNum=1", body=b"{}")
    signed = b"GET\n/works?pageNum=1\n1500{}"
    digest = hmac.new(b"key", signed, hashlib.sha256).hexdigest()
    assert names["sign"](request, 1.5) == {"authorization": digest, "timestamp": "1500"}


@pytest.mark.parametrize(
    "name", [field.name for field in (*fields(Settings), *fields(CrawlOptions))]
)
def test_every_setting_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in README


def test_every_error_is_named() -> None:
    for name in dp_async.__all__:
        value = getattr(dp_async, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert f"`{name}`" in README, name


@pytest.mark.parametrize("place", ["README", *GUIDE])
def test_it_uses_the_words_of_the_field(place: str) -> None:
    text = README if place == "README" else GUIDE[place]
    words = re.findall(r"[a-z]+", prose_of(text).lower())
    assert not NOT_OUR_WORDS & {*words}
    assert all(before == "retry" for before, word in pairwise(words) if word == "budget")


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: file.name)
def test_every_link_leads_somewhere(file: Path) -> None:
    broken: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", file.read_text("utf-8"))):
        path, _, anchor = unquote(link).partition("#")
        if re.match(r"https?:", link):
            continue
        target = PACKAGE.parent / path if path.startswith("dp_async/") else file.parent / path
        if not path:
            target = file
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert not broken


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub makes of the headings of *markdown*."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", markdown, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_picture_shows_what_its_commands_print() -> None:
    picture = unescape((ROOT / ".github/terminal.svg").read_text("utf-8")).replace("\xa0", " ")
    for text in (*COMMANDS, "complete, proven", "update_time", '{"createTime":'):
        assert text in picture


def test_no_local_path_is_in_readme() -> None:
    assert not re.search(r"/(work|tmp|home|root)/", README)
