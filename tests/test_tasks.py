"""Twenty-five tasks of a user, and the lines that each takes: now, and in 0.1.

Both run against the simulator, since what 0.1 offered for these tasks is still there.
The code of 0.1 was run against that version when it was written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from textwrap import indent
from typing import cast

import pytest

from dp_async import Client
from dp_async.testing import Simulator

LOOP = "async for work in client.works(): works.append(work)"
STRICT = "CrawlOptions(strict=True)"
#: Each task: its code now, and in 0.1; None where that was the same.
TASKS: dict[str, tuple[str, str | None]] = {
    "one page": ("page = await client.work_list(page_num=1, page_size=20)", None),
    "every work": (LOOP, None),
    "all unread messages": ('await client.messages(read_status="UNREAD").collect()', None),
    "a sub-account": ('await client.for_account("139").works().collect()', None),
    "how many there are": ("(await client.works().probe()).total", None),
    "rows as dicts": ("await client.works().typed(dict).collect()", None),
    "only finished works": ('await client.works(status="SUCCESS").collect()', None),
    "all pages": ("async for page in client.works().pages(): len(page)", None),
    "the newest work": (
        "work = await client.works().first()",
        "page = await client.works().page(1, 1)\nwork = page.content[0] if page.content else None",
    ),
    "ten works": (
        "await client.works().with_options(limit=10).collect()",
        "options = CrawlOptions(limit=10)\nawait client.works(options=options).collect()",
    ),
    "a listing with other options": (
        "listing = client.works()\nlisting.with_options(page_size=50)",
        "listing = client.works()\nclient.works(options=CrawlOptions(page_size=50))",
    ),
    "a loop that loses nothing silently": (
        LOOP,
        (
            f"async with client.works(options={STRICT}).crawl() as crawl:\n"
            "    async for work in crawl: works.append(work)"
        ),
    ),
    "pages that lose nothing silently": (
        "async for page in client.works().pages(): len(page)",
        (
            f"async with client.works(options={STRICT}).crawl() as crawl:\n"
            "    async for page in crawl.pages(): len(page)"
        ),
    ),
    "one report": (
        (
            "async with client.works().crawl() as crawl:\n"
            "    async for work in crawl: works.append(work)\n"
            "summary = crawl.report.summary"
        ),
        (
            "async with client.works().crawl() as crawl:\n"
            "    async for work in crawl: works.append(work)\n"
            "report = crawl.report\n"
            'summary = f"{report.items} items, {report.requests} requests, {report.reason}"'
        ),
    ),
    "what changed": (
        (
            "async with client.works().since(None) as crawl:\n"
            "    async for work in crawl: works.append(work)\n"
            "mark = crawl.watermark"
        ),
        None,
    ),
    "what changed, of many accounts": (
        (
            "async with crawl_accounts(client, names, lambda it: it.works(), since={}) as crawl:\n"
            "    async for account, work in crawl: works.append(work)\n"
            "kept = crawl.watermarks"
        ),
        (
            "kept = {}\n"
            "async def changes(name):\n"
            "    async with client.for_account(name).works().since(kept.get(name)) as crawl:\n"
            "        async for work in crawl: works.append(work)\n"
            "    if crawl.watermark is not None: kept[name] = crawl.watermark\n"
            "async with asyncio.TaskGroup() as group:\n"
            "    for name in names: group.create_task(changes(name))"
        ),
    ),
    "many accounts": (
        (
            "async with crawl_accounts(client, names, lambda sub: sub.works()) as crawl:\n"
            "    async for account, work in crawl: works.append(work)"
        ),
        None,
    ),
    "rows done of all accounts, while it runs": (
        (
            "async with crawl_accounts(client, names, lambda sub: sub.works()) as crawl:\n"
            "    async for account, work in crawl:\n"
            "        done = sum(report.items for report in crawl.reports.values())"
        ),
        (
            "counts = Counter()\n"
            "async with crawl_accounts(client, names, lambda sub: sub.works()) as crawl:\n"
            "    async for account, work in crawl:\n"
            "        counts[account] += 1\n"
            "        done = counts.total()"
        ),
    ),
    "a short time limit for one call": (
        (
            "view = client.with_options(timeout=2, retry=RetryPolicy(attempts=1))\n"
            "await view.work_list()"
        ),
        (
            "short = replace(settings, timeout=2, retry=RetryPolicy(attempts=1))\n"
            "async with Client(short) as other:\n"
            "    await other.work_list()"
        ),
    ),
    "observe for a while": (
        "stop = client.observe(seen.append)\nawait client.work_list()\nstop()",
        (
            "watching = True\n"
            "client.observe(lambda attempt: seen.append(attempt) if watching else None)\n"
            "await client.work_list()\n"
            "watching = False"
        ),
    ),
    "a status that is new": ('client.works(status=WorkStatus("NEW"))', None),
    "JSON of a page, in camelCase": (
        "json = msgspec.json.encode(await client.work_list())",
        (
            "page = await client.work_list()\n"
            "rows = [msgspec.to_builtins(work) for work in page.content]\n"
            'json = msgspec.json.encode({"content": rows, "totalElements": page.total_elements})'
        ),
    ),
    "a response type of pydantic": (
        "json = TypeAdapter(Page[Work]).dump_json(await client.work_list())",
        (
            "class Row(BaseModel):\n"
            "    digital_person_works_id: int\n"
            "    name: str | None\n"
            "    updated_at: datetime | None\n"
            "page = await client.work_list()\n"
            "rows = [Row.model_validate(work, from_attributes=True) for work in page]\n"
            "json = TypeAdapter(list[Row]).dump_json(rows)"
        ),
    ),
    "which page an error is about": (
        "try: await client.works().page(1)\nexcept CallError as error: print(error.page_num)",
        (
            "number = 1\n"
            "try: await client.works().page(number)\n"
            "except CallError as error: print(number)"
        ),
    ),
    "a client of the simulator": ("Client(simulator.settings)", None),
}
NAMES = """
import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime
import msgspec
from pydantic import BaseModel, TypeAdapter
from dp_async import *
names, works, seen = ["139", "138"], [], []
"""
CODE = {
    f"{task}: {when}": code
    for task, both in TASKS.items()
    for when, code in zip(("now", "in 0.1"), both, strict=True)
    if code is not None
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(works=30, messages=5) as running:
        yield running


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
async def test_its_code_runs(code: str, simulator: Simulator) -> None:
    names: dict[str, object] = {"simulator": simulator, "settings": simulator.settings}
    source = f"{NAMES}\nasync def main(client):\n{indent(code, '    ')}\n"
    exec(compile(source, "task.py", "exec", dont_inherit=True), names)
    main = cast("Callable[[Client], Awaitable[object]]", names["main"])
    async with Client(simulator.settings) as client:
        await main(client)


def test_no_task_takes_more_lines_than_in_0_1() -> None:
    table = {task: (lines(now), lines(before or now)) for task, (now, before) in TASKS.items()}
    assert len(table) == 25
    assert all(now <= before for now, before in table.values())
    total = [sum(column) for column in zip(*table.values(), strict=True)]
    assert total == [39, 61]


def lines(code: str) -> int:
    return len(code.splitlines())
