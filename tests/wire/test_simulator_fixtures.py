"""The pytest fixtures, as a user's tests have them."""

import pytest_asyncio

from dp_async import Client
from dp_async.testing import Simulator
from dp_async.testing.fixtures import Started, dp_client, dp_simulator, dp_started

__all__ = ["dp_client", "dp_simulator", "dp_started"]


async def test_the_documented_rows(dp_simulator: Simulator, dp_client: Client) -> None:
    page = await dp_client.work_list()
    assert [work.digital_person_works_id for work in page] == dp_simulator.works.ids()
    assert len(dp_simulator.works) == len(dp_simulator.messages) == 20


class TestOverridden:
    @pytest_asyncio.fixture
    async def dp_simulator(self, dp_started: Started) -> Simulator:
        return await dp_started(Simulator(works=33))

    async def test_the_client_follows(self, dp_client: Client) -> None:
        assert (await dp_client.work_list()).total_elements == 33
