"""The guide's feed in a real browser: rows appear as they change, through a kill of the app.

The browser, the app and the simulator are processes of their own, or run beside the test: this
takes real seconds, among them the three that Chromium waits before it connects again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from dp_async.testing import Simulator
from tests.support.browser import chromium
from tests.support.examples import example
from tests.support.programs import spare_port

#: A page beside that feed. It reports each event's id as it comes, and the rows it then shows.
PAGE = """
from fastapi.responses import HTMLResponse

HTML = '''<!doctype html><ul></ul><script>
const list = document.querySelector("ul"), received = []
new EventSource("/feed").onmessage = event => {
  const work = JSON.parse(event.data), id = `work-${work.digitalPersonWorksId}`
  const row = document.getElementById(id) ?? document.createElement("li")
  row.id = id
  row.textContent = `${work.digitalPersonWorksId} ${work.status} ${work.updateTime}`
  list.prepend(row)
  received.push(work.digitalPersonWorksId)
  const shown = [...list.children].map(row => row.textContent)
  fetch("REPORT", {method: "POST", mode: "no-cors", body: JSON.stringify({received, shown})})
}
</script>'''


@app.get("/")
async def index() -> HTMLResponse:
    return HTMLResponse(HTML)
"""


class Seen:
    """What the page said last: ids of events in the order they came, and texts of rows shown."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.shown: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        said = json.loads(await request.text())
        if len(said["received"]) > len(self.received):  # requests may overtake each other
            self.received, self.shown = said["received"], said["shown"]
        return web.Response()

    def rows(self) -> set[int]:
        """The ids of the rows that are shown."""
        return {int(text.split()[0]) for text in self.shown}


async def reached(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; it is False for ever only if something is broken."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def app(folder: Path, port: int, simulator: Simulator) -> AsyncGenerator[None, None]:
    """The app in ``folder/main.py`` at *port*, until the block ends; killed, not asked to end."""
    environment = {
        "DP_BASE_URL": simulator.url,
        "DP_APP_ID": simulator.settings.app_id,
        "DP_APP_SECRET": simulator.settings.app_secret,
        "PYTHONPATH": ":".join(path for path in sys.path if path),
    }
    command = ("-m", "uvicorn", "main:app", "--port", str(port), "--log-level", "warning")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=folder, env=environment
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                break
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
async def test_a_page_shows_each_change_once_although_the_app_is_killed_twice(
    tmp_path: Path,
) -> None:
    seen = Seen()
    collector = web.Application()
    collector.router.add_post("/", seen.take)
    runner = web.AppRunner(collector)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, report_port = runner.addresses[0]
    code = example("from fastapi.sse import")
    assert ".watch(5.0, " in code
    code = code.replace(".watch(5.0, ", ".watch(0.5, ") + PAGE
    (tmp_path / "main.py").write_text(code.replace("REPORT", f"http://{host}:{report_port}/"))
    port = spare_port()
    async with Simulator(works=300) as simulator:
        works = simulator.works
        with ExitStack() as stack:
            async with app(tmp_path, port, simulator):
                alive = stack.enter_context(chromium(f"http://127.0.0.1:{port}/"))
                # By the second request the feed knows where it begins.
                await reached(lambda: alive() and simulator.served > 1)
                new = [works.insert() for _ in range(3)]
                await reached(lambda: len(seen.received) == 3)
                works.update(new[0], status="FAIL")
                await reached(lambda: len(seen.received) == 4)
            assert seen.shown[0].startswith(f"{new[0]} FAIL ")
            assert seen.rows() == set(new)
            while_away = [works.insert() for _ in range(30)]
            async with app(tmp_path, port, simulator):
                await reached(lambda: seen.rows() == {*new, *while_away})
                late = works.insert()
                await reached(lambda: late in seen.rows())
                assert Counter(seen.received) == Counter([*new, new[0], *while_away, late])
                many = [works.insert() for _ in range(400)]
                await reached(lambda: len(seen.rows()) > 34)
            # Killed in the middle, it may send some again, and the page shows them in their place.
            async with app(tmp_path, port, simulator):
                await reached(lambda: seen.rows() == {*new, *while_away, late, *many})
            assert len(seen.shown) == len(seen.rows())
    await runner.cleanup()
