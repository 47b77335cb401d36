"""Spans and metrics of a client's requests, read from OpenTelemetry's SDK in memory."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Histogram,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from dp_async import (
    Attempt,
    AuthError,
    CallError,
    Client,
    ConfigError,
    CrawlOptions,
    Request,
    Response,
    RetryPolicy,
    TransportError,
    __version__,
)
from dp_async.otel import instrument
from dp_async.testing import (
    AuthFailure,
    Endless,
    Fault,
    Hang,
    Html,
    Malformed,
    Reset,
    Simulator,
    Throttle,
    WrongCode,
)
from tests.support import virtual_loop
from tests.support.fake_server import SETTINGS, Server, client, until

ROOT = Path(__file__).parent.parent.parent

#: Repeats at once, without a backoff.
PATIENT = RetryPolicy(attempts=3, base=0)
PAGES = CrawlOptions(page_size=10, concurrency=3)

#: All attributes that a span may have.
ALLOWED = {
    "dp_async.code",
    "dp_async.endpoint",
    "dp_async.page_num",
    "dp_async.request_id",
    "error.type",
    "http.request.resend_count",
    "http.response.status_code",
}


class Open(SpanProcessor):
    """Counts the open spans of the client, now and at most."""

    def __init__(self) -> None:
        self.spans = self.most = 0

    def on_start(self, span: Span, parent_context: object = None) -> None:
        self.spans += span.kind is SpanKind.CLIENT
        self.most = max(self.most, self.spans)

    def on_end(self, span: ReadableSpan) -> None:
        self.spans -= span.kind is SpanKind.CLIENT


class Sdk:
    """OpenTelemetry's SDK as an application sets it up, with what was reported to it."""

    def __init__(self) -> None:
        self.open = Open()
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(self.open)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def watch(self, api: Client) -> Client:
        instrument(api, tracer_provider=self.tracers, meter_provider=self.meters)
        return api

    @property
    def tracer(self) -> Tracer:
        """The tracer of the application."""
        return self.tracers.get_tracer("app")

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans of the client, in the order of their ends."""
        spans = self._exporter.get_finished_spans()
        return [span for span in spans if span.kind is SpanKind.CLIENT]

    def metrics(self) -> dict[str, Metric]:
        """The metrics now, by name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counted(self, name: str) -> dict[tuple[object, ...], float]:
        """The numbers of ``dp_async.client.NAME``, each by the values of its attributes."""
        metric = self.metrics().get(f"dp_async.client.{name}")
        counted: dict[tuple[object, ...], float] = {}
        for point in metric.data.data_points if metric else ():
            by = tuple((point.attributes or {}).values())
            counted[by] = point.value if isinstance(point, NumberDataPoint) else point.count
        return counted


@pytest.fixture
def sdk() -> Sdk:
    return Sdk()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


async def test_a_good_request_is_one_client_span(sdk: Sdk) -> None:
    async with sdk.watch(client(Server(5))) as api:
        await api.work_list()
        await api.msg_list()
    works, messages = sdk.spans
    assert (works.name, messages.name) == ("work_list", "msg_list")
    assert works.kind is SpanKind.CLIENT
    assert works.parent is None
    assert works.status.status_code is StatusCode.UNSET
    assert attributes(works) == {
        "dp_async.endpoint": "work_list",
        "http.response.status_code": 200,
        "dp_async.code": 200,
        "dp_async.page_num": 1,
        "dp_async.request_id": "abc",
    }
    scope = works.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("dp_async", __version__)


async def test_each_attempt_is_a_child_of_the_callers_span(sdk: Sdk) -> None:
    server = Server(5)
    server.script[1] = [Response(status=502), TransportError("broken")]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        with sdk.tracer.start_as_current_span("the caller's") as caller:
            await api.work_list()
    spans = sdk.spans
    assert [parent(span) for span in spans] == [caller.get_span_context().span_id] * 3
    found = [attributes(span) for span in spans]
    assert [each.get("http.request.resend_count") for each in found] == [None, 1, 2]
    assert [each.get("http.response.status_code") for each in found] == [502, None, 200]
    assert [each.get("error.type") for each in found] == ["ServerError", "TransportError", None]
    error, unset = StatusCode.ERROR, StatusCode.UNSET
    assert [span.status.status_code for span in spans] == [error, error, unset]


