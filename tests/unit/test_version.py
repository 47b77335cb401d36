"""The version: one text, public, and sent in the user agent."""

from __future__ import annotations

import re

import dp_async
from dp_async._version import VERSION
from tests.support.fake_server import Server, client


def test_it_is_public_and_a_version() -> None:
    assert dp_async.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


async def test_requests_carry_it_in_the_user_agent() -> None:
    server = Server(1)
    async with client(server) as api:
        await api.work_list()
    assert server.requests[0].headers["user-agent"].startswith(f"dp_async/{VERSION}")
