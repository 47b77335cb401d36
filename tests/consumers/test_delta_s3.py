"""Syncs into Delta tables on S3: its protocol, spoken by moto's server."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("deltalake", reason="needs deltalake: dp_async[delta]")
pytest.importorskip("moto", reason="needs moto's server: moto[server]")

from deltalake import DeltaTable

from dp_async import Client, delta
from dp_async.cli import main
from dp_async.delta import LoadFailed
from dp_async.tables import Outcome
from dp_async.testing import Simulator
from tests.support.programs import spare_port, started

pytestmark = pytest.mark.slow

ACCOUNTS = ["19900000001", "19900000002"]
SECRET = "open-sesame"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What deltalake needs to reach a running server, which has one bucket."""
    port = spare_port()
    log: Path = tmp_path_factory.mktemp("moto") / "log"
    code = "from moto.server import main; import sys; main(sys.argv[1:])"
    with started([sys.executable, "-c", code, "-p", str(port)], [port], log):
        endpoint = f"http://127.0.0.1:{port}"
        with urlopen(Request(f"{endpoint}/bucket", method="PUT")) as answer:
            assert answer.status == 200
        yield {
            "AWS_ACCESS_KEY_ID": "simulated-key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }


async def load(simulator: Simulator, uri: str, **given: Any) -> list[Outcome]:
    async with Client(simulator.in_process_settings, send=simulator.send) as client:
        return [outcome async for outcome in delta.sync(client, ACCOUNTS, uri, **given)]


async def test_two_syncs_at_once_leave_each_row_once(options: dict[str, str]) -> None:
    simulator = Simulator(works=230, messages=40)
    uri = "s3://bucket/lake"
    first = await load(simulator, uri, storage_options=options)
    assert [one.new for one in first] == [230, 230, 40, 40]
    simulator.works.insert()
    both = (load(simulator, uri, storage_options=options, full=True) for _ in range(2))
    assert sum(one.new for run in await asyncio.gather(*both) for one in run) == 2
    assert DeltaTable(f"{uri}/works", storage_options=options).count() == 462
    again = await load(simulator, uri, storage_options=options)
    assert [(one.new, one.updated) for one in again] == [(0, 0)] * 4


async def test_what_s3_refuses_is_one_line_before_any_request(options: dict[str, str]) -> None:
    simulator = Simulator(works=1, messages=1)
    with pytest.raises(LoadFailed, match="The specified bucket does not exist") as caught:
        await load(simulator, "s3://nobucket/lake", storage_options=options)
    assert "\n" not in str(caught.value)
    assert "simulated-key" not in str(caught.value)
    gone = {**options, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "max_retries": "0"}
    with pytest.raises(LoadFailed, match="Connection refused"):
        await load(simulator, "s3://bucket/lake", storage_options=gone)
    assert simulator.served == 0


async def test_the_command_takes_credentials_from_the_environment(
    options: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DP_ACCOUNT", raising=False)
    async with Simulator(works=230, messages=40) as simulator:
        monkeypatch.setenv("DP_BASE_URL", simulator.url)
        monkeypatch.setenv("DP_APP_ID", "simulated-app")
        monkeypatch.setenv("DP_APP_SECRET", "simulated-secret")
        uri = "s3://bucket/by-command"
        assert await asyncio.to_thread(main, ["sync", "--to", uri]) == 0
        assert DeltaTable(f"{uri}/works", storage_options=options).count() == 230
        served = simulator.served
        assert capfd.readouterr().err == ""
        assert await asyncio.to_thread(main, ["sync", "--to", "s3://nobucket/lake"]) == 1
        assert simulator.served == served
    said = capfd.readouterr().err
    assert said.startswith("dp-async: --to: the table s3://nobucket/lake/watermarks: ")
    assert said.count("\n") == 1
    assert SECRET not in said
    assert "simulated-key" not in said
