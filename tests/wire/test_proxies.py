"""A crawl behind real nginx and HAProxy gets every row, whatever way they limit requests.

How fast is measured by the benchmark ``proxies``: nothing here depends on the time.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dp_async import Attempt, Client, CrawlOptions
from dp_async.testing import Simulator
from tests.support.programs import skip_without
from tests.support.proxies import LIMITS, Proxies

PAGES = 100
SIZE = 10


@pytest.mark.slow
@pytest.mark.parametrize("limit", LIMITS)
async def test_a_crawl_behind_a_limit_gets_every_row_without_an_error(
    proxies: Proxies, limit: str
) -> None:
    attempts: list[Attempt] = []
    simulator = Simulator(port=proxies.backend, latency=0.05, works=PAGES * SIZE, messages=0)
    async with simulator:
        address = proxies.address[limit]
        settings = replace(simulator.settings, base_url=address, max_in_flight=32)
        async with Client(settings) as client:
            client.observe(attempts.append)
            options = CrawlOptions(page_size=SIZE, concurrency=32)
            works = await client.works(options=options).collect()
    assert len({work.digital_person_works_id for work in works}) == PAGES * SIZE
    refused = [attempt for attempt in attempts if attempt.status in (429, 503)]
    assert len(refused) <= PAGES  # a limit without a burst refuses whatever comes a little early


@pytest.mark.parametrize(
    ("variable", "outcome"), [({}, pytest.skip.Exception), ({"CI": "true"}, pytest.fail.Exception)]
)
def test_a_missing_server_skips_a_test_but_fails_it_in_ci(
    variable: dict[str, str], outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    skip_without("/usr/sbin/nginx", "nginx", "nginx-light")
    with pytest.raises(outcome, match="nginx is not installed: apt-get install nginx-light"):
        skip_without(None, "nginx", "nginx-light")
