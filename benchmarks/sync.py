"""How many rows a second are loaded into a database, and what does a run without changes cost?

    python -m benchmarks.sync [--rounds 3] [--works 20000]

The source of dp_async against a plain dlt pipeline: dlt's own RESTClient with its page-number
paginator and the same signature, page by page of 100 rows, as dicts, merged on the same keys. Each
measurement is a fresh process that runs twice, first into an empty dataset. The simulator answers
after 0 or 20 ms. Imports are not timed. Without PostgreSQL on this machine, DuckDB only.
"""
# The types of dlt are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import md5
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.apart import apart, environment, pinned
from benchmarks.harness import Bars, Cell, Check, Result, at_least, interleaved, main, require
from benchmarks.server import simulated
from dp_async import Settings

PATH = "/openApiDigitalPerson/customer/workList"
OURS, PLAIN = "dp_async", "plain dlt, RESTClient"
LATENCIES = (0.0, 0.02)
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
LIBRARIES = ("dp_async", "dlt", "duckdb", "pyarrow", "psycopg2-binary", "requests")

_datasets = count()


def plain(settings: Settings) -> Any:
    """The works by dlt alone: each run loads all of them."""
    import dlt
    from dlt.sources.helpers.rest_client.auth import AuthConfigBase
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
    from requests import PreparedRequest

    class Signed(AuthConfigBase):
        """The headers of the API, signed as a plain pipeline would do it."""

        def __call__(self, request: PreparedRequest) -> PreparedRequest:
            now = str(int(time.time() * 1000))
            text = f"{settings.app_id}{settings.app_secret}{now}"
            request.headers["app_id"] = settings.app_id
            request.headers["timestamp"] = now
            request.headers["req_from"] = "C"
            signature = md5(text.encode(), usedforsecurity=False).hexdigest()
            request.headers["authorization"] = signature
            return request

    @dlt.resource(name="works", primary_key="digitalPersonWorksId", write_disposition="merge")
    def works() -> Iterator[Any]:
        client = RESTClient(
            settings.base_url,
            auth=Signed(),
            data_selector="data.content",
            paginator=PageNumberPaginator(
                base_page=1, page_param="pageNum", total_path="data.totalPages"
            ),
        )
        yield from client.paginate(PATH, params={"pageNum": 1, "pageSize": 100})

    return works


def ours(settings: Settings) -> Any:
    """The works by dp_async."""
    from dp_async.dlt import source

    return source(settings).with_resources("works")


def seconds(way: str, settings: Settings, to: str, dataset: str, works: int) -> tuple[float, float]:
    """The seconds of a first run, and of a second."""
    import dlt

    make = {OURS: ours, PLAIN: plain}[way]
    make(settings)  # for its imports
    kind, _, place = to.partition(":///")
    destination: Any = (
        dlt.destinations.duckdb(place) if kind == "duckdb" else dlt.destinations.postgres(to)
    )
    with tempfile.TemporaryDirectory() as folder:

        def run() -> tuple[float, Any]:
            began = time.perf_counter()
            pipeline = dlt.pipeline(
                "bench", destination=destination, dataset_name=dataset, pipelines_dir=folder
            )
            pipeline.run(make(settings))
            return time.perf_counter() - began, pipeline

        first, _ = run()
        again, pipeline = run()
        with pipeline.sql_client() as sql:
            ((found,),) = sql.execute_sql("SELECT count(*) FROM works")
    assert found == works, f"{way}: {found} rows of {works}"
    return first, again


def measure(*, rounds: int = 3, works: int = 20_000) -> Result:
    require(LIBRARIES)
    from tests.support.databases import is_installed, running

    again: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(environment(**QUIET))
        places = {"DuckDB": f"duckdb:///{Path(folder) / 'bench.duckdb'}"}
        if is_installed():
            places["PostgreSQL"] = stack.enter_context(running())
        servers = {
            latency: stack.enter_context(simulated(works=works, messages=0, latency=latency))
            for latency in LATENCIES
        }

        def timed(way: str, latency: float, place: str) -> Callable[[], float]:
            def run() -> float:
                dataset = f"bench_{next(_datasets)}"
                settings = servers[latency].settings
                first, second = apart(seconds, way, settings, places[place], dataset, works)()
                again.setdefault(named(way, latency, place), []).append(second)
                return first

            return run

        spent = interleaved(
            {
                named(way, latency, place): timed(way, latency, place)
                for latency in LATENCIES
                for place in places
                for way in (OURS, PLAIN)
            },
            rounds,
        )
    rows: list[tuple[Cell, ...]] = []
    checks: list[Check] = []
    bars: dict[str, float] = {}
    for latency in LATENCIES:
        for place in places:
            for way in (OURS, PLAIN):
                name = named(way, latency, place)
                ratio = spent.ratio(named(PLAIN, latency, place), name)
                bars[name] = ratio
                rows.append(
                    (
                        way,
                        place,
                        f"{latency * 1000:.0f}",
                        works / spent.median(name),
                        spent.median(name),
                        spent.extremes(name),
                        ratio,
                        sorted(again[name])[len(again[name]) // 2],
                    )
                )
                if way == OURS:
                    what = f"rows a second into {place}, {latency * 1000:.0f} ms, against plain dlt"
                    checks.append(at_least(1, what, ratio))
    return Result(
        question=str(__doc__),
        columns=(
            "way",
            "into",
            "latency, ms",
            "rows a second",
            "s",
            "least-most",
            "x plain",
            "again, s",
        ),
        rows=rows,
        checks=checks,
        chart=Bars(
            f"{works:,} rows, rows a second against a plain dlt pipeline", bars, limits=(1,)
        ),
        notes=[pinned()],
        libraries=LIBRARIES,
    )


def named(way: str, latency: float, place: str) -> str:
    return f"{way}, {place}, {latency * 1000:.0f} ms"


if __name__ == "__main__":
    main(measure)