async def test_a_span_has_the_times_of_its_request(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000_000_000_000
    monkeypatch.setattr("dp_async.otel.time_ns", lambda: now)
    attempts: list[Attempt] = []
    async with sdk.watch(client(Server(5))) as api:
        api.observe(attempts.append)
        await api.work_list()
    [span], [attempt] = sdk.spans, attempts
    assert attempt.seconds > 0
    assert span.end_time == now
    assert span.start_time == now - round(attempt.seconds * 1e9)


async def test_spans_of_repeated_attempts_do_not_overlap(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock that times requests: it is monotonic.
    monkeypatch.setattr("dp_async.otel.time_ns", time.perf_counter_ns)
    server = Server(5)
    server.script[1] = [Response(status=502), Response(status=502)]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        await api.work_list()
    times = [each for span in sdk.spans for each in (span.start_time or 0, span.end_time or 0)]
    assert len(times) == 6
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("fault", "error", "status", "code"),
    [
        (Html(502), "ServerError", 502, None),
        (WrongCode(500), "ServerError", 200, 500),
        (AuthFailure(), "AuthError", 200, 401),
        (Throttle(), "RateLimited", 429, 429),
        (Throttle(in_envelope=True), "RateLimited", 200, 429),
        (Malformed(), "DecodeError", 200, None),
        (Reset(), "TransportError", None, None),
        (Endless(), "ResponseTooLarge", None, None),
        (Hang(), "AttemptTimeout", None, None),
    ],
)
def test_a_failure_is_a_span_with_its_error_type(
    sdk: Sdk, fault: Fault, error: str, status: int | None, code: int | None
) -> None:
    simulator = Simulator()
    simulator.fail(fault)

    async def fails() -> None:
        settings = replace(simulator.in_process_settings, retry=RetryPolicy(attempts=1))
        async with sdk.watch(Client(settings, send=simulator.send)) as api:
            with pytest.raises(CallError):
                await api.work_list()

    virtual_loop.run(fails())
    [span] = sdk.spans
    assert span.status.status_code is StatusCode.ERROR
    assert not span.status.description
    assert not span.events
    found = attributes(span)
    assert ("dp_async.request_id" in found) == (code is not None)
    found.pop("dp_async.request_id", None)
    known = {"http.response.status_code": status, "dp_async.code": code}
    assert found == {
        "dp_async.endpoint": "work_list",
        "dp_async.page_num": 1,
        "error.type": error,
        **{name: value for name, value in known.items() if value is not None},
    }
    assert sdk.counted("requests") == {("work_list", error): 1}
    throttles = {("work_list",): 1} if error == "RateLimited" else {}
    assert sdk.counted("throttles") == throttles


async def test_metrics_are_counted_by_endpoint(sdk: Sdk) -> None:
    server = Server(5)
    throttled = Response(status=429, headers={"retry-after": "0"})
    server.script[1] = [throttled, throttled, Response(status=502)]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        await asyncio.gather(api.work_list(), api.work_list())
        await api.msg_list()
        stats = api.stats
    good, bad, limited = ("work_list",), ("work_list", "ServerError"), ("work_list", "RateLimited")
    by_outcome = {good: 2, bad: 1, limited: 2, ("msg_list",): 1}
    assert sdk.counted("requests") == sdk.counted("request.duration") == by_outcome
    assert sdk.counted("retries") == {("work_list",): 3}
    assert sdk.counted("throttles") == {("work_list",): 2}
    assert (stats.requests, stats.retries, stats.throttles) == (6, 3, 2)
    for metric in sdk.metrics().values():
        for point in metric.data.data_points:
            assert set(point.attributes or ()) <= {"dp_async.endpoint", "error.type"}


async def test_durations_are_in_seconds_with_fitting_buckets(sdk: Sdk) -> None:
    attempts: list[Attempt] = []
    async with sdk.watch(client(Server(5))) as api:
        api.observe(attempts.append)
        await api.work_list()
    metric = sdk.metrics()["dp_async.client.request.duration"]
    assert metric.unit == "s"
    assert isinstance(metric.data, Histogram)
    [point] = metric.data.data_points
    assert point.sum == attempts[0].seconds
    assert point.explicit_bounds[0] == 0.005
    assert SETTINGS.timeout in point.explicit_bounds  # timeouts are apart from slow answers


async def test_all_metrics_have_one_prefix(sdk: Sdk) -> None:
    server = Server(5)
    server.script[1] = [Response(status=429)]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        await api.work_list()
        names = sdk.metrics().keys()
    prefix = "dp_async.client."
    words = ["requests", "retries", "throttles", "request.duration", "in_flight"]
    assert names == {prefix + word for word in words}


async def test_what_the_servers_allow_is_measured_once_they_have_shown_it(sdk: Sdk) -> None:
    by_rate, by_number = Server(100), Server(100)
    async with sdk.watch(client(by_rate)) as one, sdk.watch(client(by_number)) as two:
        for api, server, refused in ((one, by_rate, 8), (two, by_number, 4)):
            await api.work_list()
            assert not {"dp_async.client.limit", "dp_async.client.pace"} <= sdk.metrics().keys()
            server.script = {num: [Response(status=429)] for num in range(1, refused + 1)}
            calls = [api.work_list(page_num=num) for num in range(1, 9)]
            await asyncio.gather(*calls, return_exceptions=True)
        assert sdk.counted("pace") == {(): one.stats.pace}
        assert sdk.counted("limit") == {(): two.stats.limit}


async def test_in_flight_is_the_sum_of_all_clients(
    sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(100)
    release = server.block(1)
    async with sdk.watch(client(server)) as one, sdk.watch(client(server)) as two:
        assert sdk.counted("in_flight") == {(): 0}
        calls = [one.work_list(), one.for_account("13900005678").work_list(), two.work_list()]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await until(lambda: server.in_flight == 3)
        assert sdk.counted("in_flight") == {(): 3}
        release.set()
        await asyncio.gather(*tasks)
        assert sdk.counted("in_flight") == {(): 0}
    assert sdk.counted("requests") == {("work_list",): 3}
    assert not caplog.records  # the SDK warns of a duplicate instrument


async def test_pages_of_a_crawl_are_children_of_the_consumers_span(sdk: Sdk) -> None:
    server = Server(500)
    server.script[30] = [Response(status=502)]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        with sdk.tracer.start_as_current_span("the consumer's") as consumer:
            assert len(await api.works(options=PAGES).collect()) == 500
        requests = api.stats.requests
    assert requests > 50
    assert [parent(span) for span in sdk.spans] == [consumer.get_span_context().span_id] * requests


async def test_concurrent_crawls_keep_their_spans_apart(sdk: Sdk) -> None:
    async def crawl(name: str, endpoint: str) -> None:
        with sdk.tracer.start_as_current_span(name) as consumer:
            rows = api.works(options=PAGES) if name == "one" else api.messages(options=PAGES)
            async for _ in rows:
                await asyncio.sleep(0)
        parents[endpoint] = {consumer.get_span_context().span_id}

    parents: dict[str, set[int]] = {}
    async with sdk.watch(client(Server(200))) as api:
        await asyncio.gather(crawl("one", "work_list"), crawl("other", "msg_list"))
    found: dict[str, set[int | None]] = {}
    for span in sdk.spans:
        found.setdefault(span.name, set()).add(parent(span))
    assert found == parents


async def test_no_span_is_open_during_a_request_or_in_the_consumer(sdk: Sdk) -> None:
    meanwhile: list[int] = []
    rows = 0
    server = Server(200)
    server.before = lambda num: meanwhile.append(sdk.open.spans)
    async with sdk.watch(client(server)) as api:
        async for _ in api.works(options=PAGES):
            assert sdk.open.spans == 0
            rows += 1
    assert rows == 200
    assert meanwhile == [0] * api.stats.requests
    assert sdk.open.most == 1


async def test_a_crawl_that_is_stopped_early_leaves_no_span_open(sdk: Sdk) -> None:
    server = Server(200)
    server.block(3)
    async with sdk.watch(client(server)) as api:
        with sdk.tracer.start_as_current_span("the consumer's") as consumer:
            async with api.works(options=PAGES).crawl() as crawl:
                async for _ in crawl:
                    await until(lambda: server.in_flight > 0)
                    break
        assert sdk.counted("in_flight") == {(): 0}
    spans = sdk.spans
    assert sdk.open.spans == 0
    assert len(spans) == len(server.requests) == api.stats.requests
    assert {parent(span) for span in spans} == {consumer.get_span_context().span_id}
    cancelled = [span for span in spans if attributes(span).get("error.type") == "CancelledError"]
    assert cancelled
    assert {span.status.status_code for span in cancelled} == {StatusCode.ERROR}


async def test_views_are_instrumented_with_their_client(sdk: Sdk) -> None:
    api = client(Server(5))
    before = api.for_account("13900005678")
    async with sdk.watch(api):
        for each in (api, before, api.for_account(None)):
            await each.work_list()
    assert len(sdk.spans) == 3
    assert sdk.counted("requests") == {("work_list",): 3}


async def test_instrumenting_a_view_instruments_its_client(sdk: Sdk) -> None:
    async with client(Server(5)) as api:
        sdk.watch(api.for_account("13900005678"))
        gc.collect()
        await api.work_list()
        assert sdk.counted("in_flight") == {(): 0}
    assert len(sdk.spans) == 1


async def test_a_client_is_instrumented_once(sdk: Sdk) -> None:
    async with sdk.watch(client(Server(5))) as api:
        with pytest.raises(ConfigError, match="instrumented already"):
            instrument(api)
        await api.work_list()
    assert len(sdk.spans) == 1
    assert sdk.counted("requests") == {("work_list",): 1}


async def test_an_instrumented_client_is_not_kept_alive(sdk: Sdk) -> None:
    kept = sdk.watch(client(Server(5)))
    dropped = sdk.watch(client(Server(5)))
    await dropped.work_list()
    await dropped.aclose()
    gone = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert gone() is None
    assert sdk.counted("in_flight") == {(): 0}
    del kept
    gc.collect()
    assert sdk.counted("in_flight") == {}
    assert sdk.counted("requests") == {("work_list",): 1}


def test_collected_clients_are_forgotten(sdk: Sdk) -> None:
    def dead() -> int:
        gc.collect()
        return sum(type(each) is weakref.ref and each() is None for each in gc.get_objects())

    before = dead()
    for _ in range(100):
        sdk.watch(client(Server(5)))
    assert dead() < before + 50


async def test_a_provider_is_not_kept_alive(sdk: Sdk) -> None:
    async with sdk.watch(client(Server(5))) as api:
        await api.work_list()
    del api
    gone = weakref.ref(sdk.meters)
    del sdk.meters, sdk.reader
    gc.collect()
    assert gone() is None


def _reported(sdk: Sdk) -> str:
    """All that was exported, as one text. Fails if a span has another attribute than allowed."""
    for span in sdk.spans:
        assert set(attributes(span)) <= ALLOWED
    data = sdk.reader.get_metrics_data()
    assert data is not None
    texts = [data.to_json(), *(span.to_json() for span in sdk.spans)]
    return json.dumps([json.loads(text) for text in texts], ensure_ascii=False)


async def test_settings_and_filters_are_not_reported(sdk: Sdk) -> None:
    async with Simulator(works=30, accounts=["13800001234"]) as simulator:
        settings = replace(simulator.settings, account="13800001234", retry=PATIENT)
        simulator.fail(WrongCode(500, text="no 秘密-name for 13800001234, simulated-secret"))
        simulator.fail(Html())
        async with sdk.watch(Client(settings)) as api:
            await api.works(name="秘密-name", status="SUCCESS").collect()
            with pytest.raises(AuthError):
                await api.for_account("13900005678").msg_list(read_status="UNREAD")
        assert simulator.requests[0].filters == {"name": "秘密-name", "status": "SUCCESS"}
    reported = _reported(sdk)
    assert "work_list" in reported
    hidden = ["simulated-secret", "simulated-app", "1380000", "1390000", "秘密", "%E7", "SUCCESS"]
    for text in [*hidden, "UNREAD", "127.0.0.1", "no 秘", *simulator.internals]:
        assert text not in reported


async def test_an_echo_of_the_server_is_not_reported(sdk: Sdk) -> None:
    async def repeats(request: Request, /) -> Response:
        said = " ".join([*request.headers.values(), "sesame", "秘密-name"])
        body = {"code": 500, "requestId": said[-60:], "resultMsg": said, "errorStackTrace": said}
        return Response(status=500, body=json.dumps(body).encode())

    settings = replace(SETTINGS, account="13800001234")
    async with sdk.watch(Client(settings, send=repeats)) as api:
        with pytest.raises(CallError):
            await api.work_list(name="秘密-name")
    reported = _reported(sdk)
    assert "dp_async.request_id" in reported
    for text in ("sesame", "秘密", "1380000"):
        assert text not in reported


class Failing(SpanProcessor, SpanExporter):
    """Fails to process and to export."""

    def on_end(self, span: ReadableSpan) -> None:
        raise OSError("the processor is broken")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise OSError("the exporter is broken")

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@pytest.mark.parametrize(
    ("broken", "logger"),
    [
        (lambda: SimpleSpanProcessor(Failing()), "opentelemetry"),
        (Failing, "dp_async"),
    ],
)
async def test_failing_telemetry_breaks_no_call(
    sdk: Sdk, broken: Callable[[], SpanProcessor], logger: str, caplog: pytest.LogCaptureFixture
) -> None:
    sdk.tracers.add_span_processor(broken())
    server = Server(50)
    server.script[3] = [Response(status=502)]
    async with sdk.watch(client(server, replace(SETTINGS, retry=PATIENT))) as api:
        assert len(await api.works(options=PAGES).collect()) == 50
        requests = api.stats.requests
    assert sum(sdk.counted("requests").values()) == requests
    assert sdk.counted("retries") == {("work_list",): 1}
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == requests
    assert {record.name.split(".")[0] for record in failures} == {logger}


#: In a process of its own: the global providers can be set only once.
GLOBAL = """
import asyncio, json
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from dp_async.otel import instrument
from tests.support.fake_server import Server, client, until

exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()

def measured(name):
    data = json.loads(reader.get_metrics_data().to_json())
    scopes = [scope for each in data["resource_metrics"] for scope in each["scope_metrics"]]
    return [
        sum(point["value"] for point in metric["data"]["data_points"])
        for scope in scopes
        for metric in scope["metrics"]
        if metric["name"] == f"dp_async.client.{name}"
    ]

async def main():
    server = Server(5)
    clients = early, late, given, bare = [client(server) for _ in range(4)]
    instrument(early)
    await early.work_list()
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    metrics.set_meter_provider(MeterProvider([reader]))
    instrument(late)
    instrument(given, meter_provider=metrics.get_meter_provider())
    release = server.block(1)
    calls = asyncio.gather(*(each.work_list() for each in clients))
    await until(lambda: server.in_flight == 4)
    in_flight = measured("in_flight")
    release.set()
    await calls
    for each in clients:
        await each.aclose()
    print(json.dumps([in_flight, measured("requests"), len(exporter.get_finished_spans())]))

asyncio.run(main())
"""


def test_global_providers_may_be_set_later() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", GLOBAL],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == [[3], [3], 3]  # the fourth client is not instrumented


async def test_a_client_that_is_not_instrumented_reports_nothing(sdk: Sdk) -> None:
    async with client(Server(5)) as api, sdk.watch(client(Server(5))) as another:
        await api.work_list()
        assert sdk.spans == []
        assert sdk.counted("requests") == {}
        await another.work_list()
    assert len(sdk.spans) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dp_async.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install 'dp_async\[otel\]'"):
        importlib.import_module("dp_async.otel")
